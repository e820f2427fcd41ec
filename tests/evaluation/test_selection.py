"""Recall at a budget and selective prediction, against what can be counted by hand."""

from itertools import permutations

import numpy as np
import pytest

from elkutils.evaluation import (
    accuracy,
    auroc,
    bootstrap,
    error_auroc,
    prevalence_weights,
    recall_at,
    risk_coverage,
    selective_risk,
)


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


def test_the_area_by_weights_is_that_of_the_curve_and_weights_count_as_copies_at_a_coverage():
    rng = np.random.default_rng(4)
    y, proba, doubt = rng.integers(0, 2, 60), rng.random(60), rng.integers(0, 8, 60)
    assert selective_risk(y, proba) == pytest.approx(risk_coverage(y, proba).area, abs=1e-12)
    curve = risk_coverage(y, proba, -doubt)
    assert selective_risk(y, proba, doubt) == pytest.approx(curve.area, abs=1e-12)
    weights = rng.integers(0, 4, 60)
    copies = np.repeat(np.arange(60), weights)
    for coverage in (0.1, 0.33, 0.5, 1.0):
        expected = selective_risk(y[copies], proba[copies], doubt[copies], coverage=coverage)
        found = selective_risk(y, proba, doubt, weights, coverage)
        assert found == pytest.approx(expected, abs=1e-12)
    at_half = risk_coverage(y, proba, -doubt).risk[29]
    assert selective_risk(y, proba, doubt, coverage=0.5) == pytest.approx(at_half, abs=1e-12)


def test_selective_risk_takes_many_weights_at_once_and_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(5)
    y, proba, doubt = rng.integers(0, 2, 40), rng.random(40), rng.integers(0, 5, 40)
    weights, order = rng.integers(0, 3, (7, 40)), rng.permutation(40)
    for coverage in (None, 0.3):
        found = selective_risk(y, proba, doubt, weights, coverage)
        one = [selective_risk(y, proba, doubt, w, coverage) for w in weights]
        np.testing.assert_allclose(found, one)
        again = selective_risk(
            y[order], proba[order], doubt[order], weights[:, order], coverage
        )
        np.testing.assert_allclose(found, again)


def test_with_groups_each_group_counts_alike():
    """One group of 9 rows, all wrong and sure; nine groups of one row, all right."""
    y = np.repeat([0, 1], 9)
    proba = np.repeat([0.9, 0.8], 9)
    groups = np.append(np.zeros(9), np.arange(1, 10))
    assert risk_coverage(y, proba).risk[-1] == pytest.approx(0.5)
    found = risk_coverage(y, proba, groups=groups)
    assert found.risk[-1] == pytest.approx(0.1)
    assert found.coverage[8] == pytest.approx(0.1)
    assert found.risk[8] == pytest.approx(1)
    alone = risk_coverage(y, proba, groups=np.arange(18))
    assert alone.area == pytest.approx(risk_coverage(y, proba).area)
    assert alone.least == pytest.approx(risk_coverage(y, proba).least)


def test_doubt_that_is_the_error_ranks_it_perfectly_and_noise_does_not():
    rng = np.random.default_rng(6)
    y, proba = rng.integers(0, 2, 2000), rng.random(2000)
    wrong = (proba > 0.5) != y
    assert error_auroc(y, proba, wrong) == 1
    blind = bootstrap(
        error_auroc, y, proba, rng.random(2000), groups=np.arange(2000), level=0.999
    )
    assert blind.lower < 0.5 < blind.upper
    assert blind.estimate == pytest.approx(auroc(wrong, rng.random(2000)), abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, p: error_auroc(y, y, p), "wrong on 0 of 4 rows"),
        (lambda y, p: error_auroc(y, [p, p], p), "of draws take the mean"),
        (lambda y, p: error_auroc(y, p, p[:2]), "score has shape"),
        (lambda y, p: selective_risk(y, p, coverage=80), "coverage is 80"),
        (lambda y, p: selective_risk(y, p, p[:2]), "doubt has shape"),
        (lambda y, p: risk_coverage(y, p, groups=[1]), "groups"),
    ],
)
def test_bad_input_to_selective_risk_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.9, 0.4]))
