"""Lesions against a network without the weights of a sublayer, and paths against autograd."""

import numpy as np
import pytest
import torch
from tiny_models import TEXTS, llama, tokenizer

from elkutils.models import activations, load_model, resid_post
from elkutils.models.lesions import bypassed, losses, path_gradients, sublayers
from elkutils.models.state import is_hooked
from elkutils.models.tokens import encode_all

ATTENTION, PERCEPTRON = "blocks.1.hook_attn_out", "blocks.0.hook_mlp_out"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return llama(num_hidden_layers=3).eval().requires_grad_(False)


@pytest.fixture
def model(network, own_cache):
    return load_model(network, tokenizer=tokenizer())


def without(network, *names):
    """The network with nothing written by some sublayers, by their last weights."""
    import copy

    made = copy.deepcopy(network)
    for name in names:
        layer = made.model.layers[int(name.split(".")[1])]
        last = layer.self_attn.o_proj if "attn" in name else layer.mlp.down_proj
        with torch.no_grad():
            last.weight.zero_()
    return made


def plain_losses(network, model, texts):
    found = []
    for tokens in encode_all(model, "texts", texts):
        ids = torch.tensor([tokens.ids])
        logits = network(ids).logits[0, :-1].double()
        found.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item())
    return found


def test_losses_are_those_of_a_network_without_the_sublayer(network, own_cache):
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3)
    lesions = [[], [PERCEPTRON], [ATTENTION], [PERCEPTRON, ATTENTION]]
    cut = [without(network, *names) for names in lesions]
    model = load_model(network, tokenizer=tokenizer())
    expected = [plain_losses(each, model, TEXTS) for each in cut]
    for size in (1, 3):
        found = losses(model, TEXTS, lesions, batch_size=size, progress=False)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found, axis=0).min() > 1e-3
    assert not is_hooked(model)


def test_activations_of_a_lesioned_model_are_not_kept(model):
    hooks = resid_post(model, [2])
    with bypassed(model, [PERCEPTRON]):
        hurt = activations(model, TEXTS, hooks, progress=False)[hooks[0]]
    intact = activations(model, TEXTS, hooks, progress=False)[hooks[0]]
    with bypassed(model, [PERCEPTRON]):
        again = activations(model, TEXTS, hooks, progress=False)[hooks[0]]
    assert np.abs(hurt - intact).max() > 1e-4
    np.testing.assert_array_equal(hurt, again)
    with bypassed(model, []):
        np.testing.assert_allclose(
            activations(model, TEXTS, hooks, progress=False)[hooks[0]], intact, atol=1e-5
        )


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_hooks_are_gone_after_an_interruption(model, stop, monkeypatch):
    with pytest.raises(stop), bypassed(model, [PERCEPTRON]):
        raise stop
    assert not is_hooked(model)

    def interrupt(*args):
        raise stop

    monkeypatch.setattr("elkutils.models.lesions._loss", interrupt)
    with pytest.raises(stop):
        losses(model, TEXTS, [[PERCEPTRON]], progress=False)
    assert not is_hooked(model)
    monkeypatch.setattr("elkutils.models.lesions.pad", interrupt)
    with pytest.raises(stop):
        losses(model, TEXTS, [[]], progress=False)
    assert not any(block._forward_pre_hooks for block in model.blocks)


def test_paths_add_up_to_the_gradient(model):
    w = np.random.default_rng(0).standard_normal(16)
    found = path_gradients(model, TEXTS[0], 1, w)
    (tokens,) = encode_all(model, "texts", TEXTS[:1])
    kept = {}

    def enter(tensor, hook):
        kept["in"] = tensor.detach().clone().requires_grad_(True)
        return kept["in"]

    hooks = [("blocks.0.hook_resid_pre", enter)]
    hooks += [("blocks.1.hook_resid_post", lambda t, hook: kept.__setitem__("out", t))]
    model.run_with_hooks(torch.tensor([tokens.ids]), fwd_hooks=hooks, return_type=None)
    value = kept["out"][0, -1] @ torch.as_tensor(w, dtype=torch.float32)
    (whole,) = torch.autograd.grad(value, kept["in"])
    assert found.shape == (5, len(tokens.ids), 16)
    near = 1e-5 * whole.abs().max().item()  # float32, and parts that cancel
    np.testing.assert_allclose(found.sum(axis=0), whole[0].numpy(), rtol=0, atol=near)
    expected = np.zeros_like(found[0])
    expected[-1] = w
    np.testing.assert_allclose(found[0], expected, atol=1e-6)  # round every sublayer


def test_paths_of_a_lesioned_model_are_refused(model):
    w = np.ones(16)
    names = [name for name in sublayers(model, [0, 1]) if name != PERCEPTRON]
    with bypassed(model, names), pytest.raises(ValueError, match="hooks"):
        path_gradients(model, TEXTS[0], 1, w)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["blocks.9.hook_mlp_out"], "no sublayer"),
        (["blocks.0.hook_resid_post"], "no sublayer"),
        ([PERCEPTRON, PERCEPTRON], "twice"),
        (PERCEPTRON, "list of sublayers"),
        (None, "all 6 sublayers"),
    ],
)
def test_bad_names_are_refused(model, names, match):
    names = sublayers(model) if names is None else names
    with pytest.raises(ValueError, match=match), bypassed(model, names):
        pass
    with pytest.raises(ValueError, match=match):
        losses(model, TEXTS, [[], names], progress=False)
    assert not is_hooked(model)


def test_other_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="lesions is"):
        losses(model, TEXTS, [], progress=False)
    with pytest.raises(ValueError, match="one token"):
        losses(model, ["a"], [[]], progress=False)
    with pytest.raises(ValueError, match="layers has 3"):
        sublayers(model, [3])
    for direction in (np.ones(3), np.full(16, np.nan)):
        with pytest.raises(ValueError, match="direction"):
            path_gradients(model, TEXTS[0], 1, direction)
    with bypassed(model, [ATTENTION]), pytest.raises(ValueError, match="hooks"):
        losses(model, TEXTS, [[]], progress=False)
