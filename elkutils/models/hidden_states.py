"""Rows from the hidden states that transformers returns, as `activations` reads them by hooks.

transformers gives a tuple: the embeddings, then the residual stream after each block, but the
last entry after the final norm.
"""

from collections.abc import Iterable, Sequence
from operator import index

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.state import model_digest
from elkutils.source import Activations, Source

States = Sequence[torch.Tensor]
LAST = "hidden_states[-1]"


def read_hidden_states(
    batches: Iterable[tuple[States, torch.Tensor]],
    layers: Sequence[int],
    position: str | int | Sequence[int] = "last",
    model: TransformerBridge | None = None,
    start_token: bool = False,
) -> dict[str, np.ndarray]:
    """Return rows of the hidden states that a model of transformers gave, by hook point.

    Parameters
    ----------
    batches : iterable of (hidden_states, attention_mask)
        Of each batch, the tuple that ``output_hidden_states=True`` gives, of L + 1 tensors
        (batch, token, d) for L blocks, and the mask (batch, token), 1 where there is a token
        to be counted. Padding may stand on either side. A generator that runs the model keeps
        no more than one batch in memory.
    layers : sequence of int
        Blocks, 0 to L − 2, as in `elkutils.models.resid_post`. The last entry of the tuple is
        after the final norm in most models, so it is not the residual stream after the last
        block; −1 takes it as it is, under the name "hidden_states[-1]".
    position : "last", "all", int or sequence of n int
        As in `elkutils.models.activations`, among the tokens of the mask. To leave out start
        and end tokens, as that does, set the mask to 0 there.
    model : TransformerBridge or None
        The same weights with hook points, as `elkutils.models.load_model` returns them. With it
        the rows know their source, so that a reporter refuses those of another model or
        position, and takes them for rows of `activations`; None returns plain arrays. That the
        weights are the same is not checked.
    start_token : bool
        Whether texts began with a start token; part of the source.

    Returns
    -------
    dict of str to (n, d) float32 array
        By the hook point's name, "blocks.14.hook_resid_post" for layer 14. With "all" a row
        per token, text after text.

    Raises
    ------
    ValueError
        If `batches` or `layers` is empty, a tensor has another shape than the mask, the mask
        holds anything but 0 and 1 or no token for a text, a layer or a position is not there,
        or a hidden state that is read is not finite.

    Examples
    --------
    ::

        tokenizer.padding_side = "right"

        def run(texts, size=32):
            for i in range(0, len(texts), size):
                batch = tokenizer(texts[i : i + size], padding=True, return_tensors="pt")
                with torch.inference_mode():
                    out = network(**batch, output_hidden_states=True)
                yield out.hidden_states, batch["attention_mask"]

        X = read_hidden_states(run(texts), [14])["blocks.14.hook_resid_post"]
    """
    layers = [_whole("layers", layer) for layer in _listed("layers", layers)]
    single = isinstance(position, str) or not hasattr(position, "__iter__")
    if single and not (position in ("last", "all") or _is_whole(position)):
        raise ValueError(
            f"position is {position!r}; it has to be 'last', 'all', a token's index, or an "
            "index for each text"
        )
    places = None if single else [_whole("position", place) for place in position]
    rows: dict[str, list[np.ndarray]] = {_name(layer): [] for layer in layers}
    done = 0
    for states, mask in batches:
        _check(states, mask, layers)
        texts, tokens = _tokens(mask, position if single else places[done:], done)
        for layer in layers:
            state = states[-1] if layer == -1 else states[layer + 1]
            found = state[texts.to(state.device), tokens.to(state.device)]
            found = found.detach().float().cpu().numpy()
            _check_finite(found, layer, done)
            rows[_name(layer)].append(found)
        done += len(mask)
    if not done:
        raise ValueError("batches is empty; it has to hold (hidden_states, attention_mask)")
    if places is not None and len(places) != done:
        raise ValueError(f"position has {len(places)} indices; it needs one for each of {done}")
    whole = {name: np.concatenate(parts) for name, parts in rows.items()}
    if model is None:
        return whole
    digest, told = model_digest(model), _told(position if single else places)
    return {
        name: Activations.of(part, Source(digest, name, told, start_token))
        for name, part in whole.items()
    }


