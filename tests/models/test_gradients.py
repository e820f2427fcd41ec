"""The gradient kernel against autograd, weight by weight."""

import numpy as np
import pytest
import torch
from tiny_models import gpt2, llama

from elkutils.models import gradients
from elkutils.models.gradients import gradient_kernel, perturbed, weights_below

SEQUENCES = [[5, 9, 7, 9], [3, 9, 5, 7, 7, 2], [11, 4], [5, 9, 7, 9], [8, 8, 3, 2, 1]]


def by_autograd(network, sequences, layer, head):
    """Gradients of w·h by every weight, each in root mean squares of its tensor."""
    for weight in network.parameters():
        weight.requires_grad_(True)
    rows = []
    for ids in sequences:
        network.zero_grad()
        states = network(torch.tensor([ids]), output_hidden_states=True).hidden_states
        (states[layer + 1][0, -1] @ torch.as_tensor(head, dtype=torch.float32)).backward()
        rows.append(
            torch.cat(
                [
                    (w.grad * w.detach().pow(2).mean().sqrt()).flatten()
                    for w in network.parameters()
                    if w.grad is not None
                ]
            ).double()
        )
    network.requires_grad_(False)
    rows = torch.stack(rows)
    return (rows @ rows.T).numpy()


@pytest.fixture
def network():
    made = llama(attention_bias=True, num_hidden_layers=3).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "norm" in name:  # else all ones, and no test of them
                weight.mul_(1 + 0.5 * torch.rand_like(weight))
            if name.endswith("bias"):
                weight.normal_()
    return made.requires_grad_(False)


@pytest.mark.parametrize("memory", [1, 2**30])
@pytest.mark.parametrize("layer", [0, 1])
def test_it_is_that_of_autograd(network, monkeypatch, memory, layer):
    monkeypatch.setattr(gradients, "BLOCK", 2)
    monkeypatch.setattr(gradients, "BATCH", 3)
    heads = np.random.default_rng(0).standard_normal((2, 16))
    expected = np.mean([by_autograd(network, SEQUENCES, layer, w) for w in heads], axis=0)
    for columns in (None, 3):
        options = {"columns": columns, "memory": memory}
        across, own = gradient_kernel(network, SEQUENCES, layer, heads, **options)
        close = {"rtol": 1e-5, "atol": 1e-6 * expected.max()}
        np.testing.assert_allclose(across, expected[:, :columns], **close)
        np.testing.assert_allclose(own, np.diag(expected), **close)


def test_memory_splits_the_layers_into_groups(network):
    fired = gradients._fired(network, SEQUENCES[0], 1)
    assert len(list(gradients._groups(fired, 10, 1, 2**30))) == 1
    assert len(list(gradients._groups(fired, 10, 1, 1))) == len(fired) == 1 + 2 * (2 + 7)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_weights_below_are_those_with_a_gradient(network, layer):
    by_autograd(network, SEQUENCES[:1], layer, np.ones(16))
    with_gradient = [w.numel() for w in network.parameters() if w.grad is not None]
    assert weights_below(network, layer) == sum(with_gradient)
    with pytest.raises(ValueError, match="layer is 3; the model has layers 0 to 2"):
        weights_below(network, 3)


def test_small_random_moves_have_the_variance_of_the_kernel(network):
    """200 directions: a variance's relative error is a tenth; four of those."""
    heads = np.random.default_rng(0).standard_normal((2, 16))
    before = {name: w.clone() for name, w in network.named_parameters()}
    step = 1e-4
    moved = perturbed(network, SEQUENCES, 1, heads, [step, -step], 200)
    slope = (moved[:, 0] - moved[:, 1]) / (2 * step)
    _, expected = gradient_kernel(network, SEQUENCES, 1, heads, columns=1)
    found = np.mean(slope**2, axis=(0, 1))
    np.testing.assert_allclose(found, expected, rtol=0.4)
    assert all(torch.equal(w, before[name]) for name, w in network.named_parameters())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"layer": 3}, "layer is 3; the model has layers 0 to 2"),
        ({"heads": np.ones((1, 5))}, "needs \\(h, 16\\)"),
        ({"sequences": [[1], []]}, "a text without tokens"),
        ({"columns": 6}, "columns is 6; there are only 5 texts"),
        ({"network": gpt2()}, "layers in model.layers"),
    ],
)
def test_bad_input(network, changed, told):
    options = {
        "network": network,
        "sequences": SEQUENCES,
        "layer": 1,
        "heads": np.ones((1, 16)),
    }
    with pytest.raises(ValueError, match=told):
        gradient_kernel(**options | changed)
