"""Checks of arguments, and the two sums that every score is made of."""

import numpy as np
from numpy.typing import ArrayLike


def check_labels(y: ArrayLike) -> np.ndarray:
    """Return `y` as a float64 array (n,) of zeros and ones; booleans count as 0 and 1."""
    y = np.asarray(y)
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"y has shape {y.shape}; it has to be (n,) with n ≥ 1")
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y has dtype {y.dtype}; it has to hold the numbers 0 and 1")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"y holds {np.unique(y)[:5]}; it has to hold only 0 and 1")
    return y.astype(np.float64)


def check_values(values: ArrayLike, n: int, name: str) -> np.ndarray:
    """Return `values` as a float64 array (..., n) without NaN."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {values.dtype}; it has to hold numbers")
    if values.ndim == 0 or values.shape[-1] != n:
        raise ValueError(
            f"{name} has shape {values.shape}; its last axis has to match y, which has {n} rows"
        )
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise ValueError(f"{name} holds NaN; it has to hold a number in every row")
    return values


def check_proba(proba: ArrayLike, n: int) -> np.ndarray:
    """Return `proba` as a float64 array (..., n) of probabilities."""
    proba = check_values(proba, n, "proba")
    if proba.min(initial=0) < 0 or proba.max(initial=1) > 1:
        raise ValueError(
            f"proba ranges from {proba.min():.3g} to {proba.max():.3g}; "
            "it has to lie between 0 and 1"
        )
    return proba


def check_draws(proba: ArrayLike) -> np.ndarray:
    """Return `proba` as a float64 array (draws,) or (draws, n) of probabilities."""
    proba = np.asarray(proba)
    if proba.dtype.kind not in "biuf":
        raise ValueError(f"proba has dtype {proba.dtype}; it has to hold numbers")
    if proba.ndim not in (1, 2) or proba.size == 0:
        raise ValueError(
            f"proba has shape {proba.shape}; it has to be (draws,) or (draws, n), "
            "with at least one of each"
        )
    low, high = proba.min(), proba.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"proba ranges from {low:.3g} to {high:.3g}; each draw has to lie between 0 and 1"
        )
    return proba.astype(np.float64, copy=False)


def check_weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    """Return `weights` as a float64 array (..., n) of finite numbers ≥ 0; None means ones."""
    if weights is None:
        return np.ones(n)
    weights = check_values(weights, n, "weights")
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0:
        raise ValueError("weights holds a negative or infinite number; each has to be ≥ 0")
    return weights


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of `values` (..., n) over the last axis; a row of weight 0 has no effect.

    Where all weights are 0 the mean is NaN.
    """
    if not np.isfinite(values).all():
        values = np.where(weights > 0, values, 0)
    total = weights.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.einsum("...n,...n->...", values, weights) / total


def mid_mass(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """For each row the `mass` of rows with a smaller value plus half that of rows tied with it.

    Parameters and shapes are those of `mass_up_to`. With unit mass it is the mid-rank less one
    half.
    """
    below, upto = mass_up_to(values, mass)
    return (below + upto) / 2


def mass_up_to(values: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the `mass` of rows with a smaller value, and of those and the rows tied.

    Parameters
    ----------
    values : (..., n) array
    mass : (..., n) array
        Numbers ≥ 0, broadcast against `values`.

    Returns
    -------
    two (..., n) arrays
        In the order of the rows.
    """
    shape = np.broadcast_shapes(values.shape, mass.shape)
    if values.ndim > 1:
        values = np.broadcast_to(values, shape)
    order = np.argsort(values, axis=-1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=-1)
    mass = np.broadcast_to(mass, shape)
    mass = mass[..., order] if order.ndim == 1 else np.take_along_axis(mass, order, axis=-1)

    differs = ranked[..., 1:] != ranked[..., :-1]
    edge = np.ones((*ranked.shape[:-1], 1), dtype=bool)
    first = np.concatenate([edge, differs], axis=-1)
    last = np.concatenate([differs, edge], axis=-1)
    upto = np.cumsum(mass, axis=-1)
    below = np.maximum.accumulate(np.where(first, upto - mass, 0), axis=-1)
    upto = np.where(last, upto, np.inf)[..., ::-1]
    upto = np.minimum.accumulate(upto, axis=-1)[..., ::-1]

    in_order = np.empty((2, *shape))
    if order.ndim == 1:
        in_order[..., order] = below, upto
    else:
        for found, ranks in zip(in_order, (below, upto), strict=True):
            np.put_along_axis(found, order, ranks, axis=-1)
    return in_order[0], in_order[1]
