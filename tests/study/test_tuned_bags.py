"""Bags of linear reporters: members are what they say, and tuning finds what is better."""

import numpy as np
import pytest
import torch

from elkutils.inference.logistic import fit_map
from elkutils.study import tuned_bags


@pytest.fixture(scope="module")
def rows():
    """(X (60, 8), y (60,), groups (60,)), two rows per group."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    y = (X[:, 0] + rng.logistic(size=60) > 0).astype(int)
    return X, y, np.arange(60) // 2


@pytest.mark.parametrize("features", [8, 100])
def test_a_mode_is_the_map_of_the_rows_that_were_drawn(rows, features):
    X = np.random.default_rng(1).standard_normal((60, features))
    y = rows[1]
    counts = tuned_bags.resampled(y, 3, np.random.default_rng(2))
    assert (counts.sum(axis=1) == 60).all()
    bag = tuned_bags.modes(X, y, 0.5, counts)
    for weights, coef, intercept in zip(counts, bag.coef, bag.intercept, strict=True):
        of = np.repeat(np.arange(60), weights.astype(int))
        found = fit_map(X[of], y[of], 0.5)
        np.testing.assert_allclose(coef, found.coef, atol=1e-6)
        assert intercept == pytest.approx(found.intercept, abs=1e-6)


def test_members_held_to_their_starts_arrive_where_ensembles_do(rows):
    """At the optimum the gradient of loss and anchor is 0."""
    X, y, _ = rows
    starts = 0.5 * np.random.default_rng(3).standard_normal((4, 8))
    steps = tuned_bags.descents(X, y, starts, np.ones((4, 60)), [1600], anchor=0.5)
    _, coef, intercept = list(steps)[-1]
    p = 1 / (1 + np.exp(-(coef @ X.T + intercept[:, None])))
    slope = (p - y) @ X + (coef - starts) / 0.5**2
    assert np.abs(slope).max() < 0.02 * np.abs((0.5 - y) @ X).max()
    assert np.abs((p - y).sum(axis=1)).max() < 0.02 * len(y)


def test_descents_take_the_steps_of_adam(rows):
    X, y, _ = rows
    found = tuned_bags.descents(X, y, np.ones((1, 8)), np.ones((1, 60)), [5, 50])
    theta, features = torch.ones(9, dtype=torch.float64), torch.tensor(np.c_[X, np.ones(60)])
    theta[-1] = 0
    theta.requires_grad_()
    rate = tuned_bags.SPEED / np.abs(X).sum(axis=1).mean()
    adam, loss = torch.optim.Adam([theta], rate), torch.nn.functional.softplus
    for step in range(1, 51):
        adam.zero_grad()
        loss(-features @ theta * torch.tensor(2.0 * y - 1)).mean().backward()
        adam.step()
        if step in (5, 50):
            stop, coef, intercept = next(found)
            assert stop == step
            ours = np.append(coef[0], intercept)
            np.testing.assert_allclose(ours, theta.detach().numpy(), atol=1e-3)


def test_folds_split_no_group_and_need_two_of_each_class(rows):
    _, y, groups = rows
    found = tuned_bags.folds(y, groups)
    assert len(found) == 5
    assert sorted(np.concatenate([test for _, test in found])) == list(range(60))
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
    with pytest.raises(ValueError, match="1 group with rows of one class"):
        tuned_bags.folds(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))


def test_tuning_shrinks_where_labels_are_noise(rows):
    """A bag on labels that nothing tells is nearly as doubtful as a coin; on real ones not."""
    X, y, groups = rows
    noise = np.random.default_rng(4).integers(0, 2, 30)[groups]
    asked = np.random.default_rng(5).standard_normal((500, 8))
    spreads = []
    for labels in (y, noise):
        bag = tuned_bags.tuned_bag(X, labels, groups, 0.1, members=32)
        assert bag.coef.shape == (32, 8)
        spreads.append(np.std(tuned_bags.mean_log_odds(bag.log_odds(asked))))
    assert spreads[1] < 0.5 * spreads[0]
