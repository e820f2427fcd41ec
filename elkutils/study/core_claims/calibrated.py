"""C11: whether reporters can be taken at their word on statements like the training ones."""

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from elkutils import ledger, profiles
from elkutils.evaluation import Interval, auroc, fit_temperature
from elkutils.study import calibration, readings, streams
from elkutils.study.controls import rates
from elkutils.study.core_claims.found import FOLDS, Found, Rates, at_depth, resamples
from elkutils.study.pooling import interval, pooled
from elkutils.study.probes import five_reporters
from elkutils.study.promises import Steps
from elkutils.study.temperatures import Trials

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from elkutils.reporters.base import Reporter

LAYER = 14  # of the book's
SURE = expit(-30.0)


def posterior(model: "TransformerBridge") -> Found:
    """C11a: the posterior's probabilities on held-out big cities."""
    from elkutils.reporters import BayesianLogistic

    draws = profiles.pick(quick=50, book=200, full=500)
    layer = at_depth(LAYER, model.cfg.n_layers)

    def held_out(seed):
        part = readings.read(model, "cities", seed)["easy"]
        reporter = BayesianLogistic("evidence", draws=draws, seed=seed)
        rows = part.X[layer], part.y, part.groups
        p = calibration.held_out_once(reporter, *rows, count=FOLDS, seed=seed)
        return seed, part.y, p, part.groups

    crossed = pooled(map(held_out, readings.seeds()))
    controls = calibration.controls(ledger.claims()["C11a"].criteria, *crossed)
    found = calibration.intervals(*crossed, resamples=resamples())
    return Found({"C11a": found}, {"C11a": controls})


def reporters(model: "TransformerBridge") -> Found:
    """C11b and C11c: five reporters on held-out big cities, before and after a temperature."""
    parts, learning = _five_held_out(model)
    columns = {name: pooled(part) for name, part in parts.items()}
    times = profiles.pick(quick=100, book=400, full=2000)  # as many as the chapter draws
    raw, mended, told = {}, {}, {}
    for name, (y, before, after, groups, seeds) in columns.items():
        for where, p in ((raw, before), (mended, after)):
            tested = calibration.intervals(y, p, groups, seeds, resamples=times)
            where |= {f"{each}: {name}": value for each, value in tested.items()}
        gain = _log_score(y, after) - _log_score(y, before)
        mended[f"log score: {name}"] = Steps(groups, seeds).mean(gain)
        told[f"AUROC, {name}"] = _ranking(parts[name])
    y, before, _, groups, seeds = columns["posterior"]
    controls = _controls((y, before, groups, seeds), learning, len(columns))
    return Found({"C11b": raw, "C11c": mended}, controls, told)


def _five_held_out(model) -> tuple[dict[str, list[tuple]], list[tuple]]:
    """Labels, P(true) before and after a temperature, and cities, each city held out once.

    Also, for the control, what the posterior's temperature was learned from.
    """
    parts, learning = defaultdict(list), []
    layer = at_depth(LAYER, model.cfg.n_layers)
    for seed, fold in product(readings.seeds(), range(streams.FOLDS)):
        sets = streams.in_parts(model, "cities", seed, layer, fold)
        _, y, groups = sets["easy"]
        for name, reporter in _five(seed).items():
            reporter.fit(*sets["fit"][:2])
            told, raw = (
                reporter.predict_proba(sets[kind][0])[:, 1] for kind in ("recalibrate", "easy")
            )
            mended = fit_temperature(sets["recalibrate"][1], told)(raw)
            parts[name].append((seed, y, raw, mended, groups))
            if name == "posterior":
                learning.append((seed, told, raw, groups))
    return parts, learning


def _five(seed) -> dict[str, "Reporter"]:
    method, draws, members = profiles.pick(
        quick=("laplace", 25, 8), book=("hmc", 60, 32), full=("hmc", 500, 32)
    )
    return five_reporters(method, draws, members, seed)


def _log_score(y, p) -> np.ndarray:
    """Of each row; log odds beyond ±30 count as ±30, as where a temperature is learned."""
    return np.log(np.clip(np.where(y == 1, p, 1 - p), SURE, 1 - SURE))


def _ranking(part) -> Interval:
    return interval(auroc, ((seed, y, raw, groups) for seed, y, raw, _, groups in part))


def _controls(columns, learning, places) -> dict[str, dict[str, Rates]]:
    """Forecasters of known calibration, and what learning a temperature costs one."""
    rules = ledger.claims()["C11c"].criteria
    three = {name: rules[name] for name in ledger.claims()["C11b"].criteria}
    found = calibration.controls(three, *columns, places=places)
    trials = Trials(learning)
    cost = rates(rules["log score"], trials.gain, lambda rng: trials.gain(rng, 2.0), places)
    return {"C11b": found, "C11c": found | {"log score": cost}}
