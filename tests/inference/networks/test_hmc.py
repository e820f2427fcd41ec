"""HMC of networks: quadrature, the linear posterior, the prior, calibration and pilots."""

import jax
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, kstest, norm

from elkutils.checkpoint import Checkpoint
from elkutils.inference.diagnostics import diagnose
from elkutils.inference.networks import hmc
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_odds
from elkutils.reporters import BayesianLogistic


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("steps", [1, 32], ids="steps {}".format)
def test_a_linear_head_against_quadrature(steps, separable, quadrature):
    """Ten rows, far from normal: mean and sd of weight and bias, whatever the trajectory."""
    X, y = make(10, 1, 0)
    if separable:
        y = (X[:, 0] > 0).astype(float)
    mean, sd = quadrature(X, y)
    head = MLP(weight_scale=1.5)
    draws = 600 if steps < 3 else 200
    found = hmc.sample(head, X, y, draws=draws, chains=20, steps=steps)
    assert np.all(found.stats["n_steps"] <= steps)
    assert found.stats["acceptance_rate"].mean() > 0.7
    ((weights, biases),) = found.parameters
    theta = np.stack([weights[..., 0, 0], biases[..., 0]], axis=-1)
    quality = diagnose(theta)
    error = 4.5 / np.sqrt(np.minimum(quality.ess_bulk, quality.ess_tail))
    draws = theta.reshape(-1, 2)
    assert np.all(np.abs(draws.mean(0) - mean) < error * sd)
    assert np.all(np.abs(draws.std(0) / sd - 1) < error)


def test_linear_head_is_bayesian_logistic_regression():
    """Probabilities agree to five standard errors of both samplers."""
    X, y = make(60, 6, 1)
    head = MLP(weight_scale=0.7 * np.sqrt(6), bias_scale=1.0)
    found = hmc.sample(head, X, y, draws=200, chains=20, steps=8)
    exact = BayesianLogistic(0.7, bias_scale=1.0).fit(X, y)
    new = 2 * make(5, 6, 2)[0]
    ours, theirs = found.sample_proba(new), exact.sample_proba(new)
    assert ours.shape == (4000, 5)
    assert np.all(found.stats["n_steps"] <= 8)
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
    with pytest.warns(RuntimeWarning, match="trust none"):
        found = hmc.sample(MLP((4,)), 1e30 * np.sign(X), y, draws=50, chains=8, steps=16)
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
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=said):
        hmc.sample(MLP(), **arguments)


def test_bad_input_of_many_problems_is_named():
    with pytest.raises(ValueError, match="problems"):
        hmc.sample_each(MLP(), np.ones((4, 2)), np.ones(4))


def test_rotations_lose_no_energy_in_many_dimensions():
    """Rounding of a rotation's sine and cosine alone would lose nats over 260,000 weights."""
    head = MLP((512, 512))
    found = hmc.sample(head, np.zeros((0, 2)), np.zeros(0), 3, 4, 1, thin=5, seed=1)
    assert found.stats["acceptance_rate"].min() > 0.98
    run = hmc._Run.begin(*_without_rows(head), True, 1, 32, 0)
    run.steps = 32
    with hmc.exactly():
        assert run.advance(5)["acceptance_rate"].min() > 0.98


def _without_rows(head):
    reduced, _ = hmc.reduce(head, np.zeros((0, 2), np.float32))
    return reduced, (np.zeros((0, 0), np.float32), np.zeros(0, np.float32))


def test_thinned_draws_are_those_of_the_unthinned_run():
    X, y = make(30, 2, 4)
    whole = hmc.sample(MLP((4,)), X, y, draws=63, warmup=40, chains=3)
    thin = hmc.sample(MLP((4,)), X, y, draws=9, warmup=40, chains=3, thin=7)
    np.testing.assert_array_equal(thin.theta, whole.theta[:, 6::7])
    np.testing.assert_array_equal(thin.stats["energy"], whole.stats["energy"][:, 6::7])
    rates = whole.stats["acceptance_rate"].reshape(3, 9, 7).mean(axis=2)
    np.testing.assert_allclose(thin.stats["acceptance_rate"], rates)
    np.testing.assert_array_equal(thin.stats["n_steps"], 7 * whole.stats["n_steps"][:, 6::7])


