"""Two regions of weights that fit equally well: the posterior's odds, and trained members.

A `Problem` is a regression y = x·φ(w) + ε, ε ~ N(0, 1), with features φ of the weights, a
normal prior and two regions that both hold zeros of the loss. The data enter through two sums
alone (`Sums`), so that thousands of members and particles cost no more at n = 100,000 than at
10. `odds` has the posterior's log odds of the regions, by quadrature where there is one weight
and else by `region_odds`, a population of particles in each region; `train` has members from
prior draws by gradient descent, Adam, SGD or Langevin dynamics.

`CURVE` and `LEVEL` have one weight; `SENSORS` is a network of two squared units whose two
zero-loss functions are a translator and a simulator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from elkutils._inputs import check_counts
from elkutils.inference import smc

OUTSIDE = -1e9  # log density outside a region
RESOLVED = 0.05  # most of n · spacing² at which slopes up to 4 are resolved
CLIP = 1.0  # largest norm of a gradient in training


@dataclass(frozen=True)
class Problem:
    """A regression on features of the weights, and two regions that split the weights.

    Attributes
    ----------
    name : str
    features : callable
        w (p,) → φ (k,), by JAX.
    side : callable
        w (p,) → a number, above 0 in the first region and below 0 in the second.
    size : int
        p.
    prior_scale : float
        Standard deviation of each weight.
    truth : tuple of k floats
        The features at both regions' zeros, as far as rows x can tell.
    draw : callable
        (n, rng) → rows (n, k).
    exponents : tuple of float
        λ of the two regions.
    multiplicities : tuple of int
        m of the two regions.
    """

    name: str
    features: Callable
    side: Callable
    size: int
    prior_scale: float
    truth: tuple[float, ...]
    draw: Callable
    exponents: tuple[float, float]
    multiplicities: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Sums:
    """What n rows say about the features: all that the likelihood needs.

    Attributes
    ----------
    n : int
    gram : (k, k) array
        Σ x xᵀ.
    noise : (k,) array
        Σ x ε.
    """

    n: int
    gram: np.ndarray
    noise: np.ndarray


def stream(
    problem: Problem, counts: Sequence[int], seed: int, noisy: bool = True
) -> tuple[list[Sums], np.ndarray, np.ndarray]:
    """Return the sums of the first n rows of one stream, for each n, with its rows and labels.

    Parameters
    ----------
    problem : Problem
    counts : sequence of int
        Rising.
    seed : int
    noisy : bool
        False for labels without noise.

    Returns
    -------
    sums : list of Sums
    X : (n, k) array
    y : (n,) array
        Of the largest n.
    """
    counts = list(counts)
    check_counts(**{f"counts[{i}]": n for i, n in enumerate(counts)})
    if sorted(set(counts)) != counts:
        raise ValueError(f"counts is {counts}; it has to rise")
    rng = np.random.default_rng(seed)
    X = problem.draw(counts[-1], rng)
    noise = rng.standard_normal(len(X)) * noisy
    found = [Sums(n, X[:n].T @ X[:n], X[:n].T @ noise[:n]) for n in counts]
    return found, X, X @ np.array(problem.truth) + noise


def curve(w: jax.Array) -> jax.Array:
    """Return (w + 1)(w − 1)³/2 as a vector of one feature."""
    return (w + 1) * (w - 1) ** 3 / 2


def level(w: jax.Array) -> jax.Array:
    """Return (w + 1)(w − ½) as a vector of one feature."""
    return (w + 1) * (w - 0.5)


def valley(w: jax.Array) -> jax.Array:
    """Return two features of two weights: a steep valley at w₁ = −1, a bowl at (1, 0).

    They are (w₁² − 1)·2^(−w₁) and w₂(w₁ + 1)/2.
    """
    return jnp.array([(w[0] ** 2 - 1) * jnp.exp2(-w[0]), w[1] * (w[0] + 1) / 2])


def below(w: jax.Array, border: float) -> jax.Array:
    """Return by how much the first weight is under the border."""
    return border - w[0]


def above(w: jax.Array, border: float) -> jax.Array:
    """Return by how much the only weight exceeds the border."""
    return w[0] - border


def form(w: jax.Array) -> jax.Array:
    """Return the quadratic form Σⱼ aⱼ(wⱼ·x)² of two units, as its coefficients (6,).

    The weights w (8,) are (a₁, w₁, a₂, w₂) with wⱼ (3,); the coefficients are those of u²,
    s₁², s₂², s₁s₂, u s₁, u s₂ with x = (u, s₁, s₂).
    """
    units = w.reshape(2, 4)
    a, v = units[:, 0], units[:, 1:]
    matrix = jnp.einsum("j,ja,jb->ab", a, v, v)
    i, j = jnp.array([0, 1, 2, 1, 0, 0]), jnp.array([0, 1, 2, 2, 1, 2])
    return matrix[i, j] * jnp.where(i == j, 1.0, 2.0)


def translates(w: jax.Array) -> jax.Array:
    """Return the coefficient of u² less ½: above 0 nearer to the translator u²."""
    return form(w)[0] - 0.5


def ones(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n rows of the one feature, all 1."""
    return np.ones((n, 1))


