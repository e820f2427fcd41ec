"""A temperature learned on few labels costs what theory says, and mistakes cost more."""

import numpy as np
import pytest

from elkutils.evaluation import fit_temperature, log_score
from elkutils.study.temperatures import Trials

RNG = np.random.default_rng(0)


def parts(learning, count=5):
    return [
        (s, RNG.beta(0.5, 0.5, learning), RNG.beta(0.5, 0.5, 400), np.arange(400))
        for s in range(count)
    ]


def test_the_price_of_one_number_is_half_a_nat_over_the_labels():
    trials = Trials(parts(60), resamples=2)
    gains = [trials.gain(np.random.default_rng(s)).estimate for s in range(300)]
    error = np.std(gains) / np.sqrt(len(gains))
    assert np.mean(gains) == pytest.approx(-0.5 / 60, abs=3 * error + 0.003)


def test_a_mistaken_temperature_costs_more():
    trials = Trials(parts(60), resamples=50)
    right, wrong = (trials.gain(np.random.default_rng(1), times) for times in (1.0, 3.0))
    assert wrong.estimate < right.estimate - 0.03


def test_a_trial_is_what_the_packages_own_functions_give():
    learning, testing = RNG.beta(0.5, 0.5, 60), RNG.beta(0.5, 0.5, 400)
    found = Trials([(0, learning, testing, np.arange(400))], resamples=2)
    gain = found.gain(np.random.default_rng(7)).estimate
    rng = np.random.default_rng(7)
    y, told = (rng.random(len(p)) < p for p in (testing, learning))
    after = fit_temperature(told.astype(int), learning)(testing)
    assert gain == pytest.approx(log_score(y, after) - log_score(y, testing), abs=2e-3)
