"""What is kept is found again only if nothing that its numbers depend on has changed."""

import numpy as np
import pytest
import tiny_models as tiny
import torch
from peft import LoraConfig, get_peft_model

from elkutils.models import (
    activations,
    answer_log_odds,
    completion_log_prob,
    load_model,
    model_digest,
    persona,
    resid_post,
    state,
)


@pytest.fixture
def small(own_cache):
    """A tiny model whose tokenizer sets start and end tokens, and an empty cache."""
    return load_model(tiny.llama(), tokenizer=tiny.tokenizer(bos=True, eos=True))


def read(model, **options):
    hooks = resid_post(model)
    found = activations(model, tiny.TEXTS, hooks, "last", progress=False, **options)
    return np.stack([found[hook] for hook in hooks])


def answers(model, **options):
    odds = answer_log_odds(model, tiny.TEXTS, progress=False, **options)
    stems, ends = ["The city of Lyon is in"] * 2, [" France.", " Peru."]
    gain = completion_log_prob(model, stems, ends, progress=False, **options)
    return np.concatenate([odds, gain])


def no_start_token(model):
    model.cfg.default_prepend_bos = False


def other_weight(model):
    with torch.no_grad():
        model.original_model.model.embed_tokens.weight.mul_(1.5)


def other_weight_unseen_by_torch(model):
    next(iter(model.original_model.parameters())).data[:, 0] += 1.0


def other_buffer(model):
    for module in model.original_model.modules():
        if "inv_freq" in module._buffers:
            module.inv_freq.mul_(0.5)


def other_setting(model):
    for module in model.original_model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1.0


def other_tokens(model):
    model.tokenizer.backend_tokenizer.add_tokens(["city of", "Answer"])


def hook_of_torch(model):
    layer = model.original_model.model.layers[0]
    layer.register_forward_hook(
        lambda module, x, out: (out[0] * 2, *out[1:]) if isinstance(out, tuple) else out * 2
    )


def hook_of_transformer_lens(model):
    model.add_hook("blocks.0.hook_resid_post", lambda tensor, hook: tensor * 3)


CHANGES = [
    no_start_token,
    other_weight,
    other_weight_unseen_by_torch,
    other_buffer,
    other_setting,
    other_tokens,
    hook_of_torch,
    hook_of_transformer_lens,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("ask", [read, answers])
def test_a_change_is_seen(small, change, ask):
    before = ask(small)
    np.testing.assert_array_equal(ask(small), before)
    change(small)
    after = ask(small)
    np.testing.assert_array_equal(after, ask(small, cache=False))
    assert np.abs(after - before).max() > 1e-4


def test_the_state_of_an_adapter_is_part_of_the_key(own_cache):
    config = LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False
    )
    adapted = get_peft_model(tiny.llama(), config)
    model = load_model(adapted, tokenizer=tiny.tokenizer())
    on, digest = read(model), model_digest(model)
    adapted.base_model.disable_adapter_layers()
    off = read(model)
    assert np.abs(on - off).max() > 1e-3
    assert model_digest(model) != digest
    np.testing.assert_array_equal(off, read(model, cache=False))
    adapted.base_model.enable_adapter_layers()
    assert model_digest(model) == digest
    np.testing.assert_array_equal(read(model), on)


def test_a_version_is_part_of_every_key(small, monkeypatch):
    keys = state.reading_key(small), persona.adapter_digest(0)
    monkeypatch.setattr(state, "versions", lambda: {"torch": "1.0"})
    monkeypatch.setattr(persona, "versions", lambda: {"torch": "1.0"})
    assert state.reading_key(small) != keys[0]
    assert persona.adapter_digest(0) != keys[1]


def test_the_digest_is_computed_once_per_model(small, monkeypatch):
    first = model_digest(small)
    read(small)
    monkeypatch.setattr(state, "_sha256_of_weights", lambda weights: pytest.fail("again"))
    assert model_digest(small) == first


def test_a_run_changes_no_key(small):
    before = state.reading_key(small)
    read(small, cache=False)
    answers(small, cache=False)
    assert state.reading_key(small) == before


def test_the_same_model_loaded_again_has_the_same_key(small):
    again = load_model(tiny.llama(), tokenizer=tiny.tokenizer(bos=True, eos=True))
    assert state.reading_key(again) == state.reading_key(small)


def test_training_mode_is_refused(small):
    small.original_model.train()
    for ask in (read, answers):
        for cache in (True, False):
            with pytest.raises(ValueError, match=r"training mode.*model.eval"):
                ask(small, cache=cache)


def test_what_is_not_finite_is_neither_returned_nor_kept(own_cache):
    network = tiny.llama(scale=400.0).to(torch.float16)
    model = load_model(network, tokenizer=tiny.tokenizer())
    with pytest.raises(ValueError, match=r"of them 0.*blocks.0.*float16.*bfloat16"):
        read(model)
    with pytest.raises(ValueError, match=r"answer is not finite in float16"):
        answer_log_odds(model, tiny.TEXTS, progress=False)
    with pytest.raises(ValueError, match=r"completions.*log-probability is not finite"):
        completion_log_prob(model, ["It"], [" is."], progress=False)
    assert not list(own_cache.rglob("*.safetensors"))


def test_a_forward_method_of_ones_own_is_always_run(small):
    read(small)
    layer = small.original_model.model.layers[0].mlp
    layer = getattr(layer, "_original_component", layer)
    ours = type(layer).forward
    for factor in (2.0, 3.0):  # the second differs from the first in its closure only
        layer.forward = lambda x, factor=factor: ours(layer, x) * factor
        assert np.array_equal(read(small), read(small, cache=False))


def test_a_forward_method_replaced_on_the_class_is_always_run(small, monkeypatch):
    before = read(small)
    layer = small.original_model.model.layers[0].mlp
    kind = type(getattr(layer, "_original_component", layer))
    ours = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: ours(self, x) * 2)
    after = read(small)
    assert not np.allclose(before, after)
    assert np.array_equal(after, read(small, cache=False))


def test_hooks_on_all_modules_are_always_run(small):
    before = read(small)
    layer = small.original_model.model.layers[0].mlp
    kind = type(getattr(layer, "_original_component", layer))

    def doubled(module, given, found):
        return 2 * found if type(module) is kind else None

    handle = torch.nn.modules.module.register_module_forward_hook(doubled)
    try:
        after = read(small)
        assert np.array_equal(after, read(small, cache=False))
    finally:
        handle.remove()
    assert not np.allclose(before, after)
    assert np.array_equal(before, read(small))


def test_numbers_under_autocast_are_kept_apart(small):
    before = read(small)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = read(small)
        assert np.array_equal(rough, read(small, cache=False))
    assert not np.array_equal(before, rough)
    assert np.array_equal(before, read(small))
