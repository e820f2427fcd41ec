"""The Gaussian nearest to the posterior of logistic regression.

Among all N(m, Λ⁻¹) it maximises the evidence lower bound. At the maximum (Opper & Archambeau
2009, *The variational Gaussian approximation revisited*, eqs. 15 and 16)

    Aᵀ(E[σ] − y) + P m = 0   and   Λ = Aᵀ diag(E[σ′]) A + P,

where A is the design, P the prior precision, and the expectations are over the Gaussian's log
odds, one dimension per row. One step is one pass over the rows: Λ moves a share ρ of the way
to the right side, and m takes a Newton step of length ρ. Both are natural gradients, so a
short enough step climbs, and ρ shrinks until it does. The fit starts at w = 0, where σ′ is
largest and the first Λ too tight; so it needs no mode first.

The work that grows with the rows is done by JAX, on the device that holds them. The p × p work
is done by LAPACK, in float64.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.polynomial.hermite_e import hermegauss
from scipy.linalg.lapack import dtrtri

from elkutils.inference.logistic import rows
from elkutils.inference.logistic.mode import cholesky
from elkutils.inference.logistic.rows import Block, Stream, total

NODES, WEIGHTS = hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SHORTEST = 1e-3  # ρ below which the fit has failed
SAMPLE = 16  # rows per parameter of the sample that the fit of many rows starts from
ROUNDING = 1e-3  # pivot below which float32 might change a variance by a thousandth


class Sums(NamedTuple):
    """The sums over the rows under a Gaussian."""

    loss: jax.Array  # expected negative log likelihood, ()
    gradient: jax.Array  # Aᵀ(E[σ] − y), (p,)
    hessian: jax.Array  # Aᵀ diag(E[σ′]) A, (p, p)


class Expansion(NamedTuple):
    """Rows whose losses are expanded to pΔ + weight Δ²/2 in the change Δ of their log odds.

    Attributes
    ----------
    basis : (rows, p) array
        A S, so that Δ = basis @ z; A itself where rows are streamed.
    turned : (p, rows) array or None
        Its transpose, laid out for the second product, which then uses all cores.
    log_odds, p, weight : (rows,) arrays
    count : (rows,) array or None
        How often each row counts; None for once.
    """

    basis: jax.Array
    turned: jax.Array | None
    log_odds: jax.Array
    p: jax.Array
    weight: jax.Array
    count: jax.Array | None = None


class NotSettled(ArithmeticError):
    """The fit has not settled: the posterior is too far from any Gaussian."""


@dataclass(frozen=True)
class Fit:
    """The variational Gaussian N(m, SSᵀ), and the expansion of the posterior about it.

    Exactly, −log posterior of θ = m + Sz is ‖z‖²/2 + c·z plus the remainder of each row's loss
    after its expansion: `Target`.

    Attributes
    ----------
    mean : (p,) float64 array
    factor, spread : (p, p) float64 arrays
        Lower triangular L with L Lᵀ = Λ, and S = L⁻ᵀ.
    tilt : (p,) float64 array
        c, which is near 0 in a settled fit.
    expansions : iterable of Expansion
        In float32, one per block of rows.
    elbo : float
        Evidence lower bound in nats; with a flat bias its prior density is taken as 1.
    pivot : float
        Smallest diagonal entry of Λ's Cholesky factor at unit diagonal, squared: rounding of
        the rows' sums is multiplied by its inverse.
    passes : int
        Passes over all the rows.
    """

    mean: np.ndarray
    factor: np.ndarray
    spread: np.ndarray
    tilt: np.ndarray
    expansions: Iterable[Expansion]
    elbo: float
    pivot: float
    passes: int


@rows.exactly()
def fit(
    X: np.ndarray,
    y: np.ndarray,
    precision: np.ndarray,
    memory: int | None = None,
    mesh: Mesh | None = None,
    tolerance: float = 0.5,
    weights: np.ndarray | None = None,
) -> Fit:
    """Return the Gaussian nearest to the posterior of X (n, k) and y (n,).

    With many more rows than parameters the fit is first made on an even sample of the rows;
    from there all rows take one or two passes.

    Parameters
    ----------
    X, y, precision, memory, mesh, weights
        As in `elkutils.inference.logistic.hmc.sample`.
    tolerance : float
        As in `fit_blocks`.

    Raises
    ------
    NotSettled
        As `fit_blocks`.
    ValueError
        If the mesh has other axes than "rows" and "chains", or is given with `memory`.
    """
    rows.check_mesh(mesh, memory)
    (n, k) = X.shape
    counts = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    share = (np.sum(counts * y) + 0.5) / (np.sum(counts) + 1)
    precision, start = np.asarray(precision, np.float64), None
    every = n // (SAMPLE * (k + 1))
    if every >= 4:
        some = None if weights is None else weights[::every]
        part = rows.in_memory(X[::every], y[::every], np.float32, weights=some)
        found = fit_blocks(part, precision, share)
        prior = np.diag(precision)
        times = every if weights is None else np.sum(weights) / np.sum(some)
        start = found.mean, times * (found.factor @ found.factor.T - prior) + prior
    if memory is not None and 12 * n * (k + 1) > memory:
        stream = Stream(X, y, max(1, memory // (16 * (k + 1))), weights)
        return fit_blocks(stream, precision, share, tolerance, start=start)
    return _fit_in_memory(X, y, precision, share, tolerance, start, mesh, weights)


def _fit_in_memory(X, y, precision, share, tolerance, start, mesh, weights) -> Fit:
    """The fit in float32 if that is enough, and in float64 if not; one copy of X at a time."""
    single = rows.in_memory(X, y, np.float32, mesh, weights)
    try:
        found = fit_blocks(single, precision, share, tolerance, start=start, mesh=mesh)
        if found.pivot > ROUNDING:
            return found
        del found  # it holds a copy of X as well
    except NotSettled:
        pass
    del single
    double = rows.in_memory(X, y, np.float64, mesh, weights)
    return fit_blocks(double, precision, share, tolerance, start=start, mesh=mesh)


def fit_blocks(
    blocks: Iterable[Block],
    precision: np.ndarray,
    share: float,
    tolerance: float = 0.5,
    limit: int = 60,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[float], None] = lambda gain: None,
) -> Fit:
    """Return the Gaussian nearest to the posterior; needs JAX's 64-bit mode.

    Parameters
    ----------
    blocks : iterable of Block
    precision : (p,) array
        Prior precision of each parameter; 0 for a flat one.
    share : float
        Share of ones among y, from which the bias starts.
    tolerance : float
        The fit stops once the next step is expected to gain less of the evidence lower bound,
        in nats.
    limit : int
        Largest number of passes over the rows.
    start : (mean, precision) or None
        A Gaussian to start from.
    mesh : Mesh or None
        The mesh that the blocks lie on.
    progress : callable
        Called with the gain after each pass.

    Raises
    ------
    NotSettled
        If no step climbs, or not within `limit` passes, as with separable data under a loose
        prior.
    """
    prior = np.asarray(precision, np.float64)
    search = _Search(blocks, prior, mesh)
    here, tried, rate, settled = search.start(share, start), 1, 1.0, False
    last = np.inf
    while not settled:
        if rate < SHORTEST or tried >= limit:
            raise NotSettled(f"the Gaussian fit has not settled after {tried} passes")
        try:
            there = search.towards(here, rate)
        except np.linalg.LinAlgError as error:
            raise NotSettled(f"the Gaussian fit lost its way: {error}") from error
        tried += 1
        gain = here.bound - there.bound
        progress(gain)
        climbs = gain >= -0.1 * tolerance - 1e-6 * abs(there.bound)  # or is lost in rounding
        # Gains fall like a geometric series or faster.
        left = gain * min(1.0, gain / last) if np.isfinite(last) else gain
        settled = climbs and rate == 1.0 and left < tolerance
        here, rate = (there, min(1.0, 2 * rate)) if climbs else (here, rate / 4)
        last = gain if climbs else np.inf
    proper = prior[prior > 0]
    flat = len(prior) - len(proper)
    constant = 0.5 * (np.log(proper).sum() + flat * np.log(2 * np.pi) + len(prior))
    return Fit(
        mean=here.mean,
        factor=here.factor,
        spread=here.spread,
        tilt=here.spread.T @ here.gradient,
        expansions=search.expansions(here),
        elbo=constant - here.bound,
        pivot=float(np.min(np.diag(here.factor) ** 2 / np.diag(here.precision))),
        passes=tried,
    )


class _View(NamedTuple):
    """A Gaussian, and the sums over the rows under it."""

    mean: np.ndarray
    precision: np.ndarray
    factor: np.ndarray
    spread: np.ndarray
    bound: float  # negative evidence lower bound, up to a constant
    gradient: np.ndarray  # Aᵀ(E[σ] − y) + P m
    hessian: np.ndarray  # Aᵀ diag(E[σ′]) A + P
    each: list[tuple]  # of every block: basis, its transpose, log odds, E[σ], E[σ′]
    weights: list | None  # of every block: the weights that the precision is made of


@dataclass(frozen=True)
class _Search:
    """Passes over the rows under one Gaussian after another."""

    blocks: Iterable[Block]
    prior: np.ndarray
    mesh: Mesh | None

    def start(self, share: float, given) -> _View:
        """What is given, or a point: the bias that gives every row the share of ones.

        Its precision is made of no weights, so it is only to step from.
        """
        if given is not None:
            return self._at(*given, None)
        p = len(self.prior)
        mean = np.append(np.zeros(p - 1), np.log(share / (1 - share)))
        none = np.zeros((p, p))
        return self._look(mean, none, none, none, None)

    def towards(self, view: _View, rate: float) -> _View:
        """A share `rate` of the way to the fixed point's right side."""
        fresh = [block[-1] for block in view.each]
        precision, weights = view.hessian, fresh
        if rate < 1 and view.weights is not None:
            precision = (1 - rate) * view.precision + rate * view.hessian
            pairs = zip(view.weights, fresh, strict=True)
            weights = [(1 - rate) * old + rate * new for old, new in pairs]
        return self._at(view.mean, precision, weights, rate * view.gradient)

    def _at(self, mean, precision, weights, gradient=None) -> _View:
        """The Gaussian of `precision` whose mean is a Newton step against `gradient` away."""
        factor = cholesky(precision)
        spread = dtrtri(factor, lower=True)[0].T
        if gradient is not None:
            mean = mean - spread @ (spread.T @ gradient)
        return self._look(mean, precision, factor, spread, weights)

    def expansions(self, view: _View) -> Iterable[Expansion]:
        """The rows' expansion about a Gaussian, with the weights its precision is made of."""
        each = [
            tuple(jnp.asarray(part, jnp.float32) for part in (*parts[:-1], weight))
            for parts, weight in zip(view.each, view.weights, strict=True)
        ]
        if isinstance(self.blocks, Stream):
            return _Streamed(self.blocks, each)
        return [
            Expansion(*parts, _single(block.weights))
            for parts, block in zip(each, self.blocks, strict=True)
        ]

    def _look(self, mean, precision, factor, spread, weights) -> _View:
        kept = not isinstance(self.blocks, Stream)
        sums, each = None, []
        for block in self.blocks:
            found, parts = expected(block, mean, spread, kept, self.mesh)
            sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
            each.append(parts)
        loss, gradient, hessian = (np.asarray(part) for part in sums)
        variance = np.sum(spread**2, axis=1)
        with np.errstate(divide="ignore"):
            entropy = np.sum(np.log(np.diag(spread)))
        return _View(
            mean,
            precision,
            factor,
            spread,
            bound=loss + 0.5 * np.sum(self.prior * (mean**2 + variance)) - entropy,
            gradient=gradient + self.prior * mean,
            hessian=hessian + np.diag(self.prior),
            each=each,
            weights=weights,
        )


