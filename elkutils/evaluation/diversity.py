"""How much the members of a bag differ, and how much two bags differ.

A bag is draws of probabilities ``(draws, n)``: members of an ensemble, or draws from a
posterior. Each measure has one value per input, ``(n,)``; its mean describes the inputs as a
whole.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from elkutils._inputs import check_columns
from elkutils.evaluation._arrays import check_proba, warn_of_classes


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
