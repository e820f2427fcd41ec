"""Recall at a budget and selective prediction, against what can be counted by hand."""

from itertools import permutations

import numpy as np
import pytest

from elkutils.evaluation import accuracy, prevalence_weights, recall_at, risk_coverage


def by_every_order(y, score, budget):
    """Mean recall over all orders of the rows, ties in the order they come."""
    rows = np.arange(len(y))
    paid = round(budget * len(y))
    shares = []
    for order in permutations(rows):
        order = np.array(order)
        first = order[np.argsort(-score[order], kind="stable")][:paid]
        shares.append(y[first].sum() / y.sum())
    return np.mean(shares)


@pytest.mark.parametrize("paid", [1, 2, 3, 6])
def test_a_tie_is_cut_as_if_its_order_were_random(paid):
    y, score = np.array([1, 0, 1, 0, 1, 0]), np.array([3, 2, 2, 2, 1, 1.0])
    expected = by_every_order(y, score, paid / 6)
    assert recall_at(y, score, paid / 6) == pytest.approx(expected, abs=1e-12)


def test_weights_count_as_copies():
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, 40), rng.integers(0, 5, 40)
    weights = rng.integers(0, 4, 40)
    copies = np.repeat(np.arange(40), weights)
    for budget in (0.01, 0.1, 0.5, 1.0):
        expected = recall_at(y[copies], score[copies], budget)
        assert recall_at(y, score, budget, weights) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_score_finds_as_many_as_the_budget_pays_for():
    y = np.repeat([0, 1], [60, 40])
    assert recall_at(y, y, 0.1) == pytest.approx(0.25)
    weights = prevalence_weights(y, 0.01)
    assert (weights * y).sum() / weights.sum() == pytest.approx(0.01)
    assert recall_at(y, y, 0.01, weights) == pytest.approx(1.0)
    assert recall_at(y, 1 - y, 0.01, weights) == 0.0


def test_recall_takes_many_scores_and_weights_at_once():
    rng = np.random.default_rng(1)
    y, scores, weights = rng.integers(0, 2, 30), rng.random((3, 30)), rng.random((3, 30))
    found = recall_at(y, scores, 0.2, weights)
    expected = [recall_at(y, s, 0.2, w) for s, w in zip(scores, weights, strict=True)]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(recall_at(y, scores[0], 0.2, 1 - y))


def test_risk_over_all_rows_is_the_error_rate_and_ties_are_spread():
    rng = np.random.default_rng(2)
    y, proba = rng.integers(0, 2, 50), rng.integers(0, 9, 50) / 8
    curve = risk_coverage(y, proba)
    assert curve.risk[-1] == pytest.approx(1 - accuracy(y, proba))
    assert curve.coverage[-1] == 1
    order = rng.permutation(50)
    np.testing.assert_allclose(risk_coverage(y[order], proba[order]).risk, curve.risk)
    flat = risk_coverage(y, proba, np.zeros(50))
    np.testing.assert_allclose(flat.risk, curve.risk[-1])
    wrong = (proba > 0.5) != y
    assert risk_coverage(y, proba, -wrong.astype(float)).area == pytest.approx(curve.least)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: recall_at([0, 1], [0.1, 0.2], 0), "budget is 0"),
        (lambda: recall_at([0, 1], [0.1, np.nan]), "score holds NaN"),
        (lambda: prevalence_weights([0, 1], 1.0), "prevalence is 1"),
        (lambda: prevalence_weights([1, 1], 0.5), "needs both classes"),
        (lambda: risk_coverage([], []), "y has shape"),
        (lambda: risk_coverage([0, 1], [[0.1, 0.2]]), "one forecast"),
        (lambda: risk_coverage([0, 1], [0.1, 0.2], [1.0]), "confidence has shape"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
