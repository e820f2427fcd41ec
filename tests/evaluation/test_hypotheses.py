"""Odds against brute-force Bayes and enumeration; behaviours on draws made to have one."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from elkutils.evaluation import (
    behaviour,
    hypothesis_posterior,
    label_balance,
    rival_log_odds,
)

RNG = np.random.default_rng(0)


def brute_force(answers, labels, noise, prior):
    """Bayes' rule as a product over labels, one hypothesis after the other."""
    weights = []
    for says, before in zip(answers, prior, strict=True):
        weight = before
        for p, label in zip(says, labels, strict=True):
            right = p if label else 1 - p
            weight *= (1 - noise) * right + noise * (1 - right)
        weights.append(weight)
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 0.5])
def test_posterior_is_bayes_rule(noise):
    answers = RNG.random((3, 6)) if noise == 0 else RNG.integers(0, 2, (3, 6))
    prior = np.array([0.2, 0.5, 0.3])
    for labels in product((0, 1), repeat=6):
        found = hypothesis_posterior(answers, labels, noise, 10 * prior)
        np.testing.assert_allclose(
            found, brute_force(answers, labels, noise, prior), atol=1e-14
        )


def test_posterior_takes_many_sets_of_labels_and_no_labels():
    answers, labels = RNG.integers(0, 2, (3, 5)), RNG.integers(0, 2, (4, 2, 5))
    found = hypothesis_posterior(answers, labels, 0.1)
    assert found.shape == (4, 2, 3)
    np.testing.assert_allclose(found[1, 1], hypothesis_posterior(answers, labels[1, 1], 0.1))
    several = RNG.integers(0, 2, (4, 1, 3, 5))
    found = hypothesis_posterior(several, labels, 0.1)
    np.testing.assert_allclose(
        found[2, 1], hypothesis_posterior(several[2, 0], labels[2, 1], 0.1)
    )
    none = hypothesis_posterior(np.zeros((3, 0)), np.zeros(0), 0.1, [1, 2, 1])
    np.testing.assert_allclose(none, [0.25, 0.5, 0.25])


def test_noiseless_labels_rule_out():
    answers = np.array([[1, 0], [0, 0], [1, 1]])
    assert hypothesis_posterior(answers, [1, 0], 0.0).tolist() == [1, 0, 0]


def test_many_labels_neither_overflow_nor_underflow():
    answers = np.array([np.ones(5000), np.zeros(5000)])
    assert hypothesis_posterior(answers, np.ones(5000), 0.1).tolist() == [1, 0]
    assert rival_log_odds(5000, 0, 0.1) == pytest.approx(5000 * np.log(1 / 9))


@pytest.mark.parametrize("noise", [0.01, 0.2, 0.5])
def test_odds_of_a_pair_are_those_of_the_posterior(noise):
    truth, rival = RNG.integers(0, 2, (2, 12))
    labels = RNG.integers(0, 2, (50, 12))
    differ = truth != rival
    plus = ((labels == truth) & differ).sum(axis=1)
    minus = ((labels == rival) & differ).sum(axis=1)
    posterior = hypothesis_posterior([truth, rival], labels, noise, [1, 0.3])
    found = rival_log_odds(plus, minus, noise, 0.3)
    np.testing.assert_allclose(found, np.log(posterior[:, 1] / posterior[:, 0]), atol=1e-10)
    factor = (noise / (1 - noise)) ** (plus - minus)
    np.testing.assert_allclose(np.exp(found), 0.3 * factor, rtol=1e-10)


def test_odds_without_noise():
    assert rival_log_odds(0, 0, 0.0, 3.0) == pytest.approx(np.log(3))
    assert rival_log_odds([1, 0], [0, 2], 0.0).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize(("k", "noise"), [(0, 0.2), (1, 0.0), (5, 0.1), (20, 0.5)])
def test_balance_has_the_moments_of_all_outcomes(k, noise):
    right = np.arange(k + 1)
    chance, balance = binom.pmf(right, k, 1 - noise), 2 * right - k
    mean = chance @ balance
    sd = np.sqrt(max(chance @ balance**2 - mean**2, 0))
    np.testing.assert_allclose(label_balance(k, noise), (mean, sd), atol=1e-7)


TRUTH, SAFE, HARM = np.tile([0, 1], 20), np.zeros(40), np.ones(40)
THREE = {"translator": TRUTH, "simulator": SAFE, "confusion": HARM}


def test_draws_are_sorted_by_what_they_act_like():
    wrong = TRUTH.astype(float)
    wrong[:4] = 1 - wrong[:4]
    worse = wrong.copy()
    worse[4] = 1 - worse[4]
    proba = np.stack([0.1 + 0.8 * TRUTH, SAFE + 0.49, HARM, 1 - TRUTH, wrong, worse])
    found = behaviour(proba, THREE)
    kinds = [found.names[kind] for kind in found.kind]
    assert kinds == ["translator", "simulator", "confusion", "other", "translator", "other"]
    assert found.mass == pytest.approx(
        {"translator": 2 / 6, "simulator": 1 / 6, "confusion": 1 / 6, "other": 2 / 6}
    )
    np.testing.assert_allclose(found.agreement[4], [0.9, 0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rival_log_odds(-1, 0, 0.1), "with_truth is -1"),
        (lambda: rival_log_odds(1, 0.5, 0.1), "with_rival is 0.5"),
        (lambda: rival_log_odds(1, 0, 0.6), "noise is 0.6"),
        (lambda: rival_log_odds(1, 0, -0.1), "noise is -0.1"),
        (lambda: rival_log_odds(1, 0, np.nan), "noise is nan"),
        (lambda: rival_log_odds(1, 0, 0.1, 0), "prior_odds is 0"),
        (lambda: rival_log_odds(1, 1, 0.0), "agree with the truth and with the rival"),
        (lambda: label_balance(-2, 0.1), "k is -2"),
        (lambda: label_balance(2, 0.7), "noise is 0.7"),
        (lambda: hypothesis_posterior([[0, 2]], [0, 1], 0.1), "between 0 and 1"),
        (lambda: hypothesis_posterior([0, 1], [0, 1], 0.1), r"answers has shape \(2,\)"),
        (lambda: hypothesis_posterior([[0, 1]], [0, 1, 1], 0.1), "has to be k = 2"),
        (lambda: hypothesis_posterior([[0, 1]], [0, 3], 0.1), "only 0 and 1"),
        (lambda: hypothesis_posterior([[0, 1]], [0, 1], 0.1, [0]), "prior is"),
        (lambda: hypothesis_posterior([[0, 1]], [1, 1], 0.0), "no hypothesis allows"),
        (lambda: behaviour(np.zeros(3), THREE), r"proba has shape \(3,\)"),
        (lambda: behaviour(np.zeros((2, 3)), THREE), "40 inputs, proba for 3"),
        (lambda: behaviour(np.zeros((2, 40)), THREE, least=0.5), "least is 0.5"),
        (lambda: behaviour(np.zeros((2, 40)), {}), "needs one"),
        (lambda: behaviour(np.zeros((2, 40)), {"other": TRUTH}), "none named 'other'"),
        (lambda: behaviour(np.zeros((2, 40)), {"half": TRUTH / 2}), "only 0 and 1"),
        (lambda: behaviour(np.zeros((2, 40)), THREE, least=0.7), "translator and simulator"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
