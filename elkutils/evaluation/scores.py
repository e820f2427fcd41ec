"""Scores of forecasts: AUROC, accuracy, log score, Brier.

In each, ``y`` is (n,) in {0, 1}; the forecast is (..., n) and the score (...,). ``weights``
(..., n) are broadcast against the forecast, so weights (B, n) give B scores.
"""

import numpy as np
from scipy.special import xlog1py, xlogy

from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    check_weights,
    mid_mass,
    weighted_mean,
)


def auroc(y, score, weights=None):
    """Area under the ROC curve: how often a positive outranks a negative, a tie counting half.

    Parameters
    ----------
    y : (n,) array of 0 and 1, both present.
    score : (..., n) array; any monotone function of the probability gives the same area.
    weights : (..., n) array of numbers ≥ 0, optional.

    Returns
    -------
    (...,) array, or a float for one score. It is NaN where the weights of a class are all 0.

    Raises
    ------
    ValueError
        If `y` holds one class only, or the arguments have wrong shapes or values.

    Notes
    -----
    The Mann–Whitney form with weights: Σᵢⱼ wᵢwⱼ [sᵢ > sⱼ] + ½[sᵢ = sⱼ] over positives i and
    negatives j, divided by the product of the classes' weights (Hanley & McNeil 1982).
    """
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


def accuracy(y, proba, weights=None):
    """Share of rows where ``proba > 1/2`` says what happened; exactly 1/2 says 0.

    Shapes, weights and errors are those of `log_score`.
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean(((proba > 0.5) == y).astype(np.float64), weights)


def log_score(y, proba, weights=None):
    """Mean log probability given to what happened, in nats; higher is better, 0 is perfect.

    Parameters
    ----------
    y : (n,) array of 0 and 1.
    proba : (..., n) array of P(y = 1), between 0 and 1.
    weights : (..., n) array of numbers ≥ 0, optional.

    Returns
    -------
    (...,) array, or a float for one forecast. It is −∞ if and only if something happened
    (with weight above 0) that the forecast gave probability 0. Nothing is clipped: a
    probability of 1 for what did happen scores 0.

    Raises
    ------
    ValueError
        If `proba` holds NaN or leaves [0, 1], or the arguments have wrong shapes or values.
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean(xlogy(y, proba) + xlog1py(1 - y, -proba), weights)


def brier(y, proba, weights=None):
    """Mean squared difference of probability and outcome; lower is better (Brier 1950).

    Shapes, weights and errors are those of `log_score`.
    """
    y, proba, weights = _forecast(y, proba, weights)
    return weighted_mean((proba - y) ** 2, weights)


def _forecast(y, proba, weights):
    y = check_labels(y)
    return y, check_proba(proba, len(y)), check_weights(weights, len(y))
