"""The local learning coefficient: how fast a loss's low region shrinks, read at a scale.

A problem here is an excess loss K(z) ≥ 0, the loss less its minimum, of weights z with the
prior N(0, I). Two slopes measure the region where it is small:

- `tempered`: −d log Z/d log t of the evidence Z(t) = E exp(−t·K(z)), along a ladder of t, by
  sequential Monte Carlo with Hamiltonian moves (`smc.temper`). At each t the slope is
  t·E_t[K], the mean under the posterior at t: Watanabe (2013), *A widely applicable Bayesian
  information criterion*, calls it by t = n/log n.
- `volume`: d log V/d log ε of the volume V(ε) = P(K(z) ≤ ε), along falling thresholds
  (`smc.constrain_each`).

Both tend to the learning coefficient λ, slowly where its multiplicity m is above 1, since
log Z = −λ log t + (m − 1) log log t + O(1), and log V likewise. Where m is known its term is
taken off. At a finite scale a slope is an *effective* λ: report the scale with it. Models with
known answers are in `networks.singular`.

For λ at a point w₀, let w = w₀ + z/√γ: the prior then holds weights near w₀, and γ sets how
near.

`sgld` is the estimator of Lau, Furman, Wang, Murfet & Wei (2023), *The local learning
coefficient*, with the defaults of the package devinterp (100 draws, ten chains, no burn-in). It
is here as a rival.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2
from tqdm import tqdm

from elkutils._inputs import is_number
from elkutils.inference import smc
from elkutils.inference._checks import check_counts, check_scale
from elkutils.inference._precision import single
from elkutils.inference.diagnostics import diagnose, warn_unless_converged

ROUNDING = 1e-4  # of the largest excess: what is below 0 by no more is rounding
DISAGREE = 1e-4  # probability of repeats that differ as much, by their own errors
SLACK = 2.0  # times its own error, which is an estimate too, that a repeat may have


@dataclass(frozen=True)
class Estimate:
    """An estimate of the learning coefficient, and the slopes that it was read from.

    Attributes
    ----------
    values : (repeats,) array
        The estimate of each independent repeat, or chain.
    points : (points,) array
        Where it was read: each t, or each ε. `scale` has the first and the last.
    heights : (repeats, points) array
        Of the curve that was read: log Z(t) or log V(ε), in nats. NaN of `sgld`.
    local : (repeats, points) array
        The slope at each point, as it is, without correction: t·E_t[K], or the derivative of
        log V by finite differences.
    multiplicity : int
        The m that `values` are corrected for.
    """

    values: np.ndarray
    points: np.ndarray
    heights: np.ndarray
    local: np.ndarray
    multiplicity: int = 1

    @property
    def value(self) -> float:
        """The mean of the repeats' estimates."""
        return float(np.mean(self.values))

    @property
    def standard_error(self) -> float:
        """The standard error of `value`, from the scatter of the repeats."""
        return float(np.std(self.values, ddof=1) / np.sqrt(len(self.values)))

    @property
    def scale(self) -> tuple[float, float]:
        """The first and the last point."""
        return float(self.points[0]), float(self.points[-1])

    def __str__(self) -> str:
        first, last = self.scale
        return (
            f"{self.value:.3f}, standard error {self.standard_error:.3f},"
            f" read from {first:.3g} to {last:.3g}"
        )


def slope(points: ArrayLike, heights: ArrayLike, multiplicity: int = 1) -> np.ndarray:
    """Return the slope of heights (…, points) between the first and the last point.

    Parameters
    ----------
    points : (points,) array
        t or ε; the slope is that in |log point|, so it is positive for both.
    heights : (…, points) array
        Values of log Z(t) or log V(ε).
    multiplicity : int
        m: (m − 1)·log|log point| is taken off the heights first.

    Notes
    -----
    Errors of sequential Monte Carlo add up from point to point. Of a line seen through such
    noise the ends alone tell the slope: those between add nothing.

    Examples
    --------
    >>> round(float(slope([1e2, 1e4], [-1.0, -3.0])), 3)
    0.434
    """
    depth = np.abs(np.log(np.asarray(points, np.float64)))
    heights = np.asarray(heights, np.float64) - (multiplicity - 1) * np.log(depth)
    return -(heights[..., -1] - heights[..., 0]) / (depth[-1] - depth[0])


