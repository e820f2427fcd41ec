"""Controls of the book's rules: what should pass a rule, and what should not."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit
from scipy.stats import norm

from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    pass_rate,
)
from elkutils.evaluation.power import LEAST_RUNS
from elkutils.ledger import HOLDS, Criterion


def rates(
    criterion: Criterion,
    positive: Callable[[np.random.Generator], Interval],
    negative: Callable[[np.random.Generator], Interval],
    places: int = 1,
    runs: int = LEAST_RUNS,
    seed: int = 0,
) -> tuple[PassRate, PassRate]:
    """Return how often a criterion passes its two controls: see `Chapter.control`.

    Parameters
    ----------
    criterion : Criterion
    positive, negative : callable
        ``(rng)`` → the interval of one resampled run of a control, made as the run's own
        intervals are.
    places : int
        Number of places of the claim: a control is judged as one of that many.
    runs : int
        Runs of each control, at least 200.
    seed : int

    Returns
    -------
    positive, negative : PassRate
    """

    def passes(control):
        return lambda rng: criterion.judge(control(rng), places) == HOLDS

    return pass_rate(passes(positive), runs, seed), pass_rate(passes(negative), runs, seed + 1)


def planted_scores(
    y: np.ndarray,
    auroc: float,
    groups: np.ndarray,
    rng: np.random.Generator,
    shared: float = 0.5,
) -> np.ndarray:
    """Return the scores (N,) of a made-up reporter whose AUROC is known.

    Scores are normal with unit variance about Φ⁻¹(AUROC)·√2 for label 1 and 0 for label 0. The
    share `shared` of the variance is common to rows of one group and label, in every seed: a
    city that is hard once is hard again.

    Parameters
    ----------
    y : (N,) array of 0 and 1
    auroc : float
        Between 0 and 1, ends excluded.
    groups : (N,) array
    rng : numpy.random.Generator
    shared : float
        Between 0 and 1.
    """
    keys = np.array([f"{group}/{label}" for group, label in zip(groups, y, strict=True)])
    _, of = np.unique(keys, return_inverse=True)
    common = rng.standard_normal(of.max() + 1)[of]
    own = rng.standard_normal(len(y))
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return np.sqrt(2) * norm.ppf(auroc) * y + noise


def planted_events(
    share: float, groups: np.ndarray, rng: np.random.Generator, shared: float = 0.5
) -> np.ndarray:
    """Return events (n,), 0 or 1, that happen to a known share of rows.

    An event happens where a normal variable lies below Φ⁻¹(share); the part `shared` of its
    variance is common to the rows of one group.

    Parameters
    ----------
    share : float
    groups : (n,) array
    rng : numpy.random.Generator
    shared : float
        Between 0 and 1.
    """
    _, of = np.unique(groups, return_inverse=True)
    common = rng.standard_normal(of.max() + 1)[of]
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.standard_normal(len(of))
    return (noise < norm.ppf(share)).astype(float)


def planted_chains(
    mean: np.ndarray, sd: np.ndarray, memory: float, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Return chains (length, k) of normal variables that start in their own distribution.

    Each draw is `memory` times the one before, in standard deviations from the mean, plus
    independent noise: a stationary autoregression, worth about
    length · (1 − memory) / (1 + memory) independent draws.

    Parameters
    ----------
    mean, sd : (k,) arrays
    memory : float
        The correlation of neighbouring draws, from 0 to 1, 1 excluded.
    length : int
    rng : numpy.random.Generator
    """
    noise = rng.standard_normal((length, len(mean)))
    noise[1:] *= np.sqrt(1 - memory**2)
    return mean + sd * lfilter([1.0], [1.0, -memory], noise, axis=0)


