"""What averaging over a posterior gains over its most probable point, case by case.

A *case* is a shift and a layer. `gains` has the paired differences row by row; `Gain.halves`
cuts them in two that share neither groups nor seeds: one to search, one to measure.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from elkutils.study import readings
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MOVES = {
    "cities": (("cities", "easy"), ("cities", "hard")),
    "cities, back": (("cities", "hard"), ("cities", "easy")),
    "elements": (("elements", "easy"), ("elements", "hard")),
    "elements, back": (("elements", "hard"), ("elements", "easy")),
    "negation": (("cities", "easy"), ("cities", "easy_negated")),
    "cities to elements": (("cities", "easy"), ("elements", "easy")),
    "cities to comparisons": (("cities", "easy"), ("comparisons", "easy")),
}


@dataclass(frozen=True)
class Gain:
    """Rows of one case, all seeds one after another; every field has shape (N,).

    Attributes
    ----------
    gain : array
        Log score of the average less that of the point, in nats.
    right : bool array
        Whether the point's answer is right.
    claimed : array
        The probability that the point gives its own answer, at least ½.
    groups, seeds : arrays
    """

    gain: np.ndarray
    right: np.ndarray
    claimed: np.ndarray
    groups: np.ndarray
    seeds: np.ndarray

    def at(self, rows: np.ndarray) -> "Gain":
        """Return some of the rows."""
        return Gain(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def clarity(self) -> float:
        """Mean gain of a group over its standard error, groups taken as independent."""
        _, of = np.unique(self.groups, return_inverse=True)
        means = np.bincount(of, self.gain) / np.bincount(of)
        return float(means.mean() / means.std(ddof=1) * np.sqrt(len(means)))

    def halves(self, seed: int = 0) -> tuple["Gain", "Gain"]:
        """Return two parts that share neither groups nor seeds.

        The first has every other seed from the second one on, and so never more of them.

        Parameters
        ----------
        seed : int
            Seed of the division of the groups.

        Raises
        ------
        ValueError
            If there is one seed only.
        """
        values, order = np.unique(self.seeds, return_inverse=True)
        if len(values) < 2:
            raise ValueError(f"seeds holds {values.tolist()}; two halves need at least two")
        names = np.random.default_rng(seed).permutation(np.unique(self.groups))
        return tuple(
            self.at(np.isin(self.groups, names[parity::2]) & (order % 2 == parity))
            for parity in (1, 0)
        )


def gains(
    model: "TransformerBridge", layers: Iterable[int], make: Callable
) -> dict[tuple[str, int], Gain]:
    """Return the log score of an average less that of a point, for each row of each case.

    Reporters are trained on seven groups in ten of a move's first split, and asked about the
    second: about groups that they were not trained on.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    layers : iterable of int
    make : callable
        ``(d, seed)`` → two new reporters, the average and the point.

    Returns
    -------
    dict of (str, int) to Gain
        By move and layer. A key ``("… at home", layer)`` has the held-out rows of the split
        that was trained on.
    """
    layers, parts = list(layers), {}
    for seed in readings.seeds():
        read = {name: readings.read(model, name, seed) for name in readings.MAKERS}
        for home in dict.fromkeys(home for home, _ in MOVES.values()):
            source = read[home[0]][home[1]]
            train, test = source.split.train_test(seed=seed)
            asked = {f"{' '.join(home)} at home": (source, test)}
            for move, (trained, new) in MOVES.items():
                if trained == home:
                    rows = test if new[1] == "easy_negated" else slice(None)
                    asked[move] = read[new[0]][new[1]], rows
            for layer in layers:
                X, *others = z_scored(
                    source.X[layer][train], *(r.X[layer][rows] for r, rows in asked.values())
                )
                pair = [each.fit(X, 1 - source.y[train]) for each in make(X.shape[1], seed)]
                for (move, (new, rows)), Z in zip(asked.items(), others, strict=True):
                    part = _gain(*pair, Z, 1 - new.y[rows], new.groups[rows], seed)
                    parts.setdefault((move, layer), []).append(part)
    names = [field.name for field in fields(Gain)]
    return {
        case: Gain(*(np.concatenate([getattr(part, name) for part in found]) for name in names))
        for case, found in parts.items()
    }


def _gain(average, point, X, y, groups, seed) -> Gain:
    log_odds = point.decision_function(X)
    gain = _log_score(average.decision_function(X), y) - _log_score(log_odds, y)
    right = (log_odds > 0) == y
    return Gain(gain, right, expit(np.abs(log_odds)), groups, np.full(len(y), seed))


def _log_score(log_odds: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log probability of each label (n,), exact where a probability is near 0 or 1."""
    return -np.logaddexp(0.0, np.where(y == 1, -log_odds, log_odds))
