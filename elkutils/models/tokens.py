"""Texts as the token ids that a model reads: its own tokenizer's, and no others.

A text is encoded as the model's own tokenizer does, start and end tokens included.
TransformerLens' switch ``model.cfg.default_prepend_bos`` takes the start token away, or adds
one.
"""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from transformer_lens.model_bridge import TransformerBridge
from transformers import BatchEncoding, PreTrainedTokenizerBase


class Encoded(NamedTuple):
    """The tokens of a text.

    Attributes
    ----------
    ids : list of int
    offsets : list of (start, stop) or None
        The characters of each token, (0, 0) for tokens that are not in the text.
    start, end : int
        How many tokens before and after the text's own the tokenizer has set.
    """

    ids: list[int]
    offsets: list[tuple[int, int]] | None
    start: int
    end: int


class Spans(NamedTuple):
    """Which text each token belongs to, and which of its characters.

    Attributes
    ----------
    row : (N,) array of int
        The text's number, from 0.
    start, stop : (N,) arrays of int
        The characters ``texts[row][start:stop]``.
    """

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def token_spans(model: TransformerBridge, texts: Sequence[str]) -> Spans:
    """Return the places of the rows of ``activations(model, texts, …, position="all")``.

    Parameters
    ----------
    model : TransformerBridge
        Its tokenizer has to be a fast one.
    texts : sequence of n str

    Raises
    ------
    ValueError
        As `elkutils.models.activations` does, for texts; or if the tokenizer does not know the
        characters of a token.
    """
    encoded = encode_all(model, "texts", text_list("texts", texts), offsets=True)
    own = [tokens.offsets[tokens.start : len(tokens.ids) - tokens.end] for tokens in encoded]
    row = np.repeat(np.arange(len(own)), [len(spans) for spans in own])
    places = np.array([span for spans in own for span in spans], dtype=int).reshape(-1, 2)
    return Spans(row, places[:, 0], places[:, 1])


def text_list(name: str, texts: Sequence[str], *, empty: bool = False) -> list[str]:
    """Return texts as a list, or raise ValueError that names argument and row.

    `empty` allows texts without a character.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError(f"{name} is one string, {texts!a:.60}; it has to be a list: [text]")
    if isinstance(texts, (Mapping, Set)) or hasattr(texts, "columns"):
        raise ValueError(
            f"{name} is a {type(texts).__name__}; it has to be a list of strings, in order"
        )
    try:
        found = list(texts)
    except TypeError as error:
        raise ValueError(f"{name} is {texts!r}; it has to be a list of strings") from error
    if not found:
        raise ValueError(f"{name} is empty; {name} has to hold at least one string")
    for row, text in enumerate(found):
        if not isinstance(text, str) or not (text or empty):
            raise ValueError(
                f"{name} has to hold strings, and none of them empty; row {row} is {text!r:.60}"
            )
        _check_characters(name, row, text)
    return [str(text) for text in found]


def check_batch_size(batch_size: int) -> None:
    """Raise ValueError unless it is a whole number from 1."""
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; it has to be a whole number from 1")


def _check_characters(name, row, text) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has a lone surrogate, {text[error.start]!a}, in row {row}: {text!a:.60}; "
            "text has to be Unicode: read the file as UTF-8, or replace the character"
        ) from error


def encode_all(
    model: TransformerBridge, name: str, texts: Sequence[str], offsets: bool = False
) -> list[Encoded]:
    """Tokenise texts as the model's own tokenizer does.

    Parameters
    ----------
    model : TransformerBridge
    name : str
        What the caller's argument is called, for messages.
    texts : sequence of n str
    offsets : bool
        Return each token's characters too; only fast tokenizers know them.

    Returns
    -------
    list of n Encoded

    Raises
    ------
    ValueError
        If a text is longer than the model's context, would have two start tokens, or a start
        token is asked for and there is none.
    """
    special, first, start, end = _rule(model, texts[0])
    options = {"return_offsets_mapping": True} if offsets else {}
    found = _call(model.tokenizer, texts, add_special_tokens=special, **options)
    places = found.get("offset_mapping") or [None] * len(texts)
    rows = []
    for row, (own, spans) in enumerate(zip(found["input_ids"], places, strict=True)):
        ids = [*first, *own]
        spans = None if spans is None else [(0, 0)] * len(first) + list(spans)
        _check_row(model, name, row, texts[row], ids, start)
        rows.append(Encoded(ids, spans, start, end))
    return rows


def encode(model: TransformerBridge, text: str, **options: object) -> BatchEncoding:
    """Tokenise one text as the model's own tokenizer does, with or without a start token.

    `options` are `return_offsets_mapping`, or what else the tokenizer takes; its encoding, with
    ``input_ids``, is returned.
    """
    special, first, *_ = _rule(model, text)
    found = model.tokenizer(text, add_special_tokens=special, **options)
    if first:
        found["input_ids"] = [*first, *found["input_ids"]]
        if "offset_mapping" in found:
            found["offset_mapping"] = [(0, 0), *found["offset_mapping"]]
    return found


def bare_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return a text's token ids without any start or end token."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def frame(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """Return the tokens that a tokenizer sets before and after a text."""
    whole, bare = tokenizer(text)["input_ids"], bare_ids(tokenizer, text)
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return [], []


def _rule(model, text) -> tuple[bool, list[int], int, int]:
    """Return whether the tokenizer sets its own, what is put first, and how many are set."""
    wanted = bool(model.cfg.default_prepend_bos)
    before, after = frame(model.tokenizer, text)
    if before and not wanted:
        return False, [], 0, 0
    if before or not wanted:
        return True, [], len(before), len(after)
    token = getattr(model.tokenizer, "bos_token_id", None)
    if token is None:
        raise ValueError(
            "model.cfg.default_prepend_bos is True, but the model's tokenizer has no start "
            "token: set it to False"
        )
    return True, [token], 1, len(after)


def _call(tokenizer, texts, **options) -> Mapping:
    if not isinstance(tokenizer, PreTrainedTokenizerBase):  # one of ours, a text at a time
        rows = [tokenizer(text, **options) for text in texts]
        return {name: [row[name] for row in rows] for name in rows[0]}
    if options.get("return_offsets_mapping") and not tokenizer.is_fast:
        raise ValueError(
            f"position needs the characters of each token, which {type(tokenizer).__name__}, "
            "a slow tokenizer, does not know: use 'last' or token indices"
        )
    return tokenizer(list(texts), **options)


def _check_row(model, name, row, text, ids, start) -> None:
    if start and len(ids) > start and ids[start] == ids[start - 1]:
        raise ValueError(
            f"{name} begins with a start token in row {row}, {text!a:.40}, and the tokenizer "
            "sets one too: take it out of the text, or set "
            "model.cfg.default_prepend_bos = False"
        )
    size = getattr(model.cfg, "d_vocab", None) or 0
    if size > 0 and max(ids, default=0) >= size:
        raise ValueError(
            f"{name} has the token {max(ids)} in row {row}, {text!a:.40}, but the model has "
            f"{size} tokens: load it with its own tokenizer"
        )
    limit = getattr(model.cfg, "n_ctx", None)
    if limit and len(ids) > limit:
        raise ValueError(
            f"{name} has {len(ids)} tokens in row {row}, {text!a:.40}; the model's context "
            f"holds {limit}: shorten the text, or raise model.cfg.n_ctx if it was made for more"
        )
