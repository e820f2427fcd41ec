"""Activations: the numbers transformers gives, in any batch, from the cache or not."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from elkutils.models import activations, cache, load_model, resid_post
from elkutils.models.language import encode

TEXTS = [
    "The city of Lyon is in France.",
    "Seven is larger than three.",
    "The symbol of iron is Fe.",
    "The city of Ouagadougou is in Burkina Faso, as everybody there knows.",
    "The city of Lyon is in France.",
]
LAYERS = [0, 13, 2, 28]  # neither in order nor in the order of their names
module = sys.modules["elkutils.models.activations"]  # the package shows the function


def hidden_states(model, text):
    """transformers' own hidden states (layer, token, d), one text at a time, no padding."""
    ids = torch.tensor([encode(model, text)["input_ids"]])
    with torch.inference_mode():
        states = model.original_model(ids, output_hidden_states=True).hidden_states
    return np.stack([state[0].numpy() for state in states])


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_they_equal_transformers_hidden_states(model, batch_size):
    found = activations(
        model, TEXTS, resid_post(model, LAYERS), "last", batch_size, cache=False, progress=False
    )
    for layer, X in zip(LAYERS, found.values(), strict=True):
        for text, row in zip(TEXTS, X, strict=True):
            expected = hidden_states(model, text)[layer + 1, -1]
            np.testing.assert_allclose(row, expected, atol=1e-4 * np.abs(expected).max())


def test_the_last_block_is_read_before_the_final_norm(model):
    (X,) = activations(
        model, TEXTS[:1], resid_post(model, [29]), "last", cache=False, progress=False
    ).values()
    after = hidden_states(model, TEXTS[0])[-1, -1]
    normed = model.original_model.model.norm(torch.tensor(X)).detach().numpy()[0]
    np.testing.assert_allclose(normed, after, atol=1e-3 * np.abs(after).max())


def test_the_full_stop_is_where_it_stands(model):
    options = {"cache": False, "progress": False}
    hooks = resid_post(model, LAYERS)
    stop = activations(model, TEXTS[:3], hooks, "full stop", **options)
    last = activations(model, TEXTS[:3], hooks, "last", **options)
    spaced = activations(model, [text + " \n" for text in TEXTS[:3]], hooks, **options)
    for hook in hooks:
        np.testing.assert_allclose(stop[hook], last[hook], atol=1e-4)
        scale = np.abs(stop[hook]).max()
        np.testing.assert_allclose(spaced[hook], stop[hook], atol=1e-4 * scale)


def test_a_span_is_averaged_over_its_tokens(model):
    text = TEXTS[3]
    start = text.index("Ouagadougou")
    span = (start, start + len("Ouagadougou"))
    (X,) = activations(
        model, [text], resid_post(model, [13]), [span], cache=False, progress=False
    ).values()
    offsets = encode(model, text, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(offsets) if a < span[1] and b > span[0]]
    assert len(inside) > 1
    expected = hidden_states(model, text)[14, inside].mean(axis=0)
    np.testing.assert_allclose(X[0], expected, atol=1e-3)


def test_the_cache_gives_the_same_numbers_without_running_the_model(
    model, own_cache, monkeypatch
):
    hooks = resid_post(model, LAYERS)
    first = activations(model, TEXTS, hooks, progress=False)
    monkeypatch.setattr(module, "_forward", None)
    second = activations(model, TEXTS, hooks, progress=False)
    assert list(first) == list(second) == hooks
    assert all((first[hook] == second[hook]).all() for hook in hooks)


