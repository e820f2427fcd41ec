"""Rivals of a trained reporter that learn their direction without labels.

`RandomDirection` reads along a direction drawn at random, `ContrastiveClustering` along the one
in which contrast pairs differ most. Labels give both their sign, scale and bias only.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from elkutils._inputs import check_counts, check_order, plain
from elkutils.reporters.base import Reporter


class RandomDirection(Reporter):
    """A probe whose direction is drawn at random: what the features give to anybody.

    Along the direction both classes are modelled as normal with one variance, as by
    `DifferenceInMeans`.

    Parameters
    ----------
    seed : int
        Of the direction. Each feature's weight is normal, in the units of 1/X.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> RandomDirection().fit(X, y).coef_.round(2).tolist()
    [[2.14]]
    """

    def __init__(self, seed: int = 0, positive: object = None):
        self.seed = seed
        self.positive = positive

    def fit(self, X: ArrayLike, y: ArrayLike) -> "RandomDirection":
        """Draw a direction, and fit sign, scale and bias along it to X (n, d) and y (n,).

        Raises
        ------
        ValueError
            For bad input, and if X does not vary along the direction.
        """
        X, y = self._check_training(X, y)
        check_counts(least=0, seed=self.seed)
        direction = np.random.default_rng(self.seed).standard_normal(X.shape[1])
        self.coef_, self.intercept_ = _along(X, y, direction)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


class ContrastiveClustering(Reporter):
    """A probe that finds its direction in contrast pairs, without a label.

    A pair is two texts of which one is true and one is false, such as a statement and its
    negation; which of them is true need not be known. Truth is one thing in which the two
    differ, and a direction in which many pairs differ may be truth. It is contrastive
    representation clustering by the top principal component, of Burns, Ye, Klein & Steinhardt
    (2022, arXiv:2212.03827, appendix), who find it about as good as contrast-consistent search.

    Parameters
    ----------
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Notes
    -----
    The mean of each side is taken off first, so that what all texts of a side share, such as
    the word "not", is not found. Nothing makes sure that the rest is truth: any feature in
    which pairs differ will do (Farquhar et al. 2023, arXiv:2312.10029).
    """

    def __init__(self, positive: object = None):
        self.positive = positive

    def fit(
        self, X: ArrayLike, y: ArrayLike, pairs: ArrayLike | None = None
    ) -> "ContrastiveClustering":
        """Find the direction in pairs of rows of X (n, d); y (n,) gives it sign and scale.

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array of two labels
            Not used for the direction.
        pairs : (k, 2) array of int
            The two rows of each pair, k ≥ 2. The first side holds texts of one form, such as
            affirmations, the second of the other. Where both have the same form, a coin has to
            decide which is first: in an order by truth, the side's mean *is* the truth.

        Raises
        ------
        ValueError
            If `pairs` is missing, is not (k, 2) rows of X with k ≥ 2, or one side has one label
            only; if pairs do not differ; and for bad input.
        """
        check_order(X=X, y=y)
        X, y = self._check_training(X, y)
        pairs = _checked_pairs(pairs, y)
        difference = X[pairs[:, 0]] - X[pairs[:, 1]]
        difference = difference - difference.mean(axis=0)
        _, sizes, directions = np.linalg.svd(difference, full_matrices=False)
        if not sizes[0] > 1e-12 * np.abs(X).max():
            raise ValueError("pairs differ in nothing but their side: no direction tells them")
        self.coef_, self.intercept_ = _along(X, y, directions[0])
        return self


def _along(X, y, direction) -> tuple[np.ndarray, np.ndarray]:
    """Weights (1, d) and bias (1,) of the best log odds along a direction, by class means."""
    direction = direction / np.linalg.norm(direction)
    score = X @ direction
    means = np.array([score[y == c].mean() for c in (0, 1)])
    variance = ((score - means[y.astype(int)]) ** 2).mean()
    gap = means[1] - means[0]
    if not score.std() > 1e-14 * max(1e-300, np.abs(X).max()):
        raise ValueError("X does not vary along the direction: its rows are all alike")
    slope = gap / max(variance, 1e-8 * max(gap**2, score.var()))
    bias = logit(y.mean()) - slope * means.mean()
    return slope * direction[None, :], np.array([bias])


def _checked_pairs(pairs, y) -> np.ndarray:
    """Rows (k, 2) of contrast pairs, or ValueError."""
    if pairs is None:
        raise ValueError("pairs is None; it has to hold the two rows of each contrast pair")
    pairs = plain(pairs, "pairs")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"pairs has shape {pairs.shape} and dtype {pairs.dtype}; it has to be (k, 2) row "
            "numbers, k ≥ 2"
        )
    if pairs.min() < 0 or pairs.max() >= len(y):
        raise ValueError(
            f"pairs has the row {pairs.max() if pairs.min() >= 0 else pairs.min()}; X has rows "
            f"0 to {len(y) - 1}: they count the rows that are fitted on"
        )
    same = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(same):
        raise ValueError(f"pairs[{same[0]}] has the row {pairs[same[0], 0]} twice")
    for side in (0, 1):
        labels = np.unique(y[pairs[:, side]])
        if len(labels) == 1:
            raise ValueError(
                f"pairs[:, {side}] holds rows of one label only, so that the order of a pair "
                "tells its truth; order pairs by their form, or by a coin where it is the same"
            )
    return pairs
