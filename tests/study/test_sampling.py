"""Draws through the reporter's fit are calibrated; the rules on draws have power."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.linalg import orth
from scipy.special import expit

from elkutils.inference.logistic import sbc
from elkutils.ledger import Criterion, claims
from elkutils.reporters import BayesianLogistic
from elkutils.study import sampling, timings


@pytest.mark.parametrize(("n", "d"), [(20, 4), (8, 12)])
def test_the_reporter_is_calibrated(n, d):
    made = sbc.simulate(sbc.normal_designs(80, n, d, 0), 0.7, 1.0, 1)
    made = sampling.two_classes(made)
    draws = sampling.draw_by_fit(made, 0.7, 1.0, draws=99, seed=2)
    assert draws.shape == (len(made.y), 99, d + 1)
    found = sbc.judge(made, sbc.posteriors(made, 0.7, 1.0), draws)
    assert found.p_value > 0.001


def test_one_class_is_left_out_and_refused():
    X, theta = np.ones((2, 3, 1)), np.zeros((2, 2))
    data = sbc.Simulation(theta, X, np.array([[0, 0, 0], [0, 1, 0]]))
    assert len(sampling.two_classes(data).y) == 1
    with pytest.raises(ValueError, match="replication 0 has one class"):
        sampling.draw_by_fit(data, 1.0, 1.0)


def test_convergence_rules_pass_independent_draws_and_no_stuck_ones():
    rules = claims()["C3"].criteria
    found = sampling.convergence_controls(rules["R-hat"], rules["ESS"], 8, 400, 20, pool=40)
    for positive, negative in found.values():
        assert positive.rate > 0.9
        assert negative.rate < 0.1


def test_means_of_chains_agree_with_the_reporter():
    X, y, scale = timings.synthetic_activations(40, 5)
    found = sampling.chain_means(X, y, X[:7], scale, draws=50, chains=4, seed=1)
    reporter = BayesianLogistic(scale, draws=50, chains=4, seed=1).fit(X, y)
    assert found.shape == (4, 7)
    assert found.mean(axis=0) == pytest.approx(reporter.predict_proba(X[:7])[:, 1])


def test_halves_of_one_sampler_agree_and_those_of_another_do_not():
    rng = np.random.default_rng(0)
    rule = Criterion("gap", "below", 0.02, "")
    same = [rng.normal(0.5, 0.003, (8, 30)) for _ in range(2)]
    other = [rng.normal(0.55, 0.003, (8, 30)) for _ in range(2)]
    positive, negative = sampling.agreement_controls(rule, same, other)
    assert positive.rate > 0.9
    assert negative.passes == 0


def test_ranks_of_a_draw_pass_and_those_of_another_prior_do_not():
    made = sbc.simulate(sbc.normal_designs(200, 10, 6, 0), 1.0, 0.5, 1)
    found = sbc.posteriors(made, 1.0, 0.5)
    right = sbc.compare(made, found, sbc.draw_each(made, found, "hmc", 99, 2))
    wide = sbc.posteriors(made, 2.0, 0.5)
    wrong = sbc.compare(made, found, sbc.draw_each(made, wide, "hmc", 99, 3))
    rule = claims()["C3"].criteria["SBC"]
    positive, negative = sampling.sbc_controls(rule, right, wrong)
    assert positive.rate > 0.9
    assert negative.rate < 0.1


def test_planted_times():
    rules = claims()["C3"].criteria
    times = {(n, d): [1.0, 1.1, 0.9] for n in (1, 2, 4) for d in (1, 2, 4)}
    for positive, negative in (
        sampling.time_controls(rules["time"]),
        sampling.growth_controls(rules["growth"], times),
    ):
        assert positive.rate > 0.9
        assert negative.rate < 0.1


def test_parts_are_rows_of_the_same_features():
    X = np.arange(20.0).reshape(5, 4)
    found = sampling.parts(X, 30, 3, 2, np.random.default_rng(0))
    assert found.shape == (30, 3, 2)
    columns = {tuple(design.min(axis=0) % 4) for design in found}
    assert len(columns) == 1
    assert len({tuple(design[:, 0]) for design in found}) > 1
    assert all(len(set(design[:, 0])) == 3 for design in found)
    assert sampling.parts(X, 1, 9, 2, np.random.default_rng(0)).shape == (1, 5, 2)
    with pytest.raises(ValueError, match="features is 5"):
        sampling.parts(X, 1, 3, 5, np.random.default_rng(0))


def test_coordinates_keep_the_log_odds_of_training_rows():
    X, y, scale = timings.synthetic_activations(8, 12)
    reporter = BayesianLogistic(scale, draws=20, chains=4).fit(X, y)
    found = sampling.coordinates(reporter, X)
    assert found.shape == (4, 20, np.linalg.matrix_rank(X) + 1)
    log_odds = found[..., :-1] @ (X @ orth(X.T)).T + found[..., -1:]
    exact = reporter.coef_draws_ @ X.T + reporter.intercept_draws_[:, None]
    np.testing.assert_allclose(log_odds.reshape(exact.shape), exact, atol=1e-5)  # float32


def test_plain_nuts_agrees_with_the_reporter():
    def model(X, y, prior_scale):
        w = numpyro.sample("w", dist.Normal(0, prior_scale).expand([X.shape[1]]).to_event(1))
        b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Bernoulli(logits=X @ w + b), obs=y)

    X, y, scale = timings.synthetic_activations(40, 3)
    log_odds = sampling.PlainNUTS(model, 500).log_odds(X, y, X[:7], scale, seed=1)
    assert log_odds.shape == (4, 500, 7)
    ours = BayesianLogistic(scale, draws=500, seed=1).fit(X, y).predict_proba(X[:7])[:, 1]
    np.testing.assert_allclose(expit(log_odds).mean(axis=(0, 1)), ours, atol=0.03)
