"""The protocol of a network, and the functions that every sampler of networks shares.

A network is a frozen dataclass of its architecture and prior. Its parameters are a tree of
arrays of the network's own choosing; samplers see only θ, all of them in one vector
(`FlatNetwork`), or z = θ/s, where s are the prior's standard deviations.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from elkutils.inference._checks import check_for, check_memory
from elkutils.inference._precision import exactly, single
from elkutils.inference.draws import check_inputs

UNITS = 2**24  # numbers of a forward pass held at once: bounds the memory
BYTES = 4
COPIES = 2  # of all parameters that drawing them holds at its peak

Parameters = Any  # a tree of arrays


class Network(Hashable, Protocol):
    """An architecture and a prior. Equal networks share compiled programs: it is hashable.

    It may also have `input_weights(d)`, a tree like the parameters that is True for weights
    (d, …) which meet the inputs in the product X @ weights. If nothing else sees the inputs,
    `networks.hmc` then works in the row space of X (`networks.rowspace`). And it may have
    `check(X)`, which raises ValueError for rows X (n, d) that the network cannot take.
    """

    def init(self, key: jax.Array, d: int) -> Parameters:
        """Return parameters for d inputs, drawn from the prior."""

    def __call__(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Return the log odds (n,) of X (n, d)."""

    def log_prior(self, parameters: Parameters) -> jax.Array:
        """Return the log density of the prior at these parameters, in nats."""

    def scales(self, d: int) -> Parameters:
        """Return the prior's standard deviations, one number per leaf of the parameters.

        The prior of each leaf is independent normal about 0.
        """

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row."""


@dataclass(frozen=True)
class FlatNetwork:
    """A network on d inputs whose parameters are one vector: the head of its draws.

    θ holds the leaves of the parameters in the order of `jax.tree.leaves`.

    Examples
    --------
    >>> from elkutils.inference.networks.mlp import MLP
    >>> flat(MLP((3,)), 2).size  # 2 · 3 weights, 3 biases, 3 weights, 1 bias
    13
    """

    network: Network
    features: int

    @cached_property
    def form(self) -> Parameters:
        """The parameters' shapes and types."""
        return jax.eval_shape(lambda: self.network.init(jax.random.key(0), self.features))

    @cached_property
    def size(self) -> int:
        """p, the number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.form))

    @cached_property
    def scales(self) -> np.ndarray:
        """The prior's standard deviations (p,)."""
        scales = jax.tree.map(
            lambda leaf, scale: np.full(leaf.shape, scale, np.float32),
            self.form,
            self.network.scales(self.features),
        )
        return np.asarray(self.flatten(scales))

    def parameters(self, theta: ArrayLike) -> Parameters:
        """Return parameters (…, p) as the network takes them, each leaf with its own shape."""
        leaves, tree = jax.tree.flatten(self.form)
        parts, done = [], 0
        for leaf in leaves:
            part = theta[..., done : done + leaf.size]
            parts.append(part.reshape(*theta.shape[:-1], *leaf.shape))
            done += leaf.size
        return tree.unflatten(parts)

    def flatten(self, parameters: Parameters) -> np.ndarray | jax.Array:
        """Return θ (…, p) of parameters with any leading axes: the inverse of `parameters`."""
        pairs = zip(jax.tree.leaves(parameters), jax.tree.leaves(self.form), strict=True)
        parts = [
            part.reshape(*part.shape[: part.ndim - leaf.ndim], leaf.size)
            for part, leaf in pairs
        ]
        module = np if all(isinstance(part, np.ndarray) for part in parts) else jnp
        return module.concatenate(parts, axis=-1)

    def from_white(self, z: jax.Array) -> Parameters:
        """Return the parameters at z (p,), where the prior is standard normal."""
        return self.parameters(z * self.scales)

    @property
    def units(self) -> int:
        """How many numbers a forward pass holds per row."""
        return self.network.units(self.features)

    def check(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) in float64, or raise ValueError."""
        X = check_inputs(X, self.features, np.float64)
        check_for(self.network, X)
        return X

    def log_odds(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the log odds (k, n) of parameters (k, p) at X (n, d), in theta's precision."""
        return log_odds(self.network, self.parameters(theta), X)

    def check_memory(self, count: int) -> None:
        """Raise MemoryError if `count` draws of the parameters cannot fit, with what they take.

        It is 4·p bytes per draw, twice, since they are copied on their way.
        """
        needed = COPIES * BYTES * count * self.size
        check_memory(needed, f"{count} draws of a network with {self.size:,} parameters")

    def at_once(self, rows: int, memory: int) -> int:
        """Return how many networks fit into `memory` bytes, with their units at n rows; ≥ 1."""
        units = rows * self.units
        return int(max(1, memory // (BYTES * (self.size + 2 * units))))


@lru_cache(maxsize=64)
def flat(network: Network, d: int) -> FlatNetwork:
    """Return the network on d inputs with flat parameters, the same object each time."""
    return FlatNetwork(network, d)


def log_odds(network: Network, parameters: Parameters, X: ArrayLike) -> np.ndarray:
    """Return the log odds (k, n) of X (n, d) for parameters with one leading axis (k, …).

    They are computed in the precision of the parameters.

    Raises
    ------
    ValueError
        If X is not a finite table, or the parameters are for other numbers of inputs.
    """
    leaves, X = jax.tree.leaves(parameters), np.asarray(X)
    form = jax.tree.leaves(flat(network, X.shape[-1]).form) if X.ndim == 2 else []
    if [leaf.shape for leaf in form] != [leaf.shape[1:] for leaf in leaves]:
        raise ValueError(f"X has shape {X.shape}; it needs (n, d), d as the parameters have it")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinity; every entry has to be finite")
    check_for(network, X)
    with exactly():
        X = jnp.asarray(X, leaves[0].dtype)
        at_once = max(1, UNITS // max(1, len(X) * network.units(X.shape[-1])))
        at_once = None if len(leaves[0]) <= at_once else at_once
        return np.asarray(_log_odds(network, at_once, parameters, X))


@partial(jax.jit, static_argnums=(0, 1))
def _log_odds(network, at_once, parameters, X):
    each = partial(network, X=X)
    if at_once is None:
        return jax.vmap(each)(parameters)
    return jax.lax.map(each, parameters, batch_size=at_once)


def log_likelihood(
    log_odds: jax.Array, y: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """Return the log probability of the labels y (n,) of 0 and 1, in nats.

    Each row's is multiplied by its weight, where `weights` (n,) are given.
    """
    losses = jax.nn.softplus(jnp.where(y == 1, -log_odds, log_odds))
    return -jnp.sum(losses if weights is None else weights * losses)


def mean_loss(
    network: Network,
    parameters: Parameters,
    X: jax.Array,
    y: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Return the mean training loss, in nats per row or per unit of `weights` (n,)."""
    total = len(y) if weights is None else jnp.sum(weights)
    return -log_likelihood(network(parameters, X), y, weights) / total


@single()
def draw_prior(network: Network, numbers: int | ArrayLike, d: int, seed: int) -> Parameters:
    """Return draws of a network's prior, stacked along a leading axis (k, …).

    Parameters
    ----------
    network : Network
    numbers : int or (k,) array of int
        How many draws, or which: draw i is the same whatever others are drawn.
    d : int
        Number of inputs.
    seed : int

    Raises
    ------
    MemoryError
        If they cannot fit into the memory that is available.
    """
    numbers = np.arange(numbers) if np.ndim(numbers) == 0 else np.asarray(numbers)
    count = len(numbers)
    flat(network, d).check_memory(count)
    room = 1 << max(0, count - 1).bit_length()  # few sizes, so few to compile
    padded = np.zeros(room, np.uint32)
    padded[:count] = numbers
    found = _draw_prior(network, padded, d, jax.random.key(seed))
    return jax.tree.map(lambda leaf: leaf[:count], found)


@partial(jax.jit, static_argnums=(0, 2))
def _draw_prior(network, numbers, d, key):
    return jax.vmap(lambda number: network.init(jax.random.fold_in(key, number), d))(numbers)
