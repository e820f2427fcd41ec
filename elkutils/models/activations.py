"""Read a model's residual stream at chosen hook points and tokens, once, and keep it.

Tokens with which several texts begin are run once, if that saves work and a trial returns the
same numbers; otherwise texts are run in batches of similar length, right-padded. A forward pass
ends as soon as the last requested hook point has fired. Results are cached as safetensors in
the folder `elkutils.files.cache_dir`, under a key of the tokens that were read and of all else
that the numbers depend on.
"""

import weakref
from collections.abc import Iterator, Sequence
from operator import index

import numpy as np
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.cache import keep
from elkutils.models.prefixes import grow, tree_batches, visible
from elkutils.models.state import check_evaluated, is_hooked, model_digest, reading_key
from elkutils.models.tokens import Encoded, check_batch_size, encode_all, text_list
from elkutils.source import Activations, Source

POSITIONS = ("full stop", "last", "all")
SAME = 1e-5  # share of a token's largest number by which rounding may change another
# Hook points whose second axis is the heads, not the tokens.
_BY_HEAD = ("hook_pattern", "hook_attn_scores", "hook_attention_weights")

Place = int | tuple[int, int] | None


def resid_post(model: TransformerBridge, layers: Sequence[int] | None = None) -> list[str]:
    """Return the hook points of the residual stream after the given layers (default: all).

    Raises
    ------
    ValueError
        If `layers` is no list of whole numbers, or one is not in ``0 … n_layers − 1``.
    """
    count = model.cfg.n_layers
    try:
        found = range(count) if layers is None else [_whole(layer) for layer in layers]
    except TypeError as error:
        raise ValueError(
            f"layers is {layers!r}; it has to be a list of whole numbers, such as [{count - 1}]"
        ) from error
    for layer in found:
        if not 0 <= layer < count:
            raise ValueError(f"layers has {layer}; the model's layers are 0 to {count - 1}")
    return [f"blocks.{layer}.hook_resid_post" for layer in found]


