"""Recalibration: two numbers, learned on held-out labelled rows, that correct probabilities.

Both methods map the log odds along a straight line. If its slope is above 0 the order of the
rows does not change, so neither does the AUROC.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit

from elkutils._inputs import check_order, plain
from elkutils.evaluation._arrays import check_labels, check_proba, check_weights
from elkutils.evaluation._refit import refit

MOST_SURE = 0.05  # share of rows whose log odds may be lost without a word
ARRIVED = 1e-4  # per unit of the scaled log odds
_LIMIT = 30.0  # log odds beyond it count as it: 1e-13 from certainty


@dataclass(frozen=True)
class Recalibration:
    """The map p → σ(slope · logit p + intercept).

    Called with an array of probabilities it returns them recalibrated, in the same shape. Log
    odds beyond ±30 count as ±30, so 0 and 1 are allowed.

    Parameters
    ----------
    slope : float
    intercept : float

    Examples
    --------
    >>> Recalibration(slope=0.5)([0.5, 0.9]).round(3).tolist()
    [0.5, 0.75]
    """

    slope: float
    intercept: float = 0.0

    @property
    def temperature(self) -> float:
        """The divisor of the log odds; above 1 for a reporter that was overconfident."""
        return 1 / self.slope if self.slope else np.inf

    def __call__(self, proba: ArrayLike) -> np.ndarray:
        shape = np.shape(proba) or (1,)
        proba = proba if np.ndim(proba) else np.reshape(plain(proba), 1)
        log_odds = _log_odds(check_proba(proba, shape[-1]))
        return expit(self.slope * log_odds + self.intercept)


def fit_temperature(y: ArrayLike, proba: ArrayLike) -> Recalibration:
    """Learn one number, the temperature; the intercept stays 0.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels of rows that the reporter was not fitted on.
    proba : (n,) array
        The reporter's P(y = 1), between 0 and 1.

    Returns
    -------
    Recalibration
        Its slope is at least 0: a temperature never inverts a reporter.

    Raises
    ------
    ValueError
        If `proba` is ½ everywhere, holds NaN or leaves [0, 1], or shapes or labels do not fit.

    Warns
    -----
    RuntimeWarning
        If the temperature is infinite, the fit has not arrived, or more than one row in twenty
        is exactly 0 or 1.

    Notes
    -----
    Guo et al. 2017 (arXiv:1706.04599), section 4.2, with Platt's targets in place of 0 and 1.

    Examples
    --------
    Nine in ten right, at 99%: overconfident.

    >>> y, proba = [1] * 9 + [0], [0.99] * 10
    >>> fit_temperature(y, proba).temperature > 1
    True
    """
    log_odds, targets = _held_out(y, proba)
    if not log_odds.any():
        raise ValueError("proba is ½ in every row; no temperature changes that")
    scale = np.sqrt(np.mean(log_odds**2))  # so that log odds of any size do well
    slope = _fit(log_odds[:, None] / scale, targets, [1.0], [(0, None)])[0]
    if slope == 0:
        warnings.warn(
            "the temperature is infinite: proba ranks the labels no better than backwards, and "
            "every probability becomes ½; look whether y or proba is of the other class",
            RuntimeWarning,
            stacklevel=2,
        )
    return Recalibration(float(slope / scale))


def fit_platt(y: ArrayLike, proba: ArrayLike) -> Recalibration:
    """Learn two numbers, slope and intercept: logistic regression on the log odds.

    Parameters and errors are those of `fit_temperature`; `proba` may not be the same in every
    row. The slope is negative for a reporter that is wrong more often than right.

    Notes
    -----
    Platt 1999, *Probabilistic outputs for support vector machines*. His targets are
    (n₁ + 1)/(n₁ + 2) for the n₁ rows with y = 1 and 1/(n₀ + 2) for the others, so that the
    fit stays finite where the log odds separate the labels.
    """
    log_odds, targets = _held_out(y, proba)
    spread = log_odds.std()
    if np.ptp(log_odds) == 0 or spread < 1e-12 * np.abs(log_odds).max():
        raise ValueError(f"proba is {np.ravel(proba)[0]} in every row; Platt's slope needs two")
    middle = log_odds.mean()
    design = np.column_stack([(log_odds - middle) / spread, np.ones_like(log_odds)])
    slope, level = _fit(design, targets, [1.0, 0.0], None)
    return Recalibration(float(slope / spread), float(level - slope * middle / spread))


def recalibration_slope(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the slope of a logistic regression of the labels on the forecast's log odds.

    1 for a calibrated forecaster, below 1 for one that is overconfident, below 0 for one that
    ranks the wrong way round. Cox 1958, *Two further applications of a model for binary
    regression*.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (n,) array
        P(y = 1), between 0 and 1. Log odds beyond ±30 count as ±30.
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts.

    Returns
    -------
    (...,) array, or a float without weights
        NaN where a class has no weight or all forecasts are the same. A wide normal prior, of
        sd 100 per standard deviation of the log odds, keeps it finite on separable labels.

    Raises
    ------
    ValueError
        If shapes differ, a label is not 0 or 1, or a probability is not in [0, 1].

    Examples
    --------
    Nine in ten right, at 99%: overconfident.

    >>> y, proba = [1] * 9 + [0] * 10 + [1], [0.99] * 10 + [0.01] * 10
    >>> print(f"{recalibration_slope(y, proba):.2f}")
    0.48
    """
    return _refitted(y, proba, weights, slope=True)


