"""Bags of reporters whose mean is known, and how often bounds on it hold, without simulation.

A *bag* is an array of draws of probabilities (draws, n) that stands for a whole posterior. A
*verdict* is the answer 0 or 1 of one of its members, so the number of ones in an ensemble is
binomial.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaln, xlog1py, xlogy
from scipy.stats import binom

from elkutils.study.scaling import by_kind

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

KINDS = {"easy": "easy", "hard": "hard", "negated": "easy_negated"}


def statements(
    model: "TransformerBridge", seed: int, layer: int, most: int
) -> Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return training rows of the easy cities, and a few held-out ones of each kind.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    seed : int
        One of `elkutils.study.seeds`; it also chooses the few.
    layer : int
        Layer whose residual stream is read, z-scored by the training rows.
    most : int
        Most rows per kind.

    Returns
    -------
    dict of str to (X (n, d), y (n,), groups (n,))
        ``train`` and each of `KINDS`.
    """
    found, rng = by_kind(model, "cities", seed, layer), np.random.default_rng(seed)
    chosen = {"train": found["train"]}
    for kind, name in KINDS.items():
        rows = rng.permutation(len(found[name][1]))[:most]
        chosen[kind] = tuple(part[rows] for part in found[name])
    return chosen


def ensembles(bag: np.ndarray, size: int, count: int, seed: int) -> np.ndarray:
    """Return `count` ensembles of `size` members of a bag: (size, count, n).

    Members are drawn independently, each put back before the next.

    Parameters
    ----------
    bag : (draws, n) array
    size, count, seed : int
    """
    return bag[np.random.default_rng(seed).integers(len(bag), size=(size, count))]


def nearest_with_log_odds(
    target: float,
    x: np.ndarray,
    weights: np.ndarray,
    biases: np.ndarray,
    fixed: np.ndarray,
) -> np.ndarray:
    """Return the input (d,) nearest to x to which every member gives the log odds `target`.

    It is the solution of least norm of N + 1 linear equations for the change of x.

    Parameters
    ----------
    target : float
    x : (d,) array
    weights, biases : (N, d) and (N,) arrays
        Of N linear members, N < d.
    fixed : (d,) array
        A direction in which the input may not move, such as the posterior's mean weights.

    Raises
    ------
    ValueError
        If there are d members or more: then there may be no such input.
    """
    if len(weights) >= len(x):
        raise ValueError(f"weights has {len(weights)} members; it needs fewer than {len(x)}")
    rows = np.vstack([weights, fixed])
    change = np.append(target - weights @ x - biases, 0.0)
    return x + np.linalg.lstsq(rows, change, rcond=None)[0]


def spread_ratio(
    members: np.ndarray,
    draws: np.ndarray,
    unit: Callable[[np.ndarray], np.ndarray] = np.asarray,
    moved: bool = False,
) -> float:
    """Return the members' standard deviation over that of a posterior's draws.

    Each is a mean over statements.

    Parameters
    ----------
    members, draws : (N, n) and (M, n) arrays
        Log odds.
    unit : callable
        From log odds to what is compared: `scipy.special.expit` for probabilities.
    moved : bool
        Whether the members' log odds are moved, statement by statement, to the draws' mean.

    Examples
    --------
    >>> spread_ratio(np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]]))
    0.5
    """
    if moved:
        members = members - members.mean(axis=0) + draws.mean(axis=0)
    ours, theirs = (unit(f).std(axis=0).mean() for f in (members, draws))
    return float(ours / theirs)


def watch(
    bound: Callable, bag: np.ndarray, size: int, count: int, delta: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often a two-sided bound on ensembles holds the bag's mean, and its mean width.

    Parameters
    ----------
    bound : callable
        One of the bounds of `elkutils.evaluation`.
    bag : (draws, n) array
    size, count : int
        Members of an ensemble, and number of ensembles.
    delta : float
    seed : int

    Returns
    -------
    held, width : (n,) arrays
        Each a mean over the ensembles.
    """
    found = bound(ensembles(bag, size, count, seed).reshape(size, -1), delta)
    held = found.hold(np.tile(bag.mean(axis=0), count))
    width = found.upper - found.lower
    return held.reshape(count, -1).mean(axis=0), width.reshape(count, -1).mean(axis=0)


def coverage_of_verdicts(
    bound: Callable, size: int, means: Iterable[float], delta: float, side: str = "upper"
) -> np.ndarray:
    """Return the probability that a bound holds the mean of verdicts, for each of `means`.

    The number of ones among the verdicts of `size` members has size + 1 values, so the
    probability is a sum over all of them.

    Parameters
    ----------
    bound : callable
        One of the bounds of `elkutils.evaluation`.
    size : int
        Members of an ensemble.
    means : iterable of float
        Shares of the bag whose verdict is 1.
    delta : float
        Level of the bound, as it takes it.
    side : str
        Side of the bound, as it takes it.
    """
    ones = np.arange(size + 1)
    found = bound((np.arange(size)[:, None] < ones).astype(float), delta, side)
    return np.array([binom.pmf(ones, size, m)[found.hold(m)].sum() for m in means])


def probability_of_staying(share: float, inside: np.ndarray) -> float:
    """Return the probability that a count of ones stays inside a region at every number.

    Parameters
    ----------
    share : float
        Probability of a one.
    inside : (N + 1, N + 1) array of bool
        Whether the region holds `ones` among `n` members, by [n, ones]; row 0 is not asked.
    """
    alive = np.ones(1)
    for n in range(1, len(inside)):
        alive = np.convolve(alive, (1 - share, share)) * inside[n, : n + 1]
    return float(alive.sum())


def held_at_every_number(share: float, size: int, delta: float) -> tuple[float, float]:
    """Return the probability that two intervals for a share hold it at every number of members.

    Parameters
    ----------
    share : float
        Probability that a member's verdict is 1.
    size : int
        Largest number of members; every number from 1 to it is asked.
    delta : float

    Returns
    -------
    clopper_pearson, confidence_sequence : float
        Of the interval of Clopper and Pearson, made for one number of members, and of
        `elkutils.evaluation.confidence_sequence`.
    """
    members, ones = np.ogrid[: size + 1, : size + 1]
    zeros = np.maximum(members - ones, 0)
    mixture = betaln(ones + 0.5, zeros + 0.5) - np.log(np.pi)  # log E[q^S (1 − q)^(N − S)]
    most = xlogy(ones, share) + xlog1py(zeros, -share) - np.log(delta)
    low = binom.ppf(delta / 2, members, share)
    high = binom.isf(delta / 2, members, share)
    return (
        probability_of_staying(share, (low <= ones) & (ones <= high)),
        probability_of_staying(share, mixture < most),
    )
