"""The posterior of a small network's head, by NumPyro's HMC or NUTS, many chains at once.

Chains move in the coordinates z = θ/s, s the prior's standard deviations, in which the prior is
standard normal. All chains are one compiled program. NUTS then pays, at every draw, the longest
tree of any chain; HMC with a fixed number of gradients does not, and is the default. Weights
have no meaning of their own (units of a layer can be exchanged), so convergence is judged where
it matters, in predictions: `HeadDraws.diagnose`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import ArrayLike
from numpyro.infer.hmc import hmc
from tqdm import tqdm

from elkutils.inference.diagnostics import Diagnostics, diagnose
from elkutils.inference.heads import MLP, Parameters, log_likelihood, log_odds
from elkutils.inference.logistic import check_data

BLOCK = 20  # kept draws a call of the compiled program: how often progress shows
TARGET_ACCEPT = 0.8
MAX_TREE_DEPTH = 8
LEAST_STEP = 0.2  # of the adapted one; each transition draws its own, so no orbit closes
KERNELS = ("hmc", "nuts")


@dataclass(frozen=True)
class HeadDraws:
    """Draws of a head's parameters, and what the sampler says of each.

    Attributes
    ----------
    head : MLP
    parameters : Parameters
        Every leaf with the leading axes (chains, draws).
    acceptance_rate : (chains, draws) array
        Mean Metropolis acceptance since the draw before.
    diverging : (chains, draws) bool array
        Whether a trajectory lost the energy since the draw before.
    n_steps : (chains, draws) int array
        Gradients taken since the draw before.
    step_size : (chains,) array
        After warm-up, in prior standard deviations.
    seconds : float
        Wall-clock time, compilation and warm-up included.
    """

    head: MLP
    parameters: Parameters
    acceptance_rate: np.ndarray
    diverging: np.ndarray
    n_steps: np.ndarray
    step_size: np.ndarray
    seconds: float

    def log_odds(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds (chains, draws, n) of X (n, d)."""
        shape = len(self.step_size), -1
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), self.parameters)
        return log_odds(self.head, flat, X).reshape(*shape, len(X))

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of the probability of 1, (chains · draws, n), chain by chain."""
        every = self.log_odds(X)
        return np.asarray(jax.nn.sigmoid(every.reshape(-1, every.shape[-1])))

    def diagnose(self, X: ArrayLike) -> Diagnostics:
        """Return R-hat and ESS of the log odds at X (n, d): its "parameters" are the n rows."""
        return diagnose(self.log_odds(X), self.diverging)


def sample(
    head: MLP,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    chains: int = 32,
    steps: int = 32,
    kernel: str = "hmc",
    thin: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> HeadDraws:
    """Draw from the posterior of a head's parameters given X and y.

    Parameters
    ----------
    head : MLP
        Its prior and log odds.
    X : (n, d) array
    y : (n,) array of 0 and 1
        One class will do, since the prior is proper; without rows the posterior is the prior.
    draws, warmup, chains : int
        Draws kept of each chain, transitions that adapt each chain's step, and chains. Chains
        start at draws of the prior, so many short ones tell by R-hat whether they have come to
        the same place. The draws take 4·chains·draws·p bytes, p the number of parameters.
    steps : int
        Gradients a transition of HMC. The step adapts to an acceptance of 0.8, but no further
        than to half a turn of the prior, π over `steps`, within which the directions that the
        data leave alone become fresh. Where `step_size` stays far below that, more of them or
        more draws are needed.
    kernel : "hmc" or "nuts"
        NUTS chooses the number of gradients itself, up to 2⁸ − 1.
    thin : int
        Transitions for each draw kept.
    seed : int
    progress : bool
        Show a bar with the divergences so far.

    Raises
    ------
    ValueError
        For bad data, counts below 1 or an unknown kernel.
    """
    X, y = check_rows(X, y)
    return _run(head, (X, y), True, chains, draws, warmup, steps, kernel, thin, seed, progress)


def sample_each(
    head: MLP,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    steps: int = 32,
    thin: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> HeadDraws:
    """Draw one chain of HMC from each of many posteriors of the same shape, as one program.

    Parameters are those of `sample`, but for X (problems, n, d) and y (problems, n). "Chains"
    of what returns are the problems; R-hat between them has no meaning.
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 3 or y.shape != X.shape[:2] or not len(X):
        raise ValueError(
            f"X has shape {X.shape} and y {y.shape};"
            " they need (problems, n, d) and (problems, n)"
        )
    pairs = [check_rows(*pair) for pair in zip(X, y, strict=True)]
    data = tuple(np.stack(part) for part in zip(*pairs, strict=True))
    return _run(head, data, False, len(X), draws, warmup, steps, "hmc", thin, seed, progress)


def prior_scales(head: MLP, d: int) -> tuple[jax.Array, Callable]:
    """Return the prior's standard deviations (p,), flat, and what makes parameters of (p,).

    The prior has to be an independent normal about 0: the gradient of its log density at 1 is
    then minus the precision.
    """
    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), d))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    slope, unravel = ravel_pytree(jax.grad(head.log_prior)(ones))
    return 1 / jnp.sqrt(-slope), unravel


