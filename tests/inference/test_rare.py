"""Means of p far below one over the number of draws, against quadrature."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, log_expit
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer

from elkutils.inference import rare
from elkutils.inference.logistic import rare as logistic_rare
from elkutils.reporters import BayesianLogistic


def normal(theta, mean, sd):
    return -0.5 * ((theta[0] - mean) / sd) ** 2


def log_sigmoid(theta, mean, sd):
    return -jax.nn.softplus(-theta[0])


def expected(mean, sd):
    """E[σ(η)] of η ~ N(mean, sd²), split where the integrand has its bulk."""
    points = [mean, min(mean + sd**2, 0.0), 0.0, 5.0]
    low, high = mean - 12 * sd, max(mean + sd**2, 0) + 12 * sd
    return quad(
        lambda x: norm.pdf(x, mean, sd) * expit(x), low, high, points=points, limit=500
    )[0]


def gaussian(mean, sd, draws=8000, seed=0, **more):
    eta = np.random.default_rng(seed).normal(mean, sd, (draws, 1))
    return rare.estimate(normal, log_sigmoid, eta, (mean, sd), seed=seed, **more)


@pytest.mark.parametrize(
    ("mean", "sd"), [(-5, 1), (-12, 3), (-20, 4), (-20, 2), (-30, 6), (-60, 8)]
)
def test_normal_log_odds(mean, sd):
    """From 7e-3 down to 2e-15 with 8000 draws: within 4.5 standard errors, errors under 10%."""
    exact, found = expected(mean, sd), gaussian(float(mean), float(sd))
    assert abs(found.estimate / exact - 1) < 4.5 * found.relative_error
    assert found.relative_error < 0.1
    assert found.standard_error == pytest.approx(found.estimate * found.relative_error)


def test_the_standard_error_is_that_of_repeated_estimates():
    found = [gaussian(-20.0, 4.0, draws=2000, seed=s) for s in range(16)]
    exact = expected(-20, 4)
    z = [(f.estimate / exact - 1) / f.relative_error for f in found]
    # Student's t with 7 degrees of freedom has the standard deviation 1.18; skewness adds.
    assert 0.6 < np.std(z) < 2.2  # of 16, to three standard errors
    assert abs(np.mean([f.estimate / exact for f in found]) - 1) < 0.05


def test_where_averaging_is_better_and_where_it_fails():
    """E[p] is 3e-13 with sd 1, where the average is right; 5e-6 with sd 4, where it is not."""
    narrow, wide = gaussian(-29.5, 1.0), gaussian(-20.0, 4.0)
    error = np.sqrt((np.e - 1) / 8000)
    assert abs(narrow.naive / expected(-29.5, 1) - 1) < 4.5 * error
    assert narrow.carriers > 800
    assert narrow.naive_relative_error == pytest.approx(error, rel=0.3)
    assert wide.carriers < 100
    assert wide.naive < 0.5 * expected(-20, 4)
    assert "carried by" in str(wide)


@pytest.fixture(scope="module")
def cancer():
    """Two real features, and the posterior of a reporter on 60 patients."""
    data = load_breast_cancer()
    X = data.data[:60, :2]
    return (X - X.mean(0)) / X.std(0), 1.0 - data.target[:60]


def exact_logistic(X, y, x, prior_scale, bias_scale, points=81):
    """E[p] at x by a grid about the mode, eleven standard deviations either way."""
    from elkutils.inference.logistic import laplace

    fit = laplace(X, y, prior_scale, bias_scale)
    grid = np.linspace(-9, 9, points)
    z = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    theta = fit.colour(1.2 * z)
    prior = norm.logpdf(theta, 0, [prior_scale, prior_scale, bias_scale]).sum(1)
    odds = theta[:, :2] @ X.T + theta[:, 2:]
    log_posterior = prior + log_expit((2 * y - 1) * odds).sum(1)
    weights = np.exp(log_posterior - log_posterior.max())
    return np.sum(weights * expit(theta[:, :2] @ x + theta[:, 2])) / weights.sum()


@pytest.mark.parametrize("x", [[-2.0, -2.0], [-6.0, 6.0], [-9.0, -9.0]])
def test_real_patients_by_quadrature(cancer, x):
    """Down to 1e-8 or so, by the posterior behind a reporter."""
    X, y = cancer
    r = BayesianLogistic(2.0, bias_scale=2.0, draws=250, chains=16).fit(X, y)
    x = np.array(x)
    exact = exact_logistic(X, y, x, 2.0, 2.0)
    found = logistic_rare.estimate_at(X, y, x, r.coef_draws_, r.intercept_draws_, 2.0, 2.0)
    assert abs(found.estimate / exact - 1) < 4.5 * found.relative_error
    assert found.relative_error < 0.15


def test_what_lies_outside_the_rows_is_handled_exactly():
    """Three rows in five dimensions: rotated into the row space, the answer is the same."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 5)), np.array([0.0, 1.0, 0.0])
    r = BayesianLogistic(2.0, bias_scale=1.0, draws=500).fit(X, y)
    basis = np.linalg.svd(X)[2]
    for x in (-4 * basis[4], -8 * basis[3] + 3 * X[0]):
        found = logistic_rare.estimate_at(X, y, x, r.coef_draws_, r.intercept_draws_, 2.0, 1.0)
        error = np.hypot(found.relative_error, found.naive_relative_error)
        assert abs(found.estimate / found.naive - 1) < 4.5 * error
        assert found.carriers > 300  # so that averaging is right


