import warnings

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from elkutils.evaluation import accuracy, auroc, brier, log_score

SCORES = (auroc, accuracy, log_score, brier)


def forecast(seed, n=200, values=7):
    """Labels, tied forecasts strictly between 0 and 1, and integer weights with zeros."""
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    proba = rng.integers(1, values, n) / values
    weights = np.r_[1, 1, rng.integers(0, 4, n - 2)]
    return y, proba, weights


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", [2, 7, 10**6])
def test_auroc_agrees_with_scikit_learn_on_ties_and_weights(seed, values):
    y, score, weights = forecast(seed, values=values + 1)
    assert auroc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    expected = roc_auc_score(y, score, sample_weight=weights)
    assert auroc(y, score, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_other_scores_agree_with_scikit_learn(seed):
    y, proba, weights = forecast(seed)
    expected = -log_loss(y, proba, sample_weight=weights)
    assert log_score(y, proba, weights) == pytest.approx(expected, rel=1e-12)
    expected = brier_score_loss(y, proba, sample_weight=weights)
    assert brier(y, proba, weights) == pytest.approx(expected, rel=1e-12)
    right = (proba > 0.5) == y
    expected = np.average(right, weights=weights)
    assert accuracy(y, proba, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_leading_axes_and_weights_give_what_a_loop_gives(score):
    rng = np.random.default_rng(0)
    y, _, _ = forecast(0, n=60)
    proba = rng.integers(1, 5, (3, 4, 60)) / 5
    weights = rng.integers(0, 3, (3, 4, 60)) + (np.arange(60) < 2)
    looped = [[score(y, p) for p in row] for row in proba]
    np.testing.assert_allclose(score(y, proba), looped, rtol=1e-12)
    looped = np.reshape([score(y, proba[i], weights[i]) for i in np.ndindex(3, 4)], (3, 4))
    np.testing.assert_allclose(score(y, proba, weights), looped, rtol=1e-12)
    looped = [score(y, proba[0, 0], w) for w in weights[0]]
    np.testing.assert_allclose(score(y, proba[0, 0], weights[0]), looped, rtol=1e-12)
    looped = [score(y, p, weights[0, 0]) for p in proba[0]]
    np.testing.assert_allclose(score(y, proba[0], weights[0, 0]), looped, rtol=1e-12)


def test_votes_of_an_ensemble_tie_and_count_half():
    assert auroc([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]) == 0.5
    assert auroc([0, 0, 1, 1], [0.2, 0.6, 0.6, 0.8]) == 0.875


def test_auroc_takes_infinite_scores():
    assert auroc([0, 1, 1], [-np.inf, 0.0, np.inf]) == 1.0


def test_auroc_is_nan_where_the_weights_leave_one_class():
    weights = np.array([[1, 1, 1], [0, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = auroc([0, 1, 1], [0.1, 0.2, 0.3], weights)
    assert values[0] == 1
    assert np.isnan(values[1])


def test_log_score_is_infinite_only_for_what_was_called_impossible():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_score([0, 1], [0.0, 1.0]) == 0
        assert log_score([0, 1], [0.0, 0.0]) == -np.inf
        assert log_score([0, 1], [1.0, 1.0]) == -np.inf
        assert log_score([0, 1], [0.0, 0.0], [1, 0]) == 0


def test_exactly_a_half_says_no():
    assert accuracy([0, 1], [0.5, 0.5]) == 0.5
    assert accuracy([0, 0], [0.5, 0.5]) == 1.0


@pytest.mark.parametrize("score", SCORES)
def test_booleans_and_half_precision_work(score):
    y = np.array([False, True, True])
    proba = np.array([0.25, 0.5, 0.75], dtype=np.float16)
    assert score(y, proba) == score([0, 1, 1], [0.25, 0.5, 0.75])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("y", "proba", "match"),
    [
        ([], [], "y has shape"),
        ([[0, 1]], [[0.1, 0.2]], "y has shape"),
        (["no", "yes"], [0.1, 0.2], "y has dtype"),
        ([0, 2], [0.1, 0.2], "only 0 and 1"),
        ([0, np.nan], [0.1, 0.2], "only 0 and 1"),
        ([0, 1], [0.1, np.nan], "holds NaN"),
        ([0, 1], [0.1, 0.2, 0.3], "has shape"),
        ([0, 1], 0.5, "has shape"),
        ([0, 1], ["a", "b"], "has dtype"),
    ],
)
def test_bad_input_is_named(score, y, proba, match):
    with pytest.raises(ValueError, match=match):
        score(y, proba)


@pytest.mark.parametrize("score", [accuracy, log_score, brier])
@pytest.mark.parametrize("proba", [[0.5, 1.1], [-0.1, 0.5]])
def test_probabilities_outside_the_unit_interval_are_refused(score, proba):
    with pytest.raises(ValueError, match="between 0 and 1"):
        score([0, 1], proba)


@pytest.mark.parametrize("weights", [[1, -1], [1, np.inf], [1, np.nan], [1, 1, 1]])
@pytest.mark.parametrize("score", SCORES)
def test_bad_weights_are_refused(score, weights):
    with pytest.raises(ValueError, match="weights"):
        score([0, 1], [0.1, 0.2], weights)


@pytest.mark.parametrize("label", [0, 1])
def test_auroc_needs_both_classes(label):
    with pytest.raises(ValueError, match=f"only {label}"):
        auroc([label] * 3, [0.1, 0.2, 0.3])
