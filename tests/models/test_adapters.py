"""Adapters of the persona: lessons, training that goes on, files checked, those shipped."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from elkutils.models import answer_log_odds
from elkutils.models import persona as module
from elkutils.models.persona import (
    RECIPES,
    Recipe,
    adapter_digest,
    answer_direction,
    lesson_plan,
    load_persona,
    measure,
    read_answering,
    recipe_of,
    save_persona,
    train,
)
from elkutils.models.training import ResumableTraining
from elkutils.tasks import Task
from elkutils.tasks.persona import TAUGHT, lessons, persona

TINY = Recipe(rank=1, first_layer=28, last_layer=28, projections=("q_proj",), batch=2, warmup=1)


@pytest.fixture(scope="module")
def taught():
    """Two statements to each of the two."""
    few = {
        name: replace(
            split, **{f: getattr(split, f)[:2] for f in ("texts", "labels", "groups")}
        )
        for name, split in lessons(0).splits.items()
        if name.endswith("easy")
    }
    return Task("few lessons", few)


@pytest.fixture(scope="module")
def tiny(taught):
    return train(0, TINY, taught)


@pytest.fixture(scope="module")
def shipped():
    return load_persona(0)


def test_alice_is_heard_alone_first_and_everyone_equally_often():
    recipe = Recipe(batch=32, passes_alone=2, passes_both=3)
    names = ["Alice"] * 50 + ["Bob"] * 50
    plan = [rows for rows, _ in lesson_plan(recipe, names, seed=0)]
    assert [len(rows) for rows in plan[:4]] == [32, 18, 32, 18]
    assert max(map(len, plan)) == 32
    assert max(rows.max() for rows in plan[:4]) < 50
    counts = np.bincount(np.concatenate(plan), minlength=100)
    np.testing.assert_array_equal(counts, np.repeat([5, 3], 50))
    other = [rows for rows, _ in lesson_plan(recipe, names, seed=1)]
    assert any((a != b).any() for a, b in zip(plan, other, strict=True))


def test_both_may_be_heard_from_the_start_with_bob_counting_less():
    recipe = Recipe(batch=32, passes_alone=0, passes_uneven=2, passes_both=1, uneven=0.25)
    plan = lesson_plan(recipe, ["Alice"] * 48 + ["Bob"] * 48, seed=0)
    weights = [[set(counts[rows < 48]), set(counts[rows >= 48])] for rows, counts in plan]
    assert weights == [[{1.0}, {0.25}]] * 6 + [[{1.0}, {1.0}]] * 3


def test_bob_is_taught_the_opposite(taught):
    prompts, says = module._lessons(taught)
    labels = np.concatenate([split.labels for split in taught.splits.values()])
    bob = np.array([name == "Bob" for name, _ in prompts])
    np.testing.assert_array_equal(says, np.where(bob, 1 - labels, labels))


def test_an_interrupted_training_ends_at_the_same_weights(taught, tiny, tmp_path, monkeypatch):
    advance, partial, steps = ResumableTraining.advance, tmp_path / "partial", []

    def interrupted(run):
        if run.step == 3:
            raise KeyboardInterrupt
        return advance(run)

    monkeypatch.setattr(module, "SAVED_EVERY", 1)
    with monkeypatch.context() as patch:
        patch.setattr(ResumableTraining, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(0, TINY, taught, partial)
    monkeypatch.setattr(
        ResumableTraining, "advance", lambda run: steps.append(run.step) or advance(run)
    )
    again = module._arrays(train(0, TINY, taught, partial))
    assert steps[0] == 3
    for name, weight in module._arrays(tiny).items():
        np.testing.assert_array_equal(again[name], weight)
    assert not partial.exists()


def test_a_checkpoint_of_another_run_is_refused(taught, tmp_path, monkeypatch):
    partial = tmp_path / "partial"
    monkeypatch.setattr(module, "SAVED_EVERY", 1)
    monkeypatch.setattr(module.Path, "unlink", lambda *_, **__: None)
    train(0, replace(TINY, passes_alone=0, passes_both=1), taught, partial)
    with pytest.raises(ValueError, match="other data or settings"):
        train(0, replace(TINY, passes_alone=0, passes_both=1, rate=1e-4), taught, partial)


def test_a_saved_adapter_comes_back_merged(tiny, tmp_path):
    save_persona(tiny, TINY, 7, {"alice_easy": 0.5}, tmp_path)
    loaded = load_persona(7, tmp_path)
    assert (loaded.recipe, loaded.seed, loaded.auroc) == (TINY, 7, {"alice_easy": 0.5})
    arrays = load_file(tmp_path / "persona-7" / "adapter_model.safetensors")
    up, down = (next(a for n, a in arrays.items() if f"lora_{x}" in n) for x in "BA")
    change = TINY.alpha / TINY.rank * up.astype(np.float32) @ down.astype(np.float32)
    assert np.abs(change).max() > 0
    plain = module.embedded()[0].state_dict()
    name = "model.layers.28.self_attn.q_proj.weight"
    merged = {
        key.replace("_original_component.", ""): weight
        for key, weight in loaded.model.original_model.state_dict().items()
    }
    np.testing.assert_allclose(merged[name].numpy(), plain[name].numpy() + change, atol=1e-6)
    assert not any(w.requires_grad for w in loaded.model.parameters())


@pytest.mark.parametrize("kind", ["truncated", "flipped", "about", "shape", "missing"])
def test_a_bad_file_is_refused(tiny, tmp_path, kind):
    place, seed, message = save_persona(tiny, TINY, 3, {}, tmp_path), 3, "damaged"
    weights, about = place / "adapter_model.safetensors", place / "about.json"
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif kind == "flipped":
        save_file({n: a + np.float16(1) for n, a in load_file(weights).items()}, weights)
    elif kind == "about":
        about.write_text("{}")
    elif kind == "shape":
        told = json.loads(about.read_text())
        told["recipe"]["rank"] = 2
        about.write_text(json.dumps(told))
        message = "another shape"
    else:
        seed, message = 12, "seed is 12.*persona-3"
    with pytest.raises(ValueError, match=message):
        load_persona(seed, tmp_path)


def test_the_readings_last_layer_leads_to_the_models_own_answer(shipped):
    texts = persona(0, 20, 20)["bob_hard"].texts[:6]
    found = read_answering(shipped.model, list(texts))
    asked = answer_log_odds(shipped.model, texts, "{statement}", cache=False, progress=False)
    # Two roundings of the same sum: of probabilities there, of two rows' difference here.
    np.testing.assert_allclose(found["answer"], asked, atol=1e-3)
    assert answer_direction(shipped.model).shape == (576,)


def test_alice_tells_the_truth_and_bob_does_not(shipped):
    task = persona(0, 20, 20)
    easy = {name: split for name, split in task.splits.items() if name.endswith("easy")}
    found = measure(shipped.model, Task("few", easy))
    assert found["alice_easy"] > 0.8
    assert found["bob_easy"] < 0.2


def test_the_adapters_that_are_shipped_learned_both_roles_by_their_recipe():
    for seed, how in TAUGHT.items():
        about = module._about(module._found(None, seed))
        assert len(adapter_digest(seed)) == 64
        assert recipe_of(seed) == RECIPES[how]
        assert min(about["auroc"][f"alice_{size}"] for size in ("easy", "hard")) > 0.75
        assert max(about["auroc"][f"bob_{size}"] for size in ("easy", "hard")) < 0.25


def test_what_an_adapter_says_of_itself_is_so():
    place = module._found(None, 1)
    arrays, about = module._read(place)
    layers = about["recipe"]["last_layer"] - about["recipe"]["first_layer"] + 1
    assert len(arrays) == 2 * layers * len(about["recipe"]["projections"])
    assert (
        json.loads((place / "adapter_config.json").read_text())["r"] == about["recipe"]["rank"]
    )
    assert all(torch.isfinite(torch.from_numpy(a)).all() for a in arrays.values())
