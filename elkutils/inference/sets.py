"""Posteriors over sets: by enumeration, by sequential Monte Carlo, and by importance weights.

A set S of d conditions *covers* a context if the context meets one of them. `SetTarget` is the
prior exp(−penalty · |S|) and the contexts; the data come in as *evidence* (n,), the log
likelihood gained where a context is covered. So log w(S) = log prior(S) + Σ evidence of the
covered contexts, and Z is the sum of w over all sets. `elkutils.inference.amortised` learns to
draw from the same targets.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from elkutils._inputs import check_finite, is_number, numbers
from elkutils.inference._checks import check_counts, check_memory

MOST_LISTED = 22  # conditions: four million sets


@dataclass(frozen=True, eq=False)
class SetTarget:
    """Which contexts a set covers, and its prior.

    Parameters
    ----------
    contexts : (n, d) array of 0 and 1
        Whether each context meets each condition.
    penalty : float
        The prior of a set is in proportion to exp(−penalty · |S|).

    Raises
    ------
    ValueError
        If an argument does not fit.

    Examples
    --------
    >>> target = SetTarget(np.eye(2), penalty=0.0)
    >>> np.exp(target.posterior(np.array([0.0, np.log(3)]))).round(3).tolist()
    [0.125, 0.125, 0.375, 0.375]
    """

    contexts: np.ndarray
    penalty: float = 1.0

    def __post_init__(self):
        contexts = numbers(self.contexts, "contexts")
        if contexts.ndim != 2 or 0 in contexts.shape or not np.isin(contexts, (0, 1)).all():
            raise ValueError(
                f"contexts has shape {contexts.shape}; it has to be (n, d), n and d ≥ 1, and "
                "hold 0 and 1"
            )
        if not (is_number(self.penalty) and np.isfinite(self.penalty)):
            raise ValueError(f"penalty is {self.penalty!r}; it has to be a finite number")
        object.__setattr__(self, "contexts", contexts.astype(np.float32))

    @property
    def d(self) -> int:
        """Number of conditions."""
        return self.contexts.shape[1]

    @property
    def log_none(self) -> float:
        """Log prior of the empty set."""
        return -self.d * float(np.log1p(np.exp(-self.penalty)))

    def all_sets(self) -> np.ndarray:
        """Return all sets, (2^d, d) float32 of 0 and 1: set i holds the bits of i.

        Raises
        ------
        ValueError
            For more than 22 conditions.
        """
        if self.d > MOST_LISTED:
            raise ValueError(
                f"contexts has {self.d} conditions; all sets of them are too many to list, "
                f"which has to be at most {MOST_LISTED}: draw them"
            )
        check_memory(4.0 * 2**self.d * (self.d + len(self.contexts)), "every set")
        return (np.arange(2**self.d)[:, None] >> np.arange(self.d) & 1).astype(np.float32)

    def covered(self, sets: np.ndarray) -> np.ndarray:
        """Return which contexts sets (..., d) cover, (..., n) float32 of 0 and 1."""
        return (np.asarray(sets, np.float32) @ self.contexts.T > 0).astype(np.float32)

    def log_weight(self, sets: np.ndarray, evidence: np.ndarray) -> np.ndarray:
        """Return log w of sets (..., d) given evidence (n,), in nats."""
        evidence = self.check(evidence)
        prior = self.log_none - self.penalty * np.sum(sets, axis=-1)
        return prior + self.covered(sets) @ evidence

    def posterior(self, evidence: np.ndarray) -> np.ndarray:
        """Return the log posterior of `all_sets`, (2^d,)."""
        found = self.log_weight(self.all_sets(), evidence)
        return found - logsumexp(found)

    def log_z(self, evidence: np.ndarray) -> float:
        """Return log Z by enumeration."""
        return float(logsumexp(self.log_weight(self.all_sets(), evidence)))

    def check(self, evidence: ArrayLike) -> np.ndarray:
        """Return evidence (..., n) in float64, or raise ValueError."""
        evidence = numbers(evidence, "evidence").astype(np.float64)
        if evidence.shape[-1:] != self.contexts.shape[:1]:
            raise ValueError(
                f"evidence has shape {evidence.shape}; its last axis has to be the "
                f"{len(self.contexts)} contexts"
            )
        check_finite(evidence, "evidence")
        return evidence


@dataclass(frozen=True, eq=False)
class WeightedSets:
    """N sets with weights, for each of B label sets.

    Attributes
    ----------
    sets : (B, N, d) array of 0 and 1
    log_weights : (B, N) array
        Log of w over the density that the sets were drawn from: their mean estimates Z. Of SMC
        the log of its estimate of Z plus that of N times the normalised weight.
    """

    sets: np.ndarray
    log_weights: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Normalised weights, (B, N)."""
        return np.exp(self.log_weights - logsumexp(self.log_weights, axis=1, keepdims=True))

    @property
    def log_z(self) -> np.ndarray:
        """Log of the estimate of Z, (B,)."""
        return logsumexp(self.log_weights, axis=1) - np.log(self.log_weights.shape[1])

    @property
    def ess(self) -> np.ndarray:
        """Effective sample size 1/Σw² as a share of N, (B,): blind to what was not drawn."""
        return 1 / (self.weights.shape[1] * (self.weights**2).sum(axis=1))

    @property
    def log_z_error(self) -> np.ndarray:
        """Standard error of `log_z` if the sets are independent draws, (B,): √((1/ess − 1)/N).

        For SMC it leaves out what was lost on the way.
        """
        return np.sqrt(np.maximum(1 / self.ess - 1, 0) / self.weights.shape[1])

    def harm(self, target: SetTarget) -> np.ndarray:
        """Return the estimate of P(context covered), (B, n)."""
        return np.einsum("bk,bkn->bn", self.weights, target.covered(self.sets))


