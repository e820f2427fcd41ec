"""Bags of networks: members start and stop as told, and tuning finds what is better."""

import jax
import numpy as np
import pytest
from scipy.special import log_expit

from elkutils.inference.draws import mean_log_odds
from elkutils.inference.networks.mlp import MLP
from elkutils.study import tuned_networks

NETWORK = MLP((8,))
STARTS = 0.1, 10.0


def drawn(seed, count):
    """Rows whose labels are noisy, so that whoever trains for long is too sure."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((count, 20))
    return X, (X[:, 0] + rng.logistic(size=count) > 0).astype(int)


def score(bag, X, y):
    told = mean_log_odds(np.concatenate(bag.log_odds(X)))
    return log_expit(np.where(y == 1, 1, -1) * told).mean()


def test_the_rate_of_a_linear_head_is_known():
    X, _ = drawn(0, 10)
    found = tuned_networks.learning_rate(MLP(()), X)
    assert found == pytest.approx(tuned_networks.SPEED / (abs(X).sum(axis=1) + 1).mean())


def test_members_start_at_their_scales_and_stop_when_told():
    X, y = drawn(0, 40)
    found = tuned_networks.course(NETWORK, X, y, 3, (0, 1), STARTS, (5, 10))
    assert [len(np.concatenate(bags.log_odds(X))) for bags in found.at_steps] == [6, 6]
    assert found.looks.tolist() == [5, 10]
    small, large = np.split(np.concatenate(found.at_steps[0].log_odds(X)), 2)
    assert large.std() > 2 * small.std()
    shorter = tuned_networks.course(NETWORK, X, y, 3, (0, 1), STARTS, (5,))
    ends = jax.tree.leaves(found.at_steps[0].theta), jax.tree.leaves(shorter.end.theta)
    for once, again in zip(*ends, strict=True):
        np.testing.assert_allclose(once, again, atol=1e-6)


def test_tuning_finds_what_is_better():
    X, y = drawn(1, 60)
    bag, how = tuned_networks.tuned_networks(NETWORK, X, y, np.arange(60) // 2, 8, 0)
    assert how.startswith("start ")
    worst = tuned_networks.course(NETWORK, X, y, 8, (0,), (2.0,), (80,)).end
    asked = drawn(2, 2000)
    assert score(bag, *asked) > score(worst, *asked) + 0.1


def test_tuning_goes_on_where_the_latest_stop_is_best(monkeypatch):
    monkeypatch.setattr(tuned_networks, "STOPS", (5,))
    monkeypatch.setattr(tuned_networks, "LATEST", 20)
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 4))
    told = X[:, 0] > 0  # without noise, so that longer is better
    _, how = tuned_networks.tuned_networks(NETWORK, X, told.astype(int), np.arange(60), 4, 0)
    assert how.endswith(" 20 steps")
    _, how = tuned_networks.tuned_networks(
        NETWORK, X, rng.permutation(told) + 0, np.arange(60), 4, 0
    )
    assert how.endswith(" 5 steps")
