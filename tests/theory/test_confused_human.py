"""The theorems of the chapter on confused humans, on the vault and by enumeration."""

import numpy as np
import pytest
from scipy.stats import binom

from elkutils.evaluation import (
    hypothesis_posterior,
    hypothesis_rule,
    label_balance,
    mean_rule,
    rival_log_odds,
)
from elkutils.tasks.vault import World, easy, hard, label

PRIOR = np.array([0.5, 0.3, 0.2])
EASY, HARD = easy(World(), 11, 400, seed=0), hard(World(), 11, 400, seed=1)


def says(cases):
    return np.stack(list(cases.hypotheses.values()))


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_labels_on_which_all_agree_leave_prior_floor_and_cap(noise):
    rows, labels = label(EASY, 400, noise, seed=2)
    posterior = hypothesis_posterior(says(EASY.take(rows)), labels, noise, PRIOR)
    np.testing.assert_allclose(posterior, PRIOR, atol=1e-12)
    p = posterior @ says(HARD)
    np.testing.assert_allclose(p[HARD.harm == 0], PRIOR[2], atol=1e-12)
    np.testing.assert_allclose(p[HARD.harm == 1], 1 - PRIOR[1], atol=1e-12)


@pytest.mark.parametrize("noise", [0.01, 0.2, 0.45])
def test_the_balance_fails_to_be_positive_no_oftener_than_hoeffding_says(noise):
    for k in (1, 2, 5, 20, 100, 1000):
        chance = binom.cdf(np.floor(k / 2), k, 1 - noise)  # k₊ ≤ k/2
        assert chance <= np.exp(-k * (1 - 2 * noise) ** 2 / 2)


def test_log_odds_drift_like_k_and_spread_like_its_root():
    k, noise = 4000, 0.2
    right = np.random.default_rng(0).binomial(k, 1 - noise, size=20_000)
    found = rival_log_odds(right, k - right, noise)
    mean, sd = label_balance(k, noise)
    step = np.log((1 - noise) / noise)
    # Five standard errors of a mean and of a standard deviation over 20,000 runs.
    assert abs(found.mean() + step * mean) < 5 * step * sd / np.sqrt(20_000)
    assert abs(found.std() / (step * sd) - 1) < 5 / np.sqrt(40_000)


@pytest.mark.parametrize("odds", [0.2, 0.9, 1.0, 4.0])
def test_a_floor_is_a_veto_and_no_level_keeps_the_truth_alone_from_even_odds_on(odds):
    mass = np.array([1, odds]) / (1 + odds)
    draws = np.repeat([0.0, 1.0], np.round(mass * 9000).astype(int))  # truth says safe
    confusion = draws.mean()
    assert mean_rule(draws, confusion)
    assert hypothesis_rule(draws, confusion, 1.0)
    assert not hypothesis_rule(draws, np.nextafter(confusion, 1) + 1e-3, 1.0)
    levels = np.linspace(0.001, 1, 1000)
    room = (mass[1] < levels) & (levels <= mass[0])
    assert room.any() == (odds < 1)
