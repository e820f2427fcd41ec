"""The posterior of a small network's parameters, by NumPyro's HMC or NUTS, many chains at once.

Chains move in the coordinates z = θ/s, where s are the prior's standard deviations, in which
the prior is standard normal. All chains are one compiled program. In NUTS every draw therefore
costs the longest tree of any chain; HMC with a fixed number of gradients avoids this, and is
the default. Single weights have no meaning (units of a layer can be exchanged), so convergence
is judged in predictions: `Draws.diagnose`.
"""

import time
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from numpyro.infer.hmc import hmc
from tqdm import tqdm

from elkutils.inference._checks import (
    check_choice,
    check_counts,
    check_problems,
    check_rows,
    check_weights,
)
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import Network, flat, log_likelihood

BLOCK = 20  # kept draws per call of the compiled program: how often progress shows
TARGET_ACCEPT = 0.8
MAX_TREE_DEPTH = 8
LEAST_STEP = 0.2  # of the adapted one; each transition draws its own, so no orbit closes
KERNELS = ("hmc", "nuts")


def sample(
    network: Network,
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
    weights: ArrayLike | None = None,
) -> Draws:
    """Draw from the posterior of a network's parameters given X and y.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array of 0 and 1
        One class is enough, since the prior is proper; without rows the posterior is the prior.
    draws, warmup, chains : int
        Draws kept per chain, transitions that adapt the step of each chain, and chains. Chains
        start at draws of the prior, so R-hat over many short chains shows whether they have
        come to the same place. The draws take 4·chains·draws·p bytes, where p is the number of
        parameters.
    steps : int
        Gradients per transition of HMC. The step adapts to an acceptance of 0.8, but to no more
        than half a turn of the prior, π over `steps`, in which the directions that the data do
        not constrain become independent. Where "step_size" stays far below that, more steps or
        more draws are needed.
    kernel : "hmc" or "nuts"
        NUTS chooses the number of gradients itself, up to 2⁸ − 1.
    thin : int
        Transitions per draw kept.
    seed : int
    progress : bool
        Show a bar with the divergences so far.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by; None for 1.

    Returns
    -------
    Draws
        Statistics "acceptance_rate" (mean since the draw before), "diverging" (whether a
        trajectory lost the energy since the draw before) and "n_steps" (gradients since the
        draw before); details "step_size" (chains,), after warm-up in prior standard
        deviations, and "seconds", including compilation and warm-up.

    Raises
    ------
    ValueError
        For bad data, counts below 1 or an unknown kernel.
    """
    data = check_rows(X, y, network)
    if weights is not None:
        data = *data, check_weights(weights, len(data[1])).astype(np.float32)
    return _run(network, data, True, chains, draws, warmup, steps, kernel, thin, seed, progress)


def sample_each(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    steps: int = 32,
    thin: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> Draws:
    """Draw one chain of HMC from each of many posteriors of the same shape, as one program.

    Parameters are those of `sample`, except X (problems, n, d) and y (problems, n). The
    "chains" of the result are the problems; R-hat between them has no meaning.
    """
    data = check_problems(X, y, network)
    return _run(
        network, data, False, len(data[0]), draws, warmup, steps, "hmc", thin, seed, progress
    )


@single()
def _run(network, data, shared, chains, draws, warmup, steps, kernel, thin, seed, progress):
    check_counts(draws=draws, warmup=warmup, chains=chains, steps=steps, thin=thin)
    check_choice("kernel", kernel, KERNELS)
    begun = time.perf_counter()
    data = tuple(map(jnp.asarray, data))
    head = flat(network, data[0].shape[-1])
    settling = -(-warmup // thin)  # rows of the trace that warm-up fills
    with jax.default_matmul_precision("highest"):
        start, advance, longest = _programs(head, settling * thin, steps, kernel, thin, shared)
        rng = np.random.default_rng(seed)
        first = rng.standard_normal((chains, head.size), dtype=np.float32)
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
    return Draws(
        head=head,
        theta=z * head.scales,
        stats={"acceptance_rate": acceptance, "diverging": diverging, "n_steps": n_steps},
        details={
            "step_size": np.asarray(longest(state.adapt_state.step_size)),
            "seconds": time.perf_counter() - begun,
        },
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

    network = head.network

    def potential_of(X, y, *weights):
        def potential(z):
            parameters = head.from_white(z)
            fit = log_likelihood(network(parameters, X), y, *weights)
            return -network.log_prior(parameters) - fit

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
