"""Weights of rows: an integer weight is the row repeated, and any weight scales its loss."""

import numpy as np
import pytest

from elkutils.inference.logistic import (
    default_prior_scales,
    fit_map,
    hmc,
    importance,
    laplace,
    logistic_path,
    nuts,
    rows,
    variational,
)
from elkutils.inference.logistic.whitened import potential, whitened_data

PRIOR_SCALE, BIAS_SCALE = 0.8, 2.0


@pytest.fixture(params=[(60, 4), (12, 30)], ids=["tall", "wide"])
def data(request):
    """X, y, whole weights with zeros among them, and the repeated rows."""
    n, d = request.param
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((n, d)), (np.arange(n) % 2).astype(float)
    weights = rng.integers(0, 4, n).astype(float)
    repeats = np.repeat(np.arange(n), weights.astype(int))
    return X, y, weights, X[repeats], y[repeats]


@pytest.fixture
def uneven():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((50, 3))
    y = (X[:, 0] + rng.standard_normal(50) > 0).astype(float)
    return X, y, rng.gamma(1.0, size=50)


def log_joint(theta, X, y, weights):
    log_odds = X @ theta[:-1] + theta[-1]
    fit = -weights @ np.logaddexp(0.0, np.where(y > 0, -log_odds, log_odds))
    return (
        fit
        - theta[:-1] @ theta[:-1] / (2 * PRIOR_SCALE**2)
        - theta[-1] ** 2 / (2 * BIAS_SCALE**2)
    )


def test_mode_and_evidence(data):
    X, y, weights, X_repeated, y_repeated = data
    scales = default_prior_scales(X, 3, weights)
    np.testing.assert_allclose(scales, default_prior_scales(X_repeated, 3))
    ours = fit_map(X, y, PRIOR_SCALE, weights=weights)
    theirs = fit_map(X_repeated, y_repeated, PRIOR_SCALE)
    np.testing.assert_allclose(ours.coef, theirs.coef, atol=1e-8)
    assert ours.log_joint == pytest.approx(theirs.log_joint)
    path = logistic_path(X, y, scales, BIAS_SCALE, weights)
    expected = logistic_path(X_repeated, y_repeated, scales, BIAS_SCALE)
    np.testing.assert_allclose(path.coefs, expected.coefs, atol=1e-7)
    np.testing.assert_allclose(path.log_evidence, expected.log_evidence, atol=1e-6)


def test_maximum_likelihood_with_weights(uneven):
    X, y, weights = uneven
    whole = np.ceil(weights)
    repeats = np.repeat(np.arange(50), whole.astype(int))
    ours = fit_map(X, y, np.inf, weights=whole)
    np.testing.assert_allclose(ours.coef, fit_map(X[repeats], y[repeats], np.inf).coef)


def test_the_slope_is_zero_at_the_mode_with_any_weights(uneven):
    X, y, weights = uneven
    found = laplace(X, y, PRIOR_SCALE, BIAS_SCALE, weights=weights)
    p = 1 / (1 + np.exp(-(X @ found.coef + found.intercept)))
    slope = X.T @ (weights * (y - p)) - found.coef / PRIOR_SCALE**2
    np.testing.assert_allclose(slope, 0, atol=1e-7)
    design = np.column_stack([X, np.ones(50)])
    hessian = design.T @ (design * (weights * p * (1 - p))[:, None])
    hessian += np.diag([PRIOR_SCALE**-2] * 3 + [BIAS_SCALE**-2])
    np.testing.assert_allclose(found.factor @ found.factor.T, hessian)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(49), r"weights has shape \(49,\)"),
        (np.full(50, -1.0), "weights is -1.0 in row 0"),
        (np.full(50, np.nan), "weights is nan in row 0"),
        (["a"] * 50, "it has to hold numbers"),
        (np.zeros(50), "y holds"),
    ],
)
def test_bad_weights_are_refused(uneven, weights, message):
    X, y, _ = uneven
    with pytest.raises(ValueError, match=message):
        fit_map(X, y, 1.0, weights=weights)


