"""Methods that learn on the job: a forecast, then the label, then the next forecast.

Each is an object with ``forecast(p)``, where p is a reporter's P(y = 1), and ``update(y)``;
`run` takes one through a stream. They guarantee different things, each on *every* sequence of
labels: `AdaptiveConformal` coverage, `OnlinePlatt` little regret, `RunningMean` a Brier score
near that of its bins, and `Hedged`, which is randomised, calibration. None of them guarantees
anything about a part of the stream, and all of them need the labels.
"""

import copy
import math
import numbers
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, logit

from elkutils._inputs import check_counts, check_order, is_number, plain
from elkutils._inputs import numbers as numbers_of
from elkutils.evaluation._arrays import check_labels, check_proba, check_unit, rounding

_ROUNDING = 1e-6
_CLEAR = 4.0  # nats by which the edge of a grid has to beat what lies a fifth of it further in


class Online(ABC):
    """One method on its way through a stream."""

    _waiting = None

    def forecast(self, p: float) -> float | np.ndarray:
        """Return the method's forecast when a reporter gives P(y = 1) = p.

        Raises
        ------
        ValueError
            If `p` is NaN or not between 0 and 1.
        """
        if not (isinstance(p, numbers.Real) and -_ROUNDING <= p <= 1 + _ROUNDING):
            raise ValueError(f"p is {p!r}; it has to be a number between 0 and 1")
        self._waiting = min(max(float(p), 0.0), 1.0)
        return self._forecast(self._waiting)

    def update(self, y: int) -> None:
        """Learn the label of the last forecast; a label that never comes is left out.

        Raises
        ------
        ValueError
            If `y` is not 0 or 1, or no forecast waits for it.
        """
        if y not in (0, 1):
            raise ValueError(f"y is {y!r}; it has to be 0 or 1")
        if self._waiting is None:
            raise ValueError("update needs a forecast first; each label is for one of them")
        self._learn(self._waiting, int(y))
        self._waiting = None

    @property
    def state(self) -> tuple[float, ...]:
        """The numbers that the method has learned so far."""
        return ()

    @abstractmethod
    def _forecast(self, p): ...

    @abstractmethod
    def _learn(self, p, y): ...


@dataclass(frozen=True)
class Run:
    """A method's forecast at each step of a stream, made before it saw that label.

    Attributes
    ----------
    forecast : (n,) array, or (n, 2) array of bool
        Probabilities; for `AdaptiveConformal` whether 0 and 1 are in the set.
    state : (n, k) array
        The method's own numbers when it made the forecast.
    """

    forecast: np.ndarray
    state: np.ndarray


def run(
    method: Online, proba: ArrayLike, y: ArrayLike, labelled: ArrayLike | None = None
) -> Run:
    """Take a copy of `method` through a stream; the method itself does not change.

    Parameters
    ----------
    method : Online
        How to forecast.
    proba : (n,) array
        The reporter's P(y = 1) at each step.
    y : (n,) array of 0 and 1
        What happened at each step.
    labelled : (n,) array of bool, or None
        Where the method sees the label; None for everywhere.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the stream is empty or has gaps (NaN) in it, or shapes or values do not fit.

    Examples
    --------
    >>> run(RunningMean(), [0.5, 0.5, 0.5], [1, 1, 0]).forecast.tolist()
    [0.5, 1.0, 1.0]
    """
    check_order(y=y, proba=proba, labelled=labelled)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    labelled = np.ones(len(y), dtype=bool) if labelled is None else np.asarray(labelled)
    if proba.ndim != 1 or labelled.shape != y.shape or labelled.dtype != bool:
        raise ValueError(
            f"proba and labelled have shapes {proba.shape} and {labelled.shape}, the latter of "
            f"{labelled.dtype}; they have to match y, {y.shape}, and labelled has to be bool"
        )
    method = copy.deepcopy(method)
    forecasts, states = [], []
    for p, outcome, told in zip(proba.tolist(), y.tolist(), labelled.tolist(), strict=True):
        states.append(method.state)
        forecasts.append(method.forecast(p))
        if told:
            method.update(outcome)
    return Run(np.array(forecasts), np.array(states))


