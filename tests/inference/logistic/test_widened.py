"""Another Gaussian, the same posterior: values, slopes and coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elkutils.inference.logistic import rows, variational
from elkutils.inference.logistic.variational import Target
from elkutils.inference.logistic.widened import MOST, Widened


@pytest.fixture(scope="module")
def wide():
    """A target of separable rows, widened to draws three times as wide along two directions."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 5))
    with rows.exactly():
        target = Target.of(variational.fit(X, (X[:, 0] > 0).astype(float), np.full(6, 0.5)))
    z = rng.standard_normal((2000, 6)) * np.array([3, 3, 1, 1, 1, 1]) + 0.3
    return Widened.of(target, z)


def test_the_negative_log_posterior_is_the_same_at_the_same_point(wide):
    z = np.random.default_rng(1).standard_normal((6, 7)).astype(np.float32)
    with rows.exactly():
        ours = wide(z)[0] + 0.5 * np.sum(z**2, axis=0)
        theirs = wide.base(wide.forward(z))[0] + 0.5 * np.sum(wide.forward(z) ** 2, axis=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_slope_is_that_of_the_value(wide):
    z = jnp.asarray(np.random.default_rng(2).standard_normal((6, 3)), jnp.float32)
    with rows.exactly():
        slope = jax.grad(lambda z: jnp.sum(wide(z)[0]))(z)
        np.testing.assert_allclose(wide(z)[1], slope, atol=2e-4)


def test_two_directions_are_wide_and_coordinates_go_both_ways(wide):
    assert wide.directions.shape == (6, 2)
    np.testing.assert_allclose(wide.excess, 2, atol=0.15)
    z = np.random.default_rng(3).standard_normal((6, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(wide.inverse(wide.forward(z)), z, atol=1e-5)


def test_no_more_directions_than_allowed_and_a_power_that_narrows():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 40))
    with rows.exactly():
        target = Target.of(variational.fit(X, (rng.random(60) < 0.5) * 1.0, np.ones(41)))
    z = 4 * rng.standard_normal((3000, 41))
    assert Widened.of(target, z).directions.shape == (41, MOST)
    np.testing.assert_allclose(1 + Widened.of(target, z, 0.5).excess, 2, atol=0.15)
