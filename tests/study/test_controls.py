"""A rule on calibration, with controls whose truth is known."""

import numpy as np
import pytest

from elkutils.evaluation import ece
from elkutils.ledger import Criterion
from elkutils.study.controls import calibration_controls, excess_interval, mean_bias


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
