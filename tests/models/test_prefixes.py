"""What texts begin with alike is run once, with the numbers of each text alone."""

import sys
from itertools import product

import numpy as np
import pytest
import tiny_models as tiny
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from elkutils.models import activations, load_model, resid_post, sequences
from elkutils.models.prefixes import grow, tree_batches, visible

module = sys.modules["elkutils.models.activations"]  # the package shows the function
PROMPT = "True or false? The city of Lyon is in Peru. Answer: False "
ENDS = ["The city of", "It is.", "Answer: True", "Lyon is in France.", "Oslo is in Peru. True"]
# Among them two that are equal, one that another begins with, and one that begins otherwise.
TEXTS = [PROMPT + end for end in [*ENDS, ENDS[0], "It", "is in", "of", "?", "Peru"]]
TEXTS += ["Answer: it is."]
STOPS = [text.rstrip(".") + "." for text in TEXTS]
SPANS = [(8, len(text)) for text in TEXTS]


def gemma3(window):
    config = Gemma3TextConfig(
        **tiny.SIZES | {"head_dim": 4}, max_position_embeddings=64, sliding_window=window
    )
    return tiny._seeded(Gemma3ForCausalLM, config, 0, 5.0).eval()


def load(network):
    return load_model(network, device="cpu", tokenizer=tiny.tokenizer())


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of the token ids of each forward pass."""
    found, run = [], TransformerBridge.run_with_hooks

    def spy(self, ids, *args, **options):
        found.append((*ids.shape, "attention_mask" in options))
        return run(self, ids, *args, **options)

    monkeypatch.setattr(TransformerBridge, "run_with_hooks", spy)
    return found


def read(model, texts, hooks, position="last", batch_size=32):
    return activations(
        model, texts, hooks, position, batch_size=batch_size, cache=False, progress=False
    )


def assert_each_is_as_alone(model, texts, hooks, position, batch_size=32):
    found = read(model, texts, hooks, position, batch_size)
    each = position if isinstance(position, list) else [position] * len(texts)
    for name, rows in found.items():
        alone = [
            read(model, [text], [name], [place] if isinstance(place, tuple) else place)[name]
            for text, place in zip(texts, each, strict=True)
        ]
        expected = np.concatenate(alone)
        assert rows.shape == expected.shape
        apart = np.abs(rows - expected).max(axis=1)
        assert (apart <= module.SAME * np.abs(expected).max(axis=1)).all()


def some_sequences(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 3, rng.integers(1, 6)).tolist() for _ in range(20)]


def beginnings(texts):
    return {tuple(text[: stop + 1]) for text in texts for stop in range(len(text))}


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_has_each_beginning_once(seed):
    texts = some_sequences(seed)
    tree = grow(texts)
    assert len(tree.ids) == len(beginnings(texts))
    seen = visible(tree.parents)
    for text, path in zip(texts, tree.paths, strict=True):
        assert [tree.ids[node] for node in path] == text
        assert [tree.depths[node] for node in path] == list(range(len(text)))
        for depth, node in enumerate(path):
            assert set(np.flatnonzero(seen[node])) == set(path[: depth + 1])


@pytest.mark.parametrize(("size", "limit"), [*product([1, 4, 20], [1, 7, 100])])
def test_batches_hold_no_more_than_they_may(size, limit):
    texts = some_sequences(3)
    found, told = tree_batches(texts, size, limit)
    assert sorted(row for rows in found for row in rows) == list(range(len(texts)))
    counts = [len(beginnings([texts[row] for row in rows])) for rows in found]
    assert told == counts
    for rows, count in zip(found, counts, strict=True):
        assert len(rows) <= size
        assert count <= limit or len(rows) == 1


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2, lambda: gemma3(64)])
@pytest.mark.parametrize(
    ("texts", "position"),
    [(TEXTS, "last"), (STOPS, "full stop"), (TEXTS, "all"), (TEXTS, -2), (TEXTS, SPANS)],
    ids=["last", "full stop", "all", "index", "spans"],
)
def test_a_tree_gives_each_text_its_own_numbers(make, texts, position, shapes):
    model = load(make())
    hooks = [*resid_post(model), "blocks.1.attn.hook_q", "blocks.1.attn.hook_z"]
    assert_each_is_as_alone(model, texts, hooks, position)
    assert sum(masked for *_, masked in shapes) > 1  # the first is the trial


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_tree_may_be_of_few_texts(batch_size, shapes):
    model = load(tiny.llama())
    assert_each_is_as_alone(model, TEXTS * 2, resid_post(model), "last", batch_size)
    assert any(masked for *_, masked in shapes) == (batch_size > 1)


def test_sequences_share_too(shapes):
    model = load(tiny.llama())
    (hook,) = resid_post(model, [1])
    found = sequences(model, TEXTS, [hook], cache=False, progress=False)[hook]
    assert any(masked for *_, masked in shapes)
    for row, text in zip(found, TEXTS, strict=True):
        rows = read(model, [text], [hook], "all")[hook][1:]
        atol = module.SAME * np.abs(rows).max()
        np.testing.assert_allclose(row[-len(rows) :], rows, atol=atol)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gemma3(8),
        lambda: tiny.family("Mistral", sliding_window=8),
        lambda: tiny.family("Bloom"),
        lambda: tiny.family("Mamba"),
        tiny.both_ways,
    ],
    ids=["Gemma 3, window 8", "Mistral, window 8", "Bloom", "Mamba", "both ways"],
)
def test_models_that_cannot_share_do_not(make, shapes):
    model = load(make())
    assert_each_is_as_alone(model, TEXTS, resid_post(model), "last")
    assert sum(masked for *_, masked in shapes) <= 1  # the trial


def test_a_window_is_tried_at_the_length_of_the_texts(shapes):
    model = load(gemma3(30))
    hooks = resid_post(model)
    for texts, shared in [(TEXTS, True), ([PROMPT + text for text in TEXTS], False)]:
        longest = max(len(row) for row in model.tokenizer(texts)["input_ids"])
        assert (longest < 30) == shared
        shapes.clear()
        assert_each_is_as_alone(model, texts, hooks, "last")
        assert (sum(masked for *_, masked in shapes) > 1) == shared


def test_16_bits_and_the_users_own_hooks_are_run_as_they_were(shapes):
    read(load(tiny.llama().to(torch.bfloat16)), TEXTS, ["blocks.1.hook_resid_post"])
    model = load(tiny.llama())
    model.add_hook("blocks.0.hook_resid_post", lambda tensor, hook: tensor)
    read(model, TEXTS, resid_post(model, [1]))
    assert not any(masked for *_, masked in shapes)


def test_texts_that_share_little_are_run_as_they_were(shapes):
    model = load(tiny.llama())
    read(model, ["Lyon is", "Peru, is it.", "France or", "It"], resid_post(model, [1]))
    assert not any(masked for *_, masked in shapes)


def test_a_prompt_is_run_once_and_what_is_not_read_not_at_all(model, shapes):
    prompt = "You are a careful reader. Is this statement true or false? " * 5
    texts = [f"{prompt}{number} is even." for number in range(64)]
    (hook,) = resid_post(model, [0])
    longest = max(len(row) for row in model.tokenizer(texts)["input_ids"])
    read(model, texts, [hook])
    trial = 2 * longest + 2
    assert sum(n * length for n, length, _ in shapes) <= 2 * longest + 64 * 6 + trial + 32
    shapes.clear()
    read(model, texts, [hook], 3)
    assert max(length for _, length, _ in shapes) == 4


def test_a_number_that_is_not_finite_is_told_of_its_own_text():
    model = load(tiny.llama())
    unique = set(tiny.tokenizer()(TEXTS[4])["input_ids"])
    for row, text in enumerate(TEXTS):
        if row != 4:
            unique -= set(tiny.tokenizer()(text)["input_ids"])
    with torch.no_grad():
        model.original_model.get_input_embeddings().weight[unique.pop()] = torch.inf
    with pytest.raises(ValueError, match="has 1 rows, the first of them 4,"):
        read(model, TEXTS, resid_post(model, [1]))
