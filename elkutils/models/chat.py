"""Conversations as the texts that a chat model was trained on, and what the assistant wrote."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.tokens import Spans, frame

Message = Mapping[str, str]


class Chats(NamedTuple):
    """Conversations written out by a model's template.

    Attributes
    ----------
    texts : list of n str
        For `activations`, with positions as for any text.
    spans : list of n lists of (start, stop)
        The characters of each message of the role asked for.
    """

    texts: list[str]
    spans: list[list[tuple[int, int]]]


def chat_texts(
    model: TransformerBridge,
    conversations: Sequence[Sequence[Message]],
    role: str = "assistant",
) -> Chats:
    """Return conversations as texts, by the template of the model's own tokenizer.

    Parameters
    ----------
    model : TransformerBridge
    conversations : sequence of n lists of messages
        Each message has a "role" and a "content", as in transformers. The template is applied
        here; messages hold none of its tokens.
    role : str
        Whose messages the spans are of.

    Returns
    -------
    Chats

    Raises
    ------
    ValueError
        If the tokenizer has no chat template, a conversation is empty or no list of messages, a
        message holds a token of the template (it was then applied before) or is changed by it,
        or no message has the role.

    Examples
    --------
    The tokens of the assistant alone, and one score per conversation from their mean::

        chats = chat_texts(model, conversations)
        X = activations(model, chats.texts, [hook], position="all")[hook]
        spans = token_spans(model, chats.texts)
        own = in_spans(spans, chats.spans)
        score = pool(reporter.predict_proba(X[own])[:, 1], spans.row[own])
    """
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "model has a tokenizer without a chat template: set model.tokenizer.chat_template,"
            " or write the conversations out yourself"
        )
    if isinstance(conversations, (str, Mapping)) or not len(conversations):
        raise ValueError("conversations has to be a list of conversations, lists of messages")
    set_apart = _start_of_its_own(model)
    texts, spans = [], []
    for row, messages in enumerate(conversations):
        _check(row, messages, tokenizer)
        text, own = _written(row, messages, tokenizer, role)
        cut = len(set_apart) if set_apart and text.startswith(set_apart) else 0
        texts.append(text[cut:])
        spans.append([(start - cut, stop - cut) for start, stop in own])
    return Chats(texts, spans)


def in_spans(spans: Spans, chosen: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """Return whether each token (N,) begins within the spans chosen in its text.

    Parameters
    ----------
    spans : Spans
        From `elkutils.models.token_spans`.
    chosen : n lists of (start, stop)
        Characters of each text, such as those of `Chats`.

    Raises
    ------
    ValueError
        If a text has no token within its spans, and so no score, or `chosen` has another
        length.

    Examples
    --------
    >>> tokens = Spans(np.array([0, 0, 0]), np.array([0, 2, 5]), np.array([2, 5, 6]))
    >>> in_spans(tokens, [[(2, 6)]]).tolist()
    [False, True, True]
    """
    count = int(spans.row.max()) + 1
    if len(chosen) != count:
        raise ValueError(
            f"chosen has {len(chosen)} lists of spans; the tokens are of {count} texts"
        )
    found = np.zeros(len(spans.row), dtype=bool)
    for row, places in enumerate(chosen):
        own = spans.row == row
        for start, stop in places:
            found |= own & (spans.start >= start) & (spans.start < stop)
        if not found[own].any():
            raise ValueError(f"chosen has no token in row {row}, whose spans are {places}")
    return found


def _start_of_its_own(model) -> str:
    """The start token that is set before a text anyway, or ""."""
    tokenizer = model.tokenizer
    before, _ = frame(tokenizer, "a")
    return tokenizer.bos_token or "" if before and model.cfg.default_prepend_bos else ""


def _check(row, messages, tokenizer) -> None:
    whole = not isinstance(messages, (str, Mapping)) and len(messages) > 0
    if not whole or not all(isinstance(each, Mapping) for each in messages):
        raise ValueError(
            f"conversations has {messages!r:.60} in row {row}; it has to be a list of messages,"
            ' such as {"role": "user", "content": "Hello"}'
        )
    for number, message in enumerate(messages):
        if not all(isinstance(message.get(name), str) for name in ("role", "content")):
            raise ValueError(
                f"conversations has {dict(message)!r:.60} in row {row}, message {number}; it"
                ' needs the texts "role" and "content"'
            )
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise ValueError(
                    f"conversations has {token!r} in row {row}, message {number}: the template"
                    " is applied here, and messages hold none of its tokens"
                )


def _written(row, messages, tokenizer, role) -> tuple[str, list[tuple[int, int]]]:
    """One conversation as text, and the characters of the messages of a role."""

    def render(count, **options):
        return tokenizer.apply_chat_template(list(messages[:count]), tokenize=False, **options)

    text, spans, before = render(len(messages)), [], 0
    for number, message in enumerate(messages, start=1):
        after = len(render(number))
        if message["role"] == role:
            part, content = text[before:after], message["content"].strip()
            place = part.rfind(content)
            if place < 0 or not content:
                raise ValueError(
                    f"conversations has message {number - 1} in row {row}, which is empty or"
                    " which the template changes: its characters cannot be told"
                )
            spans.append((before + place, before + place + len(content)))
        before = after
    if not spans:
        raise ValueError(f"conversations has no message of the role {role!r} in row {row}")
    return text, spans
