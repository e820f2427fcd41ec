"""Checks of arguments, and the two sums that every score is made of."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import numbers, place, plain

LARGEST = 1e150  # products of larger weights overflow


def check_labels(y: ArrayLike) -> np.ndarray:
    """Return `y` as a float64 array (n,) of zeros and ones; booleans count as 0 and 1."""
    y = plain(y, "y")
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"y has shape {y.shape}; it has to be (n,) with n ≥ 1")
    if y.dtype.kind == "O" and not any(isinstance(value, str) for value in y):
        y = numbers(y, "y")
    if y.dtype.kind not in "biuf":
        found = sorted({str(value) for value in y})
        words = ", ".join(map(repr, found[:3]))
        raise ValueError(
            f"y has dtype {y.dtype} and holds {words}; it has to hold the numbers 0 and 1: "
            f"compare it with the positive word, as in `y == {found[-1]!r}`"
        )
    wrong = np.flatnonzero(~np.isin(y, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"y holds {np.unique(y)[:5]}; it has to hold only 0 and 1, as in `y == 1`, and "
            f"y[{wrong[0]}] is {y[wrong[0]]}"
        )
    return y.astype(np.float64)


def check_values(values: ArrayLike, n: int, name: str) -> np.ndarray:
    """Return `values` as a float64 array (..., n) without NaN."""
    values = numbers(values, name)
    if values.ndim == 0 or values.shape[-1] != n:
        raise ValueError(
            f"{name} has shape {values.shape}; its last axis has to match y, which has {n} rows"
            f"{_hint(values, n)}"
        )
    values = values.astype(np.float64)
    missing = np.isnan(values)
    if missing.any():
        first = place(name, values.shape, int(np.flatnonzero(missing)[0]))
        raise ValueError(f"{name} holds NaN; it has to hold a number in every row, not {first}")
    return values


def check_proba(proba: ArrayLike, n: int, name: str = "proba") -> np.ndarray:
    """Return `proba` as a float64 array (..., n) of probabilities."""
    return check_unit(check_values(proba, n, name), name, rounding(proba))


def check_draws(proba: ArrayLike) -> np.ndarray:
    """Return `proba` as a float64 array (draws,) or (draws, n) of probabilities."""
    slack, proba = rounding(proba), numbers(proba, "proba")
    if proba.ndim not in (1, 2) or proba.size == 0:
        raise ValueError(
            f"proba has shape {proba.shape}; it has to be (draws,) or (draws, n), "
            "with at least one of each"
        )
    proba = check_unit(proba.astype(np.float64, copy=False), "proba", slack)
    warn_of_classes(proba, "proba")
    return proba


def check_unit(values: np.ndarray, name: str, slack: float = 1e-6) -> np.ndarray:
    """Return `values` in [0, 1], or raise ValueError if one is outside by more than `slack`."""
    low, high = values.min(initial=0), values.max(initial=1)
    if low >= 0 and high <= 1:
        return values
    if not (low >= -slack and high <= 1 + slack):
        inside = (values >= -slack) & (values <= 1 + slack)
        first = int(np.flatnonzero(~inside)[0])
        raise ValueError(
            f"{name} ranges from {values.min():.3g} to {values.max():.3g}; each has to lie "
            f"between 0 and 1, and {place(name, values.shape, first)} is "
            f"{values.ravel()[first]:.6g}"
        )
    return np.clip(values, 0, 1)


def rounding(proba: ArrayLike) -> float:
    """Return by how much a probability of this type may leave [0, 1] by rounding alone."""
    kind = str(getattr(proba, "dtype", ""))
    if "float8" in kind:
        return 0.1
    return 1e-2 if "bfloat16" in kind else 2e-3 if "float16" in kind else 1e-6


def warn_of_classes(proba: np.ndarray, name: str) -> None:
    """Warn if draws (draws, n) look like ``predict_proba``: two columns that sum to 1."""
    if proba.ndim == 2 and proba.shape[1] == 2 and len(proba) > 2 and _sum_to_one(proba):
        warnings.warn(
            f"{name} has shape {proba.shape} and rows that sum to 1, as predict_proba(X) has; "
            "it has to be (draws, n), draws along the first axis: sample_proba(X), or "
            "predict_proba(X)[:, 1] for one forecast",
            UserWarning,
            stacklevel=4,
        )


def _sum_to_one(proba: np.ndarray) -> bool:
    return bool(np.abs(proba.sum(axis=1) - 1).max() < 1e-6)


def _hint(values: np.ndarray, n: int) -> str:
    if values.ndim != 2 or len(values) != n:
        return ""
    if values.shape[1] == 2 and _sum_to_one(values.astype(np.float64)):
        return "; of predict_proba(X) it takes the second column, [:, 1]"
    return "; it is transposed: draws come first, rows last, so give its .T"


def check_weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    """Return `weights` as a float64 array (..., n) of finite numbers ≥ 0; None means ones."""
    if weights is None:
        return np.ones(n)
    weights = check_values(weights, n, "weights")
    bad = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if len(bad):
        raise ValueError(
            f"weights holds a negative or infinite number; each has to be ≥ 0, and "
            f"{place('weights', weights.shape, bad[0])} is {weights.ravel()[bad[0]]}"
        )
    largest = weights.max(initial=0)
    if largest and not 1 / LARGEST < largest < LARGEST:
        raise ValueError(
            f"weights holds {largest:.1g} as its largest entry, whose products are no numbers; "
            "divide them by it"
        )
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
