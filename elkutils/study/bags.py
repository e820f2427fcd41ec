"""Bags of reporters whose mean is known, and how often bounds on it hold, without simulation.

A *bag* is an array of draws of probabilities (draws, n) that stands for a whole posterior. A
*verdict* is the answer 0 or 1 of one of its members, so the number of ones in an ensemble is
binomial.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from elkutils.study.scaling import by_kind

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

KINDS = {"easy": "easy", "hard": "hard", "negated": "easy_negated"}


def statements(
    model: "TransformerBridge", seed: int, layer: int, most: int
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
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
    dict of str to (X (n, d), y (n,))
        ``train`` and each of `KINDS`.
    """
    found, rng = by_kind(model, "cities", seed, layer), np.random.default_rng(seed)
    chosen = {"train": found["train"][:2]}
    for kind, name in KINDS.items():
        X, y, _ = found[name]
        rows = rng.permutation(len(y))[:most]
        chosen[kind] = X[rows], y[rows]
    return chosen


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
