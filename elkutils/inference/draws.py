"""What every sampler returns: draws of a head's parameters, and the answers they give.

A draw is a vector of parameters θ. Its *head* turns θ and inputs into log odds: `LinearHead`
for logistic regression, `networks.network.FlatNetwork` for a network. Whatever made the draws
(a Markov chain, training, rejection), scores and diagnostics see the same `Draws`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp

from elkutils._inputs import check_finite, plain
from elkutils.inference.diagnostics import Diagnostics, diagnose

TINY = 1e-280  # probabilities below it may have lost digits
NUMBERS = 2**22  # log odds computed at once: bounds the memory
CACHED = 2**18  # the same where each costs little, so that they stay in the cache
SCRATCH = 2**15  # of these, turned into probabilities at once
STEEPEST = 700.0  # log odds beyond are taken as these; means of them are below TINY


class Head(Protocol):
    """What turns parameters and inputs into log odds."""

    @property
    def units(self) -> int:
        """How many numbers it holds per row and draw."""

    def check(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) as an array, or raise ValueError."""

    def log_odds(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the log odds (k, n) of parameters (k, p) at X (n, d)."""

    def parameters(self, theta: np.ndarray) -> Any:
        """Return parameters (…, p) by name or layer, each leaf with its own shape after (…)."""


@dataclass(frozen=True)
class LinearHead:
    """The head of logistic regression, θ = (w, b): log odds w·x + b.

    Parameters
    ----------
    features : int
        d, the number of weights.

    Examples
    --------
    >>> LinearHead(2).log_odds(np.array([[1.0, -1.0, 0.5]]), np.array([[2.0, 1.0]])).tolist()
    [[1.5]]
    """

    features: int

    @property
    def units(self) -> int:
        """How many numbers it holds per row and draw: the log odds."""
        return 1

    def check(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) in float64, or raise ValueError."""
        return check_inputs(X, self.features, np.float64)

    def log_odds(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the log odds (k, n) of parameters (k, d + 1) at X (n, d)."""
        return theta @ np.column_stack([X, np.ones(len(X), X.dtype)]).T

    def parameters(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return "coef" (…, d) and "intercept" (…) of parameters (…, d + 1)."""
        return {"coef": theta[..., :-1], "intercept": theta[..., -1]}


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of a head's parameters, with the statistics of each.

    Attributes
    ----------
    head : Head
    theta : (chains, draws, p) array
        Independent draws (members of an ensemble, accepted prior draws) form one chain.
    stats : dict of str to (chains, draws) array
        The sampler's statistics of each draw, under the names of ArviZ where there are such:
        "acceptance_rate", "diverging", "n_steps"; "loss" is a mean training loss, and "energy"
        the negative log posterior, of NUTS the Hamiltonian.
    details : dict of str to object
        The sampler's record of the run as a whole; its docstring names the entries.

    Examples
    --------
    Two draws of a weight and a bias, and the probabilities they give to one input.

    >>> draws = Draws(LinearHead(1), np.array([[[1.0, 0.0], [2.0, -1.0]]]))
    >>> draws.sample_proba([[0.5]]).round(3).tolist()
    [[0.622], [0.5]]
    """

    head: Head
    theta: np.ndarray
    stats: dict[str, np.ndarray] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.theta.shape[0]

    @property
    def draws(self) -> int:
        """Number of draws in each chain."""
        return self.theta.shape[1]

    @property
    def flat(self) -> np.ndarray:
        """Parameters (chains · draws, p), chain by chain."""
        return self.theta.reshape(-1, self.theta.shape[-1])

    @property
    def parameters(self) -> Any:
        """Parameters by name or layer, each leaf (chains, draws, …)."""
        return self.head.parameters(self.theta)

    def log_odds(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds (chains, draws, n) of X (n, d).

        Raises
        ------
        ValueError
            If X is not a finite table of d columns.
        """
        found = self._all_log_odds(X)
        return found.reshape(*self.theta.shape[:2], found.shape[1])

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of the probability of 1, (chains · draws, n), chain by chain."""
        found = self._all_log_odds(X)
        return expit(found, out=found)

    def mean_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the mean probability of 1 over the draws, (n,).

        Rows are taken in blocks, so the memory needed does not grow with draws · n.
        """
        return self._reduced(X, _mean_proba)

    def mean_log_odds(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds (n,) of the mean probability over the draws, block by block."""
        return self._reduced(X, mean_log_odds)

    def diagnose(self, X: ArrayLike) -> Diagnostics:
        """Return R-hat and ESS of the log odds at X (n, d): its "parameters" are the n rows.

        Parameters of a network have no meaning of their own (units can be exchanged), so
        chains are compared where it matters, in what they predict.
        """
        return diagnose(self.log_odds(X), self.stats.get("diverging"), "log odds")

    def diagnose_parameters(self) -> Diagnostics:
        """Return R-hat and ESS of every parameter."""
        return diagnose(self.theta, self.stats.get("diverging"))

    def _all_log_odds(self, X: ArrayLike) -> np.ndarray:
        X = self.head.check(X)
        found = np.empty((len(self.flat), len(X)), np.result_type(self.theta.dtype, X.dtype))
        for rows in self._blocks(len(X)):
            found[:, rows] = self.head.log_odds(self.flat, X[rows])
        return found

    def _reduced(self, X: ArrayLike, reduce: Callable) -> np.ndarray:
        if not len(self.flat):
            raise ValueError("there are no draws, so they have no mean")
        X = self.head.check(X)
        found = np.empty(len(X))
        for rows in self._blocks(len(X), CACHED if self.head.units == 1 else NUMBERS):
            found[rows] = reduce(np.asarray(self.head.log_odds(self.flat, X[rows]), np.float64))
        return found

    def _blocks(self, n: int, numbers: int = NUMBERS) -> Iterator[slice]:
        size = max(1, numbers // max(1, len(self.flat), self.head.units))
        return (slice(begin, begin + size) for begin in range(0, n, size))


def mean_log_odds(log_odds: np.ndarray) -> np.ndarray:
    """Return the log odds (n,) of the mean probability over draws (draws, n) of log odds."""
    log_odds = np.asarray(log_odds, np.float64)
    least = log_odds.min(initial=0.0)
    steep = log_odds if least > -STEEPEST else np.maximum(log_odds, -STEEPEST)
    p, q = np.zeros((2, log_odds.shape[1]))
    for odds, other, ones in _probabilities(steep):
        p += ones @ other
        q += ones @ np.multiply(odds, other, out=odds)
    p, q = p / len(log_odds), q / len(log_odds)
    with np.errstate(divide="ignore"):
        found = np.log(p) - np.log(q)
    lost = np.minimum(p, q) < TINY
    if lost.any():
        some = log_odds[:, lost]
        log_p = logsumexp(-np.logaddexp(0.0, -some), axis=0)
        found[lost] = log_p - logsumexp(-np.logaddexp(0.0, some), axis=0)
    return found


def _mean_proba(log_odds: np.ndarray) -> np.ndarray:
    """The mean probability (n,) over draws (draws, n) of log odds."""
    return sum(ones @ p for _, p, ones in _probabilities(log_odds)) / len(log_odds)


def _probabilities(log_odds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the odds of 0, the probabilities of 1, and a one for each, of some draws at a time.

    All lie in memory that the next ones overwrite, so that they stay in the cache.
    """
    size = max(1, SCRATCH // max(1, log_odds.shape[1]))
    odds, p = np.empty((2, size, log_odds.shape[1]))
    ones = np.ones(size)
    for begin in range(0, len(log_odds), size):
        part = log_odds[begin : begin + size]
        e, f = odds[: len(part)], p[: len(part)]
        with np.errstate(over="ignore"):
            np.exp(np.negative(part, out=e), out=e)
        np.reciprocal(np.add(e, 1.0, out=f), out=f)
        yield e, f, ones[: len(part)]


def check_inputs(X: ArrayLike, features: int, dtype: type) -> np.ndarray:
    """Return X (n, features) as an array of `dtype`, or raise ValueError."""
    X = np.asarray(plain(X, "X"), dtype)
    if X.ndim != 2 or X.shape[1] != features:
        raise ValueError(f"X has shape {X.shape}; it needs (n, {features}), every entry finite")
    check_finite(X, "X")
    return X