def test_energy_is_the_negative_log_posterior():
    X, y = make(30, 2, 4)
    head = MLP((4,), weight_scale=2.0, bias_scale=0.5)
    found = hmc.sample(head, X, y, draws=20, warmup=20, chains=2)
    said = found.log_odds(X).astype(np.float64)
    loss = np.logaddexp(0, np.where(y == 1, -said, said)).sum(axis=2)
    white = 0.5 * ((found.theta / found.head.scales) ** 2).sum(axis=2)
    np.testing.assert_allclose(found.stats["energy"], loss + white, rtol=1e-5)


def test_an_interrupted_run_continues_to_the_same_draws(tmp_path, monkeypatch):
    X, y = make(20, 30, 6)
    path = tmp_path / "run.safetensors"

    def go(checkpoint=path, seed=3):
        arguments = {"draws": 50, "warmup": 60, "chains": 4, "thin": 3, "seed": seed}
        return hmc.sample(MLP((4,)), X, y, checkpoint=checkpoint, **arguments)

    whole, save = go(None), Checkpoint.save

    def stop(self, run):
        save(self, run)
        if run.done >= 40:
            raise InterruptedError

    monkeypatch.setattr(hmc, "WRITING", 0)
    monkeypatch.setattr(Checkpoint, "save", stop)
    with pytest.raises(InterruptedError):
        go()
    monkeypatch.setattr(Checkpoint, "save", save)
    with pytest.raises(ValueError, match="other data or settings"):
        go(seed=4)
    again = go()
    np.testing.assert_array_equal(again.theta, whole.theta)
    for name, values in whole.stats.items():
        np.testing.assert_array_equal(again.stats[name], values)
    del whole.details["seconds"], again.details["seconds"]
    np.testing.assert_equal(again.details, whole.details)
    assert not path.exists()


def test_stuck_chains_are_named():
    X, y = make(30, 2, 5)
    with pytest.warns(RuntimeWarning, match="chains 0, 1.* accepted 0%") as said:
        hmc.sample(MLP((4,)), 1e30 * np.sign(X), y, draws=20, warmup=20, chains=2)
    assert said[0].filename == __file__


@pytest.mark.parametrize(
    ("found", "chosen"), [((0.5, 0.48, 0.4), 1), ((0.5, 0.4, 0.49), 2), ((0.5, 0.4, 0.3), 0)]
)
def test_pilots_choose_the_shortest_trajectory_that_is_nearly_best(found, chosen, monkeypatch):
    X, y = make(30, 2, 4)
    said = iter(found)
    monkeypatch.setattr(hmc, "efficiency", lambda log_odds, positions: next(said))
    details = hmc.sample(MLP((4,)), X, y, draws=1, warmup=60, chains=8).details
    tried = [steps for steps, _ in details["pilots"]]
    assert tried[1:] == [-(-tried[0] // 2), -(-tried[1] // 2)]
    assert details["steps"] == tried[chosen]
    np.testing.assert_allclose(
        details["angle"], details["step_size"].mean() * tried[chosen] * 0.75, rtol=1e-6
    )


def test_efficiency_is_that_of_an_autoregression():
    rng = np.random.default_rng(0)
    trace = np.empty((4000, 20, 3))
    trace[0] = rng.standard_normal((20, 3))
    for i in range(1, len(trace)):
        trace[i] = 0.6 * trace[i - 1] + 0.8 * rng.standard_normal((20, 3))
    other = -trace * (-1.0) ** np.arange(4000)[:, None, None]  # ρ = −0.6, of squares 0.36
    for found, rho in (
        ((trace, other), 0.6),
        ((other, other), 0.36),
        ((other, trace), 0.6),
        ((other[::5], other), 0.0),
    ):
        assert abs(hmc.efficiency(*found) - (1 - rho) / (1 + rho)) < 0.06
