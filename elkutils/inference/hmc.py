"""Many chains of Hamiltonian Monte Carlo on the logistic posterior, split about a Gaussian.

With θ = m + Sz, N(m, SSᵀ) the Gaussian of `variational`, the posterior of z is exactly

    N(z; 0, I) · exp(−R(z)),  R(z) = c·z + Σᵢ rᵢ(Δᵢ),  Δ = A S z,

A the design and rᵢ what the i-th loss leaves over after its expansion p̄ᵢΔᵢ + w̄ᵢΔᵢ²/2. The
prior has cancelled, so float32 is enough. Under the Gaussian alone z and its momentum rotate;
so a trajectory alternates exact rotations with kicks by ∇R, which is small (Shahbaba, Lan,
Johnson & Neal 2014, *Split Hamiltonian Monte Carlo*), and a quarter turn gives a nearly fresh
draw after very few gradients. All chains move together: a gradient is two matrix products.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy.stats import norm
from tqdm import tqdm

from elkutils.inference import rows, variational
from elkutils.inference.rows import Stream
from elkutils.inference.variational import Fit, NotSettled, Target, replicated

QUARTER = np.pi / 2
JITTER = 0.25  # of the trajectory's angle, so that no chain closes an orbit
BLOCK = 32  # draws a call of the compiled program: how often progress shows
PILOT = 4  # draws of every chain for each candidate
MOST_STEPS = 64
LEAST_ACCEPTANCE = 0.4
SAMPLE = 16  # rows a parameter of the sample that the fit of many rows starts from
ROUNDING = 1e-3  # pivot below which float32 might change a variance by a thousandth


class Chains(NamedTuple):
    """Where the chains are."""

    z: jax.Array  # (chains, p)
    remainder: jax.Array  # R(z), (chains,) float64
    slope: jax.Array  # ∇R(z), (chains, p)


@dataclass(frozen=True)
class Pilot:
    """A trial of one number of steps.

    Attributes
    ----------
    steps : int
        Gradients a trajectory.
    acceptance : float
        Mean Metropolis acceptance.
    efficiency : float
        Effective draws a gradient to expect of the worst coefficient, a/(2 − a)/steps with a
        the *square* of the acceptance: after a quarter turn a draw is fresh if accepted, and
        otherwise the one before; where effective sizes are worst, out in the tails, fewer are.
    """

    steps: int
    acceptance: float

    @property
    def efficiency(self) -> float:
        fresh = self.acceptance**2
        return fresh / (2 - fresh) / self.steps


@dataclass(frozen=True)
class Draws:
    """Draws of θ = (coordinates of w, b), and how they were made.

    Attributes
    ----------
    theta : (chains, draws, p) float64 array
    acceptance_rate, energy : (chains, draws) arrays
        Metropolis acceptance, and the negative log posterior up to a constant.
    steps : int
        Gradients a draw, of every chain, as the pilots chose.
    pilots : list of Pilot
    discarded : int
        Draws of every chain before the first kept, those of the pilots included.
    fit : Fit
    seconds : dict of float
        Wall-clock time of the fit, the pilots and the draws, compilation included.
    """

    theta: np.ndarray
    acceptance_rate: np.ndarray
    energy: np.ndarray
    steps: int
    pilots: list[Pilot]
    discarded: int
    fit: Fit
    seconds: dict[str, float]

    @property
    def stats(self) -> dict[str, np.ndarray]:
        """What is known of each draw, (chains, draws), under ArviZ's names."""
        steps = np.full(self.energy.shape, self.steps)
        return {
            "acceptance_rate": self.acceptance_rate,
            "energy": self.energy,
            "n_steps": steps,
        }


def sample(
    X: np.ndarray,
    y: np.ndarray,
    precision: np.ndarray,
    draws: int,
    chains: int = 32,
    seed: int = 0,
    memory: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
) -> Draws:
    """Draw from the posterior of logistic regression on X (n, k) and y (n,).

    Parameters
    ----------
    X : (n, k) array
        With `memory`, anything that gives rows when sliced, a memory map for one.
    y : (n,) array of 0 and 1
    precision : (k + 1,) array
        The prior's, of each weight and the bias; 0 for a flat bias.
    draws, chains : int
        Draws kept of each chain.
    seed : int
    memory : int or None
        Bytes for rows: if they do not fit they are read in blocks, in each pass anew.
    mesh : jax.sharding.Mesh or None
        Axes "rows" and "chains": how to share both among devices.
    progress : bool

    Raises
    ------
    NotSettled
        Where the posterior is too far from any Gaussian: separable data under a loose prior.
    """
    with rows.exactly():
        begun = time.perf_counter()
        found = fit(X, y, precision, memory, mesh)
        target = Target.of(found)
        fitted = time.perf_counter()
        sampler = Sampler.start(target, chains, seed, mesh)
        steps, pilots = sampler.choose_steps()
        discarded = sampler.forget(steps, pilots)
        piloted = time.perf_counter()
        z, acceptance, energy = sampler.run(steps, draws, progress)
        theta = found.mean + z @ found.spread.T
    return Draws(
        theta=theta,
        acceptance_rate=acceptance,
        energy=energy,
        steps=steps,
        pilots=pilots,
        discarded=discarded,
        fit=found,
        seconds={
            "fit": fitted - begun,
            "pilots": piloted - fitted,
            "draws": time.perf_counter() - piloted,
        },
    )