def prediction_sets(proba: ArrayLike, calibration: ArrayLike, level: float) -> np.ndarray:
    """Return split conformal sets over {0, 1}: the labels that are not too strange.

    Parameters
    ----------
    proba : (...) array
        P(y = 1).
    calibration : (m,) array
        The probability given to what happened on m ≥ 1 labelled rows that were held out.
    level : float
        How often a set may miss; at 0 or below it holds both labels, from 1 on none.

    Returns
    -------
    (..., 2) array of bool
        Whether 0 and 1 are in the set. A label is in unless its probability is below the k-th
        smallest of `calibration`, k = ⌊level · (m + 1)⌋. For exchangeable rows a set misses
        with probability at most `level`.

    Notes
    -----
    Vovk, Gammerman & Shafer 2005; the score is the probability given to the label.

    Examples
    --------
    >>> prediction_sets([0.95, 0.5], [0.4, 0.6, 0.7, 0.9], level=0.2).tolist()
    [[False, True], [True, True]]
    """
    slack, calibration = rounding(proba), _calibration(calibration)
    if not is_number(level) or math.isnan(level):
        raise ValueError(f"level is {level!r}; it has to be a number")
    if level >= 2:
        raise ValueError(
            f"level is {level!r}; it has to be at most about 1: {level:g}% is {level / 100:g}"
        )
    proba = check_unit(numbers_of(proba, "proba").astype(np.float64), "proba", slack)
    return _sets(proba, calibration, level)


class AdaptiveConformal(Online):
    """Conformal sets whose level moves after every miss and every hit.

    Its forecast is a set over {0, 1}, an array of two bool, and its state is (αₜ,).

    Parameters
    ----------
    calibration : (m,) array
        As in `prediction_sets`.
    alpha : float
        Share of misses to aim at, between 0 and 1.
    step : float
        γ > 0, how far a miss moves the level.
    start : float or None
        α₁ in [0, 1]; None for `alpha`.

    Notes
    -----
    Gibbs & Candès 2021 (arXiv:2106.00170), eq. 2: αₜ₊₁ = αₜ + γ(α − errₜ), where errₜ is 1 for
    a miss. The set holds both labels at αₜ ≤ 0 and none at αₜ ≥ 1.
    """

    def __init__(
        self,
        calibration: ArrayLike,
        alpha: float = 0.1,
        step: float = 0.05,
        start: float | None = None,
    ):
        if not (is_number(alpha) and 0 < alpha < 1):
            raise ValueError(f"alpha is {alpha!r}; it has to lie between 0 and 1")
        if not (is_number(step) and 0 < step < math.inf):
            raise ValueError(f"step is {step!r}; it has to be above 0 and finite")
        start = alpha if start is None else start
        if not (is_number(start) and 0 <= start <= 1):
            raise ValueError(f"start is {start!r}; it has to lie between 0 and 1")
        self.calibration = _calibration(calibration)
        self.alpha, self.step, self.start, self.level = alpha, step, start, start

    @property
    def state(self) -> tuple[float, ...]:
        """The level αₜ, alone in a tuple."""
        return (self.level,)

    def bound(self, n: int) -> float:
        """Return the most by which the share of misses in `n` steps differs from α.

        (max(α₁, 1 − α₁) + γ) / (nγ), on every sequence: Gibbs & Candès 2021, Proposition 4.1.
        """
        return (max(self.start, 1 - self.start) + self.step) / (_length(n) * self.step)

    def bound_reached(self, sets: np.ndarray, y: np.ndarray) -> float:
        """Return abs(share of misses − α) over `bound`, at the step where that is largest.

        Above 1 the guarantee would be broken.

        Parameters
        ----------
        sets : (n, 2) array of bool
            What `run` or `forecast` returned along a stream.
        y : (n,) array of 0 and 1
        """
        steps = np.arange(1, len(y) + 1)
        share = np.cumsum(~sets[steps - 1, y]) / steps
        bounds = [self.bound(int(n)) for n in steps]
        return float(np.max(np.abs(share - self.alpha) / bounds))

    def _forecast(self, p):
        return _sets(np.float64(p), self.calibration, self.level)

    def _learn(self, p, y):
        missed = not self._forecast(p)[y]
        self.level += self.step * (self.alpha - missed)


