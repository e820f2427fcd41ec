"""The mode, its Gaussian and its evidence, against scikit-learn, quadrature and brute force."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import expit, log_expit
from sklearn.linear_model import LogisticRegression

from elkutils.inference.logistic import (
    default_prior_scales,
    fit_map,
    is_separable,
    laplace,
    logistic_path,
)


def make(n, d, seed, scale=1.0):
    """Correlated features and labels that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / np.sqrt(d)
    y = (rng.random(n) < expit(2 * X[:, 0] + 0.5)).astype(float)
    return scale * X, y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "d"), [(120, 5), (400, 150), (40, 90), (150, 400)])
@pytest.mark.parametrize("prior_scale", [0.05, 1.0])
def test_mode_is_scikit_learns(n, d, prior_scale, seed):
    X, y = make(n, d, seed)
    ours = fit_map(X, y, prior_scale)
    theirs = LogisticRegression(
        C=prior_scale**2, solver="newton-cholesky", tol=1e-12, max_iter=1000
    ).fit(X, y)
    both = np.append(theirs.coef_, theirs.intercept_)
    np.testing.assert_allclose(
        np.append(ours.coef, ours.intercept), both, rtol=0, atol=1e-6 * np.abs(both).max()
    )


@pytest.mark.parametrize("bias_scale", [None, 0.7])
@pytest.mark.parametrize("prior_scale", [1e-6, 1e-2, 1.0, 1e4])
def test_gradient_vanishes_at_the_mode_in_any_units(prior_scale, bias_scale):
    X, y = make(60, 12, seed=1)
    X[:, 0] = 1e3 * X[:, 0] + 5e3
    fit = fit_map(X, y, prior_scale, bias_scale)
    residual = y - expit(X @ fit.coef + fit.intercept)
    pull = fit.coef / prior_scale**2
    scale = np.abs(X).T @ np.abs(residual) + 1
    assert np.max(np.abs(X.T @ residual - pull) / scale) < 1e-6
    bias_pull = 0 if bias_scale is None else fit.intercept / bias_scale**2
    assert abs(residual.sum() - bias_pull) < 1e-6 * len(y)


def test_separable_data_have_a_mode_but_no_maximum_likelihood():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    y = np.array([0.0, 0.0, 1.0, 1.0])
    assert np.isfinite(fit_map(X, y, 1e3).coef).all()
    with pytest.raises(ValueError, match="separates"):
        fit_map(X, y, np.inf)
    touching = np.array([[-1.0], [0.0], [0.0], [1.0]])
    with pytest.raises(ValueError, match="separates"):
        fit_map(touching, y, np.inf)
    assert is_separable(touching, y)
    assert not is_separable(touching, np.array([0.0, 1.0, 1.0, 0.0]))


def test_maximum_likelihood_is_the_paths_limit_and_the_smallest():
    X, y = make(200, 4, seed=2)
    X = np.column_stack([X, X[:, 0], np.full(200, 3.0)])
    limit, far = fit_map(X, y, np.inf), fit_map(X, y, 1e3)
    # the prior pulls by w/τ² against a curvature of at least 0.1
    np.testing.assert_allclose(limit.coef, far.coef, atol=1e-5)
    assert limit.coef[0] == pytest.approx(limit.coef[4])
    assert limit.coef[5] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bias_scale", [None, 2.0])
def test_evidence_and_moments_by_quadrature(bias_scale):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((80, 1))
    y = (rng.random(80) < expit(X[:, 0])).astype(float)
    tau = 0.8

    def joint(b, w, shift):
        log_odds = w * X[:, 0] + b
        value = np.sum(np.where(y == 1, log_expit(log_odds), log_expit(-log_odds)))
        value -= 0.5 * (w / tau) ** 2 + np.log(tau * np.sqrt(2 * np.pi))
        if bias_scale:
            value -= 0.5 * (b / bias_scale) ** 2 + np.log(bias_scale * np.sqrt(2 * np.pi))
        return np.exp(value - shift)

    fit = laplace(X, y, tau, bias_scale)
    total, _ = dblquad(joint, -4, 4, -4, 4, args=(fit.log_evidence,), epsabs=1e-8)
    assert abs(np.log(total)) < 0.02


def test_path_is_the_direct_fit_at_every_scale():
    for n, d in [(80, 10), (30, 60)]:
        X, y = make(n, d, seed=4)
        scales = [3.0, 0.1, 1.0]
        path = logistic_path(X, y, scales, bias_scale=None)
        for i, scale in enumerate(scales):
            direct = laplace(X, y, scale)
            np.testing.assert_allclose(path.coefs[i], direct.coef, atol=1e-8)
            assert path.log_evidence[i] == pytest.approx(direct.log_evidence, abs=1e-8)
        assert path.prior_scales[path.best] == scales[int(np.argmax(path.log_evidence))]


