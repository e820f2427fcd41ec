"""A rule on calibration, with controls whose truth is known."""

import numpy as np
import pytest

from elkutils.evaluation import Interval, auroc, ece
from elkutils.ledger import Criterion
from elkutils.study.controls import (
    calibration_controls,
    excess_interval,
    mean_bias,
    planted_scores,
    rates,
    shared,
)


@pytest.fixture(scope="module")
def forecasts():
    """Two seeds of 2000 rows, two rows per group."""
    rng = np.random.default_rng(0)
    proba = rng.beta(0.7, 0.7, 4000)
    return proba, np.tile(np.repeat(np.arange(1000), 2), 2), np.repeat([0, 1], 2000)


def test_a_calibrated_forecaster_has_no_excess(forecasts):
    proba, groups, seeds = forecasts
    y = (np.random.default_rng(1).random(4000) < proba).astype(int)
    found = excess_interval(y, proba, groups, seeds, resamples=200)
    each = [ece(y[seeds == s], proba[seeds == s]) for s in (0, 1)]
    assert found.estimate == pytest.approx(np.mean(each) - mean_bias(proba, seeds))
    assert abs(found.estimate) < 0.01


def test_a_rule_with_power_passes_the_one_and_not_the_other(forecasts):
    criterion = Criterion("excess ECE", "below", 0.05, "")
    positive, negative = calibration_controls(criterion, *forecasts, resamples=50)
    assert positive.rate > 0.9
    assert negative.rate < 0.1


def test_a_rule_on_too_few_rows_has_none(forecasts):
    rows = np.r_[0:45, 2000:2045]
    few = [part[rows] for part in forecasts]
    criterion = Criterion("excess ECE", "below", 0.05, "")
    positive, _ = calibration_controls(criterion, *few, resamples=50)
    assert positive.rate < 0.5


def test_rates_count_the_runs_in_which_each_control_passes():
    criterion = Criterion("gain", "above", 0.0, "")

    def about(mean):
        return lambda rng: Interval.of_mean(rng.normal(mean, 1.0, 40))

    positive, negative = rates(criterion, about(1.0), about(-1.0))
    assert positive.rate > 0.99
    assert negative.passes == 0
    at_margin, _ = rates(criterion, about(0.0), about(0.0), runs=1000)
    assert abs(at_margin.rate - 0.025) < 4 * np.sqrt(0.025 * 0.975 / 1000)
    as_one_of_ten, _ = rates(criterion, about(0.0), about(0.0), places=10, runs=1000)
    assert as_one_of_ten.rate < 0.015


def test_planted_scores_have_the_auroc_asked_for_and_share_noise_by_group():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20_000)
    groups = np.repeat(np.arange(10_000), 4)
    scores = planted_scores(y, 0.8, groups, rng)
    assert auroc(y, scores) == pytest.approx(0.8, abs=0.01)
    pairs = scores[y == 0].reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_criteria_share_the_runs_of_a_control():
    count = []

    def run(rng):
        count.append(1)
        value = rng.normal(1.0, 0.1)
        return {name: Interval(value, value - 0.1, value + 0.1) for name in ("a", "b")}

    control = shared(run)
    criterion = Criterion("", "above", 0.5, "")
    first = rates(criterion, control("a"), control("a"))
    assert rates(criterion, control("b"), control("b")) == first
    assert len(count) == 400
    assert first[0].rate > 0.9