@rows.exactly()
def fit(
    X,
    y,
    precision,
    memory: int | None = None,
    mesh: Mesh | None = None,
    tolerance: float = 0.5,
) -> Fit:
    """Return the variational Gaussian, found in float32 if that is enough and float64 if not.

    With many more rows than parameters it is first found on an even sample of the rows, from
    where all of them take a pass or two. Parameters and errors are those of `sample`, and
    the tolerance that of `variational.fit`.
    """
    (n, k), share = X.shape, (np.sum(y) + 0.5) / (len(y) + 1)
    precision, start = np.asarray(precision, np.float64), None
    every = n // (SAMPLE * (k + 1))
    if every >= 4:
        part = rows.in_memory(X[::every], y[::every], np.float32)
        found = variational.fit(part, precision, share)
        prior = np.diag(precision)
        start = found.mean, every * (found.factor @ found.factor.T - prior) + prior
    if memory is not None and 12 * n * (k + 1) > memory:
        stream = Stream(X, y, max(1, memory // (16 * (k + 1))))
        return variational.fit(stream, precision, share, tolerance, start=start)
    try:
        blocks = rows.in_memory(X, y, np.float32, mesh)
        found = variational.fit(blocks, precision, share, tolerance, start=start, mesh=mesh)
        if found.pivot > ROUNDING:
            return found
    except NotSettled:
        pass
    blocks = rows.in_memory(X, y, np.float64, mesh)
    return variational.fit(blocks, precision, share, tolerance, start=start, mesh=mesh)


def best_steps(pilot: Pilot) -> int:
    """The number of steps of which `pilot` lets one expect the greatest efficiency."""
    error = -2 * norm.ppf(np.clip(pilot.acceptance, 1e-4, 1 - 1e-4) / 2) * pilot.steps**2
    steps = np.arange(1, MOST_STEPS + 1)
    return max(
        (Pilot(int(k), 2 * norm.cdf(-error / k**2 / 2)) for k in steps),
        key=lambda p: p.efficiency,
    ).steps


class Noise(NamedTuple):
    """The randomness of draws: made by NumPy, so that it is the same on every device."""

    momentum: np.ndarray  # (draws, chains, p) float32
    turn: np.ndarray  # (draws, chains) angle of the trajectory over a quarter turn
    luck: np.ndarray  # (draws, chains) uniform, to accept by

    @classmethod
    def of(cls, seed: int, block: int, shape: tuple[int, int, int]) -> "Noise":
        """The noise of block number `block`: it depends on nothing drawn before."""
        rng = np.random.default_rng((seed, block))
        momentum = rng.standard_normal(shape, dtype=np.float32)
        turn = rng.uniform(1 - JITTER, 1 + JITTER, shape[:2])
        return cls(momentum, turn, rng.random(shape[:2]))


class Turn(NamedTuple):
    """One draw's randomness as a trajectory uses it: cos, sin and kick are (chains, 1)."""

    momentum: jax.Array
    cos: jax.Array
    sin: jax.Array
    kick: jax.Array
    luck: jax.Array


def turns(noise: Noise, steps: int) -> Turn:
    """Rotations by the `steps`-th part of each angle, and kicks to match."""
    angle = (QUARTER / steps * noise.turn).astype(np.float32)[..., None]
    return Turn(noise.momentum, np.cos(angle), np.sin(angle), np.tan(angle / 2), noise.luck)


def transition(turn: Turn, chains: Chains, target: Callable, steps, loop=jax.lax.fori_loop):
    """Move every chain along one trajectory; return the chains and their acceptance.

    A kick of tan(h/2) before and after a rotation by h makes the integrator exact where R is
    linear: the centre of the rotation moves, and nothing else.
    """
    momentum, cos, sin, kick, luck = turn
    z = chains.z

    def step(_, state):
        (z, _, slope), momentum = state
        momentum = momentum - kick * slope
        z, momentum = cos * z + sin * momentum, cos * momentum - sin * z
        value, slope = target(z)
        return Chains(z, value, slope), momentum - kick * slope

    proposed, final = loop(0, steps, step, (chains, momentum))
    change = proposed.z**2 + final**2 - z**2 - momentum**2
    lost = proposed.remainder - chains.remainder
    lost += 0.5 * jnp.sum(change, axis=1, dtype=jnp.float64)
    acceptance = jnp.nan_to_num(jnp.minimum(1.0, jnp.exp(-lost)))
    accepted = luck < acceptance
    after = jax.tree.map(
        lambda new, old: jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old),
        proposed,
        chains,
    )
    return after, acceptance


def advance(z, turn: Turn, target: Target, steps, length, mesh: Mesh | None = None):
    """Take `length` draws from z (chains, p) on; `turn` and the traces hold BLOCK or more.

    Returns
    -------
    z, (draws, acceptance, energy)
        Of the traces the first `length` rows are filled.
    """

    def body(i, carry):
        chains, trace = carry
        chains, acceptance = transition(
            jax.tree.map(lambda part: part[i], turn), chains, target, steps
        )
        row = replicated((chains.z, acceptance, energy(chains)), mesh)
        return chains, jax.tree.map(lambda t, r: t.at[i].set(r), trace, row)

    if mesh is not None:
        z = jax.lax.with_sharding_constraint(z, NamedSharding(mesh, PartitionSpec("chains")))
    chains = Chains(z, *target(z))
    empty = [jnp.zeros_like(turn.momentum)] + 2 * [jnp.zeros(turn.luck.shape)]
    chains, trace = jax.lax.fori_loop(0, length, body, (chains, tuple(empty)))
    return replicated(chains.z, mesh), trace


compiled_advance = jax.jit(advance, static_argnames="mesh")


def energy(chains: Chains) -> jax.Array:
    """Negative log posterior up to a constant, (chains,)."""
    return chains.remainder + 0.5 * jnp.sum(chains.z**2, axis=1, dtype=jnp.float64)


@dataclass
class Sampler:
    """Chains on a target, and how many blocks of draws they have taken."""

    target: Target
    z: np.ndarray
    seed: int
    mesh: Mesh | None
    block: int = 0

    @classmethod
    def start(cls, target: Target, chains: int, seed: int, mesh: Mesh | None = None):
        """Start `chains` chains at draws from the Gaussian."""
        shape = chains, len(target.tilt)
        z = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return cls(target, z, seed, mesh)

    def advance(self, steps: int, length: int) -> list[np.ndarray]:
        """Take `length` ≤ BLOCK draws; return z, acceptance and energy, (length, chains, …)."""
        noise = Noise.of(self.seed, self.block, (BLOCK, *self.z.shape))
        self.block += 1
        turn = turns(noise, steps)
        if self.target.spread is None:
            self.z, trace = compiled_advance(
                self.z, turn, self.target, steps, length, mesh=self.mesh
            )
            return [np.asarray(part)[:length] for part in trace]
        found = []
        chains = Chains(self.z, *self.target(self.z))
        for i in range(length):
            chains, acceptance = transition(
                jax.tree.map(lambda part, i=i: part[i], turn), chains, self.target, steps, _loop
            )
            found.append((chains.z, acceptance, energy(chains)))
        self.z = chains.z
        return [np.stack(part) for part in zip(*found, strict=True)]

    def choose_steps(self) -> tuple[int, list[Pilot]]:
        """Return the most efficient number of gradients a trajectory, and the pilots it took.

        The error in energy of a trajectory is about normal with a standard deviation s that
        falls like steps⁻², and its acceptance is 2Φ(−s/2) (Beskos et al. 2013). So one pilot
        predicts all others; the best predicted is tried, until it is one that has been.
        """
        pilots: dict[int, Pilot] = {}
        steps = 2
        while steps not in pilots:
            _, acceptance, _ = self.advance(steps, PILOT)
            pilots[steps] = Pilot(steps, float(acceptance.mean()))
            steps = best_steps(pilots[steps])
        if pilots[steps].acceptance < LEAST_ACCEPTANCE:
            raise NotSettled(f"{pilots[steps]}: the posterior is too far from its Gaussian")
        return steps, list(pilots.values())

    def forget(self, steps: int, pilots: list[Pilot]) -> int:
        """Draw until the start has a weight of 1% in what the chains are; return how often."""
        rejected = 1 - next(pilot.acceptance for pilot in pilots if pilot.steps == steps)
        needed = int(np.ceil(np.log(0.01) / np.log(np.clip(rejected, 1e-6, 0.99))))
        for done in range(0, needed, BLOCK):
            self.advance(steps, min(BLOCK, needed - done))
        return needed + PILOT * len(pilots)

    def run(self, steps: int, draws: int, progress: bool):
        """Take `draws` draws; return z, acceptance and energy, (chains, draws, …)."""
        trace = []
        with tqdm(total=draws, disable=not progress, desc="HMC", unit="draw") as bar:
            for done in range(0, draws, BLOCK):
                trace.append(self.advance(steps, min(BLOCK, draws - done)))
                bar.update(len(trace[-1][0]))
        return [np.concatenate(part).swapaxes(0, 1) for part in zip(*trace, strict=True)]


def _loop(low: int, high: int, body: Callable, state):
    """`fori_loop` as Python runs it, for a body that reads files."""
    for i in range(low, high):
        state = body(i, state)
    return state