def mean_of_logistic(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return E[p] (k,) for log odds that are normal with this `mean` (k,) and `sd` (k,).

    By Gauss–Hermite quadrature with 100 nodes.

    Examples
    --------
    >>> mean_of_logistic(np.zeros(1), np.ones(1)).round(6).tolist()
    [0.5]
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    p = expit(np.asarray(mean) + np.multiply.outer(nodes, sd))
    return weights @ p / weights.sum()


def rescattered(value: np.ndarray, measured: np.ndarray, rng: np.random.Generator) -> Interval:
    """Return Student's interval of a made-up effect with the scatter of a measured one.

    The units (predictors, say) are drawn again with replacement. Each has the effect that is
    planted in it, and differs from that as its measured value does from their mean.

    Parameters
    ----------
    value : float or (units,) array
        The effect planted in each unit.
    measured : (units,) array
        Values whose scatter is borrowed.
    rng : numpy.random.Generator
    """
    rows = rng.integers(len(measured), size=len(measured))
    return Interval.of_mean((value + measured - np.mean(measured))[rows])


def rescattered_anywhere(
    value: float | Sequence[np.ndarray], measured: Iterable[np.ndarray]
) -> Callable[[np.random.Generator], Interval]:
    """Return what makes up an effect with the scatter of one of several places.

    Parameters
    ----------
    value : float or sequence of (units,) arrays
        The effect planted in each unit: the same everywhere, or by place.
    measured : iterable of (units,) arrays
        By place, values whose scatter is borrowed.

    Returns
    -------
    callable
        Generator → Interval: draws a place, and calls `rescattered` with it.
    """
    scatter = list(measured)
    effects = [value] * len(scatter) if np.isscalar(value) else value
    places = list(zip(effects, scatter, strict=True))
    return lambda rng: rescattered(*places[rng.integers(len(places))], rng)


def planted_rivals(
    y: np.ndarray,
    aurocs: Sequence[float],
    groups: np.ndarray,
    seeds: np.ndarray,
    rng: np.random.Generator,
    shared: float = 0.5,
    drift: float | Sequence[float] = 0.0,
) -> np.ndarray:
    """Return scores (k, N) of made-up reporters that answer the same rows.

    Scores are normal with unit variance about ±Φ⁻¹(AUROC)/√2, plus for label 1. Half of the
    share `shared` of the variance is common to rows of one group and label in every seed, and
    half to one row, in all k reporters: what is hard for one is hard for the others. A score
    above 0 is an answer "true".

    Parameters
    ----------
    y : (N,) array of 0 and 1
    aurocs : sequence of k floats
        Between 0 and 1, ends excluded: the AUROC of each reporter in an average seed.
    groups, seeds : (N,) arrays
    rng : numpy.random.Generator
    shared : float
        Between 0 and 1.
    drift : float or sequence of k floats
        Standard deviation, over seeds, of Φ⁻¹(AUROC) of each reporter by itself: every seed
        trains it anew.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    _, seed_of = np.unique(seeds, return_inverse=True)
    k, n = len(aurocs), len(y)
    common = rng.standard_normal((group_of.max() + 1, 2))[group_of, np.asarray(y)]
    common = common + rng.standard_normal(n)
    own = rng.standard_normal((k, n))
    noise = np.sqrt(shared / 2) * common + np.sqrt(1 - shared) * own
    level = norm.ppf(np.asarray(aurocs))[:, None]
    drifts = np.broadcast_to(drift, k)[:, None]
    level = level + drifts * rng.standard_normal((k, seed_of.max() + 1))
    return np.sqrt(2) * level[:, seed_of] * (np.asarray(y) - 0.5) + noise


def planted_interval(
    statistic: Callable,
    y: np.ndarray,
    aurocs: Sequence[float],
    *columns: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    shared: float = 0.5,
    drift: float | Sequence[float] = 0.0,
    link: Callable = np.asarray,
    resamples: int = 200,
) -> Callable[[np.random.Generator], Interval]:
    """Return a control for `rates`: the interval of a statistic of made-up reporters.

    Parameters
    ----------
    statistic : callable
        Of `y`, one array per reporter and `columns`, as `elkutils.evaluation.bootstrap` takes
        it.
    y, groups, seeds : (N,) arrays
        Rows of the run whose interval the criterion judges.
    aurocs, shared, drift
        As in `planted_rivals`.
    *columns : (N,) arrays
        Further arguments of the statistic, such as folds.
    link : callable
        Applied to the scores: `scipy.special.expit` where the statistic takes probabilities.
    resamples : int
        Bootstrap resamples in each run.

    Returns
    -------
    callable
        ``(rng)`` → Interval.
    """

    groups, seeds = (np.unique(ids, return_inverse=True)[1] for ids in (groups, seeds))

    def run(rng: np.random.Generator) -> Interval:
        scores = link(planted_rivals(y, aurocs, groups, seeds, rng, shared, drift))
        options = {"groups": groups, "seeds": seeds, "resamples": resamples}
        seed = int(rng.integers(2**31))
        return bootstrap(statistic, y, *scores, *columns, seed=seed, **options)

    return run


def redrawn(
    groups: np.ndarray, seeds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of a resampled run, with new groups and seeds: each drawn counts as new.

    Parameters
    ----------
    groups, seeds : (N,) arrays
        Groups as whole numbers.
    rng : numpy.random.Generator
    """
    names, ids = np.unique(groups), np.unique(seeds)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
    of = np.searchsorted(names, groups)
    rows, fresh, again = [], [], []
    for turn, seed in enumerate(rng.choice(ids, len(ids))):
        mine = np.flatnonzero(seeds == seed)
        counts = times[of[mine]]
        copies = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows.append(np.repeat(mine, counts))
        fresh.append(np.repeat(of[mine], counts) + len(names) * copies)
        again.append(np.full(len(copies), turn))
    return np.concatenate(rows), np.concatenate(fresh), np.concatenate(again)


def auroc_by_pairs(
    y: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray | float:
    """Return `elkutils.evaluation.auroc`, faster on few rows with many weights.

    Nothing is checked.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    score : (n,) array
    weights : (..., n) array or None

    Examples
    --------
    >>> float(auroc_by_pairs(np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.4, 0.4])))
    0.875
    """
    weights = np.ones(len(y)) if weights is None else weights
    one, zero = weights[..., y == 1], weights[..., y == 0]
    gaps = score[y == 1][:, None] - score[y == 0]
    beaten = ((one @ (0.5 + 0.5 * np.sign(gaps))) * zero).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return beaten / (one.sum(axis=-1) * zero.sum(axis=-1))


def shared(
    run: Callable[[np.random.Generator], Mapping[str, Interval]],
) -> Callable[[str], Callable[[np.random.Generator], Interval]]:
    """Return a control of several criteria of which each resampled run is computed once.

    `rates` draws the same runs for every criterion, so that criteria can share them.

    Parameters
    ----------
    run : callable
        ``(rng)`` → the intervals of one resampled run, by name.

    Returns
    -------
    callable
        The name of a criterion → ``(rng)`` → the interval of that name, for `rates`.
    """
    found = {}

    def at(rng: np.random.Generator) -> Mapping[str, Interval]:
        key = int(rng.integers(2**62))
        if key not in found:
            found[key] = run(rng)
        return found[key]

    return lambda name: lambda rng: at(rng)[name]
