"""Conversations as texts: one template, the assistant's characters, and its tokens."""

import numpy as np
import pytest
import tiny_models as tiny

from elkutils.models import activations, load_model, resid_post, token_spans
from elkutils.models.chat import chat_texts, in_spans

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}"
    "{{ eos_token }}{% endfor %}"
)
TALKS = [
    [
        {"role": "user", "content": "It is."},
        {"role": "assistant", "content": " The city of Oslo is in Peru. "},
        {"role": "user", "content": "assistant"},
        {"role": "assistant", "content": "assistant"},
    ],
    [{"role": "user", "content": "It is."}, {"role": "assistant", "content": "It is."}],
]
SAID = [["The city of Oslo is in Peru.", "assistant"], ["It is."]]


@pytest.fixture(params=[False, True], ids=["bare", "start token"])
def small(own_cache, request):
    model = load_model(tiny.llama(), tokenizer=tiny.tokenizer(bos=request.param))
    model.tokenizer.chat_template = TEMPLATE
    return model


def test_spans_are_what_the_assistant_said(small):
    chats = chat_texts(small, TALKS)
    for text, spans, said in zip(chats.texts, chats.spans, SAID, strict=True):
        assert [text[start:stop] for start, stop in spans] == said
    users = chat_texts(small, TALKS, role="user")
    assert [users.texts[0][a:b] for a, b in users.spans[0]] == ["It is.", "assistant"]
    assert users.spans[0][1][0] < chats.spans[0][1][0]


def test_there_is_one_start_token(small):
    chats = chat_texts(small, TALKS)
    ids = small.tokenizer(chats.texts[0])["input_ids"]
    assert ids.count(small.tokenizer.bos_token_id) == 1
    assert ids[0] == small.tokenizer.bos_token_id


def test_tokens_of_the_assistant_can_be_told(small):
    chats = chat_texts(small, TALKS)
    spans = token_spans(small, chats.texts)
    own = in_spans(spans, chats.spans)
    hook = resid_post(small)[-1:]
    X = activations(small, chats.texts, hook, "all", progress=False, cache=False)[hook[0]]
    assert len(X) == len(own)
    for row, said in enumerate(SAID):
        inside = own & (spans.row == row)
        pieces = zip(spans.start[inside], spans.stop[inside], strict=True)
        assert "".join(chats.texts[row][a:b] for a, b in pieces) == "".join(said)


def test_the_embedded_model_has_its_template(model):
    chats = chat_texts(model, TALKS)
    for text, spans, said in zip(chats.texts, chats.spans, SAID, strict=True):
        assert text.count("<|im_start|>system") == 1
        assert [text[start:stop] for start, stop in spans] == said


@pytest.mark.parametrize(
    ("talks", "said"),
    [
        ("Hello", "list of conversations"),
        ([], "list of conversations"),
        ([[]], "row 0"),
        (TALKS[0], "row 0; it has to be a list of messages"),
        ([[{"role": "user"}]], 'message 0; it needs the texts "role" and "content"'),
        ([[{"role": "user", "content": "Hi</s>"}]], "'</s>' in row 0, message 0"),
        ([TALKS[1], TALKS[1][:1]], "no message of the role 'assistant' in row 1"),
        ([[*TALKS[1][:1], {"role": "assistant", "content": " "}]], "message 1 in row 0"),
    ],
)
def test_bad_conversations_are_named(small, talks, said):
    with pytest.raises(ValueError, match=said):
        chat_texts(small, talks)


def test_a_tokenizer_without_a_template_is_named(small):
    small.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="without a chat template"):
        chat_texts(small, TALKS)


def test_a_text_without_a_token_in_its_spans_is_named(small):
    chats = chat_texts(small, TALKS)
    spans = token_spans(small, chats.texts)
    with pytest.raises(ValueError, match="no token in row 1"):
        in_spans(spans, [chats.spans[0], []])
    with pytest.raises(ValueError, match="1 lists of spans"):
        in_spans(spans, chats.spans[:1])
    assert in_spans(spans, [[(0, 999)]] * 2).all()
    assert not np.array_equal(in_spans(spans, chats.spans), np.ones(len(spans.row)))
