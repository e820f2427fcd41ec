"""Checks of theorems on many data sets: the sets, what is measured on them, and rates.

A theorem has no exceptions, so `over_data` reports the whole range over data sets. A limit is
easily met by a program that is slightly wrong, so `rate` compares how fast it is approached.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from elkutils.evaluation import Interval


def clouds(
    seed: int, share: float, n: int = 120, d: int = 8, gap: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    """Return two elongated clouds in general position, away from the origin.

    Parameters
    ----------
    seed : int
    share : float
        Share of rows with y = 1, between 0 and 1.
    n, d : int
        Number of rows and of features.
    gap : float
        Standard deviation of each coordinate of the vector between the clouds.

    Returns
    -------
    X : (n, d) array
    y : (n,) array of 0 and 1
    """
    rng = np.random.default_rng(seed)
    y = (np.arange(n) < share * n).astype(int)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    X = rng.normal(size=(n, d)) * np.geomspace(3, 0.3, d) @ turn
    return X + gap * np.outer(y, rng.normal(size=d)) + 3 * rng.normal(size=d), y


def over_data(
    measure: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    data: Iterable[tuple[str, np.ndarray, np.ndarray]],
) -> dict[str, Interval]:
    """Return the mean and the range over data sets of each number that `measure` returns.

    Parameters
    ----------
    measure : callable
        Takes X (n, d) and y (n,); returns numbers by name.
    data : iterable of (kind, X, y)
        A range runs over the data sets of one kind.

    Returns
    -------
    dict of str to Interval
        By "name: kind", or by "name, kind" where the name has a colon already. These are the
        names that a claim's criteria are matched with.
    """
    found: dict[str, list[float]] = {}
    for kind, X, y in data:
        for name, value in measure(X, y).items():
            place = f"{name}, {kind}" if ":" in name else f"{name}: {kind}"
            found.setdefault(place, []).append(value)
    return {place: Interval.of_range(values) for place, values in found.items()}


def rate(scales: np.ndarray, angles: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return how fast `angles` shrink with `scales`, and how they compare with a prediction.

    Parameters
    ----------
    scales, angles, predicted : (k,) arrays
        All positive; the smallest scale comes first.

    Returns
    -------
    dict of str to float
        ``slope``, of a straight line through the logarithms: 1 if angles are in proportion to
        scales. ``ratio``, the angle over the prediction at the smallest scale.
    """
    slope = np.polyfit(np.log(scales), np.log(angles), 1)[0]
    return {"slope": slope, "ratio": angles[0] / predicted[0]}