def test_another_text_option_or_weight_is_another_entry(model, own_cache):
    hooks = resid_post(model, [3])
    activations(model, TEXTS[:2], hooks, progress=False)
    activations(model, TEXTS[:2][::-1], hooks, progress=False)
    activations(model, TEXTS[:2], hooks, "last", progress=False)
    activations(model, TEXTS[:2], resid_post(model, [4]), progress=False)
    changed = load_model(device="cpu")
    with torch.no_grad():
        changed.original_model.model.norm.weight[0] += 1.0
    activations(changed, TEXTS[:2], hooks, progress=False)
    assert len(list(own_cache.glob("activations/*.safetensors"))) == 5


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_cache_file_is_rebuilt(model, own_cache, damage):
    hooks = resid_post(model, [3])
    good = activations(model, TEXTS, hooks, progress=False)[hooks[0]]
    (path,) = own_cache.glob("activations/*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-5] ^= 0xFF
    path.write_bytes(
        content
        if damage == "flipped"
        else content[: len(content) // 2 * (damage == "truncated")]
    )
    again = activations(model, TEXTS, hooks, progress=False)[hooks[0]]
    assert (again == good).all()
    assert (load_file(path)[hooks[0]] == good).all()


def test_a_full_disk_leaves_no_cache_file(model, own_cache, monkeypatch):
    def full(arrays, path, metadata=None):
        path.write_bytes(b"the first half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "save_file", full)
    with pytest.raises(OSError, match="No space is left"):
        activations(model, TEXTS, resid_post(model, [3]), progress=False)
    assert [p for p in own_cache.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_an_interrupt_leaves_no_cache_file(model, own_cache, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        activations(model, TEXTS, resid_post(model, [3]), progress=False)
    assert [p for p in own_cache.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def _keep_slowly(folder, started):
    os.environ["ELKUTILS_CACHE"] = folder

    def compute():
        started.set()
        time.sleep(1.0)
        return {"x": np.arange(3.0)}

    cache.keep("test", {"n": 1}, compute)


def test_a_second_process_waits_for_the_first_and_reads_its_result(own_cache):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    other = context.Process(target=_keep_slowly, args=(str(own_cache), started))
    other.start()
    assert started.wait(120)

    def again():
        raise AssertionError("it was computed twice")

    assert cache.keep("test", {"n": 1}, again)["x"].tolist() == [0, 1, 2]
    other.join()


def test_the_forward_pass_ends_at_the_last_hook_point_asked_for(model):
    reached = []
    handle = model.original_model.model.layers[5].register_forward_hook(
        lambda *_: reached.append(5)
    )
    try:
        activations(model, TEXTS, resid_post(model, [3]), cache=False, progress=False)
        assert reached == []
        activations(model, TEXTS, resid_post(model, [6]), cache=False, progress=False)
        assert reached
    finally:
        handle.remove()


def test_the_users_own_hooks_survive(model):
    seen = []
    name = resid_post(model, [2])[0]
    model.add_hook(name, lambda tensor, hook: seen.append(1))
    try:
        activations(model, TEXTS[:1], [name], cache=False, progress=False)
        activations(model, TEXTS[:1], [name], cache=False, progress=False)
    finally:
        model.reset_hooks()
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": []}, "texts has to hold"),
        ({"texts": ["A.", ""]}, "none of them empty"),
        ({"texts": ["A.", None]}, "none of them empty"),
        ({"hook_points": []}, "hook_points is empty"),
        ({"hook_points": ["blocks.99.hook_resid_post"]}, "does not have"),
        ({"position": "first"}, "position is 'first'"),
        ({"position": [(0, 1)]}, "one for each of 2 texts"),
        ({"position": [(0, 1), (90, 95)]}, "holds no token"),
        ({"texts": ["No stop", "A."]}, "does not end in one: 'No stop'"),
    ],
)
def test_bad_input_says_what_is_wrong(model, change, message):
    good = {"texts": ["A.", "B."], "hook_points": resid_post(model, [1])}
    with pytest.raises(ValueError, match=message):
        activations(model, **(good | change), cache=False, progress=False)


def test_an_unknown_layer_is_refused(model):
    with pytest.raises(ValueError, match="layers are 0 to 29"):
        resid_post(model, [30])
