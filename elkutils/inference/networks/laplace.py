"""Laplace's approximation for a network, through the n × n kernel of its training rows.

At a mode of the posterior the network is taken as linear in its parameters (generalised
Gauss–Newton). In z = θ/s, where s are the prior's standard deviations, the posterior is then
N(ẑ, (I + JᵀWJ)⁻¹): J (n, p) is the Jacobian of the outputs at the mode, and W holds the second
derivatives of the loss. No p × p matrix is needed, since everything follows from the kernel
K = JJᵀ (Khan et al. 2019, *Approximate inference turns deep networks into Gaussian processes*;
Immer, Korzepa & Bauer 2021, *Improving predictions of Bayesian neural nets via local
linearization*).

**How draws are vectors of parameters.** Let ε ~ N(0, I_p), η ~ N(0, I_n) and B = I + W½KW½.
Then z = ẑ + ε − JᵀW½B⁻¹(W½Jε + η) is an exact draw from N(ẑ, (I + JᵀWJ)⁻¹) (Matheron's rule;
Wilson et al. 2020, *Efficiently sampling functions from Gaussian process posteriors*). It
answers through the linearised network, the head `Linearised`, whose log odds at any rows are
then draws of the Gaussian process. The network itself at these parameters would answer
otherwise, and worse.

**The last layer.** With all other parameters fixed at the mode, log odds are linear in those of
the last layer: nothing is approximated but the posterior of these, and draws answer through the
network itself.

The mode of a wide network means little (its weights can shrink while the function stays), and a
Gaussian about it sees one mode only. R-hat between chains says nothing here: they are
independent draws from one Gaussian. Without rows the mode is 0, where a network with hidden
units is flat.
"""

import time
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from tqdm import tqdm

from elkutils.checkpoint import Checkpoint
from elkutils.inference._checks import check_counts
from elkutils.inference._precision import exactly
from elkutils.inference.draws import Draws
from elkutils.inference.networks.jacobian import kernel, moved, still
from elkutils.inference.networks.network import UNITS, FlatNetwork, Network, flat, log_odds
from elkutils.inference.networks.training import Loss, check_targets, cross_entropy

ROUND = 100  # iterations of L-BFGS between two checkpoints, after which it starts afresh
MEMORY = 20  # steps that L-BFGS remembers
SETTLED = 1e-6  # largest entry of the gradient, in nats per prior standard deviation
PROBES = 4  # random parameters, and rows, at which linearity is tested
LINEAR = 1e-9  # relative second difference of what counts as linear


