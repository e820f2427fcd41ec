"""The closed forms of linear regression, and ensembles that draw from its posterior."""

import numpy as np
import pytest
from scipy.stats import kstest

from elkutils.inference.linear import (
    least_squares_flow,
    log_evidence,
    minimise,
    posterior,
    sample_then_optimise,
)

PRIOR_SCALE, NOISE = 0.7, 0.4


def make(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.5
    return X, X @ rng.standard_normal(d) + NOISE * rng.standard_normal(n)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (5, 8)])
def test_the_posterior_is_bishops(n, d):
    X, y = make(n, d)
    found = posterior(X, y, PRIOR_SCALE, NOISE)
    covariance = np.linalg.inv(X.T @ X / NOISE**2 + np.eye(d) / PRIOR_SCALE**2)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    np.testing.assert_allclose(found.mean, covariance @ X.T @ y / NOISE**2, atol=1e-12)


def test_without_noise_the_posterior_is_the_limit():
    X, y = make(5, 8)
    limit, near = posterior(X, y, PRIOR_SCALE, 0.0), posterior(X, y, PRIOR_SCALE, 1e-5)
    np.testing.assert_allclose(limit.mean, near.mean, atol=1e-7)
    np.testing.assert_allclose(limit.covariance, near.covariance, atol=1e-7)


def standardised(draws, exact):
    """Draws in coordinates in which the posterior is standard normal."""
    return np.linalg.solve(np.linalg.cholesky(exact.covariance), (draws - exact.mean).T).T


@pytest.mark.parametrize(("n", "d"), [(30, 4), (5, 8)])
def test_perturbed_and_anchored_members_are_posterior_draws(n, d):
    X, y = make(n, d)
    exact, members = posterior(X, y, PRIOR_SCALE, NOISE), 40_000
    rng = np.random.default_rng(1)
    draws = sample_then_optimise(X, y, PRIOR_SCALE, NOISE, members, rng)
    z = standardised(draws, exact)
    # Standard errors are 1/√members for a mean or a covariance, √2 of it for a variance.
    five = 5 / np.sqrt(members)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=five)
    np.testing.assert_allclose(np.cov(z.T), np.eye(d), atol=np.sqrt(2) * five)
    assert min(kstest(column, "norm").pvalue for column in z.T) > 1e-4


@pytest.mark.parametrize("left_out", ["anchored", "perturbed"])
def test_without_either_the_members_are_too_close_together(left_out):
    X, y = make(5, 8)
    exact, rng = posterior(X, y, PRIOR_SCALE, NOISE), np.random.default_rng(1)
    without = {left_out: False}
    draws = sample_then_optimise(X, y, PRIOR_SCALE, NOISE, 4000, rng, **without)
    z = standardised(draws, exact)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=5 / np.sqrt(4000))
    assert np.linalg.eigvalsh(np.cov(z.T)).min() < 0.9


def test_the_minimum_has_no_slope():
    X, y = make(5, 8)
    start = np.random.default_rng(2).standard_normal((3, 8))
    labels = y + start[:, :5]
    w = minimise(X, labels, start, 0.6)
    slope = (w @ X.T - labels) @ X + 0.6**2 * (w - start)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_descent_keeps_the_null_space_and_fits_the_rest():
    X, y = make(5, 8)
    start = np.random.default_rng(1).standard_normal((3, 8))
    end = least_squares_flow(X, y, start, np.inf)
    np.testing.assert_allclose(end @ X.T, np.tile(y, (3, 1)), atol=1e-10)
    null = np.eye(8) - np.linalg.pinv(X) @ X
    np.testing.assert_allclose(end @ null, start @ null, atol=1e-12)
    np.testing.assert_allclose(least_squares_flow(X, y, start, 0.0), start)


def test_descent_follows_the_gradient():
    X, y = make(9, 3)
    start = np.random.default_rng(1).standard_normal((2, 3))
    w, step = start.copy(), 1e-4
    for _ in range(2000):
        w += step * (y - w @ X.T) @ X
    # Euler's error is of the order of step · λ, λ about 10.
    np.testing.assert_allclose(w, least_squares_flow(X, y, start, 2000 * step), atol=2e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.ones(4)}, "X has shape"),
        ({"y": np.ones(3)}, "X has shape"),
        ({"prior_scale": 0.0}, "prior_scale is"),
        ({"noise": -1.0}, "noise is"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.ones(4), "prior_scale": 1.0, "noise": 1.0}
    with pytest.raises(ValueError, match=said):
        posterior(**arguments | change)


def test_labels_cannot_be_weighed_against_the_prior_without_noise():
    with pytest.raises(ValueError, match="noise is 0"):
        sample_then_optimise(np.eye(2), np.ones(2), 1.0, 0.0, 3, np.random.default_rng(0))


def test_the_evidence_is_the_likelihood_averaged_over_the_prior():
    X, y = make(3, 2)
    w = PRIOR_SCALE * np.random.default_rng(0).standard_normal((200_000, 2))
    gap = (y - w @ X.T) / NOISE
    density = np.exp(-0.5 * (gap**2).sum(axis=1)) / (np.sqrt(2 * np.pi) * NOISE) ** 3
    error = density.std() / np.sqrt(len(w)) / density.mean()
    assert abs(log_evidence(X, y, PRIOR_SCALE, NOISE) - np.log(density.mean())) < 4 * error
    with pytest.raises(ValueError, match="noise is 0"):
        log_evidence(X, y, PRIOR_SCALE, 0.0)
