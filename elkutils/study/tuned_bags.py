"""Bags of linear reporters trained on resampled rows, tuned as carefully as a posterior is.

A member's rows are drawn with replacement. There are two families: *modes*, most probable
weights under a prior scale τ, and *descents*, weights where Adam stops after a number of steps
from a random start. `tuned_bag` chooses the family, and its τ, or its start and stop, by the
log score of a small bag on held-out groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit
from sklearn.model_selection import StratifiedGroupKFold

from elkutils.inference.draws import mean_log_odds
from elkutils.inference.logistic import fit_map, row_space

FOLDS = 5
TRIAL_MEMBERS = 8  # of a bag that is tried on held-out groups
WIDER = 0.5, 1.0, 2.0, 4.0, 8.0  # prior scales tried, in units of that of the single MAP
STARTS = 0.3, 1.0, 3.0  # standard deviations of a typical log odds at the start
STOPS = 5, 10, 20, 40, 80, 160, 320  # steps of Adam
SPEED = 0.5  # change of a typical log odds per step, about


@dataclass(frozen=True)
class Bag:
    """Linear reporters that answer together.

    Attributes
    ----------
    coef : (members, d) array
    intercept : (members,) array
    how : str
        How its members were trained.
    """

    coef: np.ndarray
    intercept: np.ndarray
    how: str

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        """Return the log odds (members, m) of rows X (m, d)."""
        return self.coef @ X.T + self.intercept[:, None]


def resampled(y: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each member sees each row, (members, n); every one sees both classes."""
    found = []
    while len(found) < members:
        counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)))
        if 0 < counts @ y < len(y):
            found.append(counts)
    return np.array(found, np.float64)


def modes(X: np.ndarray, y: np.ndarray, prior_scale: float, counts: np.ndarray) -> Bag:
    """Return the bag of most probable weights under w ~ N(0, τ²I), one per row of `counts`.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    prior_scale : float
        τ, in the units of 1/X.
    counts : (members, n) array
        From `resampled`.
    """
    basis = row_space(X) if len(X) < X.shape[1] else np.eye(X.shape[1])
    Z, start, coef, intercept = X @ basis, None, [], []
    for weights in counts:
        seen = weights > 0
        found = fit_map(Z[seen], y[seen], prior_scale, start=start, weights=weights[seen])
        start = found.coef, found.intercept
        coef.append(basis @ found.coef)
        intercept.append(found.intercept)
    return Bag(np.array(coef), np.array(intercept), f"modes, prior scale {prior_scale:.3g}")


def descents(
    X: np.ndarray,
    y: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    stops: Sequence[int] = STOPS,
    anchor: float | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Train all members at once by Adam on the mean log loss, and yield them at each stop.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    starts : (members, d) array
        Where weights start; biases start at 0.
    counts : (members, n) array
    stops : sequence of int
        Ascending numbers of steps.
    anchor : float or None
        Hold each member to its start with a normal prior of this scale about it; the rate then
        falls to 0, so that members arrive.

    Yields
    ------
    int
        The number of steps.
    coef : (members, d) array
    intercept : (members,) array
    """
    A = np.column_stack([X, np.ones(len(X))]).astype(np.float32)
    starts = starts.astype(np.float32)
    theta = np.column_stack([starts, np.zeros(len(starts), np.float32)])
    counts = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    rate = np.float32(SPEED / np.abs(X).sum(axis=1).mean())
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, max(stops) + 1):
        slope = (counts * (expit(theta @ A.T) - y.astype(np.float32))) @ A
        pace = rate
        if anchor is not None:
            slope[:, :-1] += (theta[:, :-1] - starts) / np.float32(len(X) * anchor**2)
            pace = rate * np.float32(1 - step / (max(stops) + 1))
        first += np.float32(0.1) * (slope - first)
        second += np.float32(0.001) * (slope**2 - second)
        size = np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
        theta -= pace * first / np.float32(1 - 0.9**step) / size
        if step in stops:
            yield step, theta[:, :-1].astype(np.float64), theta[:, -1].astype(np.float64)


def folds(y: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[tuple]:
    """Return (train, test) rows of up to five folds that split no group.

    Raises
    ------
    ValueError
        If a class is in fewer than two groups.
    """
    rarest = min(len(np.unique(groups[y == label])) for label in (0, 1))
    if rarest < 2:
        raise ValueError(f"groups has {rarest} group with rows of one class; folds need two")
    splitter = StratifiedGroupKFold(min(FOLDS, rarest), shuffle=True, random_state=seed)
    pairs = list(splitter.split(y[:, None], y, groups))
    return [(train, test) for train, test in pairs if 0 < y[train].sum() < len(train)]


def tuned_bag(
    X: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    prior_scale: float,
    members: int = 64,
    seed: int = 0,
) -> Bag:
    """Return the bag whose family and settings do best on held-out groups.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    groups : (n,) array
    prior_scale : float
        τ of the single MAP, chosen on the same folds: that of the modes is sought about it.
    members : int
    seed : int

    Raises
    ------
    ValueError
        If a class is in fewer than two groups.
    """
    rng, scores = np.random.default_rng(seed), {}
    size = np.sqrt((X**2).sum(axis=1).mean())
    for train, test in folds(y, groups):
        rows, counts = (X[train], y[train]), resampled(y[train], TRIAL_MEMBERS, rng)
        for name, log_odds in _tried(rows, X[test], prior_scale, size, counts, rng):
            signed = np.where(y[test] == 1, 1, -1) * mean_log_odds(log_odds)
            scores[name] = scores.get(name, 0.0) + log_expit(signed).sum()
    family, *settings = max(scores, key=scores.get)
    counts = resampled(y, members, rng)
    if family == "modes":
        return modes(X, y, settings[0], counts)
    start, stop = settings
    drawn = start / size * rng.standard_normal((members, X.shape[1]))
    _, coef, intercept = list(descents(X, y, drawn, counts, [stop]))[-1]
    return Bag(coef, intercept, f"descents, start {start:g}, {stop} steps")


def _tried(rows, asked, prior_scale, size, counts, rng) -> Iterator[tuple[tuple, np.ndarray]]:
    """Yield the settings of each candidate and its log odds (members, m) of asked rows."""
    for wider in WIDER:
        scale = wider * prior_scale
        yield ("modes", scale), modes(*rows, scale, counts).log_odds(asked)
    drawn = rng.standard_normal((len(counts), asked.shape[1]))
    starts = np.concatenate([start / size * drawn for start in STARTS])
    for stop, coef, intercept in descents(*rows, starts, np.tile(counts, (len(STARTS), 1))):
        log_odds = coef @ asked.T + intercept[:, None]
        for start, part in zip(STARTS, np.split(log_odds, len(STARTS)), strict=True):
            yield ("descents", start, stop), part
