"""NUTS on the logistic posterior, in the coordinates of its Laplace approximation (`whitened`).

The kernel is NumPyro's, through its functional interface: one compiled program serves every
data set of about the same shape, because the data are padded.
"""

import time
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from numpyro.infer.hmc import hmc
from tqdm import tqdm

from elkutils.inference.draws import Draws, LinearHead
from elkutils.inference.logistic.mode import Gaussian
from elkutils.inference.logistic.whitened import WhitenedData, potential, whitened_data

BLOCK = 50  # draws per call of the compiled program: how often progress shows
TARGET_ACCEPT = 0.8
MAX_TREE_DEPTH = 10
# A fixed step near 2π/2ᵏ closes the orbits of a normal, and NUTS then misses its U-turns.
OWN_STREAM = 2**20  # fold_in(key, 1) is the key from which NumPyro draws the momentum
JITTER = 0.2


def sample(
    fit: Gaussian,
    X: np.ndarray,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    progress: bool = False,
    weights: np.ndarray | None = None,
) -> Draws:
    """Draw from the exact posterior whose Laplace approximation is `fit`.

    Parameters
    ----------
    fit : Gaussian
        Laplace fit of the same data, with the same weights.
    X : (n, d) array
    draws, warmup, chains : int
        Draws kept and draws spent on adapting the step size, in each chain.
    seed : int
    progress : bool
        Show a bar with the divergences so far.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by; None for 1.

    Returns
    -------
    Draws
        Draws of θ = (coordinates of w in `fit.subspace`, b). Statistics "diverging",
        "acceptance_rate" (mean over the trajectory), "n_steps" (gradients), "tree_depth" and
        "energy"; details "step_size" (chains,), after warm-up in whitened coordinates, and
        "seconds" of processor time for "compiling" (about 0 where a program is reused) and
        for "draws", including warm-up.

    Notes
    -----
    With several JAX devices, and chains in a multiple of their number, each device
    runs its share. Neither the mode nor the labels are needed beyond `fit`: at the mode the
    gradient of the log posterior vanishes, and the remainders depend only on the log odds
    there.
    """
    data = whitened_data(fit, X, weights)
    return _run(fit, data, True, draws, warmup, chains, seed, progress)


def sample_each(
    fits: list[Gaussian], designs: list[np.ndarray], draws: int, warmup: int, seed: int
) -> np.ndarray:
    """Draw one chain from each of many posteriors of the same shape, in one compiled program.

    Returns
    -------
    (problems, draws, k + 1) float64 array
    """
    each = [whitened_data(fit, X) for fit, X in zip(fits, designs, strict=True)]
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *each)
    chains = _run(None, data, False, draws, warmup, len(fits), seed, False)
    pairs = zip(fits, chains.theta, strict=True)
    return np.stack([fit.colour(z[:, : len(fit.mean)]) for fit, z in pairs])


def _run(fit, data, shared, draws, warmup, chains, seed, progress) -> Draws:
    """Run chains on `shared` data or on each its own; without `fit` theta stays white."""
    devices = jax.local_devices()
    spread = len(devices) if shared and len(devices) > 1 and chains % len(devices) == 0 else 1
    begun = time.process_time()
    start, advance = compiled(warmup, spread, shared, data.basis.shape, chains)
    compiling = time.process_time() - begun
    state = start(jax.random.split(jax.random.key(seed), chains), data)
    trace, diverged, total = [], 0, warmup + draws
    with tqdm(total=total, disable=not progress, desc="NUTS", unit="draw") as bar:
        for done in range(0, total, BLOCK):
            length = min(BLOCK, total - done)
            state, block = advance(state, data, length)
            trace.append([np.asarray(part)[:length] for part in block])
            diverged += int(trace[-1][1][max(0, warmup - done) :].sum())
            bar.update(length)
            bar.set_postfix(divergences=diverged)
    z, diverging, accept, steps, energy = (
        np.concatenate(parts)[warmup:].swapaxes(0, 1) for parts in zip(*trace, strict=True)
    )
    z = z.astype(np.float64)
    theta = z if fit is None else fit.colour(z[..., : len(fit.mean)])
    return Draws(
        head=LinearHead(theta.shape[-1] - 1),
        theta=theta,
        stats={
            "diverging": diverging,
            "acceptance_rate": accept,
            "n_steps": steps,
            "tree_depth": np.ceil(np.log2(steps + 1)).astype(int),
            "energy": energy,
        },
        details={
            "step_size": np.asarray(state.adapt_state.step_size),
            "seconds": {
                "compiling": compiling,
                "draws": time.process_time() - begun - compiling,
            },
        },
    )