@pytest.mark.parametrize("memory", [None, 2000])
def test_the_split_about_the_nearest_gaussian_is_exact(uneven, memory):
    X, y, weights = uneven
    precision = np.array([PRIOR_SCALE**-2] * 3 + [BIAS_SCALE**-2])
    found = variational.fit(X, y, precision, memory=memory, weights=weights)
    with rows.exactly():
        target = variational.Target.of(found)
        z = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
        remainder, slope = map(np.asarray, target(z))
    theta = found.mean + z.T @ found.spread.T
    value = np.array([-log_joint(each, X, y, weights) for each in theta])
    ours = remainder + 0.5 * np.sum(z**2, axis=0)
    np.testing.assert_allclose(ours - ours[0], value - value[0], atol=2e-3)
    step = 1e-2 * np.eye(4, dtype=np.float32)[:, :1]
    with rows.exactly():
        change = np.asarray(target(z + step)[0]) - np.asarray(target(z - step)[0])
    np.testing.assert_allclose(slope[0], change / 2e-2, atol=5e-3)


def test_the_nearest_gaussian_of_weighted_rows_is_that_of_repeated_ones(data):
    X, y, weights, X_repeated, y_repeated = data
    precision = np.append(np.full(X.shape[1], PRIOR_SCALE**-2), BIAS_SCALE**-2)
    ours = variational.fit(X, y, precision, tolerance=1e-4, weights=weights)
    theirs = variational.fit(X_repeated, y_repeated, precision, tolerance=1e-4)
    assert ours.elbo == pytest.approx(theirs.elbo, abs=1e-3)
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=2e-3)
    np.testing.assert_allclose(
        ours.spread @ ours.spread.T, theirs.spread @ theirs.spread.T, atol=1e-3
    )


def test_many_weighted_rows_start_from_a_sample():
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((400, 2)), rng.integers(1, 4, 400).astype(float)
    y = (X[:, 0] + rng.standard_normal(400) > 0).astype(float)
    repeats = np.repeat(np.arange(400), weights.astype(int))
    precision = np.array([1.0, 1.0, 0.0])
    ours = variational.fit(X, y, precision, tolerance=1e-4, weights=weights)
    theirs = variational.fit(X[repeats], y[repeats], precision, tolerance=1e-4)
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-3)


def test_the_potential_of_nuts_is_exact(uneven):
    X, y, weights = uneven
    fit = laplace(X, y, PRIOR_SCALE, BIAS_SCALE, weights=weights)
    data = whitened_data(fit, X, weights)
    z = np.zeros((5, 16), np.float32)
    z[:, :4] = np.random.default_rng(0).standard_normal((5, 4))
    value = [-log_joint(fit.colour(each[:4].astype(float)), X, y, weights) for each in z]
    ours = np.array([potential(each, data) for each in z])
    np.testing.assert_allclose(ours - ours[0], np.array(value) - value[0], atol=1e-3)


def test_draws_of_weighted_rows_are_those_of_repeated_rows(data):
    X, y, weights, X_repeated, y_repeated = data
    precision = np.append(np.full(X.shape[1], PRIOR_SCALE**-2), BIAS_SCALE**-2)
    ours = hmc.sample(X, y, precision, 50, 8, weights=weights).flat
    theirs = hmc.sample(X_repeated, y_repeated, precision, 50, 8).flat
    error = theirs.std(axis=0) / np.sqrt(400 / 4)
    np.testing.assert_array_less(np.abs(ours.mean(0) - theirs.mean(0)), 4 * error)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.3)
    fit = laplace(X, y, PRIOR_SCALE, BIAS_SCALE, weights=weights)
    found = nuts.sample(fit, X, 200, 100, 2, 0, weights=weights).flat
    found = found[:, :-1] @ fit.subspace.lower(X).T + found[:, -1:]  # log odds of the rows
    theirs = theirs[:, :-1] @ X.T + theirs[:, -1:]
    error = theirs.std(axis=0) / np.sqrt(400 / 4)
    np.testing.assert_array_less(np.abs(found.mean(0) - theirs.mean(0)), 4 * error)
    target = variational.Target.of(variational.fit(X, y, precision, weights=weights))
    assert importance.resample(target, 50, 0)[1] < importance.RELIABLE


def test_a_checkpoint_belongs_to_its_weights(tmp_path, uneven, monkeypatch):
    X, y, weights = uneven
    precision = np.array([1.0, 1.0, 1.0, 0.0])
    path = tmp_path / "run.safetensors"

    def stopped(self, draws, kept, progress):
        self.trace = [self.advance(5)]
        kept.save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hmc.Sampler, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            hmc.sample(X, y, precision, 20, 4, checkpoint=path, weights=weights)
    with pytest.raises(ValueError, match="other data"):
        hmc.sample(X, y, precision, 20, 4, checkpoint=path, weights=2 * weights)
