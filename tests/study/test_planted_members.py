"""Controls of the bounds on members, against what was planted in them."""

import numpy as np
import pytest

from elkutils.evaluation import betting, hoeffding_kl
from elkutils.study import planted_members
from elkutils.study.controls import mean_of_logistic
from elkutils.study.rare_worlds import mean_harm_with_corner

ROWS = {"groups": np.arange(40), "seeds": np.zeros(40, int)}
CENTRE, SPREAD = np.linspace(-2, 2, 40), np.full(40, 1.0)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("centre", "spread", "tighter"), [(0, 0.5, True), (-9, 0.1, False)])
def test_betting_is_tighter_where_members_hedge_and_not_at_the_floor(centre, spread, tighter):
    found = planted_members.hedging(centre, spread, 0.05, ROWS)(rng())
    assert (found.upper < 1) == tighter
    assert (found.lower > 1) == (not tighter)


def test_the_widths_are_those_of_the_bounds():
    p = 1 / (1 + np.exp(-np.random.default_rng(0).normal(0, 0.5, (50, 300))))
    ours, theirs = (f(p, 0.1) for f in (betting, hoeffding_kl))
    ratio = (ours.upper - ours.lower).mean() / (theirs.upper - theirs.lower).mean()
    rows = {"groups": np.arange(20_000), "seeds": np.zeros(20_000, int)}
    found = planted_members.hedging(0, 0.5, 0.1, rows, members=50)(rng())
    assert found.estimate == pytest.approx(ratio, abs=0.01)


def test_coverage_that_is_planted_is_found():
    rows = {"groups": np.arange(4000), "seeds": np.zeros(4000, int)}
    assert planted_members.covering(0.7, rows)(rng()).estimate == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(("memory", "least", "most"), [(0.0, 0.95, 1.0), (0.99, 0.0, 0.7)])
def test_a_chain_with_memory_breaks_its_interval(memory, least, most):
    run = planted_members.remembering(memory, CENTRE, SPREAD, 500, 0.05, ROWS)
    assert least <= run(rng()).estimate <= most


@pytest.mark.parametrize(("visited", "least", "most"), [(0.5, 0.95, 1.0), (0.0, 0.0, 0.1)])
def test_a_mode_that_is_not_visited_breaks_it(visited, least, most):
    run = planted_members.two_modes(visited, CENTRE, SPREAD, 500, 0.05, ROWS)
    assert least <= run(rng()).estimate <= most


def test_members_of_another_bag_miss_the_mean():
    drawn = 1 / (1 + np.exp(-rng().normal(CENTRE, SPREAD, (4000, 40))))
    mean = mean_of_logistic(CENTRE, SPREAD)
    bags = [
        [np.clip(drawn[:, i : i + 20] + shift, 0, 1) for i in (0, 20)] for shift in (0, 0.3)
    ]
    held = [
        planted_members.from_bags(pair, mean, 500, 0.05, ROWS)(rng()).estimate for pair in bags
    ]
    assert held[0] > 0.9 > 0.2 > held[1]


def test_plain_averages_are_right_where_log_odds_spread_little():
    little, much = (planted_members.plain_average(-25.0, slope)(rng()) for slope in (0.5, 5.0))
    assert little.lower <= 0 <= little.upper
    assert much.upper < 0


def test_a_corner_is_seen_if_it_has_mass():
    seen = planted_members.hidden_corner(0.1, 1.0)(rng())
    assert seen.lower <= 1 <= seen.upper
    assert planted_members.hidden_corner(0.0, mean_harm_with_corner(1e-4))(rng()).upper < 0.1
