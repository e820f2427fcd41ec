"""The value of a forecast when one acts on some inputs only: the highest scores, or the surest.

A budget looks at the highest scores only; selective prediction leaves out the least sure.
Ties are cut in expectation, as if their order were drawn at random, so that the order of the
rows never matters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_order, is_number
from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    check_weights,
    mass_up_to,
)


def recall_at(
    y: ArrayLike, score: ArrayLike, budget: float = 0.01, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return the share of the positives among the highest scores, within a budget.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels.
    score : (..., n) array
        The higher the score, the sooner a row is looked at.
    budget : float
        Share of the rows (of their weight, with `weights`) looked at, in (0, 1].
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts. Weights can represent a prevalence that the rows do not have,
        see `prevalence_weights`.

    Returns
    -------
    (...,) array, or a float for one score
        At most the budget over the prevalence. NaN where the positives have no weight.

    Raises
    ------
    ValueError
        If the budget is not in (0, 1], or the arguments have wrong shapes or values.

    Examples
    --------
    >>> float(recall_at([0, 0, 1, 1], [0.1, 0.8, 0.4, 0.9], budget=0.25))
    0.5
    """
    if not (is_number(budget) and 0 < budget <= 1):
        raise ValueError(f"budget is {budget!r}; it has to be in (0, 1]")
    check_order(y=y, score=score, weights=weights)
    y = check_labels(y)
    score = check_values(score, len(y), "score")
    weights = check_weights(weights, len(y))
    above, upto = mass_up_to(-score, weights)
    room = budget * weights.sum(axis=-1, keepdims=True) - above
    with np.errstate(invalid="ignore", divide="ignore"):
        paid = np.clip(np.nan_to_num(room / (upto - above)), 0, 1)
        found = np.einsum("...n,...n->...", paid, weights * y)
        return found / (weights * y).sum(axis=-1)


def prevalence_weights(y: ArrayLike, prevalence: float) -> np.ndarray:
    """Return weights (n,) under which the positives have this share of the total weight.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels, both present.
    prevalence : float
        Share of the positives, in (0, 1).

    Examples
    --------
    >>> prevalence_weights([0, 1], 0.1).round(3).tolist()
    [1.8, 0.2]
    """
    y = check_labels(y)
    if not (is_number(prevalence) and 0 < prevalence < 1):
        raise ValueError(f"prevalence is {prevalence!r}; it has to be in (0, 1)")
    if y.min() == y.max():
        raise ValueError(f"y holds only {y[0]:.0f}; a prevalence needs both classes")
    return np.where(y == 1, prevalence / y.mean(), (1 - prevalence) / (1 - y.mean()))


@dataclass(frozen=True)
class RiskCoverage:
    """The error rate among the surest rows, by their share of all rows.

    Attributes
    ----------
    coverage : (n,) array
        Shares of the rows that are answered, 1/n to 1.
    risk : (n,) array
        Error rate among the answered ones.
    area : float
        The mean risk, the area under the curve (Geifman & El-Yaniv 2017).
    least : float
        The area if every error were less sure than every right answer.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    least: float


def risk_coverage(
    y: ArrayLike, proba: ArrayLike, confidence: ArrayLike | None = None
) -> RiskCoverage:
    """Return the error rate when only the surest rows are answered, at every coverage.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels.
    proba : (n,) array
        Probabilities of 1. Above 1/2 the answer is 1; at exactly 1/2 it is 0.
    confidence : (n,) array or None
        The higher, the surer; None for abs(proba − 1/2).

    Raises
    ------
    ValueError
        If the arguments have wrong shapes or values.

    Examples
    --------
    >>> risk_coverage([1, 0], [0.9, 0.6]).risk.tolist()
    [0.0, 0.5]
    """
    check_order(y=y, proba=proba, confidence=confidence)
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