class OnlinePlatt(Online):
    """Platt scaling by a Bayesian mixture over slopes and intercepts.

    Every pair (a, b) on a grid forecasts σ(a · logit p + b). The mixture's forecast is their
    mean, weighted by how well each has done, and its state is the mean (a, b).

    Parameters
    ----------
    slopes, intercepts : (k,) array or None
        At least two numbers each, in ascending, even steps; None for −2 to 3 and −5 to 5.
    share : float
        In [0, 1): the weight that is shared out equally among all pairs after each step, so
        that the method can follow a drift.
    limit : float
        Log odds of p are clipped to this absolute value.

    Warns
    -----
    UserWarning
        Once, in `update` or `run`, if the smallest or largest slope or intercept fits the
        labels so far e⁴ times better than any that lies a fifth of the grid further in: the
        labels ask for a wider grid, and the regret is that against the grid's pairs only.

    Notes
    -----
    The aim is that of Gupta & Ramdas 2023 (arXiv:2305.00070), who take Newton
    steps. A mixture has the shorter proof, and no constant that grows exponentially with the
    log odds. The sharing is that of Herbster & Warmuth (1998).
    """

    def __init__(
        self,
        slopes: ArrayLike | None = None,
        intercepts: ArrayLike | None = None,
        share: float = 0.0,
        limit: float = 5.0,
    ):
        self.slopes = _grid("slopes", np.linspace(-2, 3, 51) if slopes is None else slopes)
        default = np.linspace(-5, 5, 51)
        self.intercepts = _grid("intercepts", default if intercepts is None else intercepts)
        if not 0 <= share < 1:
            raise ValueError(f"share is {share!r}; it has to be at least 0 and below 1")
        if not 0 < limit < math.inf:
            raise ValueError(f"limit is {limit!r}; it has to be above 0 and finite")
        self.share, self.limit, self._told = share, limit, False
        self._pairs = np.stack(np.meshgrid(self.slopes, self.intercepts), -1).reshape(-1, 2)
        self._weights = np.full(len(self._pairs), 1 / len(self._pairs))
        self._log_weights = np.log(self._weights)

    @property
    def state(self) -> tuple[float, ...]:
        """The mean slope and intercept."""
        return tuple((self._weights @ self._pairs).tolist())

    def bound(self, n: int, stretches: int = 1) -> float:
        """Return the most by which the total log loss of `n` steps exceeds that of any pairs.

        The rival has one pair (a, b) within the grid's range for each of `stretches` stretches
        of the stream, and knows the labels beforehand. In nats; infinite for several stretches
        where `share` is 0.
        """
        n = _length(n)
        if int(stretches) != stretches or not 1 <= stretches <= n:
            raise ValueError(f"stretches is {stretches!r}; it has to be a number from 1 to n")
        steps = self.slopes[1] - self.slopes[0], self.intercepts[1] - self.intercepts[0]
        between = n * ((self.limit * steps[0]) ** 2 + steps[1] ** 2) / 32
        if stretches > 1 and not self.share:
            return math.inf
        changes = (stretches - 1) * math.log(self.share) if stretches > 1 else 0.0
        kept = (n - stretches) * math.log1p(-self.share)
        return float(stretches * math.log(len(self._pairs)) - changes - kept + between)

    def hindsight_loss(self, proba: np.ndarray, y: np.ndarray) -> float:
        """Return the total log loss of the best pair on the grid, in nats.

        Parameters
        ----------
        proba, y : (n,) arrays
            The reporter's P(y = 1) at each step, and what happened.
        """
        y = check_labels(y)
        proba = check_proba(proba, len(y))
        total = np.zeros(len(self._pairs))
        for p, outcome in zip(proba.tolist(), y.tolist(), strict=True):
            total -= log_expit(self._scores(p) * (2 * outcome - 1))
        return float(total.min())

    def _scores(self, p):
        with np.errstate(divide="ignore"):
            log_odds = np.clip(logit(p), -self.limit, self.limit)
        return self._pairs @ np.array([log_odds, 1.0])

    def _forecast(self, p):
        return float(self._weights @ expit(self._scores(p)))

    def _learn(self, p, y):
        log_weights = self._log_weights + log_expit(self._scores(p) * (2 * y - 1))
        log_weights -= log_weights.max()
        weights = np.exp(log_weights)
        total = weights.sum()
        self._weights, self._log_weights = weights / total, log_weights - math.log(total)
        if self.share:
            self._weights = (1 - self.share) * self._weights + self.share / len(weights)
            self._log_weights = np.log(self._weights)
        if not self._told:
            self._warn_if_at_edge()

    def _warn_if_at_edge(self):
        table = self._log_weights.reshape(len(self.intercepts), len(self.slopes))
        for name, grid, best in (
            ("slopes", self.slopes, table.max(axis=0)),
            ("intercepts", self.intercepts, table.max(axis=1)),
        ):
            fifth, at = len(grid) // 5, int(best.argmax())
            if not fifth or 0 < at < len(grid) - 1:
                continue
            others = best[:-fifth] if at else best[fifth:]
            if best[at] - others.max() > _CLEAR:
                self._told, width = True, grid[-1] - grid[0]
                ends = (grid[0], grid[-1] + width) if at else (grid[0] - width, grid[-1])
                warnings.warn(
                    f"{name} goes from {grid[0]:.3g} to {grid[-1]:.3g}, and the labels so far"
                    f" are best fitted by {grid[at]:.3g}, its"
                    f" {'largest' if at else 'smallest'}: the forecasts would gain from a wider"
                    f" grid, such as {name}="
                    f"np.linspace({ends[0]:.3g}, {ends[1]:.3g}, {2 * len(grid) - 1})",
                    UserWarning,
                    stacklevel=4,
                )


