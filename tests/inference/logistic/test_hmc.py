"""Split HMC and its Gaussian against quadrature, NUTS, importance sampling and invariances."""

import numpy as np
import pytest
from scipy.special import expit, log_expit

from elkutils.inference.diagnostics import diagnose
from elkutils.inference.logistic import hmc, importance, laplace, nuts, rows, variational
from elkutils.inference.logistic.variational import Target


def make(n, d, seed, power=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.arange(1, d + 1.0) ** -power
    return X, (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)


def precision(d, prior_scale=1.0, bias_scale=np.inf):
    return np.append(np.full(d, prior_scale**-2.0), bias_scale**-2.0)


def sample(X, y, prior_scale=1.0, draws=300, seed=0, **more):
    return hmc.sample(X, y, precision(X.shape[1], prior_scale), draws, seed=seed, **more)


def errors(theta, mean, sd):
    """Errors of mean and sd in Monte Carlo standard errors, and in posterior sds."""
    found = diagnose(theta)
    draws = theta.reshape(-1, theta.shape[-1])
    size = np.sqrt(np.minimum(found.ess_bulk, found.ess_tail))
    return size * (draws.mean(0) - mean) / sd, size * (draws.std(0) / sd - 1)


@pytest.mark.parametrize("seed", range(3))
def test_one_feature_posterior_by_quadrature(seed):
    """Ten rows, far from normal: mean, sd and the 5% and 95% quantiles."""
    X, y = make(10, 1, seed)
    w, b = np.meshgrid(np.linspace(-7, 9, 801), np.linspace(-8, 9, 801), indexing="ij")
    log_p = -0.5 * (w / 1.5) ** 2
    for x, label in zip(X[:, 0], y, strict=True):
        log_p += log_expit((2 * label - 1) * (w * x + b))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = np.array([(p * w).sum(), (p * b).sum()])
    sd = np.sqrt([(p * (w - mean[0]) ** 2).sum(), (p * (b - mean[1]) ** 2).sum()])
    theta = sample(X, y, 1.5, draws=1000, seed=seed).theta
    for error in errors(theta, mean, sd):
        assert np.abs(error).max() < 4.5
    below = np.cumsum(p.sum(1)) - 0.5 * p.sum(1)
    for level in (0.05, 0.95):
        quantile = np.interp(level, below, w[:, 0])
        found = np.mean(theta[..., 0] < quantile)
        size = diagnose(theta).worst["ess_tail"]
        assert abs(found - level) < 4.5 * np.sqrt(0.05 * 0.95 / size)


def test_agrees_with_nuts_where_rows_are_few_and_labels_separable():
    X, y = make(60, 20, seed=1)
    fit = laplace(X, y, 0.5)
    long = nuts.sample(fit, X, draws=4000, warmup=500, chains=4, seed=0).theta
    reference = long.reshape(-1, 21)
    theta = sample(X, y, 0.5, draws=2000).theta
    for error in errors(theta, reference.mean(0), reference.std(0)):
        assert np.abs(error).max() < 6  # the reference errs too, by about as much again


def test_target_is_the_posterior():
    """The energy of the split against the log posterior itself, over the typical set."""
    X, y = make(2000, 50, seed=2)
    X = 1e3 * X + 1e3
    prior = precision(50, 1e-3)
    fit = variational.fit(X, y, prior)
    z = np.random.default_rng(0).standard_normal((20, 51)).astype(np.float32)
    with rows.exactly():
        value, slope = (np.asarray(part).T for part in Target.of(fit)(z.T))
    theta = fit.mean + z @ fit.spread.T
    log_odds = theta[:, :-1] @ X.T + theta[:, -1:]
    signs = 1 - 2 * y
    exact = np.logaddexp(0, signs * log_odds).sum(1) + 0.5 * (prior * theta**2).sum(1)
    found = value + 0.5 * (z.astype(float) ** 2).sum(1)
    assert np.ptp(found - exact) < 2e-3
    gradient = ((expit(log_odds) - y) @ np.column_stack([X, np.ones(2000)])) + prior * theta
    assert np.abs(slope + z - gradient @ fit.spread).max() < 2e-3


def test_invariances():
    """Turned features, permuted rows: the same posterior, up to Monte Carlo error."""
    X, y = make(80, 6, seed=3)
    rng = np.random.default_rng(0)
    turn, order = np.linalg.qr(rng.standard_normal((6, 6)))[0], rng.permutation(80)
    plain = sample(X, y, draws=1000).theta
    mean, sd = plain.reshape(-1, 7).mean(0), plain.reshape(-1, 7).std(0)
    turned = sample(X @ turn, y, draws=1000, seed=1).theta
    turned[..., :-1] = turned[..., :-1] @ turn.T
    permuted = sample(X[order], y[order], draws=1000, seed=2).theta
    for theta in (turned, permuted):
        for error in errors(theta, mean, sd):
            assert np.abs(error).max() < 6


def test_without_data_the_prior_comes_back():
    X, y = make(5, 3, seed=4)
    found = hmc.sample(1e-8 * X, y, precision(3, 2.0, 0.01), 2000, seed=0).theta
    for error in errors(found, 0, np.array([2, 2, 2, 0.01])):
        assert np.abs(error).max() < 4.5


def test_separable_data_under_a_loose_prior_say_so():
    X, y = make(40, 60, seed=5)
    with pytest.raises(hmc.NotSettled, match="the Gaussian fit"):
        sample(X, y, prior_scale=1e6)


SEPARABLE = (
    np.array([[-2.0], [-1.0], [-0.5], [0.7], [1.0], [3.0]]),
    np.array([0, 0, 0, 1, 1, 1]),
)


@pytest.mark.parametrize("prior_scale", [3.0, 30.0])
def test_separable_rows_by_quadrature_where_the_gaussian_is_far_too_narrow(prior_scale):
    X, y = SEPARABLE
    reach = 6 * prior_scale
    w, b = np.meshgrid(np.linspace(-5, reach, 3001), np.linspace(-reach, reach, 3001))
    log_p = -0.5 * (w / prior_scale) ** 2
    for x, label in zip(X[:, 0], y, strict=True):
        log_p += log_expit((2 * label - 1) * (w * x + b))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = np.array([(p * w).sum(), (p * b).sum()])
    sd = np.sqrt([(p * (w - mean[0]) ** 2).sum(), (p * (b - mean[1]) ** 2).sum()])
    found = sample(X, y, prior_scale, draws=1000, chains=8)
    assert diagnose(found.theta).converged
    assert found.details["widened"] >= 1
    for error in errors(found.theta, mean, sd):
        assert np.abs(error).max() < 4.5


def test_rows_near_a_gaussian_are_neither_widened_nor_thinned():
    details = sample(*make(300, 30, seed=6), chains=8, draws=250).details
    assert (details["widened"], details["apart"]) == (0, 1)


def test_a_run_that_stays_slow_is_thinned_and_then_warns(monkeypatch):
    X, y = SEPARABLE
    monkeypatch.setattr(hmc, "MOST_WIDENED", 0)
    monkeypatch.setattr(hmc, "MOST_APART", 2)
    with pytest.warns(RuntimeWarning, match="effective draws after 2 moves per draw"):
        found = sample(X, y, 30.0, draws=200, chains=4)
    assert found.theta.shape == (4, 200, 2)
    assert found.details["apart"] == 2
    monkeypatch.setattr(hmc, "MOST_APART", 64)
    thinned = sample(X, y, 3.0, draws=200, chains=4)
    assert thinned.details["apart"] > 1
    assert np.all(np.diff(thinned.theta[..., 0], axis=1).std(axis=1) > 0)


def test_chains_are_well_and_pilots_are_recorded():
    found = sample(*make(300, 30, seed=6), chains=16, draws=500)
    judged = diagnose(found.theta)
    assert judged.converged, judged
    assert found.details["steps"] in [pilot.steps for pilot in found.details["pilots"]]
    assert found.stats["n_steps"].shape == found.stats["energy"].shape == (16, 500)


@pytest.mark.parametrize("chains", [4, 16])
def test_pilots_of_few_chains_do_not_choose_by_luck(chains):
    """One gradient accepts .59 here, two .89: no seed is to take the first for the better."""
    X, y = make(100, 80, seed=0)
    for seed in range(60):
        found = sample(X, y, prior_scale=0.2, draws=32, chains=chains, seed=seed)
        assert found.stats["acceptance_rate"].mean() > 0.75, (seed, found.details["pilots"])


def test_same_seed_same_draws():
    X, y = make(40, 2, seed=7)
    first = sample(X, y, draws=70).theta
    np.testing.assert_array_equal(first, sample(X, y, draws=70).theta)
    assert not np.array_equal(first, sample(X, y, draws=70, seed=1).theta)


def test_streamed_rows_give_the_same_draws(tmp_path):
    """A memory map read in blocks against the same rows in memory, to float32's rounding."""
    X, y = make(700, 5, seed=8)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    stored = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = sample(X.astype(np.float32), y, draws=40)
    blocks = sample(stored, y, draws=40, memory=16 * 6 * 100)
    assert blocks.details["steps"] == whole.details["steps"]
    assert np.abs(blocks.theta - whole.theta).max() < 1e-3 * whole.theta.std()


def test_importance_corrects_the_gaussian():
    X, y = make(200, 4, seed=9)
    target = Target.of(variational.fit(X, y, precision(4), tolerance=1e-6))
    z, k = importance.resample(target, draws=4000, seed=0)
    assert k < 0.7
    long = sample(X, y, draws=2000).theta.reshape(-1, 5)
    fit = variational.fit(X, y, precision(4), tolerance=1e-6)
    theta = fit.mean + z @ fit.spread.T
    assert np.abs((theta.mean(0) - long.mean(0)) / long.std(0)).max() < 5 / np.sqrt(3000)
    assert np.abs(theta.std(0) / long.std(0) - 1).max() < 5 / np.sqrt(2 * 3000)


def test_elbo_is_below_the_evidence_and_near_it():
    """One feature and a proper bias: the evidence by quadrature."""
    X, y = make(30, 1, seed=10)
    grid = np.linspace(-8, 8, 1201)
    w, b = np.meshgrid(grid, grid, indexing="ij")
    log_p = -0.5 * (w**2 + b**2) - np.log(2 * np.pi)
    for x, label in zip(X[:, 0], y, strict=True):
        log_p += log_expit((2 * label - 1) * (w * x + b))
    evidence = np.log(np.exp(log_p).sum() * (grid[1] - grid[0]) ** 2)
    elbo = variational.fit(X, y, precision(1, 1.0, 1.0), tolerance=1e-9).elbo
    assert evidence - 0.05 < elbo < evidence


class Interrupted(Exception):
    """What stops a run in these tests."""


def test_an_interrupted_run_resumes_to_the_same_draws(tmp_path, monkeypatch):
    X, y = make(60, 4, seed=11)
    path = tmp_path / "chains.safetensors"
    whole = sample(X, y, draws=100).theta
    save = hmc.Checkpoint.save

    def stop_after_two(self, sampler):
        save(self, sampler)
        if len(sampler.trace) == 2:
            raise Interrupted

    monkeypatch.setattr(hmc.Checkpoint, "save", stop_after_two)
    with pytest.raises(Interrupted):
        sample(X, y, draws=100, checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="other data or settings"):
        sample(X, y, draws=100, seed=1, checkpoint=path)
    again = sample(X, y, draws=100, checkpoint=path)
    np.testing.assert_array_equal(again.theta, whole)
    assert not path.exists()
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        sample(X, y, draws=100, checkpoint=path)


def test_a_widened_run_resumes_to_the_same_draws(tmp_path, monkeypatch):
    X, y = SEPARABLE
    path = tmp_path / "chains.safetensors"
    whole = sample(X, y, 30.0, draws=200, chains=4)
    assert whole.details["widened"]
    save = hmc.Checkpoint.save

    def stop_once_widened(self, sampler):
        save(self, sampler)
        if sampler.widened and len(sampler.trace) == 2:
            raise Interrupted

    monkeypatch.setattr(hmc.Checkpoint, "save", stop_once_widened)
    with pytest.raises(Interrupted):
        sample(X, y, 30.0, draws=200, chains=4, checkpoint=path)
    monkeypatch.undo()
    again = sample(X, y, 30.0, draws=200, chains=4, checkpoint=path)
    np.testing.assert_array_equal(again.theta, whole.theta)


def test_progress_shows_draws_and_effective_draws(capsys):
    sample(*make(60, 4, seed=12), draws=64, progress=True)
    shown = capsys.readouterr().err
    assert "64/64" in shown
    assert "ess=" in shown
