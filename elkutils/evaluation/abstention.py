"""When to leave a row unanswered: thresholds on doubt, with what is certified of them.

A row is passed on where ``doubt >= threshold`` and answered elsewhere. Doubt may be on any
scale on which higher means less sure. What is guaranteed is guaranteed for rows, or groups of
rows, drawn as those that were given.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from elkutils._inputs import check_counts, check_finite, check_ids, check_order, numbers
from elkutils.evaluation.alarms import certified_threshold, check_open, rows_needed
from elkutils.evaluation.bounds import betting
from elkutils.evaluation.selection import own_errors


def coverage_threshold(
    doubt: ArrayLike,
    coverage: float = 0.9,
    delta: float = 0.05,
    groups: ArrayLike | None = None,
) -> float:
    """Return the lowest threshold below which a stated share of new rows is certified to lie.

    It needs no labels. With probability at least 1 − δ over the rows given, a new row is
    answered with probability at least `coverage`.

    Parameters
    ----------
    doubt : (n,) array
        Of rows that the reporter was not fitted on.
    coverage : float
        Share of the rows to answer, between 0 and 1.
    delta : float
        δ, the probability with which the guarantee may fail, between 0 and 1.
    groups : (n,) array or None
        As in `certified_threshold`: each group counts alike.

    Returns
    -------
    float
        A row is passed on where ``doubt >= threshold``.

    Raises
    ------
    ValueError
        If there are too few rows or groups (the message gives the number needed), or an
        argument is out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> print(f"{coverage_threshold(rng.random(1000), coverage=0.9):.3f}")
    0.913
    """
    check_open(coverage=coverage, delta=delta)
    doubt, _, units = _units(doubt, groups)
    needed = rows_needed(1 - coverage, delta)
    if units < needed:
        raise ValueError(
            f"doubt has {units} {_what(doubt, units)}; coverage {coverage} with delta {delta} "
            f"needs at least {needed}"
        )
    return certified_threshold(doubt, 1 - coverage, delta, groups)


def risk_threshold(
    y: ArrayLike,
    proba: ArrayLike,
    doubt: ArrayLike,
    risk: float,
    delta: float = 0.05,
    groups: ArrayLike | None = None,
    tries: int = 10,
    seed: int = 0,
) -> float:
    """Return a threshold below which the share of wrong answers is certified to be small.

    With probability at least 1 − δ over the rows given, new rows that are answered are answered
    wrongly with probability at most `risk`. Of the thresholds tried it is the highest of which
    this is certified, so that as many rows as possible are answered.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        Labels of rows that the reporter was not fitted on.
    proba : (n,) array
        Probabilities of 1. Above 1/2 the answer is 1.
    doubt : (n,) array
        The higher, the sooner a row is passed on.
    risk : float
        The largest share of wrong answers among those given, between 0 and 1.
    delta : float
        δ, the probability with which the guarantee may fail, between 0 and 1.
    groups : (n,) array or None
        Group of each row; rows of a group may depend on each other, and each group counts
        alike. With None all rows are independent.
    tries : int
        How many thresholds are tried.
    seed : int
        Of the choice of rows that set the thresholds, and of the order of groups.

    Returns
    -------
    float
        A row is passed on where ``doubt >= threshold``; infinite where every row may be
        answered.

    Raises
    ------
    ValueError
        If there are too few rows or groups (the message gives the number needed), no threshold
        that was tried is certified, or an argument is out of range.

    Notes
    -----
    A tenth of the rows, or of the groups, drawn at random, sets the thresholds that are tried:
    evenly spaced quantiles of their doubt, and one that answers every row. The others judge
    each at level δ / `tries`. For independent rows errors among the answered are binomial given
    their number.
    For groups let v be, over the rows of a group, the mean of 1 for a wrong answer, 0 for a
    right one and `risk` for a row passed on: v lies in [0, 1], and E[v] ≤ risk if and only if
    the share of wrong answers is at most `risk`, which `betting` certifies. Geifman &
    El-Yaniv (2017, arXiv:1705.08500) certify selective risk likewise.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.random(2000)
    >>> y = (rng.random(2000) < proba).astype(int)
    >>> threshold = risk_threshold(y, proba, doubt=-np.abs(proba - 0.5), risk=0.15)
    >>> print(f"answer where P(y = 1) is further than {-threshold:.2f} from 1/2")
    answer where P(y = 1) is further than 0.27 from 1/2
    """
    check_open(risk=risk, delta=delta)
    check_counts(tries=tries)
    check_counts(least=0, seed=seed)
    check_order(y=y, proba=proba, doubt=doubt, groups=groups)
    wrong, _ = own_errors(y, proba)
    doubt, of, units = _units(doubt, groups)
    if len(doubt) != len(wrong):
        raise ValueError(f"doubt has {len(doubt)} rows; y has {len(wrong)}")
    level = delta / tries
    pilot, needed = max(tries, units // 10), rows_needed(risk, level)
    if units < needed + pilot:
        raise ValueError(
            f"doubt has {units} {_what(doubt, units)}; risk {risk} with delta {delta} and "
            f"tries {tries} needs at least {max(needed + tries, (needed - 1) * 10 // 9 + 1)}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(units)  # bets are on the order, too
    tried = doubt[np.isin(of, order[:pilot])]
    thresholds = [np.inf, *np.quantile(tried, np.arange(1, tries) / tries)]
    judged = order[pilot:]
    certified = [
        threshold
        for threshold in thresholds
        if _is_certified(wrong, doubt, of, judged, threshold, risk, level)
    ]
    if not certified:
        raise ValueError(_none_found(wrong, doubt, risk, delta, needed))
    return float(max(certified))


def _units(doubt, groups) -> tuple[np.ndarray, np.ndarray, int]:
    """Doubts (n,), the number of each row's unit, and how many units there are."""
    doubt = numbers(doubt, "doubt").astype(np.float64)
    if doubt.ndim != 1 or doubt.size == 0:
        raise ValueError(
            f"doubt has shape {doubt.shape}; it has to be (n,), n ≥ 1: of draws take "
            "mutual_information"
        )
    check_finite(doubt, "doubt")
    n = len(doubt)
    ids = np.arange(n) if groups is None else check_ids(groups, "groups", n)
    _, of = np.unique(ids, return_inverse=True)
    return doubt, of, int(of.max()) + 1


def _what(doubt, units: int) -> str:
    return "rows" if len(doubt) == units else "groups"


def _is_certified(wrong, doubt, of, judged, threshold, risk, level) -> bool:
    """Whether answering below a threshold keeps the risk, by the units `judged`, in order."""
    answered = doubt < threshold
    sizes = np.bincount(of)
    if len(sizes) == len(of):
        count = answered[np.isin(of, judged)].sum()
        errors = wrong[answered & np.isin(of, judged)].sum()
        return bool(count and bdtr(errors, count, risk) <= level)
    means = np.bincount(of, np.where(answered, wrong, risk)) / sizes
    return bool(betting(means[judged], level, side="upper").upper <= risk)


def _none_found(wrong, doubt, risk, delta, needed: int) -> str:
    surest = np.argsort(doubt, kind="stable")[:needed]
    return (
        f"risk is {risk} and delta {delta}, which no threshold on doubt certifies: of all "
        f"{len(wrong)} rows {wrong.mean():.1%} are answered wrongly, of the {needed} with "
        f"least doubt {wrong[surest].mean():.1%}; a larger risk, more rows or a better doubt "
        "is needed"
    )
