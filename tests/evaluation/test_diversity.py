"""Measures of how bags differ, against hand-made bags and brute force."""

from itertools import permutations

import numpy as np
import pytest

from elkutils.evaluation import (
    agreement,
    brier_split,
    correlations,
    disagreement,
    mutual_information,
    total_variation,
)

SAME = np.array([[0.2, 0.9, 0.5]] * 4)
SPLIT = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])


def test_disagreement_is_that_of_two_different_members():
    proba = np.random.default_rng(0).random((7, 5))
    verdicts = proba > 0.5
    pairs = [verdicts[i] != verdicts[j] for i, j in permutations(range(7), 2)]
    np.testing.assert_allclose(disagreement(proba), np.mean(pairs, axis=0))
    assert disagreement(SAME).max() == 0


def test_mutual_information_of_certain_members_that_contradict_is_a_bit():
    np.testing.assert_allclose(mutual_information(SPLIT), [np.log(2), 0])
    np.testing.assert_allclose(mutual_information(SAME), 0, atol=1e-12)


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    p = np.random.default_rng(1).random((6, 4))
    m = p.mean(axis=0)
    divergence = p * np.log(p / m) + (1 - p) * np.log((1 - p) / (1 - m))
    np.testing.assert_allclose(mutual_information(p), divergence.mean(axis=0))


def test_total_variation_is_the_largest_difference_of_an_events_probability():
    p, q = (np.random.default_rng(s).random((k, 3)) for s, k in ((0, 4), (1, 6)))
    outcomes = [np.stack([1 - m, m]) for m in (p.mean(axis=0), q.mean(axis=0))]
    expected = 0.5 * np.abs(outcomes[0] - outcomes[1]).sum(axis=0)
    np.testing.assert_allclose(total_variation(p, q), expected)
    np.testing.assert_array_equal(total_variation(p, q), total_variation(q, p))
    np.testing.assert_array_equal(total_variation(SPLIT[:, :1], 1 - SPLIT[:, :1]), 0)


def test_agreement_is_about_the_sides_of_one_half():
    bag, other = np.array([[0.9, 0.2, 0.5], [0.3, 0.4, 0.5]]), np.array([[0.51, 0.6, 0.1]])
    np.testing.assert_array_equal(agreement(bag, other), [1, 0, 1])
    with pytest.raises(ValueError, match="other"):
        agreement(bag, np.full((2, 2), 0.5))


def test_one_member_is_no_bag_but_is_measured():
    one = np.array([[0.3, 1.0, 0.0]])
    np.testing.assert_array_equal(disagreement(one), 0)
    np.testing.assert_allclose(mutual_information(one), 0)
    np.testing.assert_allclose(total_variation(one, 1 - one), [0.4, 1, 1])


@pytest.mark.parametrize("measure", [disagreement, mutual_information])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([[0.5, np.nan]], "NaN"),
        ([[0.5, 1.1]], "between 0 and 1"),
        ([0.5, 0.5], r"\(draws, n\)"),
        (np.zeros((0, 3)), "not empty"),
    ],
)
def test_bad_bags_are_refused(measure, bad, said):
    with pytest.raises(ValueError, match=said):
        measure(bad)
    with pytest.raises(ValueError, match="other"):
        total_variation(np.full((2, 4), 0.5), np.full((2, 3), 0.5))


def test_the_brier_score_of_members_is_the_bags_and_their_variance():
    rng = np.random.default_rng(0)
    proba, y = rng.random((7, 50)), rng.integers(0, 2, 50)
    split = brier_split(y, proba)
    np.testing.assert_allclose(split.member, ((proba - y) ** 2).mean(axis=0))
    np.testing.assert_allclose(split.bag, (proba.mean(axis=0) - y) ** 2, atol=1e-15)
    np.testing.assert_allclose(split.member, split.bag + split.variance)
    assert split.share == pytest.approx(split.variance.mean() / split.member.mean())


def test_with_ddof_1_the_split_is_that_of_an_infinite_bag():
    """Mean over many bags of three, against members from a Beta distribution."""
    rng = np.random.default_rng(1)
    a, b, y = 2.0, 3.0, np.array([1.0])
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    found = [brier_split(y, rng.beta(a, b, (3, 1)), ddof=1) for _ in range(4000)]
    for name, expected in (("variance", variance), ("bag", (1 - mean) ** 2)):
        values = np.array([getattr(split, name)[0] for split in found])
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))
    exact = [brier_split(y, rng.beta(a, b, (3, 1))).variance[0] for _ in range(4000)]
    assert np.mean(exact) == pytest.approx(variance * 2 / 3, rel=0.1)


@pytest.mark.parametrize(
    ("proba", "ddof", "match"),
    [
        ([[0.5, 0.5]], 0, "one member"),
        ([[0.5, np.nan], [0.5, 0.5]], 0, "NaN"),
        ([[0.5], [0.5]], 0, "match"),
        ([[0.5, 0.4], [0.5, 0.5]], 2, "ddof is 2"),
    ],
)
def test_bad_bags_are_not_split(proba, ddof, match):
    with pytest.raises(ValueError, match=match):
        brier_split([0, 1], proba, ddof)


def test_correlations_within_bases_and_between_them():
    rng = np.random.default_rng(2)
    common = rng.standard_normal((3, 1, 400))
    heads = common + 0.5 * rng.standard_normal((3, 4, 400))
    found = correlations(heads)
    pairs = np.corrcoef(heads.reshape(12, 400))
    assert found[0, 1] == pytest.approx(pairs[:4, 4:8].mean())
    assert found[2, 2] == pytest.approx(pairs[8:, 8:][~np.eye(4, dtype=bool)].mean())
    np.testing.assert_allclose(found, found.T)
    assert np.diag(found).min() > 0.7 > 0.2 > np.abs(found[0, 1])
    np.testing.assert_allclose(
        correlations(heads, ranks=True), correlations(np.exp(heads), ranks=True)
    )


@pytest.mark.parametrize(
    ("log_odds", "match"),
    [
        (np.zeros((2, 1, 5)), "shape"),
        (np.zeros((1, 2, 5)), "shape"),
        (np.zeros((2, 5)), "shape"),
        (np.ones((2, 2, 5)), "same for every input"),
        (np.full((2, 2, 5), np.nan), "NaN"),
        (np.arange(20.0).reshape(2, 2, 5) * np.inf, "NaN|infinite"),
    ],
)
def test_heads_without_a_correlation_are_refused(log_odds, match):
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=match),
    ):
        correlations(log_odds)
