"""Sequential Monte Carlo from a normal base towards tilted or hard-constrained targets.

A population of particles starts at draws of a base density and is led through a sequence of
densities, each close to the last (Del Moral, Doucet & Jasra 2006, *Sequential Monte Carlo
samplers*): weigh, resample, move. How far the next density is away adapts.

- `temper`: base(z)·exp(β·tilt(z)), β from 0 to 1, each step as long as the effective sample
  size allows.
- `constrain`: base(z) where loss(z) ≤ t, each t a quantile of the losses at the last (Cérou,
  Del Moral, Furon & Guyader 2012, *Sequential Monte Carlo for rare event estimation*).

The base is N(0, I), or something near it given by how much it exceeds N(0, I). Moves are
Hamiltonian, with the rotation that N(0, I) gives in closed form between kicks by the gradient
of the rest. A constraint kicks nothing: where a rotation ends outside, the momentum is
reflected by the loss's gradient there (Skilling 2012, *Bayesian computation in big spaces:
nested sampling and Galilean Monte Carlo*). Moves go on until particles have forgotten where
they were.

Why the moves leave the target as it is. The momentum and the angle of a trajectory are drawn
afresh and do not look at the particle, and they stay fixed along it. A rotation and a
reflection both keep volume and ‖z‖² + ‖momentum‖², and each is undone by itself with the
momentum turned round. A trajectory that begins and ends inside is a sequence of the two that
reads the same from its end, since nothing is reflected at either end; so it is as probable as
its reverse, and one that ends outside is not taken. Angles adapt between moves only.

How angles adapt. Under a constraint they adapt to the share of *steps* that are inside, not to
the share of trajectories that end there. Of angles far too long every other step is outside,
and each reflection sends the particle back to where it came from: with an even number of steps
all trajectories end inside, and none has gone anywhere. The share of steps inside is then ½,
below what angles adapt to. Angles are log-uniform over a factor of five, so that some suit the
narrow parts of a region and some the wide ones. Tempered moves adapt to their acceptance.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp
from tqdm import tqdm

from elkutils.inference._checks import check_counts

TARGET = 0.75  # share of steps inside, or of trajectories accepted, that angles adapt to
QUARTER = np.pi / 2
LEAST_ANGLE = 1e-12
REMEMBERED = 0.2  # correlation with the resampled particles at which moves stop
STUCK = 0.7  # correlation of values from which a level counts as not moved
MOST_LEVELS = 500
MOST_LAGS = 30
LEAST_FAMILIES = 10


@dataclass(frozen=True)
class Population:
    """Where the particles came to, and how.

    Attributes
    ----------
    particles : (particles, p) array
        Draws of the last density, of equal weight. Those that share an ancestor may resemble
        each other.
    values : (particles,) array
        Tilt or loss of each.
    log_ratio : float
        Log of the last density's normaliser over the base's, in nats: the log of the mean of
        exp(tilt) under the base, or of the base's probability of the constraint.
    log_ratio_error : float
        Its Monte Carlo standard error, in nats, from this run alone; see `ratio_error`. It
        knows of nothing that no particle has met: not of a mode that none has found, and it
        is too small where `stuck` is true.
    levels : (levels,) array
        β or thresholds passed, without the start.
    acceptance : (levels,) array
        Share of trajectories at each that were accepted. Near 1 it may be a sign of moves that
        go nowhere.
    moves : (levels,) int array
        Trajectories of every particle at each.
    remembered : (levels,) array
        Correlation that was left, at each, between particles and where they were resampled, in
        position or value, whichever was larger. Far above 0.2 the moves were not enough, or
        the positions have modes that moves do not join, which `log_ratio` may survive.
    stuck : (levels,) bool array
        Whether, at each, particles kept their values but for little (a correlation of 0.7 or
        more). If any is true a `RuntimeWarning` was given: trust neither `log_ratio` nor its
        error nor the particles.
    ancestors : int
        Starting particles that have descendants.
    """

    particles: np.ndarray
    values: np.ndarray
    log_ratio: float
    levels: np.ndarray
    acceptance: np.ndarray
    moves: np.ndarray
    remembered: np.ndarray
    ancestors: int
    log_ratio_error: float
    stuck: np.ndarray


def temper(
    tilt: Callable,
    start: np.ndarray,
    data: tuple = (),
    excess: Callable | None = None,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    batch: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> Population:
    """Lead draws of a base to draws of base(z)·exp(tilt(z)), up to a constant.

    Parameters
    ----------
    tilt : callable
        ``(z, *data)`` → log of the factor at z (p,), finite on the base; differentiable by JAX.
        Give a function of a module, not a fresh one per call: programs are compiled once.
    start : (particles, p) array
        Draws of the base.
    data : tuple
        Arrays for `tilt` and `excess`.
    excess : callable or None
        ``(z, *data)`` → log of the base over N(0, I), up to a constant. None for N(0, I).
    share : float
        Effective sample size to keep per step, as a share of the particles, in (0, 1).
    steps : int
        Rotations per trajectory; each takes one gradient.
    most_moves : int
        Most trajectories per level.
    batch : int
        Particles that are moved at a time; it bounds the memory.
    seed : int
    progress : bool
        Show β and the number of moves.

    Raises
    ------
    ValueError
        For bad arguments, or a tilt that is not finite at a starting particle.

    Warns
    -----
    RuntimeWarning
        If at some level particles hardly moved; see `Population.stuck`.
    """
    move = partial(_tempered, tilt=tilt, excess=excess, steps=steps, batch=batch)
    run = _Particles.begin(
        partial(values, tilt, batch=batch),
        move,
        _halved,
        start,
        data,
        share,
        steps,
        most_moves,
        seed,
    )
    beta, levels, log_ratio = 0.0, [], 0.0
    with tqdm(disable=not progress, desc="SMC", unit="level") as bar:
        while beta < 1:
            step = _longest_step(run.values, 1 - beta, share)
            beta = 1.0 if step == 1 - beta else beta + step
            weights = step * run.values
            log_ratio += float(logsumexp(weights) - np.log(len(weights)))
            run.resample(np.exp(weights - weights.max()))
            run.settle(beta, most_moves)
            levels.append(beta)
            bar.update()
            bar.set_postfix(beta=f"{beta:.3g}", moves=run.moves[-1])
            _check_levels(levels)
    return run.population(levels, log_ratio)


def constrain(
    loss: Callable,
    threshold: float,
    start: np.ndarray,
    data: tuple = (),
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    last_moves: int | None = None,
    batch: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> Population:
    """Lead draws of N(0, I) to draws of N(0, I) given that the loss is at most `threshold`.

    Parameters
    ----------
    loss : callable
        ``(z, *data)`` → loss at z (p,), continuous and differentiable by JAX.
    threshold : float
        The loss that the final particles do not exceed; finite.
    start : (particles, p) array
        Draws of N(0, I).
    share : float
        Particles that each new threshold keeps, as a share, in (0, 1).
    last_moves : int or None
        As `most_moves`, at the last threshold: how much the final particles remember is decided
        by its moves alone. None for `most_moves`.
    data, steps, most_moves, batch, seed, progress
        As in `temper`.

    Raises
    ------
    ValueError
        For bad arguments, or a loss that is NaN at a starting particle.
    ArithmeticError
        If the losses stop falling: no particle gets under the threshold.

    Warns
    -----
    RuntimeWarning
        If at some level particles hardly moved; see `Population.stuck`.
    """
    if not np.isfinite(threshold):
        raise ValueError(f"threshold is {threshold}; it has to be finite")
    return constrain_each(
        loss,
        (threshold,),
        start,
        data,
        share,
        steps,
        most_moves,
        last_moves,
        batch,
        seed,
        progress,
    )[0]


def constrain_each(
    loss: Callable,
    thresholds: Sequence[float],
    start: np.ndarray,
    data: tuple = (),
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    last_moves: int | None = None,
    batch: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> list[Population]:
    """Lead draws of N(0, I) under each of several thresholds in one descent.

    Parameters
    ----------
    thresholds : sequence of float
        Falling. The moves at each are `last_moves`.
    loss, start, data, share, steps, most_moves, last_moves, batch, seed, progress
        As in `constrain`, which is this function with one threshold.

    Returns
    -------
    list of Population
        One per threshold. Those of one descent are not independent of each other.

    Raises
    ------
    ValueError
        As `constrain`, and if `thresholds` is empty or does not fall.
    ArithmeticError
        As `constrain`.
    """
    wanted = np.asarray(thresholds, np.float64)
    if wanted.ndim != 1 or not len(wanted) or not np.isfinite(wanted).all():
        raise ValueError(f"thresholds is {thresholds}; it needs (k,), k ≥ 1, all finite")
    if np.any(np.diff(wanted) >= 0):
        raise ValueError(f"thresholds is {thresholds}; each has to be below the one before")
    last_moves = most_moves if last_moves is None else last_moves
    check_counts(most_moves=most_moves, last_moves=last_moves)
    move = partial(_constrained, loss=loss, steps=steps, batch=batch)
    run = _Particles.begin(
        partial(values, loss, batch=batch),
        move,
        _scattered,
        start,
        data,
        share,
        steps,
        most_moves,
        seed,
    )
    level, levels, log_ratio, found = np.inf, [], 0.0, []
    with tqdm(disable=not progress, desc="SMC", unit="level") as bar:
        for threshold in wanted:
            while level > threshold:
                lower = max(float(threshold), float(np.quantile(run.values, share)))
                if not lower < level:
                    raise ArithmeticError(
                        f"the losses stopped falling at {level:.4g}, above the threshold"
                        f" {threshold:.4g}"
                    )
                level = lower
                under = run.values <= level
                log_ratio += float(np.log(under.mean()))
                run.resample(under.astype(float))
                run.settle(level, last_moves if level <= threshold else most_moves)
                levels.append(level)
                bar.update()
                bar.set_postfix(loss=f"{level:.4g}", moves=run.moves[-1])
                _check_levels(levels)
            found.append(run.population(levels, log_ratio))
    return found


def values(
    function: Callable, particles: np.ndarray, data: tuple = (), batch: int = 4096
) -> np.ndarray:
    """Return the tilt or loss of each particle (particles, p), in float64."""
    found = _values(jnp.asarray(particles, jnp.float32), data, function=function, batch=batch)
    return np.asarray(found, np.float64)


def ratio_error(weights: list, parents: list) -> float:
    """Return the standard error of a log ratio from how unequally ancestors fared.

    Parameters
    ----------
    weights : list of (particles,) arrays
        Weights at each level, which sum to 1.
    parents : list of (particles,) int arrays
        Which particle each one was copied from when that level resampled.

    Returns
    -------
    float
        Never below 1/particles, which is what a share that no particle contradicts leaves open.

    Notes
    -----
    The particles at one level found families. If families fared independently, the ratio over
    the levels from there to a later one has the relative variance Σ(mⱼ − 1/N)², mⱼ being the
    share of the weight that family j holds in the end (Chan & Lai 2013, *A general theory of
    particle filters in hidden Markov models and some applications*; Lee & Whiteley 2018,
    *Variance estimation in the particle filter*). It holds all covariances between those
    levels, so also what unmoved copies bring. Over all levels at once it could not exceed 1,
    one family holding all. So each level adds only its variance and its covariances with the
    levels up to a lag before it (Olsson & Douc 2019, *Numerically stable online estimation of
    variance in particle filters*), and the lag is that which gives most, of those at which ten
    families are left on average. Lag 0 is the binomial error of independent particles.
    """
    count, levels = len(weights[0]), len(weights)
    lags = min(levels, MOST_LAGS + 1)
    spread = np.zeros((levels, lags))  # of families founded so many levels before
    families = np.zeros((levels, lags))
    for level, weight in enumerate(weights):
        family = np.arange(count)
        for lag in range(min(level + 1, lags)):
            family = family if lag == 0 else parents[level - lag][family]
            mass = np.bincount(family, weight, count)
            spread[level, lag] = -np.log1p(-np.sum((mass - 1 / count) ** 2))
            families[level, lag] = np.count_nonzero(mass)
        spread[level, level + 1 :] = spread[level, min(level, lags - 1)]
    variances = []
    for lag in range(lags):
        before = spread[:-1, lag - 1].sum() if lag else 0.0
        if lag and families[lag:, lag].mean() < LEAST_FAMILIES:
            break
        variances.append(spread[:, lag].sum() - before)
    return float(np.sqrt(max(*variances, count**-2.0)))


@dataclass
class _Particles:
    """A population on its way."""

    move: Callable
    portion: Callable  # of the adapted angle, from uniform numbers
    particles: jax.Array
    values: np.ndarray
    data: tuple
    rng: np.random.Generator
    angle: float  # of a trajectory
    ancestors: np.ndarray
    weights: list
    parents: list
    acceptance: list
    moves: list
    remembered: list
    stuck: list

    @classmethod
    def begin(
        cls, values_of, move, portion, start, data, share, steps, most_moves, seed
    ) -> "_Particles":
        check_counts(steps=steps, most_moves=most_moves)
        if not 0 < share < 1:
            raise ValueError(f"share is {share}; it has to lie between 0 and 1")
        start = np.asarray(start, np.float32)
        if start.ndim != 2 or len(start) < 2 or not np.isfinite(start).all():
            raise ValueError(
                f"start has shape {start.shape}; it needs (particles, p), two or more, finite"
            )
        data = jax.tree.map(jnp.asarray, tuple(data))
        particles, rng = jnp.asarray(start), np.random.default_rng(seed)
        found = values_of(start, data=data)
        if not np.isfinite(found).all():
            raise ValueError(
                f"{np.sum(~np.isfinite(found))} of the start's tilts or losses are not finite"
            )
        who = np.arange(len(start))
        empty = ([] for _ in range(6))
        return cls(move, portion, particles, found, data, rng, QUARTER, who, *empty)

    def resample(self, weights: np.ndarray) -> None:
        """Systematic resampling: as many copies as the weight gives, but for rounding."""
        points = (self.rng.random() + np.arange(len(weights))) / len(weights)
        share = np.cumsum(weights) / weights.sum()
        chosen = np.minimum(np.searchsorted(share, points), np.flatnonzero(weights)[-1])
        self.particles, self.values = self.particles[chosen], self.values[chosen]
        self.ancestors = self.ancestors[chosen]
        self.weights.append(weights / weights.sum())
        self.parents.append(chosen)

    def settle(self, level: float, most_moves: int) -> None:
        """Move every particle until little is left of where it was."""
        first, first_values, accepted = np.asarray(self.particles), self.values, []
        while True:
            self.particles, found, acceptance, reached = self.move(
                self._noise(), self.particles, np.float32(level), self.data
            )
            self.values = np.asarray(found, np.float64)
            accepted.append(float(acceptance))
            self.angle *= np.exp(float(reached) - TARGET)
            self.angle = float(np.clip(self.angle, LEAST_ANGLE, QUARTER))
            places = _correlation(first, np.asarray(self.particles))
            heights = _correlation(first_values[:, None], self.values[:, None])
            if not np.ptp(first_values):  # a constant remembers nothing
                heights = places
            left = max(places, heights)
            if left < REMEMBERED or len(accepted) == most_moves:
                break
        self.acceptance.append(np.mean(accepted))
        self.moves.append(len(accepted))
        self.remembered.append(left)
        self.stuck.append(heights >= STUCK)

    def _noise(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Momentum, angle of a trajectory, and a uniform number to accept by, of each.

        It is NumPy's, so that it is the same on every device and nothing is long to compile.
        """
        count = len(self.particles)
        momentum = self.rng.standard_normal(self.particles.shape, dtype=np.float32)
        turn = self.angle * self.portion(self.rng.random(count))
        return momentum, turn.astype(np.float32), self.rng.random(count, dtype=np.float32)

    def population(self, levels: list, log_ratio: float) -> Population:
        if any(self.stuck):
            warnings.warn(
                f"particles hardly moved at {sum(self.stuck)} of {len(levels)} levels, first at"
                f" {levels[self.stuck.index(True)]:.4g}: trust neither the log ratio"
                f" {log_ratio:.4g} nor its error",
                RuntimeWarning,
                stacklevel=3,
            )
        return Population(
            particles=np.asarray(self.particles),
            values=self.values,
            log_ratio=log_ratio,
            levels=np.array(levels),
            acceptance=np.array(self.acceptance),
            moves=np.array(self.moves),
            remembered=np.array(self.remembered),
            ancestors=len(np.unique(self.ancestors)),
            log_ratio_error=ratio_error(self.weights, self.parents),
            stuck=np.array(self.stuck),
        )


