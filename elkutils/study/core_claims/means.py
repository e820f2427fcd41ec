"""C2: difference in means against logistic regression."""

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

from elkutils import ledger
from elkutils.evaluation import accuracy, auroc
from elkutils.study import readings
from elkutils.study.core_claims.found import FOLDS, TOLD, Found, at_depth, resamples
from elkutils.study.crossing import ask_by_fold, noninferiority_controls, over_layers
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

    def score(statistic, place, *methods):
        return over_layers(statistic, answers[place], columns, methods, layers, resamples())

    conditions, table = {}, {}
    for place in answers:
        told = f"{TOLD[place[1]]} {place[0]}"
        conditions[f"AUROC: {told}"] = score(auroc, place, *PROBES)
        conditions[f"accuracy: {told}"] = score(accuracy, place, *PROBES)
        conditions[f"use: {told}"] = score(auroc, place, PROBES[0])
        table[f"{PROBES[1]}, {told}"] = score(auroc, place, PROBES[1])
    criteria = ledger.claims()["C2"].criteria
    smallest = answers["elements", "easy"]
    power = {"C2": noninferiority_controls(criteria, smallest, len(answers))}
    return Found({"C2": conditions}, power, table)


def _two_probes(X, y):
    from elkutils.reporters import DifferenceInMeans, LogisticMAP

    pair = DifferenceInMeans().fit(X, y), LogisticMAP("evidence").fit(X, y)
    return dict(zip(PROBES, pair, strict=True))
