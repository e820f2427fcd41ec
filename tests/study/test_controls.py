"""A rule on calibration, with controls whose truth is known."""

import numpy as np
import pytest

from elkutils.evaluation import Interval, accuracy, auroc, difference
from elkutils.ledger import Criterion
from elkutils.study.controls import (
    auroc_by_pairs,
    mean_of_logistic,
    planted_chains,
    planted_events,
    planted_interval,
    planted_rivals,
    planted_scores,
    rates,
    rescattered,
    rescattered_anywhere,
    shared,
)

RNG = np.random.default_rng(1)


def test_rates_count_the_runs_in_which_each_control_passes():
    criterion = Criterion("gain", "above", 0.0, "")

    def about(mean):
        return lambda rng: Interval.of_mean(rng.normal(mean, 1.0, 40))

    positive, negative = rates(criterion, about(1.0), about(-1.0))
    assert positive.rate > 0.99
    assert negative.passes == 0
    at_margin, _ = rates(criterion, about(0.0), about(0.0), runs=1000)
    assert abs(at_margin.rate - 0.025) < 4 * np.sqrt(0.025 * 0.975 / 1000)
    as_one_of_ten, _ = rates(criterion, about(0.0), about(0.0), places=10, runs=1000)
    assert as_one_of_ten.rate < 0.015


def test_planted_scores_have_the_auroc_asked_for_and_share_noise_by_group():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20_000)
    groups = np.repeat(np.arange(10_000), 4)
    scores = planted_scores(y, 0.8, groups, rng)
    assert auroc(y, scores) == pytest.approx(0.8, abs=0.01)
    pairs = scores[y == 0].reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_planted_events_happen_to_the_share_asked_for_and_together_in_a_group():
    groups = np.repeat(np.arange(20_000), 2)
    events = planted_events(0.2, groups, np.random.default_rng(0))
    assert events.mean() == pytest.approx(0.2, abs=0.01)
    assert 0.2 < np.corrcoef(events.reshape(-1, 2).T)[0, 1] < 0.5
    alone = planted_events(0.2, groups, np.random.default_rng(0), shared=0.0)
    assert abs(np.corrcoef(alone.reshape(-1, 2).T)[0, 1]) < 0.03


def test_planted_chains_have_the_spread_and_the_memory_asked_for():
    mean, sd = np.array([0.0, 3.0]), np.array([1.0, 2.0])
    found = planted_chains(np.tile(mean, 200), np.tile(sd, 200), 0.9, 500, RNG)
    for k in (0, 1):
        part = found[:, k::2]
        assert part.mean() == pytest.approx(mean[k], abs=0.1)
        assert part[0].std() == pytest.approx(sd[k], rel=0.15)
        assert part.std() == pytest.approx(sd[k], rel=0.05)
        left, right = part[:-1].ravel(), part[1:].ravel()
        assert np.corrcoef(left, right)[0, 1] == pytest.approx(0.9, abs=0.02)


def test_mean_of_logistic_is_that_of_many_draws():
    mean, sd = np.array([-3.0, 0.5]), np.array([2.0, 6.0])
    p = 1 / (1 + np.exp(-(mean + sd * RNG.standard_normal((400_000, 2)))))
    np.testing.assert_allclose(mean_of_logistic(mean, sd), p.mean(axis=0), atol=0.003)


def test_rescattered_effects_have_the_mean_that_was_planted():
    measured, rng = np.array([4.0, 5.0, 6.0, 9.0]), np.random.default_rng(0)
    found = [rescattered(2.0, measured, rng) for _ in range(2000)]
    estimates = np.array([each.estimate for each in found])
    error = measured.std() / 2
    assert abs(estimates.mean() - 2.0) < 4 * error / np.sqrt(len(found))
    assert estimates.std() == pytest.approx(error, rel=0.1)
    assert {each.df for each in found} == {3}