def pairs(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n rows of two independent standard normal features."""
    return rng.standard_normal((n, 2))


def sensors(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n rows (n, 6) on which u² = s₁s₂: x = (sin a, 1 + cos a, 1 − cos a)."""
    angle = rng.uniform(0, 2 * np.pi, n)
    u, s, t = np.sin(angle), 1 + np.cos(angle), 1 - np.cos(angle)
    return np.stack([u * u, s * s, t * t, s * t, u * s, u * t], axis=1)


CURVE = Problem(
    "curve", curve, partial(above, border=-0.5), 1, 1.5, (0.0,), ones, (1 / 6, 1 / 2)
)
LEVEL = Problem("level", level, partial(above, border=-0.25), 1, 1.0, (0.0,), ones, (0.5, 0.5))
VALLEY = Problem(
    "valley", valley, partial(below, border=-0.312), 2, 1.0, (0.0, 0.0), pairs, (0.5, 1.0)
)
SENSORS = Problem(
    "sensors", form, translates, 8, 1.0, (1.0, 0, 0, 0, 0, 0), sensors, (2.0, 2.5), (2, 1)
)


def excess(problem: Problem, w: jax.Array, gram: jax.Array, noise: jax.Array) -> jax.Array:
    """Return the negative log likelihood at w (p,) less that at the truth, in nats."""
    away = problem.features(w) - jnp.array(problem.truth)
    return 0.5 * away @ gram @ away - noise @ away


def curve_odds(problem: Problem, sums: Sequence[Sums], points: int = 40_001) -> np.ndarray:
    """Return the log odds (len(sums),) of the first region, of a problem with one weight.

    By the trapezoid rule on weights within six prior standard deviations.

    Parameters
    ----------
    problem : Problem
        With one weight.
    sums : sequence of Sums
        Those with n = 0 give the prior's odds.
    points : int

    Raises
    ------
    ValueError
        For a problem with several weights, or more rows than the grid resolves.
    """
    if problem.size != 1:
        raise ValueError(f"{problem.name} has {problem.size} weights; quadrature needs one")
    most = max(each.gram[0, 0] for each in sums)
    if most * (12 * problem.prior_scale / points) ** 2 > RESOLVED:
        raise ValueError(f"sums has n = {most:.0f}, too sharp for {points} points: give more")
    grid = np.linspace(-6, 6, points) * problem.prior_scale
    away = np.asarray(jax.vmap(problem.features)(jnp.asarray(grid)[:, None]), np.float64)
    away = away[:, 0] - problem.truth[0]
    first = np.asarray(jax.vmap(problem.side)(jnp.asarray(grid)[:, None])) > 0
    found = []
    for each in sums:
        fit = each.noise[0] * away - 0.5 * each.gram[0, 0] * away**2
        log_density = fit - 0.5 * (grid / problem.prior_scale) ** 2
        found.append(logsumexp(log_density[first]) - logsumexp(log_density[~first]))
    return np.array(found)


@dataclass(frozen=True)
class Odds:
    """Log odds of the first region along a stream, by particles.

    Attributes
    ----------
    log_odds : (k,) array
    error : (k,) array
        Monte Carlo standard errors, from this run alone.
    """

    log_odds: np.ndarray
    error: np.ndarray


def region_odds(
    problem: Problem,
    sums: Sequence[Sums],
    particles: int = 2048,
    most_moves: int = 20,
    seed: int = 0,
) -> Odds:
    """Return the log odds of the first region along a stream, by particles in each region.

    Each region's particles begin as prior draws inside it and stay inside: its log normaliser
    is the log of its prior share plus those of the steps from each n to the next.

    Parameters
    ----------
    problem : Problem
    sums : sequence of Sums
        Of one stream, n rising.
    particles : int
        In each region.
    most_moves : int
        Most trajectories per level.
    seed : int
    """
    tilt, base = _densities(problem)
    rng, parts, squares = np.random.default_rng(seed), [], []
    for sign in (1.0, -1.0):
        at, share = _starts(problem, sign, particles, rng)
        log_z, square = np.log(share), (1 - share) / (share * PRIOR_DRAWS)
        gram, noise = (
            np.zeros_like(part, np.float32) for part in (sums[0].gram, sums[0].noise)
        )
        path, errors = [], []
        for each in sums:
            new = each.gram.astype(np.float32), each.noise.astype(np.float32)
            data = np.float32(sign), gram, noise, *new
            options = {"most_moves": most_moves, "seed": int(rng.integers(2**31))}
            found = smc.temper(tilt, at, data, base, **options)
            at, log_z = found.particles, log_z + found.log_ratio
            square += found.log_ratio_error**2
            path.append(log_z)
            errors.append(square)
            gram, noise = new
        parts.append(np.array(path))
        squares.append(np.array(errors))
    return Odds(parts[0] - parts[1], np.sqrt(squares[0] + squares[1]))


PRIOR_DRAWS = 2**18


def _starts(problem, sign, particles, rng) -> tuple[np.ndarray, float]:
    """Prior draws inside a region, in standard deviations, and the region's prior share."""
    z = rng.standard_normal((PRIOR_DRAWS, problem.size)).astype(np.float32)
    side = np.asarray(jax.vmap(problem.side)(jnp.asarray(z * problem.prior_scale)))
    inside = z[sign * side > 0]
    if len(inside) < particles:
        raise ValueError(
            f"particles is {particles}; {len(inside)} of {PRIOR_DRAWS} prior draws lie in a"
            f" region of {problem.name}: ask for no more"
        )
    return inside[:particles], len(inside) / PRIOR_DRAWS


@cache
def _densities(problem: Problem) -> tuple[Callable, Callable]:
    """Tilt and base of one step of `region_odds`, the same objects each time."""

    def tilt(z, sign, gram, noise, new_gram, new_noise):
        w = z * problem.prior_scale
        return excess(problem, w, gram, noise) - excess(problem, w, new_gram, new_noise)

    def base(z, sign, gram, noise, new_gram, new_noise):
        w = z * problem.prior_scale
        inside = jnp.where(sign * problem.side(w) > 0, 0.0, OUTSIDE)
        return inside - excess(problem, w, gram, noise)

    return tilt, base


@dataclass(frozen=True)
class Training:
    """How members are trained.

    Attributes
    ----------
    optimiser : "gradient descent", "Adam", "SGD" or "Langevin"
        SGD takes the gradient of `batch` rows, each member its own, drawn with replacement.
        Langevin adds to the gradient of the log posterior the noise that makes the posterior
        stationary as the steps shrink.
    rate : float
        Step size, for the mean loss per row.
    steps : int
    batch : int
        Rows per step of SGD.
    """

    optimiser: str
    rate: float
    steps: int
    batch: int = 1

    def __post_init__(self):
        if self.optimiser not in OPTIMISERS:
            raise ValueError(
                f"optimiser is {self.optimiser!r}; it has to be one of {list(OPTIMISERS)}"
            )
        check_counts(steps=self.steps, batch=self.batch)


OPTIMISERS = "gradient descent", "Adam", "SGD", "Langevin"


def prior_draws(problem: Problem, members: int, seed: int) -> np.ndarray:
    """Return starts (members, p)."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((members, problem.size)) * problem.prior_scale
    return draws.astype(np.float32)


def train(
    problem: Problem,
    plan: Training,
    sums: Sequence[Sums],
    rows: Sequence[tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Train groups of members, each group on its own rows; return their ends (groups, m, p).

    The loss is half the mean squared error of n rows. The norm of each gradient is clipped at
    `CLIP`.

    Parameters
    ----------
    problem : Problem
    plan : Training
    sums : sequence of Sums
        One per group.
    rows : sequence of (X (N, k), y (N,))
        One per group, of which SGD sees the first n.
    start : (groups, m, p) array
    seed : int
        Of batches and noise.
    """
    X, y = (jnp.asarray(np.stack(part), jnp.float32) for part in zip(*rows, strict=True))
    gram = jnp.asarray([each.gram / each.n for each in sums], jnp.float32)
    noise = jnp.asarray([each.noise / each.n for each in sums], jnp.float32)
    n = jnp.asarray([each.n for each in sums])
    keys = jax.random.split(jax.random.key(seed), np.shape(start)[:2])
    ends = _trained(
        problem, replace(plan, rate=1.0), plan.rate, start, keys, gram, noise, X, y, n
    )
    return np.asarray(ends)


@partial(jax.jit, static_argnums=(0, 1))
def _trained(problem, plan, rate, start, keys, *data):
    """All members of all groups; the data of a group are shared by its members."""
    step, loop = _step(problem, plan), partial(jax.lax.fori_loop, 0, plan.steps)

    def one(w, key, *data):
        zero = jnp.zeros_like(w)
        return loop(partial(step, rate, data), (w, zero, zero, key))[0]

    members = jax.vmap(one, in_axes=(0, 0, *(None for _ in data)))
    return jax.vmap(members)(start, keys, *data)


def _step(problem: Problem, plan: Training) -> Callable:
    """One step of one member: (rate, data, i, state) → state."""
    whole = jax.grad(lambda w, gram, noise: excess(problem, w, gram, noise))
    some = jax.grad(lambda w, x, t: 0.5 * jnp.mean((x @ problem.features(w) - t) ** 2))

    def slope(w, key, gram, noise, X, y, n):
        if plan.optimiser == "SGD":
            chosen = jax.random.randint(key, (plan.batch,), 0, n)
            return some(w, X[chosen], y[chosen])
        pull = w / (n * problem.prior_scale**2) if plan.optimiser == "Langevin" else 0.0
        return whole(w, gram, noise) + pull

    def step(rate, data, i, state):
        w, first, second, key = state
        key, now = jax.random.split(key)
        g = slope(w, now, *data)
        g = g * jnp.minimum(1.0, CLIP / (jnp.linalg.norm(g) + 1e-30))
        if plan.optimiser == "Adam":
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            g = first / (1 - 0.9 ** (i + 1.0))
            g = g / (jnp.sqrt(second / (1 - 0.999 ** (i + 1.0))) + 1e-8)
        w = w - rate * g
        if plan.optimiser == "Langevin":
            w = w + jnp.sqrt(2 * rate / data[-1]) * jax.random.normal(now, w.shape)
        return w, first, second, key

    return step