@dataclass(frozen=True)
class _Streamed:
    """Expansions of rows that are read anew each time."""

    stream: Stream
    each: list[tuple]

    def __iter__(self):
        for block, parts in zip(self.stream, self.each, strict=True):
            yield Expansion(block.design, None, *parts, block.weights)


@partial(jax.jit, static_argnames=("keep_basis", "mesh"))
def expected(
    block: Block,
    mean: np.ndarray,
    spread: np.ndarray,
    keep_basis: bool = True,
    mesh: Mesh | None = None,
) -> tuple[Sums, tuple]:
    """Return the sums over the rows of `block` under N(`mean`, S Sᵀ), S the `spread`.

    Returns
    -------
    Sums and tuple
        Sums over the rows; and for each row its basis and the transpose (if kept), log odds,
        E[σ] and E[σ′].
    """
    design, y, counts = block
    log_odds = design @ mean.astype(design.dtype)
    basis = design @ spread.astype(design.dtype)
    nodes, weights = jnp.asarray(NODES, design.dtype), jnp.asarray(WEIGHTS, design.dtype)
    grid = log_odds[:, None] + jnp.linalg.norm(basis, axis=1)[:, None] * nodes
    at_nodes = jax.nn.sigmoid(grid)
    present = design[:, -1]
    p = at_nodes @ weights
    weight = (at_nodes * (1 - at_nodes)) @ weights * present
    loss = (jax.nn.softplus(grid) @ weights - y * log_odds) * present
    slope, curvature = p - y, weight
    if counts is not None:
        loss, slope, curvature = counts * loss, counts * slope, counts * weight
    root = design * jnp.sqrt(curvature)[:, None]
    sums = Sums(
        loss=jnp.sum(loss, dtype=jnp.float64),
        gradient=(slope @ design).astype(jnp.float64),
        hessian=(root.T @ root).astype(jnp.float64),
    )
    each = log_odds, p, weight
    return replicated(sums, mesh), ((basis, basis.T, *each) if keep_basis else each)


