"""What the book's core claims ask for, measured on any language model.

Each entry of `PARTS` takes a model and returns a `Found`: intervals by claim and condition, as
the chapters measure them, and how often the controls of each criterion passed. Layers stand at
the same share of the depth as those of the chapters; seeds are those of the profile.
`elkutils.study.second_model` runs them and judges.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from elkutils import ledger, profiles
from elkutils.evaluation import (
    Interval,
    PassRate,
    accuracy,
    auroc,
    averaged,
    bootstrap,
    difference,
    weighted_mean,
)
from elkutils.study import averages, calibration, rankings, readings, small_networks
from elkutils.study.answers import Answers, ask, ask_ceilings
from elkutils.study.controls import auroc_by_pairs, planted_interval, planted_scores, rates
from elkutils.study.controls import shared as once_per_run
from elkutils.study.crossing import ask_by_fold, deal, per_fold
from elkutils.study.pooling import interval, pooled
from elkutils.study.scaling import by_kind, principal, z_scored
from elkutils.study.triage import auroc_of_recall, rare_recall

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

BOOK_LAYERS = 30  # of SmolLM2, whose layers the chapters name
SHIFTS = (
    "cities",
    "elements",
    "comparisons",
    "negation",
    "cities to elements",
    "cities to comparisons",
)
FOLDS, SHUFFLES = 3, 4
TOLD = {"easy": "held-out", "hard": "hard", "easy_negated": "negated"}
KINDS = tuple(TOLD)

Rates = tuple[PassRate, PassRate]


def at_depth(layer: int, count: int) -> int:
    """Return the layer of a model of `count` layers at the same depth as a layer of the book's.

    Depth is the share of the layers that have written, this one included.

    Examples
    --------
    >>> [at_depth(layer, 30) for layer in (10, 15, 18)], at_depth(15, 18), at_depth(0, 6)
    ([10, 15, 18], 9, 0)
    """
    return max(0, round((layer + 1) / BOOK_LAYERS * count) - 1)


@dataclass
class Found:
    """What was measured for one or more claims.

    Attributes
    ----------
    conditions : dict of str to dict of str to Interval
        By claim and condition, as `elkutils.ledger.Chapter.decide` takes them.
    controls : dict of str to dict of str to (PassRate, PassRate)
        By claim and criterion: the positive control, the negative one.
    shown : dict of str to Interval, number or list of them
        What has no vote.
    """

    conditions: dict[str, dict[str, Interval]] = field(default_factory=dict)
    controls: dict[str, dict[str, Rates]] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)


def _resamples() -> int:
    return profiles.pick(quick=100, book=500, full=2000)


def _depth(model) -> Found:
    """AUROC of the chapters' first reporter after each layer."""
    layers = range(0, model.cfg.n_layers, profiles.pick(quick=6, book=1, full=1))
    curves = {kind: [] for kind in KINDS}
    for layer in layers:
        for kind, value in reads_at(model, layer).items():
            curves[kind].append(value)
    return Found(shown={"layers": list(layers), **curves})


def reads_at(model: "TransformerBridge", layer: int) -> dict[str, Interval]:
    """Return the AUROC of a reporter taught by affirmative statements about big cities.

    It is that of the first chapter: logistic regression with τ = 1/√d on z-scored features.

    Returns
    -------
    dict of str to Interval
        On held-out big cities ("easy"), small ones ("hard") and held-out big ones, negated
        ("easy_negated").
    """
    parts = defaultdict(list)
    for seed in readings.seeds():
        sets = by_kind(model, "cities", seed, layer)
        reporter = _reporter(model).fit(*sets["train"][:2])
        for kind in KINDS:
            X, y, groups = sets[kind]
            parts[kind].append((seed, y, reporter.decision_function(X), groups))
    return {kind: interval(auroc, part) for kind, part in parts.items()}


def _reporter(model):
    from elkutils.reporters import LogisticMAP

    return LogisticMAP(model.cfg.d_model**-0.5)


MIXED = tuple(f"shuffled {i}" for i in range(SHUFFLES))
RIVALS = {"the own answer": "own answer", "the words": "TF-IDF", "PMI": "PMI"}
COLUMNS = ("reporter", "own answer", "TF-IDF", "log-probability", "PMI", *MIXED)