@dataclass(frozen=True, eq=False)
class Linearised:
    """A network whose log odds are linear in its parameters about a centre: a head of draws.

    Attributes
    ----------
    base : FlatNetwork
    centre : (p,) array
    """

    base: FlatNetwork
    centre: np.ndarray

    @property
    def network(self) -> Network:
        """The network that is linearised."""
        return self.base.network

    @property
    def units(self) -> int:
        """How many numbers it holds per row and draw: outputs and their derivatives."""
        return 2 * self.base.units

    def check(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) in float64, or raise ValueError."""
        return self.base.check(X)

    def parameters(self, theta: np.ndarray) -> Any:
        """Return parameters (…, p) as the network takes them."""
        return self.base.parameters(theta)

    def log_odds(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return f(centre) + J(θ − centre), (k, n), of parameters (k, p) at X (n, d)."""
        with exactly():
            centre = jnp.asarray(self.centre, theta.dtype)
            at_once = max(1, UNITS // max(1, len(X) * self.units))
            return np.asarray(
                _along(
                    self.base, at_once, centre, jnp.asarray(theta), jnp.asarray(X, theta.dtype)
                )
            )


@partial(jax.jit, static_argnums=(0, 1))
def _along(head, at_once, centre, theta, X):
    middle, forward = jax.linearize(lambda at: head.network(head.parameters(at), X), centre)
    return middle + jax.lax.map(lambda to: forward(to - centre), theta, batch_size=at_once)


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode of the posterior, found by L-BFGS.

    Attributes
    ----------
    z : (p,) array
        In prior standard deviations.
    log_joint : float
        Σ log p(yᵢ) − ½‖z‖², in nats, without the constants of prior and loss.
    slope : float
        Largest entry of the gradient there.
    iterations : int
    """

    z: np.ndarray
    log_joint: float
    slope: float
    iterations: int


@dataclass(frozen=True, eq=False)
class Fit:
    """The Gaussian at a mode of the posterior.

    Attributes
    ----------
    base : FlatNetwork
    X : (n, d) array
    mode : Mode
    chosen : (k,) int array or None
        Parameters that vary, the others staying at the mode; None for all.
    weights : (n,) array
        Second derivatives of the loss at the mode.
    factor : (n, n) array
        Lower Cholesky factor of B = I + W½KW½.
    log_evidence : float
        In nats: Laplace's approximation, up to the constant that the loss leaves out. For the
        last layer it is that of the last layer, given the others.
    at_once : int
        Draws computed at once.
    memory : int
        Bytes for Jacobians of rows.
    """

    base: FlatNetwork
    X: np.ndarray
    mode: Mode
    chosen: np.ndarray | None
    weights: np.ndarray
    factor: np.ndarray
    log_evidence: float
    at_once: int
    memory: int

    @property
    def theta(self) -> np.ndarray:
        """The parameters (p,) at the mode."""
        return self.mode.z * self.base.scales

    @cached_property
    def head(self) -> Linearised | FlatNetwork:
        """What turns draws into log odds: see the module."""
        return Linearised(self.base, self.theta) if self.chosen is None else self.base

    def draw(self, draws: int, seed: int) -> np.ndarray:
        """Return independent draws of the parameters (draws, p), in float32.

        Raises
        ------
        ValueError
            If `draws` is below 1.
        """
        check_counts(draws=draws)
        check_counts(least=0, seed=seed)
        for_white, for_noise = (np.random.default_rng((seed, part)) for part in (1, 2))
        found = np.empty((draws, self.base.size), np.float32)
        found[:] = self.theta
        vary = slice(None) if self.chosen is None else self.chosen
        scales = self.base.scales[vary]
        for begin in range(0, draws, self.at_once):
            size = min(self.at_once, draws - begin)
            white = for_white.standard_normal((size, len(scales)), dtype=np.float32)
            noise = for_noise.standard_normal((size, len(self.X)))
            moves = white - self._explained(white, noise)
            found[begin : begin + size, vary] += moves * scales
        return found

    def predict(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (m,) and covariance (m, m) of the log odds at X (m, d).

        In function space, without draws of parameters: K** − K*ᵀW½B⁻¹W½K* (Rasmussen &
        Williams 2006, *Gaussian processes for machine learning*, eq. 3.24).
        """
        X = self.base.check(X)
        own, across = self._kernel(X, X), self._kernel(self.X, X)
        half = solve_triangular(
            self.factor, np.sqrt(self.weights)[:, None] * across, lower=True
        )
        mean = log_odds(self.base.network, self.base.parameters(self.theta[None]), X)[0]
        return mean, own - half.T @ half

    def draw_log_odds(self, X: ArrayLike, draws: int, seed: int) -> np.ndarray:
        """Return draws of the log odds (draws, m) at X (m, d), jointly over its rows.

        They have the distribution of ``Draws(fit.head, …).log_odds(X)`` but need memory for
        numbers of rows only: use it where draws of all parameters would not fit.
        """
        check_counts(draws=draws)
        check_counts(least=0, seed=seed)
        mean, covariance = self.predict(X)
        values, vectors = np.linalg.eigh(covariance)
        spread = vectors * np.sqrt(np.maximum(values, 0))
        white = np.random.default_rng((seed, 3)).standard_normal((draws, len(mean)))
        return mean + white @ spread.T

    def _explained(self, white: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """JᵀW½B⁻¹(W½Jε + η), (size, k), of ε (size, k) and η (size, n)."""
        forward, backward = _pulls(self.base)
        place = self.mode.z.astype(np.float32), self.chosen, jnp.asarray(self.X, jnp.float32)
        with exactly():
            seen = np.asarray(forward(*place, white), np.float64)
            root = np.sqrt(self.weights)
            inner = cho_solve((self.factor, True), (root * seen + noise).T).T
            return np.asarray(backward(*place, np.float32(root * inner)))

    def _kernel(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        options = {"chosen": self.chosen, "memory": self.memory}
        return kernel(self.base, self.mode.z, left, right, **options)


def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    chains: int = 1,
    *,
    last_layer: bool = False,
    loss: Loss = cross_entropy,
    iterations: int = 5000,
    memory: int = 2**29,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Draws:
    """Draw from Laplace's approximation to the posterior of a network's parameters.

    Parameters
    ----------
    draws, chains : int
        Draws per chain, and chains: all are independent, and take 4·chains·draws·p bytes.
    network, X, y, last_layer, loss, iterations, memory, seed, checkpoint, progress
        As in `fit`.

    Returns
    -------
    Draws
        With the head `Linearised`, or the network itself for the last layer. Details: "fit",
        the `Fit`; "log_evidence"; "seconds".

    Raises
    ------
    ValueError
        As `fit`, and for counts below 1.
    """
    begun = time.perf_counter()
    check_counts(draws=draws, chains=chains)
    if np.ndim(X) == 2:
        flat(network, np.shape(X)[1]).check_memory(draws * chains)
    options = {"last_layer": last_layer, "loss": loss, "iterations": iterations}
    options |= {"memory": memory, "seed": seed, "checkpoint": checkpoint, "progress": progress}
    found = fit(network, X, y, **options)
    theta = found.draw(draws * chains, seed).reshape(chains, draws, -1)
    details = {"fit": found, "log_evidence": found.log_evidence}
    return Draws(found.head, theta, {}, details | {"seconds": time.perf_counter() - begun})


def fit(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    last_layer: bool = False,
    loss: Loss = cross_entropy,
    iterations: int = 5000,
    memory: int = 2**29,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Fit:
    """Find a mode of the posterior by L-BFGS, and the Gaussian there.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array
        Labels 0 and 1, or what `loss` takes.
    last_layer : bool
        Vary only the parameters that `last_layer_of` finds.
    loss : callable
        Minus the log likelihood of a row, up to a constant, and convex in the output; see
        `training.cross_entropy` and `training.Squared`.
    iterations : int
        Most iterations of L-BFGS.
    memory : int
        Bytes for gradients of rows, 64·p at least, and for draws on their way, 20·p at least.
        The search needs 400·p, and the kernel 8n² beside.
    seed : int
        The search starts at a draw of the prior.
    checkpoint : path or None
        A safetensors file that is kept while the mode is searched. A call with the same
        arguments that finds one continues from there, to the same mode; at the end the file is
        removed.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        For bad data or arguments, if the network has no last layer in which it is linear, or
        the checkpoint is damaged or of a call with other arguments.
    ArithmeticError
        If the loss or its curvature is not finite at the start or the mode.

    Warns
    -----
    RuntimeWarning
        If the search has not settled after so many iterations.
    """
    X, y = check_targets(X, y, loss, network)
    check_counts(iterations=iterations, memory=memory)
    check_counts(least=0, seed=seed)
    head = flat(network, X.shape[1])
    kept = None
    if checkpoint is not None:
        named = getattr(loss, "__name__", loss)
        kept = Checkpoint.of(checkpoint, X, (y,), network, named, iterations, seed)
    mode = _search(head, X, y, loss, iterations, seed, kept, progress)
    chosen = last_layer_of(head) if last_layer else None
    at_once = int(max(1, memory // (20 * (head.size + 2 * head.units * max(1, len(X))))))
    with exactly():
        value, weights = map(np.asarray, _curved(head, loss)(mode.z, *map(jnp.asarray, (X, y))))
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ArithmeticError("the loss is not convex or not finite at the mode")
    root = np.sqrt(weights)
    found = kernel(head, mode.z, X, chosen=chosen, memory=memory)
    found = root[:, None] * (found + found.T) / 2 * root
    factor = cholesky(found + np.eye(len(X)), lower=True)
    moved = mode.z if chosen is None else mode.z[chosen]
    log_evidence = -float(value) - 0.5 * moved @ moved - np.sum(np.log(np.diag(factor)))
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    return Fit(head, X, mode, chosen, weights, factor, float(log_evidence), at_once, memory)


def find_mode(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: Loss = cross_entropy,
    iterations: int = 5000,
    seed: int = 0,
    progress: bool = False,
) -> Mode:
    """Return a mode of the posterior, found by L-BFGS from a draw of the prior.

    Parameters, errors and warnings are those of `fit`.
    """
    X, y = check_targets(X, y, loss, network)
    check_counts(iterations=iterations)
    check_counts(least=0, seed=seed)
    head = flat(network, X.shape[1])
    return _search(head, X, y, loss, iterations, seed, None, progress)


def last_layer_of(head: FlatNetwork) -> np.ndarray:
    """Return which parameters (k,) the log odds are jointly linear in, from the last leaf on.

    Leaf by leaf, from the last to the first, one is added if log odds at random rows and
    parameters stay linear (but for an offset) in all that were added: no network has to say
    which of its layers is the last.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> from elkutils.inference.networks.mlp import MLP
    >>> last_layer_of(flat(MLP((3,)), 2)).tolist()  # 9 in the hidden layer, then these
    [9, 10, 11, 12]
    """
    rng = np.random.default_rng(0)
    z, move = rng.standard_normal((2, PROBES, head.size))
    rows = rng.standard_normal((PROBES, head.features))

    def at(z):
        return log_odds(head.network, head.parameters(z * head.scales), rows)

    mask, end, middle = np.zeros(head.size), head.size, at(z)
    for leaf in reversed(jax.tree.leaves(head.form)):
        trial = mask.copy()
        trial[end - leaf.size : end] = 1
        above, below = at(z + trial * move), at(z - trial * move)
        bent = np.abs(above + below - 2 * middle).max()
        if bent <= LINEAR * np.abs([above, below, middle]).max():
            mask = trial
        end -= leaf.size
    if not mask.any():
        raise ValueError(
            f"the network is {head.network!r}; for a last layer the log odds have to be linear"
            " in one leaf of its parameters at least"
        )
    return np.flatnonzero(mask)


class _Search:
    """L-BFGS on its way, in rounds: see `checkpoint.Resumable`."""

    def __init__(self, start: np.ndarray):
        self.z, self.slope, self.value = start, np.inf, np.inf
        self.iterations, self.over = 0, False

    def advance(self, objective, most: int) -> None:
        """Go on for a round, or until the gradient is small or rounding ends the search."""
        options = {"maxiter": most, "maxcor": MEMORY, "gtol": SETTLED, "ftol": 1e-15}
        options |= {"maxfun": 20 * most}
        before = self.value
        found = minimize(objective, self.z, jac=True, method="L-BFGS-B", options=options)
        if not np.isfinite(found.fun):
            raise ArithmeticError(f"the objective is {found.fun}; rescale X, as by z-scoring")
        self.z, self.value, self.slope = found.x, float(found.fun), float(abs(found.jac).max())
        self.iterations += max(1, found.nit)
        gained = before - self.value > 1e-13 * abs(self.value)
        self.over = self.slope <= SETTLED or not gained

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        about = {name: getattr(self, name) for name in ("slope", "value", "iterations", "over")}
        return {"z": self.z}, about

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        self.z = arrays["z"]
        vars(self).update({name: about[name] for name in vars(self) if name in about})


def _search(head, X, y, loss, iterations, seed, kept, progress) -> Mode:
    start = np.random.default_rng((seed, 0)).standard_normal(head.size)
    run = _Search(start)
    if kept is not None:
        kept.resume(run)
    with exactly():
        slope = _objective(head, loss)
        data = jnp.asarray(X, jnp.float64), jnp.asarray(y, jnp.float64)

        def objective(z):
            value, gradient = slope(z, *data)
            return float(value), np.asarray(gradient, np.float64)

        with tqdm(
            initial=run.iterations, disable=not progress, desc="mode", unit="step"
        ) as bar:
            while not run.over and run.iterations < iterations:
                before = run.iterations
                run.advance(objective, min(ROUND, iterations - run.iterations))
                if kept is not None:
                    kept.save(run)
                bar.update(run.iterations - before)
                bar.set_postfix(log_joint=f"{-run.value:.2f}", slope=f"{run.slope:.1e}")
    if not run.over:
        warnings.warn(
            f"the mode has not settled after {run.iterations} iterations: the largest entry of"
            f" the gradient is {run.slope:.1e}",
            RuntimeWarning,
            stacklevel=3,
        )
    return Mode(run.z, -run.value, run.slope, run.iterations)


@lru_cache(maxsize=16)
def _objective(head: FlatNetwork, loss: Loss):
    def minus_log_joint(z, X, y):
        return 0.5 * z @ z + jnp.sum(loss(head.network(head.from_white(z), X), y))

    return jax.jit(jax.value_and_grad(minus_log_joint))


@lru_cache(maxsize=16)
def _curved(head: FlatNetwork, loss: Loss):
    """The total loss and its second derivatives (n,) by the outputs."""

    @jax.jit
    def look(z, X, y):
        outputs = head.network(head.from_white(z), X.astype(z.dtype))
        targets = y.astype(z.dtype)
        curved = jax.vmap(jax.grad(jax.grad(loss)))(outputs, targets)
        return jnp.sum(loss(outputs, targets)), curved

    return look


@lru_cache(maxsize=16)
def _pulls(head: FlatNetwork):
    """Return what maps moves (size, k) to Jε (size, n), and what maps α (size, n) to Jᵀα."""

    def forward_of(z, chosen, X):
        nothing = still(z, chosen)
        return jax.linearize(moved(head, z, chosen, X), nothing)[1], nothing

    @jax.jit
    def forward(z, chosen, X, moves):
        return jax.vmap(forward_of(z, chosen, X)[0])(moves)

    @jax.jit
    def backward(z, chosen, X, right):
        along, nothing = forward_of(z, chosen, X)
        back = jax.linear_transpose(along, nothing)
        return jax.vmap(lambda each: back(each)[0])(right)

    return forward, backward
