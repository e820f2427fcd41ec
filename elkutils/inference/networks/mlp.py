"""The multilayer perceptron, a network in the sense of `networks.network.Network`."""

import math
import numbers
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from elkutils._inputs import is_number

ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "tanh": jnp.tanh}

Parameters = tuple[tuple[jax.Array, jax.Array], ...]


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron with one output, log odds; without hidden layers it is linear.

    Its parameters are a tuple of layers, each a pair of weights (inputs, outputs) and biases
    (outputs,). The prior is independent normal: the weights of a layer with k inputs have the
    standard deviation `weight_scale`/√k and its biases `bias_scale`, so that log odds have
    about the same spread at any width (Neal 1996, *Bayesian learning for neural networks*, ch.
    2).

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

    Examples
    --------
    Weights of a layer with k inputs have the prior standard deviation 1/√k.

    >>> MLP((16,)).scales(4)
    ((0.5, 1.0), (0.25, 1.0))
    >>> MLP((16,)).units(4)
    17
    """

    widths: tuple[int, ...] = ()
    activation: str = "silu"
    weight_scale: float = 1.0
    bias_scale: float = 1.0

    def __post_init__(self):
        widths = self.widths
        if not isinstance(widths, tuple | list):
            raise ValueError(f"widths is {widths!r}; it has to be a tuple, such as (8,)")
        if not all(
            isinstance(width, numbers.Integral) and is_number(width) and width >= 1
            for width in widths
        ):
            raise ValueError(f"widths is {widths}; each has to be a whole number ≥ 1")
        object.__setattr__(self, "widths", tuple(int(width) for width in widths))
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation is {self.activation!r}; it has to be one of {list(ACTIVATIONS)}"
            )
        for name in ("weight_scale", "bias_scale"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value < math.inf):
                raise ValueError(f"{name} is {value!r}; it has to be positive and finite")

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

    def scales(self, d: int) -> tuple[tuple[float, float], ...]:
        """Return the prior's standard deviations of each layer's weights and biases."""
        return tuple((self._scale(inputs), self.bias_scale) for inputs in (d, *self.widths))

    def input_weights(self, d: int) -> tuple[tuple[bool, bool], ...]:
        """Return which leaves are weights (d, …) that alone see the inputs: the first layer's.

        With it samplers work in the row space of the inputs; see `networks.rowspace`.
        """
        return ((True, False), *((False, False) for _ in self.widths))

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row: hidden units and the output."""
        return sum(self.widths) + 1

    def _scale(self, inputs: int) -> float:
        return self.weight_scale / math.sqrt(inputs)
