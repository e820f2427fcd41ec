"""Reporters that need no optimiser: difference in means, linear discriminant analysis."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, lstsq
from scipy.linalg.lapack import dpotrf
from scipy.special import logit

from elkutils._inputs import check_order, is_number
from elkutils.reporters.base import Reporter


class DifferenceInMeans(Reporter):
    """The probe whose direction is the difference of the class means, δ = mean₁ − mean₀.

    The projection on δ is modelled as normal in each class with one variance, whose log odds
    are linear: the weights are δ/s², where s² is the within-class variance along δ (pooled,
    divided by n). The bias sets the log odds half way between the means to those of the
    classes.

    If no class varies along δ (for example with two rows), s² is 1e-8 ‖δ‖² and the answers are
    certain.

    See Marks & Tegmark (2023), *The geometry of truth*, for the probe.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        Weights of the classes by label, times those of the rows: as in scikit-learn. With
        "balanced" both classes weigh the same, and probabilities are for equally many rows
        of each.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> DifferenceInMeans().fit(X, y).coef_.round(2).tolist()
    [[2.14]]
    """

    def __init__(self, class_weight: dict | str | None = None, positive: object = None):
        self.class_weight = class_weight
        self.positive = positive

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "DifferenceInMeans":
        """Fit to X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array of two labels
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice.

        Raises
        ------
        ValueError
            If the class means are equal, so that there is no direction; and for bad input.
        """
        check_order(X=X, sample_weight=sample_weight)
        X, y = self._check_training(X, y)
        X, y, weights = self._weighted(X, y, sample_weight)
        mean_0, mean_1 = _class_means(X, y, weights)
        delta = mean_1 - mean_0
        length = delta @ delta
        if not length > (1e-14 * np.abs(X).max()) ** 2:
            raise ValueError("X has the same mean in both classes: no direction separates them")
        projection = (X - np.where(y[:, None] == 1, mean_1, mean_0)) @ delta
        variance = max(_mean(projection**2, weights) / length, 1e-8 * length)
        self.coef_ = (delta / variance)[None, :]
        middle = (mean_0 + mean_1) / 2
        self.intercept_ = np.array([logit(_mean(y, weights)) - self.coef_[0] @ middle])
        return self


class LinearDiscriminant(Reporter):
    """Linear discriminant analysis: normal classes with one covariance.

    Parameters
    ----------
    shrinkage : float in [0, 1], "auto" or None
        How far the covariance is shrunk towards a multiple of the identity; "auto" is the
        choice of Ledoit & Wolf. With None and fewer rows than features the covariance is
        singular and the least-squares solution of smallest norm is taken.
    class_weight : None, "balanced" or dict
        Weights of the classes by label, times those of the rows: as in scikit-learn. With
        "balanced" both classes weigh the same, and probabilities are for equally many rows
        of each.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.
    """

    def __init__(
        self,
        shrinkage: float | str | None = None,
        class_weight: dict | str | None = None,
        positive: object = None,
    ):
        self.shrinkage = shrinkage
        self.class_weight = class_weight
        self.positive = positive

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "LinearDiscriminant":
        """Fit to X (n, d), n ≥ 3, and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array of two labels
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice.

        Raises
        ------
        ValueError
            For bad input, and for two rows of positive weight, which have no variance within
            the classes.
        """
        check_order(X=X, sample_weight=sample_weight)
        X, y = self._check_training(X, y)
        X, y, weights = self._weighted(X, y, sample_weight)
        if len(X) < 3:
            raise ValueError(
                "X has 2 rows of positive weight; a variance within the classes needs at"
                " least 3"
            )
        number = is_number(self.shrinkage) and 0 <= self.shrinkage <= 1
        if not (self.shrinkage is None or self.shrinkage == "auto" or number):
            raise ValueError(
                f'shrinkage is {self.shrinkage!r}; it has to be None, "auto" or in [0, 1]'
            )
        weights = np.ones(len(y)) if weights is None else weights
        share = _mean(y, weights)
        middle = _mean(X, weights)  # features far from 0 would lose their variation
        X = X - middle
        means = _class_means(X, y, weights)
        within = sum(
            part * _covariance(X[y == c], weights[y == c], self.shrinkage)
            for c, part in ((0, 1 - share), (1, share))
        )
        solved = _solved(within, np.transpose(means)).T
        self.coef_ = (solved[1] - solved[0])[None, :]
        bias = 0.5 * (means[0] @ solved[0] - means[1] @ solved[1])
        self.intercept_ = np.array([logit(share) + bias - self.coef_[0] @ middle])
        return self


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The mean over the rows, by their weights."""
    return np.average(values, axis=0, weights=weights)


def _class_means(X, y, weights) -> list[np.ndarray]:
    return [_mean(X[y == c], None if weights is None else weights[y == c]) for c in (0, 1)]


def _covariance(X: np.ndarray, weights: np.ndarray, shrinkage) -> np.ndarray:
    """The covariance of rows with weights, shrunk as in `LinearDiscriminantAnalysis`.

    That is, a number shrinks the covariance, and "auto" the correlation.
    """
    rounding = 10 * np.finfo(float).eps * np.abs(X).max(axis=0)
    X = X - _mean(X, weights)
    if shrinkage == "auto":
        scales = np.sqrt(_mean(X**2, weights))
        scales[scales <= rounding] = 1.0
        X = X / scales
        shrinkage = _ledoit_wolf(X, weights)
    else:
        scales, shrinkage = np.ones(X.shape[1]), float(shrinkage or 0.0)
    found = (1 - shrinkage) * (X.T @ (weights[:, None] * X)) / weights.sum()
    found[np.diag_indices_from(found)] += shrinkage * np.mean(_mean(X**2, weights))
    return scales[:, None] * found * scales


def _solved(covariance: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solution, whatever the units; the smallest least-squares one of a singular matrix.

    Both cut-offs are for the rounding of a covariance.
    """
    rounding = len(covariance) * np.finfo(float).eps
    scales = np.sqrt(np.diag(covariance))
    if scales.all():
        units = np.outer(scales, scales)
        factor, info = dpotrf(covariance / units, lower=True)
        if info == 0 and np.diag(factor).min() ** 2 > 100 * rounding:
            return cho_solve((factor, True), right / scales[:, None]) / scales[:, None]
    return lstsq(covariance, right, cond=rounding)[0]


def _ledoit_wolf(X: np.ndarray, weights: np.ndarray) -> float:
    """The shrinkage of Ledoit & Wolf (2004) for centred rows X (n, d) with weights (n,).

    It is that of `sklearn.covariance.ledoit_wolf_shrinkage`, with weighted sums.
    """
    d, n = X.shape[1], weights.sum()
    if d == 1:
        return 0.0
    covariance = X.T @ (weights[:, None] * X) / n
    squares, mean = np.sum(covariance**2), np.trace(covariance) / d
    distance = squares / d - mean**2
    error = (weights @ np.sum(X**2, axis=1) ** 2 / n - squares) / (d * n)
    return float(np.clip(error / distance, 0.0, 1.0)) if distance > 0 else 0.0
