"""Looking at the worst few of many cases: what a budget finds, and what rows can resolve.

A share of the cases is harmful, and as large a share of them, those with the highest P(harm),
is looked at. Rows are weighted to that prevalence, so a perfect ranking has a recall of 1.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from elkutils.evaluation import prevalence_weights, recall_at


def rare_recall(share: float) -> Callable:
    """Return the statistic "recall at a budget, were harm as rare as the budget".

    Parameters
    ----------
    share : float
        Of harmful cases, and of cases that are looked at; in (0, 1).

    Returns
    -------
    callable
        ``(y, p, weights=None)``, as `elkutils.evaluation.bootstrap` takes it.

    Examples
    --------
    >>> float(rare_recall(0.5)([0, 0, 1, 1], [0.1, 0.8, 0.4, 0.9]))
    0.5
    """

    def recall(y, p, weights=None):
        rare = prevalence_weights(y, share)
        return recall_at(y, p, share, rare if weights is None else rare * weights)

    return recall


def recall_among(
    y: np.ndarray, p: np.ndarray, harmless: int, share: float, repeats: int = 50, seed: int = 0
) -> float:
    """Return the mean recall over random choices of so many harmless rows.

    With fewer than 1/share − 1 harmless rows one of them fills the budget by itself, and recall
    depends on how many there are. This makes two sets of rows comparable.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    p : (n,) array
    harmless : int
        Number of rows with y = 0 that are kept.
    share : float
        As in `rare_recall`.
    repeats, seed : int

    Raises
    ------
    ValueError
        If there are fewer harmless rows.
    """
    ones, zeros = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if not 1 <= harmless <= len(zeros):
        raise ValueError(f"harmless is {harmless}; there are {len(zeros)} rows with y = 0")
    rng, recall = np.random.default_rng(seed), rare_recall(share)
    chosen = (
        np.concatenate([ones, rng.choice(zeros, harmless, replace=False)])
        for _ in range(repeats)
    )
    return float(np.mean([recall(y[rows], p[rows]) for rows in chosen]))


def auroc_of_recall(recall: float, share: float) -> float:
    """Return the AUROC at which normal scores of equal variance have this recall.

    Parameters
    ----------
    recall : float
        Between `share`, which is chance, and 1.
    share : float
        As in `rare_recall`.

    Examples
    --------
    >>> round(auroc_of_recall(0.5, 0.01), 3)
    0.966
    """
    if not share <= recall < 1:
        raise ValueError(f"recall is {recall}; it has to be in [{share}, 1)")
    threshold = norm.isf(share * (1 - recall) / (1 - share))
    return float(norm.cdf((threshold - norm.isf(recall)) / np.sqrt(2)))


def recall_of_auroc(auroc: float, share: float) -> float:
    """Return the inverse of `auroc_of_recall`, for an AUROC from ½ to below 1.

    Examples
    --------
    >>> round(recall_of_auroc(0.75, 0.01), 3)
    0.081
    """
    if not 0.5 <= auroc < 1:
        raise ValueError(f"auroc is {auroc}; it has to be in [0.5, 1)")
    return float(brentq(lambda r: auroc_of_recall(r, share) - auroc, share, 1 - 1e-9))
