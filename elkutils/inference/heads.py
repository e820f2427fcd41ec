"""Heads: pure functions of parameters and inputs that training and sampling share.

A head says how parameters are drawn from its prior, what log odds they give, and how
probable the prior finds them. Parameters are a tuple of layers, each a pair of weights
(inputs, outputs) and biases (outputs,), so that `jax.vmap` over them makes a crowd of heads.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import ArrayLike

ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "tanh": jnp.tanh}

UNITS = 2**24  # hidden units computed at once: bounds the memory

Parameters = tuple[tuple[jax.Array, jax.Array], ...]


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron with one output, log odds; without hidden layers it is linear.

    The prior is independent normal: the weights of a layer with k inputs have the standard
    deviation `weight_scale`/√k and its biases `bias_scale`, so that log odds have about the
    same spread at any width (Neal 1996, *Bayesian learning for neural networks*, ch. 2).

    Parameters
    ----------
    widths : tuple of int
        Units of each hidden layer.
    activation : "silu", "relu" or "tanh"
        The default is smooth, which Hamiltonian dynamics needs (Izmailov et al. 2021).
    weight_scale, bias_scale : float

    Raises
    ------
    ValueError
        For widths below 1, scales that are not positive or an unknown activation.
    """

    widths: tuple[int, ...] = ()
    activation: str = "silu"
    weight_scale: float = 1.0
    bias_scale: float = 1.0

    def __post_init__(self):
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths is {self.widths}; each has to be at least 1")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation is {self.activation!r}; it has to be one of {list(ACTIVATIONS)}"
            )
        for name in ("weight_scale", "bias_scale"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; it has to be positive and finite")

    def init(self, key: jax.Array, d: int) -> Parameters:
        """Return parameters for d inputs, drawn from the prior."""
        layers = []
        for inputs, outputs in pairwise((d, *self.widths, 1)):
            key, for_weights, for_biases = jax.random.split(key, 3)
            weights = jax.random.normal(for_weights, (inputs, outputs))
            biases = jax.random.normal(for_biases, (outputs,))
            layers.append((weights * self._scale(inputs), biases * self.bias_scale))
        return tuple(layers)

    def __call__(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Return the log odds (n,) of X (n, d)."""
        *hidden, (weights, biases) = parameters
        for layer_weights, layer_biases in hidden:
            X = ACTIVATIONS[self.activation](X @ layer_weights + layer_biases)
        return (X @ weights + biases)[:, 0]

    def log_prior(self, parameters: Parameters) -> jax.Array:
        """Return the log density of the prior at these parameters, in nats."""
        return sum(
            norm.logpdf(weights, 0, self._scale(len(weights))).sum()
            + norm.logpdf(biases, 0, self.bias_scale).sum()
            for weights, biases in parameters
        )

    def _scale(self, inputs: int) -> float:
        return self.weight_scale / math.sqrt(inputs)


def log_likelihood(log_odds: jax.Array, y: jax.Array) -> jax.Array:
    """Return the log probability of the labels y (n,) of 0 and 1, in nats."""
    return -jnp.sum(jax.nn.softplus(jnp.where(y == 1, -log_odds, log_odds)))


def draw(head: MLP, numbers: int | ArrayLike, d: int, seed: int) -> Parameters:
    """Return draws of a head's prior, stacked.

    Parameters
    ----------
    head : MLP
    numbers : int or (k,) array of int
        How many, or which of them: draw i is the same whatever others are drawn.
    d : int
        Inputs.
    seed : int
    """
    numbers = np.arange(numbers) if np.ndim(numbers) == 0 else np.asarray(numbers)
    count = len(numbers)
    room = 1 << max(0, count - 1).bit_length()  # few sizes, so few to compile
    padded = np.zeros(room, np.uint32)
    padded[:count] = numbers
    found = _draw(head, padded, d, jax.random.key(seed))
    return jax.tree.map(lambda leaf: leaf[:count], found)


@partial(jax.jit, static_argnums=(0, 2))
def _draw(head, numbers, d, key):
    return jax.vmap(lambda number: head.init(jax.random.fold_in(key, number), d))(numbers)


def log_odds(head: MLP, parameters: Parameters, X: ArrayLike) -> np.ndarray:
    """Return the log odds (draws, n) of X (n, d) for parameters with one leading axis.

    Raises
    ------
    ValueError
        If X is not a finite table of as many columns as the parameters have inputs.
    """
    X = np.asarray(X, dtype=jnp.result_type(float))
    d = parameters[0][0].shape[-2]
    if X.ndim != 2 or X.shape[1] != d or not np.isfinite(X).all():
        raise ValueError(f"X has shape {X.shape}; it needs (n, {d}), every entry finite")
    with jax.default_matmul_precision("highest"):
        return np.asarray(_log_odds(head, parameters, X))


@partial(jax.jit, static_argnums=0)
def _log_odds(head, parameters, X):
    at_once = max(1, UNITS // max(1, len(X) * max(head.widths, default=1)))
    each = partial(head, X=X)
    if len(parameters[0][0]) <= at_once:
        return jax.vmap(each)(parameters)
    return jax.lax.map(each, parameters, batch_size=at_once)
