"""How much the members of a bag differ, and how much two bags differ.

A bag is draws of probabilities ``(draws, n)``: members of an ensemble, or draws from a
posterior. Most measures have one value per input, ``(n,)``; its mean describes the inputs as a
whole. `correlations` compares heads on one base network with heads on several.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr
from scipy.stats import rankdata

from elkutils._inputs import check_columns, numbers
from elkutils.evaluation._arrays import (
    check_labels,
    check_proba,
    check_values,
    warn_of_classes,
)
from elkutils.evaluation.intervals import weighted_mean


def disagreement(proba: ArrayLike) -> np.ndarray:
    """Return the probability that two different members give different verdicts.

    Parameters
    ----------
    proba : (draws, n) array
        P(y = 1), draws along the first axis; above ½ the verdict is 1, at ½ it is 0.

    Returns
    -------
    (n,) array
        2k(N − k)/N(N − 1) for k of N members whose verdict is 1, which is unbiased for members
        drawn independently. One member disagrees with nobody: 0.

    Raises
    ------
    ValueError
        If `proba` holds NaN or leaves [0, 1], has no draws or the wrong shape.

    Examples
    --------
    >>> disagreement([[0.9, 0.1], [0.8, 0.6]]).tolist()
    [0.0, 1.0]
    """
    proba = _bag(proba, "proba")
    members, says = len(proba), (proba > 0.5).sum(axis=0)
    return 2.0 * says * (members - says) / max(1, members * (members - 1))


def total_variation(proba: ArrayLike, other: ArrayLike) -> np.ndarray:
    """Return the total variation between the predictives of two bags.

    The predictive of a bag is the mean over its draws, and the total variation of two
    distributions on {0, 1} is the difference of their probabilities of 1. For draws from the
    *same* distribution it is not 0 but the Monte Carlo error of two means; compare it with that
    of two halves of one bag.

    Parameters
    ----------
    proba : (draws, n) array
        P(y = 1), draws along the first axis.
    other : (other_draws, n) array
        P(y = 1) of the other bag, for the same inputs.

    Returns
    -------
    (n,) array
        Between 0 and 1.

    Raises
    ------
    ValueError
        As `disagreement`, and if the two are not of the same inputs.

    Examples
    --------
    >>> total_variation([[0.2], [0.4]], [[0.8]]).round(6).tolist()
    [0.5]
    """
    proba, other = _bags(proba, other)
    return np.abs(proba.mean(axis=0) - other.mean(axis=0))


def agreement(proba: ArrayLike, other: ArrayLike) -> np.ndarray:
    """Return 1 where the means of two bags are on the same side of ½, else 0: (n,) floats.

    Exactly ½ counts as below. Parameters and errors are those of `total_variation`.
    """
    proba, other = _bags(proba, other)
    return 1.0 * ((proba.mean(axis=0) > 0.5) == (other.mean(axis=0) > 0.5))


def mutual_information(proba: ArrayLike) -> np.ndarray:
    """Return the mutual information of the label and the member, in nats.

    It is the entropy of the mean less the mean entropy (Houlsby, Huszár, Ghahramani & Lengyel
    2011, eq. 2): large where members are sure and contradict each other, 0 where they agree,
    even on one half. One member has none.

    Parameters and errors are those of `disagreement`.

    Returns
    -------
    (n,) array
        Between 0 and log 2.

    Examples
    --------
    >>> mutual_information([[0.0, 0.5], [1.0, 0.5]]).round(4).tolist()
    [0.6931, 0.0]
    """
    proba = _bag(proba, "proba")
    return np.maximum(_entropy(proba.mean(axis=0)) - _entropy(proba).mean(axis=0), 0.0)


@dataclass(frozen=True, eq=False)
class BrierSplit:
    """The Brier score of a bag's members, split into the bag's own and their variance.

    Attributes
    ----------
    member : (n,) array
        Mean squared error of one member.
    bag : (n,) array
        Squared error of the bag's mean, or the estimate of that of an infinite bag.
    variance : (n,) array
        Variance of the members' probabilities: `member` = `bag` + `variance`, row by row.
    """

    member: np.ndarray
    bag: np.ndarray
    variance: np.ndarray

    @property
    def share(self) -> float:
        """The share of a member's Brier score that averaging removes, over all rows."""
        return float(variance_share(self.variance, self.member, np.ones((1, len(self.bag))))[0])