def _rivals(model) -> Found:
    """C0: a reporter at the middle layer, and what else might tell true from false."""
    found = [part for seed in readings.rival_seeds() for part in _contest(model, seed)]
    data = {kind: pooled(part for name, part in found if name == kind) for kind in KINDS}

    def compare(statistic, kind, *who):
        y, *scores, folds, groups, seeds = data[kind]
        asked = [scores[COLUMNS.index(name)] for name in who]
        return bootstrap(per_fold(statistic), y, *asked, folds, groups=groups, seeds=seeds)

    table = {f"{who}, {k}": compare(auroc, k, who) for who in COLUMNS[:5] for k in KINDS}
    conditions = {"negation: big cities": table["reporter, easy_negated"]}
    for kind, place in (("easy", "big cities"), ("hard", "small cities")):
        conditions[f"AUROC: {place}"] = table[f"reporter, {kind}"]
        for name, rival in RIVALS.items():
            less = compare(difference(auroc), kind, "reporter", rival)
            conditions[f"over {name}: {place}"] = less
        less = compare(_less_the_mean, kind, "reporter", *MIXED)
        conditions[f"over shuffled labels: {place}"] = less
    both = {f"both kinds, {kind}": value for kind, value in _taught_both(model).items()}
    controls = {"C0": _rival_controls(data["easy"])}
    return Found({"C0": conditions}, controls, table | both)


