"""Alarms and doubts with a known effect: controls of the rules about strange inputs.

Each function returns a control for `elkutils.study.controls.rates`, ``(rng)`` → the interval of
one resampled run, on the rows that the rule judges.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from elkutils.evaluation import Interval, bootstrap
from elkutils.study import outside
from elkutils.study.controls import planted_scores

Control = Callable[[np.random.Generator], Interval]

LEAST_RATE = 0.02  # inside; a rate of 0 would leave nothing to draw from
RESAMPLES = 200  # of each run's bootstrap
REVIEWED = 0.1  # share of the ordinary rows that a review looks at


def alarms(
    strange: np.ndarray, wrong: np.ndarray, groups: np.ndarray, seeds: np.ndarray, more: float
) -> Control:
    """Return the excess of alarms whose rate outside is higher by `more`.

    Half of the noise of an alarm is common to the rows of one group and side. Outside, as much
    again is common to the rows of one fit.

    Parameters
    ----------
    strange, wrong, groups, seeds : (N,) arrays
        Of `elkutils.study.outside.rates`. The seeds count from 0; the rate inside is that of
        `wrong` there, or 0.02 if that is larger.
    more : float
    """
    base = max(wrong[strange == 0].mean(), LEAST_RATE)
    level = norm.isf(base)
    between = norm.cdf(level / np.sqrt(2) - norm.isf(base + more))
    rows = {"groups": groups, "seeds": seeds, "resamples": RESAMPLES}

    def run(rng):
        of_fit = rng.standard_normal(seeds.max() + 1)[seeds] * strange
        rang = planted_scores(strange, between, groups, rng) + of_fit > level
        return bootstrap(outside.excess, strange, rang, seed=rng.integers(2**32), **rows)

    return run


def doubts(planted: np.ndarray, groups: np.ndarray, seeds: np.ndarray, share: float) -> Control:
    """Return the share of planted failures in a review, where doubt puts this `share` there.

    Parameters
    ----------
    planted, groups, seeds : (N,) arrays
        Of `elkutils.study.outside.failures`.
    share : float
        A tenth if doubt does not depend on failing.
    """
    between = norm.cdf((norm.isf(REVIEWED) - norm.isf(share)) / np.sqrt(2))
    rows = {"groups": groups, "seeds": seeds, "resamples": RESAMPLES}

    def run(rng):
        made = planted_scores(planted, between, groups, rng)
        return outside.found_interval(planted, made, seed=rng.integers(2**32), **rows)

    return run
