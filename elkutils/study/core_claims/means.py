"""C2: difference in means against logistic regression."""

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from elkutils import ledger
from elkutils.evaluation import accuracy, auroc, averaged, bootstrap, difference
from elkutils.study import readings
from elkutils.study.controls import auroc_by_pairs, planted_interval, rates
from elkutils.study.core_claims.found import FOLDS, TOLD, Found, Rates, at_depth, resamples
from elkutils.study.crossing import ask_by_fold, per_fold
from elkutils.study.pooling import pooled

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

PROBES = ("difference in means", "logistic, evidence")


def means(model: "TransformerBridge") -> Found:
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
        options = {"groups": groups, "seeds": ids, "resamples": resamples()}
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