def test_a_general_posterior_is_the_logistic_one(cancer):
    X, y = cancer
    r = BayesianLogistic(2.0, bias_scale=2.0, draws=250, chains=16).fit(X, y)
    x = np.array([-6.0, 6.0])
    theta = np.column_stack([r.coef_draws_, r.intercept_draws_])
    data = X.astype(np.float32), y.astype(np.float32), x.astype(np.float32)
    general = rare.estimate(log_posterior, log_p_at, theta, data)
    special = logistic_rare.estimate_at(X, y, x, r.coef_draws_, r.intercept_draws_, 2.0, 2.0)
    error = np.hypot(general.relative_error, special.relative_error)
    assert abs(general.estimate / special.estimate - 1) < 4.5 * error


def log_posterior(theta, X, y, x):
    odds = X @ theta[:2] + theta[2]
    return -jax.nn.softplus((1 - 2 * y) * odds).sum() - 0.5 * theta @ theta / 4


def log_p_at(theta, X, y, x):
    return -jax.nn.softplus(-(x @ theta[:2] + theta[2]))


def test_same_seed_same_estimate_and_progress_shows(capfd):
    one, other = gaussian(-12.0, 3.0, seed=1), gaussian(-12.0, 3.0, seed=1, progress=True)
    np.testing.assert_array_equal(one.log_estimates, other.log_estimates)
    assert "8/8" in capfd.readouterr().err


def twice(theta, mean, sd):
    return theta[0] + 100.0


@pytest.mark.parametrize(
    ("draws", "more", "said"),
    [
        (np.zeros(3), {}, "draws has shape"),
        (np.full((30, 1), np.nan), {}, "draws has shape"),
        (np.ones((30, 1)), {"repeats": 1}, "repeats is 1"),
        (np.ones((10, 1)), {"repeats": 8}, "repeats is 8"),
        (np.ones((30, 1)), {"repeats": 0}, "repeats is 0"),
        (np.ones((30, 1)), {"share": 0.0}, "share is 0.0"),
    ],
)
def test_bad_input_is_named(draws, more, said):
    with pytest.raises(ValueError, match=said):
        rare.estimate(normal, log_sigmoid, draws, (0.0, 1.0), **more)
    with pytest.raises(ValueError, match="at most 1"):
        rare.estimate(normal, twice, np.ones((30, 1)), (0.0, 1.0))


def test_bad_shapes_of_a_logistic_posterior_are_named(cancer):
    X, y = cancer
    with pytest.raises(ValueError, match="x has shape"):
        logistic_rare.estimate_at(X, y, np.zeros(3), np.zeros((20, 2)), np.zeros(20), 1.0)
    with pytest.raises(ValueError, match="coef_draws has shape"):
        logistic_rare.estimate_at(X, y, np.zeros(2), np.zeros((20, 3)), np.zeros(20), 1.0)
