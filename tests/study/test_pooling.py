"""Pooled rows keep their labels, groups and seeds together."""

import numpy as np
import pytest

from elkutils.evaluation import auroc, bootstrap, difference
from elkutils.study.pooling import interval, pooled

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
