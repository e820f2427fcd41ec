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


def test_units_and_offsets_do_not_matter_where_they_are_unlike(data):
    X, y, new = data
    units = np.array([1e-200, 1e-9, 1.0, 1e6, 1e12, 1e200])
    once = class_distance(X * units, y, new * units)
    again = class_distance(X * units[::-1], y, new * units[::-1])
    np.testing.assert_allclose(again, once, rtol=1e-9)
    assert np.abs(np.log(once / class_distance(X, y, new))).max() < 0.3
    far = class_distance((X + 1e8) * 1e-200, y, (new + 1e8) * 1e-200)
    np.testing.assert_allclose(far, class_distance(X, y, new), rtol=1e-5)


def test_copies_of_a_feature_change_little_and_constant_ones_are_named(data):
    X, y, new = data
    expected = class_distance(X, y, new)
    again = class_distance(np.hstack([X, X]), y, np.hstack([new, new]))
    assert np.isfinite(again).all()
    constant = np.column_stack([X, np.full(len(X), 7.0)])
    np.testing.assert_allclose(
        class_distance(constant, y, np.column_stack([new, np.full(len(new), 7.0)])), expected
    )
    with pytest.warns(UserWarning, match=r"features \[6\], which are constant"):
        class_distance(constant, y, np.column_stack([new, np.full(len(new), 8.0)]))


def test_what_has_no_distance_is_refused():
    y = [0, 1, 0, 1]
    with pytest.raises(ValueError, match="same row everywhere"):
        class_distance(np.ones((4, 2)), y, np.ones((1, 2)))
    with pytest.raises(ValueError, match="does not vary within the classes"):
        class_distance(np.eye(2)[y], y, np.ones((1, 2)))
