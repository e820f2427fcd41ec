"""Stochastic-gradient MCMC for the parameters of a small network: SGHMC and SGLD.

Chains move in z = θ/s, where s are the prior's standard deviations, towards exp(−U(z)/T) with
U(z) = ½‖z‖² + Σᵢ ℓᵢ(z), T the temperature and ℓᵢ minus the log likelihood of row i. No step is
accepted or rejected, so moments carry a bias, which is known here:

- **SGHMC** (Chen, Fox & Guestrin 2014, *Stochastic gradient Hamiltonian Monte Carlo*) is split
  as Leimkuhler & Matthews (2013, *Rational construction of stochastic numerical methods for
  molecular sampling*, "BAOAB") split Langevin dynamics, with the drift and the prior's force
  together an exact rotation, as in `smc`. A step of length h kicks the momentum by
  −2 tan(h/2)·Σ∇ℓᵢ, rotates by h/2, refreshes the momentum, and rotates by h/2. With all rows
  the draws of a normal posterior have exactly its mean and T times its covariance *at every
  stable step*, preconditioned or not; in general the bias is of order h².
- **SGLD** (Welling & Teh 2011, *Bayesian learning via stochastic gradient Langevin dynamics*)
  moves by −h∇U + √(2hT)·noise. With all rows, a direction of precision λ has the variance
  T/(λ(1 − hλ/2)) instead of T/λ.

A batch of b of the n rows leaves the mean of a normal posterior as it is and adds variance.
If V is the covariance of the estimated gradient in a direction, the temperature there rises by
about hV/(2·friction) under SGHMC, and by hV/2 under SGLD. V grows as n²/b: small batches need
small steps, or all rows. At temperature 0 this noise is all that is left.

Own code, since the libraries at hand do less: BlackJAX 1.7.1's SGHMC has variance 1.15 on
N(0, 1) and hardly answers to temperature, and both of its methods leave the scaling by n/b to
the caller. Here the functions take all rows and form the estimate themselves.
"""

import math
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils.checkpoint import Checkpoint
from elkutils.inference._checks import check_choice, check_counts, check_scale
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import FlatNetwork, Network, flat
from elkutils.inference.networks.training import Loss, check_targets, cross_entropy

METHODS = ("sghmc", "sgld")
SHARES = {"sghmc": 0.5, "sgld": 0.05}  # of the largest stable step: the default
HOT = 1.1  # times the temperature: kinetic temperatures above it are worth a warning
LEAST_SHARE = 0.1  # of the first step of a cycle, at its end
BLOCK = 20  # rounds per call of the compiled program: how often progress shows
NUMBERS = 2**25  # of draws that the program returns at once: bounds the memory
CURVED = 4  # chains at which the curvature is measured
ITERATIONS = 20  # of the power method