def check_rows(X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float32, no rows allowed, or raise ValueError."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.shape != (0,) or len(X):
        X, y = check_data(X, y, one_class=True)
    return X.astype(np.float32), y.astype(np.float32)


def check_counts(**counts: int) -> None:
    """Raise ValueError unless every count is a whole number of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} is {value!r}; it has to be a whole number of at least 1")


def _run(head, data, shared, chains, draws, warmup, steps, kernel, thin, seed, progress):
    check_counts(draws=draws, warmup=warmup, chains=chains, steps=steps, thin=thin)
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it has to be one of {', '.join(KERNELS)}")
    begun = time.perf_counter()
    data = tuple(map(jnp.asarray, data))
    settling = -(-warmup // thin)  # rows of the trace that warm-up fills
    with jax.default_matmul_precision("highest"):
        start, advance, longest = _programs(head, settling * thin, steps, kernel, thin, shared)
        rng = np.random.default_rng(seed)
        size = len(prior_scales(head, data[0].shape[-1])[0])
        first = rng.standard_normal((chains, size), dtype=np.float32)
        state = start(jax.random.split(jax.random.key(seed), chains), first, data)
        trace, diverged, total = [], 0, settling + draws
        with tqdm(total=total, disable=not progress, desc="chains", unit="draw") as bar:
            for done, length in _blocks(settling, draws):
                shares = rng.uniform(LEAST_STEP, 1, (BLOCK, chains, thin)).astype(np.float32)
                state, block = advance(state, shares, data, np.int32(length))
                if done >= settling:
                    trace.append([np.asarray(part)[:length] for part in block])
                    diverged += int(trace[-1][2].sum())
                bar.update(length)
                bar.set_postfix(divergences=diverged)
    z, acceptance, diverging, n_steps = (
        np.concatenate(part).swapaxes(0, 1) for part in zip(*trace, strict=True)
    )
    scales, unravel = prior_scales(head, data[0].shape[-1])
    return HeadDraws(
        head=head,
        parameters=jax.tree.map(np.asarray, jax.vmap(jax.vmap(unravel))(z * scales)),
        acceptance_rate=acceptance,
        diverging=diverging,
        n_steps=n_steps,
        step_size=np.asarray(longest(state.adapt_state.step_size)),
        seconds=time.perf_counter() - begun,
    )


def _blocks(settling: int, draws: int) -> list[tuple[int, int]]:
    """Where each block of rows starts and its length; none holds both warm-up and draws."""
    return [
        (done, min(BLOCK, end - done))
        for begin, end in ((0, settling), (settling, settling + draws))
        for done in range(begin, end, BLOCK)
    ]


@lru_cache(maxsize=16)
def _programs(head, warmup, steps, kernel, thin, shared):
    """Return the chains' start, their advance by up to BLOCK kept draws, and the step's cap."""

    def potential_of(X, y):
        scales, unravel = prior_scales(head, X.shape[1])

        def potential(z):
            parameters = unravel(z * scales)
            return -head.log_prior(parameters) - log_likelihood(head(parameters, X), y)

        return potential

    init, step = hmc(potential_fn_gen=potential_of, algo=kernel.upper())

    def begin(key, z, data):
        state = init(
            z,
            num_warmup=warmup,
            step_size=0.1,
            adapt_mass_matrix=False,
            target_accept_prob=TARGET_ACCEPT,
            num_steps=steps if kernel == "hmc" else None,
            trajectory_length=None,
            max_tree_depth=MAX_TREE_DEPTH,
            model_args=data,
            rng_key=key,
        )
        return jax.tree.map(_strong, state)

    def longest(step_size):
        return jnp.minimum(step_size, np.pi / steps) if kernel == "hmc" else step_size

    def move(state, share, data):
        step_size = state.adapt_state.step_size
        after = step(_with_step_size(state, share * longest(step_size)), data)
        adapted = jnp.where(state.i < warmup, after.adapt_state.step_size, step_size)
        return jax.tree.map(_strong, _with_step_size(after, adapted))

    def kept(state, shares, data):
        def body(i, carry):
            state, (accepted, diverging, taken) = carry
            state = move(state, shares[i], data)
            so_far = accepted + state.accept_prob / thin, diverging | state.diverging
            return state, (*so_far, taken + state.num_steps)

        nothing = jnp.zeros(()), jnp.zeros((), bool), jnp.zeros((), state.num_steps.dtype)
        state, found = jax.lax.fori_loop(0, thin, body, (state, nothing))
        return state, (state.z, *found)

    each = jax.vmap(kept, in_axes=(0, 0, None if shared else 0))

    def advance(state, shares, data, length):
        def body(i, carry):
            state, trace = carry
            state, row = each(state, shares[i], data)
            return state, jax.tree.map(lambda t, r: t.at[i].set(r), trace, row)

        _, row = jax.eval_shape(each, state, shares[0], data)
        empty = jax.tree.map(lambda r: jnp.zeros((BLOCK, *r.shape), r.dtype), row)
        return jax.lax.fori_loop(0, length, body, (state, empty))

    start = jax.jit(jax.vmap(begin, in_axes=(0, 0, None if shared else 0)))
    return start, jax.jit(advance), longest


def _strong(x: jax.Array) -> jax.Array:
    """The same with a type that is not weak, so that no program is compiled twice."""
    return jnp.asarray(x, dtype=jnp.result_type(x))


def _with_step_size(state, step_size):
    return state._replace(adapt_state=state.adapt_state._replace(step_size=step_size))