def _contest(model, seed) -> Iterator[tuple[str, tuple]]:
    """Labels, scores, folds and cities of the rows held out in each fold, by kind."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    runs = TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"\w+")
    words = make_pipeline(runs, LogisticRegression())
    reads, own = readings.read(model, "cities", seed), readings.rivals(model, seed)
    easy, middle = reads["easy"], model.cfg.n_layers // 2
    of, rng = deal(easy.groups, FOLDS, seed), np.random.default_rng(seed)
    for fold in range(FOLDS):
        train, test = of != fold, of == fold
        raw, y = easy.X[middle][train], easy.y[train]
        labels = {"reporter": y} | {name: rng.permutation(y) for name in MIXED}
        X = z_scored(raw)[0]
        fitted = {who: _reporter(model).fit(X, label) for who, label in labels.items()}
        words.fit(np.array(easy.split.texts)[train], y)
        for kind in KINDS if fold == 0 else ("easy", "easy_negated"):
            asked, rows = reads[kind], slice(None) if kind == "hard" else test
            new = z_scored(raw, asked.X[middle][rows])[1]
            scores = {who: probe.decision_function(new) for who, probe in fitted.items()}
            scores |= {who: score[rows] for who, score in own[kind].items()}
            scores["TF-IDF"] = words.decision_function(np.array(asked.split.texts)[rows])
            columns = [scores[who] for who in COLUMNS]
            held = np.full(len(new), fold)
            yield kind, (seed, asked.y[rows], *columns, held, asked.groups[rows])


def _less_the_mean(y, ours, *others, weights=None):
    mean = np.mean([auroc_by_pairs(y, other, weights) for other in others], axis=0)
    return auroc_by_pairs(y, ours, weights) - mean


def _rival_controls(columns: tuple) -> dict[str, Rates]:
    y, *_, folds, groups, seeds = columns
    rows = {"groups": groups, "seeds": seeds, "resamples": 100, "shared": 0.2}

    def planted(*aurocs, drift=0.05):
        statistic = per_fold(auroc_by_pairs if len(aurocs) == 1 else _less_the_mean)
        return planted_interval(statistic, y, aurocs, folds, drift=drift, **rows)

    chance, ten_points = [0.5] * SHUFFLES, (planted(0.9, 0.65), planted(0.9, 0.9))
    drifts = [0.05] + [0.4] * SHUFFLES
    pairs = {
        "AUROC": (planted(0.9), planted(0.7)),
        "over the own answer": ten_points,
        "over shuffled labels": (
            planted(0.8, *chance, drift=drifts),
            planted(0.5, *chance, drift=0.4),
        ),
        "over the words": ten_points,
        "over PMI": (planted(0.9, 0.8), planted(0.9, 0.9)),
        "negation": (planted(0.7), planted(0.5)),
    }
    made, found = {}, {}
    for name, rule in ledger.claims()["C0"].criteria.items():
        key = pairs[name], rule.margin
        found[name] = made[key] = made.get(key) or rates(rule, *pairs[name], places=2)
    return found


def _taught_both(model) -> dict[str, Interval]:
    """AUROC of a reporter taught by affirmative and by negated statements."""
    parts, middle = defaultdict(list), model.cfg.n_layers // 2
    for seed in readings.seeds():
        read = readings.read(model, "cities", seed)
        train, test = read["easy"].split.train_test(seed=seed)
        taught = [read[kind] for kind in ("easy", "easy_negated")]
        raw = np.concatenate([part.X[middle][train] for part in taught])
        y = np.concatenate([part.y[train] for part in taught])
        reporter = _reporter(model).fit(z_scored(raw)[0], y)
        for kind in (*KINDS, "hard_negated"):
            rows = test if kind.startswith("easy") else slice(None)
            X, asked = z_scored(raw, read[kind].X[middle][rows])[1], read[kind]
            score = reporter.decision_function(X)
            parts[kind].append((seed, asked.y[rows], score, asked.groups[rows]))
    return {kind: interval(auroc, part) for kind, part in parts.items()}


def _means(model) -> Found:
    """C2: difference in means against logistic regression, over the middle third."""
    layers = [at_depth(layer, model.cfg.n_layers) for layer in (10, 14, 18)]
    parts, columns = defaultdict(list), []
    for name, seed in product(readings.MAKERS, readings.seeds()):
        asked = ask_by_fold(model, name, seed, layers, FOLDS, _two_probes)
        for kind, (y, log_odds, fold, groups) in asked.items():
            columns = list(log_odds)
            parts[name, kind].append((seed, y, *log_odds.values(), fold, groups))
    answers = {place: pooled(part) for place, part in parts.items()}

    def over_layers(score, place, *methods):
        y, *log_odds, fold, groups, ids = answers[place]
        asked = [log_odds[columns.index(key)] for key in product(methods, layers)]
        asked = [expit(values) for values in asked] if score is accuracy else asked
        each = averaged(score if len(methods) == 1 else difference(score), len(layers))
        options = {"groups": groups, "seeds": ids, "resamples": _resamples()}
        return bootstrap(per_fold(each), y, *asked, fold, **options)

    conditions, table = {}, {}
    for place in answers:
        told = f"{TOLD[place[1]]} {place[0]}"
        conditions[f"AUROC: {told}"] = over_layers(auroc, place, *PROBES)
        conditions[f"accuracy: {told}"] = over_layers(accuracy, place, *PROBES)
        conditions[f"use: {told}"] = over_layers(auroc, place, PROBES[0])
        table[f"{PROBES[1]}, {told}"] = over_layers(auroc, place, PROBES[1])
    controls = {"C2": _mean_controls(answers["elements", "easy"], len(answers))}
    return Found({"C2": conditions}, controls, table)


PROBES = ("difference in means", "logistic, evidence")


def _two_probes(X, y):
    from elkutils.reporters import DifferenceInMeans, LogisticMAP

    pair = DifferenceInMeans().fit(X, y), LogisticMAP("evidence").fit(X, y)
    return dict(zip(PROBES, pair, strict=True))


def _mean_controls(columns: tuple, places: int) -> dict[str, Rates]:
    y, *_, fold, groups, seeds = columns

    def planted(score, *aurocs):
        statistic = per_fold(score if len(aurocs) == 1 else difference(score))
        link = expit if score is accuracy else np.asarray
        rows = {"groups": groups, "seeds": seeds, "resamples": 100}
        noise = {"shared": 0.95, "drift": 0.05, "link": link}
        return planted_interval(statistic, y, aurocs, fold, **rows, **noise)

    pairs = {
        "AUROC": (planted(auroc_by_pairs, 0.9, 0.9), planted(auroc_by_pairs, 0.8, 0.9)),
        "accuracy": (planted(accuracy, 0.9, 0.9), planted(accuracy, 0.75, 0.9)),
        "use": (planted(auroc_by_pairs, 0.9), planted(auroc_by_pairs, 0.7)),
    }
    criteria = ledger.claims()["C2"].criteria
    return {name: rates(criteria[name], *pair, places=places) for name, pair in pairs.items()}


INPUTS, SCALES = 16, (0.75, 1.5, 3.0, 6.0)
IN_SHORT = small_networks.RECIPES[:1]  # plain gradient descent, at all its stops


def _networks(model) -> Found:
    """C5d in short: plain ensembles and prior draws under a loss, against HMC."""
    run = _Networks(model)
    bags = run.bags()
    found = {
        place: small_networks.compare(bag, run.target, run.sets) for place, bag in bags.items()
    }
    conditions = {
        f"{measure}, {kind}: {place}": each[kind][measure]
        for place, each in found.items()
        for measure in small_networks.MEASURES
        for kind in run.kinds
    }
    told = {"prior scale": run.scale, "worst R-hat": run.rhat, "least ESS": run.ess}
    return Found({"C5d": conditions}, {"C5d": run.controls(len(bags))}, told)


class _Networks:
    """HMC on small networks of one model's activations, and the bags it is compared with."""

    kinds = ("easy", "hard", "negated")

    def __init__(self, model):
        from elkutils.inference.diagnostics import diagnose
        from elkutils.inference.networks.mlp import MLP

        self.count, sizes = profiles.pick(
            quick=(32, (50, 50)), book=(128, (400, 200)), full=(512, (2000, 1000))
        )
        self.long, self.short = sizes
        layer, self.sets = at_depth(14, model.cfg.n_layers), {}
        for seed in list(readings.seeds())[: profiles.pick(quick=2, book=3, full=10)]:
            sets = by_kind(model, "cities", seed, layer)
            sets["negated"] = sets.pop("easy_negated")
            sets = {kind: sets[kind] for kind in ("train", *self.kinds)}
            along = principal(INPUTS, *(X for X, _, _ in sets.values()))
            self.sets[seed] = {
                kind: (X, *rest)
                for X, (kind, (_, *rest)) in zip(along, sets.items(), strict=True)
            }
        self.scale = self._by_evidence()
        self.head = MLP((16,), weight_scale=self.scale)
        runs = {s: self.posterior(s, self.long, 5000 + s) for s in self.sets}
        drawn = {s: self.said(run, s) for s, run in runs.items()}
        self.again = {
            s: self.said(self.posterior(s, self.short, 6000 + s), s) for s in self.sets
        }
        self.target = {
            (s, kind): small_networks.Target.of(drawn[s][kind], self.again[s][kind], self.count)
            for s in self.sets
            for kind in self.kinds
        }
        rows = {s: np.concatenate([sets[k][0] for k in self.kinds]) for s, sets in self.items}
        worst = [diagnose(runs[s].log_odds(rows[s])).worst for s in self.sets]
        self.rhat = float(max(each["rhat"] for each in worst))
        self.ess = float(min(each["ess"] for each in worst))

    @property
    def items(self):
        return self.sets.items()

    def _by_evidence(self) -> float:
        from elkutils.inference.networks import tempered
        from elkutils.inference.networks.mlp import MLP

        few = list(self.sets)[: profiles.pick(quick=1, book=1, full=10)]
        found = dict.fromkeys(SCALES, 0.0)
        for scale, s in product(SCALES, few):
            head, rows = MLP((16,), weight_scale=scale), self.sets[s]["train"][:2]
            run = tempered.sample(head, *rows, 48, most_moves=10, seed=s)
            found[scale] += run.details["log_evidence"]
        return max(found, key=found.get)

    def posterior(self, s, draws, seed, head=None):
        from elkutils.inference.networks import hmc

        X, y, _ = self.sets[s]["train"]
        return hmc.sample(head or self.head, X, y, draws, 150, 4, seed=seed)

    def said(self, draws, s):
        return small_networks.said(draws, self.sets[s], self.kinds)

    def bags(self) -> dict[str, dict]:
        """Log odds of each bag, by place and seed."""
        from elkutils.inference.networks import threshold

        steps, bags = profiles.pick(quick=60, book=1000, full=5000), defaultdict(dict)
        for recipe, s in product(IN_SHORT, self.sets):
            rows = self.sets[s]["train"]
            made = small_networks.members(recipe, self.head, rows, self.count, 9000 + s, steps)
            for stop, draws in made.items():
                place = f"{recipe.name} · {recipe.optimiser} · {stop}"
                bags[place][s] = self.said(draws, s)
        losses = small_networks.LOSSES
        options = {"share": 0.3, "most_moves": 6, "last_moves": 30}
        for s, sets in self.items:
            kept = threshold.descend_each(
                self.head, *sets["train"][:2], losses, self.count, seed=s, **options
            )
            for loss, draws in zip(losses, kept, strict=True):
                bags[f"prior draws · {small_networks.at_loss(loss)}"][s] = self.said(draws, s)
        return dict(bags)

    def controls(self, places: int) -> dict[str, Rates]:
        """A second run of HMC should pass; an untrained bag, a point and a wide prior not."""
        wrong = dict(zip(small_networks.MEASURES, self._wrong(), strict=True))
        found, criteria = {}, ledger.claims()["C5d"].criteria
        for kind in self.kinds:
            good = self._resampled(self.again, kind)
            for measure, pools in wrong.items():
                name = f"{measure}, {kind}"
                pair = good(measure), self._resampled(pools, kind)(measure)
                found[name] = rates(criteria[name], *pair, places)
        return found

    def _wrong(self) -> tuple[dict, dict, dict]:
        from elkutils.inference.draws import Draws
        from elkutils.inference.networks.mlp import MLP
        from elkutils.inference.networks.network import draw_prior, flat
        from elkutils.reporters import LogisticMAP

        untrained, point, wide = {}, {}, {}
        shape, wider = flat(self.head, INPUTS), MLP((16,), weight_scale=2 * self.scale)
        for s, sets in self.items:
            start = draw_prior(self.head, 4 * self.count, INPUTS, seed=7000 + s)
            start = Draws(shape, np.asarray(shape.flatten(start))[None])
            untrained[s] = self.said(start, s)
            fit = LogisticMAP("evidence").fit(*sets["train"][:2])
            point[s] = {
                kind: np.tile(fit.decision_function(sets[kind][0]), (self.count, 1))
                for kind in self.kinds
            }
            wide[s] = self.said(self.posterior(s, self.short // 2, 8000 + s, wider), s)
        return untrained, point, wide

    def _resampled(self, pools, kind):
        each = {s: pools[s][kind] for s in self.sets}
        targets = {s: self.target[s, kind] for s in self.sets}
        groups = {s: sets[kind][2] for s, sets in self.items}
        return once_per_run(
            partial(small_networks.resampled, each, targets, groups, self.count)
        )


def _calibrated(model) -> Found:
    """C11a: the posterior's probabilities on held-out big cities."""
    from elkutils.reporters import BayesianLogistic

    layer, draws = at_depth(14, model.cfg.n_layers), profiles.pick(quick=50, book=200, full=500)

    def held_out_once(seed):
        part = readings.read(model, "cities", seed)["easy"]
        p = np.empty(len(part.y))
        for train, test in calibration.folds(part.groups, FOLDS, seed):
            inside, new = z_scored(part.X[layer][train], part.X[layer][test])
            reporter = BayesianLogistic("evidence", draws=draws, seed=seed)
            p[test] = reporter.fit(inside, part.y[train]).predict_proba(new)[:, 1]
        return seed, part.y, p, part.groups

    crossed = pooled(map(held_out_once, readings.seeds()))
    controls = calibration.controls(ledger.claims()["C11a"].criteria, *crossed)
    found = calibration.intervals(*crossed, resamples=_resamples())
    return Found({"C11a": found}, {"C11a": controls})


def _prior_scale(d: int) -> float:
    return 2 / np.sqrt(d)


def _average(d: int, seed: int, draws: int) -> dict:
    from elkutils.reporters import BayesianLogistic

    options = {"draws": draws, "chains": 16, "seed": seed}
    return {"average": BayesianLogistic(_prior_scale(d), **options)}


def _shifted(model) -> Found:
    """C13: trained on easy statements, asked about hard ones, beside the ceiling."""
    draws = profiles.pick(quick=25, book=60, full=500)
    few = max(10, draws // 2)
    step = max(1, round(model.cfg.n_layers / profiles.pick(quick=2, book=6, full=30)))
    asked = ask(model, SHIFTS, partial(_average, draws=draws), step)
    chosen = {name: asked.best_place(name, "average") for name in SHIFTS}
    places = {name: [place] for name, place in chosen.items()}
    ceilings = ask_ceilings(model, SHIFTS, partial(_average, draws=few), places)
    return _Shifted(asked, ceilings, chosen).found()


@dataclass(frozen=True)
class _Shifted:
    asked: Answers
    ceilings: Answers
    chosen: Mapping[str, int]

    def at(self, name: str) -> tuple:
        return name, self.chosen[name], "average", "hard"

    def harm(self, name: str) -> np.ndarray:
        return self.asked.about(name, "hard")[0]

    def wrong(self, name: str) -> np.ndarray:
        return ((self.asked.forecast(*self.at(name)) > 0.5) != self.harm(name)).astype(int)

    def scored(self, statistic: Callable, source: Answers) -> dict[str, Interval]:
        options = {"resamples": _resamples()}
        return {name: source.interval(statistic, *self.at(name), **options) for name in SHIFTS}

    def found(self) -> Found:
        recall, criteria = rare_recall(0.1), ledger.claims()["C13a"].criteria
        ranking, tops = self.scored(auroc, self.asked), self.scored(auroc, self.ceilings)
        triage = self.scored(recall, self.asked)
        readable = [n for n in SHIFTS if tops[n].estimate >= criteria["AUROC"].margin]
        findable = [
            name
            for name in readable
            if self.ceilings.mean_score(recall, *self.at(name)) >= criteria["recall"].margin
        ]
        refit = {
            name: calibration.intervals(
                *self._forecasts(name), *self.asked.about(name, "hard")[1:], _resamples()
            )
            for name in SHIFTS
        }
        plenty = [name for name in readable if self.wrong(name).sum() >= 100]
        warning = {name: self.warns(name) for name in plenty}
        conditions = {
            "C13a": {f"AUROC: {name}": ranking[name] for name in readable}
            | {f"recall: {name}": triage[name] for name in findable},
            "C13b": {f"{c}: {n}": refit[n][c] for n in readable for c in CALIBRATED},
            "C13c": {f"errors: {name}": value for name, value in warning.items()},
        }
        told = {f"AUROC, {name}": value for name, value in ranking.items()}
        told |= {f"ceiling, {name}": value for name, value in tops.items()}
        told |= {f"excess ECE, {name}": each["excess ECE"] for name, each in refit.items()}
        told |= {f"layer, {name}": place for name, place in self.chosen.items()}
        return Found(conditions, self.controls(readable, findable, plenty), told)

    def _forecasts(self, name):
        return self.harm(name), self.asked.forecast(*self.at(name))

    def warns(self, name: str) -> Interval:
        """AUROC of doubt for the reporter's own errors."""
        _, groups, which = self.asked.about(name, "hard")
        options = {"groups": groups, "seeds": which, "resamples": _resamples()}
        return bootstrap(auroc, self.wrong(name), self.asked.doubt(*self.at(name)), **options)

    def controls(self, readable, findable, plenty) -> dict[str, dict[str, Rates]]:
        recall = rare_recall(0.1)
        levels = [auroc_of_recall(share, 0.1) for share in (0.8, 0.25)]
        ranked = {
            "AUROC": self._control("C13a", "AUROC", auroc, self.harm, readable, 0.9, 0.6),
            "recall": self._control("C13a", "recall", recall, self.harm, findable, *levels),
        }
        warned = self._control("C13c", "errors", auroc, self.wrong, plenty, 0.8, 0.5)
        found = {"C13a": ranked, "C13b": {}, "C13c": {"errors": warned}}
        try:
            largest = rankings.largest_steady(self.asked, readable)
        except ValueError:  # no such shift can be read
            return found
        rules = {c: ledger.claims()["C13b"].criteria[c] for c in CALIBRATED}
        rows = *self._forecasts(largest), *self.asked.about(largest, "hard")[1:]
        found["C13b"] = calibration.controls(rules, *rows, len(readable), resamples=60)
        return found

    def _control(self, id, criterion, statistic, target, places, *levels) -> Rates | None:
        """Both controls where groups are fewest, if there is a place at all."""
        if not places:
            return None
        fewest = min(places, key=lambda n: len(np.unique(self.asked.about(n, "hard")[1])))
        _, groups, which = self.asked.about(fewest, "hard")
        rows = {"groups": groups, "seeds": which, "resamples": 100}
        planted = [
            planted_interval(statistic, target(fewest).astype(int), [level], **rows)
            for level in levels
        ]
        rule = ledger.claims()[id].criteria[criterion]
        return rates(rule, *planted, places=len(places))


CALIBRATED = ("slope", "intercept")


def _averages(model) -> Found:
    """C14a: cases in which the average loses to its own MAP, and in which it wins."""
    draws = profiles.pick(quick=25, book=50, full=200)
    book = profiles.pick(quick=(12, 15), book=(9, 12, 15, 18), full=(9, 12, 15, 18))
    layers = [at_depth(layer, model.cfg.n_layers) for layer in book]

    def pair(d, seed):
        from elkutils.reporters import LogisticMAP

        return _average(d, seed, draws)["average"], LogisticMAP(_prior_scale(d))

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
                resamples=_resamples(),
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


PARTS: dict[str, Callable[["TransformerBridge"], Found]] = {
    "depth": _depth,
    "rivals": _rivals,
    "means": _means,
    "calibration": _calibrated,
    "shifts": _shifted,
    "averages": _averages,
    "networks": _networks,
}
