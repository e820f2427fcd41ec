"""Activations of all tokens, a row each, with the places of the tokens in their texts."""

import numpy as np
import pytest
import tiny_models as tiny

from elkutils.models import activations, load_model, resid_post, sequences, token_spans

TEXTS = [*tiny.TEXTS, "Café in Lyon.", tiny.TEXTS[0]]
OPTIONS = {"progress": False, "cache": False}


@pytest.fixture(params=[{}, {"bos": True, "eos": True}], ids=["bare", "framed"])
def small(own_cache, request):
    return load_model(tiny.llama(), tokenizer=tiny.tokenizer(**request.param))


@pytest.mark.parametrize("batch_size", [1, 32])
def test_rows_are_the_tokens_of_text_after_text(small, batch_size):
    hooks = resid_post(small)
    found = activations(small, TEXTS, hooks, "all", batch_size, **OPTIONS)
    spans = token_spans(small, TEXTS)
    framed = int(small.tokenizer(TEXTS[0])["input_ids"][0] == small.tokenizer.bos_token_id)
    padded = sequences(small, TEXTS, hooks, skip=framed, **OPTIONS)
    for hook in hooks:
        assert found[hook].shape == (len(spans.row), 16)
        for i, row in enumerate(padded[hook]):
            own = found[hook][spans.row == i]
            np.testing.assert_allclose(own, row[-len(own) :], rtol=1e-4, atol=1e-4)
            assert not row[: -len(own)].any()
        assert found[hook].source.position == "all"


def test_places_are_those_of_the_characters(small):
    spans = token_spans(small, TEXTS)
    for i, text in enumerate(TEXTS):
        own = spans.row == i
        pieces = [text[a:b] for a, b in zip(spans.start[own], spans.stop[own], strict=True)]
        bare = small.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert len(pieces) == len(bare)
        if text.isascii():  # elsewhere a character may take several tokens
            assert "".join(pieces) == text
            assert pieces == [small.tokenizer.decode([token]) for token in bare]


def test_the_last_of_each_text_is_what_is_read_there(small):
    hook = resid_post(small)[-1:]
    everything = activations(small, TEXTS, hook, "all", **OPTIONS)[hook[0]]
    last = activations(small, TEXTS, hook, "last", **OPTIONS)[hook[0]]
    ends = np.flatnonzero(np.diff(token_spans(small, TEXTS).row, append=len(TEXTS)))
    np.testing.assert_allclose(everything[ends], last, rtol=1e-4, atol=1e-4)


def test_the_cache_tells_positions_apart(small, own_cache):
    hook = resid_post(small)[-1:]
    one = [TEXTS[0]]
    count = len(token_spans(small, one).row)
    for position, rows in (("all", count), ("last", 1), ("all", count)):
        assert len(activations(small, one, hook, position, progress=False)[hook[0]]) == rows
    assert len(list(own_cache.glob("activations/*.safetensors"))) == 2


def test_a_reporter_of_one_position_refuses_all_tokens(small):
    from elkutils.reporters import DifferenceInMeans

    hook = resid_post(small)[-1:]
    last = activations(small, TEXTS, hook, "last", **OPTIONS)[hook[0]]
    reporter = DifferenceInMeans().fit(last, [0, 1, 0, 1, 1])
    everything = activations(small, TEXTS, hook, "all", **OPTIONS)[hook[0]]
    with pytest.raises(ValueError, match="position is 'all'"):
        reporter.predict_proba(everything)
    assert reporter.predict_proba(np.asarray(everything)).shape == (len(everything), 2)
