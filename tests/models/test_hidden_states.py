"""Rows from the hidden states of transformers are those that hooks read."""

import copy

import numpy as np
import pytest
import tiny_models as tiny
import torch

from elkutils.models import (
    activations,
    load_model,
    read_hidden_states,
    resid_post,
)
from elkutils.reporters import DifferenceInMeans

TEXTS = [*tiny.TEXTS, "It is in Peru.", "The city of Oslo is."]


@pytest.fixture(scope="module", params=[tiny.llama, tiny.gpt2], ids=["llama", "gpt2"])
def both(request):
    """A model of transformers, and the same with hooks, of four blocks."""
    deep = {"num_hidden_layers": 4} if request.param is tiny.llama else {"n_layer": 4}
    network = request.param(**deep).eval()
    tokenizer = tiny.tokenizer(bos=True)
    return network, tokenizer, load_model(copy.deepcopy(network), tokenizer=tokenizer)


def run(network, tokenizer, side="right", own=False, size=2):
    """Yield hidden states and masks of batches; with `own` no start token counts."""
    for begin in range(0, len(TEXTS), size):
        batch = tokenizer(
            TEXTS[begin : begin + size], padding=True, padding_side=side, return_tensors="pt"
        )
        mask = batch["attention_mask"]
        places = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.inference_mode():
            out = network(
                batch["input_ids"],
                attention_mask=mask,
                position_ids=places,
                output_hidden_states=True,
            )
        yield out.hidden_states, mask * (batch["input_ids"] != 0) if own else mask


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("position", ["last", "all", 2, [1, 2, -1, 0, -2]], ids=str)
def test_they_are_what_hooks_read(both, side, position):
    network, tokenizer, model = both
    hooks = resid_post(model, [0, 2])
    states = run(network, tokenizer, side, own=position == "all")
    found = read_hidden_states(states, [0, 2], position, model=model, start_token=True)
    expected = activations(model, TEXTS, hooks, position, cache=False, progress=False)
    assert list(found) == hooks
    for hook in hooks:
        scale = np.abs(expected[hook]).max()  # attention is computed in another order
        np.testing.assert_allclose(found[hook], expected[hook], atol=1e-4 * scale)
        assert found[hook].source == expected[hook].source
        assert found[hook].dtype == np.float32


def test_a_reporter_takes_them_for_those_of_hooks(both):
    network, tokenizer, model = both
    [hook] = resid_post(model, [1])
    X = activations(model, TEXTS, [hook], "last", cache=False, progress=False)[hook]
    reporter = DifferenceInMeans().fit(X, [0, 1, 0, 1, 1])
    rows = read_hidden_states(run(network, tokenizer), [1], model=model, start_token=True)
    assert rows[hook].source == X.source
    np.testing.assert_allclose(
        reporter.decision_function(rows[hook]), reporter.decision_function(X), rtol=1e-3
    )
    later = read_hidden_states(run(network, tokenizer), [1], 1, model, start_token=True)
    with pytest.raises(ValueError, match="whose position is 'token 1'"):
        reporter.decision_function(later[hook])


def test_the_last_is_after_the_final_norm_and_has_to_be_asked_for(both):
    network, tokenizer, model = both
    with pytest.raises(
        ValueError, match=r"layers has 3, the last of 4, .* after the final norm"
    ):
        read_hidden_states(run(network, tokenizer), [0, 3])
    found = read_hidden_states(run(network, tokenizer), [-1])["hidden_states[-1]"]
    [hook] = resid_post(model, [3])
    before = activations(model, TEXTS, [hook], "last", cache=False, progress=False)[hook]
    assert np.abs(found - before).max() > 0.1 * np.abs(before).max()
    norm = getattr(network, "model", None) or network.transformer
    norm = norm.norm if hasattr(norm, "norm") else norm.ln_f
    with torch.inference_mode():
        after = norm(torch.tensor(np.asarray(before))).numpy()
    np.testing.assert_allclose(found, after, rtol=1e-3, atol=1e-4)


def batch(tokens=3, **mask):
    """Hidden states of two blocks, of two texts, and their mask."""
    states = tuple(torch.ones(2, tokens, 4) for _ in range(3))
    return states, mask.get("mask", torch.ones(2, 3, dtype=torch.long))


@pytest.mark.parametrize(
    ("batches", "layers", "position", "told"),
    [
        ([], [0], "last", "batches is empty"),
        ([batch()], [], "last", "layers is"),
        ([batch()], "all", "last", "layers is 'all'"),
        ([batch()], [0.5], "last", "layers has 0.5"),
        ([batch()], [5], "last", "layers has 5; it has to be 0 to 0, or -1"),
        ([batch()], [0], "full stop", "position is 'full stop'"),
        ([batch()], [0], 3, "position has 3 in row 0, which has 3 tokens"),
        ([batch()], [0], [0, -4], "position has -4 in row 1"),
        ([batch()], [0], [0], "position has 1 indices, fewer than there are texts"),
        ([batch()], [0], [0, 1, 2], "position has 3 indices; it needs one for each of 2"),
        ([batch(tokens=4)], [0], "last", r"of shape \(2, 4, 4\) and an attention_mask"),
        ([(torch.ones(2, 3, 4), torch.ones(2, 3))], [0], "last", "output_hidden_states=True"),
        ([batch(mask=torch.full((2, 3), 2))], [0], "last", "of 0 and 1"),
        ([batch(), batch(mask=torch.eye(2, 3) * 0)], [0], "last", "no token in row 2"),
        ([(3 * (torch.full((1, 1, 4), np.nan),), torch.ones(1, 1))], [0], "last", "not finite"),
    ],
    ids=str,
)
def test_bad_input_is_refused(batches, layers, position, told):
    with pytest.raises(ValueError, match=told):
        read_hidden_states(batches, layers, position)
