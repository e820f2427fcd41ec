"""A small transformer on sequences of vectors: a network in the sense of `networks.network`.

It reads rows (n, tokens · inputs): the vectors of a text's tokens one after another, as
`elkutils.models.sequences` returns them, flattened. **A token whose numbers are all 0 is
absent**, which is how texts of different lengths stand in one table: absent tokens are not
attended to, and it makes no difference where in the row they stand, or how many there are. So
scale the tokens by `elkutils.reporters.TokenScaler`, which leaves them 0.

There are no embeddings of positions: a model's residual stream after its first layers carries
the order of the text already, and without them the parameters are the same for any number of
tokens. Every token attends to all. The answer is read at the last token that is present, where
linear reporters read it too, so the last layer is computed there alone.
"""

import math
import numbers
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from elkutils.inference._checks import check_tokens, count_tokens

EPSILON = 1e-6  # added to the mean square in the norm, whose gradient is then finite at 0

Parameters = dict[str, jax.Array | tuple]


@dataclass(frozen=True)
class Transformer:
    """A transformer with one output, log odds, read at the last token.

    Each layer adds attention, then a perceptron with one hidden layer of SiLU units, to the
    stream; both see the stream divided by its root mean square (Zhang & Sennrich 2019, *Root
    mean square layer normalization*), as the readout does. The norms have no parameters: gains
    have their place about 1, and priors here are centred at 0.

    The parameters are a dict: "embedding" (inputs, width); "layers", a tuple of dicts with
    "query", "key", "value" and "output" (width, width), and "up" (width, mlp_width), "bias"
    (mlp_width,) and "down" (mlp_width, width); and "readout", weights (width,) and a bias ().
    The prior is independent normal: weights that meet k inputs have the standard deviation
    `weight_scale`/√k, biases `bias_scale`. Because of the last norm, the prior's log odds have
    the variance weight_scale² + bias_scale² whatever X is.

    Parameters
    ----------
    inputs : int
        Numbers per token: the width of the model that was read. Rows of X are as many numbers
        for each token; z-score them.
    width : int
        Of the stream, a multiple of `heads`.
    layers, heads : int
        Layers, and attention heads per layer.
    mlp_width : int or None
        Hidden units of each perceptron; None for 4·width.
    weight_scale, bias_scale : float

    Raises
    ------
    ValueError
        For counts below 1, a width that is no multiple of `heads`, or scales that are not
        positive. Its methods raise it for a d that is no multiple of `inputs`, and `check` for
        a row without a token.

    Examples
    --------
    >>> head = Transformer(inputs=3, width=4, layers=1, heads=2, mlp_width=9)
    >>> head.scales(d=6)["layers"][0]["down"]  # 1/√9
    0.3333333333333333
    >>> parameters = head.init(jax.random.key(0), d=6)
    >>> one, padded = jnp.ones((1, 3)), jnp.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    >>> bool(jnp.allclose(head(parameters, one), head(parameters, padded)))
    True
    """

    inputs: int
    width: int = 32
    layers: int = 2
    heads: int = 4
    mlp_width: int | None = None
    weight_scale: float = 1.0
    bias_scale: float = 1.0

    def __post_init__(self):
        for name in ("inputs", "width", "layers", "heads", "mlp_width"):
            value = getattr(self, name)
            if name == "mlp_width" and value is None:
                continue
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ 1")
            object.__setattr__(self, name, int(value))
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width} and heads {self.heads}; the width has to be a multiple"
            )
        for name in ("weight_scale", "bias_scale"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; it has to be positive and finite")

    @property
    def hidden(self) -> int:
        """Hidden units of each perceptron."""
        return 4 * self.width if self.mlp_width is None else self.mlp_width

    def init(self, key: jax.Array, d: int) -> Parameters:
        """Return parameters for d numbers per row, drawn from the prior."""
        shapes, tree = jax.tree.flatten(self._shapes(), is_leaf=_is_shape)
        scales = tree.flatten_up_to(self.scales(d))
        keys = jax.random.split(key, len(shapes))
        return tree.unflatten(
            scale * jax.random.normal(key, shape)
            for key, shape, scale in zip(keys, shapes, scales, strict=True)
        )

    def __call__(self, parameters: Parameters, X: jax.Array) -> jax.Array:
        """Return the log odds (n,) of X (n, d); of a row without a token, the bias."""
        tokens = X.reshape(len(X), count_tokens(X.shape[1], self.inputs), self.inputs)
        present = jnp.any(tokens != 0, axis=-1)
        stream = tokens @ parameters["embedding"]
        *before, final = parameters["layers"]
        for layer in before:
            stream = self._layer(layer, stream, stream, present)
        last = _last(present).astype(stream.dtype)
        end = jnp.einsum("nt,ntw->nw", last, stream)[:, None]
        end = self._layer(final, end, stream, present)[:, 0]
        weights, bias = parameters["readout"]
        return jnp.any(present, axis=1) * (normed(end) @ weights) + bias

    def log_prior(self, parameters: Parameters) -> jax.Array:
        """Return the log density of the prior at these parameters, in nats."""
        leaves, tree = jax.tree.flatten(parameters)
        scales = tree.flatten_up_to(self.scales(self.inputs))
        pairs = zip(leaves, scales, strict=True)
        return sum(norm.logpdf(leaf, 0, scale).sum() for leaf, scale in pairs)

    def scales(self, d: int) -> Parameters:
        """Return the prior's standard deviations of each leaf of the parameters."""
        count_tokens(d, self.inputs)
        by_width = self.weight_scale / math.sqrt(self.width)
        layer = dict.fromkeys(("query", "key", "value", "output", "up"), by_width)
        layer |= {"bias": self.bias_scale, "down": self.weight_scale / math.sqrt(self.hidden)}
        return {
            "embedding": self.weight_scale / math.sqrt(self.inputs),
            "layers": (layer,) * self.layers,
            "readout": (by_width, self.bias_scale),
        }

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row: all layers', for gradients."""
        tokens = count_tokens(d, self.inputs)
        per_layer = tokens * (6 * self.width + self.hidden) + self.heads * tokens**2
        return tokens * self.width + self.layers * per_layer

    def check(self, X: np.ndarray) -> None:
        """Raise ValueError unless every row of X (n, d) has a token."""
        check_tokens(X, self.inputs)

    def _shapes(self) -> Parameters:
        width, hidden = self.width, self.hidden
        layer = dict.fromkeys(("query", "key", "value", "output"), (width, width))
        layer |= {"up": (width, hidden), "bias": (hidden,), "down": (hidden, width)}
        return {
            "embedding": (self.inputs, width),
            "layers": (layer,) * self.layers,
            "readout": ((width,), ()),
        }

    def _layer(self, layer, at, stream, present):
        """Return the stream at some tokens (n, s, width) after a layer."""
        at = at + self._attention(layer, normed(at), normed(stream), present)
        hidden = jax.nn.silu(normed(at) @ layer["up"] + layer["bias"])
        return at + hidden @ layer["down"]

    def _attention(self, layer, asking, asked, present):
        """What tokens (n, s, width) find at those (n, t, width) that are present (n, t)."""

        def by_head(name, rows):
            each = self.width // self.heads
            return (rows @ layer[name]).reshape(*rows.shape[:2], self.heads, each)

        query = by_head("query", asking)
        key, value = by_head("key", asked), by_head("value", asked)
        # jax.nn.dot_product_attention takes its softmax in float32 always.
        scores = jnp.einsum("nshw,nthw->nhst", query, key) / math.sqrt(query.shape[-1])
        scores = jnp.where(present[:, None, None], scores, jnp.finfo(scores.dtype).min)
        found = jnp.einsum("nhst,nthw->nshw", jax.nn.softmax(scores, axis=-1), value)
        return found.reshape(asking.shape) @ layer["output"]


def normed(stream: jax.Array) -> jax.Array:
    """Return the stream (…, width) divided by its root mean square."""
    return stream * jax.lax.rsqrt(jnp.mean(stream**2, axis=-1, keepdims=True) + EPSILON)


def _last(present: jax.Array) -> jax.Array:
    """Return which token (n, t) is the last that is present; none in rows without one."""
    after = jnp.cumsum(present[:, ::-1], axis=1)[:, ::-1]
    return present & (after == 1)


def _is_shape(node) -> bool:
    return isinstance(node, tuple) and all(isinstance(size, int) for size in node)
