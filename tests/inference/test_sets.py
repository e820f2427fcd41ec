"""Sets against enumeration: SMC, importance weights, and a network that learns to draw."""

import numpy as np
import pytest
from scipy.special import logsumexp

from elkutils.inference.amortised import (
    BALANCE,
    LIKELIHOOD,
    LabelSets,
    train,
    train_each,
)
from elkutils.inference.sets import SetTarget, WeightedSets, smc

RNG = np.random.default_rng(0)
TARGET = SetTarget(RNG.integers(2, size=(10, 6)))
LAW = LabelSets(0.1, 3, 15)


@pytest.fixture(scope="module")
def evidence():
    return LAW.draw(TARGET, 6, seed=1)[1]


@pytest.fixture(scope="module", params=[BALANCE, LIKELIHOOD])
def learned(request):
    return train(TARGET, LAW, request.param, steps=500, batch=32, width=32, seed=3)


def total_variation(log_q, log_p):
    return 0.5 * np.abs(np.exp(log_q) - np.exp(log_p)).sum()


def test_weights_by_a_loop(evidence):
    sets = TARGET.all_sets()
    for chosen in sets[::7]:
        covered = [any(chosen[j] and row[j] for j in range(6)) for row in TARGET.contexts]
        expected = -chosen.sum() - 6 * np.log1p(np.exp(-1)) + evidence[0] @ covered
        found = TARGET.log_weight(chosen, evidence[0])
        assert found == pytest.approx(expected, abs=1e-4)
    assert logsumexp(TARGET.posterior(evidence[0])) == pytest.approx(0)
    assert TARGET.log_z(np.zeros(10)) == pytest.approx(0, abs=1e-5)


def test_simulated_labels_are_the_law():
    """Evidence comes in labels, as many as asked for; a set of no condition has safe ones."""
    sets, evidence = LAW.draw(TARGET, 3000, seed=2)
    labels = evidence / LAW.nats
    np.testing.assert_allclose(labels, labels.round(), atol=1e-4)
    assert np.abs(labels).sum(axis=1).max() <= 15
    share = 1 / (1 + np.e)
    assert abs(sets.mean() - share) < 4 * np.sqrt(share * (1 - share) / sets.size)
    covered = TARGET.covered(sets)
    given = labels != 0
    right = (labels > 0) == covered
    assert 0.85 < right[given].mean() < 0.97  # counts of several labels are right more often


def test_smc_is_unbiased_for_z(evidence):
    exact = TARGET.log_z(evidence[0])
    found = smc(TARGET, np.tile(evidence[0], (200, 1)), 30, temperatures=4, seed=0)
    ratios = np.exp(found.log_z - exact)
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / np.sqrt(200)
    assert ratios.std() > 0.01


def test_smc_finds_the_posterior(evidence):
    found = smc(TARGET, evidence, 4000, seed=1).harm(TARGET)
    for each, harm in zip(evidence, found, strict=True):
        exact = np.exp(TARGET.posterior(each)) @ TARGET.covered(TARGET.all_sets())
        np.testing.assert_allclose(harm, exact, atol=0.06)


def test_q_is_normalised_and_its_two_ways_agree(learned, evidence):
    sets = TARGET.all_sets()
    for each in evidence[:2]:
        log_q = learned.exact(each)
        assert logsumexp(log_q) == pytest.approx(0, abs=1e-4)
        np.testing.assert_allclose(learned.log_q(sets, each), log_q, atol=1e-4)


def test_draws_are_from_q(learned, evidence):
    drawn = learned.draw(evidence[:1], 4000, seed=5)
    index = drawn.sets[0] @ 2 ** np.arange(6)
    q = np.exp(learned.exact(evidence[0]))
    share = np.bincount(index, minlength=64) / 4000
    assert (np.abs(share - q) < 5 * np.sqrt(q * (1 - q) / 4000) + 1e-3).all()


def test_training_brings_q_near_the_posterior(learned, evidence):
    apart = [total_variation(learned.exact(e), TARGET.posterior(e)) for e in evidence]
    prior = [total_variation(TARGET.posterior(0 * e), TARGET.posterior(e)) for e in evidence]
    assert np.mean(apart) < 0.5 * np.mean(prior)


def test_importance_weights_correct_q(learned, evidence):
    """log Z within its own error, where q covers the posterior."""
    drawn = learned.draw(evidence, 4000, seed=2)
    exact = np.array([TARGET.log_z(e) for e in evidence])
    assert (np.abs(drawn.log_z - exact) < 5 * drawn.log_z_error + 1e-3).all()


def test_a_residual_is_zero_where_q_is_right(evidence):
    learned = train(TARGET, evidence[0], steps=1000, batch=64, width=32, seed=0)
    log_p = TARGET.posterior(evidence[0])
    assert total_variation(learned.exact(evidence[0]), log_p) < 0.02
    best = TARGET.all_sets()[[log_p.argmax()]]
    log_z = TARGET.log_z(evidence[0])
    assert abs(learned.residual(best, evidence[0], log_z)[0]) < 0.05
    assert learned.residual(best, evidence[0], log_z - 1)[0] == pytest.approx(
        learned.residual(best, evidence[0], log_z)[0] - 1, abs=1e-5
    )


def test_networks_side_by_side_are_those_trained_alone(evidence):
    both = train_each(TARGET, evidence[0], [4, 9], steps=50, batch=16, width=8)
    alone = train(TARGET, evidence[0], steps=50, batch=16, width=8, seed=9)
    np.testing.assert_allclose(both[1].exact(evidence[0]), alone.exact(evidence[0]), atol=2e-3)


def test_ess_is_blind_to_what_was_not_drawn():
    """Half of the posterior is never drawn, and every weight is the same."""
    same = WeightedSets(np.zeros((1, 50, 2)), np.full((1, 50), np.log(0.5)))
    assert same.ess[0] == pytest.approx(1)
    assert same.log_z_error[0] == pytest.approx(0, abs=1e-6)
    assert same.log_z[0] == pytest.approx(np.log(0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SetTarget(np.zeros(3)), r"contexts has shape \(3,\)"),
        (lambda: SetTarget(np.eye(2), penalty=np.nan), "penalty is nan"),
        (lambda: SetTarget(np.ones((1, 30))).all_sets(), "30 conditions"),
        (lambda: TARGET.log_z(np.zeros(9)), "evidence has shape"),
        (lambda: TARGET.log_z(np.full(10, np.nan)), "evidence holds NaN"),
        (lambda: smc(TARGET, np.zeros(10), particles=1), "particles is 1"),
        (lambda: smc(TARGET, np.zeros(10), temperatures=0), "temperatures is 0"),
        (lambda: LabelSets(noise=0.5), "noise is 0.5"),
        (lambda: LabelSets(fewest=0), "fewest is 0"),
        (lambda: LabelSets(fewest=9, most=3), "fewest is 9"),
        (lambda: train(TARGET, LAW, "guessing"), "objective is 'guessing'"),
        (lambda: train(TARGET, np.zeros(10), LIKELIHOOD), "has to have LabelSets"),
        (lambda: train(TARGET, LAW, steps=0), "steps is 0"),
        (lambda: train(TARGET, LAW, per_set=1), "per_set is 1"),
        (lambda: train(TARGET, LAW, anneal=2), "anneal is 2"),
        (lambda: train(TARGET, LAW, explore=0.5), "explore is 0.5"),
        (lambda: train(TARGET, LAW, learning_rate=0), "learning_rate is 0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
