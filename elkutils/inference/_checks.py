"""Checks of arguments that every part of `inference` makes in the same words."""

import warnings

import numpy as np
import psutil
from numpy.typing import ArrayLike

from elkutils._inputs import check_counts as check_counts
from elkutils._inputs import check_finite, check_order, is_number, plain
from elkutils._inputs import numbers as numbers_of

LARGEST = 1e150  # squares of larger numbers overflow
PLAUSIBLE = 1e-2, 1e3  # sd of a typical log odds under a prior that was meant
STUCK = 0.1  # acceptance under which a chain counts as stuck
FAR = 1e3  # distance from 0, in standard deviations, from which a feature is centred


def check_scale(name: str, value: float) -> float:
    """Return `value` as a float, or raise ValueError unless it is a positive number."""
    try:
        found = float(value) if is_number(value) else np.nan
    except OverflowError:
        found = np.nan
    if not found > 0:
        raise ValueError(f"{name} is {value!r}; it has to be a positive number")
    return found


def check_choice(name: str, value: str, choices) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it has to be one of {', '.join(choices)}")


def check_memory(needed: float, what: str) -> None:
    """Raise MemoryError if `what` takes more bytes than are available."""
    available = psutil.virtual_memory().available
    if needed > available:
        raise MemoryError(
            f"{what} would take {needed / 1e9:.3g} GB, and {available / 1e9:.3g} GB are"
            " available; take fewer of them, or a smaller network"
        )


def check_data(
    X: ArrayLike, y: ArrayLike, one_class: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float64, or raise ValueError that names what is wrong."""
    check_order(stacklevel=4, X=X, y=y)
    X, y = numbers_of(X, "X").astype(np.float64, copy=False), numbers_of(y, "y").astype(float)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}; they need (n, d) and (n,)")
    check_finite(X, "X")
    check_size(X)
    present = set(np.unique(y))
    if present - {0.0, 1.0} or not present or (len(present) == 1 and not one_class):
        raise ValueError(
            f"y holds {np.unique(y)[:5]}; it has to hold 0 and 1, and both of them"
            " unless the bias has a proper prior"
        )
    return X, y


def check_weights(weights: ArrayLike, n: int, name: str = "weights") -> np.ndarray:
    """Return the rows' weights (n,) in float64, or raise ValueError that names the bad row."""
    weights = numbers_of(weights, name).astype(np.float64)
    if weights.shape != (n,):
        raise ValueError(f"{name} has shape {weights.shape}; it has to be ({n},), one per row")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"{name} is {weights[bad[0]]} in row {bad[0]}; it has to be finite and not negative"
        )
    return weights