def activations(
    model: TransformerBridge,
    texts: Sequence[str],
    hook_points: Sequence[str],
    position: str | int | Sequence[int] | Sequence[tuple[int, int]] = "full stop",
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Return the activations at `hook_points`, at one position of each text or at all.

    Parameters
    ----------
    model : TransformerBridge
        As returned by `elkutils.models.load_model`. Where it turns out to attend to what
        stands on the right too, only texts of the same length are run together.
    texts : sequence of n str
        None of them empty, or longer than the model's context. A text given twice is run once.
    hook_points : sequence of str
        Names of hook points that carry ``(batch, token, d)`` tensors, as from `resid_post`, or
        ``(batch, token, heads, d)``, whose heads are put one after another.
    position : "full stop", "last", "all", int, sequence of n int or of n (start, stop)
        "full stop" is the token that holds the full stop with which the text has to end, "last"
        the text's last token, "all" every token but start and end tokens, one row each, text
        after text: `token_spans` has their places in the texts. An int is the index of a
        token, for all texts or one per text, with the start token, if there is one, as 0, and
        −1 as the text's last. A span of
        characters per text averages over its tokens. End tokens that the tokenizer may set
        are neither counted nor read.
    batch_size : int
        Texts per forward pass. Tokens with which several of them begin, such as a prompt, are
        run once, where that pays.
    cache : bool
        Keep the result in `elkutils.files.cache_dir`, and read it from there the next time.
        The key is made from the model's weights, configuration and adapters, the tokens,
        positions and hook points, and the versions of torch, transformers and TransformerLens;
        batches change numbers by rounding only. A model with hooks or forward methods of your
        own is always run.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of str to (n, d) float32 array
        One `elkutils.source.Activations` per hook point, an array that knows its source. With
        "all" it has a row per token.

    Raises
    ------
    ValueError
        If `texts` or `hook_points` is empty or no list, a hook point or position is unknown, a
        text does not end with a full stop where that position is asked for, or is longer than
        the context, a span or index holds no token, the model is in training mode, or an
        activation is not finite.
    """
    texts, hook_points = text_list("texts", texts), text_list("hook_points", hook_points)
    check_batch_size(batch_size)
    _check_hook_points(model, hook_points)
    rule, places = _position(position, len(texts))
    encoded = encode_all(model, "texts", texts, offsets=rule in ("full stop", "span"))
    reads = [
        _places(rule, place, row, text, tokens)
        for row, (place, text, tokens) in enumerate(zip(places, texts, encoded, strict=True))
    ]
    ids = [tokens.ids for tokens in encoded]
    options = {"position": rule, "tokens": ids, "reads": reads}
    groups = [[[i] for i in read] if rule == "all" else [read] for read in reads]
    counts = [len(group) for group in groups]
    read = np.arange(max(counts)) >= max(counts) - np.array(counts)[:, None]

    def extract() -> dict[str, np.ndarray]:
        found = _extract(model, ids, groups, max(counts), hook_points, batch_size, progress)
        return {name: rows[read] for name, rows in found.items()}

    kept, digest = _kept("activations", model, hook_points, options, extract, cache)
    return _sourced(kept, digest, hook_points, _told(rule, places), encoded)


def sequences(
    model: TransformerBridge,
    texts: Sequence[str],
    hook_points: Sequence[str],
    skip: int = 1,
    length: int | None = None,
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Return the activations at `hook_points` of all tokens of each text, in order.

    Texts end together, at the last place: ``found[hook][:, -1]`` is what `activations` returns
    at "last". Places before a text's first token hold 0. A reporter on sequences, such as
    `elkutils.inference.networks.transformer.Transformer`, takes them as rows,
    ``found[hook].reshape(n, -1)``, scaled by `elkutils.reporters.TokenScaler`.

    Parameters
    ----------
    model, texts, hook_points, batch_size, cache, progress
        As in `activations`.
    skip : int
        Tokens left out at the beginning of each text, the start token included. Language models
        give their first token activations a hundred times as large as any other's, which tell
        nothing of the text; 1 leaves it out.
    length : int or None
        Places, T; None for the longest of these texts. A reporter takes the number with which
        it was fitted.

    Returns
    -------
    dict of str to (n, T, d) float32 array
        One `elkutils.source.Activations` per hook point.

    Raises
    ------
    ValueError
        As `activations`, if `skip` is below 0, or a text has no token after `skip` or more
        than `length`, or if a token's activations are all 0, as if it were absent.
    """
    texts, hook_points = text_list("texts", texts), text_list("hook_points", hook_points)
    check_batch_size(batch_size)
    _check_hook_points(model, hook_points)
    skip = _count("skip", skip, 0)
    encoded = encode_all(model, "texts", texts)
    ends = [len(tokens.ids) - tokens.end for tokens in encoded]
    length = max(ends) - skip if length is None else _count("length", length, 1)
    for row, end in enumerate(ends):
        if not 0 < end - skip <= length:
            raise ValueError(
                f"texts has row {row}, {texts[row]!a:.40}, which has {end - skip} tokens after"
                f" the first skip = {skip}; it needs at least 1 and at most length = {length}"
            )
    ids = [tokens.ids for tokens in encoded]

    def extract() -> dict[str, np.ndarray]:
        groups = [[[token] for token in range(skip, end)] for end in ends]
        found = _extract(model, ids, groups, length, hook_points, batch_size, progress)
        for name, rows in found.items():
            _check_present(name, rows, [end - skip for end in ends])
        return found

    options = {"tokens": ids, "ends": ends, "skip": skip, "length": length}
    kept, digest = _kept("sequences", model, hook_points, options, extract, cache)
    return _sourced(kept, digest, hook_points, f"tokens from {skip}", encoded)


def check_finite(name: str, rows: np.ndarray, where: str, model: TransformerBridge) -> None:
    """Raise ValueError that names the first row with a number that is not finite."""
    bad = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{name} has {bad.size} rows, the first of them {bad[0]}, whose {where} is not "
            f"finite in {str(model.cfg.dtype).removeprefix('torch.')}: load the model with "
            "dtype='bfloat16' or 'float32', or look for weights that are not finite"
        )


