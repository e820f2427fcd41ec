"""C13: what reporters of easy statements do on hard ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from elkutils import ledger, profiles
from elkutils.evaluation import Interval, auroc, bootstrap
from elkutils.study import calibration, rankings
from elkutils.study.answers import Answers, ask, ask_ceilings
from elkutils.study.core_claims.found import Found, Rates, resamples
from elkutils.study.probes import five_of_one_prior
from elkutils.study.triage import auroc_of_recall, rare_recall

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

SHIFTS = (
    "cities",
    "elements",
    "comparisons",
    "negation",
    "cities to elements",
    "cities to comparisons",
)
CALIBRATED = ("slope", "intercept")


def shifted(model: "TransformerBridge") -> Found:
    """C13: trained on easy statements, asked about hard ones, beside the ceiling."""
    draws = profiles.pick(quick=25, book=60, full=500)
    few = max(10, draws // 2)
    step = max(1, round(model.cfg.n_layers / profiles.pick(quick=2, book=6, full=30)))
    asked = ask(model, SHIFTS, partial(_average, draws=draws), step)
    chosen = {name: asked.best_place(name, "average") for name in SHIFTS}
    places = {name: [place] for name, place in chosen.items()}
    ceilings = ask_ceilings(model, SHIFTS, partial(_average, draws=few), places)
    return _Shifted(asked, ceilings, chosen).found()


def _average(d, seed, draws):
    return {"average": five_of_one_prior(d, seed, ["Bayes"], draws)["Bayes"]}


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
        options = {"resamples": resamples()}
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
                *self._forecasts(name), *self.asked.about(name, "hard")[1:], resamples()
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
        options = {"groups": groups, "seeds": which, "resamples": resamples()}
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
        """Both controls, if there is a place at all."""
        if not places:
            return None
        rule = ledger.claims()[id].criteria[criterion]
        return self.asked.controls(rule, statistic, places, levels, target)
