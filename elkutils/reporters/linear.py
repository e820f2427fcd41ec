"""Reporters that need no optimiser: difference in means, linear discriminant analysis."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

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
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> DifferenceInMeans().fit(X, y).coef_.round(2).tolist()
    [[2.14]]
    """

    def __init__(self, positive: object = None):
        self.positive = positive

    def fit(self, X: ArrayLike, y: ArrayLike) -> "DifferenceInMeans":
        """Fit to X (n, d) and the two labels y (n,).

        Raises
        ------
        ValueError
            If the class means are equal, so that there is no direction; and for bad input.
        """
        X, y = self._check_training(X, y)
        mean_0, mean_1 = X[y == 0].mean(axis=0), X[y == 1].mean(axis=0)
        delta = mean_1 - mean_0
        length = delta @ delta
        if not length > (1e-14 * np.abs(X).max()) ** 2:
            raise ValueError("X has the same mean in both classes: no direction separates them")
        projection = (X - np.where(y[:, None] == 1, mean_1, mean_0)) @ delta
        variance = max(np.mean(projection**2) / length, 1e-8 * length)
        self.coef_ = (delta / variance)[None, :]
        middle = (mean_0 + mean_1) / 2
        self.intercept_ = np.array([logit(y.mean()) - self.coef_[0] @ middle])
        return self


class LinearDiscriminant(Reporter):
    """Linear discriminant analysis: normal classes with one covariance.

    Parameters
    ----------
    shrinkage : float in [0, 1], "auto" or None
        How far the covariance is shrunk towards a multiple of the identity; "auto" is the
        choice of Ledoit & Wolf. With None and fewer rows than features the covariance is
        singular and the least-squares solution of smallest norm is taken.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.
    """

    def __init__(self, shrinkage: float | str | None = None, positive: object = None):
        self.shrinkage = shrinkage
        self.positive = positive

    def fit(self, X: ArrayLike, y: ArrayLike) -> "LinearDiscriminant":
        """Fit to X (n, d), n ≥ 3, and the two labels y (n,).

        Raises
        ------
        ValueError
            For bad input, and for two rows, which have no variance within the classes.
        """
        X, y = self._check_training(X, y)
        if len(X) < 3:
            raise ValueError("X has 2 rows; a variance within the classes needs at least 3")
        number = isinstance(self.shrinkage, int | float) and 0 <= self.shrinkage <= 1
        if not (self.shrinkage is None or self.shrinkage == "auto" or number):
            raise ValueError(
                f'shrinkage is {self.shrinkage!r}; it has to be None, "auto" or in [0, 1]'
            )
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage).fit(X, y)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        return self
