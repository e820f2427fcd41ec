"""The distance to the classes: its closed form, and what it must not depend on."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from elkutils.evaluation import class_distance


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [30, 50])
    return rng.normal(size=(80, 6)) + 2 * y[:, None], y, rng.normal(size=(9, 6))


def test_it_is_scipys_distance_to_the_nearer_mean(data):
    X, y, new = data
    means = np.stack([X[y == 0].mean(0), X[y == 1].mean(0)])
    inverse = LedoitWolf(assume_centered=True).fit(X - means[y]).precision_
    expected = cdist(new, means, "mahalanobis", VI=inverse).min(axis=1)
    np.testing.assert_allclose(class_distance(X, y, new), expected)


def test_turning_and_moving_everything_changes_nothing(data):
    X, y, new = data
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    again = class_distance(X @ turn + 5, y, new @ turn + 5)
    np.testing.assert_allclose(again, class_distance(X, y, new))


def test_it_needs_no_more_rows_than_features():
    rng = np.random.default_rng(2)
    near = class_distance(
        rng.normal(size=(10, 40)), np.arange(10) % 2, rng.normal(size=(5, 40))
    )
    assert np.isfinite(near).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X_new": np.zeros((2, 5))}, "X_new"),
        ({"y": np.zeros(80)}, "both 0 and 1"),
        ({"X_new": np.full((2, 6), np.nan)}, "X_new holds NaN"),
    ],
)
def test_bad_input_is_named(data, change, words):
    given = dict(zip(("X", "y", "X_new"), data, strict=True)) | change
    with pytest.raises(ValueError, match=words):
        class_distance(**given)