def transitions(warmup: int) -> tuple[Callable, Callable]:
    """Return the start (key, data) → state and the step (state, data) → state of one chain."""
    init, step = hmc(potential_fn_gen=lambda data: lambda z: potential(z, data), algo="NUTS")

    def begin(key, data):
        key_start, key_chain = jax.random.split(key)
        return init(
            jax.random.normal(key_start, data.basis.shape[1:], jnp.float32),
            num_warmup=warmup,
            step_size=0.5,
            adapt_mass_matrix=False,
            target_accept_prob=TARGET_ACCEPT,
            max_tree_depth=MAX_TREE_DEPTH,
            model_args=(data,),
            rng_key=key_chain,
        )

    def move(state, data):
        step_size = state.adapt_state.step_size
        key = jax.random.fold_in(state.rng_key, OWN_STREAM)
        tried = step_size * jax.random.uniform(key, minval=1 - JITTER, maxval=1 + JITTER)
        after = step(_with_step_size(state, tried), (data,))
        adapted = jnp.where(state.i < warmup, after.adapt_state.step_size, step_size)
        return _with_step_size(after, adapted)

    return begin, move


def _with_step_size(state, step_size):
    return state._replace(adapt_state=state.adapt_state._replace(step_size=step_size))


@lru_cache(maxsize=16)
def compiled(
    warmup: int, devices: int, shared: bool, shape: tuple[int, ...], chains: int
) -> tuple[Callable, Callable]:
    """Compile the chains' start and the advance by a block for data of one shape.

    `shape` is that of the whitened design, (n, k) if `shared` and (chains, n, k) if not.

    `advance(state, data, length)` takes `length` ≤ BLOCK draws and returns the state and the
    traces (BLOCK, chains, …), of which the first `length` rows are filled.
    """
    begin, step = transitions(warmup)
    axes = (0, None if shared else 0)
    start, step = jax.vmap(begin, in_axes=axes), jax.vmap(step, in_axes=axes)

    def advance(state, data, length):
        def body(i, carry):
            state, trace = carry
            state = step(state, data)
            row = state.z, state.diverging, state.accept_prob, state.num_steps, state.energy
            return state, jax.tree.map(lambda t, r: t.at[i].set(r), trace, row)

        row = state.z, state.diverging, state.accept_prob, state.num_steps, state.energy
        empty = jax.tree.map(lambda r: jnp.zeros((BLOCK, *r.shape), r.dtype), row)
        return jax.lax.fori_loop(0, length, body, (state, empty))

    if devices > 1:
        mesh = Mesh(np.array(jax.local_devices()), ("chains",))
        split, whole, rows = (
            PartitionSpec("chains"),
            PartitionSpec(),
            PartitionSpec(None, "chains"),
        )
        start = jax.shard_map(
            start, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False
        )
        advance = jax.shard_map(
            advance,
            mesh=mesh,
            in_specs=(split, whole, whole),
            out_specs=(split, rows),
            check_vma=False,
        )
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), chains))
    vector = jax.ShapeDtypeStruct(shape[:-1], jnp.float32)
    data = WhitenedData(jax.ShapeDtypeStruct(shape, jnp.float32), vector, vector, vector)
    start = jax.jit(start).lower(keys, data).compile()
    state = start.out_info
    advance = jax.jit(advance).lower(state, data, jax.ShapeDtypeStruct((), jnp.int32)).compile()
    return start, lambda state, data, length: advance(state, data, np.int32(length))