def batches(sequences: Sequence[Sequence[int]], size: int, padded: bool) -> Iterator[list[int]]:
    """Yield rows to run together, short ones first; unless `padded`, of one length only."""
    batch: list[int] = []
    for row in np.argsort([len(ids) for ids in sequences], kind="stable").tolist():
        other = batch and not padded and len(sequences[batch[0]]) != len(sequences[row])
        if len(batch) == size or other:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def looks_ahead(
    model: TransformerBridge, ids: Sequence[int], hook_points: Sequence[str]
) -> bool:
    """Return whether a token changes what hook points carry on its left.

    It is tried, on the first 16 of some tokens, and not taken from the configuration.
    """
    known = _looks_ahead.setdefault(model, {})
    key = (tuple(hook_points), model.original_model.training)
    if key not in known:
        known[key] = _try_ahead(model, list(ids[:16]), hook_points)
    return known[key]


_looks_ahead: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _try_ahead(model, ids, hook_points) -> bool:
    ids = (ids * 4)[: max(4, len(ids))]
    limit = getattr(model.cfg, "n_ctx", None) or len(ids)
    ids = ids[: max(2, min(len(ids), limit))]
    other = [*ids[:-1], ids[0] if ids[0] != ids[-1] else (ids[-1] + 1) % model.cfg.d_vocab]
    read = list(range(len(ids) - 1))
    precision = torch.finfo(next(model.original_model.parameters()).dtype).eps
    for one, two in _forward(model, [(ids, [read]), (other, [read])], hook_points).values():
        size = np.abs(one).max()
        if np.isfinite(size) and np.abs(one - two).max() > max(1e-5, 2 * precision) * size:
            return True
    return False


def _check_hook_points(model, hook_points) -> None:
    for name in hook_points:
        if name not in model.hook_dict:
            raise ValueError(
                f"hook_points has {name!r}, which this model does not have; resid_post(model) "
                "lists those of the residual stream, model.hook_dict all"
            )
        if name.endswith(_BY_HEAD):
            raise ValueError(_not_tokens(name, "(batch, head, token, token)"))


def _not_tokens(name, shape) -> str:
    return (
        f"hook_points has {name!r}, which carries {shape}; it has to be (batch, token, d) or "
        "(batch, token, head, d)"
    )


def _position(position, count: int) -> tuple[str, list[Place]]:
    """Return the rule by which a token is found, and each text's index or span."""
    if isinstance(position, str):
        if position not in POSITIONS:
            raise ValueError(
                f"position is {position!r}; it has to be one of {POSITIONS}, token indices or "
                "spans"
            )
        return position, [None] * count
    if _is_single(position) and position is not None:
        position = [position] * count
    try:
        found = list(position)
    except TypeError as error:
        raise ValueError(
            f"position is {position!r}; it has to be one of {POSITIONS}, a token's index, or "
            "an index or a span for each text"
        ) from error
    if len(found) != count:
        raise ValueError(
            f"position has {len(found)} spans or indices; it needs one for each of {count} "
            "texts"
        )
    places = [_place(row, place) for row, place in enumerate(found)]
    kinds = {type(place) for place in places}
    if len(kinds) > 1:
        raise ValueError("position has both spans and indices; it has to have one kind")
    return ("span" if kinds == {tuple} else "token"), places


def _place(row, place) -> Place:
    try:
        if _is_single(place):
            return _whole(place)
        start, stop = place
        return _whole(start), _whole(stop)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"position has {place!r} in row {row}; it has to be a token's index or a span "
            "(start, stop), in whole numbers"
        ) from error


def _is_single(value) -> bool:
    return not hasattr(value, "__iter__") or getattr(value, "ndim", 1) == 0


def _whole(number) -> int:
    if isinstance(number, (bool, np.bool_)):
        raise TypeError(f"{number!r} is no whole number")
    return index(number)


def _kept(kind, model, hook_points, options, extract, cache) -> tuple[dict, str]:
    """Return what `extract` reads, from the cache if it may be kept there, and the digest."""
    if not cache or is_hooked(model):
        check_evaluated(model)
        return extract(), model_digest(model)
    key = reading_key(model)
    return keep(kind, key | {"hook_points": hook_points} | options, extract), key["model"]


def _sourced(kept, digest, hook_points, told: str, encoded) -> dict[str, np.ndarray]:
    starts = bool(encoded[0].start)
    return {
        name: Activations.of(kept[name], Source(digest, name, told, starts))
        for name in hook_points
    }


def _check_present(name: str, rows: np.ndarray, counts: list[int]) -> None:
    """Raise ValueError if a token among the last `counts` of a row is 0 throughout."""
    bad = np.flatnonzero(np.any(rows != 0, axis=-1).sum(axis=1) != counts)
    if bad.size:
        raise ValueError(
            f"hook_points has {name!r}, which is 0 throughout at a token of row {bad[0]}; in"
            " sequences that means that there is no token"
        )


