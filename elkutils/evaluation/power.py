"""What a rule could have found: simultaneous tests, equivalence, power and controls.

A verdict compares an interval with a margin. Here are the pieces that keep such a rule honest:
Holm's correction where one claim is judged at many places, two one-sided tests where the claim
is that nothing differs, the power of either at a margin, and the share of resampled runs in
which a rule passes a control.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from elkutils._inputs import check_counts, check_level, is_number, numbers
from elkutils.evaluation.intervals import Interval

LEAST_RUNS = 200


def p_above(value: Interval, margin: float) -> float:
    """Return the one-sided p-value against "at most `margin`": small if the value is above it.

    The interval's lower end is moved outwards as that of a normal, or of a Student's t with the
    interval's degrees of freedom: at the interval's own level the p-value is (1 − level)/2
    exactly where the lower end lies on the margin. Of a lopsided interval the longer half
    counts. An interval of level 1 is known without error, and gives 0 or 1; one of a lower
    level without any width carries no error at all, and gives 1.

    Examples
    --------
    >>> round(p_above(Interval(1.0, 0.0, 2.0), 0.0), 3)
    0.025
    """
    _check_margin(margin)
    return _tail(value.estimate - value.lower, value.lower - margin, value)


def p_below(value: Interval, margin: float) -> float:
    """Return the one-sided p-value against "at least `margin`": small if the value is below it.

    See `p_above`.
    """
    _check_margin(margin)
    return _tail(value.upper - value.estimate, margin - value.upper, value)


def _check_margin(margin: float) -> None:
    """Raise ValueError unless a margin is a number."""
    if not is_number(margin) or np.isnan(margin):
        raise ValueError(f"margin is {margin!r}; it has to be a number")


def _tail(half: float, beyond: float, value: Interval) -> float:
    """P-value where the end is `beyond` the margin, `half` from the estimate."""
    if not np.isfinite([value.estimate, value.lower, value.upper]).all():
        raise ValueError(f"value is {value}; estimate and ends have to be finite")
    if value.level >= 1:
        return 0.0 if beyond >= 0 else 1.0
    if value.lower == value.upper:
        return 1.0
    half = max(half, (value.upper - value.lower) / 2)
    z = student.ppf((1 + value.level) / 2, value.df)
    return float(student.sf(z * (1 + beyond / half), value.df))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return Holm's adjusted p-values (k,) of `p_values` (k,).

    Rejecting where the adjusted p-value is at most α keeps the probability of any false
    rejection at α, however the tests depend on each other (Holm 1979, *A simple sequentially
    rejective multiple test procedure*).

    Raises
    ------
    ValueError
        If a p-value is not in [0, 1].

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = numbers(p_values, "p_values").astype(np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p_values is {p}; it needs (k,), every entry in [0, 1]")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(steps)
    adjusted[order] = steps
    return adjusted


def p_equivalent(value: Interval, margin: float) -> float:
    """Return the p-value of two one-sided tests that the value lies within ± `margin`.

    It is small if the value is shown to be above −margin *and* below margin (Schuirmann 1987).

    Raises
    ------
    ValueError
        If `margin` is not positive.

    Examples
    --------
    >>> p_equivalent(Interval(0.0, -0.5, 0.5), 1.0) < 0.001
    True
    """
    if not (is_number(margin) and margin > 0):
        raise ValueError(f"margin is {margin}; it has to be positive")
    return max(p_above(value, -margin), p_below(value, margin))


def equivalence_power(margin: float, standard_error: float, alpha: float = 0.05) -> float:
    """Return the probability that two one-sided tests show an exact equivalence.

    Parameters
    ----------
    margin : float
        Half width of the region of equivalence.
    standard_error : float
        Of a normal estimate whose true value is 0.
    alpha : float
        Level of each one-sided test; divide it by the number of tests for a family.

    Examples
    --------
    >>> round(equivalence_power(2.93, 1.0), 2)
    0.8
    """
    _check_positive(margin=margin, standard_error=standard_error)
    check_level(alpha, "alpha")
    return float(max(0.0, 2 * norm.cdf(margin / standard_error - norm.isf(alpha)) - 1))


def attainable_margin(standard_error: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest margin at which equivalence is shown with probability `power`.

    It inverts `equivalence_power`.

    Examples
    --------
    >>> round(attainable_margin(1.0, power=0.9), 2)
    3.29
    """
    _check_positive(standard_error=standard_error)
    check_level(alpha, "alpha")
    check_level(power, "power")
    return float(standard_error * (norm.isf(alpha) + norm.isf((1 - power) / 2)))


def _check_positive(**values):
    for name, value in values.items():
        if not (is_number(value) and 0 < value < np.inf):
            raise ValueError(f"{name} is {value!r}; it has to be positive and finite")


@dataclass(frozen=True)
class PassRate:
    """In how many of its resampled runs a control passed a rule.

    Attributes
    ----------
    passes, runs : int
    """

    passes: int
    runs: int

    def __post_init__(self) -> None:
        check_counts(runs=self.runs)
        check_counts(least=0, passes=self.passes)
        if self.passes > self.runs:
            raise ValueError(
                f"passes is {self.passes} of {self.runs} runs; it has to be between 0 and them"
            )

    @property
    def rate(self) -> float:
        """Share of the runs that passed."""
        return self.passes / self.runs

    @property
    def interval(self) -> Interval:
        """The rate with its Clopper–Pearson interval of level 0.95."""
        return Interval.of_share(self.passes, self.runs)

    def __str__(self) -> str:
        return f"{self.rate:.0%} of {self.runs}"


def pass_rate(
    run: Callable[[np.random.Generator], bool], runs: int = LEAST_RUNS, seed: int = 0
) -> PassRate:
    """Return in how many independent runs a control passes.

    Parameters
    ----------
    run : callable
        ``(rng)`` → whether the rule passes on one resampled run of the control. It draws all
        its randomness from `rng`.
    runs : int
        At least 200.
    seed : int

    Raises
    ------
    ValueError
        For fewer than 200 runs: the standard error of a rate of 90% is then above two points.
    """
    if not is_number(runs) or runs < LEAST_RUNS:
        raise ValueError(f"runs is {runs}; a control needs at least {LEAST_RUNS}")
    streams = np.random.default_rng(seed).spawn(runs)
    return PassRate(sum(bool(run(rng)) for rng in streams), runs)
