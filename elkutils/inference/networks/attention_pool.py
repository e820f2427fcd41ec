"""Linear scores of tokens, pooled by attention: a network in the sense of `networks.network`.

The smallest head that reads a whole text and chooses where to look: an "attention probe". It
takes rows (n, tokens · inputs) as `networks.transformer` does; a token whose numbers are all 0
is absent. With queries of 0 it is the linear reporter of the mean token.
"""

import math
import numbers
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from elkutils.inference._checks import check_tokens, count_tokens

Parameters = dict[str, jax.Array]


@dataclass(frozen=True)
class AttentionPool:
    """Log odds Σₕ Σₜ aₕₜ (xₜ · vₕ) + b, with attention aₕ = softmax over tokens t of xₜ · qₕ.

    The parameters are a dict: "query" (inputs, heads), "value" (inputs, heads) and "bias" ().
    The prior is independent normal: queries have the standard deviation `query_scale`/√inputs,
    values `weight_scale`/√(inputs · heads), the bias `bias_scale`. For tokens of unit variance
    the log odds of one token alone then have the variance weight_scale² + bias_scale².

    Parameters
    ----------
    inputs : int
        Numbers per token. Rows of X are as many for each token; z-score them by
        `elkutils.reporters.TokenScaler`.
    heads : int
        Places to look at.
    weight_scale, query_scale, bias_scale : float

    Raises
    ------
    ValueError
        For counts below 1 or scales that are not positive. Its methods raise it for a d that is
        no multiple of `inputs`, and `check` for a row without a token.

    Examples
    --------
    >>> head = AttentionPool(inputs=2)
    >>> parameters = {"query": jnp.zeros((2, 1)), "value": jnp.ones((2, 1)), "bias": 0.5}
    >>> head(parameters, jnp.array([[0.0, 0.0, 1.0, 2.0, 3.0, 4.0]])).tolist()  # mean 2, 3
    [5.5]
    """

    inputs: int
    heads: int = 1
    weight_scale: float = 1.0
    query_scale: float = 1.0
    bias_scale: float = 1.0

    def __post_init__(self):
        for name in ("inputs", "heads"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ 1")
            object.__setattr__(self, name, int(value))
        for name in ("weight_scale", "query_scale", "bias_scale"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; it has to be positive and finite")

    def init(self, key: jax.Array, d: int) -> Parameters:
        """Return parameters for d numbers per row, drawn from the prior."""
        keys = dict(zip(("bias", "query", "value"), jax.random.split(key, 3), strict=True))
        shapes = {"query": (self.inputs, self.heads), "value": (self.inputs, self.heads)}
        return {
            name: scale * jax.random.normal(keys[name], shapes.get(name, ()))
            for name, scale in self.scales(d).items()
        }

    def __call__(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Return the log odds (n,) of X (n, d); of a row without a token, the bias."""
        tokens, attention = self._attention(parameters, X)
        found = jnp.einsum("nth,nti,ih->n", attention, tokens, parameters["value"])
        return found + parameters["bias"]

    def attention(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Return where it looks: (n, tokens, heads), which sum to 1 over the tokens there."""
        return self._attention(parameters, X)[1]

    def log_prior(self, parameters: Parameters) -> jax.Array:
        """Return the log density of the prior at these parameters, in nats."""
        scales = self.scales(self.inputs)
        return sum(norm.logpdf(parameters[name], 0, scales[name]).sum() for name in scales)

    def scales(self, d: int) -> dict[str, float]:
        """Return the prior's standard deviations of each leaf of the parameters."""
        count_tokens(d, self.inputs)
        return {
            "bias": self.bias_scale,
            "query": self.query_scale / math.sqrt(self.inputs),
            "value": self.weight_scale / math.sqrt(self.inputs * self.heads),
        }

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row."""
        return d + 3 * count_tokens(d, self.inputs) * self.heads

    def check(self, X: np.ndarray) -> None:
        """Raise ValueError unless every row of X (n, d) has a token."""
        check_tokens(X, self.inputs)

    def _attention(self, parameters, X):
        tokens = X.reshape(len(X), count_tokens(X.shape[1], self.inputs), self.inputs)
        present = jnp.any(tokens != 0, axis=-1)[..., None]
        scores = tokens @ parameters["query"]
        scores = jnp.where(present, scores, jnp.finfo(scores.dtype).min)
        return tokens, present * jax.nn.softmax(scores, axis=1)