@single()
def tempered(
    excess: Callable,
    size: int,
    ladder: Sequence[float],
    data: tuple = (),
    multiplicity: int = 1,
    particles: int = 1000,
    repeats: int = 8,
    steps: int = 8,
    most_moves: int = 20,
    batch: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> Estimate:
    """Estimate the learning coefficient by the slope of the free energy, −log Z(t).

    Parameters
    ----------
    excess : callable
        ``(z, *data)`` → K at z (p,): a loss less its minimum, in nats per row where t counts
        rows; differentiable by JAX. Give a function of a module or a hashable object, not a
        fresh one per call: programs are compiled once.
    size : int
        p.
    ladder : sequence of float
        Two or more t, rising and positive. The estimate is the slope between its ends.
    data : tuple
        Arrays for `excess`.
    multiplicity : int
        m, where it is known; the ladder then begins above 1.
    particles, repeats : int
        Of each population, and populations, which are independent: at least 2.
    steps, most_moves, batch, seed
        As in `smc.temper`.
    progress : bool
        Show how many repeats are done.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        For bad arguments, or an excess that is negative at some particle.

    Warns
    -----
    RuntimeWarning
        If particles hardly moved, or repeats differ by more than their errors explain.

    Examples
    --------
    Two weights of which the loss sees only the product: λ = ½, not 1.

    >>> from elkutils.inference.networks.singular import Monomial
    >>> found = tempered(Monomial((1, 1)), 2, (1e2, 1e4), multiplicity=2, seed=1)
    >>> bool(abs(found.value - 0.5) < 0.06)
    True
    """
    points = _check_points("ladder", ladder, 1, multiplicity)
    tilt, base = _tilts(excess)
    steps_up = np.diff(np.r_[0.0, points])

    def run(number: int) -> tuple[np.ndarray, ...]:
        z, height, low = _start(size, particles, seed, number), 0.0, 0.0
        found = np.zeros((3, len(points)))
        for place, (t, step) in enumerate(zip(points, steps_up, strict=True)):
            given = np.float32(step), np.float32(low), *data
            population = smc.temper(
                tilt,
                z,
                given,
                base,
                steps=steps,
                most_moves=most_moves,
                batch=batch,
                seed=_seed(seed, number, place),
            )
            losses = -population.values / step
            _check_excess(losses)
            z, low, height = population.particles, t, height + population.log_ratio
            found[:, place] = height, t * losses.mean(), population.log_ratio_error**2
        return found

    check_counts(size=size, particles=particles, repeats=repeats)
    heights, local, variances = _repeated(run, repeats, progress)
    _check_agreement(heights, np.cumsum(variances, axis=1))
    values = slope(points, heights, multiplicity)
    return Estimate(values, points, heights, local, multiplicity)


@single()
def volume(
    excess: Callable,
    size: int,
    thresholds: Sequence[float],
    data: tuple = (),
    multiplicity: int = 1,
    particles: int = 1000,
    repeats: int = 8,
    steps: int = 8,
    most_moves: int = 20,
    batch: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> Estimate:
    """Estimate the learning coefficient by the slope of the log volume, log V(ε).

    Parameters
    ----------
    thresholds : sequence of float
        Two or more ε, falling and positive; with a multiplicity above 1, below 1. The estimate
        is the slope between the first and the last.
    excess, size, data, multiplicity, particles, repeats
        As in `tempered`.
    steps, most_moves, batch, seed, progress
        As in `tempered`.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        For bad arguments, or an excess that is negative at some particle.
    ArithmeticError
        If the losses stop falling above a threshold.

    Warns
    -----
    RuntimeWarning
        As `tempered`.
    """
    points = _check_points("thresholds", thresholds, -1, multiplicity)

    def run(number: int) -> tuple[np.ndarray, ...]:
        found = smc.constrain_each(
            excess,
            points,
            _start(size, particles, seed, number),
            data,
            steps=steps,
            most_moves=most_moves,
            batch=batch,
            seed=_seed(seed, number, 0),
        )
        for population in found:
            _check_excess(population.values)
        heights = np.array([each.log_ratio for each in found])
        errors = np.array([each.log_ratio_error**2 for each in found])
        return heights, np.gradient(heights, np.log(points)), errors

    check_counts(size=size, particles=particles, repeats=repeats)
    heights, local, variances = _repeated(run, repeats, progress)
    _check_agreement(heights, variances)
    values = slope(points, heights, multiplicity)
    return Estimate(values, points, heights, local, multiplicity)


@single()
def sgld(
    loss: Callable,
    centre: ArrayLike,
    rows: tuple,
    t: float | None = None,
    draws: int = 100,
    burn_in: int = 0,
    chains: int = 10,
    batch: int | None = None,
    step_size: float = 1e-4,
    localisation: float = 1.0,
    seed: int = 0,
) -> Estimate:
    """Estimate the local learning coefficient by localised SGLD, as devinterp does.

    Chains start at w₀ and move by w ← w − (h/2)·(t·∇L_b(w) + γ(w − w₀)) + √h·noise, where L_b
    is the mean loss over a batch. The estimate is t·(mean of L_b over draws − L(w₀)), the
    baseline over all rows (Lau et al. 2023; Welling & Teh 2011).

    Parameters
    ----------
    loss : callable
        ``(w, *rows)`` → mean loss over these rows, differentiable by JAX.
    centre : (p,) array
        w₀, where training ended.
    rows : tuple of (n, …) arrays
    t : float or None
        n·β; None for n/log n (Watanabe 2013).
    draws, burn_in, chains : int
        Steps kept, steps before them, and chains.
    batch : int or None
        Rows per step, drawn afresh; None for all.
    step_size : float
        h.
    localisation : float
        γ ≥ 0.
    seed : int

    Returns
    -------
    Estimate
        One value per chain, NaN or infinite where it ran away. It may be negative: w₀ need not
        be the minimum, and chains need not have reached their posterior.

    Raises
    ------
    ValueError
        For bad arguments.

    Warns
    -----
    RuntimeWarning
        If chains ran away, or the losses along them have not converged.
    """
    centre = np.asarray(centre, np.float32)
    n = len(rows[0]) if rows else 0
    if centre.ndim != 1 or not np.isfinite(centre).all():
        raise ValueError(f"centre has shape {centre.shape}; it needs (p,), every entry finite")
    if n < 3 or any(len(each) != n for each in rows):
        raise ValueError(
            f"rows has {[len(each) for each in rows]} rows; it needs n ≥ 3 in each"
        )
    check_counts(draws=draws, chains=chains, batch=n if batch is None else batch)
    check_counts(least=0, burn_in=burn_in, seed=seed)
    check_scale("step_size", step_size)
    if not is_number(localisation) or not 0 <= localisation < np.inf:
        raise ValueError(f"localisation is {localisation!r}; it has to be finite and ≥ 0")
    t = check_scale("t", n / np.log(n) if t is None else t)
    rows = tuple(jnp.asarray(each) for each in rows)
    keys = jax.random.split(jax.random.key(seed), chains)
    size = n if batch is None else min(batch, n)
    numbers = np.float32(t), np.float32(step_size), np.float32(localisation)
    walk = _walk(loss, burn_in + draws, size)
    losses = np.asarray(walk(keys, centre, rows, *numbers), np.float64)[:, burn_in:]
    baseline = float(loss(jnp.asarray(centre), *rows))
    _check_walk(losses, step_size)
    values = t * (losses.mean(axis=1) - baseline)
    nothing = np.full((chains, 1), np.nan)
    return Estimate(values, np.array([t]), nothing, values[:, None])


@lru_cache(maxsize=16)
def _walk(loss: Callable, length: int, size: int):
    """The losses (chains, length) along chains, each before its step."""

    def step(place, key, centre, rows, t, h, pull):
        w = place
        chosen, noise = jax.random.split(key)
        n = len(rows[0])
        if size < n:
            picked = jax.random.choice(chosen, n, (size,), replace=False)
            rows = tuple(each[picked] for each in rows)
        value, gradient = jax.value_and_grad(loss)(w, *rows)
        w = w - 0.5 * h * (t * gradient + pull * (w - centre))
        return w + jnp.sqrt(h) * jax.random.normal(noise, w.shape), value

    @jax.jit
    def walk(keys, centre, rows, t, h, pull):
        move = partial(step, centre=centre, rows=rows, t=t, h=h, pull=pull)

        def chain(key):
            return jax.lax.scan(move, centre, jax.random.split(key, length))[1]

        return jax.vmap(chain)(keys)

    return walk


@lru_cache(maxsize=64)
def _tilts(excess: Callable):
    """Tilt and base of a rung from t = low to low + step; one pair of objects per excess."""

    def tilt(z, step, low, *data):
        return -step * excess(z, *data)

    def base(z, step, low, *data):
        return -low * excess(z, *data)

    return tilt, base


def _repeated(run: Callable, repeats: int, progress: bool) -> tuple[np.ndarray, ...]:
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; an error needs at least 2")
    bar = tqdm(range(repeats), disable=not progress, desc="slope", unit="repeat")
    return tuple(np.stack(part) for part in zip(*map(run, bar), strict=True))


def _start(size: int, particles: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng((seed, number)).standard_normal((particles, size))


def _seed(seed: int, number: int, place: int) -> int:
    return int(np.random.SeedSequence((seed, number, place)).generate_state(1)[0])


def _check_points(name: str, points: Sequence[float], sign: int, m: int) -> np.ndarray:
    """Return points as an array, in the order of deepening, or raise ValueError."""
    order = {1: "rising", -1: "falling"}[sign]
    found = np.asarray(points, np.float64)
    if found.ndim != 1 or len(found) < 2 or not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"{name} is {points}; it needs two or more, positive and finite")
    if np.any(sign * np.diff(found) <= 0):
        raise ValueError(f"{name} is {points}; it has to be {order}")
    check_counts(multiplicity=m)
    if m > 1 and sign * np.log(found[0]) <= 0:
        side = {1: "above", -1: "below"}[sign]
        raise ValueError(
            f"{name} begins at {found[0]:g}; with multiplicity {m} it has to begin {side} 1,"
            " since log |log| is taken off"
        )
    return found


def _check_excess(losses: np.ndarray) -> None:
    least, most = losses.min(), losses.max()
    if not least >= -ROUNDING * abs(most):
        raise ValueError(
            f"excess is {least:.4g} at a particle; it has to be a loss less its minimum, ≥ 0"
        )


def _check_agreement(heights: np.ndarray, variances: np.ndarray) -> None:
    """Warn where repeats of the last height scatter more than their own errors explain."""
    last, own = heights[:, -1], SLACK**2 * variances[:, -1]
    spread = np.sum((last - last.mean()) ** 2) / own.mean()
    if chi2.sf(spread, len(last) - 1) < DISAGREE:
        warnings.warn(
            f"repeats end at heights from {last.min():.4g} to {last.max():.4g}, and their own"
            f" errors are about {np.sqrt(variances[:, -1].mean()):.2g}: the moves do not mix;"
            " more moves or particles help",
            RuntimeWarning,
            stacklevel=4,
        )


def _check_walk(losses: np.ndarray, step_size: float) -> None:
    lost = ~np.isfinite(losses).all(axis=1)
    if lost.any():
        warnings.warn(
            f"{lost.sum()} of {len(losses)} chains ran away at step_size {step_size:g}; take"
            " a smaller one",
            RuntimeWarning,
            stacklevel=4,
        )
    else:
        found = diagnose(losses[..., None], of="losses")
        warn_unless_converged(found, "draw more, after a burn-in", stacklevel=5)
