"""Promises are kept where labels come from the forecasts, and intervals see it."""

import numpy as np
import pytest

from elkutils.evaluation import bootstrap, ece, weighted_mean
from elkutils.evaluation.online import calibration_error
from elkutils.study.promises import Steps, counterparts, drawn, perfect_error, surplus

RNG = np.random.default_rng(0)
N = 3000
P = RNG.beta(2, 2, N)
GROUPS, SEEDS = np.arange(N) % 150, np.arange(N) // 600
STEPS = Steps(GROUPS, SEEDS)


def test_surplus_of_probabilities_is_confidence_less_accuracy():
    y = RNG.integers(0, 2, N)
    confidence, accuracy = np.maximum(P, 1 - P).mean(), np.mean((P > 0.5) == y)
    assert surplus(y, P).mean() == pytest.approx(confidence - accuracy)


def test_surplus_of_sets_is_misses_less_alpha():
    sets = np.array([[True, False], [True, True], [False, False]])
    assert surplus([1, 1, 0], sets, 0.1).tolist() == pytest.approx([0.9, -0.1, 0.9])


@pytest.mark.parametrize(
    ("forecast", "alpha"), [(np.ones((2, 2), dtype=bool), None), ([0.5, 0.5], 0.1)]
)
def test_sets_and_only_sets_take_alpha(forecast, alpha):
    with pytest.raises(ValueError, match="sets"):
        surplus([0, 1], forecast, alpha)


def test_labels_drawn_from_forecasts_keep_every_promise():
    y = drawn(P, np.random.default_rng(1))
    assert abs(surplus(y, P).mean()) < 3 * 0.5 / np.sqrt(N)
    assert abs(STEPS.excess(y, P).estimate) < 0.02


def test_a_planted_shift_is_as_large_as_planted_and_where_it_is_planted():
    sure, inside = np.full(N, 0.9), GROUPS < 30
    y = drawn(sure, np.random.default_rng(2), 0.2, inside)
    assert surplus(y, sure)[inside].mean() == pytest.approx(0.2, abs=0.06)
    assert surplus(y, sure)[~inside].mean() == pytest.approx(0.0, abs=0.03)
    found = STEPS.gap(surplus(y, sure), inside)
    assert found.lower < 0.2 * (1 - inside.mean()) < found.upper


def test_counterparts_have_opposite_labels_and_those_of_one_row_the_same():
    rows, y = counterparts(GROUPS, np.arange(N) >= N / 2), RNG.integers(0, 2, N)
    assert rows.max() == 299
    even = drawn(np.full(N, 0.5), np.random.default_rng(3), shared=(rows, y))
    first = {row: even[i] == y[i] for i, row in enumerate(rows)}
    assert all(first[row] == (even[i] == y[i]) for i, row in enumerate(rows))
    assert 0.3 < np.mean(list(first.values())) < 0.7


def test_shared_numbers_leave_each_step_its_probability():
    rows = counterparts(GROUPS, np.zeros(N, dtype=bool))
    total = sum(
        drawn(P, np.random.default_rng(s), shared=(rows, GROUPS % 2)) for s in range(400)
    )
    assert np.abs(total / 400 - P).max() < 0.12


def test_means_are_those_of_the_bootstrap_where_seeds_have_equal_steps():
    y = drawn(P, np.random.default_rng(4))
    values = surplus(y, P)

    def mean(values, weights=None):
        return weighted_mean(values, weights)

    other = bootstrap(mean, values, groups=GROUPS, seeds=SEEDS, resamples=600)
    found = STEPS.mean(values)
    assert found.estimate == pytest.approx(other.estimate)
    assert found.lower == pytest.approx(other.lower, abs=0.004)
    assert found.upper == pytest.approx(other.upper, abs=0.004)


def test_excess_is_the_error_less_that_of_a_perfect_forecaster():
    y = drawn(P, np.random.default_rng(5), off=0.1)
    found = STEPS.excess(y, P)
    assert found.estimate == pytest.approx(calibration_error(y, P) - perfect_error(P))
    assert found.lower < found.estimate < found.upper
    assert found.lower > 0


def test_a_perfect_forecaster_scores_what_its_own_labels_do():
    errors = [calibration_error(drawn(P, np.random.default_rng(s)), P) for s in range(50)]
    assert perfect_error(P) == pytest.approx(np.mean(errors), rel=0.1)
    assert ece(drawn(P, np.random.default_rng(6)), P) < 0.1
