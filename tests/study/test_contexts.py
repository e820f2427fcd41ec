"""Regret over contexts: its closed form, its extremes, and that it is least for the truth."""

import numpy as np
import pytest
from scipy.special import expit, logit

from elkutils.evaluation import cost_threshold, decision_cost
from elkutils.study import contexts
from elkutils.study.contexts import BAG, BANDS, MASS, MEAN, PLATT, POSTERIOR, RATIOS, RIVALS


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    log_odds = 6 * rng.standard_normal(200)
    return (rng.random(200) < expit(log_odds)).astype(int), log_odds


def test_closed_form_is_the_mean_over_a_fine_grid_of_contexts(rows):
    harm, told = rows
    edges = np.linspace(*np.log(RATIOS), 20_001)
    ratios = np.exp((edges[1:] + edges[:-1]) / 2)
    by_context = [
        decision_cost(harm, expit(told) >= cost_threshold(1, r), false_alarm=1, miss=r)
        for r in ratios
    ]
    np.testing.assert_allclose(contexts.cost(harm, told).mean(), np.mean(by_context), rtol=1e-4)


def test_bands_of_equal_width_average_to_the_whole(rows):
    by_band = [contexts.regret(*rows, band) for band in BANDS]
    np.testing.assert_allclose(np.mean(by_band), contexts.regret(*rows))


def test_no_answer_costs_less_than_the_true_probability():
    """It is a proper score: expected cost is least where one tells what one believes."""
    told = np.linspace(-9, 2, 1101)
    for p in (0.0005, 0.01, 0.1, 0.3):
        without, with_harm = (contexts.cost(np.full(len(told), y), told) for y in (0, 1))
        expected = (1 - p) * without + p * with_harm
        least = told[expected <= expected.min() + 1e-12]
        assert np.abs(least - np.clip(logit(p), -np.log(RATIOS[1]), 0)).min() < 0.006


def test_extremes():
    harm = np.array([0, 1, 1, 0])
    assert contexts.regret(harm, np.where(harm == 1, np.inf, -np.inf)) == 0
    assert contexts.regret(harm, np.zeros(4)) == 1
    assert contexts.regret(harm, [[np.inf] * 4, [0.0] * 4]).tolist() == [1, 1]


def test_savings_are_the_difference_of_two_regrets(rows):
    harm, told = rows
    parts = [(seed, harm, told, 2 * told, np.arange(len(harm)) // 2) for seed in (5, 6)]
    values, groups, seeds = contexts.savings(parts)
    assert len(values) == len(groups) == len(seeds) == 2 * len(harm)
    gap = contexts.regret(harm, 2 * told) - contexts.regret(harm, told)
    np.testing.assert_allclose(values.mean(), gap)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], [0.0, 0.0]), "harm"),
        (([[0, 1]], [0.0, 0.0]), "harm"),
        (([0, 1], [0.0]), "log_odds"),
        (([0, 1], [0.0, np.nan]), "NaN"),
        (([0, 1], [0.0, 0.0], (10.0, 1.0)), "ratios"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        contexts.cost(*arguments)


def test_regret_needs_rows_without_harm_and_shares_lie_in_the_unit_interval():
    with pytest.raises(ValueError, match="harm is 1"):
        contexts.regret([1, 1], [0.0, 0.0])
    with pytest.raises(ValueError, match="share"):
        contexts.counted([1.2], 10)


def made(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    log_odds = 3 * rng.standard_normal(60)
    return {
        "seed": seed,
        "y": (rng.random(60) < expit(log_odds)).astype(int),
        "groups": np.arange(60) // 2,
        "share": expit(log_odds),
        "log_odds": dict.fromkeys((POSTERIOR, *RIVALS), log_odds + shift),
    }


def test_rules_of_recorded_entries():
    entries = [made(seed) for seed in (5, 6)]
    one = contexts.mean_regret(entries, MEAN)
    assert one == contexts.mean_regret(entries, PLATT)
    assert contexts.mean_regret(entries, MASS) == pytest.approx(one, abs=0.1)
    values, groups, units = contexts.saved(entries, MEAN, BAG)
    assert not values.any()
    assert len(groups) == len(units) == 120
    assert contexts.saved(entries, MASS, BAG)[0].any()
