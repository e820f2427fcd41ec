"""Trajectories of split Hamiltonian Monte Carlo: their randomness, their steps, blocks of them.

Under the Gaussian alone z and its momentum rotate. So a trajectory alternates exact rotations
with kicks by ∇R, which is small (Shahbaba, Lan, Johnson & Neal 2014, *Split Hamiltonian Monte
Carlo*). To first order in R its error is that of a quadrature of ∇R along the turn. The kicks
are therefore at Lobatto's nodes with Lobatto's weights (Laskar & Robutel 2001, *High order
symplectic integrators for perturbed Hamiltonian systems*, SBAB), and two or three gradients
make a quarter turn, after which a draw is almost independent of the last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.polynomial import legendre

from elkutils.inference.logistic.variational import Target, replicated

QUARTER = np.pi / 2
JITTER = 0.25  # of the trajectory's angle, so that no chain closes an orbit
BLOCK = 32  # draws per call of the compiled program: how often progress shows
MOST_STEPS = 32


class Chains(NamedTuple):
    """The positions of the chains, with R and its slope there."""

    z: jax.Array  # (p, chains)
    remainder: jax.Array  # R(z), (chains,) float64
    slope: jax.Array  # ∇R(z), (p, chains)


@dataclass(frozen=True)
class Pilot:
    """A trial of one number of steps.

    Attributes
    ----------
    steps : int
        Gradients per trajectory.
    acceptance : float
        Mean Metropolis acceptance.
    """

    steps: int
    acceptance: float

    @property
    def efficiency(self) -> float:
        """Effective draws per gradient to expect of the worst coefficient.

        a/(2 − a)/steps, where a is the *square* of the acceptance: after a quarter turn a draw
        is fresh if accepted, and otherwise repeats the one before; in the tails, where
        effective sample sizes are worst, fewer are accepted.
        """
        fresh = self.acceptance**2
        return fresh / (2 - fresh) / self.steps


class Noise(NamedTuple):
    """The randomness of draws, from NumPy, so that it is the same on every device."""

    momentum: np.ndarray  # (draws, p, chains) float32
    turn: np.ndarray  # (draws, chains) angle of the trajectory over a quarter turn
    luck: np.ndarray  # (draws, chains) uniform, to accept by

    @classmethod
    def of(cls, seed: int, block: int, shape: tuple[int, int, int]) -> "Noise":
        """Return the noise of block number `block`, which depends on nothing drawn before."""
        rng = np.random.default_rng((seed, block))
        momentum = rng.standard_normal(shape, dtype=np.float32)
        each = shape[0], shape[2]
        return cls(momentum, rng.uniform(1 - JITTER, 1 + JITTER, each), rng.random(each))


class Turn(NamedTuple):
    """The randomness of one draw as a trajectory uses it: rotations, and kicks between them."""

    momentum: jax.Array  # (p, chains)
    cos: jax.Array  # (MOST_STEPS, chains)
    sin: jax.Array  # (MOST_STEPS, chains)
    kick: jax.Array  # (MOST_STEPS + 1, chains)
    luck: jax.Array  # (chains,)


def turns(noise: Noise, steps: int) -> Turn:
    """Return the trajectories of `noise` in `steps` rotations."""
    nodes, weights = lobatto(steps)
    parts, kicks = np.zeros(MOST_STEPS), np.zeros(MOST_STEPS + 1)
    parts[:steps], kicks[: steps + 1] = np.diff(nodes), weights
    angle = (QUARTER * noise.turn).astype(np.float32)[:, None]
    part = angle * parts.astype(np.float32)[:, None]
    kick = angle * kicks.astype(np.float32)[:, None]
    return Turn(noise.momentum, np.cos(part), np.sin(part), kick, noise.luck)


@lru_cache
def lobatto(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Lobatto's nodes and weights (steps + 1,) on [0, 1].

    They are exact for polynomials up to degree 2·steps − 1.

    Examples
    --------
    >>> nodes, weights = lobatto(2)
    >>> nodes.round(3).tolist(), weights.round(3).tolist()
    ([0.0, 0.5, 1.0], [0.167, 0.667, 0.167])
    """
    last = np.eye(steps + 1)[steps]
    inner = np.sort(legendre.legroots(legendre.legder(last)).real)
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    weights = 2 / (steps * (steps + 1) * legendre.legval(nodes, last) ** 2)
    return (nodes + 1) / 2, weights / 2


def transition(
    turn: Turn,
    chains: Chains,
    target: Callable,
    steps: int | jax.Array,
    loop: Callable = jax.lax.fori_loop,
) -> tuple[Chains, jax.Array]:
    """Move every chain along one trajectory; return the chains and their acceptance."""
    momentum, cos, sin, kick, luck = turn
    z = chains.z

    def step(i, state):
        (z, _, _), momentum = state
        z, momentum = cos[i] * z + sin[i] * momentum, cos[i] * momentum - sin[i] * z
        value, slope = target(z)
        return Chains(z, value, slope), momentum - kick[i + 1] * slope

    kicked = momentum - kick[0] * chains.slope
    proposed, final = loop(0, steps, step, (chains, kicked))
    change = proposed.z**2 + final**2 - z**2 - momentum**2
    lost = proposed.remainder - chains.remainder
    lost += 0.5 * jnp.sum(change, axis=0, dtype=jnp.float64)
    acceptance = jnp.nan_to_num(jnp.minimum(1.0, jnp.exp(-lost)))
    accepted = luck < acceptance
    after = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, chains)
    return after, acceptance


def advance(
    z: jax.Array,
    turn: Turn,
    target: Target,
    steps: int | jax.Array,
    length: int | jax.Array,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array]:
    """Take `length` draws on from z (p, chains); `turn` and the traces hold BLOCK or more.

    Returns
    -------
    z, (draws, acceptance, energy), R at the start
        The first `length` rows of the traces are filled.
    """

    def body(i, carry):
        chains, trace = carry
        chains, acceptance = transition(
            jax.tree.map(lambda part: part[i], turn), chains, target, steps
        )
        row = replicated((chains.z, acceptance, energy(chains)), mesh)
        return chains, jax.tree.map(lambda t, r: t.at[i].set(r), trace, row)

    if mesh is not None:
        split = NamedSharding(mesh, PartitionSpec(None, "chains"))
        z = jax.lax.with_sharding_constraint(z, split)
    first = chains = Chains(z, *target(z))
    empty = [jnp.zeros_like(turn.momentum)] + 2 * [jnp.zeros(turn.luck.shape)]
    chains, trace = jax.lax.fori_loop(0, length, body, (chains, tuple(empty)))
    return replicated(chains.z, mesh), trace, replicated(first.remainder, mesh)


compiled_advance = jax.jit(advance, static_argnames="mesh")


def energy(chains: Chains) -> jax.Array:
    """Return the negative log posterior up to a constant, (chains,)."""
    return chains.remainder + 0.5 * jnp.sum(chains.z**2, axis=0, dtype=jnp.float64)


def python_loop(low: int, high: int, body: Callable, state: Any) -> Any:
    """Run `fori_loop` in Python, for a body that reads files."""
    for i in range(low, high):
        state = body(i, state)
    return state
