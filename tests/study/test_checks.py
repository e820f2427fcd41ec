"""Checks report the range over data sets, and rates that can miss."""

import numpy as np
import pytest

from elkutils.study.checks import clouds, over_data, rate
from elkutils.study.directions import ClassMoments


def test_clouds_are_elongated_unbalanced_and_off_the_origin():
    X, y = clouds(0, 0.3, n=200, d=5)
    assert X.shape == (200, 5)
    assert y.mean() == pytest.approx(0.3)
    roots = np.linalg.eigvalsh(ClassMoments.of(X, y).within)
    assert roots[-1] > 20 * roots[0]
    assert np.linalg.norm(X.mean(axis=0)) > 1
    assert not np.array_equal(X, clouds(1, 0.3, n=200, d=5)[0])


def test_ranges_are_taken_over_the_data_sets_of_a_kind():
    ones = np.ones((2, 1))
    data = [("a", ones, ones), ("a", 4 * ones, ones), ("b", 9 * ones, ones)]
    found = over_data(lambda X, y: {"mean": X.mean(), "slope: end": -X.mean()}, data)
    assert [*found] == ["mean: a", "slope: end, a", "mean: b", "slope: end, b"]
    a = found["mean: a"]
    assert (a.estimate, a.lower, a.upper, a.level) == (2.5, 1, 4, 1)
    assert found["slope: end, b"].lower == -9


def test_a_rate_sees_the_power_and_the_constant():
    scales = np.geomspace(1e-3, 1, 5)
    found = rate(scales, 3 * scales**2, 2 * scales)
    assert found["slope"] == pytest.approx(2)
    assert found["ratio"] == pytest.approx(1.5e-3)