def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 100,
    chains: int = 4,
    steps: int = 32,
    *,
    method: str = "sghmc",
    step_size: float | None = None,
    batch: int | None = None,
    temperature: float = 1.0,
    friction: float = 1.0,
    cycles: int | None = None,
    precondition: bool = False,
    loss: Loss = cross_entropy,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Draws:
    """Draw from the posterior of a network's parameters by steps that are never rejected.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array
        Labels 0 and 1, or what `loss` takes; without rows the posterior is the prior.
    draws, warmup, chains : int
        Draws kept in each chain, rounds before the first, and chains. Chains start at draws of
        the prior. The draws take 4·chains·draws·p bytes, p being the number of parameters.
    steps : int
        Gradients in a round, from one draw to the next.
    method : "sghmc" or "sgld"
    step_size : float or None
        h, in prior standard deviations: for SGHMC an angle in radians, for SGLD the factor of
        the gradient. None for half (SGHMC) or a twentieth (SGLD) of the largest stable
        step, by the curvature where chains start and again in the middle of the warm-up, with
        no row taken to be more certain than at log odds 0; with batches, that over n/b − 1,
        where this is above 1.
    batch : int or None
        Rows per gradient, for each chain its own; None for all. Rows are shuffled, and in a
        round none is used again before n // batch batches have been.
    temperature : float
        T ≥ 0 of exp(−U/T), which scales the prior too: 1 is the posterior, and 0 leaves no
        noise but that of batches.
    friction : float
        Of SGHMC, per unit of h.
    cycles : int or None
        Let the step fall as a cosine in each of so many cycles, from h to h/10, and keep the
        second half of each: large steps explore, small ones have little bias (Zhang et al.
        2020, *Cyclical stochastic gradient MCMC*, eq. 1; there the step falls to 0).
        This doubles the rounds after warm-up. `draws` has to be a multiple of `cycles`.
    precondition : bool
        Divide the step of each parameter by √(1 + its curvature), the diagonal of the
        Gauss–Newton matrix in the middle of the warm-up. It then stays fixed, so that the
        posterior is left as it is (no correction is needed, unlike in Li et al. 2016,
        *Preconditioned stochastic gradient Langevin dynamics*).
    loss : callable
        Minus the log likelihood of a row, up to a constant, as a function of output and target;
        see `training.cross_entropy` and `training.Squared`.
    seed : int
    checkpoint : path or None
        A safetensors file that is kept while chains run. A call with the same arguments that
        finds one continues from there, to the same draws; at the end the file is removed.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Draws
        Statistics "n_steps", gradients since the draw before, and for SGHMC
        "kinetic_temperature", the mean square of the momentum in the middle of the last step:
        where it exceeds T, batches are too small or steps too long. Details: "step_size";
        "largest_stable_step", an estimate; "scales", the factors of the step of each parameter;
        "seconds", including compilation and warm-up.

    Raises
    ------
    ValueError
        For bad data or arguments out of range, or a checkpoint that is damaged or of a call
        with other arguments.
    ArithmeticError
        If a chain runs away, with the largest stable step.
    MemoryError
        If the draws cannot fit into the memory that is available.

    Warns
    -----
    RuntimeWarning
        If `step_size` is beyond the largest stable one, or the kinetic temperature of SGHMC
        more than a tenth above what was asked for.
    """
    begun = time.perf_counter()
    X, y = check_targets(X, y, loss, network)
    settings = draws, warmup, chains, steps, method, step_size, batch, temperature, friction
    plan = _Plan(*settings, cycles, precondition, seed)
    with single(), jax.default_matmul_precision("highest"):
        run = _Chains(flat(network, X.shape[1]), X, y, loss, plan)
        kept = None
        if checkpoint is not None:
            named = getattr(loss, "__name__", loss)
            kept = Checkpoint.of(checkpoint, X, (y,), network, plan, named)
            kept.resume(run)
        run.finish(kept, progress)
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    return run.drawn(time.perf_counter() - begun)


