"""Bypass sublayers of a model, and follow the paths through those that are left.

A sublayer, attention or perceptron, reads the residual stream and adds to it. Bypassed, it adds
nothing. `bypassed` lets everything else in this package see the model so; results are never
kept in the cache then, since `activations` keeps nothing of a model with hooks. `losses` has
the next-token loss under many lesions, each computed from the first bypassed block on.
`path_gradients` splits a gradient by how many sublayers its paths go through.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.activations import batches, check_finite, pad, resid_post
from elkutils.models.state import check_evaluated, is_hooked
from elkutils.models.tokens import check_batch_size, encode_all, text_list

WRITERS = "hook_attn_out", "hook_mlp_out"  # what a block adds to the stream, in this order


def sublayers(model: TransformerBridge, layers: Sequence[int] | None = None) -> list[str]:
    """Return the hook points at which the sublayers of some layers write, in their order.

    Parameters
    ----------
    model : TransformerBridge
    layers : sequence of int or None
        None for all.

    Raises
    ------
    ValueError
        As `resid_post`; and if the model's blocks do not write twice each.
    """
    found = [
        name.replace("hook_resid_post", writer)
        for name in resid_post(model, layers)
        for writer in WRITERS
    ]
    missing = [name for name in found if name not in model.hook_dict]
    if missing:
        raise ValueError(
            f"model has no hook point {missing[0]!r}; each block has to have"
            f" {' and '.join(WRITERS)}"
        )
    return found


@contextmanager
def bypassed(model: TransformerBridge, names: Sequence[str]) -> Iterator[TransformerBridge]:
    """Let sublayers add nothing to the residual stream, until the block is left in any way.

    Parameters
    ----------
    model : TransformerBridge
    names : sequence of str
        Hook points from `sublayers`; an empty one changes nothing.

    Raises
    ------
    ValueError
        If a name is not a sublayer's or stands twice, or no sublayer would be left.
    """
    names = _checked(model, names)
    with model.hooks(fwd_hooks=[(name, _nothing) for name in names]):
        yield model


def losses(
    model: TransformerBridge,
    texts: Sequence[str],
    lesions: Sequence[Sequence[str]],
    batch_size: int = 32,
    progress: bool = True,
) -> np.ndarray:
    """Return the mean next-token loss of each text under each lesion, in nats per token.

    Parameters
    ----------
    model : TransformerBridge
        A causal model without hooks of your own.
    texts : sequence of n str
        Each has two tokens or more, the start token included.
    lesions : sequence of k sequences of str
        Sublayers bypassed at once, as in `bypassed`; an empty one is the intact model.
    batch_size : int
    progress : bool
        Show a bar.

    Returns
    -------
    (k, n) float64 array
        The mean of −log P(token | those before it) over all tokens but the first.

    Raises
    ------
    ValueError
        As `bypassed`; for bad texts, no lesion, a hooked model or one in training mode; if a
        loss is not finite.
    """
    texts = text_list("texts", texts)
    check_batch_size(batch_size)
    if isinstance(lesions, str) or not len(lesions):
        raise ValueError(f"lesions is {lesions!r}; it needs a list of lists of sublayers")
    lesions = [_checked(model, names) for names in lesions]
    check_evaluated(model)
    _check_unhooked(model)
    ids = [tokens.ids for tokens in encode_all(model, "texts", texts)]
    short = [row for row, found in enumerate(ids) if len(found) < 2]
    if short:
        raise ValueError(
            f"texts has row {short[0]}, {texts[short[0]]!a:.40}, of one token: nothing follows"
        )
    found = np.empty((len(lesions), len(texts)))
    bar = tqdm(total=len(lesions) * len(texts), unit="text", disable=not progress)
    with bar, torch.inference_mode():
        for rows in batches(ids, batch_size, padded=True):
            batch = [ids[row] for row in rows]
            calls = _block_calls(model, batch)
            for lesion, names in enumerate(lesions):
                first = min(map(_layer, names), default=model.cfg.n_layers)
                with bypassed(model, names):
                    found[lesion, rows] = _loss(model, batch, calls, first)
                bar.update(len(rows))
    check_finite("texts", found.T, "loss under a lesion", model)
    return found


def path_gradients(
    model: TransformerBridge, text: str, layer: int, direction: np.ndarray
) -> np.ndarray:
    """Return the gradient of direction · stream, split by the sublayers that paths go through.

    The stream is read after `layer` at the last token; the gradient is by the stream that
    enters the first block, at all tokens. A path passes each sublayer or goes round it, so
    there are 2^L for L sublayers; the sum over those of each length is exact (Veit, Wilber &
    Belongie 2016 sample them).

    Parameters
    ----------
    model : TransformerBridge
    text : str
    layer : int
        From 0; L = 2·(layer + 1).
    direction : (d,) array

    Returns
    -------
    (L + 1, tokens, d) float64 array
        By the number of sublayers on the path; the sum over the first axis is the gradient.

    Raises
    ------
    ValueError
        If the layer is not there, `direction` is not finite or has not the model's width, or
        the model has hooks of your own.
    """
    names = sublayers(model, [layer])
    direction = torch.as_tensor(np.asarray(direction), dtype=torch.float32)
    if direction.shape != (model.cfg.d_model,) or not torch.isfinite(direction).all():
        raise ValueError(
            f"direction has shape {tuple(direction.shape)}; it has to hold"
            f" {model.cfg.d_model} finite numbers"
        )
    _check_unhooked(model)
    names = sublayers(model, range(layer + 1))
    (tokens,) = encode_all(model, "texts", text_list("texts", [text]))
    ids, count = torch.tensor([tokens.ids] * (len(names) + 1)), len(names) + 1
    pairs = _in_and_out(model, ids, names)
    found = torch.zeros(count, ids.shape[1], model.cfg.d_model)
    found[0, -1] = direction
    for read, written in reversed(pairs):
        through = torch.cat([torch.zeros_like(found[:1]), found[:-1]])
        (back,) = torch.autograd.grad(written, read, through, retain_graph=True)
        found = found + back
    return found.double().numpy()


def _in_and_out(model, ids, names) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What each sublayer read and wrote, with the graph between them."""
    kept = {}
    reads = [
        name.replace("attn_out", "resid_pre").replace("mlp_out", "resid_mid") for name in names
    ]

    def keep(tensor, hook, name):
        if name == reads[0]:
            tensor = tensor.detach().clone().requires_grad_(True)
        kept[name] = tensor
        return tensor

    hooks = [
        (name, lambda tensor, hook, name=name: keep(tensor, hook, name))
        for name in (*reads, *names)
    ]
    with torch.enable_grad():
        model.run_with_hooks(ids, fwd_hooks=hooks, return_type=None)
    return [(kept[read], kept[written]) for read, written in zip(reads, names, strict=True)]