def _count(name: str, value: int, least: int) -> int:
    try:
        found = _whole(value)
    except TypeError:
        found = least - 1
    if found < least:
        raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ {least}")
    return found


def _told(rule: str, places: list[Place]) -> str:
    """Return the rule as a reporter remembers it."""
    if rule != "token":
        return rule
    return f"token {places[0]}" if len(set(places)) == 1 else rule


def _places(rule, place, row, text, tokens: Encoded) -> list[int]:
    """Return the indices of the tokens to read."""
    count = len(tokens.ids) - tokens.end
    if count <= tokens.start:
        raise ValueError(f"texts has row {row}, {text!a:.40}, which holds no token")
    if rule == "last":
        return [count - 1]
    if rule == "all":
        return list(range(tokens.start, count))
    if rule == "token":
        if not -count <= place < count:
            raise ValueError(
                f"position has {place} in row {row}, {text!a:.40}, which has {count} tokens"
            )
        return [place % count]
    if rule == "full stop":
        end = len(text.rstrip())
        if not text[:end].endswith("."):
            raise ValueError(
                "position is 'full stop', but this text does not end in one: "
                f"{text!r}, row {row}; use 'last' or spans"
            )
        place = (end - 1, end)
    first, stop = place
    inside = [i for i, (a, b) in enumerate(tokens.offsets) if a < stop and b > first]
    if not (0 <= first < stop <= len(text) and inside):
        raise ValueError(
            f"position has the span {place} in row {row}, which holds no token of {text!r}; it "
            f"has to be (start, stop) with 0 ≤ start < stop ≤ {len(text)}"
        )
    return inside


def _extract(model, sequences, reads, length, hook_points, batch_size, progress):
    """Return (n, length, d) per hook point: the means over groups of tokens, the last at last.

    `reads` has each text's groups, lists of token indices; places without a group hold 0.
    """
    # Hooks of the user's own are not run for a trial; without padding there is no need for one.
    whole = is_hooked(model) or looks_ahead(model, max(sequences, key=len), hook_points)
    keys = [
        (tuple(ids if whole else ids[: 1 + max(map(max, groups))]), tuple(map(tuple, groups)))
        for ids, groups in zip(sequences, reads, strict=True)
    ]
    distinct = list(dict.fromkeys(keys))
    ids = [key[0] for key in distinct]
    together, shared = list(batches(ids, batch_size, padded=not whole)), False
    if not whole:
        together, shared = _shared(model, ids, hook_points, batch_size, together)
    rows: dict[str, list] = {name: [None] * len(distinct) for name in hook_points}
    bar = tqdm(total=len(distinct), unit="text", desc="activations", disable=not progress)
    with bar:
        for batch in together:
            texts = [distinct[i] for i in batch]
            found = _forward(model, texts, hook_points, length, shared)
            # In a tree a number that is not finite spreads to other texts.
            if shared and not all(np.isfinite(rows).all() for rows in found.values()):
                found = _forward(model, texts, hook_points, length)
            for name in hook_points:
                for i, row in zip(batch, found[name], strict=True):
                    rows[name][i] = row
            bar.update(len(batch))
    place = {key: i for i, key in enumerate(distinct)}
    back = [place[key] for key in keys]
    found = {name: np.stack(rows[name])[back] for name in hook_points}
    for name, values in found.items():
        check_finite("texts", values, f"activation at {name}", model)
    return found


def _shared(model, ids, hook_points, batch_size, padded) -> tuple[list[list[int]], bool]:
    """Return rows to run as trees and True; or the padded batches, if they cost no more."""
    longest, width = max(ids, key=len), model.cfg.d_model
    # In a tree attention is paid for between tokens that do not see each other, too.
    limit = max(width, 2 * len(longest))
    limit = min(limit, getattr(model.cfg, "n_ctx", None) or limit)
    trees, counts = tree_batches(ids, batch_size, limit)
    cost = sum(_cost(1, count, width) for count in counts)
    trial = 2 * _cost(1, len(longest), width)
    other = sum(_cost(len(rows), max(len(ids[i]) for i in rows), width) for rows in padded)
    if cost + trial < other and _can_share(model, longest, hook_points):
        return trees, True
    return padded, False