def _single(weights: jax.Array | None) -> jax.Array | None:
    return None if weights is None else jnp.asarray(weights, jnp.float32)


def replicated(tree: Any, mesh: Mesh | None) -> Any:
    """Make every device of `mesh` hold all of `tree`."""
    if mesh is None:
        return tree
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, whole), tree)


class Target(NamedTuple):
    """The remainder R(z) of the posterior over its Gaussian, and its slope."""

    expansions: Iterable[Expansion]
    tilt: jax.Array  # c, (p,) float32
    spread: jax.Array | None = None  # S, (p, p) float32, where the expansions' basis is A

    @classmethod
    def of(cls, fit: Fit) -> "Target":
        """Return the target of a fit."""
        spread = None if isinstance(fit.expansions, list) else fit.spread.astype(np.float32)
        return cls(fit.expansions, fit.tilt.astype(np.float32), spread)

    def __call__(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return R(z), (chains,), and ∇R(z), (p, chains), at z (p, chains)."""
        value, slope = total(remainder, self.expansions, self._in_basis(z))
        return value + self.tilt @ z, self._from_basis(slope) + self.tilt[:, None]

    def _in_basis(self, z):
        return z if self.spread is None else self.spread @ z

    def _from_basis(self, slope):
        return slope if self.spread is None else self.spread.T @ slope


@rows.exactly()
def targets(
    X: np.ndarray, y: np.ndarray, precision: np.ndarray, passes: int = 12
) -> tuple["Target", np.ndarray, np.ndarray]:
    """Return the targets of many small posteriors, stacked, with their Gaussians.

    Parameters
    ----------
    X : (problems, n, k) array
    y : (problems, n) array of 0 and 1
    precision : (k + 1,) array
    passes : int
        Passes, without a check of progress: the split is exact about any Gaussian.

    Returns
    -------
    Target, (problems, p) array, (problems, p, p) array
        The stacked targets, and the means and spreads of their Gaussians.
    """
    count, n, _ = X.shape
    block = Block(np.concatenate([X, np.ones((count, n, 1))], axis=2), y.astype(np.float64))
    mean = np.zeros((count, len(precision)))
    spread = np.zeros((count, *2 * mean.shape[1:]))
    look = jax.jit(jax.vmap(expected))
    for _ in range(passes):
        sums, (*_, weight) = look(block, mean, spread)
        factor = np.linalg.cholesky(np.asarray(sums.hessian) + np.diag(precision))
        spread = np.linalg.inv(factor).swapaxes(1, 2)
        slope = np.asarray(sums.gradient) + precision * mean
        mean = mean - np.einsum("rij,rkj,rk->ri", spread, spread, slope)
    sums, (basis, turned, log_odds, p, _) = look(block, mean, spread)
    tilt = np.einsum("rij,ri->rj", spread, np.asarray(sums.gradient) + precision * mean)
    parts = (
        np.asarray(part, np.float32) for part in (basis, turned, log_odds, p, weight, tilt)
    )
    *expansion, tilt = parts
    return Target([Expansion(*expansion)], tilt), mean, spread


@jax.jit
def remainder(expansion: Expansion, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the part of the rows in R and in its slope, at basis coordinates u (p, chains)."""
    basis, turned, log_odds, p, weight, count = expansion
    turned = basis.T if turned is None else turned
    log_odds, p, weight = log_odds[:, None], p[:, None], weight[:, None]
    change = basis @ u
    moved, larger, at_mean = log_odds + change, _larger(log_odds + change), _larger(log_odds)
    loss = jnp.maximum(moved, 0) - jnp.log(larger)
    excess = loss - (jnp.maximum(log_odds, 0) - jnp.log(at_mean))
    excess -= change * (p + 0.5 * weight * change)
    slope = jnp.where(moved >= 0, larger, 1 - larger) - p - weight * change
    if count is not None:
        excess, slope = count[:, None] * excess, count[:, None] * slope
    # A product with ones keeps XLA from folding exp and log into a scalar loop over the sum.
    value = jnp.ones_like(log_odds[:, 0]) @ excess
    return value.astype(jnp.float64), turned @ slope


def _larger(log_odds):
    """The larger of σ and 1 − σ; −log of it is what softplus exceeds max(·, 0) by."""
    return 1 / (1 + jnp.exp(-jnp.abs(log_odds)))