def check_rows(
    X: ArrayLike, y: ArrayLike, network: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float32, no rows allowed, or raise ValueError.

    A `network` may refuse X, by its method `check`.
    """
    X, y = plain(X, "X"), plain(y, "y")
    if X.ndim != 2 or y.shape != (0,) or len(X):
        X, y = check_data(X, y, one_class=True)
    check_for(network, X)
    return to_single(X), y.astype(np.float32)


def check_problems(
    X: ArrayLike, y: ArrayLike, network: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (problems, n, d) and y (problems, n) in float32, or raise ValueError."""
    X, y = plain(X, "X"), plain(y, "y")
    if X.ndim != 3 or y.shape != X.shape[:2] or not len(X):
        raise ValueError(
            f"X has shape {X.shape} and y {y.shape};"
            " they need (problems, n, d) and (problems, n)"
        )
    pairs = [check_rows(*pair, network) for pair in zip(X, y, strict=True)]
    X, y = (np.stack(part) for part in zip(*pairs, strict=True))
    return X, y


def check_size(X: np.ndarray) -> None:
    """Raise ValueError if X (n, d) holds numbers whose squares are no numbers."""
    largest = max(X.max(initial=0), -X.min(initial=0))
    if not (largest == 0 or 1 / LARGEST < largest < LARGEST):
        raise ValueError(
            f"X holds {largest:.1g} as its largest entry, which cannot be squared; rescale it, "
            "as by z-scoring"
        )


def to_single(X: np.ndarray) -> np.ndarray:
    """Return X (n, d) in float32, or raise ValueError where that would lose its variation."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(X, np.float32)
    if not np.isfinite(single).all():
        raise ValueError(
            "X holds NaN or entries beyond float32's range; rescale it, as by z-scoring"
        )
    if X.dtype in (np.float32, np.float16) or X.ndim != 2 or not X.size:
        return single
    spread, size = np.ptp(X, axis=0), np.abs(X).max(axis=0)
    lost = np.abs(X - single).max(axis=0) > 1e-2 * spread
    lost &= (spread > 1e-10 * size) & (spread > 0)
    if lost.any():
        j = int(np.flatnonzero(lost)[0])
        raise ValueError(
            f"X[:, {j}] varies by {spread[j]:.2g} about {X[:, j].mean():.2g}, which float32 "
            f"cannot hold; z-score X first ({lost.sum()} of {len(lost)} features)"
        )
    return single


def warn_of_chains(acceptance: np.ndarray, diverging: np.ndarray, stacklevel: int) -> None:
    """Warn of chains that hardly moved, or that lost their way in some trajectories.

    Parameters
    ----------
    acceptance : (chains, draws) array
        Rates between 0 and 1.
    diverging : (chains, draws) array of bool
    stacklevel : int
        As in `warnings.warn`, seen from the caller.
    """
    rates = acceptance.mean(axis=1)
    stuck = np.flatnonzero(~(rates >= STUCK))
    if len(stuck):
        warnings.warn(
            f"chains {', '.join(map(str, stuck[:5]))} of {len(rates)} accepted"
            f" {rates[stuck].max():.0%} of their transitions or less: trust none of their"
            " draws; a longer warmup, rescaled inputs or a smaller prior scale help",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )
    elif diverging.any():
        warnings.warn(
            f"{diverging.sum()} of {diverging.size} draws came after a trajectory that"
            " diverged: where the posterior bends that sharply it is sampled too little;"
            " a longer warmup, rescaled inputs or a smaller prior scale help",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )


def far_centre(X: np.ndarray) -> np.ndarray | None:
    """Return what to subtract from X (n, d): the means of features far from 0; None if none is.

    With a flat bias that changes nothing but the rounding.
    """
    mean, spread = X.mean(axis=0), X.std(axis=0)
    far = np.abs(mean) > FAR * spread
    return np.where(far, mean, 0.0) if far.any() else None


def warn_of_units(X: np.ndarray, prior_scale: float, name: str = "prior_scale") -> None:
    """Warn where weights of this scale move the log odds of X (n, d) hardly, or immensely."""
    spread = float(np.sqrt(np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))))
    expected = prior_scale * spread
    if spread == 0 or PLAUSIBLE[0] <= expected <= PLAUSIBLE[1]:
        return
    effect = (
        "so small that hardly any data move the answers from the base rate"
        if expected < 1
        else "so large that it hardly restrains the weights"
    )
    warnings.warn(
        f"{name} is {prior_scale:.3g} and a row of X lies {spread:.3g} from their mean, so the "
        f"prior gives log odds a standard deviation of {expected:.2g}, {effect}; z-score X, or "
        f"set {name} in the units of 1/X (1/{spread:.3g} makes it 1)",
        UserWarning,
        stacklevel=3,
    )


def check_for(network: object, X: np.ndarray) -> None:
    """Raise ValueError if the network has a method `check` and it refuses X (n, d)."""
    if callable(check := getattr(network, "check", None)):
        check(X)


def count_tokens(d: int, inputs: int) -> int:
    """Return how many tokens of `inputs` numbers make a row of d, or raise ValueError."""
    tokens, rest = divmod(d, inputs)
    if rest or not tokens:
        raise ValueError(
            f"X has {d} columns; it needs a multiple of inputs, {inputs}: that many per token"
        )
    return tokens


def check_tokens(X: np.ndarray, inputs: int) -> None:
    """Raise ValueError unless every row of X (n, tokens · inputs) has a token."""
    tokens = X.reshape(len(X), count_tokens(X.shape[1], inputs), inputs)
    empty = np.flatnonzero(~np.any(tokens != 0, axis=(1, 2)))
    if len(empty):
        raise ValueError(
            f"X has {len(empty)} rows without a token, the first of them row {empty[0]}; "
            f"each needs {inputs} numbers that are not all 0, at one token at least"
        )


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
