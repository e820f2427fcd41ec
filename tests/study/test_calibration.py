"""The test of calibration, on forecasters whose calibration is known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from elkutils.evaluation import Interval, ece
from elkutils.ledger import Criterion
from elkutils.reporters import LogisticMAP
from elkutils.study import calibration
from elkutils.study.scaling import z_scored

CRITERIA = {
    "slope": Criterion("slope", "within", [0.6, 1.67], ""),
    "intercept": Criterion("intercept", "within", [-0.5, 0.5], ""),
    "excess ECE": Criterion("excess ECE", "below", 0.05, ""),
}


def long_format(cities, seeds=4, spread=3.0, seed=0):
    """Real labels, forecasts, cities and seeds: a true and a false statement per city."""
    rng = np.random.default_rng(seed)
    groups, y = np.repeat(np.arange(cities), 2), np.tile([1, 0], cities)
    log_odds = rng.normal(0, spread, (seeds, cities, 1)) * [1, -1]
    shape = (seeds, 2 * cities)
    columns = (np.broadcast_to(column, shape).ravel() for column in (y, groups))
    y, groups = columns
    return y, expit(log_odds).ravel(), groups, np.repeat(np.arange(seeds), 2 * cities)


def test_each_group_is_held_out_once():
    groups = np.repeat(np.arange(10), 3)
    found = calibration.folds(groups, count=4, seed=1)
    tested = np.concatenate([test for _, test in found])
    assert sorted(tested) == list(range(30))
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == 30
    with pytest.raises(ValueError, match="count is 11"):
        calibration.folds(groups, count=11)


def test_the_pooled_error_is_that_of_equal_bins():
    rng = np.random.default_rng(0)
    proba = rng.random(200)
    y = rng.integers(0, 2, 200)
    assert calibration.pooled_ece(y, proba) == pytest.approx(ece(y, proba))
    ties = rng.integers(0, 3, 200) / 2
    assert calibration.pooled_ece(y, ties) == pytest.approx(ece(y, ties))
    weights = rng.integers(0, 3, (5, 200)).astype(float)
    assert calibration.pooled_ece(y, proba, weights).shape == (5,)


def test_drawn_labels_have_the_forecasts_as_means_and_are_shared_by_seeds():
    y, proba, groups, seeds = long_format(50)
    rng = np.random.default_rng(1)
    drawn = np.stack(
        [calibration.calibrated_labels(y, proba, groups, seeds, rng) for _ in range(4000)]
    )
    assert np.abs(drawn.mean(axis=0) - proba).max() < 0.05
    assert (drawn[:, 0::2] + drawn[:, 1::2] == 1).all()  # p of the one is 1 − p of the other
    same = np.full_like(proba, 0.4)
    once = calibration.calibrated_labels(y, same, groups, seeds, rng).reshape(4, -1)
    assert (once == once[0]).all()


def test_a_calibrated_forecaster_is_at_one_nought_and_nought():
    columns = long_format(2000)
    y = calibration.calibrated_labels(*columns, np.random.default_rng(2))
    found = calibration.intervals(y, *columns[1:], resamples=200)
    for name, right in (("slope", 1.0), ("intercept", 0.0), ("excess ECE", 0.0)):
        assert found[name].lower < right < found[name].upper
        assert found[name].upper - found[name].lower < 0.3


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_the_slope_is_what_the_log_odds_have_to_be_multiplied_by(slope):
    real, proba, groups, seeds = long_format(2000, spread=1.5)
    truth = expit(slope * logit(proba))
    y = calibration.calibrated_labels(real, truth, groups, seeds, np.random.default_rng(3))
    found = calibration.intervals(y, proba, groups, seeds, resamples=100)["slope"]
    assert found.estimate == pytest.approx(slope, rel=0.15)
    assert found.lower < slope < found.upper


def test_forecasts_that_are_nearly_constant_show_no_slope():
    real, proba, groups, seeds = long_format(100, spread=1e-4)
    y = calibration.calibrated_labels(real, proba, groups, seeds, np.random.default_rng(4))
    found = calibration.intervals(y, proba, groups, seeds, resamples=100)["slope"]
    assert found.upper - found.lower > 100


def test_the_rule_has_power_with_many_cities_and_none_with_few():
    found = calibration.controls(CRITERIA, *long_format(300), resamples=50)
    assert list(found) == list(CRITERIA)
    for positive, negative in found.values():
        assert positive.rate >= 0.9
        assert negative.rate <= 0.1
    few = calibration.controls(CRITERIA, *long_format(15, seeds=2), resamples=50)
    assert few["slope"][0].rate < 0.1
    assert few["excess ECE"][0].rate < 0.5


def test_more_places_are_harder_to_pass():
    columns = long_format(120)
    slope = {"slope": CRITERIA["slope"]}
    one, many = (
        calibration.controls(slope, *columns, places=k, resamples=50)["slope"][0].rate
        for k in (1, 20)
    )
    assert many < one


def test_cost_is_the_relative_entropy_to_second_order():
    log_odds = np.random.default_rng(0).normal(0, 1, 1000)
    p = expit(log_odds)
    expected = np.mean(p * (1 - p)) * 0.01**2 / 2
    assert calibration.cost(log_odds, intercept=0.01) == pytest.approx(expected, rel=0.02)
    assert calibration.cost(log_odds) == 0


def test_intervals_are_intervals_of_the_ledger():
    columns = long_format(40)
    found = calibration.intervals(*columns, resamples=50)
    assert set(found) == set(CRITERIA)
    assert all(isinstance(value, Interval) for value in found.values())


def test_held_out_once_asks_about_rows_of_groups_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    groups, y = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    X = rng.normal(size=(12, 3)) * [1, 10, 100]
    found = calibration.held_out_once(LogisticMAP(1.0), X, y, groups, count=3, seed=1)
    for train, test in calibration.folds(groups, 3, 1):
        inside, outside = z_scored(X[train], X[test])
        by_hand = LogisticMAP(1.0).fit(inside, y[train]).predict_proba(outside)[:, 1]
        np.testing.assert_array_equal(found[test], by_hand)
