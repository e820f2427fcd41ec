"""HMC and NUTS on heads: quadrature, the linear posterior, the prior, and calibration."""

import jax
import numpy as np
import pytest
from scipy.special import expit, log_expit
from scipy.stats import chi2, kstest, norm

from elkutils.inference.diagnostics import diagnose
from elkutils.inference.networks import hmc
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_odds
from elkutils.reporters import BayesianLogistic


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)


def test_nuts_on_a_linear_head_against_quadrature():
    """Ten rows, far from normal: mean and sd of weight and bias."""
    X, y = make(10, 1, 0)
    w, b = np.meshgrid(np.linspace(-9, 9, 401), np.linspace(-6, 6, 401), indexing="ij")
    log_p = norm.logpdf(w, 0, 1.5) + norm.logpdf(b, 0, 1.0)
    for x, label in zip(X[:, 0], y, strict=True):
        log_p += log_expit((2 * label - 1) * (w * x + b))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = np.array([(p * w).sum(), (p * b).sum()])
    sd = np.sqrt([(p * (w - mean[0]) ** 2).sum(), (p * (b - mean[1]) ** 2).sum()])
    head = MLP(weight_scale=1.5)
    found = hmc.sample(head, X, y, draws=200, chains=20, kernel="nuts")
    ((weights, biases),) = found.parameters
    theta = np.stack([weights[..., 0, 0], biases[..., 0]], axis=-1)
    quality = diagnose(theta)
    error = 4.5 / np.sqrt(np.minimum(quality.ess_bulk, quality.ess_tail))
    draws = theta.reshape(-1, 2)
    assert np.all(np.abs(draws.mean(0) - mean) < error * sd)
    assert np.all(np.abs(draws.std(0) / sd - 1) < error)
    assert found.stats["n_steps"].max() > found.stats["n_steps"].min()


def test_linear_head_is_bayesian_logistic_regression():
    """Probabilities agree to five standard errors of both samplers."""
    X, y = make(60, 6, 1)
    head = MLP(weight_scale=0.7 * np.sqrt(6), bias_scale=1.0)
    found = hmc.sample(head, X, y, draws=200, chains=20, steps=8)
    exact = BayesianLogistic(0.7, bias_scale=1.0).fit(X, y)
    new = 2 * make(5, 6, 2)[0]
    ours, theirs = found.sample_proba(new), exact.sample_proba(new)
    assert ours.shape == (4000, 5)
    assert np.all(found.stats["n_steps"] == 8)
    quality = found.diagnose(new)
    assert quality.worst["rhat"] < 1.02
    error = 5 * theirs.std(0) * np.sqrt(1 / quality.ess_bulk + 1 / 1000)
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < error)


def test_without_data_the_posterior_is_the_prior():
    head = MLP((3,), weight_scale=1.5, bias_scale=0.5)
    found = hmc.sample(head, np.zeros((0, 2)), np.zeros(0), chains=500, draws=2, steps=4)
    x = np.array([[1.0, -2.0]])
    prior = log_odds(head, draw_prior(head, 16_384, 2, seed=7), x)
    # One draw of each chain, so that they are independent.
    assert kstest(found.log_odds(x)[:, -1, 0], prior[:, 0]).pvalue > 0.001
    for layer, fresh in zip(
        found.parameters, (1.5 / np.sqrt(2), 1.5 / np.sqrt(3)), strict=True
    ):
        for part, scale in zip(layer, (fresh, 0.5), strict=True):
            assert kstest(part[:, -1].ravel() / scale, norm.cdf).pvalue > 0.001


def test_predictions_of_a_tiny_net_are_calibrated():
    """Truth from the prior, labels from the truth: its log odds rank uniformly among draws."""
    problems, n, draws = 300, 12, 19
    head = MLP((3,), weight_scale=2.0, bias_scale=1.0)
    rng = np.random.default_rng(3)
    X = rng.standard_normal((problems, n + 1, 2)).astype(np.float32)
    truth = draw_prior(head, problems, 2, seed=1)
    true = np.asarray(jax.jit(jax.vmap(head))(truth, X))
    y = (rng.random((problems, n)) < expit(true[:, :n])).astype(float)
    found = hmc.sample_each(head, X[:, :n], y, draws=draws, steps=16, thin=10)
    drawn = jax.jit(jax.vmap(jax.vmap(head, (0, None))))(found.parameters, X)
    for row in (0, n):  # a statement trained on, and a new one
        ranks = np.sum(drawn[..., row] < true[:, None, row], axis=1)
        counts = np.bincount(ranks * 10 // (draws + 1), minlength=10)
        assert chi2.sf(np.sum((counts - problems / 10) ** 2) / (problems / 10), 9) > 0.001


def test_predictions_say_whether_chains_agree():
    X, y = make(30, 2, 4)
    found = hmc.sample(MLP((4,)), X, y, draws=50, chains=8, steps=16)
    assert found.log_odds(X).shape == (8, 50, 30)
    quality = found.diagnose(X)
    assert quality.rhat.shape == (30,)
    assert quality.worst["rhat"] < 1.1
    again = hmc.sample(MLP((4,)), X, y, draws=50, chains=8, steps=16)
    np.testing.assert_array_equal(again.log_odds(X), found.log_odds(X))


def test_a_sampler_that_has_lost_its_way_says_so():
    X, y = make(30, 2, 5)
    found = hmc.sample(MLP((4,)), 3e38 * np.sign(X), y, draws=50, chains=8, steps=16)
    quality = diagnose(found.log_odds(X) + np.arange(50)[:, None], found.stats["diverging"])
    assert quality.divergences > 0
    assert not quality.converged


def test_progress_shows(capfd):
    X, y = make(30, 2, 4)
    hmc.sample(MLP((4,)), X, y, draws=50, chains=8, steps=16, progress=True)
    assert "350/350" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.full((4, 2), np.nan)}, "X holds NaN"),
        ({"X": np.zeros(4)}, "X has shape"),
        ({"y": np.zeros(3)}, "X has shape"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"draws": 0}, "draws is 0"),
        ({"warmup": 0}, "warmup is 0"),
        ({"chains": 1.5}, "chains is 1.5"),
        ({"steps": 0}, "steps is 0"),
        ({"thin": 0}, "thin is 0"),
        ({"kernel": "gibbs"}, "kernel is 'gibbs'"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=said):
        hmc.sample(MLP(), **arguments)


def test_bad_input_of_many_problems_is_named():
    with pytest.raises(ValueError, match="problems"):
        hmc.sample_each(MLP(), np.ones((4, 2)), np.ones(4))
