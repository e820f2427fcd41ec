"""Rules for acting on draws: what they do, what they cost, what N draws can tell them."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binom

from elkutils.evaluation import (
    cost_threshold,
    decision_cost,
    draws_to_see,
    firing_probability,
    hoeffding_kl,
    hypothesis_level,
    hypothesis_mass,
    hypothesis_rule,
    least_mass,
    least_mean,
    mean_rule,
    miss_probability,
    resolvable_mass,
    value_of_knowing,
    veto,
    votes_needed,
    worst_mean,
)

LEVELS = np.linspace(0.05, 0.95, 10)


@pytest.fixture
def proba():
    return np.random.default_rng(0).beta(0.3, 0.7, (40, 500))


def test_rules_by_hand():
    p = np.array([[0.0, 0.9, 0.2], [0.0, 0.9, 0.2], [0.0, 0.0, 0.2], [1.0, 0.0, 0.2]])
    assert mean_rule(p, 0.25).tolist() == [True, True, False]
    assert hypothesis_rule(p, 0.25, 0.8).tolist() == [True, True, False]
    assert hypothesis_rule(p, 0.5, 0.8).tolist() == [False, True, False]
    assert (
        hypothesis_rule(p, 0.01, 1.0).tolist() == veto(p, 1.0).tolist() == [True, False, False]
    )
    assert veto(p, 0.9, votes=2).tolist() == [False, True, False]
    assert hypothesis_mass(p, 0.2).tolist() == [0.25, 0.5, 1.0]
    assert hypothesis_level(p, 0.5).tolist() == [0.0, 0.9, 0.2]
    assert mean_rule(p[:, 0], 0.25)
    assert hypothesis_level(p[:, 0], 0.25) == 1


@pytest.mark.parametrize("mass", [0.001, 0.07, 0.3, 0.5, 1.0])
def test_mass_and_level_are_two_views_of_one_rule(proba, mass):
    for level in LEVELS:
        fires = hypothesis_rule(proba, mass, level)
        np.testing.assert_array_equal(fires, hypothesis_level(proba, mass) >= level)
        np.testing.assert_array_equal(fires, veto(proba, level, votes_needed(mass, 40)))


def test_votes_needed_does_not_trip_over_rounding():
    draws = np.arange(1, 200)
    for votes in (1, 3, 7, 49):
        fits = draws[draws >= votes]
        np.testing.assert_array_equal(votes_needed(votes / fits, fits), votes)
    assert votes_needed(0.07, 100) == 7
    assert votes_needed(1e-9, 10) == 1


def test_each_rule_bounds_the_other(proba):
    mean = proba.mean(axis=0)
    for level in LEVELS:
        mass = hypothesis_mass(proba, level)
        fired = mass > 0
        assert (mean[fired] >= least_mean(mass[fired], level) - 1e-15).all()
        assert (mass >= least_mass(mean, level) - 1e-15).all()


def test_the_bounds_between_the_rules_are_reached():
    level, mass = 0.6, 0.25
    least = np.where(np.arange(40) < 10, level, 0)
    assert hypothesis_mass(least, level) == mass
    assert least.mean() == pytest.approx(least_mean(mass, level), rel=1e-12)
    most = np.where(np.arange(40) < 10, 1, np.nextafter(level, 0))
    assert hypothesis_mass(most, level) == mass
    assert least_mass(most.mean(), level) == pytest.approx(mass, abs=1e-12)
    assert least_mass(0.5, 0.6) == 0


def test_no_rule_costs_less_than_the_mean_rule_at_the_costs_own_threshold(proba):
    mean = proba.mean(axis=0)
    for false_alarm, miss in ((1, 1), (1, 20), (3, 0.5)):
        best = mean_rule(proba, cost_threshold(false_alarm, miss))
        least = decision_cost(mean, best, false_alarm, miss)
        others = [mean_rule(proba, t) for t in LEVELS]
        others += [hypothesis_rule(proba, a, h) for a in (0.05, 0.3, 0.9) for h in LEVELS]
        assert (decision_cost(mean, np.array(others), false_alarm, miss) >= least).all()
        each = np.minimum(false_alarm * (1 - mean), miss * mean)
        assert least == pytest.approx(each.mean(), rel=1e-12)


def test_costs_of_what_happened():
    y, act = np.array([1, 0, 1, 0]), np.array([True, True, False, False])
    assert decision_cost(y, act, false_alarm=2, miss=10) == (2 + 10) / 4
    weights = np.array([[1, 1, 1, 1], [1, 0, 0, 1]])
    np.testing.assert_array_equal(decision_cost(y, act, 2, 10, weights), [3, 0])
    np.testing.assert_array_equal(cost_threshold([1, 1], [1, 9]), [0.5, 0.1])


def test_what_n_draws_can_miss():
    assert miss_probability(0.1, 20) == pytest.approx(0.9**20, rel=1e-12)
    assert miss_probability(1.0, 1) == 0
    assert draws_to_see(0.01, 0.05) == 299
    assert miss_probability(0.01, 299) <= 0.05 < miss_probability(0.01, 298)
    assert draws_to_see(1.0) == 1
    for draws in (1, 10, 10**7):
        floor = resolvable_mass(draws, 0.05)
        assert miss_probability(floor, draws) == pytest.approx(0.05, rel=1e-9)
        assert floor == pytest.approx(
            hoeffding_kl(np.zeros(draws), 0.05, "upper").upper, rel=1e-9
        )


@pytest.mark.parametrize("mass", [0.001, 0.1, 0.5])
def test_how_often_the_rule_fires_on_n_draws(mass):
    true, draws, repeats = 0.12, 30, 20_000
    rng = np.random.default_rng(0)
    p = np.where(rng.random((draws, repeats)) < true, 0.9, 0.1)
    share = hypothesis_rule(p, mass, 0.5).mean()
    found = firing_probability(true, draws, mass)
    # four standard errors of a share among 20 000 repeats
    assert share == pytest.approx(found, abs=4 * np.sqrt(0.25 / repeats))
    assert found == pytest.approx(
        binom.sf(votes_needed(mass, draws) - 1, draws, true), rel=1e-9
    )
    assert firing_probability(true, draws, 1e-3) == pytest.approx(
        1 - miss_probability(true, draws), rel=1e-12
    )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mean_rule([0.5, 1.5], 0.5), "proba ranges from 0.5 to 1.5"),
        (lambda: mean_rule([0.5, np.nan], 0.5), "proba ranges from nan"),
        (lambda: mean_rule([], 0.5), "proba has shape"),
        (lambda: mean_rule([0.5], 1.5), "threshold is 1.5"),
        (lambda: mean_rule([0.5], np.nan), "threshold is nan"),
        (lambda: hypothesis_rule([0.5], 0, 0.5), "mass is 0"),
        (lambda: hypothesis_rule([0.5], 0.5, -1), "level is -1"),
        (lambda: hypothesis_mass(np.zeros((0, 3)), 0.5), "proba has shape"),
        (lambda: hypothesis_level(np.zeros(3), 2), "mass is 2"),
        (lambda: hypothesis_level(np.zeros(3), [0.1, 0.2]), "mass has shape"),
        (lambda: veto([0.5, 0.6], 0.5, votes=3), "votes is 3"),
        (lambda: veto([0.5, 0.6], 0.5, votes=0), "votes is 0"),
        (lambda: cost_threshold(0, 1), "false_alarm is 0"),
        (lambda: cost_threshold(1, np.inf), "miss is inf"),
        (lambda: decision_cost([0, 1], np.array([1, 0]), 1, 1), "act has dtype int64"),
        (lambda: decision_cost([0, 1], np.array([True]), 1, 1), "act has dtype bool"),
        (lambda: decision_cost([], np.array([], dtype=bool), 1, 1), "y has shape"),
        (lambda: decision_cost([2], np.array([True]), 1, 1), r"y\[0\] is 2"),
        (lambda: miss_probability(0.1, 0), "draws is 0"),
        (lambda: miss_probability(0.1, 2.5), "draws is 2.5"),
        (lambda: draws_to_see(0.1, 1), "delta is 1"),
        (lambda: resolvable_mass(10, 0), "delta is 0"),
        (lambda: firing_probability(1.1, 10, 0.1), "true_mass is 1.1"),
        (lambda: least_mass(0.5, 1.0), "level is 1"),
        (lambda: least_mean(1.5, 0.5), "mass is 1.5"),
    ],
)
def test_bad_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_the_worst_mean_is_the_largest_over_all_weights_allowed():
    """A linear program over q ≤ π/α, for masses that are and are not whole numbers of draws."""
    draws = np.random.default_rng(1).random((7, 3))
    for mass in (0.1, 2 / 7, 0.5, 1.0):
        most = np.full(7, 1 / (7 * mass))
        for p, worst in zip(draws.T, worst_mean(draws, mass), strict=True):
            best = linprog(-p, A_eq=np.ones((1, 7)), b_eq=[1], bounds=[(0, m) for m in most])
            assert worst == pytest.approx(-best.fun, abs=1e-12)


def test_the_worst_mean_follows_the_hypothesis_rule(proba):
    for level in LEVELS:
        fires = hypothesis_rule(proba, 0.2, level)
        assert np.all(worst_mean(proba, 0.2)[fires] >= level)
    assert np.allclose(worst_mean(proba, 1.0), proba.mean(axis=0))
    with pytest.raises(ValueError, match="mass has shape"):
        worst_mean(proba, [0.1, 0.2])


def test_the_value_of_knowing_is_the_cost_that_it_saves(proba):
    false_alarm, miss = 1.0, 4.0
    t = cost_threshold(false_alarm, miss)
    best_each = np.minimum(false_alarm * (1 - proba), miss * proba).mean(axis=0)
    m = proba.mean(axis=0)
    best_now = np.where(mean_rule(proba, t), false_alarm * (1 - m), miss * m)
    value = (false_alarm + miss) * value_of_knowing(proba, t)
    assert np.allclose(value, best_now - best_each)
    assert np.all(value >= 0)
    floor = hypothesis_rule(proba, 0.2, 0.7) & ~mean_rule(proba, 0.5)
    assert floor.any()
    assert np.all(value_of_knowing(proba, 0.5)[floor] >= 0.2 * 0.2 - 1e-12)
