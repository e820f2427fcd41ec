"""Intervals that respect how the data were made: rows in groups, repeated over seeds."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta
from scipy.stats import t as student

from elkutils._inputs import (
    check_counts,
    check_finite,
    check_ids,
    check_level,
    check_order,
    is_number,
    numbers,
    plain,
)
from elkutils.evaluation._arrays import check_weights

FEW_GROUPS = 10
_CLIP = "keep forecasts off 0 and 1, as by np.clip(proba, 1e-6, 1 - 1e-6)"
_BLOCK = 4_000_000  # weights held at once (32 MB)


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its interval and the level of the interval.

    Attributes
    ----------
    estimate : float
    lower, upper : float
    level : float
        1 for what is known without error.
    df : float
        Degrees of freedom of a Student's t interval; infinite for all others.

    Examples
    --------
    >>> print(Interval(0.8, 0.7, 0.9))
    0.800 [0.700, 0.900]
    """

    estimate: float
    lower: float
    upper: float
    level: float = 0.95
    df: float = np.inf

    def __post_init__(self) -> None:
        if self.level != 1:
            check_level(self.level)

    @classmethod
    def of_range(cls, values: ArrayLike) -> "Interval":
        """Return the mean of `values` with their smallest and largest, level 1.

        For what is known without error, such as a gap to an exact value, over several seeds.

        Examples
        --------
        >>> print(Interval.of_range([1.0, 2.0, 6.0]))
        3.000 [1.000, 6.000]
        """
        values = _finite(values)
        if not values.size:
            raise ValueError("values is empty; a range needs at least one")
        return cls(float(values.mean()), float(values.min()), float(values.max()), 1.0)

    @classmethod
    def of_mean(cls, values: ArrayLike, level: float = 0.95) -> "Interval":
        """Return the mean of independent `values` (k,), k ≥ 2, with Student's interval.

        Examples
        --------
        >>> print(Interval.of_mean([1.0, 2.0, 6.0]))
        3.000 [-3.572, 9.572]
        """
        values, level = _finite(values), check_level(level)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"values has shape {values.shape}; it needs (k,), k ≥ 2")
        centre = float(values.mean())
        error = values.std(ddof=1) / np.sqrt(len(values))
        half = float(student.ppf((1 + level) / 2, len(values) - 1) * error)
        return cls(centre, centre - half, centre + half, level, len(values) - 1)

    def clipped(self, low: float, high: float) -> "Interval":
        """Return the interval with its ends moved inside [low, high], where the truth lies.

        Examples
        --------
        >>> print(Interval(0.9, 0.7, 1.1).clipped(0, 1))
        0.900 [0.700, 1.000]
        """
        return replace(self, lower=max(self.lower, low), upper=min(self.upper, high))

    @classmethod
    def of_share(cls, successes: int, trials: int, level: float = 0.95) -> "Interval":
        """Return a share of independent trials with its Clopper–Pearson interval.

        Raises
        ------
        ValueError
            Unless 0 ≤ successes ≤ trials and trials ≥ 1.

        Examples
        --------
        >>> print(Interval.of_share(0, 45))
        0.000 [0.000, 0.079]
        """
        known = is_number(successes) and is_number(trials)
        if not known or not 0 <= successes <= trials or trials < 1:
            raise ValueError(
                f"successes is {successes} of {trials} trials; it has to be between 0 and them"
            )
        if successes != int(successes) or trials != int(trials):
            raise ValueError(
                f"successes is {successes} of {trials} trials; both have to be whole numbers"
            )
        misses, tail = trials - successes, (1 - check_level(level)) / 2
        lower = beta.ppf(tail, successes, misses + 1) if successes else 0.0
        upper = beta.ppf(1 - tail, successes + 1, misses) if misses else 1.0
        return cls(successes / trials, float(lower), float(upper), level)

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


