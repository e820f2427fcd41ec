"""What a forecast is worth when only some inputs are acted on: the worst, or the surest.

A budget looks at the highest scores alone; selective prediction leaves out the least sure.
Ties are cut in expectation, as if their order were drawn at random, so that the order of the
rows never matters.
"""

from dataclasses import dataclass

import numpy as np

from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    check_weights,
    mass_up_to,
)


def recall_at(y, score, budget=0.01, weights=None):
    """Share of the positives among the rows with the highest scores, as many as a budget pays.

    Parameters
    ----------
    y : (n,) array of 0 and 1.
    score : (..., n) array; the higher, the sooner looked at.
    budget : share of the rows (of their weight, with `weights`) looked at, in (0, 1].
    weights : (..., n) array of numbers ≥ 0, optional. Weights can stand for a prevalence
        that the rows do not have, see `prevalence_weights`.

    Returns
    -------
    (...,) array, or a float for one score: at most budget over prevalence. NaN where the
    positives have no weight.

    Raises
    ------
    ValueError
        If the budget is not in (0, 1], or the arguments have wrong shapes or values.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget is {budget!r}; it has to be in (0, 1]")
    y = check_labels(y)
    score = check_values(score, len(y), "score")
    weights = check_weights(weights, len(y))
    above, upto = mass_up_to(-score, weights)
    room = budget * weights.sum(axis=-1, keepdims=True) - above
    with np.errstate(invalid="ignore", divide="ignore"):
        paid = np.clip(np.nan_to_num(room / (upto - above)), 0, 1)
        found = np.einsum("...n,...n->...", paid, weights * y)
        return found / (weights * y).sum(axis=-1)


def prevalence_weights(y, prevalence):
    """Return weights (n,) under which the positives are this share of all.

    Parameters
    ----------
    y : (n,) array of 0 and 1, both present.
    prevalence : in (0, 1).
    """
    y = check_labels(y)
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence is {prevalence!r}; it has to be in (0, 1)")
    if y.min() == y.max():
        raise ValueError(f"y holds only {y[0]:.0f}; a prevalence needs both classes")
    return np.where(y == 1, prevalence / y.mean(), (1 - prevalence) / (1 - y.mean()))


@dataclass(frozen=True)
class RiskCoverage:
    """Errors among the surest rows, by how many rows those are.

    Attributes
    ----------
    coverage : (n,) shares of the rows that are answered, 1/n to 1.
    risk : (n,) error rate among the answered ones.
    area : the mean risk, the area under the curve (Geifman & El-Yaniv 2017).
    least : the area if every error were less sure than every right answer.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    least: float


def risk_coverage(y, proba, confidence=None) -> RiskCoverage:
    """Return what is gained by answering only where one is sure.

    Parameters
    ----------
    y : (n,) array of 0 and 1.
    proba : (n,) probabilities of 1. Above 1/2 the answer is 1; exactly 1/2 says 0.
    confidence : (n,) array, the higher the surer; by default ``|proba − 1/2|``.

    Raises
    ------
    ValueError
        If the arguments have wrong shapes or values.
    """
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(f"proba has shape {proba.shape}; it takes one forecast (n,)")
    confidence = np.abs(proba - 0.5) if confidence is None else confidence
    confidence = check_values(confidence, len(y), "confidence")
    if confidence.shape != y.shape:
        raise ValueError(f"confidence has shape {confidence.shape}; it has to be {y.shape}")
    wrong = ((proba > 0.5) != y).astype(np.float64)
    risk = _running_mean(wrong, confidence)
    n = len(y)
    least = _running_mean(np.sort(wrong), -np.arange(n, dtype=float))
    return RiskCoverage(np.arange(1, n + 1) / n, risk, risk.mean(), least.mean())


def _running_mean(wrong, confidence):
    """Mean of `wrong` over the k surest rows, k = 1 … n; a tie is spread evenly."""
    _, block, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    level = (np.bincount(block, weights=wrong) / size)[np.sort(block)]
    return np.cumsum(level) / np.arange(1, len(wrong) + 1)
