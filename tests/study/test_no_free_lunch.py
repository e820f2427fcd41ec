"""The two theorems of the chapter on guarantees, on made-up reporters and hypotheses."""

import numpy as np
import pytest
from scipy.special import expit

from elkutils.evaluation import accuracy, auroc, log_score
from elkutils.study import no_free_lunch

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [2, 3, 17])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.5, 1), (0, 0.5), (0.5, 0.5), (0.7, 0.7), (0, 0)]
)
def test_the_constructed_labels_are_no_better_than_a_coins(size, low, high):
    for _ in range(50):
        proba = RNG.uniform(low, high, size)
        y = no_free_lunch.worst_labels(proba)
        assert set(y) == {0, 1}
        assert accuracy(y, proba) <= 0.5
        assert auroc(y, proba) <= 0.5
        assert log_score(y, np.clip(proba, 1e-12, 1 - 1e-12)) <= -np.log(2) + 1e-12


def test_labels_need_two_probabilities():
    for bad in ([0.5], [[0.5, 0.5]], [0.5, np.nan], [0.2, 1.2]):
        with pytest.raises(ValueError, match="n ≥ 2"):
            no_free_lunch.worst_labels(bad)


def test_a_linear_truth_gives_every_label_its_probability_and_is_shortest():
    X, y = RNG.normal(size=(11, 10)), RNG.integers(0, 2, 11)
    w, b = no_free_lunch.linear_truth(X, y, 0.9)
    np.testing.assert_allclose(expit((X @ w + b) * (2 * y - 1)), 0.9)
    X = RNG.normal(size=(5, 10))
    w, b = no_free_lunch.linear_truth(X, y[:5], 0.9)
    other = w + np.linalg.svd(X - X.mean(axis=0))[2][-1]  # same answers up to the bias
    assert w @ w < other @ other
    with pytest.raises(ValueError, match="affine rank"):
        no_free_lunch.linear_truth(np.tile(X, (2, 1)), np.arange(10) % 2)


def test_regret_stays_under_the_price_of_the_weight_on_every_sequence():
    log_odds, prior = 3 * RNG.normal(size=(40, 300)), RNG.dirichlet(np.ones(40))
    for truth in (0, 7):
        sequences = (
            no_free_lunch.drawn_labels(log_odds[truth], RNG),
            no_free_lunch.drawn_labels(-log_odds[truth], RNG),
            RNG.integers(0, 2, 300),
        )
        for y in sequences:
            regret = no_free_lunch.cumulative_regret(log_odds, y, log_odds[truth], prior)
            assert regret.max() <= np.log(1 / prior[truth]) + 1e-9


def test_regret_is_that_of_a_mixture_by_hand():
    log_odds, prior = np.array([[2.0, -1.0], [0.5, 0.3]]), np.array([0.3, 0.7])
    p, own = expit(log_odds), expit(log_odds[0])
    first = prior @ p[:, 0]
    posterior = prior * p[:, 0] / first
    second = 1 - posterior @ p[:, 1]
    expected = np.log(own[0] * (1 - own[1])) - np.log(first * second)
    found = no_free_lunch.cumulative_regret(log_odds, np.array([1, 0]), log_odds[0], prior)
    assert found[-1] == pytest.approx(expected)
