"""Rows are scaled by the training rows alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from elkutils.study import readings
from elkutils.study.scaling import by_component, leading, principal, thinned, z_scored

RNG = np.random.default_rng(0)
TRAIN = RNG.standard_normal((40, 5)) * [9, 5, 1, 0.1, 0] + 3
OTHER = RNG.standard_normal((7, 5)) + 3


def test_training_rows_have_mean_0_and_standard_deviation_1_and_others_keep_their_place():
    train, other = z_scored(TRAIN, OTHER)
    assert train.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert train.std(axis=0) == pytest.approx([1, 1, 1, 1, 0])
    centre, spread = TRAIN.mean(axis=0), TRAIN.std(axis=0)
    assert other[:, :4] == pytest.approx(((OTHER - centre) / spread.clip(1e-9))[:, :4])
    assert other[:, 4] == pytest.approx(OTHER[:, 4] - 3)


def test_principal_directions_are_uncorrelated_and_scaled_by_the_training_rows():
    train, other = principal(2, TRAIN, OTHER)
    assert train.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert train.T @ train / len(train) == pytest.approx(np.eye(2), abs=1e-12)
    # The first two features have nearly all of the variance.
    assert abs(np.corrcoef(train[:, 0], TRAIN[:, 0])[0, 1]) > 0.99
    assert other.shape == (7, 2)
    again = principal(2, TRAIN, TRAIN[:3])[1]
    assert again == pytest.approx(train[:3])


def test_leading_directions_are_those_of_the_training_rows():
    sets = {"asked": (OTHER, "labels", "groups"), "train": (TRAIN, "own")}
    found = leading(2, sets)
    train, other = principal(2, TRAIN, OTHER)
    np.testing.assert_array_equal(found["train"][0], train)
    np.testing.assert_array_equal(found["asked"][0], other)
    assert found["asked"][1:] == ("labels", "groups")
    assert list(found) == list(sets)


def test_thinned_rows_keep_all_that_is_false_and_every_third_true_one(monkeypatch):
    y, rows = np.tile([0, 1], 15), np.random.default_rng(2).permutation(30)[:24]
    X = RNG.standard_normal((30, 3)) + 7
    split = SimpleNamespace(train_test=lambda seed: (rows, None))
    part = SimpleNamespace(X={4: X}, y=y, split=split)
    monkeypatch.setattr(readings, "read", lambda model, name, seed: {"easy": part})
    whole, labels = thinned(None, "cities", 0, 4, every=1)
    assert whole == pytest.approx(z_scored(X[np.sort(rows)])[0])
    assert np.array_equal(labels, y[np.sort(rows)])
    fewer, labels = thinned(None, "cities", 0, 4, every=3)
    assert np.sum(labels == 0) == np.sum(y[rows] == 0)
    assert np.sum(labels == 1) == -(-np.sum(y[rows] == 1) // 3)
    assert fewer.mean(axis=0) == pytest.approx(0, abs=1e-12)


def test_components_divide_the_difference_in_means():
    rng = np.random.default_rng(1)
    y = np.tile([0, 1], 40)
    X = rng.standard_normal((80, 4)) * [9, 3, 1, 0.3] + np.outer(y, [0, 0, 3, 0])
    asked = rng.standard_normal((6, 4))
    delta = X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)
    scores, shares = by_component(X, y, asked, [(1, 2), (3, 3), (4, 99)])
    assert scores.sum(axis=0) == pytest.approx((asked - X.mean(axis=0)) @ delta)
    assert shares.sum() == pytest.approx(1)
    whole, share = by_component(X, y, asked, [(1, 4)])
    assert whole[0] == pytest.approx(scores.sum(axis=0))
    assert share == pytest.approx([1])