def brier_split(y: ArrayLike, proba: ArrayLike, ddof: int = 0) -> BrierSplit:
    """Return the Brier score of members, split into that of their mean and their variance.

    For a label y and members pₖ with mean p̄, the mean of (pₖ − y)² is (p̄ − y)² plus the mean of
    (pₖ − p̄)² (Krogh & Vedelsby 1995). With ``ddof=0`` this is exact for these members.
    With ``ddof=1`` the variance is that of the distribution they were drawn from, independently
    and without bias, and `bag` estimates an infinite bag's score without bias; on a row it may
    be negative.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    proba : (draws, n) array
        P(y = 1), draws along the first axis; two or more.
    ddof : 0 or 1
        0 for this bag, 1 for an infinite one.

    Raises
    ------
    ValueError
        As `disagreement`; if `y` does not match, there is one member only, or `ddof` is
        neither 0 nor 1.

    Examples
    --------
    >>> split = brier_split([1, 0], [[0.5, 0.5], [1.0, 0.5]])
    >>> split.member.tolist(), split.bag.tolist(), split.variance.tolist()
    ([0.125, 0.25], [0.0625, 0.25], [0.0625, 0.0])
    """
    proba, y = _bag(proba, "proba"), check_labels(y)
    check_proba(proba, len(y))
    if len(proba) < 2:
        raise ValueError("proba has one member; a variance between members needs two or more")
    if ddof not in (0, 1) or isinstance(ddof, bool):
        raise ValueError(f"ddof is {ddof!r}; it has to be 0 (this bag) or 1 (an infinite one)")
    member = np.mean((proba - y) ** 2, axis=0)
    variance = proba.var(axis=0, ddof=ddof)
    return BrierSplit(member, member - variance, variance)


def variance_share(variance: ArrayLike, member: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Return the ratio of the means of two columns (n,) for each row of weights (B, n).

    With the columns of `brier_split` it is the share of a member's Brier score that averaging
    removes, as `bootstrap` takes it.

    Examples
    --------
    >>> variance_share([0.1, 0.0], [0.2, 0.3], [[1, 1], [1, 0]]).round(3).tolist()
    [0.2, 0.5]
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # no error at all: NaN
        return weighted_mean(variance, weights) / weighted_mean(member, weights)


def correlations(log_odds: ArrayLike, ranks: bool = False) -> np.ndarray:
    """Return the mean correlation of heads, within each base network and between them.

    Parameters
    ----------
    log_odds : (bases, heads, n) array
        Log odds of heads on the same n inputs: two bases and two heads per base, or more.
        Probabilities would mislead where all are near 0 or near 1.
    ranks : bool
        Spearman's correlation instead of Pearson's.

    Returns
    -------
    (bases, bases) array
        Off the diagonal the mean over all pairs of a head on one base and a head on the other,
        on it the mean over pairs of different heads on that base.

    Raises
    ------
    ValueError
        If the shape is another, a value is not finite, or a head gives all inputs the same
        log odds.

    Examples
    --------
    >>> up, down = [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]
    >>> correlations([[up, up], [up, down]]).tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    found = numbers(log_odds, "log_odds")
    if found.ndim != 3 or min(found.shape, default=0) < 2:
        raise ValueError(
            f"log_odds has shape {found.shape}; it has to be (bases, heads, n), each at least 2"
        )
    found = check_values(found, found.shape[2], "log_odds")
    if not np.isfinite(found).all():
        raise ValueError("log_odds holds infinite values; it has to hold finite log odds")
    constant = np.argwhere(np.ptp(found, axis=2) == 0)
    if len(constant):
        base, head = constant[0]
        raise ValueError(
            f"log_odds[{base}, {head}] is the same for every input; a head without variation"
            " has no correlation"
        )
    bases, heads, n = found.shape
    flat = found.reshape(-1, n)
    flat = rankdata(flat, axis=1) if ranks else flat
    blocks = np.corrcoef(flat).reshape(bases, heads, bases, heads)
    sums = blocks.sum(axis=(1, 3))
    own = np.diag(sums) - heads  # less each head with itself
    means = sums / heads**2
    np.fill_diagonal(means, own / (heads * (heads - 1)))
    return means


def _entropy(p: np.ndarray) -> np.ndarray:
    return entr(p) + entr(1 - p)


def _bags(proba, other) -> tuple[np.ndarray, np.ndarray]:
    check_columns(proba, other, "proba", "other")
    proba, other = _bag(proba, "proba"), _bag(other, "other")
    if proba.shape[1] != other.shape[1]:
        first = proba.shape[0] == other.shape[1] or proba.shape[1] == other.shape[0]
        turned = "; is one of them transposed? Draws come first, inputs last" if first else ""
        raise ValueError(
            f"other has {other.shape[1]} inputs; it has to match proba, which has"
            f" {proba.shape[1]}{turned}"
        )
    return proba, other


def _bag(proba, name: str) -> np.ndarray:
    shape = np.shape(proba)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} has shape {shape}; it has to be (draws, n), not empty")
    proba = check_proba(proba, shape[1], name)
    warn_of_classes(proba, name)
    return proba
