"""NumPyro's NUTS on heads: quadrature, the prior, and agreement with our own HMC."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kstest, norm

from elkutils.inference.diagnostics import diagnose
from elkutils.inference.networks import hmc, nuts
from elkutils.inference.networks.mlp import MLP


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)


def test_a_linear_head_against_quadrature(quadrature):
    """Ten rows, far from normal: mean and sd of weight and bias."""
    X, y = make(10, 1, 0)
    mean, sd = quadrature(X, y)
    found = nuts.sample(MLP(weight_scale=1.5), X, y, draws=200, warmup=100, chains=10)
    ((weights, biases),) = found.parameters
    theta = np.stack([weights[..., 0, 0], biases[..., 0]], axis=-1)
    quality = diagnose(theta)
    error = 4.5 / np.sqrt(np.minimum(quality.ess_bulk, quality.ess_tail))
    draws = theta.reshape(-1, 2)
    assert np.all(np.abs(draws.mean(0) - mean) < error * sd)
    assert np.all(np.abs(draws.std(0) / sd - 1) < error)
    assert found.stats["n_steps"].max() > found.stats["n_steps"].min()
    assert found.details["step_size"].shape == (10,)


def test_without_data_the_posterior_is_the_prior():
    head = MLP((3,), weight_scale=1.5, bias_scale=0.5)
    found = nuts.sample(head, np.zeros((0, 2)), np.zeros(0), chains=100, draws=1, warmup=50)
    for layer, fresh in zip(
        found.parameters, (1.5 / np.sqrt(2), 1.5 / np.sqrt(3)), strict=True
    ):
        for part, scale in zip(layer, (fresh, 0.5), strict=True):
            assert kstest(part[:, -1].ravel() / scale, norm.cdf).pvalue > 0.001


@pytest.mark.parametrize("separable", [False, True])
def test_our_hmc_agrees_on_a_small_network(separable):
    """Means of log odds and of their squares, on training rows and off them."""
    X, y = make(20, 2, 1)
    if separable:
        y = (X[:, 0] > 0).astype(float)
    new = np.concatenate([X[:4], 2 * make(6, 2, 2)[0]])
    head = MLP((3,), weight_scale=2.0)
    both = [sampler.sample(head, X, y, 150, 150, chains=10) for sampler in (hmc, nuts)]
    for power in (1, 2):
        means, squared_error = [], 0.0
        for found in both:
            traces = found.log_odds(new) ** power
            quality = diagnose(traces)
            assert quality.worst["rhat"] < 1.05
            means.append(traces.mean(axis=(0, 1)))
            squared_error += traces.var(axis=(0, 1)) / quality.ess_bulk
        assert np.all(np.abs(means[0] - means[1]) < 4.5 * np.sqrt(squared_error))


def test_numpyro_shows_progress_if_asked(monkeypatch):
    X, y = make(30, 2, 4)
    given, made = [], nuts.MCMC
    monkeypatch.setattr(
        nuts, "MCMC", lambda *a, **k: given.append(k["progress_bar"]) or made(*a, **k)
    )
    for progress in (True, False):
        nuts.sample(MLP(), X, y, draws=20, warmup=20, chains=2, progress=progress)
    assert given == [True, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.full((4, 2), np.nan)}, "X holds NaN"),
        ({"X": np.zeros(4)}, "X has shape"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"draws": 0}, "draws is 0"),
        ({"warmup": 0}, "warmup is 0"),
        ({"chains": 1.5}, "chains is 1.5"),
        ({"weights": -np.ones(4)}, "weights is -1.0 in row 0"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=said):
        nuts.sample(MLP(), **arguments)