@pytest.mark.parametrize("seed", range(3))
def test_row_space_equals_the_full_problem(seed):
    X, y = make(20, 50, seed)
    tau = 0.7
    fit = laplace(X, y, tau)
    p = expit(X @ fit.coef + fit.intercept)
    A = np.column_stack([X, np.ones(20)])
    precision = A.T @ (A * (p * (1 - p))[:, None]) + np.diag(np.append(np.full(50, tau**-2), 0))
    brute = -0.5 * np.linalg.slogdet(precision)[1] - 50 * np.log(tau) + 0.5 * np.log(2 * np.pi)
    log_odds = X @ fit.coef + fit.intercept
    brute += np.sum(np.where(y == 1, log_expit(log_odds), log_expit(-log_odds)))
    brute -= 0.5 * fit.coef @ fit.coef / tau**2
    assert fit.log_evidence == pytest.approx(brute, abs=1e-8)

    draws, _ = fit.draw(200_000, np.random.default_rng(seed))
    covariance = np.linalg.inv(precision)[:50, :50]
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    error = (np.cov(draws.T) - covariance) / spread
    # 50·51/2 correlations, each with sd at most √(2/200 000) = 0.0032: five sd
    assert np.abs(error).max() < 0.016
    assert np.abs(draws.mean(0) - fit.coef).max() < 5 * np.sqrt(covariance.max() / 200_000)


def test_null_space_keeps_the_prior_exactly():
    X, y = make(15, 40, seed=5)
    fit = laplace(X, y, 0.5)
    null = np.linalg.svd(X)[2][15:]
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    coords = rng.standard_normal((7, 15))
    lifted = fit.subspace.lift_draws(coords, 0.5, rng)
    same.standard_normal((7, 15))
    np.testing.assert_allclose(lifted @ null.T, 0.5 * same.standard_normal((7, 40)) @ null.T)
    np.testing.assert_allclose(fit.subspace.lower(lifted), coords, atol=1e-12)


def test_rotating_the_features_rotates_the_fit():
    rng = np.random.default_rng(6)
    for n, d in [(90, 12), (20, 35)]:
        X, y = make(n, d, seed=6)
        Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
        plain, turned = laplace(X, y, 0.9), laplace(X @ Q, y, 0.9)
        np.testing.assert_allclose(plain.coef @ Q, turned.coef, atol=1e-8)
        assert plain.log_evidence == pytest.approx(turned.log_evidence, abs=1e-8)


def test_a_log_odds_of_constant_curvature_is_exact():
    """With a prior that dwarfs the data the posterior is the prior."""
    X, y = make(50, 3, seed=7)
    fit = laplace(X, y, 1e-4, bias_scale=1e-4)
    np.testing.assert_allclose(fit.factor, 1e4 * np.eye(4), atol=1e-2)
    assert fit.log_evidence == pytest.approx(50 * np.log(0.5), abs=1e-2)


def test_colour_and_whiten_are_inverse():
    fit = laplace(*make(50, 6, seed=8), 1.0)
    z = np.random.default_rng(0).standard_normal((2, 5, 7))
    np.testing.assert_allclose(fit.whiten(fit.colour(z)), z, atol=1e-10)


@pytest.mark.parametrize(
    ("X", "y", "prior_scale", "message"),
    [
        ([[np.nan], [1.0]], [0, 1], 1.0, "NaN"),
        ([[0.0], [1.0]], [0, 0], 1.0, "y holds"),
        ([[0.0], [1.0]], [0, 2], 1.0, "y holds"),
        ([[0.0], [1.0]], [0, 1, 1], 1.0, "shape"),
        ([[0.0], [1.0]], [0, 1], 0.0, "prior_scale is 0"),
        ([[0.0], [1.0]], [0, 1], np.nan, "prior_scale is nan"),
        ([[0.0], [1.0]], [0, 1], "wide", "prior_scale is 'wide'"),
    ],
)
def test_bad_input_is_named(X, y, prior_scale, message):
    with pytest.raises(ValueError, match=message):
        fit_map(X, y, prior_scale)
    with pytest.raises(ValueError, match="infinite|finite|" + message):
        laplace(X, y, np.inf if prior_scale == 1.0 else prior_scale)


def test_one_class_needs_a_proper_bias():
    X = np.random.default_rng(0).standard_normal((5, 2))
    with pytest.raises(ValueError, match="both"):
        fit_map(X, np.ones(5), 1.0)
    assert fit_map(X, np.ones(5), 1.0, bias_scale=1.0).intercept > 0


def test_default_grid_follows_the_units_of_X():
    X, _ = make(50, 4, seed=9)
    np.testing.assert_allclose(default_prior_scales(10 * X), default_prior_scales(X) / 10)
    assert np.isfinite(default_prior_scales(np.ones((5, 2)))).all()
