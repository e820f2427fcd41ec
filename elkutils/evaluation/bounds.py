"""What N draws of a probability prove about its mean.

For draws of p in [0, 1], independent and with the same mean m, each function returns an
interval that holds m with probability at least 1 − δ, whatever the distribution is otherwise.
The bound is on the error of the *average*: nothing here tells whether m is true, or whether
the draws come from the distribution that is claimed.

Each bound is written once, as an upper end at level δ. The lower end is one minus the upper
end for 1 − p, and a two-sided interval gives δ/2 to each end.
"""

import numbers
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import elementwise
from scipy.special import betainccinv, betaln, entr, rel_entr, xlog1py

from elkutils.evaluation._arrays import check_draws

SIDES = ("two", "upper", "lower")

_LARGEST = 1 - 2.0**-53  # the largest float below 1
_BET = 0.5  # largest share of the capital that a bet may lose
_BLOCK = 1_000_000  # roots solved at once
_MOST_MEMBERS, _MOST_BETS = 2**53, 10_000_000


@dataclass(frozen=True)
class Bounds:
    """The ends of an interval for E[p]: (n,) arrays or floats.

    A side that was not asked for is at 0 or at 1. `confidence_sequence` returns one row per
    number of draws.

    Attributes
    ----------
    lower, upper : (n,) arrays or floats

    Examples
    --------
    >>> lower, upper = hoeffding([0, 1] * 50)
    >>> print(f"{lower:.3f} to {upper:.3f}")
    0.364 to 0.636
    """

    lower: np.ndarray
    upper: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.lower, self.upper))

    @property
    def width(self) -> np.ndarray | float:
        """Upper less lower end."""
        return self.upper - self.lower

    def hold(self, truth: np.ndarray | float) -> np.ndarray:
        """Return whether each interval holds the truth, with its ends, broadcast."""
        return (self.lower <= truth) & (truth <= self.upper)


