"""Calibration: whether it rains on 70% of the days that were given 70%."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from elkutils._inputs import check_counts, check_ids, check_level, check_order
from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_weights,
    mid_mass,
    warn_of_classes,
)


def ece(
    y: ArrayLike, proba: ArrayLike, bins: int = 10, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the expected calibration error over bins of equal mass.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (..., n) array
        P(y = 1), between 0 and 1.
    bins : int
        Number of bins, at least 1.
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts; they also move the edges of the bins.

    Returns
    -------
    (...,) array, or a float for one forecast
        Σ_bins abs(Σ_i w_i (y_i − p_i)) / Σ_i w_i.

    Notes
    -----
    Rows with the same probability share a bin, so the order of the rows never matters. A block
    of ties goes where its middle falls, so bins may be unequal or empty. The estimate is biased
    upwards: a perfectly calibrated forecaster scores `ece_bias`, not 0. Guo et al. 2017, eq. 3,
    with equal-mass bins.

    Examples
    --------
    >>> print(f"{ece([0, 0, 1, 1], [0.2, 0.2, 0.8, 0.8], bins=2):.2f}")
    0.20
    """
    check_order(y=y, proba=proba, weights=weights)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    weights = check_weights(weights, len(y))
    bin_of = _bins(proba, weights, bins)
    with np.errstate(invalid="ignore"):
        gap = np.abs(_bin_sums(bin_of, weights * (y - proba), bins)).sum(axis=-1)
        return gap / weights.sum(axis=-1)


def ece_bias(
    proba: ArrayLike, bins: int = 10, repeats: int = 2000, seed: int = 0
) -> np.ndarray | float:
    """Return the mean ECE of a forecaster that is perfectly calibrated.

    Labels are drawn from the forecast itself, yᵢ ~ Bernoulli(pᵢ), independently, `repeats`
    times; the Monte Carlo error is the sd of the ECE over √`repeats`. Labels that come in
    groups (the two statements about one city) are not independent, and there the true bias
    can be larger or smaller.

    Parameters
    ----------
    proba : (..., n) array
        Probabilities; the last axis holds the rows, also of draws (draws, n).
    bins : int
        Number of bins, at least 1.
    repeats : int
        Draws of the labels.
    seed : int

    Returns
    -------
    (...,) array, or a float for one forecast

    Examples
    --------
    A forecaster that is certain and calibrated has no error.

    >>> float(ece_bias([0.0, 1.0, 1.0]))
    0.0
    """
    shape = np.shape(proba)
    if not shape or shape[-1] == 0:
        raise ValueError(f"proba has shape {shape}; it has to be (..., n) with n ≥ 1")
    proba = check_proba(proba, shape[-1])
    warn_of_classes(proba, "proba")
    check_counts(repeats=repeats)
    bin_of = _bins(proba, np.ones(proba.shape[-1]), bins)
    rng = np.random.default_rng(seed)
    total = np.zeros(proba.shape[:-1])
    for _ in range(repeats):
        surprise = (rng.random(proba.shape) < proba) - proba
        total += np.abs(_bin_sums(bin_of, surprise, bins)).sum(axis=-1)
    return total / (repeats * proba.shape[-1])


def excess_ece(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None, repeats: int = 2000
) -> np.ndarray | float:
    """Return the ECE less that of a perfectly calibrated forecaster of the same forecasts.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (..., n) array
        P(y = 1), between 0 and 1.
    weights : (..., n) array of numbers ≥ 0, or None
        As in `ece`.
    repeats : int
        As in `ece_bias`.

    Returns
    -------
    (...,) array, or a float for one forecast
        On average 0 for a calibrated forecaster of independent rows.
    """
    return ece(y, proba, weights=weights) - ece_bias(proba, repeats=repeats)


@dataclass(frozen=True)
class Reliability:
    """Forecasts and what happened, one entry per bin that holds rows.

    Attributes
    ----------
    forecast, frequency : (bins,) arrays
        Mean probability, and share of rows with y = 1.
    lower, upper : (bins,) arrays
        Ends of the interval of the frequency.
    count : (bins,) array
        Number of rows.
    level : float
        Level of the intervals.
    """

    forecast: np.ndarray
    frequency: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    count: np.ndarray
    level: float


def reliability(
    y: ArrayLike,
    proba: ArrayLike,
    bins: int = 10,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Reliability:
    """Return forecast against frequency in bins of equal mass, with an interval per bin.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (n,) array
        P(y = 1), between 0 and 1.
    bins : int
        Number of bins, at least 1.
    groups : (n,) array or None
        The group of each row. The rows of a group may share their fate, so each group counts as
        one observation of its bin (conservative: as if its rows were copies).
    level : float
        Level of the Wilson score intervals (Wilson 1927), one per bin.

    Examples
    --------
    >>> found = reliability([0, 0, 1, 1], [0.2, 0.2, 0.8, 0.8], bins=2)
    >>> found.forecast.tolist(), found.frequency.tolist()
    ([0.2, 0.8], [0.0, 1.0])
    """
    check_order(y=y, proba=proba, groups=groups)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(f"proba has shape {proba.shape}; reliability takes one forecast (n,)")
    bin_of = _bins(proba, np.ones(len(y)), bins)
    check_level(level)
    groups = np.arange(len(y)) if groups is None else check_ids(groups, "groups", len(y))
    count = np.bincount(bin_of, minlength=bins)
    kept = np.flatnonzero(count)
    forecast, frequency = (
        np.bincount(bin_of, weights=v, minlength=bins)[kept] / count[kept] for v in (proba, y)
    )
    independent = np.array([len(np.unique(groups[bin_of == b])) for b in kept])
    lower, upper = _wilson(frequency, independent, level)
    return Reliability(forecast, frequency, lower, upper, count[kept], level)


def _bins(proba, weights, bins):
    """Return the bin (0 … bins − 1) of each row: where its mid-rank falls in the total mass."""
    check_counts(bins=bins)
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(mid_mass(proba, weights) / total)
    return np.clip((share * bins).astype(np.int64), 0, bins - 1)


def _bin_sums(bin_of, values, bins):
    """Sums (..., bins) of `values` (..., n) over the rows of each bin."""
    shape = np.broadcast_shapes(bin_of.shape, values.shape)
    offset = np.arange(np.prod(shape[:-1], dtype=int)).reshape(*shape[:-1], 1) * bins
    flat = (np.broadcast_to(bin_of, shape) + offset).ravel()
    values = np.broadcast_to(values, shape).ravel()
    sums = np.bincount(flat, weights=values, minlength=offset.size * bins)
    return sums.reshape(*shape[:-1], bins)


def _wilson(frequency, count, level):
    z2 = norm.ppf((1 + level) / 2) ** 2
    centre = (frequency + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (frequency * (1 - frequency) / count + z2 / (4 * count**2)))
    half = half / (1 + z2 / count)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
