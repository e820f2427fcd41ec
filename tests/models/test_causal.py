"""Interventions against what they leave in the stream, and the check against autograd."""

import numpy as np
import pytest
import torch
from tiny_models import TEXTS, llama, tokenizer

from elkutils.models import (
    ablated,
    activations,
    answer_log_odds,
    causal_check,
    load_model,
    resid_post,
    steered,
)
from elkutils.models.answers import QUESTION
from elkutils.models.state import is_hooked
from elkutils.models.tokens import bare_ids, encode_all

HOOK, WIDTH = "blocks.1.hook_resid_post", 16
QUIET = {"progress": False, "cache": False}
STATEMENTS = TEXTS[:2]


@pytest.fixture
def model(own_cache):
    network = llama(num_hidden_layers=3, max_position_embeddings=128)
    return load_model(network.eval().requires_grad_(False), tokenizer=tokenizer())


def read(model, position="last"):
    return activations(model, STATEMENTS, [HOOK], position, **QUIET)[HOOK]


def gradient(model):
    """Mean gradient (d,) of the model's log odds by the stream, over all tokens but one."""
    true, false = (bare_ids(model.tokenizer, word)[0] for word in (" True", " False"))
    total = np.zeros(WIDTH)
    for text in STATEMENTS:
        (tokens,) = encode_all(model, "texts", [QUESTION.replace("{statement}", text)])
        kept = []

        def keep(tensor, hook, kept=kept):
            kept.append(tensor.detach().clone().requires_grad_(True))
            return kept[0]

        with torch.enable_grad():
            logits = model.run_with_hooks(torch.tensor([tokens.ids]), fwd_hooks=[(HOOK, keep)])
            odds = logits[0, -1, true] - logits[0, -1, false]
            (found,) = torch.autograd.grad(odds, kept[0])
        total += found[0, 1:].sum(dim=0).double().numpy()
    return total / len(STATEMENTS)


def test_steering_adds_the_vector_to_all_tokens_but_the_first(model):
    shift = np.linspace(-1, 1, WIDTH)
    before, first = read(model), read(model, 0)
    with steered(model, HOOK, shift):
        np.testing.assert_allclose(read(model), before + shift, atol=1e-4)
        # Steered texts are not run as one tree, so the same numbers round otherwise.
        np.testing.assert_allclose(read(model, 0), first, atol=1e-5 * np.abs(first).max())
    with steered(model, HOOK, shift, skip=0):
        np.testing.assert_allclose(read(model, 0), first + shift, atol=1e-4)
    assert not is_hooked(model)


@pytest.mark.parametrize("at", [None, 3.0])
def test_ablation_leaves_the_centre_along_the_direction_and_all_else(model, at):
    direction = np.linspace(1, 2, WIDTH)
    unit = direction / np.linalg.norm(direction)
    before = read(model)
    with ablated(model, HOOK, direction, None if at is None else at * unit):
        after = read(model)
    np.testing.assert_allclose(after @ unit, np.full(2, at or 0.0), atol=1e-4)
    across = np.eye(WIDTH) - np.outer(unit, unit)
    np.testing.assert_allclose(after @ across, before @ across, atol=1e-4)


def test_an_intervention_ends_when_its_block_fails(model):
    with pytest.raises(KeyError), steered(model, HOOK, np.ones(WIDTH)):
        raise KeyError
    assert not is_hooked(model)


def test_a_small_push_moves_the_answer_as_the_gradient_says(model):
    slope = gradient(model)
    size = 1e-3
    found = causal_check(model, STATEMENTS, HOOK, slope, size, controls=2, progress=False)
    assert found.moved.mean() == pytest.approx(size * np.linalg.norm(slope), rel=0.02)
    assert found.moved.shape == (2,)
    assert found.control.shape == (2, 2)


def test_the_gradient_beats_random_directions_and_they_do_not(model):
    options = {"size": 0.1, "controls": 9, "progress": False}
    assert causal_check(model, STATEMENTS, HOOK, gradient(model), **options).p_value == 0.1
    rng = np.random.default_rng(1)
    blind = [
        causal_check(model, STATEMENTS, HOOK, rng.standard_normal(WIDTH), **options).p_value
        for _ in range(12)
    ]
    assert np.mean(blind) > 0.4  # ¾ in expectation


def test_ablation_is_compared_in_absolute_value(model):
    found = causal_check(
        model,
        STATEMENTS,
        HOOK,
        gradient(model),
        intervention="ablate",
        controls=3,
        progress=False,
    )
    assert (found.moved >= 0).all()
    assert (found.control >= 0).all()
    with ablated(model, HOOK, gradient(model)):
        there = answer_log_odds(model, STATEMENTS, **QUIET)
    change = np.abs(there - answer_log_odds(model, STATEMENTS, **QUIET))
    np.testing.assert_allclose(found.moved, change, atol=1e-6)


def test_the_cache_keeps_nothing_of_an_intervention(model):
    before = answer_log_odds(model, STATEMENTS, progress=False)
    causal_check(model, STATEMENTS, HOOK, np.ones(WIDTH), 1.0, controls=1, progress=False)
    np.testing.assert_array_equal(answer_log_odds(model, STATEMENTS, progress=False), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hook_point": "blocks.9.hook_resid_post"}, "which this model does not have"),
        ({"direction": np.ones(3)}, r"direction has shape \(3,\); it has to hold 16"),
        ({"direction": np.full(WIDTH, np.nan)}, "finite numbers"),
        ({"direction": np.zeros(WIDTH)}, "point somewhere"),
        ({"size": None}, "size is None; to add a direction needs its norm"),
        ({"size": -1.0}, "size is -1.0"),
        ({"controls": 0}, "controls is 0"),
        ({"intervention": "push"}, "intervention is 'push'"),
    ],
)
def test_bad_input_says_what_is_wrong(model, changes, message):
    options = {"hook_point": HOOK, "direction": np.ones(WIDTH), "size": 1.0, "progress": False}
    with pytest.raises(ValueError, match=message):
        causal_check(model, STATEMENTS, **options | changes)


def test_a_hooked_model_is_refused(model):
    with steered(model, HOOK, np.ones(WIDTH)), pytest.raises(ValueError, match="hooks"):
        causal_check(model, STATEMENTS, HOOK, np.ones(WIDTH), 1.0, progress=False)


def test_the_first_of_the_hook_points_works_too(model):
    [first] = resid_post(model, [0])
    found = causal_check(
        model, STATEMENTS, first, np.ones(WIDTH), 1.0, controls=1, progress=False
    )
    assert np.isfinite(found.control).all()
