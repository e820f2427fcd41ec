"""Simultaneous tests, equivalence, power and pass rates against known answers."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from elkutils.evaluation import (
    Interval,
    PassRate,
    attainable_margin,
    equivalence_power,
    holm,
    p_above,
    p_below,
    p_equivalent,
    pass_rate,
)


def normal(estimate, error, level=0.95):
    half = norm.ppf((1 + level) / 2) * error
    return Interval(estimate, estimate - half, estimate + half, level)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_p_values_of_a_normal_are_those_of_the_z_test(level):
    value = normal(1.3, 0.5, level)
    assert p_above(value, 0.2) == pytest.approx(norm.sf(1.1 / 0.5))
    assert p_below(value, 0.2) == pytest.approx(norm.sf(-1.1 / 0.5))


def test_what_is_known_without_error_is_above_or_not():
    exact = Interval(1.0, 1.0, 1.0, 1.0)
    assert (p_above(exact, 1.0), p_above(exact, 1.1)) == (0.0, 1.0)
    spread = Interval(1.0, 0.8, 1.2, 1.0)  # a range over seeds
    assert (p_above(spread, 0.7), p_above(spread, 0.9)) == (0.0, 1.0)


def test_an_estimate_outside_its_interval_uses_the_width():
    value = Interval(-0.1, 0.0, 0.2)
    assert p_above(value, 0.0) == pytest.approx(0.025)
    assert p_below(value, 0.2) == pytest.approx(0.025)


def test_of_a_lopsided_interval_the_longer_half_counts():
    """No jump where the estimate comes near its lower end."""
    p = [p_above(Interval(1.0, 1.0 - e, 3.0), 0.9) for e in (0.0, 1e-9, 1e-3, 0.1)]
    assert np.ptp(p) < 0.01
    assert min(p) > 0.015


def test_students_t_of_few_values_has_its_own_tail():
    values = np.array([0.1, 0.3, 0.2])
    found = p_above(Interval.of_mean(values), 0.0)
    assert found == pytest.approx(ttest_1samp(values, 0.0, alternative="greater").pvalue)


def test_holm_against_its_definition_and_its_level():
    assert holm([]).tolist() == []
    p = [0.001, 0.2, 0.012, 0.04]
    assert holm(p) == pytest.approx([0.004, 0.2, 0.036, 0.08])
    rng = np.random.default_rng(0)
    null = rng.random((4000, 10))
    null[:, 5:] *= 1e-6  # five false hypotheses among ten
    wrong = np.mean([holm(row)[:5].min() <= 0.05 for row in null])
    assert wrong < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    with pytest.raises(ValueError, match="p_values is"):
        holm([0.5, 1.2])


def test_equivalence_has_the_power_that_is_stated():
    rng = np.random.default_rng(1)
    error, margin = 0.02, attainable_margin(0.02, power=0.8)
    assert equivalence_power(margin, error) == pytest.approx(0.8)
    found = [
        p_equivalent(normal(estimate, error), margin) <= 0.05
        for estimate in error * rng.standard_normal(4000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 4000))
    # and at the margin itself it errs in one of twenty
    found = [
        p_equivalent(normal(margin + estimate, error), margin) <= 0.05
        for estimate in error * rng.standard_normal(4000)
    ]
    assert np.mean(found) == pytest.approx(0.05, abs=3 * np.sqrt(0.0475 / 4000))
    with pytest.raises(ValueError, match="margin is"):
        p_equivalent(normal(0, 1), 0.0)


def test_pass_rates_count_independent_runs():
    rate = pass_rate(lambda rng: rng.random() < 0.9, runs=1000)
    assert rate.runs == 1000
    assert rate.rate == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 1000))
    assert rate == pass_rate(lambda rng: rng.random() < 0.9, runs=1000)
    assert rate.interval.lower < 0.9 < rate.interval.upper
    assert PassRate(0, 200).interval.lower == 0
    assert PassRate(200, 200).interval.upper == 1
    with pytest.raises(ValueError, match="runs is 50"):
        pass_rate(lambda rng: True, runs=50)