class RunningMean(Online):
    """The share of ones so far in the bin that p falls into; one bin is the base rate.

    Its state is the mean of each bin. An empty bin forecasts its midpoint.

    Parameters
    ----------
    bins : int
        Number of bins of equal width for p, at least 1.

    Notes
    -----
    Foster & Hart 2023, *"Calibeating": beating forecasters at their own game*, section 4.
    """

    def __init__(self, bins: int = 1):
        self.bins = _bins("bins", bins)
        self._ones, self._count = np.zeros(bins), np.zeros(bins)

    @property
    def state(self) -> tuple[float, ...]:
        """The forecast of each bin."""
        return tuple(self._mean(place) for place in range(self.bins))

    def bound(self, n: int) -> float:
        """Return the most by which the Brier score of `n` steps exceeds the `refinement`.

        K(1 + log(n/K))/n on every sequence, where K is the number of bins, or n if that is
        less.
        """
        used = min(self.bins, _length(n))
        return used * (1 + math.log(n / used)) / n

    def _forecast(self, p):
        return self._mean(_bin(p, self.bins))

    def _learn(self, p, y):
        self._ones[_bin(p, self.bins)] += y
        self._count[_bin(p, self.bins)] += 1

    def _mean(self, place):
        count = self._count[place]
        return float(self._ones[place] / count if count else (place + 0.5) / self.bins)


