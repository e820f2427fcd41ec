"""Members with a planted fault: controls of the rules about bounds on an ensemble's average.

Each function returns a control for `elkutils.study.controls.rates`, ``(rng)`` → the interval of
one resampled run. `rows` are the groups and seeds of the rows that the rule judges, as keyword
arguments of `elkutils.evaluation.bootstrap`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import expit

from elkutils.evaluation import Interval, betting, bootstrap, hoeffding_kl
from elkutils.study.controls import mean_of_logistic, planted_chains, planted_events
from elkutils.study.pooling import share
from elkutils.study.rare_worlds import FAR, RISE, SLOPE, mean_harm, mean_harm_with_corner

Control = Callable[[np.random.Generator], Interval]
Rows = Mapping[str, np.ndarray]

RESAMPLES = 200  # of each run's bootstrap


def ratio_of_means(ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of `ours` (n,) over that of `theirs` (n,), as `bootstrap` asks for it.

    Examples
    --------
    >>> ratio_of_means(np.array([1, 3]), np.array([2, 2]), np.array([[1, 1], [2, 0]]))
    array([1. , 0.5])
    """
    return (weights @ ours) / (weights @ theirs)


def hedging(
    centre: float, spread: float, delta: float, rows: Rows, members: int = 1000
) -> Control:
    """Return the width of the betting interval over that of the 1963 form.

    Parameters
    ----------
    centre, spread : float
        Mean and standard deviation of the members' log odds, at each of 300 statements.
    delta : float
    rows : mapping
    members : int
    """
    log_odds = np.random.default_rng(0).normal(centre, spread, (members, 300))
    found = [bound(expit(log_odds), delta) for bound in (betting, hoeffding_kl)]
    widths = np.array([bounds.upper - bounds.lower for bounds in found])

    def run(rng):
        pair = widths[:, rng.integers(widths.shape[1], size=len(rows["groups"]))]
        return bootstrap(ratio_of_means, *pair, **rows, resamples=RESAMPLES)

    return run


def covering(part: float, rows: Rows) -> Control:
    """Return the share of rows that are covered where this `part` is, alike within groups."""

    def run(rng):
        return share(planted_events(part, rows["groups"], rng), **rows, resamples=RESAMPLES)

    return run


def remembering(
    memory: float, centre: np.ndarray, spread: np.ndarray, length: int, delta: float, rows: Rows
) -> Control:
    """Return how often a chain's interval holds E[p] if every draw is counted.

    Parameters
    ----------
    memory : float
        Correlation of neighbouring draws, from 0 to 1, 1 excluded.
    centre, spread : (k,) arrays
        Mean and standard deviation of the log odds at each statement.
    length : int
        Draws of the chain.
    delta : float
    rows : mapping
    """
    mean = mean_of_logistic(centre, spread)

    def run(rng):
        p = expit(planted_chains(centre, spread, memory, length, rng))
        return share(hoeffding_kl(p, delta).hold(mean), **rows, resamples=RESAMPLES)

    return run


def two_modes(
    visited: float,
    centre: np.ndarray,
    spread: np.ndarray,
    length: int,
    delta: float,
    rows: Rows,
    apart: float = 2.0,
) -> Control:
    """Return how often independent draws hold E[p] over two modes of equal mass.

    Parameters
    ----------
    visited : float
        Share of the draws that come from the second mode.
    apart : float
        By how much its log odds are larger.
    centre, spread, length, delta, rows
        As in `remembering`.
    """
    mean = (mean_of_logistic(centre, spread) + mean_of_logistic(centre + apart, spread)) / 2

    def run(rng):
        away = apart * (rng.random((length, len(centre))) < visited)
        p = expit(away + planted_chains(centre, spread, 0.0, length, rng))
        return share(hoeffding_kl(p, delta).hold(mean), **rows, resamples=RESAMPLES)

    return run


def from_bags(
    bags: Sequence[np.ndarray], mean: np.ndarray, members: int, delta: float, rows: Rows
) -> Control:
    """Return how often intervals from members drawn from `bags` hold `mean`.

    Parameters
    ----------
    bags : sequence of (draws, n) arrays of probabilities
        One per seed; members are drawn with replacement.
    mean : (N,) array
        What the intervals are asked to hold, for the statements of all bags in order.
    members : int
    delta : float
    rows : mapping
    """

    def run(rng):
        p = [bag[rng.integers(len(bag), size=members)] for bag in bags]
        held = hoeffding_kl(np.concatenate(p, axis=1), delta).hold(mean)
        return share(held, **rows, resamples=RESAMPLES)

    return run


def plain_average(shift: float, slope: float) -> Control:
    """Return log10 of plain averaging's estimate over E[p], log odds N(shift, slope²)."""
    answer = mean_harm(shift, slope)

    def run(rng):
        p = expit(shift + slope * rng.standard_normal((4, 1000)))
        return Interval(*np.log10(_ratio(p, answer)))

    return run


def hidden_corner(mass: float, answer: float) -> Control:
    """Return the estimate of E[p] by plain averaging over the `answer` of a posterior's mean.

    Parameters
    ----------
    mass : float
        Mass of the corner in which harm is nearly certain.
    answer : float
        What the estimate is compared with where this mass is 0; else the known mean.
    """
    answer = mean_harm_with_corner(mass) if mass else answer

    def run(rng):
        away = (rng.random((4, 1000)) < mass) * RISE
        p = expit(FAR + away + SLOPE * rng.standard_normal((4, 1000)))
        return Interval(*_ratio(p, answer))

    return run


def _ratio(p, answer) -> np.ndarray:
    """The mean of four repeats p (4, draws) over the answer, with three standard errors."""
    means = p.mean(axis=1)
    error = 3 * means.std(ddof=1) / 2 / means.mean()
    return means.mean() / answer * np.array([1, 1 / (1 + error), 1 + error])