def test_a_place_is_drawn_before_its_scatter():
    narrow, wide = np.array([4.0, 5.0, 6.0, 9.0]), np.array([-30.0, 0.0, 30.0])
    make, rng = rescattered_anywhere(2.0, iter([narrow, wide])), np.random.default_rng(0)
    found = [make(rng) for _ in range(600)]
    assert np.mean([each.df == 2 for each in found]) == pytest.approx(0.5, abs=0.08)
    narrow_ones = [each.estimate for each in found if each.df == 3]
    assert np.mean(narrow_ones) == pytest.approx(2.0, abs=0.25)
    make = rescattered_anywhere([np.zeros(4), np.full(3, 80.0)], [narrow, wide])
    found = [make(rng) for _ in range(600)]
    for df, effect, sd in ((3, 0.0, 1.0), (2, 80.0, 15.0)):  # sd of the mean of a run
        estimates = [each.estimate for each in found if each.df == df]
        error = sd / np.sqrt(len(estimates))
        assert np.mean(estimates) == pytest.approx(effect, abs=4 * error)


def test_planted_rivals_have_their_aurocs_and_err_on_the_same_rows():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20_000)
    groups, seeds = np.repeat(np.arange(10_000), 4), np.tile([0, 0, 1, 1], 10_000)
    scores = planted_rivals(y, [0.9, 0.7], groups, seeds, rng, shared=0.8)
    assert [auroc(y, row) for row in scores] == pytest.approx([0.9, 0.7], abs=0.01)
    assert accuracy(y, 1 / (1 + np.exp(-scores[0]))) == pytest.approx(0.818, abs=0.01)
    assert np.corrcoef(scores[:, y == 0])[0, 1] == pytest.approx(0.8, abs=0.02)
    pairs = scores[0, y == 0].reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.4, abs=0.03)


def test_planted_rivals_drift_between_seeds_if_asked_to():
    rng = np.random.default_rng(0)
    y, seeds = np.tile([0, 1], 20_000), np.repeat(np.arange(40), 1000)
    scores = planted_rivals(y, [0.8], np.arange(40_000), seeds, rng, drift=0.5)[0]
    each = [auroc(y[seeds == s], scores[seeds == s]) for s in range(40)]
    assert np.std(each) > 0.05


def test_a_planted_interval_is_about_what_was_planted():
    y, groups = np.tile([0, 1], 300), np.repeat(np.arange(150), 4)
    seeds = np.tile([0, 0, 1, 1], 150)
    run = planted_interval(
        difference(auroc), y, [0.9, 0.7], groups=groups, seeds=seeds, resamples=100
    )
    first, again = run(np.random.default_rng(0)), run(np.random.default_rng(0))
    assert first == again
    found = [run(np.random.default_rng(i)) for i in range(20)]
    assert np.mean([each.estimate for each in found]) == pytest.approx(0.2, abs=0.03)
    assert all(each.lower < each.estimate < each.upper for each in found)


def test_auroc_by_pairs_is_the_auroc():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 30)
    score, weights = rng.integers(0, 9, 60), rng.integers(0, 3, (5, 60))
    assert auroc_by_pairs(y, score, weights) == pytest.approx(auroc(y, score, weights))
    assert auroc_by_pairs(y, score) == pytest.approx(auroc(y, score))


def test_each_planted_reporter_can_drift_by_itself():
    y, seeds = np.tile([0, 1], 20_000), np.repeat(np.arange(40), 1000)
    scores = planted_rivals(
        y, [0.8, 0.8], np.arange(40_000), seeds, np.random.default_rng(0), drift=(0.0, 0.5)
    )
    still, moving = (
        np.std([auroc(y[seeds == s], row[seeds == s]) for s in range(40)]) for row in scores
    )
    assert still < 0.03 < 0.05 < moving


def test_criteria_share_the_runs_of_a_control():
    count = []

    def run(rng):
        count.append(1)
        value = rng.normal(1.0, 0.1)
        return {name: Interval(value, value - 0.1, value + 0.1) for name in ("a", "b")}

    control = shared(run)
    criterion = Criterion("", "above", 0.5, "")
    first = rates(criterion, control("a"), control("a"))
    assert rates(criterion, control("b"), control("b")) == first
    assert len(count) == 400
    assert first[0].rate > 0.9
