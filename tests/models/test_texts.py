"""Texts as tokens: the tokenizer's own, one at a time, none dropped, added or merged."""

import numpy as np
import pytest
import tiny_models as tiny
import torch

from elkutils.models import (
    activations,
    answer_log_odds,
    completion_log_prob,
    load_model,
    resid_post,
)
from elkutils.models.language import encode

QUIET = {"cache": False, "progress": False}


def load(network=None, **tokens):
    return load_model(network or tiny.llama(), tokenizer=tiny.tokenizer(**tokens))


def hidden_states(network, tokenizer, text):
    """transformers' own residual stream after the first layer, (tokens, d)."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    network.eval()
    with torch.inference_mode():
        return network(ids, output_hidden_states=True).hidden_states[1][0].numpy()


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("eos", [False, True])
def test_texts_have_the_tokenizers_own_start_and_end(bos, eos):
    tokenizer = tiny.tokenizer(bos, eos)
    end = len(tokenizer(tiny.TEXTS[0])["input_ids"]) - 1 - eos
    expected = hidden_states(tiny.llama(), tokenizer, tiny.TEXTS[0])[end]
    model = load(bos=bos, eos=eos)
    assert model.cfg.default_prepend_bos == bos
    (hook,) = resid_post(model, [0])
    for position in ("last", "full stop", -1, end, [(29, 30)] * 3, np.full(3, -1)):
        texts = [tiny.TEXTS[0]] * 3
        X = activations(model, texts, [hook], position, **QUIET)[hook]
        np.testing.assert_allclose(X[0], expected, atol=1e-5)
        assert X.source.start_token == bos


@pytest.mark.parametrize("eos", [False, True])
def test_an_end_token_is_not_asked_about(eos):
    options = {"texts": tiny.TEXTS, **QUIET}
    without = answer_log_odds(load(), **options)
    np.testing.assert_allclose(answer_log_odds(load(eos=eos), **options), without, atol=1e-5)
    pair = ["The city of Lyon is in"], [" Peru."]
    np.testing.assert_allclose(
        completion_log_prob(load(eos=eos), *pair, **QUIET),
        completion_log_prob(load(), *pair, **QUIET),
        atol=1e-5,
    )


def test_a_start_token_can_be_asked_for():
    model = load()
    model.cfg.default_prepend_bos = True
    assert encode(model, "It is.")["input_ids"][0] == 0
    (hook,) = resid_post(model, [0])
    found = activations(model, ["It is."], [hook], "last", **QUIET)[hook]
    expected = hidden_states(tiny.llama(), tiny.tokenizer(bos=True), "It is.")[-1]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_two_start_tokens_are_refused():
    model, told = load(bos=True), r"start token in row 1.*default_prepend_bos = False"
    texts = ["It is.", "<s>It is."]
    with pytest.raises(ValueError, match=told):
        activations(model, texts, resid_post(model), **QUIET)
    with pytest.raises(ValueError, match=told):
        answer_log_odds(model, texts, **QUIET)
    with pytest.raises(ValueError, match=told):
        completion_log_prob(model, texts, [" True", " True"], **QUIET)
    model.cfg.default_prepend_bos = False
    activations(model, ["<s>It is."], resid_post(model), **QUIET)


def test_networks_that_attend_both_ways_are_read_without_padding():
    network, tokenizer = tiny.both_ways(), tiny.tokenizer()
    expected = [hidden_states(network, tokenizer, text)[-1] for text in tiny.TEXTS]
    model = load(network)
    (hook,) = resid_post(model, [0])
    found = activations(model, tiny.TEXTS, [hook], "last", **QUIET)[hook]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for ask in (
        lambda: answer_log_odds(model, tiny.TEXTS, **QUIET),
        lambda: completion_log_prob(model, ["It"], [" is."], **QUIET),
    ):
        with pytest.raises(ValueError, match="attends to what is on the right"):
            ask()


def test_logits_that_are_capped_are_capped_here():
    network, tokenizer = tiny.capped(), tiny.tokenizer()
    stem, completion = "The city of Lyon is in", " France."
    ids = tokenizer(stem + completion)["input_ids"]
    network.eval()
    with torch.inference_mode():
        log_probs = network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    start = len(tokenizer(stem)["input_ids"])
    expected = sum(float(log_probs[i - 1, ids[i]]) for i in range(start, len(ids)))
    found = completion_log_prob(load(network), [stem], [completion], **QUIET)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2])
def test_a_text_beyond_the_context_is_named(make):
    model = load(make())
    texts = ["It is.", "The city of Lyon is in France. " * 20 + "It is."]
    told = r"tokens in row 1.*holds 64: shorten"
    with pytest.raises(ValueError, match=told):
        activations(model, texts, resid_post(model), "last", **QUIET)
    with pytest.raises(ValueError, match=told):
        answer_log_odds(model, texts, **QUIET)
    with pytest.raises(ValueError, match=told):
        completion_log_prob(model, texts, [" True"] * 2, **QUIET)


NOT_LISTS = ["It is.", b"It is.", {"It is."}, {"It is.": 1}, [], 3, None, [3], ["", "A."]]


@pytest.mark.parametrize("bad", NOT_LISTS, ids=repr)
def test_texts_have_to_be_a_list(bad):
    model, hooks = load(), ["blocks.0.hook_resid_post"]
    for name, ask in {
        "texts": lambda: activations(model, bad, hooks, "last", **QUIET),
        "hook_points": lambda: activations(model, ["It is."], bad, "last", **QUIET),
        "texts ": lambda: answer_log_odds(model, bad, **QUIET),
        "answers": lambda: answer_log_odds(model, ["It is."], answers=bad, **QUIET),
        "stems": lambda: completion_log_prob(model, bad, [" is"], **QUIET),
        "completions": lambda: completion_log_prob(model, ["It"], bad, **QUIET),
    }.items():
        with pytest.raises(ValueError, match=name.strip() + "|stems but"):
            ask()


def test_layers_and_batches_are_whole_numbers():
    model = load()
    for layers in (1, "1", [1.0], [True], ["1"]):
        with pytest.raises(ValueError, match="layers is"):
            resid_post(model, layers)
    assert resid_post(model, np.array([1])) == ["blocks.1.hook_resid_post"]
    for size in (0, -1, 2.0, None):
        with pytest.raises(ValueError, match="batch_size is"):
            activations(model, ["It is."], resid_post(model), batch_size=size, **QUIET)
        with pytest.raises(ValueError, match="batch_size is"):
            answer_log_odds(model, ["It is."], batch_size=size, **QUIET)


def test_half_a_character_is_named():
    model, bad = load(), ["It is.", "It \ud835 is."]
    with pytest.raises(ValueError, match=r"surrogate.*row 1"):
        activations(model, bad, resid_post(model), **QUIET)
    with pytest.raises(ValueError, match=r"surrogate.*row 1"):
        completion_log_prob(model, ["It", "It"], bad, **QUIET)


@pytest.mark.parametrize(
    ("stem", "completion", "told"),
    [
        ("The city of Lyon is in ", "France.", "merges"),
        ("The city of Lyon is in Fran", "ce.", "merges"),
        ("", "France.", "no token to condition on"),
        ("It", "", "adds no token"),
    ],
)
def test_a_completion_has_tokens_of_its_own(stem, completion, told):
    with pytest.raises(ValueError, match=f"row 1.*{told}"):
        completion_log_prob(load(), ["It", stem], [" is.", completion], **QUIET)


def test_an_answer_has_a_token_of_its_own():
    with pytest.raises(ValueError, match=r"answers has 'True'.*merges.*row 0"):
        answer_log_odds(
            load(), ["It is."], "{statement} Answer: ", answers=("True", "False"), **QUIET
        )


@pytest.mark.parametrize(
    "position",
    [None, 1.0, [0.0, 1.0], True, [(4.0, 8.0)] * 2, [(5, 2)] * 2, [(-6, -1)] * 2,
     [(20, 999)] * 2, [(2, 4), 3], [(1, 2, 3)] * 2, 99, -99, [0], [[0, 1]], [None, None]],
    ids=repr,
)  # fmt: skip
def test_a_position_that_is_none_is_named(position):
    model = load()
    with pytest.raises(ValueError, match=r"position (is|has)"):
        activations(model, tiny.TEXTS[:2], resid_post(model), position, **QUIET)


def test_positions_may_be_numpys(own_cache):
    model = load()
    (hook,) = resid_post(model, [1])
    spans = np.array([[4, 8], [4, 8]])
    for cache in (True, False):
        options = {"cache": cache, "progress": False}
        plain, *others = (
            activations(model, tiny.TEXTS[:2], [hook], position, **options)[hook]
            for position in ([(4, 8)] * 2, spans, [tuple(span) for span in spans], spans[:])
        )
        for other in others:
            np.testing.assert_array_equal(other, plain)


def test_heads_are_put_one_after_another():
    model = load()
    X = activations(model, tiny.TEXTS, ["blocks.1.attn.hook_z"], "last", **QUIET)
    assert X["blocks.1.attn.hook_z"].shape == (3, 16)
    with pytest.raises(ValueError, match=r"hook_pattern.*\(batch, token, d\)"):
        activations(model, tiny.TEXTS, ["blocks.1.attn.hook_pattern"], "last", **QUIET)
