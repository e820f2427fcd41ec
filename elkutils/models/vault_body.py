"""The vault's predictor in JAX, as the body of a network whose weights are all sampled.

`body_of` gives the weights of a predictor and the function that reads them: the residual stream
at the last token of each row, at one of the hook points of TransformerLens. It agrees with the
model in torch to rounding, which a test holds. Only the last token's path through the last
layer is computed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from elkutils.models.vault import Predictor, arrays_of

EPSILON = 1e-5  # of layer norms


@dataclass(frozen=True)
class VaultBody:
    """The residual stream of a vault's predictor at the last token: a `pretrained.Body`.

    Attributes
    ----------
    layers : int
        Layers that are computed.
    heads : int
        Attention heads per layer.
    mid : bool
        Whether to read after the last layer's attention, not after its MLP.
    width, length : int
        Of the residual stream, and of the rows, in tokens.
    """

    layers: int
    heads: int
    mid: bool
    width: int
    length: int

    def __call__(self, weights: Mapping[str, jax.Array], X: jax.Array) -> jax.Array:
        """Return the residual stream (n, width) at the last of the tokens X (n, length).

        Tokens may come as floating-point numbers, as samplers of networks hold their inputs.
        """
        tokens = X.astype(jnp.int32)
        stream = weights["tok_embed.weight"][tokens]
        stream = stream + weights["pos.weight"][: tokens.shape[1]]
        for layer in range(self.layers):
            last = layer == self.layers - 1
            w = {
                name.removeprefix(f"layers.{layer}."): value
                for name, value in weights.items()
                if name.startswith(f"layers.{layer}.")
            }
            stream = self._attended(w, stream, last)
            if not (last and self.mid):
                stream = stream + _mlp(w, _normalised(w, "ln2", stream))
        return stream[:, -1]

    def _attended(self, w, stream, last: bool) -> jax.Array:
        """The stream after attention, of the last token alone where nothing else is read."""
        read = _normalised(w, "ln1", stream)
        asked = read[:, -1:] if last else read
        q, k, v = (
            self._split(_linear(w, f"attn.{name}", rows))
            for name, rows in (("q", asked), ("k", read), ("v", read))
        )
        # The root is Python's own: with NumPy's, all that follows would be float64.
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(self.width // self.heads)
        if not last:
            seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
            scores = jnp.where(seen, scores, -jnp.inf)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores, axis=-1), v)
        mixed = mixed.reshape(*mixed.shape[:2], self.width)
        return (stream[:, -1:] if last else stream) + _linear(w, "attn.o", mixed)

    def _split(self, rows: jax.Array) -> jax.Array:
        return rows.reshape(*rows.shape[:2], self.heads, -1)

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row."""
        return self.layers * d * (12 * self.width + self.heads * d)


def body_of(
    predictor: Predictor, hook: str, length: int
) -> tuple[VaultBody, dict[str, np.ndarray]]:
    """Return the body of a predictor up to a hook point, and the weights that it reads.

    Parameters
    ----------
    predictor : Predictor
    hook : str
        ``blocks.<i>.hook_resid_mid`` or ``blocks.<i>.hook_resid_post``.
    length : int
        Tokens of each row, the start among them.

    Raises
    ------
    ValueError
        If the hook point is no such name or lies beyond the last layer, or rows are longer than
        the predictor reads.
    """
    plan, limit = predictor.plan, 1 + 2 * predictor.world.horizon
    found = re.fullmatch(r"blocks\.(\d+)\.hook_resid_(mid|post)", hook)
    if not found or int(found[1]) >= plan.layers:
        raise ValueError(
            f"hook is {hook!r}; it has to be blocks.<i>.hook_resid_mid or hook_resid_post,"
            f" i < {plan.layers}"
        )
    if not 1 <= length <= limit:
        raise ValueError(f"length is {length}; the predictor reads 1 to {limit} tokens")
    body = VaultBody(int(found[1]) + 1, plan.heads, found[2] == "mid", plan.width, length)
    skipped = {f"layers.{body.layers - 1}.{part}" for part in ("ln2", "mlp")}
    read = {}
    for name, value in arrays_of(predictor.model).items():
        layer = re.match(r"layers\.(\d+)\.", name)
        beyond = layer and int(layer[1]) >= body.layers
        unread = body.mid and any(name.startswith(part + ".") for part in skipped)
        if name in ("tok_embed.weight", "pos.weight") or (layer and not beyond and not unread):
            read[name] = value[:length] if name == "pos.weight" else value
    return body, read


def _linear(w, name, rows) -> jax.Array:
    return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _normalised(w, name, rows) -> jax.Array:
    away = rows - rows.mean(axis=-1, keepdims=True)
    size = jnp.sqrt(jnp.mean(away**2, axis=-1, keepdims=True) + EPSILON)
    return away / size * w[f"{name}.weight"] + w[f"{name}.bias"]


def _mlp(w, rows) -> jax.Array:
    inner = jax.nn.gelu(_linear(w, "mlp.fc_in", rows), approximate=False)
    return _linear(w, "mlp.fc_out", inner)
