"""Scores of forecasts: AUROC, accuracy, log score, Brier.

In each, ``y`` is (n,) in {0, 1}; the forecast is (..., n) and the score (...,). ``weights``
(..., n) are broadcast against the forecast, so weights (B, n) give B scores.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlog1py, xlogy

from elkutils._inputs import check_order
from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    check_weights,
    mid_mass,
    weighted_mean,
)


def auroc(
    y: ArrayLike, score: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the area under the ROC curve: how often a positive outranks a negative.

    A tie counts half.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels, both present.
    score : (..., n) array
        Any monotone function of the probability gives the same area.
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts; None counts every row once.

    Returns
    -------
    (...,) array, or a float for one score
        NaN where the weights of a class are all 0.

    Raises
    ------
    ValueError
        If `y` holds one class only, or the arguments have wrong shapes or values.

    Notes
    -----
    The Mann–Whitney form with weights: Σᵢⱼ wᵢwⱼ [sᵢ > sⱼ] + ½[sᵢ = sⱼ] over positives i and
    negatives j, divided by the product of the classes' weights (Hanley & McNeil 1982).

    Examples
    --------
    >>> float(auroc([0, 1, 1, 0], [0.1, 0.8, 0.4, 0.4]))
    0.875
    """
    check_order(y=y, score=score, weights=weights)
    y = check_labels(y)
    if y.min() == y.max():
        raise ValueError(f"y holds only {y[0]:.0f}; the AUROC needs both classes")
    score = check_values(score, len(y), "score")
    weights = check_weights(weights, len(y))
    positive, negative = weights * y, weights * (1 - y)
    beaten = np.einsum("...n,...n->...", positive, mid_mass(score, negative))
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return beaten / pairs


def accuracy(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the share of rows whose verdict is right: 1 where ``proba > 1/2``, 0 elsewhere.

    Shapes, weights and errors are those of `log_score`.

    Examples
    --------
    >>> float(accuracy([0, 1, 1, 0], [0.1, 0.8, 0.4, 0.5]))
    0.75
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean(((proba > 0.5) == y).astype(np.float64), weights)


def log_score(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the mean log probability of what happened, in nats.

    Higher is better, and 0 is perfect.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (..., n) array
        P(y = 1), between 0 and 1.
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts; None counts every row once.

    Returns
    -------
    (...,) array, or a float for one forecast
        It is −∞ if and only if something happened (with weight above 0) that the forecast gave
        probability 0. Nothing is clipped: a probability of 1 for what did happen scores 0.

    Raises
    ------
    ValueError
        If `proba` holds NaN or leaves [0, 1], or the arguments have wrong shapes or values.

    Examples
    --------
    A forecast of ½ scores −log 2, whatever happens.

    >>> print(f"{log_score([0, 1], [0.5, 0.5]):.4f}")
    -0.6931
    >>> print(f"{log_score([0, 1], [0.1, 0.9]):.4f}")
    -0.1054
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean(xlogy(y, proba) + xlog1py(1 - y, -proba), weights)


def brier(
    y: ArrayLike, proba: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the mean squared difference of probability and outcome; lower is better.

    Shapes, weights and errors are those of `log_score`. Brier 1950.

    Examples
    --------
    >>> print(f"{brier([0, 1], [0.1, 0.9]):.2f}")
    0.01
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean((proba - y) ** 2, weights)


def _forecast(y, proba, weights):
    check_order(stacklevel=4, y=y, proba=proba, weights=weights)
    y = check_labels(y)
    return y, check_proba(proba, len(y)), check_weights(weights, len(y))