def hoeffding(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return Hoeffding's bound as textbooks have it: p̄ ± √(log(1/δ) / 2N).

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of p, between 0 and 1, along the first axis.
    delta : float
        Probability with which the bounds may fail, between 0 and 1.
    side : "two", "upper" or "lower"
        "two" gives δ/2 to each end; "upper" and "lower" give δ to one.
    union : int
        Number of inputs, at least n, for which the bounds hold *together* with probability
        1 − δ: each then gets δ / `union`. With 1 each holds by itself. An input chosen by
        looking at the draws is covered if it was chosen among `union`.
    effective : float, (n,) array or None
        Effective number of draws, above 0 and at most their number, to use in place of that
        number when draws are correlated. This is a heuristic: no bound then guarantees its
        coverage.

    Returns
    -------
    Bounds

    Raises
    ------
    ValueError
        If `proba` is empty, holds NaN or leaves [0, 1], or another argument is out of range.

    Notes
    -----
    Hoeffding 1963, eq. 2.3. The width does not depend on the draws, so even N equal draws never
    prove E[p] to be below √(log(1/δ) / 2N).

    Examples
    --------
    A hundred members that all answer 0 leave 12% open.

    >>> print(f"{hoeffding([0] * 100, side='upper').upper:.4f}")
    0.1224
    """
    return _ends(_hoeffding, _sample(proba, union, effective), delta, side)


def hoeffding_kl(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return Hoeffding's bound in its first form: N·kl(p̄ ‖ m) ≤ log(1/δ).

    Parameters, errors and the meaning of the result are those of `hoeffding`.

    Notes
    -----
    Hoeffding 1963, Theorem 1, eq. 2.1: P(p̄ ≤ a) ≤ exp(−N·kl(a ‖ m)) for a ≤ m, with
    kl(a ‖ m) = a log(a/m) + (1 − a) log((1 − a)/(1 − m)). It is never wider than `hoeffding`.
    If every draw is 0 its upper end is 1 − δ^(1/N), which is below log(1/δ)/N.

    Examples
    --------
    >>> print(f"{hoeffding_kl([0] * 100, side='upper').upper:.4f}")
    0.0295
    """
    return _ends(_hoeffding_kl, _sample(proba, union, effective), delta, side)


def clopper_pearson(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return the exact interval for binary draws, by quantiles of the beta distribution.

    Parameters, errors and the meaning of the result are those of `hoeffding`, but every draw
    has to be 0 or 1: the verdict of a member, not its probability.

    Notes
    -----
    Clopper & Pearson 1934. The upper end u solves P(Binomial(N, u) ≤ k) = δ, where k is the
    number of ones. If every draw is 0 it is 1 − δ^(1/N).

    Examples
    --------
    >>> found = clopper_pearson([0, 1] * 50)
    >>> print(f"{found.lower:.4f} to {found.upper:.4f}")
    0.3983 to 0.6017
    """
    sample = _sample(proba, union, effective)
    if not np.isin(sample.draws, (0, 1)).all():
        raise ValueError(
            "proba holds numbers between 0 and 1; clopper_pearson needs verdicts, 0 or 1"
        )
    return _ends(_clopper_pearson, sample, delta, side)


def empirical_bernstein(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return a bound that is tight where the draws' own variance V is small.

    Parameters, errors and the meaning of the result are those of `hoeffding`.

    Notes
    -----
    Maurer & Pontil 2009 (arXiv:0907.3740), Theorem 4: the upper end is p̄ + √(2V
    log(2/δ)/N) + 7 log(2/δ)/(3(N − 1)), where V has N − 1 in its denominator. One draw proves
    nothing.
    """
    return _ends(_empirical_bernstein, _sample(proba, union, effective), delta, side)


def betting(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return the means against which a cautious gambler has not grown rich.

    Parameters, errors and the meaning of the result are those of `hoeffding`. The order of the
    draws matters a little. An effective number raises the capital to the power effective / N.

    Notes
    -----
    Waudby-Smith & Ramdas 2024 (arXiv:2010.09686), the hedged capital of their
    Theorem 3, with predictable bets that are tuned to N and stake at most half of the capital.
    If m is the mean, the capital Π(1 − λₜ(pₜ − m)) is a fair game for every λₜ that depends on
    earlier draws alone, so the probability that it *ever* reaches 1/δ is at most δ (Ville's
    inequality).
    """
    return _ends(_betting, _sample(proba, union, effective), delta, side)


def confidence_sequence(
    proba: ArrayLike,
    delta: float = 0.05,
    side: str = "two",
    union: int = 1,
    effective: ArrayLike | None = None,
) -> Bounds:
    """Return bounds that hold at every number of draws at once, so that one may look and stop.

    Parameters and errors are those of `hoeffding`; `effective` is the effective number of all
    draws, and a prefix of the draws gets its share of that number.

    Returns
    -------
    Bounds
        Arrays of the shape of `proba`: row t is the bound from the first t + 1 draws,
        intersected with the bounds before it. With probability at least 1 − δ *every* row
        holds E[p]. Otherwise a row may be empty, with `lower` above `upper`.

    Notes
    -----
    A mixture of likelihood ratios (Robbins 1970). For p in [0, 1] of mean m and any
    q, (q/m)^p ((1 − q)/(1 − m))^(1 − p) is convex in p, so its mean is at most 1. The product
    over draws is therefore a supermartingale, and so is its mean over q ~ Beta(½, ½). By
    Ville's inequality N·kl(p̄ ‖ m) ≤ log(1/δ) − log E[q^(Np̄) (1 − q)^(N − Np̄)] − N·H(p̄) at
    all N at once, where H is the entropy in nats. One mixture serves both sides: a one-sided
    bound is no tighter. If every draw is 0 the upper end is below log(√(π(N + ½))/δ)/N.
    """
    whole = _sample(proba, union, effective)
    draws = whole.draws
    count = np.arange(1, len(draws) + 1).reshape(-1, *[1] * (draws.ndim - 1))
    mean = np.clip(np.cumsum(draws, axis=0) / count, 0, 1)
    prefixes = replace(whole, mean=mean, size=whole.size * (count / len(draws)))
    found = _ends(_mixture, prefixes, delta, side)
    return Bounds(
        np.maximum.accumulate(found.lower, axis=0), np.minimum.accumulate(found.upper, axis=0)
    )


def members_needed(
    bound: Callable,
    epsilon: float,
    delta: float = 0.05,
    mean: float = 0.0,
    side: str = "upper",
    union: int = 1,
) -> int:
    """Return the least number of members at which `bound` is within ε of their average.

    Parameters
    ----------
    bound : callable
        One of the bounds of this module.
    epsilon : float
        Largest distance of the bound from the average, between 0 and 1. With `side` "two" both
        ends have to be that near.
    delta : float
        As in `hoeffding`.
    mean : float
        The average of the members, whose verdicts are taken to be 0 and 1. Members that differ
        less need fewer, by `empirical_bernstein` and `betting`.
    side : "two", "upper" or "lower"
        As in `hoeffding`.
    union : int
        As in `hoeffding`.

    Returns
    -------
    int
        N members are enough and N − 1 are not. N · `mean` need not be an integer, except for
        `betting`, which is run on verdicts with the ones evenly spread; its time grows in
        proportion to N.

    Raises
    ------
    ValueError
        If an argument is out of range, or `betting` would take more than ten million members.

    Examples
    --------
    >>> members_needed(hoeffding, 0.01)
    14979
    >>> members_needed(clopper_pearson, 0.01)
    299
    """
    if bound not in _UPPER:
        names = ", ".join(known.__name__ for known in _UPPER)
        raise ValueError(f"bound is {bound!r}; it has to be one of {names}")
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon is {epsilon}; it has to lie between 0 and 1")
    if not 0 <= mean <= 1:
        raise ValueError(f"mean is {mean}; it has to lie between 0 and 1")
    union = _check_union(union, 1)

    def enough(count):
        draws = _evenly(mean, count) if bound is betting else None
        variance = mean * (1 - mean) * count / max(count - 1, 1)
        sample = _Sample(
            np.asarray(mean, float), variance, np.asarray(float(count)), union, draws
        )
        found = _ends(_UPPER[bound], sample, delta, side)
        above = found.upper - mean if side != "lower" else 0
        below = mean - found.lower if side != "upper" else 0
        return max(above, below) <= epsilon

    most = _MOST_BETS if bound is betting else _MOST_MEMBERS
    high = 1
    while not enough(high):
        if high == most:
            raise ValueError(
                f"epsilon is {epsilon}; it has to be larger: {bound.__name__} would need "
                f"more than {most:,} members"
            )
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class _Sample:
    """The draws, their mean, variance and (effective) number; how many bounds hold together."""

    mean: np.ndarray
    variance: np.ndarray
    size: np.ndarray
    union: int
    draws: np.ndarray | None = None

    def turned(self) -> "_Sample":
        """The same for 1 − p."""
        draws = None if self.draws is None else 1 - self.draws
        return replace(self, mean=1 - self.mean, draws=draws)


def _sample(proba, union, effective) -> _Sample:
    draws = check_draws(proba)
    count, n = len(draws), 1 if draws.ndim == 1 else draws.shape[1]
    size = np.asarray(count if effective is None else effective, dtype=np.float64)
    if size.shape not in ((), draws.shape[1:]) or not ((size > 0) & (size <= count)).all():
        turned = draws.ndim == 2 and size.shape == (count,)
        hint = "; is proba transposed? Draws come first, inputs last" if turned else ""
        raise ValueError(
            f"effective is {effective}; it has to be a number, or one for each input, above 0 "
            f"and at most the number of draws, {count}{hint}"
        )
    mean = np.clip(draws.mean(axis=0), 0, 1)
    variance = draws.var(axis=0, ddof=1) if count > 1 else np.zeros_like(mean)
    size = np.broadcast_to(size, mean.shape)
    return _Sample(mean, variance, size, _check_union(union, n), draws)


def _check_union(union, n) -> int:
    if not isinstance(union, numbers.Integral) or not (union == 1 or union >= n):
        raise ValueError(
            f"union is {union!r}; it has to be 1, or an integer no smaller than n = {n}"
        )
    return int(union)


def _ends(upper, sample, delta, side) -> Bounds:
    """Return both ends, from a function for the upper one at level δ."""
    if not (isinstance(delta, numbers.Real) and 0 < delta < 1):
        raise ValueError(f"delta is {delta}; it has to lie between 0 and 1")
    if side not in SIDES:
        raise ValueError(f"side is {side!r}; it has to be one of {', '.join(SIDES)}")
    tails = 2 if side == "two" and upper is not _mixture else 1  # a mixture covers both
    delta = delta / (tails * sample.union)
    low, high = np.zeros_like(sample.mean), np.ones_like(sample.mean)
    if side != "lower":
        high = np.minimum(upper(sample, delta), 1)
    if side != "upper":
        low = np.maximum(1 - upper(sample.turned(), delta), 0)
    return Bounds(low[()], high[()])


def _hoeffding(sample, delta):
    return sample.mean + np.sqrt(-np.log(delta) / (2 * sample.size))


def _hoeffding_kl(sample, delta):
    return _kl_upper(sample.mean, -np.log(delta) / sample.size)


def _clopper_pearson(sample, delta):
    ones = sample.mean * sample.size
    zeros = sample.size - ones
    some = np.where(zeros > 0, zeros, 1.0)
    return np.where(zeros > 0, betainccinv(ones + 1, some, delta), 1.0)


def _empirical_bernstein(sample, delta):
    log, size = np.log(2 / delta), sample.size
    with np.errstate(divide="ignore"):
        bias = np.where(size > 1, 7 * log / (3 * np.maximum(size - 1, 0)), np.inf)
    return sample.mean + np.sqrt(2 * sample.variance * log / size) + bias


def _betting(sample, delta):
    draws = sample.draws.reshape(len(sample.draws), -1)
    size, goal = np.ravel(sample.size), -np.log(delta)
    bets = np.sqrt(2 * goal / (size * _variance_before(draws)))

    def shortfall(mean, column):
        p = draws[:, column]
        with np.errstate(divide="ignore"):
            bet = np.minimum(bets[:, column], _BET / (1 - mean))
        capital = np.cumsum(np.log1p(-bet * (p - mean)), axis=0).max(axis=0)
        return capital * size[column] / len(draws) - goal

    columns = np.arange(draws.shape[1])
    top = np.ones(len(columns))
    beaten = shortfall(top, columns) > 0
    found = elementwise.find_root(
        shortfall, (0 * top[beaten], top[beaten]), args=(columns[beaten],)
    )
    top[beaten] = np.where(found.success, found.x, 1.0)  # 1 is always an upper end
    return top.reshape(sample.mean.shape)


def _variance_before(draws):
    """Estimate the variance from the draws before each one: (draws, n), ¼ for the first."""
    count = np.arange(2, len(draws) + 2)[:, None]
    mean = (0.5 + np.cumsum(draws, axis=0)) / count
    after = (0.25 + np.cumsum((draws - mean) ** 2, axis=0)) / count
    return np.concatenate([np.full((1, draws.shape[1]), 0.25), after[:-1]])


def _mixture(sample, delta):
    mean, size = sample.mean, sample.size
    ones = mean * size
    log_mixture = betaln(ones + 0.5, size - ones + 0.5) - np.log(np.pi)
    entropy = entr(mean) + entr(1 - mean)
    return _kl_upper(mean, (-np.log(delta) - log_mixture) / size - entropy)


def _kl_upper(mean, rate):
    """Return the m ≥ `mean` with kl(mean ‖ m) = `rate`, or 1 where no float reaches it."""
    mean, rate = np.broadcast_arrays(mean, rate)
    found = np.empty(mean.size)
    for start in range(0, mean.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = _kl_root(mean.ravel()[part], rate.ravel()[part])
    return found.reshape(mean.shape)


def _kl_root(mean, rate):
    def excess(m, mean, rate):
        return rel_entr(mean, m) + xlog1py(1 - mean, -mean) - xlog1py(1 - mean, -m) - rate

    # kl(a ‖ m) exceeds 2(m − a)² and (m − a)²/2m, so the root lies below both
    far = np.minimum(np.sqrt(rate / 2), np.sqrt(2 * mean * rate) + 2 * rate)
    top = np.minimum(mean + 1.01 * far, _LARGEST)
    reached = excess(top, mean, rate) > 0
    found = np.ones_like(mean)
    inside = [a[reached] for a in (mean, top, mean, rate)]
    root = elementwise.find_root(excess, inside[:2], args=inside[2:])
    found[reached] = np.where(root.success, root.x, 1.0)  # 1 is always an upper end
    return found


def _evenly(mean, count):
    """Return `count` verdicts with a share `mean` of ones, spread as evenly as possible."""
    return np.diff(np.floor(np.arange(count + 1) * mean + 0.5))


_UPPER = {
    hoeffding: _hoeffding,
    hoeffding_kl: _hoeffding_kl,
    clopper_pearson: _clopper_pearson,
    empirical_bernstein: _empirical_bernstein,
    betting: _betting,
    confidence_sequence: _mixture,
}
