"""Paired gains of an average: its halves share nothing, and its clarity is a t statistic."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from elkutils.study.averages import Gain


@pytest.fixture
def gain():
    groups, seeds = np.tile(np.arange(10), 5), np.repeat(np.arange(5), 10)
    values = np.random.default_rng(0).normal(size=50)
    return Gain(values, values > 0, np.full(50, 0.7), groups, seeds)


def test_halves_share_neither_groups_nor_seeds(gain):
    first, second = gain.halves()
    assert not set(first.groups) & set(second.groups)
    assert not set(first.seeds) & set(second.seeds)
    assert (len(set(first.seeds)), len(set(second.seeds))) == (2, 3)
    assert len(first.gain) == 2 * 5
    assert len(second.gain) == 3 * 5


def test_one_seed_has_no_halves(gain):
    with pytest.raises(ValueError, match="at least two"):
        gain.at(gain.seeds == 0).halves()


def test_clarity_is_the_t_statistic_of_group_means(gain):
    means = gain.gain.reshape(5, 10).mean(axis=0)
    assert gain.clarity == pytest.approx(ttest_1samp(means, 0).statistic)
