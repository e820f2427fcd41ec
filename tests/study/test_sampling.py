"""Draws through the reporter's fit are calibrated; the rules on draws have power."""

import numpy as np
import pytest

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