def recalibration_intercept(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return what has to be added to the forecast's log odds to get the share of ones right.

    The intercept of a logistic regression whose slope is fixed at 1, "calibration in the
    large": 0 for a calibrated forecaster, above 0 for one whose probabilities are too low.
    With the slope fixed it says nothing of over- or underconfidence, which is
    `recalibration_slope`'s part.

    Parameters, returns and errors are those of `recalibration_slope`.

    Examples
    --------
    Six in ten happened, at even odds.

    >>> print(f"{recalibration_intercept([1] * 6 + [0] * 4, [0.5] * 10):.2f}")
    0.41
    """
    return _refitted(y, proba, weights, slope=False)


def _refitted(y, proba, weights, slope):
    check_order(stacklevel=4, y=y, proba=proba, weights=weights)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(f"proba has shape {proba.shape}; it has to be one forecast (n,)")
    weights = check_weights(weights, len(y))
    _warn_if_sure(proba, stacklevel=4)
    flat = weights.reshape(-1, len(y))
    flat = flat / (flat.mean() or 1)  # the prior is for weights about 1
    log_odds, ones = _log_odds(proba), np.ones(len(y))
    found = np.full(len(flat), np.nan)
    kept = (flat @ y > 0) & (flat @ (1 - y) > 0)
    if slope and np.ptp(log_odds) == 0:
        kept[:] = False
    if kept.any() and slope:
        spread = log_odds.std()
        design = np.column_stack([(log_odds - log_odds.mean()) / spread, ones])
        found[kept] = refit(design, y, flat[kept], 0 * ones)[:, 0] / spread
    elif kept.any():
        found[kept] = refit(ones[:, None], y, flat[kept], log_odds)[:, 0]
    return found.reshape(weights.shape[:-1])[()]


def _held_out(y, proba):
    check_order(stacklevel=4, y=y, proba=proba)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(f"proba has shape {proba.shape}; it has to be one forecast (n,)")
    _warn_if_sure(proba, stacklevel=4)
    if y.min() == y.max():
        warnings.warn(
            f"y holds only {y[0]:.0f}, so the fit can only push every probability towards it; "
            "held-out rows of both classes are needed",
            RuntimeWarning,
            stacklevel=3,
        )
    ones = y.sum()
    targets = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (len(y) - ones + 2))
    return _log_odds(proba), targets


def _warn_if_sure(proba, stacklevel):
    sure = np.flatnonzero((proba == 0) | (proba == 1))
    if len(sure) > MOST_SURE * len(proba):
        warnings.warn(
            f"proba is exactly 0 or 1 in {len(sure)} of {len(proba)} rows, proba[{sure[0]}] "
            f"first: their log odds are lost and count as ±{_LIMIT:.0f}; compute probabilities "
            "in float64, since float32 rounds to 1 from log odds of 17 on",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def _log_odds(proba):
    with np.errstate(divide="ignore"):
        return np.clip(logit(proba), -_LIMIT, _LIMIT)


def _fit(design, targets, start, bounds):
    def loss(theta):
        log_odds = design @ theta
        value = np.logaddexp(0, log_odds) - targets * log_odds
        return value.mean(), design.T @ (expit(log_odds) - targets) / len(targets)

    options = {"ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    slope = np.where((bounds is not None) & (found.x == 0), np.minimum(found.jac, 0), found.jac)
    if not np.abs(slope).max() < ARRIVED:
        warnings.warn(
            f"the fit has not arrived after {found.nit} steps: its slope is "
            f"{np.abs(slope).max():.1g} nats, and should be 0 ({found.message})",
            RuntimeWarning,
            stacklevel=3,
        )
    return found.x
