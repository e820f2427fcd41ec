"""Weights of rows: what each row's log likelihood is multiplied by in a fit.

A row of weight 2 counts as two equal rows, a row of weight 0 as none. Rows of a class can be
weighted together, as in scikit-learn (`class_weight`).
"""

import hashlib
import warnings

import numpy as np
from numpy.typing import ArrayLike

from elkutils.inference._checks import check_weights

ROWS = 10  # from which on their weights are expected to count as two


def row_weights(
    y: np.ndarray,
    classes: np.ndarray,
    sample_weight: ArrayLike | None,
    class_weight: dict | str | None,
) -> np.ndarray | None:
    """Return the weight of each row (n,), or None where all of them are 1.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    classes : (2,) array
        The labels that these stand for.
    sample_weight : (n,) array or None
    class_weight : None, "balanced" or dict
        See `class_weights`.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, a shape is wrong, or every row of a class has
        weight 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(y))
    if sample_weight is not None:
        weights = check_weights(sample_weight, len(y), "sample_weight")
    sums = class_sums(y, weights)
    if not sums.all():
        empty = classes.tolist()[int(sums[0] > 0)]
        raise ValueError(
            f"sample_weight is zero for every row of class {empty!r}; each of the two classes"
            " needs a row of positive weight"
        )
    with np.errstate(over="ignore"):
        weights = weights * class_weights(classes, class_weight, sums)[y.astype(int)]
        if not np.isfinite(weights.sum()):
            raise ValueError(
                "sample_weight, times the class_weight, has an infinite sum; divide it by its"
                " largest value"
            )
    return None if np.all(weights == 1) else weights


def warn_of_few(weights: np.ndarray | None) -> None:
    """Warn where the rows' weights (n,) together count as less than two rows.

    A likelihood so small leaves the answers to the prior; weights divided by their sum do that.
    """
    if weights is not None and len(weights) >= ROWS and weights.sum() < 2:
        warnings.warn(
            f"sample_weight sums to {weights.sum():.3g} over {len(weights)} rows, which "
            "together count as that many, and the prior decides the answers; if it was divided "
            "by its sum, multiply it by the number of rows",
            UserWarning,
            stacklevel=3,
        )


def class_sums(y: np.ndarray, sample_weight: ArrayLike | None) -> np.ndarray:
    """Return the sum of the rows' weights in each class, (2,), for labels y (n,) of 0 and 1."""
    weights = np.ones(len(y))
    if sample_weight is not None:
        weights = check_weights(sample_weight, len(y), "sample_weight")
    with np.errstate(over="ignore"):
        return np.array([weights[y == c].sum() for c in (0, 1)])


def class_weights(
    classes: np.ndarray, class_weight: dict | str | None, sums: np.ndarray
) -> np.ndarray:
    """Return the weight of each class, (2,).

    Parameters
    ----------
    classes : (2,) array
    class_weight : None, "balanced" or dict
        "balanced" gives both classes the same sum of weights, and all rows together their
        present one; a dict has weights by label, 1 where a label is missing.
    sums : (2,) array
        The sum of the rows' own weights in each class.
    """
    if class_weight is None:
        return np.ones(2)
    if isinstance(class_weight, str) and class_weight == "balanced":
        return sums.sum() / (2 * sums)
    if not isinstance(class_weight, dict):
        raise ValueError(
            f'class_weight is {class_weight!r}; it has to be None, "balanced" or a dict of'
            " labels and weights"
        )
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown:
        raise ValueError(
            f"class_weight is {class_weight!r}, and {unknown[0]!r} is no label of y, which has"
            f" the classes {labels}"
        )
    found = [class_weight.get(label, 1.0) for label in labels]
    try:
        found = np.array(found, np.float64)
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if not np.all(np.isfinite(found) & (found > 0)):
        raise ValueError(
            f"class_weight is {class_weight!r}; each class needs a positive, finite weight"
        )
    return found


def distinct(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the rows with each that repeats just once, and with the sum of its weights.

    So a fit of weighted rows and one of repeated rows see the same data, in the same order
    (that of a digest of the rows), and draw the same. Rows without weights and repeats are
    returned as they are.
    """
    table = np.ascontiguousarray(np.column_stack([X, y]) + 0.0)  # −0 becomes 0
    digests = [hashlib.blake2b(row, digest_size=16).hexdigest() for row in table]
    if weights is None and len(set(digests)) == len(digests):
        return X, y, None
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    weights = np.ones(len(y)) if weights is None else weights
    return X[first], y[first], np.bincount(which, weights)
