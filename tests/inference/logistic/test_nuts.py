"""NUTS against quadrature, Laplace on much data, plain NumPyro, and exact invariances."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import expit, log_expit

from elkutils.inference.diagnostics import diagnose
from elkutils.inference.logistic import laplace, nuts
from elkutils.inference.logistic.whitened import potential, whitened_data


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)


def sample(X, y, prior_scale=1.0, draws=2000, seed=0, **more):
    return nuts.sample(
        laplace(X, y, prior_scale, **more), X, draws=draws, warmup=200, chains=4, seed=seed
    )


def within_error(theta, expected_mean, expected_sd, z=5.0):
    """Assert that means and sds agree to `z` Monte Carlo standard errors."""
    found = diagnose(theta)
    draws = theta.reshape(-1, theta.shape[-1])
    error = z / np.sqrt(np.minimum(found.ess_bulk, found.ess_tail))
    assert np.all(np.abs(draws.mean(0) - expected_mean) < error * expected_sd)
    assert np.all(np.abs(draws.std(0) / expected_sd - 1) < error)


def quadrature(X, y, prior_scale):
    """Mean and sd of the weight and of a flat bias, for one feature."""
    w, b = np.meshgrid(np.linspace(-7, 9, 801), np.linspace(-8, 9, 801), indexing="ij")
    log_p = -0.5 * (w / prior_scale) ** 2
    for x, label in zip(X[:, 0], y, strict=True):
        log_p += log_expit((2 * label - 1) * (w * x + b))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = np.array([(p * w).sum(), (p * b).sum()])
    return mean, np.sqrt([(p * (w - mean[0]) ** 2).sum(), (p * (b - mean[1]) ** 2).sum()])


@pytest.mark.parametrize("seed", range(3))
def test_one_feature_posterior_by_quadrature(seed):
    """Ten rows: far from normal, so Laplace's mean and sd would fail here."""
    X, y = make(10, 1, seed)
    theta = sample(X, y, 1.5, draws=4000, seed=seed).theta
    within_error(theta, *quadrature(X, y, 1.5))


def test_the_jitter_of_the_step_does_not_widen_the_posterior():
    """Drawn from the momentum's key, it made the sd a hundredth too large."""
    X, y = make(10, 1, 0)
    mean, sd = quadrature(X, y, 1.5)
    fit = laplace(X, y, 1.5)
    theta = nuts.sample(fit, X, draws=500, warmup=300, chains=512, seed=0).theta
    each = ((theta - mean) ** 2).mean(axis=1) / sd**2  # of every chain, independent
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
    assert np.all(error < 0.01)  # of the variance, so half as much of the sd
    assert np.all(np.abs(each.mean(axis=0) - 1) < 4 * error)


def test_much_data_make_laplace_right():
    X, y = make(10_000, 5, seed=1)
    fit = laplace(X, y, 1.0)
    sd = np.sqrt(np.diag(np.linalg.inv(fit.factor @ fit.factor.T)))
    within_error(sample(X, y).theta, fit.mean, sd)


def test_float32_is_enough():
    """The potential's gradient in float32 against float64, over the typical set."""
    X, y = make(2000, 50, seed=2)
    X = 1e3 * X + 1e4
    fit = laplace(X, y, 1.0)
    data = whitened_data(fit, X)
    rng = np.random.default_rng(0)
    import jax

    for z in rng.standard_normal((5, 51)):
        theta = fit.colour(z)
        residual = y - expit(X @ theta[:-1] + theta[-1])
        gradient = np.append(theta[:-1] - X.T @ residual, -residual.sum())
        exact = np.linalg.solve(fit.factor, gradient)
        found = np.asarray(jax.grad(potential)(z.astype(np.float32), data))[:51]
        assert np.abs(found - exact).max() < 1e-3


def test_the_mode_has_no_gradient_and_padding_does_not_show():
    X, y = make(70, 3, seed=3)
    data = whitened_data(laplace(X, y, 1.0), X)
    assert data.basis.shape == (128, 16)
    assert not np.asarray(data.basis)[70:].any()
    assert float(potential(np.zeros(16, np.float32), data)) == 0


def test_same_seed_same_draws_and_blocks_do_not_show():
    X, y = make(40, 2, seed=4)
    first, again = sample(X, y, draws=70), sample(X, y, draws=70)
    np.testing.assert_array_equal(first.theta, again.theta)
    np.testing.assert_array_equal(sample(X, y, draws=30).theta, first.theta[:, :30])
    assert not np.array_equal(sample(X, y, draws=70, seed=1).theta, first.theta)


def test_chains_are_well_and_the_program_is_reused():
    X, y = make(60, 8, seed=5)
    sample(X, y)
    programs = nuts.compiled.cache_info().misses
    chains = sample(*make(63, 9, seed=6))
    assert nuts.compiled.cache_info().misses == programs
    found = diagnose(chains.theta, chains.stats["diverging"])
    assert found.converged, found
    assert chains.details["seconds"]["compiling"] < 0.5
    assert chains.stats["tree_depth"].max() < 8


def test_interrupted_sampling_leaves_nothing_behind(monkeypatch):
    X, y = make(40, 2, seed=7)
    before = sample(X, y, draws=60).theta

    class Interrupt:
        def __init__(self, **_): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def update(self, _):
            raise KeyboardInterrupt

    monkeypatch.setattr(nuts, "tqdm", Interrupt)
    with pytest.raises(KeyboardInterrupt):
        sample(X, y, draws=60)
    monkeypatch.undo()
    np.testing.assert_array_equal(sample(X, y, draws=60).theta, before)


def test_progress_shows(capfd):
    X, y = make(40, 2, seed=8)
    fit = laplace(X, y, 1.0)
    nuts.sample(fit, X, draws=60, warmup=200, chains=4, seed=0, progress=True)
    shown = capfd.readouterr().err
    assert "260/260" in shown
    assert "divergences=0" in shown


def test_parallel_devices_draw_the_same_posterior():
    script = """
import numpy as np, jax
from elkutils.inference.logistic import nuts
from elkutils.inference.logistic import laplace
from elkutils.inference.logistic.whitened import potential, whitened_data
assert jax.local_device_count() == 2
rng = np.random.default_rng(0)
X = rng.standard_normal((50, 3)); y = (X[:, 0] + rng.standard_normal(50) > 0) * 1.0
fit = laplace(X, y, 1.0)
chains = nuts.sample(fit, X, draws=2000, warmup=200, chains=4, seed=0)
print(*chains.theta.mean((0, 1)))
"""
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    out = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    ).stdout
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    y = (X[:, 0] + rng.standard_normal(50) > 0) * 1.0
    theta = sample(X, y, seed=1).theta.reshape(-1, 4)
    # both means have standard error about sd/√5000
    np.testing.assert_array_less(
        np.abs(np.array(out.split(), float) - theta.mean(0)), 0.1 * theta.std(0)
    )


def test_diagnostics_see_a_stuck_chain():
    rng = np.random.default_rng(0)
    good = rng.standard_normal((4, 1000, 3))
    assert diagnose(good).converged
    stuck = good.copy()
    stuck[0, :, 1] += 1
    found = diagnose(stuck)
    assert not found.converged
    assert found.worst["rhat"] > 1.05
    assert np.argmax(found.rhat) == 1
    assert not diagnose(good, np.eye(4, 1000, dtype=bool)).converged
    assert "want < 1.01" in str(found)
    with pytest.raises(ValueError, match="shape"):
        diagnose(good[0])
