"""The value of a forecast when one acts on some inputs only: the highest scores, or the surest.

A budget looks at the highest scores only; selective prediction leaves out the least sure.
Ties are cut in expectation, as if their order were drawn at random, so that the order of the
rows never matters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_ids, check_order, is_number
from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    check_weights,
    mass_up_to,
)
from elkutils.evaluation.scores import auroc


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
        Shares of the rows that are answered, 1/n to 1; of the groups, where these are given.
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
    y: ArrayLike,
    proba: ArrayLike,
    confidence: ArrayLike | None = None,
    groups: ArrayLike | None = None,
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
    groups : (n,) array or None
        Group of each row: each group then counts alike, however many rows it has, and so do
        the rows of a group. With None each row counts once.

    Raises
    ------
    ValueError
        If the arguments have wrong shapes or values.

    Examples
    --------
    >>> risk_coverage([1, 0], [0.9, 0.6]).risk.tolist()
    [0.0, 0.5]
    """
    check_order(y=y, proba=proba, confidence=confidence, groups=groups)
    wrong, proba = own_errors(y, proba)
    confidence = np.abs(proba - 0.5) if confidence is None else confidence
    confidence = _one_each(confidence, len(wrong), "confidence")
    weights = None if groups is None else _group_weights(groups, len(wrong))
    each = np.ones(len(wrong)) if weights is None else weights
    mass, errors = _running_sums(wrong, confidence, each)
    risk = errors / mass
    worst_mass, worst = _running_sums(wrong, -wrong, each)
    return RiskCoverage(
        mass / mass[-1],
        risk,
        _area(risk, mass, weights),
        _area(worst / worst_mass, worst_mass, weights),
    )


def selective_risk(
    y: ArrayLike,
    proba: ArrayLike,
    doubt: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    coverage: float | None = None,
) -> np.ndarray | float:
    """Return the error rate among the rows with least doubt, as `bootstrap` takes it.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels.
    proba : (n,) array
        Probabilities of 1.
    doubt : (n,) array or None
        The higher, the sooner a row is left unanswered; None for −abs(proba − 1/2).
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts.
    coverage : float or None
        Share of the rows that is answered, in (0, 1]. None for the mean over all coverages,
        the area of `risk_coverage`.

    Returns
    -------
    (...,) array, or a float
        NaN where all weights are 0.

    Raises
    ------
    ValueError
        If `coverage` is not in (0, 1], or the arguments have wrong shapes or values.

    Examples
    --------
    >>> from functools import partial
    >>> from elkutils.evaluation import bootstrap
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.random(1000)
    >>> y = (rng.random(1000) < proba).astype(int)
    >>> half = partial(selective_risk, coverage=0.5)
    >>> print(bootstrap(half, y, proba, groups=np.arange(1000)))
    0.128 [0.100, 0.156]
    """
    if coverage is not None and not (is_number(coverage) and 0 < coverage <= 1):
        raise ValueError(f"coverage is {coverage!r}; it has to be in (0, 1]")
    check_order(y=y, proba=proba, doubt=doubt, weights=weights)
    wrong, proba = own_errors(y, proba)
    doubt = -np.abs(proba - 0.5) if doubt is None else doubt
    doubt = _one_each(doubt, len(wrong), "doubt")
    mass, errors = _running_sums(wrong, -doubt, check_weights(weights, len(wrong)))
    with np.errstate(invalid="ignore"):
        if coverage is None:
            risk = np.where(mass > 0, errors / mass, 0)
            own = np.diff(mass, prepend=0, axis=-1)
            return (own * risk).sum(axis=-1) / mass[..., -1]
        answered = coverage * mass[..., -1:]
        return _at(answered, mass, errors)[..., 0] / answered[..., 0]


def error_auroc(
    y: ArrayLike, proba: ArrayLike, doubt: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray | float:
    """Return how often a row that the forecast gets wrong has more doubt than a right one.

    It is the `auroc` of doubt for the forecast's own errors: ½ for a doubt that knows nothing
    of them. `bootstrap` takes it.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels.
    proba : (n,) array
        Probabilities of 1. Above 1/2 the answer is 1.
    doubt : (n,) array
        Such as `mutual_information` of draws, or −abs(proba − 1/2).
    weights : (..., n) array of numbers ≥ 0, or None

    Returns
    -------
    (...,) array, or a float

    Raises
    ------
    ValueError
        If no answer or every answer is wrong, or the arguments have wrong shapes or values.

    Examples
    --------
    >>> float(error_auroc([1, 0, 0], [0.9, 0.6, 0.1], [0.0, 0.3, 0.1]))
    1.0
    """
    check_order(y=y, proba=proba, doubt=doubt, weights=weights)
    wrong, _ = own_errors(y, proba)
    count = int(wrong.sum())
    if count in (0, len(wrong)):
        raise ValueError(
            f"proba is wrong on {count} of {len(wrong)} rows; to rank errors by doubt needs "
            "both right and wrong answers"
        )
    return auroc(wrong, doubt, weights=weights)


def own_errors(y: ArrayLike, proba: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return where a forecast (n,) is wrong, as 0.0 and 1.0, and the forecast, both checked."""
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(
            f"proba has shape {proba.shape}; it takes one forecast (n,): of draws take the mean"
        )
    return ((proba > 0.5) != y).astype(np.float64), proba


def _one_each(values, n: int, name: str) -> np.ndarray:
    values = check_values(values, n, name)
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape}; it has to be {(n,)}")
    return values


def _group_weights(groups, n: int) -> np.ndarray:
    """Weights (n,) under which each group counts alike; their mean is 1."""
    _, of, sizes = np.unique(
        check_ids(groups, "groups", n), return_inverse=True, return_counts=True
    )
    return n / (len(sizes) * sizes[of])


def _running_sums(wrong, confidence, weights) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the k surest rows, and of the errors among them, k = 1 … n: (..., n) each.

    Weights and errors of a tie are spread evenly over its rows.
    """
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    sizes = np.diff(np.append(starts, len(values)))
    weights = weights[..., order]
    sums = (
        np.repeat(np.add.reduceat(part, starts, axis=-1) / sizes, sizes, axis=-1)
        for part in (weights, weights * wrong[order])
    )
    mass, errors = (np.cumsum(part, axis=-1) for part in sums)
    return mass, errors


def _area(risk, mass, weights) -> float:
    """The mean risk over coverages."""
    return float(
        np.average(risk, weights=None if weights is None else np.diff(mass, prepend=0))
    )


def _at(answered, mass, errors) -> np.ndarray:
    """Errors (..., 1) when rows of weight `answered` (..., 1) are answered."""
    k = np.minimum((mass < answered).sum(axis=-1, keepdims=True), mass.shape[-1] - 1)
    upto = [np.take_along_axis(sums, k, axis=-1) for sums in (mass, errors)]
    before = [
        np.where(k > 0, np.take_along_axis(sums, np.maximum(k - 1, 0), axis=-1), 0)
        for sums in (mass, errors)
    ]
    own = upto[0] - before[0]
    part = np.divide(answered - before[0], own, out=np.zeros_like(own), where=own > 0)
    return before[1] + part * (upto[1] - before[1])
