"""Read a model's residual stream at chosen hook points and tokens, once, and keep it.

Texts are run in batches of similar length, right-padded, and the forward pass ends as soon
as the last requested hook point has fired. Results are cached as safetensors in the folder
`elkutils.files.cache_dir`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.cache import keep
from elkutils.models.language import encode, model_digest

POSITIONS = ("full stop", "last")


def resid_post(model: TransformerBridge, layers: Sequence[int] | None = None) -> list[str]:
    """Return the hook points of the residual stream after the given layers (default: all).

    Raises
    ------
    ValueError
        If a layer is not in ``0 … n_layers − 1``.
    """
    count = model.cfg.n_layers
    layers = range(count) if layers is None else layers
    for layer in layers:
        if not 0 <= layer < count:
            raise ValueError(f"layers has {layer}; the model's layers are 0 to {count - 1}")
    return [f"blocks.{layer}.hook_resid_post" for layer in layers]


def activations(
    model: TransformerBridge,
    texts: Sequence[str],
    hook_points: Sequence[str],
    position: str | Sequence[tuple[int, int]] = "full stop",
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Return the activations at `hook_points`, at one position of each text.

    Parameters
    ----------
    model : TransformerBridge
        As returned by `elkutils.models.load_model`. The model has to be causal, so that padding
        on the right cannot change what stands to its left.
    texts : sequence of n str
        None of them empty. A text given twice is run once.
    hook_points : sequence of str
        Names of hook points that carry ``(batch, token, d)`` tensors, as from `resid_post`.
    position : "full stop", "last" or sequence of n (start, stop)
        "full stop" is the token that holds the full stop with which the text has to end, "last"
        the last token. A span of characters per text averages over its tokens.
    batch_size : int
        Texts per forward pass.
    cache : bool
        Keep the result in `elkutils.files.cache_dir`, under a key made from the model's
        weights, the texts and the options, and read it from there the next time. Hooks that you
        attached to the model yourself are not part of the key.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of str to (n, d) float32 array
        One array per hook point.

    Raises
    ------
    ValueError
        If `texts` or `hook_points` is empty, a hook point or position is unknown, a text does
        not end with a full stop where that position is asked for, or a span holds no token.
    """
    texts, hook_points = list(texts), list(hook_points)
    _check(model, texts, hook_points, position)

    def extract() -> dict[str, np.ndarray]:
        return _extract(model, texts, hook_points, position, batch_size, progress)

    if not cache:
        return extract()
    options = {
        "model": model_digest(model),
        "dtype": str(model.cfg.dtype),
        "texts": texts,
        "hook_points": hook_points,
        "position": position if isinstance(position, str) else [list(s) for s in position],
    }
    kept = keep("activations", options, extract)
    return {name: kept[name] for name in hook_points}


def _check(model, texts, hook_points, position) -> None:
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("texts has to hold at least one text, and none of them empty")
    if not hook_points:
        raise ValueError("hook_points is empty; resid_post(model) lists those of all layers")
    unknown = [name for name in hook_points if name not in model.hook_dict]
    if unknown:
        raise ValueError(f"hook_points has {unknown[0]!r}, which this model does not have")
    if isinstance(position, str):
        if position not in POSITIONS:
            raise ValueError(
                f"position is {position!r}; it has to be one of {POSITIONS} or spans"
            )
    elif len(position) != len(texts):
        raise ValueError(
            f"position has {len(position)} spans; it needs one for each of {len(texts)} texts"
        )


def _extract(model, texts, hook_points, position, batch_size, progress):
    spans = [None] * len(texts) if isinstance(position, str) else [tuple(s) for s in position]
    rule = position if isinstance(position, str) else "span"
    distinct = list(dict.fromkeys(zip(texts, spans, strict=True)))
    tokens = [_tokenise(model, text, span, rule) for text, span in distinct]
    order = np.argsort([len(ids) for ids, _ in tokens], kind="stable")
    rows: dict[str, list] = {name: [None] * len(distinct) for name in hook_points}
    bar = tqdm(total=len(distinct), unit="text", desc="activations", disable=not progress)
    with bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            found = _forward(model, [tokens[i] for i in batch], hook_points)
            for name in hook_points:
                for i, row in zip(batch, found[name], strict=True):
                    rows[name][i] = row
            bar.update(len(batch))
    place = {key: i for i, key in enumerate(distinct)}
    back = [place[key] for key in zip(texts, spans, strict=True)]
    return {name: np.stack(rows[name])[back] for name in hook_points}


def _tokenise(model, text, span, rule) -> tuple[list[int], np.ndarray]:
    """Return the token ids of a text and the indices of the tokens to read."""
    encoded = encode(model, text, return_offsets_mapping=rule != "last")
    ids = encoded["input_ids"]
    if rule == "last":
        return ids, np.array([len(ids) - 1])
    if rule == "full stop":
        end = len(text.rstrip())
        if not text[:end].endswith("."):
            raise ValueError(
                f"position is 'full stop', but this text does not end in one: {text!r}"
            )
        span = (end - 1, end)
    offsets = np.array(encoded["offset_mapping"])
    inside = np.flatnonzero((offsets[:, 0] < span[1]) & (offsets[:, 1] > span[0]))
    if not inside.size:
        raise ValueError(f"position has the span {span}, which holds no token of {text!r}")
    return ids, inside


class Enough(Exception):
    """Ends a forward pass once every requested hook point has fired."""


def pad(sequences: Sequence[Sequence[int]], device: torch.device | str) -> torch.Tensor:
    """Return token ids (batch, longest), filled up on the right.

    Tokens on the right cannot affect those on their left, so any id will do and no mask is
    needed.
    """
    ids = torch.zeros(len(sequences), max(map(len, sequences)), dtype=torch.long)
    for row, tokens in enumerate(sequences):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids.to(device)


def _forward(model, batch, hook_points) -> dict[str, np.ndarray]:
    device = next(model.original_model.parameters()).device
    ids = pad([tokens for tokens, _ in batch], device)
    mean = torch.zeros(ids.shape)
    for row, (_, read) in enumerate(batch):
        mean[row, read] = 1 / len(read)
    mean = mean.to(device)
    kept = {}

    def keeper(name):
        def read(tensor, hook):
            kept[name] = torch.einsum("bt,btd->bd", mean, tensor.float()).cpu().numpy()
            if len(kept) == len(set(hook_points)):
                raise Enough

        return read

    hooks = [(name, keeper(name)) for name in dict.fromkeys(hook_points)]
    with torch.inference_mode():
        try:
            model.run_with_hooks(ids, fwd_hooks=hooks, return_type=None)
        except Enough:
            return kept
    missing = sorted(set(hook_points) - set(kept))
    raise ValueError(f"hook_points has {missing[0]!r}, which never fired in a forward pass")