def _told(position: str | int | list[int]) -> str:
    """Return the position as `activations` tells it."""
    if isinstance(position, str):
        return position
    if isinstance(position, list):
        return "token" if len(set(position)) > 1 else f"token {position[0]}"
    return f"token {position}"


def _name(layer: int) -> str:
    return LAST if layer == -1 else f"blocks.{layer}.hook_resid_post"


def _listed(name: str, values) -> list:
    if isinstance(values, str) or not hasattr(values, "__iter__") or not len(values):
        raise ValueError(f"{name} is {values!r}; it has to be a list of whole numbers")
    return list(values)


def _is_whole(value) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, (bool, np.bool_))


def _whole(name: str, value) -> int:
    if not _is_whole(value):
        raise ValueError(f"{name} has {value!r}; it has to be whole numbers")
    return index(value)


def _check(states, mask, layers) -> None:
    if isinstance(states, torch.Tensor) or len(states) < 2:
        raise ValueError(
            "batches has hidden_states that are no tuple of at least two tensors: pass "
            "output_hidden_states=True to the model, and its output's hidden_states here"
        )
    if mask.ndim != 2 or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"batches has an attention_mask of shape {tuple(mask.shape)}; it has to be (batch, "
            "token), of 0 and 1"
        )
    blocks = len(states) - 1
    for layer in layers:
        if layer == blocks - 1:
            raise ValueError(
                f"layers has {layer}, the last of {blocks}, and the last of the hidden states "
                "is after the final norm in most models: layers=[-1] takes it as it is, and "
                "elkutils.models.activations reads the residual stream there"
            )
        if not -1 <= layer < blocks - 1:
            raise ValueError(f"layers has {layer}; it has to be 0 to {blocks - 2}, or -1")
        shape = tuple(states[layer + 1 if layer >= 0 else -1].shape)
        if len(shape) != 3 or shape[:2] != tuple(mask.shape):
            raise ValueError(
                f"batches has hidden states of shape {shape} and an attention_mask of shape "
                f"{tuple(mask.shape)}; they have to be (batch, token, d) and (batch, token)"
            )


def _tokens(mask, position, done: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the texts of a batch and their tokens that are read; `done` texts are before."""
    mask = torch.as_tensor(mask).cpu().bool()
    texts, tokens = mask.nonzero(as_tuple=True)
    counts = mask.sum(dim=1)
    if (counts == 0).any():
        raise ValueError(
            f"batches has no token in row {done + int((counts == 0).nonzero()[0])}: its "
            "attention_mask is 0 throughout"
        )
    if isinstance(position, str) and position == "all":
        return texts, tokens
    given = -1 if isinstance(position, str) else position
    given = torch.as_tensor(given[: len(mask)] if isinstance(given, list) else given)
    if given.ndim and len(given) < len(mask):
        raise ValueError(
            f"position has {done + len(given)} indices, fewer than there are texts"
        )
    given = given.expand(len(mask))
    odd = ((given < -counts) | (given >= counts)).nonzero()
    if len(odd):
        row = int(odd[0])
        raise ValueError(
            f"position has {int(given[row])} in row {done + row}, which has {counts[row]}"
            " tokens"
        )
    begins = counts.cumsum(0) - counts  # where each text's tokens begin in `tokens`
    return torch.arange(len(mask)), tokens[begins + given % counts]


def _check_finite(found: np.ndarray, layer: int, done: int) -> None:
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if bad.size:
        raise ValueError(
            f"batches has {bad.size} hidden states at {_name(layer)} that are not finite, in a "
            f"batch that begins with row {done}: run the model in bfloat16 or float32"
        )
