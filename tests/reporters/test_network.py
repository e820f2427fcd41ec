"""Bayesian networks: against logistic regression, and what they say of themselves."""

import re

import numpy as np
import pytest
from sklearn.base import clone

from elkutils.checkpoint import Checkpoint
from elkutils.inference.networks import sgmcmc
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
        ("options", 5),
    ],
)
def test_parameters_are_checked(data, name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        BayesianNetwork(**SHORT | {name: value}).fit(*data)
    with pytest.raises(ValueError, match="threshold is None"):
        BayesianNetwork(**SHORT, method="threshold").fit(*data)


COLD = {"temperature": 0.25, "cycles": 5, "step_size": 0.05}


def test_options_reach_the_sampler_and_stay_with_the_reporter(data, tmp_path):
    X, y = data
    reporter = BayesianNetwork(MLP((4,)), "sghmc", **SHORT, options=COLD)
    fit = clone(reporter).fit(X, y)
    assert fit.get_params() == reporter.get_params()
    expected = sgmcmc.sample(MLP((4,)), X, y, 25, 25, 2, 8, **COLD)
    np.testing.assert_array_equal(fit.draws_.theta, expected.theta)
    fit.save(tmp_path / "cold")
    assert load(tmp_path / "cold").get_params() == reporter.get_params()


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("hmc", {"temperature": 0.1}, "options holds 'temperature'; this method takes thin"),
        ("nuts", {"thin": 2}, "takes none"),
        ("sghmc", {"seed": 2}, "options holds 'seed'"),
        ("sgld", {"loss": "squared"}, "options holds 'loss'"),
        ("sghmc", {"temperature": "hot"}, "temperature is 'hot'"),
        ("sghmc", {"cycles": 7}, "cycles is 7 and draws 25"),
        ("sghmc", {"step_size": -1}, "step_size is -1"),
        ("laplace", {"iterations": 0}, "iterations is 0"),
        ("threshold", {"share": 2.0}, "share is 2.0"),
    ],
)
def test_options_are_checked(data, method, options, said):
    reporter = BayesianNetwork(MLP((4,)), method, **SHORT, threshold=0.68, options=options)
    with pytest.raises(ValueError, match=said):
        reporter.fit(*data)


@pytest.mark.parametrize("method", ["sghmc", "sgld"])
def test_a_step_that_is_too_large_is_named(data, method):
    reporter = BayesianNetwork(MLP((4,)), method, **SHORT, options={"step_size": 3.0})
    with (
        pytest.raises(ArithmeticError, match="the largest stable one about"),
        pytest.warns(RuntimeWarning, match="largest that is stable"),
    ):
        reporter.fit(*data)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("method", ["hmc", "sghmc"])
def test_an_interrupted_fit_continues_to_the_same_draws(data, tmp_path, monkeypatch, method):
    path = tmp_path / "fit.safetensors"
    reporter = BayesianNetwork(MLP((4,)), method, **SHORT)
    whole = clone(reporter).fit(*data)
    save = Checkpoint.save

    def stop(self, run):
        save(self, run)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(Stopped):
            reporter.fit(*data, checkpoint=path)
    with pytest.raises(ValueError, match="other data or settings"):
        clone(reporter).set_params(seed=1).fit(*data, checkpoint=path)
    found = reporter.fit(*data, checkpoint=path)
    np.testing.assert_array_equal(found.draws_.theta, whole.draws_.theta)
    assert not path.exists()


@pytest.mark.parametrize("method", ["nuts", "threshold"])
def test_methods_without_a_checkpoint_refuse_one(data, tmp_path, method):
    reporter = BayesianNetwork(MLP((4,)), method, **SHORT, threshold=0.68)
    with pytest.raises(ValueError, match=f"checkpoint is .*method '{method}', which has none"):
        reporter.fit(*data, checkpoint=tmp_path / "fit")


@pytest.mark.parametrize("method", ["hmc", "nuts", "sghmc", "laplace", "threshold"])
@pytest.mark.parametrize(
    ("network", "draws"), [(MLP((1_000_000, 1_000_000)), 10), (MLP((4,)), 10**12)]
)
def test_draws_that_cannot_fit_say_what_they_take(data, method, network, draws):
    reporter = BayesianNetwork(network, method, draws=draws, chains=1, threshold=0.68)
    with pytest.raises(MemoryError, match=re.escape(f"{draws} draws of a net")) as said:
        reporter.fit(*data)
    size = 4 * 1_000_000 + 1_000_000 * 1_000_001 + 1_000_001 if draws == 10 else 21
    assert f"with {size:,} parameters would take {8 * draws * size / 1e9:.3g} GB" in str(
        said.value
    )


def test_draws_are_kept_in_the_precision_of_the_sampler(data, tmp_path):
    fit = BayesianNetwork(MLP((4,)), **SHORT).fit(*data)
    fit.save(tmp_path / "net")
    for reporter in (fit, load(tmp_path / "net")):
        assert reporter.draws_.theta.dtype == np.float32
        assert reporter.sample_proba(data[0]).dtype == np.float64


def test_chains_that_never_move_are_named_at_the_fit(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match="trust none of their draws"):
        BayesianNetwork(MLP((4,)), **SHORT).fit(1e30 * np.sign(X), y)


@pytest.mark.parametrize("method", ["hmc", "nuts", "sghmc"])
def test_inputs_beyond_the_networks_range_are_named(data, method):
    X, y = data
    with pytest.raises(ArithmeticError, match="rescale X, as by z-scoring"):
        BayesianNetwork(MLP((4,)), method, **SHORT).fit(3e38 * np.sign(X), y)