def _checked(model, names) -> list[str]:
    known = sublayers(model)
    if isinstance(names, str):
        raise ValueError(f"names is {names!r}; it has to be a list of sublayers")
    names = list(names)
    for name in names:
        if name not in known:
            raise ValueError(
                f"names has {name!r}, which is no sublayer of this model; they are {known[0]!r}"
                f" to {known[-1]!r}, see sublayers(model)"
            )
        if names.count(name) > 1:
            raise ValueError(f"names has {name!r} twice; a sublayer is bypassed once")
    if len(names) == len(known):
        raise ValueError(f"names has all {len(known)} sublayers; at least one has to be left")
    return names


def _check_unhooked(model) -> None:
    if is_hooked(model):
        raise ValueError("model has hooks or forward methods of your own; remove them first")


def _nothing(tensor, hook):
    return torch.zeros_like(tensor)


def _layer(name: str) -> int:
    return int(name.split(".")[1])


def _block_calls(model, batch) -> list[tuple[tuple, dict]]:
    """The arguments with which an intact pass calls each block."""
    calls = []

    def keep(module, args, kwargs):
        calls.append((args, kwargs))

    handles = [
        block.register_forward_pre_hook(keep, with_kwargs=True) for block in model.blocks
    ]
    try:
        ids = pad(batch, next(model.original_model.parameters()).device)
        model(ids, return_type=None, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _loss(model, batch, calls, first) -> np.ndarray:
    """Mean next-token loss of each text, the pass begun at block `first`, or at the last."""
    first = min(first, len(calls) - 1)
    stream = calls[first][0][0]
    for block, (args, kwargs) in zip(model.blocks[first:], calls[first:], strict=True):
        stream = block(stream, *args[1:], **kwargs)
        stream = stream[0] if isinstance(stream, tuple) else stream
    states = model.ln_final(stream)
    found = []
    for state, ids in zip(states, batch, strict=True):
        logits = model.unembed(state[: len(ids) - 1]).double()
        next_ids = torch.tensor(ids[1:], device=logits.device)
        found.append(torch.nn.functional.cross_entropy(logits, next_ids).item())
    return np.array(found)