def _cost(rows: int, length: int, width: int) -> float:
    """Return how many tokens' matrix products a pass costs, with its attention.

    A token's matrices have some 12 d² weights a layer; a pair of tokens takes 2 d products,
    and as long again for the softmax.
    """
    return rows * length * (1 + length / (3 * width))


def _can_share(model, ids, hook_points) -> bool:
    """Return whether a tree gives the numbers of a text as long as this one; it is tried.

    Only in float32: in 16 bits rounding would hide what the trial looks for.
    """
    if next(model.original_model.parameters()).dtype != torch.float32:
        return False
    known = _shares.setdefault(model, {})
    key = (tuple(hook_points), len(ids))
    if key not in known:
        known[key] = _try_shared(model, list(ids), hook_points)
    return known[key]


_shares: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _try_shared(model, ids, hook_points) -> bool:
    """Run a text beside another one that leaves it halfway, and alone."""
    half = len(ids) // 2
    other = [*ids[:half], (ids[half] + 1) % model.cfg.d_vocab, ids[0]]
    groups = [[token] for token in range(len(ids))]
    two = [(other, [[0]]), (ids, groups)]
    try:
        shared = _forward(model, two, hook_points, len(ids), shared=True)
    except Exception:  # models that take no such mask or places raise what they like
        return False
    alone = _forward(model, two[1:], hook_points, len(ids))
    for name, (one,) in alone.items():
        apart = np.abs(shared[name][1] - one).max(axis=-1)
        if not (apart <= SAME * np.abs(one).max(axis=-1)).all():
            return False
    return True


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


def _as_tree(model, sequences, device) -> tuple[torch.Tensor, dict, list]:
    """Return a tree's ids (1, N), its places and mask, and each text's tokens in it."""
    tree = grow(sequences)
    seen = torch.from_numpy(visible(tree.parents)).to(device)[None, None]
    dtype = next(model.original_model.parameters()).dtype
    hidden = torch.zeros(seen.shape, dtype=dtype, device=device)
    options = {
        "position_ids": torch.tensor([tree.depths], device=device),
        "attention_mask": hidden.masked_fill(~seen, torch.finfo(dtype).min),
    }
    where = [[(0, node) for node in path] for path in tree.paths]
    return torch.tensor([tree.ids], device=device), options, where


def _forward(model, batch, hook_points, length=1, shared=False) -> dict[str, np.ndarray]:
    device = next(model.original_model.parameters()).device
    sequences = [tokens for tokens, _ in batch]
    if shared:
        ids, options, where = _as_tree(model, sequences, device)
    else:
        ids, options = pad(sequences, device), {}
        where = [[(row, i) for i in range(len(ids))] for row, ids in enumerate(sequences)]
    read = [
        (*where[row][token], row * length + place, 1 / len(group))
        for row, (_, groups) in enumerate(batch)
        for place, group in enumerate(groups, length - len(groups))
        for token in group
    ]
    *places, shares = zip(*read, strict=True)
    rows, tokens, slots = torch.tensor(places, device=device)
    shares = torch.tensor(shares, dtype=torch.float32, device=device)[:, None]
    kept = {}

    def keeper(name):
        def keep_read(tensor, hook):
            if tensor.ndim not in (3, 4) or tensor.shape[:2] != ids.shape:
                raise ValueError(_not_tokens(name, tuple(tensor.shape)))
            # Only what is read is touched: padding may be infinite, and 0 · ∞ is no number.
            found = tensor.flatten(2)[rows, tokens].float()
            means = found.new_zeros(len(batch) * length, found.shape[1])
            means.index_add_(0, slots, found * shares)
            kept[name] = means.unflatten(0, (len(batch), length)).cpu().numpy()
            if len(kept) == len(set(hook_points)):
                raise Enough

        return keep_read

    hooks = [(name, keeper(name)) for name in dict.fromkeys(hook_points)]
    with torch.inference_mode():
        try:
            model.run_with_hooks(ids, fwd_hooks=hooks, return_type=None, **options)
        except Enough:
            return kept
    missing = sorted(set(hook_points) - set(kept))
    raise ValueError(f"hook_points has {missing[0]!r}, which never fired in a forward pass")
