"""Measures of how bags differ, against hand-made bags and brute force."""

from itertools import permutations

import numpy as np
import pytest

from elkutils.evaluation import (
    agreement,
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