@dataclass(frozen=True)
class _Plan:
    """The arguments of `sample` that are numbers and choices."""

    draws: int
    warmup: int
    chains: int
    steps: int
    method: str
    step_size: float | None
    batch: int | None
    temperature: float
    friction: float
    cycles: int | None
    precondition: bool
    seed: int

    def __post_init__(self):
        check_choice("method", self.method, METHODS)
        counts = ("draws", "warmup", "chains", "steps", "batch", "cycles")
        optional = ("batch", "cycles")
        given = {name: getattr(self, name) for name in counts}
        check_counts(**{k: v for k, v in given.items() if not (k in optional and v is None)})
        check_counts(least=0, seed=self.seed)
        check_scale("friction", self.friction)
        if self.step_size is not None:
            check_scale("step_size", self.step_size)
        number = np.isscalar(self.temperature) and not isinstance(self.temperature, str)
        if not (number and 0 <= self.temperature < np.inf):
            raise ValueError(
                f"temperature is {self.temperature!r}; it has to be finite and ≥ 0"
            )
        if self.cycles is not None and self.draws % self.cycles:
            raise ValueError(
                f"cycles is {self.cycles} and draws {self.draws}; each cycle keeps as many"
                " draws: draws has to be a multiple"
            )

    @property
    def rounds(self) -> int:
        """Rounds in all."""
        return self.warmup + self.draws * (1 if self.cycles is None else 2)

    def keeps(self, number: int) -> bool:
        """Whether a draw is kept at the end of round `number`."""
        if number < self.warmup or self.cycles is None:
            return number >= self.warmup
        half = self.draws // self.cycles
        return (number - self.warmup) % (2 * half) >= half

    def shares(self, number: int) -> np.ndarray:
        """The steps of round `number` as shares of the step size, (steps,)."""
        if number < self.warmup or self.cycles is None:
            return np.ones(self.steps, np.float32)
        length = 2 * self.draws // self.cycles * self.steps
        done = ((number - self.warmup) * self.steps + np.arange(self.steps)) % length
        cosine = 0.5 + 0.5 * np.cos(np.pi * done / length)
        return np.float32(LEAST_SHARE + (1 - LEAST_SHARE) * cosine)

    def rows(self, number: int, n: int) -> np.ndarray | None:
        """The rows of each gradient of round `number`, (steps, chains, batch); None for all."""
        if self.batch is None or self.batch >= n:
            return None
        each = n // self.batch  # batches until rows are used again
        times = self.chains * -(-self.steps // each)
        rng = np.random.default_rng((self.seed, 1, number))
        order = rng.permuted(np.tile(np.arange(n, dtype=np.int32), (times, 1)), axis=1)
        order = order[:, : each * self.batch].reshape(self.chains, -1, self.batch)
        return order[:, : self.steps].swapaxes(0, 1)

    @property
    def ends(self) -> list[int]:
        """Rounds before which the step is set, and the last: no block goes across them."""
        return [0, self.warmup // 2, self.rounds]


class _Chains:
    """Chains on their way: see `checkpoint.Resumable`."""

    def __init__(self, head: FlatNetwork, X, y, loss: Loss, plan: _Plan):
        head.check_memory(plan.draws * plan.chains)
        self.head, self.plan = head, plan
        self.data = jnp.asarray(X), jnp.asarray(y)
        self.program = _programs(head, loss, plan.method)
        rng = np.random.default_rng((plan.seed, 0))
        start = rng.standard_normal((2, plan.chains, head.size), dtype=np.float32)
        self.z, self.momentum = start[0], np.float32(np.sqrt(plan.temperature)) * start[1]
        self.scales = np.ones((), np.float32)
        self.step_size, self.limit, self.round = np.nan, np.nan, 0
        self.kept, self.heat = [], []

    def finish(self, kept: Checkpoint | None, progress: bool) -> None:
        plan = self.plan
        room = max(1, min(BLOCK, NUMBERS // (plan.chains * self.head.size)))
        with tqdm(
            total=plan.rounds,
            initial=self.round,
            disable=not progress,
            desc=plan.method,
            unit="round",
        ) as bar:
            while self.round < plan.rounds:
                if self.round in plan.ends:
                    self.adapt()
                end = next(end for end in plan.ends if end > self.round)
                length = min(room, end - self.round)
                self.advance(length, room)
                if kept is not None:
                    kept.save(self)
                bar.update(length)
                bar.set_postfix(step=f"{self.step_size:.3g}")

    def adapt(self) -> None:
        """Set the preconditioner and the step by the curvature where the chains are."""
        _, curvature, diagonal = self.program
        plan, some = self.plan, jnp.asarray(self.z[:CURVED])
        if plan.precondition and self.round == plan.warmup // 2:
            self.scales = 1 / np.sqrt(1 + np.asarray(diagonal(some, self.data)))
        white = np.random.default_rng(0).standard_normal(self.head.size).astype(np.float32)
        most = float(np.max(curvature(some, self.scales, white, self.data)))
        if not most < np.inf:
            raise ArithmeticError(
                f"the curvature of the posterior is {most} where chains are after"
                f" {self.round} rounds; rescale X, as by z-scoring, or take a smaller step_size"
            )
        self.limit = 2 / (most if plan.method == "sgld" else math.sqrt(most))
        others = 1.0 if plan.batch is None else len(self.data[0]) / plan.batch - 1
        usual = SHARES[plan.method] * self.limit / max(1.0, others)
        self.step_size = float(plan.step_size or usual)
        if self.step_size > self.limit:
            warnings.warn(
                f"step_size is {self.step_size:.3g}, beyond {self.limit:.3g}, the largest that"
                f" is stable where chains are after {self.round} rounds; the draws are wrong",
                RuntimeWarning,
                stacklevel=4,
            )

    def advance(self, length: int, room: int) -> None:
        """Run `length` rounds in a program for `room` of them."""
        plan, n = self.plan, len(self.data[0])
        numbers = range(self.round, self.round + length)
        turns = np.zeros((room, plan.steps), np.float32)
        turns[:length] = [self.step_size * plan.shares(number) for number in numbers]
        rows = [plan.rows(number, n) for number in numbers]
        if rows[0] is None:
            rows = None
        else:
            rows = np.stack(rows + [np.zeros_like(rows[0])] * (room - length))
        constants = np.float32(plan.temperature), np.float32(plan.friction), self.scales
        key = jax.random.fold_in(jax.random.key(plan.seed), self.round)
        state, (z, heat) = self.program[0](
            (self.z, self.momentum), key, turns, rows, constants, self.data, np.int32(length)
        )
        self.z, self.momentum = map(np.asarray, state)
        if not np.isfinite(self.z).all():
            raise ArithmeticError(
                f"chains ran away in rounds {numbers[0] + 1} to {numbers[-1] + 1}: step_size is"
                f" {self.step_size:.3g}, and the largest stable one about {self.limit:.3g}"
            )
        chosen = [i for i, number in enumerate(numbers) if plan.keeps(number)]
        self.kept.extend(np.asarray(z)[chosen])
        self.heat.extend(np.asarray(heat)[chosen])
        self.round += length

    def drawn(self, seconds: float) -> Draws:
        z = np.stack(self.kept, axis=1)
        z *= self.head.scales
        heat = np.stack(self.heat, axis=1)
        stats = {"n_steps": np.full(heat.shape, self.plan.steps)}
        if self.plan.method == "sghmc":
            stats["kinetic_temperature"] = heat
            self.check_heat(heat)
        details = {
            "step_size": self.step_size,
            "largest_stable_step": self.limit,
            "scales": np.broadcast_to(self.scales, (self.head.size,)),
            "seconds": seconds,
        }
        return Draws(self.head, z, stats, details)

    def check_heat(self, heat: np.ndarray) -> None:
        """Warn where the momentum is hotter than it should be, beyond what chance explains."""
        hot, asked = float(heat.mean()), self.plan.temperature
        error = 4 * asked * math.sqrt(2 / (heat.size * self.head.size))
        if asked and hot > HOT * asked + error:
            warnings.warn(
                f"the kinetic temperature is {hot:.3g} instead of {asked}: the noise of batches"
                f" or the step, {self.step_size:.3g}, is too large, and so are the variances",
                RuntimeWarning,
                stacklevel=4,
            )

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        arrays = {name: getattr(self, name) for name in ("z", "momentum", "scales")}
        arrays["kept"] = np.reshape(self.kept, (-1, *self.z.shape)).astype(np.float32)
        arrays["heat"] = np.reshape(self.heat, (-1, self.plan.chains)).astype(np.float32)
        about = {name: getattr(self, name) for name in ("step_size", "limit", "round")}
        return arrays, about

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        for name in ("z", "momentum"):
            setattr(self, name, arrays[name])
        scales = arrays["scales"]  # a number comes back with an axis
        self.scales = scales if scales.size > 1 else scales.reshape(())
        self.kept, self.heat = list(arrays["kept"]), list(arrays["heat"])
        for name in ("step_size", "limit", "round"):
            setattr(self, name, about[name])


def _sghmc(z, momentum, slope, h, temperature, friction, noise):
    momentum = momentum - 2 * jnp.tan(h / 2) * slope
    z, momentum = _rotate(z, momentum, h / 2)
    heat = jnp.mean(momentum**2, axis=1)
    decay = jnp.exp(-friction * h)
    momentum = decay * momentum + jnp.sqrt(temperature * (1 - decay**2)) * noise
    return *_rotate(z, momentum, h / 2), heat


def _rotate(z, momentum, angle):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * z + sin * momentum, cos * momentum - sin * z


def _sgld(z, momentum, slope, h, temperature, friction, noise):
    z = z - h * (z + slope) + jnp.sqrt(2 * h * temperature) * noise
    return z, momentum, jnp.zeros(len(z))


@lru_cache(maxsize=16)
def _programs(head: FlatNetwork, loss: Loss, method: str):
    """Compile: rounds of chains, the largest curvature, and the curvature's diagonal."""
    network = head.network
    step = {"sghmc": _sghmc, "sgld": _sgld}[method]

    def slope_of(z, rows, X, y):
        """The gradient of Σℓᵢ over all rows, or n/b times that over b of them."""
        n = len(y)
        if rows is not None:
            X, y = X[rows], y[rows]

        def total(z):
            return n / max(1, len(y)) * jnp.sum(loss(network(head.from_white(z), X), y))

        return jax.grad(total)(z)

    @jax.jit
    def advance(state, key, turns, rows, constants, data, length):
        temperature, friction, scales = constants
        stretch = scales if method == "sghmc" else scales**2

        def one(place, carry):
            number, i = place
            z, momentum, _ = carry
            now = None if rows is None else rows[number, i]
            slope = jax.vmap(slope_of, (0, None if now is None else 0, None, None))
            slope = slope(z, now, *data)
            mixed = jax.random.fold_in(jax.random.fold_in(key, number), i)
            noise = jax.random.normal(mixed, z.shape)
            h = turns[number, i] * stretch
            return step(z, momentum, slope, h, temperature, friction, noise)

        def round_of(number, carry):
            (z, momentum), (places, heats) = carry
            first = z, momentum, jnp.zeros(len(z))
            z, momentum, heat = jax.lax.fori_loop(
                0, turns.shape[1], lambda i, carry: one((number, i), carry), first
            )
            return (z, momentum), (places.at[number].set(z), heats.at[number].set(heat))

        shape = len(turns), *state[0].shape
        empty = jnp.zeros(shape), jnp.zeros(shape[:2])
        return jax.lax.fori_loop(0, length, round_of, (state, empty))

    def weights_of(z, X, y):
        """Second derivatives of the loss by the outputs; if those at 0 are larger, these.

        So saturated outputs, as of a start far out, do not look flat.
        """
        bent = jax.vmap(jax.grad(jax.grad(loss)))
        outputs = network(head.from_white(z), X)
        return jnp.maximum(bent(outputs, y), bent(jnp.zeros_like(outputs), y))

    @jax.jit
    def curvature(some, scales, white, data):
        """The largest eigenvalue of g(I + JᵀWJ)g at each of some z, g being the scales."""

        def at(z):
            weights = weights_of(z, *data)

            def outputs(move):
                return network(head.from_white(z + scales * move), data[0])

            _, forward = jax.linearize(outputs, jnp.zeros_like(z))
            backward = jax.linear_transpose(forward, z)

            def apply(v):
                (bent,) = backward(weights * forward(v))
                return scales**2 * v + bent

            def power(_, v):
                v = apply(v)
                return v / jnp.linalg.norm(v)

            v = jax.lax.fori_loop(0, ITERATIONS, power, white / jnp.linalg.norm(white))
            return jnp.linalg.norm(apply(v))

        return jax.lax.map(at, some)

    @jax.jit
    def diagonal(some, data):
        """The diagonal of JᵀWJ, averaged over some z, one row at a time."""

        def at(z):
            def add(so_far, each):
                x, weight = each
                slope = jax.grad(lambda z: network(head.from_white(z), x[None])[0])(z)
                return so_far + weight * slope**2, None

            weighted = data[0], weights_of(z, *data)
            return jax.lax.scan(add, jnp.zeros_like(z), weighted)[0]

        return jax.lax.map(at, some).mean(axis=0)

    return advance, curvature, diagonal