class Hedged(Online):
    """Forecasts drawn between two neighbours, so that no sequence can make them uncalibrated.

    A forecast is the midpoint of one of K bins. A forecast has been right if the share of ones
    among its labels lies in its bin; if some have been right, the one nearest to p is made
    again. Otherwise there is a pair of neighbours of which the lower saw too many ones and the
    upper too few, and a coin decides between them.

    Parameters
    ----------
    bins : int
        K, at least 1.
    inputs : int
        Number of bins of equal width for p, each with a forecaster of its own. With 1 only the
        labels decide, except in ties.
    seed : int
        Seed of the coin. The guarantee is for labels that do not depend on its next toss.

    Notes
    -----
    Foster 1999, *A proof of calibration via Blackwell's approachability theorem*; Foster & Hart
    2021, *Forecast hedging and calibration*.
    """

    def __init__(self, bins: int = 10, inputs: int = 1, seed: int = 0):
        self.bins, self.inputs = _bins("bins", bins), _bins("inputs", inputs)
        self._rng = np.random.default_rng(seed)
        self._ones = np.zeros((inputs, bins), dtype=int)
        self._count = np.zeros((inputs, bins), dtype=int)
        self._said = None

    def bound(self, n: int) -> float:
        """Return the largest *expected* `calibration_error` after `n` steps.

        1/(2K) + √(JK/n) on every sequence, where J is the number of `inputs`.
        """
        return 1 / (2 * self.bins) + math.sqrt(self.inputs * self.bins / _length(n))

    def lottery(self, p: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the forecasts that may be made at `p`, and the probability of each."""
        row, bins = _bin(p, self.inputs), np.arange(self.bins)
        too_many = self.bins * self._ones[row] - (bins + 1) * self._count[row]
        too_few = bins * self._count[row] - self.bins * self._ones[row]
        middles = (bins + 0.5) / self.bins
        right = np.flatnonzero((too_many <= 0) & (too_few <= 0))
        if len(right):
            nearest = right[np.argmin(np.abs(middles[right] - p))]
            return middles[[nearest]], np.ones(1)
        low = np.flatnonzero((too_many[:-1] > 0) & (too_few[1:] > 0))[0]
        chances = np.array([too_few[low + 1], too_many[low]], dtype=np.float64)
        return middles[low : low + 2], chances / chances.sum()

    def _forecast(self, p):
        values, chances = self.lottery(p)
        self._said = float(values[int(self._rng.random() >= chances[0])])
        return self._said

    def _learn(self, p, y):
        place = _bin(p, self.inputs), _bin(self._said, self.bins)
        self._ones[place] += y
        self._count[place] += 1


def calibration_error(y: ArrayLike, proba: ArrayLike, bins: int = 10) -> float:
    """Return Σ_bins abs(Σ_i (y_i − p_i)) / n over bins of equal *width*.

    Unlike those of `ece` the bins do not depend on the data, as guarantees on every sequence
    require.

    Parameters
    ----------
    y : (n,) array of 0 and 1
        What happened.
    proba : (n,) array
        P(y = 1), between 0 and 1.
    bins : int
        Number of bins, at least 1.

    Examples
    --------
    >>> print(f"{calibration_error([0, 1, 1, 1], [0.7, 0.7, 0.7, 0.7]):.2f}")
    0.05
    """
    gaps, place = _binned(y, proba, bins, lambda y, p: y - p)
    return float(np.abs(np.bincount(place, weights=gaps)).sum() / len(gaps))


def excess_calibration_error(
    y: ArrayLike, proba: ArrayLike, bins: int = 10, repeats: int = 1000, seed: int = 0
) -> float:
    """Return the `calibration_error` less that of a perfect forecaster of the same forecasts.

    The perfect forecaster's labels are drawn, yᵢ ~ Bernoulli(pᵢ), `repeats` times.

    Parameters
    ----------
    y, proba, bins
        As in `calibration_error`.
    repeats, seed : int
    """
    check_counts(repeats=repeats)
    error, proba = calibration_error(y, proba, bins), plain(proba)
    drawn = np.random.default_rng(seed).random((repeats, len(proba))) < proba
    return error - float(np.mean([calibration_error(labels, proba, bins) for labels in drawn]))


def refinement(y: ArrayLike, proba: ArrayLike, bins: int = 10) -> float:
    """Return the Brier score of the best constants in hindsight, one per bin of equal width.

    Parameters and errors are those of `calibration_error`.

    Examples
    --------
    >>> print(f"{refinement([0, 1, 1, 1], [0.7, 0.7, 0.7, 0.7]):.4f}")
    0.1875
    """
    y, place = _binned(y, proba, bins, lambda y, _: y)
    count, ones = np.bincount(place), np.bincount(place, weights=y)
    means = ones / np.maximum(count, 1)
    return float(np.mean((y - means[place]) ** 2))


def _binned(y, proba, bins, value):
    check_order(stacklevel=4, y=y, proba=proba)
    y = check_labels(y)
    proba = check_proba(proba, len(y))
    if proba.ndim != 1:
        raise ValueError(f"proba has shape {proba.shape}; it has to be one forecast (n,)")
    bins = _bins("bins", bins)
    return value(y, proba), np.minimum((proba * bins).astype(int), bins - 1)


def _sets(proba, calibration, level):
    k = math.floor(min(max(level, 0.0), 1.0) * (len(calibration) + 1))
    ends = {0: -np.inf, len(calibration) + 1: np.inf}
    least = ends[k] if k in ends else calibration[k - 1]
    return np.stack([1 - proba, proba], axis=-1) >= least


def _calibration(calibration):
    slack, calibration = (
        rounding(calibration),
        numbers_of(calibration, "calibration").astype(np.float64),
    )
    if calibration.ndim != 1 or not calibration.size:
        raise ValueError(f"calibration has shape {calibration.shape}; it has to be (m,), m ≥ 1")
    return np.sort(check_unit(calibration, "calibration", slack))


def _grid(name, values):
    values = numbers_of(values, name).astype(np.float64)
    steps = np.diff(values) if values.ndim else values
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{name} has to hold at least two finite numbers, in one axis")
    if not steps[0] > 0 or not np.allclose(steps, steps[0]):
        raise ValueError(f"{name} has to ascend in even steps; it steps by {steps[:4]}")
    return values


def _bin(p, bins):
    return min(int(p * bins), bins - 1)


def _bins(name, count):
    check_counts(**{name: count})
    return int(count)


def _length(n):
    check_counts(n=n)
    return int(n)
