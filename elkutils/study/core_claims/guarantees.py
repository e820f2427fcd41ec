"""C14: averages that lose, alarms on strange inputs, and failures that doubt does not find."""

from typing import TYPE_CHECKING

import numpy as np

from elkutils import ledger, profiles
from elkutils.evaluation import Interval, auroc, bootstrap, weighted_mean
from elkutils.study import averages, outside, planted_outside
from elkutils.study.controls import planted_scores, rates
from elkutils.study.core_claims.found import Found, Rates, at_depth, resamples
from elkutils.study.probes import five_of_one_prior

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from elkutils.reporters.base import Reporter

ALPHA, LAYER, RADIUS = 0.1, 15, 0.2  # false alarms asked for; the book's layer; of a search
SEARCHED = f"searched {RADIUS:g}"
STRANGE = {
    "false alarms": ("shuffled", "random", "other languages", SEARCHED),
    "misses": ("other languages", SEARCHED),
}


def averaged(model: "TransformerBridge") -> Found:
    """C14a: cases in which the average loses to its own MAP, and in which it wins."""
    book = profiles.pick(quick=(12, 15), book=(9, 12, 15, 18), full=(9, 12, 15, 18))
    layers = [at_depth(layer, model.cfg.n_layers) for layer in book]

    def pair(d, seed):
        three = _three(d, seed)
        return three["average"], three["MAP"]

    gains = averages.gains(model, layers, pair)
    halves = {case: gains[case].halves() for case in gains if case[0] in averages.MOVES}
    searched = {case: half.clarity for case, (half, _) in halves.items()}
    conditions, controls, told = {}, {}, {}
    for end, pick in {"worse": min, "better": max}.items():
        each = [
            pick((case for case in searched if case[0] == move), key=searched.get)
            for move in averages.MOVES
        ]
        cases = sorted(each, key=searched.get, reverse=end == "better")[:3]
        for k, case in enumerate(cases, 1):
            half = halves[case][1]
            conditions[f"{end}: pair {k}"] = bootstrap(
                weighted_mean,
                half.gain,
                groups=half.groups,
                seeds=half.seeds,
                resamples=resamples(),
            )
            told[f"{end}, pair {k}"] = f"{case[0]}, layer {case[1]}"
        rule = ledger.claims()["C14a"].criteria[end]
        controls[end] = _gain_controls(rule, halves[cases[0]][1], end)
    return Found({"C14a": conditions}, {"C14a": controls}, told)


def _gain_controls(rule, half: averages.Gain, end: str) -> Rates:
    spread, flat = half.gain.std(), np.zeros(len(half.gain), int)
    ids = {"groups": half.groups, "seeds": half.seeds, "resamples": 200}

    def differences(mean):
        def run(rng):
            made = mean + spread * planted_scores(flat, 0.5, half.groups, rng)
            return bootstrap(weighted_mean, made, seed=rng.integers(2**32), **ids)

        return run

    effect = rule.margin + {"worse": -1, "better": 1}[end] * 0.75 * spread
    return rates(rule, differences(effect), differences(0.0), places=3)


def _three(d, seed) -> dict[str, "Reporter"]:
    draws = profiles.pick(quick=25, book=50, full=200)
    five = five_of_one_prior(d, seed, draws=draws)
    return {"MAP": five["MAP"], "average": five["Bayes"], "ensemble": five["ensemble"]}


def strange(model: "TransformerBridge") -> Found:
    """C14b, but for the vault, which asks another network: strange inputs and rare failures."""
    layer, repeats = at_depth(LAYER, model.cfg.n_layers), profiles.pick(quick=2, book=4, full=4)
    asked = outside.ask(model, layer, _three, ALPHA, (RADIUS,), repeats)
    ordinary, conditions = asked["average", "inside"], {}
    for error, kinds in STRANGE.items():
        for kind in kinds:
            for name in _three(1, 0):
                rows = outside.rates(asked[name, "inside"], asked[name, kind], error)
                conditions[f"excess: {error}, {kind}, {name}"] = _excess(*rows)
    missed, told = {}, _ceiling(model, layer, repeats, asked["MAP", "other languages"])
    for kind in STRANGE["misses"]:
        columns = outside.failures(ordinary, asked["average", kind], repeats)
        if columns[0].any():
            missed[kind] = columns
            value = outside.found_interval(*columns, resamples=resamples())
            conditions[f"found: {kind}"] = value
    controls = _strange_controls(ordinary, asked["average", SEARCHED], missed, len(conditions))
    return Found({"C14b": conditions}, {"C14b": controls}, told)


def _excess(side, wrong, groups, seeds) -> Interval:
    rows = {"groups": groups, "seeds": seeds, "resamples": resamples()}
    return bootstrap(outside.excess, side, wrong, **rows)


def _ceiling(model, layer, repeats, asked: outside.Asked) -> dict[str, Interval]:
    """AUROC for harm in other languages, of a MAP taught in English and in them."""
    rows = {"groups": asked.groups, "seeds": asked.seeds, "resamples": resamples()}
    answers = {
        "AUROC, other languages": asked.proba,
        "ceiling, other languages": outside.ceiling(model, layer, _three, "MAP", repeats),
    }
    return {name: bootstrap(auroc, asked.y, p, **rows) for name, p in answers.items()}


def _strange_controls(ordinary, searched, missed, places) -> dict[str, Rates]:
    criteria = ledger.claims()["C14b"].criteria
    rows = outside.rates(ordinary, searched, "false alarms")
    pair = (planted_outside.alarms(*rows, more) for more in (0.45, 0.05))
    found = {"excess": rates(criteria["excess"], *pair, places=places)}
    if missed:
        planted, _, groups, seeds = missed.get(SEARCHED) or next(iter(missed.values()))
        pair = (planted_outside.doubts(planted, groups, seeds, s) for s in (0.1, 0.6))
        found["found"] = rates(criteria["found"], *pair, places=places)
    return found
