"""What several reporters answer at every place of every shift, kept by seed.

`ask` fits and asks them once, `ask_ceilings` the same reporters trained on hard rows; `Answers`
then looks up forecasts, doubts and labels as long columns over seeds, and scores them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    class_distance,
    log_score,
    mutual_information,
)
from elkutils.ledger import Criterion
from elkutils.study import shifts
from elkutils.study.calibration import folds
from elkutils.study.controls import planted_interval, rates
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

KINDS = ("easy", "hard")  # rows like the training rows, and rows that are not


@dataclass(frozen=True)
class Answers:
    """Answers of reporters, and the rows that they are about.

    Attributes
    ----------
    rows : dict of (str, str) to list of Rows
        Maps (shift, kind) to the rows of each seed; the kind is one of `KINDS`.
    places : dict of str to list
        Maps a shift to the places where its activations were read.
    answers : dict of tuple to list of pairs of (n,) arrays
        Maps (shift, place, method, kind) to one pair per seed: the mean P(harm), and how much
        the draws contradict each other, by `mutual_information`.
    """

    rows: dict[tuple[str, str], list[shifts.Rows]]
    places: dict[str, list]
    answers: dict[tuple, list[tuple[np.ndarray, np.ndarray]]]

    def forecast(self, name: str, place: int | str, method: str, kind: str) -> np.ndarray:
        """Return P(harm) of the rows of all seeds, one seed after another."""
        return np.concatenate([p for p, _ in self.answers[name, place, method, kind]])

    def doubt(self, name: str, place: int | str, method: str, kind: str) -> np.ndarray:
        """Return the draws' mutual information in the order of `forecast`."""
        return np.concatenate([doubt for _, doubt in self.answers[name, place, method, kind]])

    def about(self, name: str, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return harm, groups and number of the seed, in the order of `forecast`."""
        parts = self.rows[name, kind]
        which = np.repeat(np.arange(len(parts)), [len(part.y) for part in parts])
        y, groups = (
            np.concatenate([getattr(part, field) for part in parts])
            for field in ("y", "groups")
        )
        return y, groups, which

    def mean_score(
        self, statistic: Callable, name: str, place: int | str, method: str, kind: str
    ) -> float:
        """Return the mean over seeds of a statistic of harm and P(harm) of one seed."""
        pairs = zip(self.rows[name, kind], self.answers[name, place, method, kind], strict=True)
        return float(np.mean([statistic(part.y, p) for part, (p, _) in pairs]))

    def interval(
        self,
        statistic: Callable,
        name: str,
        place: int | str,
        method: str,
        kind: str,
        **options: object,
    ) -> Interval:
        """Return the `bootstrap` interval of a statistic of harm and P(harm).

        It resamples groups and seeds; `options` are those of `bootstrap`.
        """
        y, groups, which = self.about(name, kind)
        p = self.forecast(name, place, method, kind)
        return bootstrap(statistic, y, p, groups=groups, seeds=which, **options)

    def controls(
        self,
        criterion: Criterion,
        statistic: Callable,
        places: Sequence[str],
        levels: tuple[float, float],
        target: Callable[[str], np.ndarray] | None = None,
    ) -> tuple[PassRate, PassRate]:
        """Return how often made-up reporters of known AUROC pass a criterion.

        They are asked about the hard rows of the one shift of `places` with the fewest groups.

        Parameters
        ----------
        criterion : Criterion
        statistic : callable
            Of labels and scores, as `bootstrap` takes it.
        places : sequence of str
            The shifts that the criterion judges.
        levels : (positive, negative)
            AUROC of the control that should pass, and of the one that should not.
        target : callable or None
            From a shift to its labels (n,), 0 or 1; None for harm.
        """
        fewest = min(places, key=lambda name: len(np.unique(self.about(name, "hard")[1])))
        harm, groups, which = self.about(fewest, "hard")
        y = (harm if target is None else target(fewest)).astype(int)
        rows = {"groups": groups, "seeds": which, "resamples": 100}
        planted = [planted_interval(statistic, y, [level], **rows) for level in levels]
        return rates(criterion, *planted, places=len(places))

    def joined(self, other: "Answers") -> "Answers":
        """Return these answers with those of other reporters about the same rows."""
        return Answers(self.rows, self.places, self.answers | other.answers)

    def best_place(self, name: str, method: str) -> int | str:
        """Return the place with the best log score on held-out easy rows."""
        y, _, _ = self.about(name, "easy")
        scores = {
            place: log_score(y, self.forecast(name, place, method, "easy"))
            for place in self.places[name]
        }
        return max(scores, key=scores.get)

    def half(
        self,
        name: str,
        place: int | str,
        methods: Iterable[str],
        parity: int,
        seed: int = 0,
    ) -> tuple[np.ndarray, ...]:
        """Return the hard rows of half of the groups and of every other seed.

        Parameters
        ----------
        name : str
            Which shift.
        place : int or str
            Where its activations were read.
        methods : iterable of str
            Whose forecasts.
        parity : 0 or 1
            Which half; the two share neither groups nor seeds.
        seed : int
            Seed of the order of the groups.

        Returns
        -------
        tuple of (n,) arrays
            Harm, the forecast of each method, the groups and the number of the seed.
        """
        y, groups, which = self.about(name, "hard")
        order = np.random.default_rng(seed).permutation(np.unique(groups))
        half = np.isin(groups, order[parity::2]) & (which % 2 == parity)
        forecasts = (self.forecast(name, place, method, "hard")[half] for method in methods)
        return y[half], *forecasts, groups[half], which[half]


def ask(
    model: "TransformerBridge",
    names: Iterable[str],
    make: Callable,
    places: int | Mapping[str, list] = 1,
) -> Answers:
    """Fit reporters at places of every shift and seed, and ask them about all rows.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    names : iterable of str
        Some of `shifts.names()`. Those that share their training rows share reporters.
    make : callable
        ``(d, seed)`` → dict of new reporters by method.
    places : int or mapping of str to list
        The distance between the layers that are asked, of which the last is always one; or the
        places of each shift by name.
    """
    names, rows, where, answers = list(names), defaultdict(list), {}, defaultdict(list)
    for trained_on in dict.fromkeys(map(shifts.trained_on, names)):
        group = [name for name in names if shifts.trained_on(name) == trained_on]
        for seed in shifts.seeds(trained_on):
            data = {name: shifts.read(model, name, seed) for name in group}
            first = data[group[0]]
            for name in group:
                rows[name, "easy"].append(first.easy)
                rows[name, "hard"].append(data[name].hard)
                where[name] = _places(first, places, name)
            for place in dict.fromkeys(p for name in group for p in where[name]):
                X, easy, _ = first.at(place)
                asked = [name for name in group if place in where[name]]
                hard = {name: data[name].at(place)[2] for name in asked}
                for method, reporter in make(X.shape[1], seed).items():
                    reporter.fit(X, first.train.y)
                    on_easy = _answer(reporter, easy)
                    for name in asked:
                        answers[name, place, method, "easy"].append(on_easy)
                        on_hard = _answer(reporter, hard[name])
                        answers[name, place, method, "hard"].append(on_hard)
    return Answers(dict(rows), where, dict(answers))


def ask_ceilings(
    model: "TransformerBridge",
    names: Iterable[str],
    make: Callable,
    places: Mapping[str, list],
    parts: int = 5,
) -> Answers:
    """Train reporters on the hard rows themselves, by grouped cross-validation.

    What they reach is a ceiling for reporters trained on easy rows: where a reporter that has
    seen labels of hard rows ranks no better, there was no more for it to read at that place.

    Parameters
    ----------
    model, names, make
        As in `ask`.
    places : mapping of str to list
        The places of each shift.
    parts : int
        Number of parts of the groups. Each row is answered by a reporter that is trained on,
        and scaled by, the parts that its group is not in.

    Returns
    -------
    Answers
        About the kind "hard" only, row for row as `ask` has them.
    """
    names, rows, answers = list(names), defaultdict(list), defaultdict(list)
    for name in names:
        for seed in shifts.seeds(name):
            hard = shifts.read(model, name, seed).hard
            rows[name, "hard"].append(hard)
            for place in places[name]:
                found = _cross_validated(hard, place, parts, make, seed)
                for method, pair in found.items():
                    answers[name, place, method, "hard"].append(pair)
    return Answers(dict(rows), {name: list(places[name]) for name in names}, dict(answers))


def distances(model: "TransformerBridge", name: str, place: int | str) -> dict[str, np.ndarray]:
    """Return the distance of easy and of hard rows from the training rows' nearer class.

    The rows are in the order of `Answers.forecast`; the distance is `class_distance`.
    """
    found = {kind: [] for kind in KINDS}
    for seed in shifts.seeds(name):
        shift = shifts.read(model, name, seed)
        X, *others = shift.at(place)
        for kind, new in zip(KINDS, others, strict=True):
            found[kind].append(class_distance(X, shift.train.y, new))
    return {kind: np.concatenate(parts) for kind, parts in found.items()}


def _places(shift: shifts.Shift, places: int | Mapping[str, list], name: str) -> list:
    if not isinstance(places, int):
        return list(places[name])
    found = list(shift.train.X)
    return found if isinstance(found[0], str) else sorted({*found[::places], found[-1]})


def _cross_validated(hard: shifts.Rows, place, parts, make, seed) -> dict[str, tuple]:
    """Answers about the rows of each part by reporters trained on the others."""
    X, found = hard.X[place], {}
    for train, test in folds(hard.groups, parts, seed):
        trained, new = z_scored(X[train], X[test])
        for method, reporter in make(X.shape[1], seed).items():
            reporter.fit(trained, hard.y[train])
            pair = found.setdefault(method, (np.empty(len(X)), np.empty(len(X))))
            pair[0][test], pair[1][test] = _answer(reporter, new)
    return found


def _answer(reporter, X) -> tuple[np.ndarray, np.ndarray]:
    draws = reporter.sample_proba(X)
    return draws.mean(axis=0), mutual_information(draws)
