"""An ensemble and a chain of small networks."""

import numpy as np
import pytest

from elkutils.models.stacks import Stack, StackPlan

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def test_members_are_trained_by_themselves_and_averaged():
    plan = StackPlan(members=3, depth=2, width=8, steps=60, batch=32, rate=1e-2)
    stack = Stack(plan, 5, 3, seed=0).fit(X, Y)
    log_p = stack.log_proba(X)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    assert np.mean(log_p.argmax(axis=1) == Y) > 0.8
    stream = stack.stream(X)
    assert stream.shape == (200, 24)
    each = []
    for member in range(3):
        h = np.tanh(X @ stack.read_in[member].numpy())
        for j in range(2):
            h = np.tanh(h @ stack.inner[member, j].numpy() + stack.bias[member, j].numpy())
        np.testing.assert_allclose(h, stream[:, 8 * member : 8 * member + 8], atol=1e-5)
        logits = h @ stack.read_out[member].numpy()
        each.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(np.mean(each, axis=0), np.exp(log_p), atol=1e-5)


def test_a_bypassed_sublayer_hands_on_its_input():
    stack = Stack(StackPlan(members=2, depth=2, width=4, steps=1), 5, 2, seed=0)
    intact, hurt = stack.stream(X), stack.stream(X, [3])  # the last of the second member
    np.testing.assert_array_equal(hurt[:, :4], intact[:, :4])
    first = np.tanh(np.tanh(X @ stack.read_in[1].numpy()) @ stack.inner[1, 0].numpy())
    np.testing.assert_allclose(hurt[:, 4:], first, atol=1e-5)


def test_the_seed_decides():
    plan = StackPlan(members=1, depth=3, width=4, steps=3)
    one, same, other = (Stack(plan, 5, 3, seed).fit(X, Y).log_proba(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("bypassed", [[4], [-1], [0.5], [0, 1, 2, 3]])
def test_bad_sublayers_are_refused(bypassed):
    stack = Stack(StackPlan(members=2, depth=2, width=4, steps=1), 5, 2, seed=0)
    with pytest.raises(ValueError, match="bypassed is"):
        stack.stream(X, bypassed)


@pytest.mark.parametrize("name", ["members", "depth", "width", "steps", "batch"])
def test_bad_plans_are_refused(name):
    numbers = {"members": 1, "depth": 1, "width": 4, "steps": 1, "batch": 2} | {name: 0}
    with pytest.raises(ValueError, match=name):
        Stack(StackPlan(**numbers), 5, 2, seed=0)
