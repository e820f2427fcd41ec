"""Ensembles of small networks at their stops, and how like a posterior a bag is."""

import numpy as np
import pytest

from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, flat
from elkutils.study import small_networks
from elkutils.study.small_networks import Recipe, Target, alikeness, intervals, members

HEAD = MLP((4,))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    return X, (X[:, 0] > 0).astype(float), np.repeat(np.arange(20), 2)


def test_members_are_kept_at_each_stop(rows):
    found = members(Recipe("plain", "GD", (0.6, 0.5)), HEAD, rows, 6, seed=1, steps=200)
    assert list(found) == ["loss 0.60", "loss 0.50", "held-out", "to the end"]
    losses = [draws.stats["loss"].mean() for draws in found.values()]
    assert losses[0] > losses[1] > losses[3]
    assert set(found["to the end"].stats["n_steps"].ravel()) == {200}
    again = members(Recipe("plain", "GD"), HEAD, rows, 6, seed=1, steps=200)
    np.testing.assert_array_equal(again["to the end"].flat, found["to the end"].flat)


def test_untrained_members_are_prior_draws():
    found = small_networks.untrained(HEAD, 3, 500, seed=1)
    assert found.flat.shape == (500, flat(HEAD, 3).size)
    scales = flat(HEAD, 3).scales
    assert found.flat.std(axis=0) / scales == pytest.approx(1, abs=0.2)
    again = flat(HEAD, 3).flatten(draw_prior(HEAD, 500, 3, seed=1))
    np.testing.assert_array_equal(found.flat, again)


@pytest.mark.parametrize("what", ["bootstrapped", "flipped"])
def test_members_of_one_start_differ_by_their_rows_or_labels(rows, what, monkeypatch):
    def same(network, count, d, seed):
        one = flat(network, d)
        theta = one.flatten(draw_prior(network, 1, d, seed))
        return one.parameters(np.repeat(np.asarray(theta), count, axis=0))

    monkeypatch.setattr(small_networks, "draw_prior", same)
    plain = members(Recipe("plain", "GD"), HEAD, rows, 4, seed=0, steps=50)
    assert np.ptp(plain["to the end"].flat, axis=0).max() < 1e-5
    own = members(Recipe("own", "GD", **{what: True}), HEAD, rows, 4, seed=0, steps=50)
    assert np.ptp(own["to the end"].flat, axis=0).max() > 1e-3


def test_draws_of_the_posterior_are_like_it_and_others_are_not():
    rng = np.random.default_rng(0)
    centre = 2 * rng.standard_normal((2, 60))
    first, second = (centre[:, None] + rng.standard_normal((2, 2000, 60)) for _ in range(2))
    groups, targets = np.arange(60) // 2, {}
    for s in (0, 1):
        targets[s] = Target.of(first[s], second[s], 100)

    def compare(bag):
        return intervals((s, alikeness(bag[s], targets[s]), groups) for s in (0, 1))

    right = compare(second[:, :100])
    assert right["agreement"].estimate > 0.97
    assert abs(right["total variation"].estimate) < 0.01
    assert 0.95 < right["spread"].estimate < 1.05
    wide = compare(3 * second[:, :100])
    assert wide["spread"].lower > 2.5
    turned = compare(-second[:, :100])
    assert turned["agreement"].upper < 0.1
    assert turned["total variation"].lower > 0.2


def test_full_agreement_is_no_certainty():
    alike = np.column_stack([np.ones(30), np.zeros(30), np.ones(30)])
    found = intervals([(0, alike, np.arange(30) // 2)])
    assert found["agreement"].estimate == 1
    assert 0.7 < found["agreement"].lower < 0.8  # of 15 groups


def test_a_resampled_run_draws_bags_groups_and_seeds():
    rng = np.random.default_rng(0)
    pools = {s: 2 + rng.standard_normal((300, 20)) for s in (0, 1)}
    targets = {s: Target.of(pools[s], pools[s], 50) for s in pools}
    groups = {s: np.arange(20) // 2 for s in pools}
    found = [
        small_networks.resampled(pools, targets, groups, 50, np.random.default_rng(i))
        for i in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    assert abs(found[0]["spread"].estimate - 1) < 0.15
