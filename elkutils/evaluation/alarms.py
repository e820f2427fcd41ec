"""A threshold on scores whose rate of false alarms is certified, and the rate of any threshold.

An alarm is a score at or above a threshold. Scores may be on any scale on which higher means
more harmful: probabilities, log odds, or the distance of a probe. What is guaranteed is
guaranteed for rows, or groups of rows, drawn as those that were given.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, rel_entr

from elkutils._inputs import check_finite, check_ids, is_number, numbers
from elkutils.evaluation.bounds import hoeffding_kl
from elkutils.evaluation.decisions import draws_to_see
from elkutils.evaluation.intervals import Interval

SATURATED = "scores of exactly 1 cannot be told apart: pass log odds, as by decision_function"


def certified_threshold(
    score: ArrayLike, alpha: float, delta: float = 0.05, groups: ArrayLike | None = None
) -> float:
    """Return the lowest threshold whose false-alarm rate is certified to be at most α.

    With probability at least 1 − δ over the rows given, a new harmless row scores at or above
    the threshold with probability at most α.

    Parameters
    ----------
    score : (n,) array
        Scores of harmless rows that neither the reporter nor its settings were fitted on.
    alpha : float
        α, the largest rate of false alarms, between 0 and 1.
    delta : float
        δ, the probability with which the guarantee may fail, between 0 and 1.
    groups : (n,) array, or None
        Group of each row. Rows of a group may depend on each other; groups are independent,
        and the rate is that of a random row of a new group, so that each group counts alike.
        With None all rows are independent.

    Returns
    -------
    float
        An alarm is ``score >= threshold``. Compare scores of the dtype given.

    Raises
    ------
    ValueError
        If there are too few rows or groups for α and δ (the message gives the number needed);
        if scores are probabilities of which too many are exactly 1; or an argument is out of
        range.

    Notes
    -----
    For independent rows it lies just above an order statistic: the threshold just above the
    k-th smallest score has a rate above α with probability at most P(Binomial(n, α) ≤ n − k),
    exactly that where scores have no ties (Wilks 1941, distribution-free tolerance limits).
    For groups, the share of alarms in each is a number in [0, 1] with the rate as its mean, and
    the threshold is the lowest at which Hoeffding's bound in its first form, `hoeffding_kl`,
    certifies α. The rate falls as the threshold rises, so that the search needs no correction
    (Bates et al. 2021, arXiv:2101.02703, Theorem 1).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> print(f"{certified_threshold(rng.normal(size=1000), alpha=0.05):.2f}")
    1.71
    >>> certified_threshold(rng.normal(size=50), alpha=0.05)
    Traceback (most recent call last):
    ...
    ValueError: score has 50 rows; alpha 0.05 with delta 0.05 needs at least 59
    """
    score, shares, units = _shares(score, groups)
    check_open(alpha=alpha, delta=delta)
    needed = rows_needed(alpha, delta)
    if units < needed:
        what = "rows" if len(score) == units else "groups"
        raise ValueError(
            f"score has {units} {what}; alpha {alpha} with delta {delta} needs at least "
            f"{needed}"
        )
    order = np.argsort(score)[::-1]
    falling, alarms = score[order], np.cumsum(shares[order])
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of each tie
    certified = _certified(alarms[last], units, len(score) == units, alpha, delta)
    below = last[np.argmin(certified)]  # the highest score that may not give an alarm
    threshold = np.nextafter(falling[below], np.array(np.inf, score.dtype))
    if falling[below] == 1 == falling[0] and falling[-1] >= 0:
        raise ValueError(f"score is 1 in too many rows for alpha {alpha}; {SATURATED}")
    return float(threshold)


def rows_needed(alpha: float, delta: float = 0.05) -> int:
    """Return the least number of rows, or groups, with which α can be certified at all.

    With fewer, (1 − α)ⁿ > δ: even rows without a single alarm leave a rate above α open.

    Examples
    --------
    >>> rows_needed(0.01)
    299
    """
    check_open(alpha=alpha, delta=delta)
    return int(draws_to_see(alpha, delta))


def alarm_rate(
    score: ArrayLike,
    threshold: float,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the share of rows that give an alarm, with an interval that is guaranteed.

    Of harmful rows it is the true-positive rate, of harmless ones the false-alarm rate.

    Parameters
    ----------
    score : (n,) array
    threshold : float
        Chosen on other rows.
    groups : (n,) array, or None
        As in `certified_threshold`: each group counts alike.
    level : float
        Probability with which the interval holds the rate, at least.

    Returns
    -------
    Interval
        Clopper–Pearson for independent rows, `hoeffding_kl` over groups.

    Examples
    --------
    >>> print(alarm_rate([0.2, 0.9, 0.8, 0.7], 0.5))
    0.750 [0.194, 0.994]
    """
    score, shares, units = _shares(score, groups)
    if not is_number(threshold) or np.isnan(threshold):
        raise ValueError(f"threshold is {threshold!r}; it has to be a number")
    alarms = score >= threshold
    if units == len(score):
        return Interval.of_share(int(alarms.sum()), units, level)
    _, of = np.unique(check_ids(groups, "groups", len(score)), return_inverse=True)
    rates = np.clip(units * np.bincount(of, shares * alarms), 0, 1)
    found = hoeffding_kl(rates, delta=1 - level)
    return Interval(float(rates.mean()), float(found.lower), float(found.upper), level)


def _shares(score, groups):
    """Scores, the share of each row in the rate, and the number of independent units."""
    score = numbers(score, "score")
    if score.ndim != 1 or score.size == 0:
        raise ValueError(
            f"score has shape {score.shape}; it has to be (n,), n ≥ 1: of draws take the mean"
        )
    score = score if score.dtype.kind == "f" else score.astype(np.float64)
    check_finite(score, "score")
    n = len(score)
    if groups is None:
        return score, np.full(n, 1 / n), n
    _, of, sizes = np.unique(
        check_ids(groups, "groups", n), return_inverse=True, return_counts=True
    )
    return score, 1 / (len(sizes) * sizes[of]), len(sizes)


def _certified(rates, units, independent, alpha, delta):
    """Whether each mean rate of alarms (k,) over units certifies α."""
    if independent:
        return bdtr(np.round(rates * units), units, alpha) <= delta
    rates = np.clip(rates, 0, 1)
    distance = rel_entr(rates, alpha) + rel_entr(1 - rates, 1 - alpha)
    return (rates <= alpha) & (units * distance >= -np.log(delta))


def check_open(**values: float) -> None:
    """Raise ValueError unless each value lies between 0 and 1."""
    for name, value in values.items():
        if not is_number(value) or not 0 < value < 1:
            percent = is_number(value) and 1 <= value < 100
            hint = f": {value / 100:g} for {value:g}%" if percent else ""
            raise ValueError(f"{name} is {value!r}; it has to lie between 0 and 1{hint}")
