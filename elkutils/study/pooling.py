"""Rows of several seeds put end to end, as a bootstrap over groups and seeds takes them."""

from collections.abc import Callable, Iterable

import numpy as np

from elkutils.evaluation import Interval, bootstrap, weighted_mean


def pooled(parts: Iterable[tuple]) -> tuple[np.ndarray, ...]:
    """Return the rows of all seeds as long columns, and the seed of each row.

    Parameters
    ----------
    parts : iterable of tuples ``(seed, y, *arrays, groups)``
        One tuple per seed. Each array has one entry per row along its last axis, so labels
        (n,), groups (n,) and draws (draws, n) all fit; n may differ between seeds.

    Returns
    -------
    tuple of arrays
        ``y, *arrays, groups, seeds``: the columns in their order, each (..., N), and the
        seed ids (N,). `bootstrap` takes the last two as `groups` and `seeds`.

    Raises
    ------
    ValueError
        If there are no parts, or the arrays of one seed differ in their number of rows.

    Examples
    --------
    >>> parts = [(0, [1], [0.9], ["a"]), (5, [0, 1], [0.2, 0.6], ["b", "c"])]
    >>> y, p, groups, seeds = pooled(parts)
    >>> y.tolist(), p.tolist(), seeds.tolist()
    ([1, 0, 1], [0.9, 0.2, 0.6], [0, 5, 5])
    """
    columns = []
    for seed, *arrays in parts:
        arrays = [np.asarray(array) for array in arrays]
        rows = {array.shape[-1] for array in arrays}
        if len(rows) != 1:
            raise ValueError(f"seed {seed} has arrays of {sorted(rows)} rows; all need as many")
        columns.append((*arrays, np.full(rows.pop(), seed)))
    if not columns:
        raise ValueError("parts is empty; it needs at least one (seed, y, *arrays, groups)")
    return tuple(np.concatenate(column, axis=-1) for column in zip(*columns, strict=True))


def interval(statistic: Callable, parts: Iterable[tuple], **options: object) -> Interval:
    """Return the bootstrap interval of a statistic over the groups and seeds of `parts`.

    Parameters
    ----------
    statistic : callable
        As `elkutils.evaluation.bootstrap` takes it.
    parts : iterable of tuples ``(seed, y, *arrays, groups)``
        As in `pooled`; the arrays are what the statistic takes after the labels.
    **options : object
        Other arguments of `elkutils.evaluation.bootstrap`.
    """
    y, *arrays, groups, seeds = pooled(parts)
    return bootstrap(statistic, y, *arrays, groups=groups, seeds=seeds, **options)


def share(
    events: np.ndarray, groups: np.ndarray, seeds: np.ndarray, **options: object
) -> Interval:
    """Return the share of rows where an event happened, over groups and seeds.

    Where it happened to all rows or to none, resampling finds no other share; then the interval
    is the exact one of as many trials as there are groups.

    Parameters
    ----------
    events : (N,) array
        Numbers in [0, 1]: whether, or how often, it happened to a row.
    groups, seeds : (N,) arrays
    **options : object
        Other arguments of `elkutils.evaluation.bootstrap`.

    Examples
    --------
    >>> print(share(np.zeros(6), groups=np.arange(6), seeds=np.zeros(6)))
    0.000 [0.000, 0.459]
    """
    events = np.asarray(events, np.float64)
    if np.all(events == 0) or np.all(events == 1):
        count = len(np.unique(groups))
        return Interval.of_share(int(count * events[0]), count, options.get("level", 0.95))
    return bootstrap(weighted_mean, events, groups=groups, seeds=seeds, **options)
