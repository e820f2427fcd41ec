"""Directions by formula agree with what fits and direct calculations give."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.svm import SVC

from elkutils.study.checks import clouds
from elkutils.study.directions import (
    ClassMoments,
    angle,
    margin,
    posterior_mean,
    posterior_mean_turn,
    ridge_limit,
    spherical_gaussians,
)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 40)])
def test_ridge_tends_to_its_limit(n, d):
    X, y = clouds(0, 0.4, n, d)
    direction, smallest = ridge_limit(ClassMoments.of(X, y), n)
    fits = [Ridge(smallest * s, solver="svd").fit(X, y).coef_ for s in (1e-2, 1e-4)]
    far, near = angle(fits, direction)
    assert near < 1e-3
    assert near == pytest.approx(far / 100, rel=0.1)


def test_margin_by_hand_and_against_a_support_vector_machine():
    X, y = np.array([[0.0, 0.0], [1.0, 3.0], [5.0, 0.0], [6.0, 1.0]]), np.array([0, 0, 1, 1])
    assert margin(X, y, [10.0, 0.0]) == 2.0
    assert margin(X, y, [0.0, 1.0]) == -1.5
    X, y = clouds(0, 0.5, 20, 40)
    machine = SVC(kernel="linear", C=1e10, tol=1e-8).fit(X, y)
    assert margin(X, y, machine.coef_[0]) == pytest.approx(
        1 / np.linalg.norm(machine.coef_), rel=1e-4
    )


def test_spherical_gaussians_give_the_difference_in_means_over_the_variance():
    X, y = clouds(2, 0.3, 80, 6)
    moments = ClassMoments.of(X, y)
    variance = np.trace(moments.within) / X.size
    assert np.allclose(spherical_gaussians(X, y), moments.delta / variance)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_posterior_mean_turns_as_predicted(share):
    X, y = clouds(3, share, 60, 2)
    moments = ClassMoments.of(X, y)
    tau = moments.scale(1e-3)
    mean = posterior_mean(X, y, tau)
    along = moments.delta / np.linalg.norm(moments.delta)
    turn = posterior_mean_turn(X, y)
    assert abs(turn @ along) < 1e-9 * np.linalg.norm(turn)
    measured = (along - mean / (mean @ along)) / tau**2
    assert np.allclose(measured, turn, atol=0.01 * np.linalg.norm(turn))
