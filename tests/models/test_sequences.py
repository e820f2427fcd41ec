"""Sequences: the residual stream of all tokens, aligned at the end, and zeros before."""

import sys

import numpy as np
import pytest
import tiny_models as tiny
import torch

from elkutils.models import activations, load_model, resid_post, sequences

TEXTS = [*tiny.TEXTS, tiny.TEXTS[0]]
OPTIONS = {"progress": False, "cache": False}
module = sys.modules["elkutils.models.activations"]  # the package shows the function


@pytest.fixture
def small(own_cache):
    """A tiny model whose tokenizer sets start and end tokens, and an empty cache."""
    return load_model(tiny.llama(), tokenizer=tiny.tokenizer(bos=True, eos=True))


def tokens_of(model, text):
    """The ids of a text without the end token."""
    return model.tokenizer(text)["input_ids"][:-1]


def stream(model, ids, hook_point):
    """All tokens' activations (tokens, d), from one text without padding."""
    kept = {}
    hooks = [(hook_point, lambda tensor, hook: kept.update(found=tensor[0].numpy()))]
    with torch.inference_mode():
        model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
    return kept["found"]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("skip", [0, 1, 3])
def test_they_are_transformers_hidden_states(small, skip, batch_size):
    found = sequences(small, TEXTS, resid_post(small), skip, None, batch_size, **OPTIONS)
    for layer, X in enumerate(found.values()):
        longest = max(len(tokens_of(small, text)) for text in TEXTS) - skip
        assert X.shape == (4, longest, 16)
        assert X.dtype == np.float32
        for text, row in zip(TEXTS, X, strict=True):
            ids = tokens_of(small, text)
            expected = stream(small, ids, f"blocks.{layer}.hook_resid_post")[skip:]
            count = len(ids) - skip
            np.testing.assert_allclose(row[longest - count :], expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(row[: longest - count], 0)


def test_the_last_place_is_what_activations_returns_there(small):
    hooks = resid_post(small)
    last = activations(small, TEXTS, hooks, "last", **OPTIONS)
    found = sequences(small, TEXTS, hooks, length=40, **OPTIONS)
    for hook in hooks:
        assert found[hook].shape == (4, 40, 16)
        np.testing.assert_allclose(found[hook][:, -1], last[hook], rtol=1e-5, atol=1e-5)
        assert found[hook].reshape(4, -1).source.position == "tokens from 1"
        assert found[hook].source.start_token


def test_the_cache_keeps_what_was_asked_for(small, own_cache, monkeypatch):
    hooks = resid_post(small)[:1]
    asked = [{}, {"skip": 2}, {"length": 30}]
    first = [sequences(small, TEXTS, hooks, progress=False, **options) for options in asked]
    other = sequences(small, TEXTS[:2], hooks, progress=False)
    assert len(list(own_cache.glob("sequences/*.safetensors"))) == 4
    with monkeypatch.context() as patched:
        patched.setattr(module, "_forward", None)
        again = [sequences(small, TEXTS, hooks, progress=False, **options) for options in asked]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a[hooks[0]], b[hooks[0]])
    assert other[hooks[0]].shape[0] == 2
    with torch.no_grad():
        small.original_model.model.embed_tokens.weight.mul_(1.5)
    changed = sequences(small, TEXTS, hooks, progress=False)
    assert np.abs(changed[hooks[0]] - first[0][hooks[0]]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skip": 60}, "row 0, .* at least 1"),
        ({"length": 2}, "row 0, .* at most length = 2"),
        ({"length": 0}, "length is 0"),
        ({"skip": -1}, "skip is -1"),
        ({"skip": True}, "skip is True"),
        ({"texts": ["It is. " * 40]}, "context"),
        ({"hook_points": ["blocks.9.hook_resid_post"]}, "hook_points has"),
    ],
)
def test_what_cannot_be_read_is_refused(small, options, said):
    asked = {"texts": TEXTS, "hook_points": resid_post(small)} | OPTIONS | options
    with pytest.raises(ValueError, match=said):
        sequences(small, **asked)


def test_a_token_that_is_0_throughout_is_refused(small):
    hooks = resid_post(small)[1:]

    def erase(tensor, hook):
        tensor[:, 3] = 0
        return tensor

    small.add_hook(hooks[0], erase)
    with pytest.raises(ValueError, match="0 throughout"):
        sequences(small, TEXTS, hooks, **OPTIONS)
    small.reset_hooks()


def test_numbers_that_are_not_finite_are_refused(small):
    with torch.no_grad():
        small.original_model.model.embed_tokens.weight[tokens_of(small, "It")[1]] = torch.inf
    with pytest.raises(ValueError, match="not finite"):
        sequences(small, TEXTS, resid_post(small), **OPTIONS)


def test_bfloat16_is_read_as_float32():
    small = load_model(
        tiny.llama().to(torch.bfloat16), tokenizer=tiny.tokenizer(bos=True), dtype="bfloat16"
    )
    (X,) = sequences(small, TEXTS, resid_post(small)[:1], **OPTIONS).values()
    assert X.dtype == np.float32
    assert np.isfinite(X).all()


def test_the_first_token_of_the_embedded_model_is_left_out(model):
    """It is about a hundred times as large as others in the middle layers."""
    hook = resid_post(model, [14])
    texts = ["The city of Lyon is in France.", "The city of Ouagadougou is in Burkina Faso."]
    everything = sequences(model, texts, hook, skip=0, **OPTIONS)[hook[0]]
    size = np.linalg.norm(everything, axis=-1)
    first = np.argmax(size > 0, axis=1)
    others = size[size > 0]
    assert size[[0, 1], first].min() > 50 * np.sort(others)[-3]
    without = sequences(model, texts, hook, **OPTIONS)[hook[0]]
    everything[[0, 1], first] = 0
    np.testing.assert_array_equal(without, everything[:, 1:])
