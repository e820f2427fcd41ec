"""Pooled rows keep their labels, groups and seeds together."""

import numpy as np
import pytest

from elkutils.evaluation import Interval, auroc, bootstrap, difference, weighted_mean
from elkutils.study.pooling import interval, pooled, share

RNG = np.random.default_rng(0)
PARTS = [
    (seed, np.arange(n) % 2, RNG.random(n), RNG.random(n), np.arange(n) // 2)
    for seed, n in ((3, 40), (8, 60))
]


def test_rows_stay_together_across_columns():
    y, first, _, groups, seeds = pooled(PARTS)
    assert len(y) == len(first) == len(groups) == len(seeds) == 100
    for seed, labels, scores, _, ids in PARTS:
        rows = seeds == seed
        assert np.array_equal(y[rows], labels)
        assert np.array_equal(first[rows], scores)
        assert np.array_equal(groups[rows], ids)


def test_draws_are_pooled_along_their_rows():
    draws, seeds = pooled([(0, np.zeros((5, 2))), (1, np.ones((5, 3)))])
    assert draws.shape == (5, 5)
    assert np.array_equal(draws[0], seeds)


def test_the_interval_is_the_bootstrap_of_pooled_rows():
    y, first, second, groups, seeds = pooled(PARTS)
    direct = bootstrap(
        difference(auroc), y, first, second, groups=groups, seeds=seeds, resamples=50
    )
    assert interval(difference(auroc), iter(PARTS), resamples=50) == direct


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"seed 4 has arrays of \[2, 3\] rows"):
        pooled([(4, [0, 1], [0, 1, 2])])
    with pytest.raises(ValueError, match="parts is empty"):
        pooled([])


def test_a_share_has_a_bootstrap_interval_and_an_exact_one_at_the_ends():
    groups, seeds = np.arange(40) % 20, np.arange(40) // 20
    events = (np.arange(40) % 3 == 0).astype(float)
    options = {"groups": groups, "seeds": seeds, "resamples": 100}
    assert share(events, **options) == bootstrap(weighted_mean, events, **options)
    assert share(np.zeros(40), groups, seeds) == Interval.of_share(0, 20)
    assert share(np.ones(40, bool), groups, seeds, level=0.9) == Interval.of_share(20, 20, 0.9)
