"""Bayesian networks: against logistic regression, and what they say of themselves."""

import numpy as np
import pytest

from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import BayesianLogistic, BayesianNetwork, load

SHORT = {"draws": 25, "chains": 2, "warmup": 25, "steps": 8}


def test_without_hidden_layers_it_is_bayesian_logistic_regression():
    """Probabilities agree to four Monte Carlo standard errors of both, row by row."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    y = (X[:, 0] + rng.standard_normal(60) > 0).astype(int)
    new = 2 * rng.standard_normal((20, 6))
    network = MLP((), weight_scale=0.7 * np.sqrt(6), bias_scale=1.0)
    ours = BayesianNetwork(network, draws=1000).fit(X, y)
    exact = BayesianLogistic(0.7, bias_scale=1.0, draws=1000).fit(X, y)
    assert ours.diagnostics_.worst["rhat"] < 1.01
    means, errors = [], []
    for fit in (ours, exact):
        quality = fit.draws_.diagnose(new)
        draws = fit.sample_proba(new)
        size = np.minimum(quality.ess_bulk, quality.ess_tail)
        means.append(draws.mean(axis=0))
        errors.append(draws.std(axis=0) / np.sqrt(size))
    assert np.all(np.abs(means[0] - means[1]) < 4 * np.hypot(*errors))
    # and the test could fail: another prior is seen
    other = BayesianLogistic(1.4, bias_scale=1.0, draws=1000).fit(X, y)
    apart = np.abs(means[0] - other.sample_proba(new).mean(axis=0))
    assert np.any(apart > 4 * np.hypot(*errors))


def test_the_defaults_give_a_thousand_effective_draws():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 4))
    y = (np.sin(2 * X[:, 0]) + 0.5 * rng.standard_normal(80) > 0).astype(int)
    fit = BayesianNetwork(MLP((8,))).fit(X, y)
    assert fit.diagnostics_.worst["ess"] > 1000
    assert fit.diagnostics_.worst["rhat"] < 1.01
    assert fit.diagnostics_.rhat.shape == (80,)


def test_inference_data_has_a_variable_per_leaf(data):
    fit = BayesianNetwork(MLP((4,)), **SHORT).fit(*data)
    posterior = fit.idata.posterior
    assert {v: posterior[v].shape for v in posterior} == {
        "theta[0][0]": (2, 25, 3, 4),
        "theta[0][1]": (2, 25, 4),
        "theta[1][0]": (2, 25, 4, 1),
        "theta[1][1]": (2, 25, 1),
    }
    assert fit.idata.sample_stats["n_steps"].shape == (2, 25)


def test_diagnostics_come_back_from_disk(data, tmp_path):
    fit = BayesianNetwork(MLP((4,)), **SHORT).fit(*data)
    fit.save(tmp_path / "net")
    again = load(tmp_path / "net")
    assert str(again.diagnostics_) == str(fit.diagnostics_)
    assert again.idata.posterior.equals(fit.idata.posterior)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "deep"),
        ("method", "gibbs"),
        ("draws", 0),
        ("chains", 1.5),
        ("warmup", 0),
        ("steps", 0),
        ("seed", -1),
    ],
)
def test_parameters_are_checked(data, name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        BayesianNetwork(**SHORT | {name: value}).fit(*data)
    with pytest.raises(ValueError, match="threshold is None"):
        BayesianNetwork(**SHORT, method="threshold").fit(*data)