def _halved(uniform: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * uniform


def _scattered(uniform: np.ndarray) -> np.ndarray:
    return 5.0 ** (uniform - 1)


def _check_levels(levels: list) -> None:
    if len(levels) == MOST_LEVELS:
        raise ArithmeticError(f"{MOST_LEVELS} levels were not enough; the last is {levels[-1]}")


def _longest_step(tilts: np.ndarray, most: float, share: float) -> float:
    """The step of β, up to `most`, that leaves `share` of the sample effective."""

    def excess(step):
        log_weights = step * (tilts - tilts.max())
        log_ess = 2 * logsumexp(log_weights) - logsumexp(2 * log_weights)
        return log_ess - np.log(share * len(tilts))

    return most if excess(most) >= 0 else brentq(excess, 0.0, most, rtol=1e-6, xtol=1e-12)


def _correlation(before: np.ndarray, after: np.ndarray) -> float:
    """Correlation of the rows of two arrays (particles, k), pooled over columns."""
    before, after = before - before.mean(0), after - after.mean(0)
    size = np.sqrt(np.sum(before**2) * np.sum(after**2))
    return float(np.sum(before * after) / size) if size > 0 else 1.0


@partial(jax.jit, static_argnames=("function", "batch"))
def _values(z, data, *, function, batch):
    return _map(lambda each: function(each, *data), z, batch)


@partial(jax.jit, static_argnames=("tilt", "excess", "steps", "batch"))
def _tempered(noise, z, beta, data, *, tilt, excess, steps, batch):
    """One trajectory of every particle under N(0, I)·exp(excess + β·tilt)."""

    def rest(z):
        tilted = tilt(z, *data)
        base = 0.0 if excess is None else excess(z, *data)
        return -base - beta * tilted, tilted

    look = jax.value_and_grad(rest, has_aux=True)

    def one(each):
        z, momentum, turn, luck = each
        turn /= steps
        (height, tilted), slope = look(z)
        state = z, momentum - 0.5 * turn * slope, height, tilted, slope

        def step(i, state):
            at, momentum, *_ = state
            at, momentum = _rotate(at, momentum, turn)
            (height, tilted), slope = look(at)
            kick = jnp.where(i == steps - 1, 0.5, 1.0) * turn
            return at, momentum - kick * slope, height, tilted, slope

        at, final, end, end_tilt, _ = jax.lax.fori_loop(0, steps, step, state)
        lost = end - height + 0.5 * jnp.sum(at**2 + final**2 - z**2 - momentum**2)
        acceptance = jnp.where(jnp.isfinite(lost), jnp.minimum(1.0, jnp.exp(-lost)), 0.0)
        taken = luck < acceptance
        return jnp.where(taken, at, z), jnp.where(taken, end_tilt, tilted), acceptance

    z, tilts, acceptance = _map(one, (z, *noise), batch)
    return z, tilts, acceptance.mean(), acceptance.mean()


@partial(jax.jit, static_argnames=("loss", "steps", "batch"))
def _constrained(noise, z, threshold, data, *, loss, steps, batch):
    """One trajectory of every particle under N(0, I) where the loss is at most `threshold`.

    Where the gradient is zero or not finite a reflection turns the momentum round.
    """
    look = jax.value_and_grad(lambda z: loss(z, *data))

    def one(each):
        z, momentum, turn, _ = each
        turn /= steps

        def step(_, state):
            at, momentum, value, slope, inside = state
            outside = ~(value <= threshold)
            momentum = jnp.where(outside, _reflect(momentum, slope), momentum)
            at, momentum = _rotate(at, momentum, turn)
            value, slope = look(at)
            return at, momentum, value, slope, inside + (value <= threshold)

        value, slope = look(z)
        state = z, momentum, value, slope, 0
        at, _, end, _, inside = jax.lax.fori_loop(0, steps, step, state)
        taken = end <= threshold
        return jnp.where(taken, at, z), jnp.where(taken, end, value), taken, inside / steps

    z, losses, taken, inside = _map(one, (z, *noise), batch)
    return z, losses, taken.mean(), inside.mean()


def _map(one, each, batch):
    """Map over particles, `batch` at a time; where one batch does, half as long to compile."""
    if len(jax.tree.leaves(each)[0]) <= batch:
        return jax.vmap(one)(each)
    return jax.lax.map(one, each, batch_size=batch)


def _rotate(z, momentum, angle):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * z + sin * momentum, cos * momentum - sin * z


def _reflect(momentum, slope):
    size = jnp.abs(slope).max()  # first, so that small slopes do not vanish when squared
    slope = slope / size
    mirrored = momentum - 2 * (momentum @ slope) / (slope @ slope) * slope
    return jnp.where((size > 0) & (size < jnp.inf), mirrored, -momentum)
