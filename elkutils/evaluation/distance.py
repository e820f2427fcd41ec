"""How far new inputs lie from the training set: a simple rival of a reporter's own doubt."""

import numpy as np
from numpy.typing import ArrayLike


def class_distance(X: ArrayLike, y: ArrayLike, X_new: ArrayLike) -> np.ndarray:
    """Return the Mahalanobis distance to the nearer of two class means.

    Lee et al. 2018, eq. 2. The covariance is that within the classes, shrunk towards a multiple
    of the identity as in Ledoit and Wolf (2004), since there may be more features than rows.

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
        If shapes differ, a value is not finite, or a class is missing.
    """
    from sklearn.covariance import ledoit_wolf

    X, X_new, y = (np.asarray(a, dtype=np.float64) for a in (X, X_new, y))
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
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity; every value has to be finite")
    means = np.stack([X[y == label].mean(axis=0) for label in (0, 1)])
    covariance, _ = ledoit_wolf(X - means[y.astype(int)], assume_centered=True)
    factor = np.linalg.cholesky(covariance)
    gaps = [np.linalg.solve(factor, (X_new - mean).T) for mean in means]
    return np.sqrt(np.min([(gap**2).sum(axis=0) for gap in gaps], axis=0))