def smc(
    target: SetTarget,
    evidence: ArrayLike,
    particles: int = 200,
    temperatures: int = 12,
    sweeps: int = 1,
    seed: int = 0,
) -> WeightedSets:
    """Draw sets by sequential Monte Carlo: temper from the prior, and sweep by Gibbs.

    The likelihood is raised to powers β = (i/K)², i = 0 … K. After each step particles are
    resampled where their ESS fell below a half, and every bit is drawn anew given the others
    (Del Moral, Doucet & Jasra 2006).

    Parameters
    ----------
    target : SetTarget
    evidence : (n,) or (B, n) array
        Of B label sets.
    particles, temperatures, sweeps : int
        At least 2, 1 and 1.
    seed : int

    Returns
    -------
    WeightedSets
    """
    check_counts(least=2, particles=particles)
    check_counts(temperatures=temperatures, sweeps=sweeps)
    evidence = np.atleast_2d(target.check(evidence))
    keys = jax.random.split(jax.random.key(seed), len(evidence))
    data = jnp.asarray(target.contexts), jnp.float32(target.penalty)
    sets, log_weights, log_z = _smc(
        keys, evidence.astype(np.float32), *data, particles, temperatures, sweeps
    )
    log_weights = np.asarray(log_weights, np.float64)
    log_weights = log_weights - logsumexp(log_weights, axis=1, keepdims=True)
    log_weights += np.log(particles) + np.asarray(log_z, np.float64)[:, None]
    return WeightedSets(np.asarray(sets, np.int8), log_weights)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _smc(keys, evidence, contexts, penalty, particles, temperatures, sweeps):
    d = contexts.shape[1]
    betas = (jnp.arange(temperatures + 1) / temperatures) ** 2

    def one(each):
        key, evidence = each
        key, first = jax.random.split(key)
        sets = jax.random.bernoulli(first, jax.nn.sigmoid(-penalty), (particles, d))
        sets = sets.astype(jnp.float32)

        def step(state, between):
            sets, log_w, log_z, key = state
            before, beta = between
            key, choose, move = jax.random.split(key, 3)
            gained = ((sets @ contexts.T) > 0) @ evidence * (beta - before)
            total = jax.nn.logsumexp(log_w)
            log_w = log_w + gained
            log_z = log_z + jax.nn.logsumexp(log_w) - total
            w = jax.nn.softmax(log_w)
            few = 1 / (w**2).sum() < 0.5 * particles
            spots = (jnp.arange(particles) + jax.random.uniform(choose)) / particles
            parents = jnp.clip(jnp.searchsorted(jnp.cumsum(w), spots), 0, particles - 1)
            sets = jnp.where(few, sets[parents], sets)
            log_w = jnp.where(few, 0.0, log_w)
            sets = _gibbs(move, sets, contexts, beta * evidence, penalty, sweeps)
            return (sets, log_w, log_z, key), None

        begun = sets, jnp.zeros(particles), 0.0, key
        state, _ = jax.lax.scan(step, begun, (betas[:-1], betas[1:]))
        return state[:3]

    return jax.lax.map(one, (keys, evidence))


def _gibbs(key, sets, contexts, evidence, penalty, sweeps):
    d = sets.shape[1]
    uniform = jax.random.uniform(key, (sweeps * d, len(sets)))

    def bit(i, state):
        sets, met = state  # met: how many conditions of the set each context meets
        j = i % d
        column = contexts[:, j]
        others = met - sets[:, j, None] * column
        gain = (others == 0) @ (column * evidence) - penalty
        fresh = (uniform[i] < jax.nn.sigmoid(gain)).astype(sets.dtype)
        return sets.at[:, j].set(fresh), others + fresh[:, None] * column

    return jax.lax.fori_loop(0, sweeps * d, bit, (sets, sets @ contexts.T))[0]
