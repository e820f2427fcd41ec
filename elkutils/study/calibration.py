"""Whether probabilities are calibrated: one test with power, and its two controls.

Three numbers, each of the rows of all seeds together: slope and intercept of the labels'
recalibration, and the excess of the calibration error over that of a calibrated forecaster.
`intervals` measures them, `controls` asks how often forecasters of known calibration pass.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from elkutils.evaluation import (
    Interval,
    PassRate,
    pass_rate,
    pooled_bootstrap,
    recalibration_intercept,
    recalibration_slope,
)
from elkutils.evaluation.power import LEAST_RUNS
from elkutils.ledger import HOLDS, Criterion
from elkutils.reporters import Reporter
from elkutils.study.scaling import z_scored

SLOPE, INTERCEPT, EXCESS = "slope", "intercept", "excess ECE"


def folds(
    groups: ArrayLike, count: int = 3, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (train, test) row numbers such that every group is held out exactly once.

    Parameters
    ----------
    groups : (n,) array
    count : int
        Number of folds, between 2 and the number of groups.
    seed : int
        Seed of the draw of groups.

    Examples
    --------
    >>> [test.tolist() for _, test in folds(["a", "a", "b", "c"], count=3)]
    [[3], [0, 1], [2]]
    """
    names, of = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= count <= len(names):
        raise ValueError(f"count is {count}; it has to be between 2 and {len(names)} groups")
    fold = np.empty(len(names), int)
    fold[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % count
    return [
        (np.flatnonzero(fold[of] != k), np.flatnonzero(fold[of] == k)) for k in range(count)
    ]


def held_out_once(
    reporter: Reporter,
    X: np.ndarray,
    y: np.ndarray,
    groups: ArrayLike,
    count: int = 3,
    seed: int = 0,
) -> np.ndarray:
    """Return P(true) (n,) of all rows, each from a fit without the rows of its group.

    In each of the folds the rows that are trained on z-score the features.

    Parameters
    ----------
    reporter : Reporter
        It is fitted anew in each fold, and stays fitted to the rows of the last one.
    X : (n, d) array
    y : (n,) array of 0 and 1
    groups : (n,) array
    count, seed : int
        As in `folds`.
    """
    p = np.empty(len(y))
    for train, test in folds(groups, count, seed):
        inside, outside = z_scored(X[train], X[test])
        p[test] = reporter.fit(inside, y[train]).predict_proba(outside)[:, 1]
    return p


def pooled_ece(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None, bins: int = 10
) -> np.ndarray | float:
    """Return the calibration error of one reliability curve, its bins fixed by the forecasts.

    `elkutils.evaluation.ece` moves the bins with the weights; here a resample keeps them.

    Parameters
    ----------
    y, proba : (n,) arrays
    weights : (..., n) array of numbers ≥ 0, or None
    bins : int
        Bins of about equal numbers of rows; ties share one.
    """
    y, proba = np.asarray(y, np.float64), np.asarray(proba, np.float64)
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    sums = weights @ (_members(proba, bins) * (y - proba)[:, None])
    return np.abs(sums).sum(axis=-1) / weights.sum(axis=-1)


def calibrated_labels(
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return labels (N,) drawn from the forecasts, as dependent as the real ones are.

    A statement has the same label in every seed, and of a group's two statements one is true.
    So one uniform number u decides for a group in all seeds: a row labelled 1 gets the label
    1 if u < p, its counterpart labelled 0 if 1 − u < p. Each row by itself has probability p.

    Parameters
    ----------
    y : (N,) array of 0 and 1
        The real labels, which say which rows of a group are counterparts.
    proba, groups, seeds : (N,) arrays
    rng : numpy.random.Generator
    """
    return _labels(np.asarray(y), np.asarray(proba), _places(y, groups, seeds), rng)


def intervals(
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike,
    resamples: int = 1000,
    bins: int = 10,
) -> dict[str, Interval]:
    """Return slope, intercept and excess ECE of the rows of all seeds, with intervals.

    Parameters
    ----------
    y, proba, groups, seeds : (N,) arrays
        In long format, as `elkutils.study.pooling.pooled` returns them.
    resamples : int
        Of groups and seeds, by `elkutils.evaluation.pooled_bootstrap`.
    bins : int
        Of the calibration error.

    Returns
    -------
    dict of str to Interval
        "slope" (1 if calibrated), "intercept" (0) and "excess ECE" (0 on average): the
        `pooled_ece` less the mean one of labels drawn from the forecasts.

    Raises
    ------
    ValueError
        If all forecasts are the same, or as `pooled_bootstrap` does.
    """
    y, proba = np.asarray(y), np.asarray(proba)
    places = _places(y, groups, seeds)
    ids = {"groups": groups, "seeds": seeds, "resamples": resamples}
    names = (SLOPE, INTERCEPT, EXCESS)
    found = {name: _interval(name, y, proba, bins, **ids) for name in names}
    ideal = _ideal(y, proba, places, bins)
    found[EXCESS] = _less(found[EXCESS], ideal)
    return found


def controls(
    criteria: Mapping[str, Criterion],
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike,
    places: int = 1,
    runs: int = LEAST_RUNS,
    resamples: int = 100,
    bins: int = 10,
) -> dict[str, tuple[PassRate, PassRate]]:
    """Return how often forecasters of known calibration pass each criterion.

    All make the forecasts `proba`. The positive control's labels are drawn from them. The
    labels of the negative control are drawn, for the slope, from half the log odds (it is
    overconfident by a factor of two); for the intercept, from log odds shifted until the mean
    probability is ten points lower; for the excess ECE, from probabilities ten points nearer
    to one half, or beyond it.

    Parameters
    ----------
    criteria : mapping of str to Criterion
        Some of "slope", "intercept" and "excess ECE", from ``claims.json``.
    y, proba, groups, seeds, bins
        As in `intervals`: the rows that the criteria judge.
    places : int
        Number of places of the claim.
    runs, resamples : int
        Runs of each control, and resamples in each run.

    Returns
    -------
    dict of str to (positive, negative)
        Each a PassRate, in the order of `criteria`.
    """
    y, proba = np.asarray(y), np.clip(np.asarray(proba, np.float64), 1e-13, 1 - 1e-13)
    of = _places(y, groups, seeds)
    ids = {"groups": groups, "seeds": seeds, "resamples": resamples}
    ideal = _ideal(y, proba, of, bins)

    def passes(name: str, truth: np.ndarray) -> Callable[[np.random.Generator], bool]:
        def run(rng: np.random.Generator) -> bool:
            drawn = _labels(y, truth, of, rng)
            found = _interval(name, drawn, proba, bins, seed=rng.integers(2**32), **ids)
            found = _less(found, ideal) if name == EXCESS else found
            return criteria[name].judge(found, places) == HOLDS

        return run

    log_odds = logit(proba)
    wrong = {
        SLOPE: expit(log_odds / 2),
        INTERCEPT: expit(log_odds - _shift(log_odds, 0.1)),
        EXCESS: np.clip(proba - 0.1 * np.sign(proba - 0.5), 0.0, 1.0),
    }
    return {
        name: (
            pass_rate(passes(name, proba), runs),
            pass_rate(passes(name, wrong[name]), runs, seed=1),
        )
        for name in criteria
    }


def cost(log_odds: ArrayLike, slope: float = 1.0, intercept: float = 0.0) -> float:
    """Return the nats per row that a forecaster loses by being off in slope and intercept.

    Parameters
    ----------
    log_odds : (n,) array
        Of the forecasts.
    slope, intercept : float
        The true log odds are ``slope * log_odds + intercept``.

    Returns
    -------
    float
        Mean relative entropy of the forecast to the truth, at least 0.

    Examples
    --------
    >>> cost([-2.0, 0.5, 2.0]), round(cost([-2.0, 0.5, 2.0], slope=0.5), 3)
    (0.0, 0.058)
    """
    forecast = np.asarray(log_odds, np.float64)
    true = slope * forecast + intercept
    p = expit(true)
    lost = np.logaddexp(0, forecast) - p * forecast - (np.logaddexp(0, true) - p * true)
    return float(lost.mean())


_STATISTICS = {SLOPE: recalibration_slope, INTERCEPT: recalibration_intercept}


def _interval(name, y, proba, bins, **options) -> Interval:
    def statistic(y, proba, weights):
        if name == EXCESS:
            return pooled_ece(y, proba, weights, bins)
        return _STATISTICS[name](y, proba, weights)

    return pooled_bootstrap(statistic, y, proba, **options)


def _less(found: Interval, by: float) -> Interval:
    return Interval(found.estimate - by, found.lower - by, found.upper - by, found.level)


def _ideal(y, proba, places, bins, repeats=500) -> float:
    """The mean `pooled_ece` of labels drawn from the forecasts."""
    rng, members = np.random.default_rng(0), _members(proba, bins)
    drawn = np.stack([_labels(y, proba, places, rng) for _ in range(repeats)])
    return float(np.abs((drawn - proba) @ members).sum(axis=1).mean() / len(proba))


def _members(proba: np.ndarray, bins: int) -> np.ndarray:
    """Which bin each row is in, as columns (n, bins) of 0 and 1."""
    _, of, counts = np.unique(proba, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(proba)
    bin_of = np.minimum((middle * bins).astype(int), bins - 1)[of]
    return (bin_of[:, None] == np.arange(bins)).astype(np.float64)


def _places(y, groups, seeds) -> np.ndarray:
    """Return which rows (N,) share a draw: the k-th of a group with its label in each seed."""
    y, columns = np.asarray(y), []
    for column in (groups, seeds, y):
        columns.append(np.unique(np.asarray(column), return_inverse=True)[1])
    group, seed, label = columns
    order = np.lexsort((np.arange(len(y)), label, seed, group))
    keys = np.stack([group, seed, label], axis=1)[order]
    new = np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)]
    start = np.maximum.accumulate(np.where(new, np.arange(len(y)), 0))
    rank = np.empty(len(y), int)
    rank[order] = np.arange(len(y)) - start
    return np.unique(np.stack([group, rank], axis=1), axis=0, return_inverse=True)[1].ravel()


def _labels(y, proba, places, rng) -> np.ndarray:
    u = rng.random(places.max() + 1)[places]
    return (np.where(y == 1, u, 1 - u) < proba).astype(np.float64)


def _shift(log_odds, points) -> float:
    """Return how far log odds have to fall until the mean probability is `points` lower."""
    low, high = 0.0, 10.0
    goal = expit(log_odds).mean() - points
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(log_odds - middle).mean() > goal else (low, middle)
    return low