def bootstrap(
    statistic: Callable,
    y: ArrayLike,
    *arrays: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval from resampling groups, and seeds where there are several.

    The data are in long format: one row for each pair of input and seed. The statistic is
    evaluated on the rows of each seed and averaged over seeds. A resample draws groups with
    replacement (the same draw in every seed, since the same city comes up in each) and,
    independently, seeds: the pigeonhole bootstrap of Owen (2007), whose intervals err on the
    wide side. With few seeds the spread between them is poorly known, and no bootstrap corrects
    that.

    Parameters
    ----------
    statistic : callable
        ``statistic(y, *arrays, weights=W)`` on the rows of one seed, with W of shape (B, n),
        returns (B,). The scores of this package have this form, and so does the `difference` of
        two of them. A metric of scikit-learn, ``metric(y, *arrays, sample_weight=w)``, is
        called once per resample.
    y : (N,) array
        Labels, or whatever `statistic` takes in their place.
    *arrays : (N,) arrays
        Further arguments of `statistic`, such as the forecasts of two methods.
    groups : (N,) array
        The group of each row, at least two different ones; ``np.arange(len(y))`` where rows are
        independent.
    seeds : (N,) array or None
        The seed of each row; with one seed only groups are drawn.
    resamples : int
        Number of resamples.
    level : float
        Level of the interval.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Interval
        The estimate is the statistic itself, averaged over seeds. Resamples where it is NaN
        (a class drew no rows) are left out.

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two groups or none given, a row lacks its group,
        the statistic takes no weights or does not return one value for each row of them, or it
        is NaN on the data or on more than one resample in twenty.

    Warns
    -----
    UserWarning
        If there are fewer than ten groups, or too few resamples for the level.
    RuntimeWarning
        If the statistic is infinite on the data or on a resample; an end may then be infinite.

    Examples
    --------
    >>> from elkutils.evaluation import accuracy
    >>> y, proba = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.2, 0.8])
    >>> print(bootstrap(accuracy, y, proba, groups=np.arange(4)))
    1.000 [1.000, 1.000]
    """
    statistic, y, arrays, (group_of, group_count), (seed_of, seed_count) = _checked(
        statistic, y, arrays, groups, seeds, level, resamples
    )

    def per_seed(group_weights):
        rows = [np.flatnonzero(seed_of == s) for s in range(seed_count)]
        return np.stack(
            [
                _scored(statistic, y[r], [a[r] for a in arrays], group_weights[:, group_of[r]])
                for r in rows
            ],
            axis=-1,
        )

    estimate = float(per_seed(np.ones((1, group_count))).mean())
    if np.isnan(estimate):
        raise ValueError(
            "statistic is NaN on the data; it has to be defined for every seed, and a "
            f"difference of two infinite scores is not: {_CLIP}"
        )
    replicates = _resample(per_seed, len(y), group_count, seed_count, resamples, seed)
    replicates = replicates[~np.isnan(replicates)]
    if len(replicates) < 0.95 * resamples:
        raise ValueError(
            f"statistic is NaN on {resamples - len(replicates)} of {resamples} resamples; "
            f"there are too few groups of one class, or two infinite scores differ: {_CLIP}"
        )
    infinite = int(np.isinf(replicates).sum())
    if infinite or np.isinf(estimate):
        warnings.warn(
            f"statistic is {estimate:.3g} on the data, and infinite on {infinite} of "
            f"{len(replicates)} resamples, so the interval may be too: some row has "
            f"probability 0 for what happened; {_CLIP}",
            RuntimeWarning,
            stacklevel=2,
        )
    return Interval(estimate, *_quantiles(replicates, level), level)


def _scored(statistic, y, arrays, weights):
    """The statistic (B,) for each row of weights (B, n), or ValueError where it is none."""
    found = np.asarray(statistic(y, *arrays, weights=weights))
    if found.shape != weights.shape[:1]:
        raise ValueError(
            f"statistic returned shape {found.shape} for weights {weights.shape}; it has to "
            f"return {weights.shape[:1]}, one value for each row of weights, or it ignores the "
            "resamples"
        )
    return found


def _taking_weights(statistic):
    """A statistic of ``weights=`` (B, n): itself, or a metric of scikit-learn per resample."""
    try:
        taken = inspect.signature(statistic).parameters
    except (TypeError, ValueError):  # not callable, or built in: the call will show
        taken = {}
    if callable(statistic) and "weights" not in taken and "sample_weight" in taken:
        return _per_resample(statistic)
    keywords = [name for name, one in taken.items() if one.kind is one.VAR_KEYWORD]
    if not callable(statistic) or (taken and not {"weights", *keywords} & set(taken)):
        raise ValueError(
            f"statistic is {statistic!r}, which takes neither weights= nor sample_weight=; it "
            "has to be called as statistic(y, *arrays, weights=W), as the scores of "
            "elkutils.evaluation, or as the metrics of scikit-learn"
        )
    return statistic


def _per_resample(metric):
    """`metric`, one call for each row of weights; NaN where a class drew no rows."""

    def statistic(y, *arrays, weights=None):
        if weights is None:
            return metric(y, *arrays)
        classes = np.unique(y)
        found = np.full(len(weights), np.nan)
        for i, weight in enumerate(weights):
            drawn = weight > 0
            if len(classes) != 2 or len(np.unique(y[drawn])) == 2:
                rows = (array[drawn] for array in (y, *arrays))
                found[i] = metric(*rows, sample_weight=weight[drawn])
        return found

    return statistic


def _checked(statistic, y, arrays, groups, seeds, level, resamples):
    """What both bootstraps refuse or warn of; their arguments; codes of groups and seeds."""
    _check_given(groups)
    statistic = _taking_weights(statistic)
    named = {f"arrays[{i}]": array for i, array in enumerate(arrays)}
    check_order(stacklevel=4, y=y, groups=groups, seeds=seeds, **named)
    y, arrays = plain(y, "y"), [plain(array, name) for name, array in named.items()]
    group_codes = _codes(groups, "groups", len(y))
    seed_codes = _codes(np.zeros(len(y)) if seeds is None else seeds, "seeds", len(y))
    group_count = group_codes[1]
    for a in arrays:
        if a.shape != y.shape:
            hint = "; of draws (draws, n) give the mean, .mean(axis=0)" if a.ndim == 2 else ""
            raise ValueError(
                f"an array has shape {a.shape}; it has to match y, {y.shape}{hint}"
            )
    _check_resampling(group_count, resamples, level)
    return statistic, y, arrays, group_codes, seed_codes


def _check_given(groups):
    if groups is None:
        raise ValueError(
            "groups is None; it has to name the group of each row, and is "
            "np.arange(len(y)) where rows are independent"
        )


def _check_resampling(group_count, resamples, level):
    """What every bootstrap asks of its groups, and of the number of resamples."""
    if group_count < 2:
        raise ValueError(f"groups holds {group_count} group; an interval needs at least 2")
    check_level(level)
    if group_count < FEW_GROUPS:
        warnings.warn(
            f"groups holds {group_count} groups; with fewer than {FEW_GROUPS} a percentile "
            "interval is too narrow: take more groups, or read it as the least there may be",
            UserWarning,
            stacklevel=4,
        )
    check_counts(resamples=resamples)
    least = int(np.ceil(2 / (1 - level) - 1e-9))
    if resamples < least:
        warnings.warn(
            f"resamples is {resamples}; an interval of level {level:g} needs at least {least}, "
            "or no resample lies beyond its ends",
            UserWarning,
            stacklevel=4,
        )


def centred_bootstrap(
    statistic: Callable, y: ArrayLike, *arrays: ArrayLike, **options: Any
) -> Interval:
    """Return `bootstrap`, moved until the median of its resamples is the estimate.

    For statistics to which resampling adds noise of one sign, such as a calibration error:
    their percentile intervals lie too high.

    Parameters
    ----------
    statistic, y, arrays, options
        As in `bootstrap`.
    """
    found = bootstrap(statistic, y, *arrays, **options)
    if not np.isfinite([found.lower, found.upper]).all():
        raise ValueError(
            f"statistic is infinite on resamples, with the interval {found}, which cannot be "
            f"centred; {_CLIP}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say, the first call said
        median = bootstrap(statistic, y, *arrays, **{**options, "level": 1e-9}).lower
    shift = median - found.estimate
    return Interval(found.estimate, found.lower - shift, found.upper - shift, found.level)


def pooled_bootstrap(
    statistic: Callable,
    y: ArrayLike,
    *arrays: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    centre: bool = True,
) -> Interval:
    """Return the interval of a statistic of the rows of all seeds together.

    For statistics that few rows bias, such as a slope or a calibration error: `bootstrap` would
    average that bias over seeds; and for those that some seeds lack, such as a share of rare
    rows. Groups and seeds are resampled as there; a row counts as often as its group times as
    often as its seed.

    Parameters
    ----------
    statistic, y, arrays, groups, seeds, resamples, level, seed
        As in `bootstrap`; errors and warnings too.
    centre : bool
        Move the interval until the median of the resamples is the estimate, because resampling
        adds noise of one sign to slopes and calibration errors. A share needs no such move, and
        keeps inside [0, 1] without it.

    Examples
    --------
    >>> from elkutils.evaluation import ece
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.random(2000)
    >>> y = (rng.random(2000) < proba).astype(int)
    >>> print(pooled_bootstrap(ece, y, proba, groups=np.arange(2000)))
    0.029 [0.016, 0.044]
    """
    statistic, y, arrays, (group_of, group_count), (seed_of, seed_count) = _checked(
        statistic, y, arrays, groups, seeds, level, resamples
    )
    estimate = float(_scored(statistic, y, arrays, np.ones((1, len(y))))[0])
    if np.isnan(estimate):
        raise ValueError("statistic is NaN on the data; it has to be defined there")
    rng, found = np.random.default_rng(seed), []
    block = max(1, _BLOCK // len(y))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn_groups = _draw(rng, group_count, size)
        drawn_seeds = _draw(rng, seed_count, size)
        weights = drawn_groups[:, group_of] * drawn_seeds[:, seed_of]
        found.append(_scored(statistic, y, arrays, weights))
    replicates = np.concatenate(found)
    replicates = replicates[~np.isnan(replicates)]
    if len(replicates) < 0.95 * resamples:
        raise ValueError(
            f"statistic is NaN on {resamples - len(replicates)} of {resamples} resamples; "
            "groups holds too few groups of one class: take more rows"
        )
    if not np.isfinite([estimate, *replicates]).all():
        raise ValueError(
            "statistic is infinite on the data or on resamples, and its interval cannot be "
            f"centred; {_CLIP}"
        )
    tails = (1 - level) / 2, 0.5, (1 + level) / 2
    lower, median, upper = np.quantile(replicates, tails)
    shift = estimate - median if centre else 0.0
    return Interval(estimate, float(lower + shift), float(upper + shift), level)


def weighted_mean(values: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Return the mean of values (n,) for each row of weights (B, n): `bootstrap` takes it.

    Raises
    ------
    ValueError
        If shapes differ, or a weight is negative or not finite.
    """
    values = numbers(values, "values")
    weights = check_weights(weights, len(values))
    with np.errstate(invalid="ignore"):  # no weight at all: NaN
        return weights @ values / np.sum(weights, axis=-1)


