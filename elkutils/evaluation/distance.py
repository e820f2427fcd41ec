"""How far new inputs lie from the training set: a simple rival of a reporter's own doubt."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_columns, check_finite, check_order, numbers

UNLIKE = 100  # ratio of standard deviations from which features are in unlike units


def class_distance(X: ArrayLike, y: ArrayLike, X_new: ArrayLike) -> np.ndarray:
    """Return the Mahalanobis distance to the nearer of two class means.

    Lee et al. 2018, eq. 2. The covariance is that within the classes, shrunk towards a multiple
    of the identity as in Ledoit and Wolf (2004), since there may be more features than rows.
    Features whose standard deviations differ a hundredfold or more are in unlike units, and no
    multiple of the identity suits them; each then counts in its own standard deviation.

    Parameters
    ----------
    X : (n, d) array
        Inputs of the training set.
    y : (n,) array of 0 and 1
        Their labels, both present.
    X_new : (m, d) array
        Inputs whose distance is wanted.

    Returns
    -------
    (m,) array
        In standard deviations.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, a class is missing, or X does not vary within
        the classes.

    Warns
    -----
    UserWarning
        If `X_new` differs in features that are constant in `X`, which are left out.
    """
    check_order(X=X, y=y)
    check_columns(X, X_new, "X", "X_new")
    X, X_new = numbers(X, "X").astype(np.float64), numbers(X_new, "X_new").astype(np.float64)
    y = numbers(y, "y").astype(np.float64)
    if X.ndim != 2 or X_new.ndim != 2 or X.shape[1] != X_new.shape[1]:
        raise ValueError(
            f"X has shape {X.shape} and X_new {X_new.shape}; they have to be (n, d) and (m, d)"
        )
    if y.shape != X.shape[:1] or set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(
            f"y has shape {y.shape} and holds {np.unique(y)[:5]}; it has to be "
            f"({len(X)},) and hold both 0 and 1"
        )
    for name, values in (("X", X), ("X_new", X_new)):
        check_finite(values, name)
    X, X_new = _scaled(X, X_new)
    means = np.stack([X[y == label].mean(axis=0) for label in (0, 1)])
    factor = _factor(X - means[y.astype(int)])
    gaps = [np.linalg.solve(factor, (X_new - mean).T) for mean in means]
    return np.sqrt(np.min([(gap**2).sum(axis=0) for gap in gaps], axis=0))


def _scaled(X: np.ndarray, X_new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both about the mean of X, in one unit where one suits all; constant features are cut."""
    unit = np.abs(X).max(axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    middle = (X / unit).mean(axis=0)  # squares of any numbers are then finite
    spread = (X / unit).std(axis=0)
    varies = spread > 1e-12
    if not varies.any():
        raise ValueError("X has the same row everywhere; a distance needs features that vary")
    moved = ~varies & (np.abs(X_new / unit - middle).max(axis=0, initial=0) > 1e-9)
    if moved.any():
        warnings.warn(
            f"X_new differs from X in features {np.flatnonzero(moved)[:5].tolist()}, which are "
            "constant in X; they are left out, since no distance can be measured in them",
            UserWarning,
            stacklevel=3,
        )
    middle, spread = (middle * unit)[varies], (spread * unit)[varies]
    if spread.max() < UNLIKE * spread.min():
        spread = spread.max()
    return (X[:, varies] - middle) / spread, (X_new[:, varies] - middle) / spread


def _factor(residuals: np.ndarray) -> np.ndarray:
    """The Cholesky factor of the shrunk covariance of `residuals` (n, d)."""
    from sklearn.covariance import ledoit_wolf

    if not np.abs(residuals).max() > 1e-9:
        raise ValueError(
            "X does not vary within the classes, so a distance has no unit; it needs more rows"
        )
    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # copies of a feature, which shrinkage did not set apart
        least = 1e-10 * np.trace(covariance) / len(covariance)
        return np.linalg.cholesky(covariance + least * np.eye(len(covariance)))
