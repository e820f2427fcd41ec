"""The theorems of the chapter on easy and hard: exact, by enumeration and on grids."""

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, xlogy


@pytest.fixture(scope="module")
def world():
    """Two hundred reporters as the whole prior, six rows to learn from, five far away."""
    rng = np.random.default_rng(0)
    w, prior = rng.normal(size=(200, 3)) * 2, rng.dirichlet(np.ones(200))
    X, far = rng.normal(size=(6, 3)), rng.normal(size=(5, 3)) * [0.1, 4, 4] + [3, 0, 0]
    labels = np.array(list(product([0, 1], repeat=6)))
    p = expit(w @ X.T)[:, None]
    likelihood = np.where(labels, p, 1 - p).prod(axis=2)
    joint = prior[:, None] * likelihood  # (reporter, labelling)
    return joint, expit(w @ far.T)


def expected_log_score(joint, truth, q):
    """Over reporters, labellings and what a far row turns out to be, exactly."""
    hit = np.einsum("wl,wn->ln", joint, truth)
    miss = np.einsum("wl,wn->ln", joint, 1 - truth)
    return (xlogy(hit, q) + xlogy(miss, 1 - q)).sum() / q.shape[1]


def test_no_rule_beats_the_average_where_the_prior_is_right(world):
    joint, truth = world
    average = np.einsum("wl,wn->ln", joint, truth) / joint.sum(axis=0)[:, None]
    best = expected_log_score(joint, truth, average)
    most_probable = truth[joint.argmax(axis=0)]
    assert expected_log_score(joint, truth, most_probable) < best - 0.01
    rng = np.random.default_rng(1)
    for size in (1e-3, 0.1, 1.0):
        logit = np.log(average / (1 - average))
        other = expit(logit + size * rng.normal(size=average.shape))
        assert expected_log_score(joint, truth, other) < best


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("centre", [-4.0, -0.5, 0.0, 2.0])
def test_symmetric_doubt_draws_the_average_towards_one_half(centre, spread):
    grid = np.linspace(-1, 1, 2001)
    shapes = {
        "two points": np.array([-1.0, 1.0]),
        "even": grid,
        "normal": np.sqrt(2) * np.polynomial.hermite_e.hermegauss(80)[0] / 2,
    }
    for away in shapes.values():
        mean = expit(centre + spread * away).mean()
        low, high = sorted((0.5, expit(centre)))
        assert low - 1e-12 <= mean <= high + 1e-12


def test_lopsided_doubt_need_not():
    draws = np.array([0.5, 0.5, 0.5, 12.0])  # its mode says .62, its average more
    assert expit(draws).mean() > expit(0.5)


@pytest.mark.parametrize(("p", "m"), [(0.6, 0.9), (0.5, 0.51), (0.7, 0.999)])
def test_the_cautious_win_where_the_world_is_harsher_than_a_number_between(p, m):
    caution = np.log((1 - p) / (1 - m))
    threshold = caution / (caution + np.log(m / p))
    assert p < threshold < m
    for right in np.linspace(0, 1, 101):
        score_p = right * np.log(p) + (1 - right) * np.log(1 - p)
        score_m = right * np.log(m) + (1 - right) * np.log(1 - m)
        assert (score_p > score_m) == (right < threshold)