def bootstrap_means(
    values: ArrayLike,
    groups: ArrayLike,
    seeds: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Return `bootstrap` of the mean of each column of a table, all from the same resamples.

    Parameters
    ----------
    values : (N, k) array
        NaN where a column does not speak of a row.
    groups, seeds, resamples, level, seed
        As in `bootstrap`.

    Returns
    -------
    list of Interval
        One per column: without NaN that of ``bootstrap(weighted_mean, column, ...)``.

    Raises
    ------
    ValueError
        If shapes differ, a value is infinite, a column has no number in one of the seeds, or
        there are fewer than two groups.

    Examples
    --------
    >>> print(*bootstrap_means([[0.0, 1.0], [0.0, 1.0]], groups=[0, 1]))
    0.000 [0.000, 0.000] 1.000 [1.000, 1.000]
    """
    _check_given(groups)
    check_order(values=values, groups=groups, seeds=seeds)
    values = numbers(values, "values").astype(np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError(f"values has shape {values.shape}; it needs (N, k), none infinite")
    group_of, group_count = _codes(groups, "groups", len(values))
    ids = np.zeros(len(values)) if seeds is None else seeds
    seed_of, seed_count = _codes(ids, "seeds", len(values))
    _check_resampling(group_count, resamples, level)
    there = np.isfinite(values)
    table = np.column_stack([np.where(there, values, 0.0), there])
    totals = np.zeros((seed_count, group_count, table.shape[1]))
    np.add.at(totals, (seed_of, group_of), table)

    def per_seed(group_weights):
        sums, counts = np.split(group_weights @ totals, 2, axis=-1)  # (seeds, B, k) each
        with np.errstate(invalid="ignore"):
            return sums / counts

    estimates = per_seed(np.ones((1, group_count))).mean(axis=0)[0]
    if np.isnan(estimates).any():
        raise ValueError("a column of values is NaN in every row of a seed; it needs numbers")
    rng, parts = np.random.default_rng(seed), []
    block = max(1, _BLOCK // max(len(values), group_count))
    for begin in range(0, resamples, block):
        size = min(block, resamples - begin)
        found = per_seed(_draw(rng, group_count, size))
        drawn = _draw(rng, seed_count, size).T[..., None]
        parts.append(np.where(drawn > 0, found * drawn, 0).sum(axis=0) / seed_count)
    ends = np.nanquantile(np.concatenate(parts), ((1 - level) / 2, (1 + level) / 2), axis=0)
    return [
        Interval(float(value), float(low), float(high), level)
        for value, low, high in zip(estimates, *ends, strict=True)
    ]


def difference(statistic: Callable) -> Callable:
    """Return the statistic of two forecasts: the score of the first less that of the second.

    ``bootstrap(difference(auroc), y, ours, theirs, groups=groups)`` is a paired comparison:
    both are scored on the same resample.

    Examples
    --------
    >>> from elkutils.evaluation import accuracy
    >>> float(difference(accuracy)([0, 1], [0.1, 0.9], [0.9, 0.9]))
    0.5
    """
    statistic = _taking_weights(statistic)

    def paired(y, first, second, weights=None):
        with np.errstate(invalid="ignore"):  # two infinite scores: NaN, which bootstrap names
            return statistic(y, first, weights=weights) - statistic(y, second, weights=weights)

    return paired


def averaged(statistic: Callable, count: int) -> Callable:
    """Return the mean of a statistic over `count` places, such as layers.

    The arrays that it takes are, for each forecast of `statistic`, that forecast at every
    place: ``averaged(difference(auroc), 2)`` takes ours at two layers, then theirs at two.
    """
    statistic = _taking_weights(statistic)

    def mean(y, *arrays, weights=None):
        places = [arrays[i::count] for i in range(count)]
        return np.mean([statistic(y, *place, weights=weights) for place in places], axis=0)

    return mean


def _resample(per_seed, rows, group_count, seed_count, resamples, seed):
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(rows, group_count))
    parts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn_groups = _draw(rng, group_count, size)
        drawn_seeds = _draw(rng, seed_count, size)
        values = per_seed(drawn_groups)
        used = np.where(drawn_seeds > 0, values, 0)
        parts.append((used * drawn_seeds).sum(axis=-1) / seed_count)
    return np.concatenate(parts)


def _draw(rng, count, size):
    """How often each of `count` things comes up in `count` draws: (size, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)


def _codes(ids, name, n):
    if n == 0:
        raise ValueError(f"{name} has shape {np.shape(ids)}; it has to be (n,) like y, n ≥ 1")
    values, codes = np.unique(check_ids(ids, name, n), return_inverse=True)
    return codes, len(values)


def _finite(values):
    values = numbers(values, "values").astype(np.float64)
    check_finite(values, "values")
    return values


def _quantiles(replicates, level):
    """Both ends, outward where they fall between two infinite replicates."""
    lower, upper = (1 - level) / 2, (1 + level) / 2
    if np.isfinite(replicates).all():
        return tuple(float(end) for end in np.quantile(replicates, (lower, upper)))
    return (
        float(np.quantile(replicates, lower, method="lower")),
        float(np.quantile(replicates, upper, method="higher")),
    )
