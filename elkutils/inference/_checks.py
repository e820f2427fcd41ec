"""Checks of arguments that every part of `inference` makes in the same words."""

import numbers

import numpy as np
from numpy.typing import ArrayLike


def check_counts(least: int = 1, **counts: int) -> None:
    """Raise ValueError unless every count is an integer no smaller than `least`."""
    for name, value in counts.items():
        if not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ {least}")


def check_scale(name: str, value: float) -> float:
    """Return `value` as a float, or raise ValueError unless it is a positive number."""
    if isinstance(value, str) or not np.isscalar(value) or not value > 0:
        raise ValueError(f"{name} is {value!r}; it has to be a positive number")
    return float(value)


def check_choice(name: str, value: str, choices) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it has to be one of {', '.join(choices)}")


def check_data(
    X: ArrayLike, y: ArrayLike, one_class: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float64, or raise ValueError that names what is wrong."""
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}; they need (n, d) and (n,)")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinity; every entry has to be finite")
    present = set(np.unique(y))
    if present - {0.0, 1.0} or not present or (len(present) == 1 and not one_class):
        raise ValueError(
            f"y holds {np.unique(y)[:5]}; it has to hold 0 and 1, and both of them"
            " unless the bias has a proper prior"
        )
    return X, y


def check_weights(weights: ArrayLike, n: int, name: str = "weights") -> np.ndarray:
    """Return the rows' weights (n,) in float64, or raise ValueError that names the bad row."""
    try:
        weights = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a list of numbers: {error}") from error
    if weights.shape != (n,):
        raise ValueError(f"{name} has shape {weights.shape}; it has to be ({n},), one per row")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"{name} is {weights[bad[0]]} in row {bad[0]}; it has to be finite and not negative"
        )
    return weights


def check_rows(X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float32, no rows allowed, or raise ValueError."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.shape != (0,) or len(X):
        X, y = check_data(X, y, one_class=True)
    with np.errstate(over="ignore"):
        X = X.astype(np.float32)
    if not np.isfinite(X).all():
        raise ValueError("X holds entries beyond float32's range; rescale it, as by z-scoring")
    return X, y.astype(np.float32)


def check_network(name: str, network: object) -> None:
    """Raise ValueError unless `network` has what `networks.network.Network` asks for."""
    if isinstance(network, type):
        raise ValueError(
            f"{name} is the class {network.__name__}; it has to be a network, as MLP((32,)) is"
        )
    needed = ("__call__", "init", "log_prior", "scales", "units")
    missing = [part for part in needed if not callable(getattr(network, part, None))]
    if missing:
        raise ValueError(f"{name} is {network!r}; it has to be a network, with {missing} too")
