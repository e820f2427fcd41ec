"""Streams hold the rows they say, in the order they say, and forecasts come before labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from elkutils.evaluation import online
from elkutils.reporters import LogisticMAP
from elkutils.study import readings, streams

RNG = np.random.default_rng(0)
SIZES = {"easy": 40, "hard": 200, "easy negated": 40, "hard negated": 200}
PARTS = {
    kind: (RNG.normal(i, 0.01, (n, 2)), np.arange(n) % 2, np.arange(n))
    for i, (kind, n) in enumerate(SIZES.items())
}


def test_no_group_is_in_two_of_the_three_parts():
    split = readings.make_task("cities", 0).splits["easy"]
    parts = streams.in_three(split, seed=0)
    assert sorted(np.concatenate(parts)) == list(range(len(split)))
    groups = [set(split.groups[rows]) for rows in parts]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert 0.2 < len(groups[1]) / len(groups[0] | groups[1]) < 0.4


def test_parts_are_scaled_by_the_rows_to_fit_on(monkeypatch):
    task = readings.make_task("cities", 0)
    found = {
        name: SimpleNamespace(
            split=split,
            X={3: RNG.normal(5, 2, (len(split), 4)).astype(np.float32)},
            y=split.labels,
            groups=split.groups,
        )
        for name, split in task.splits.items()
    }
    monkeypatch.setattr(readings, "read", lambda model, name, seed: found)
    parts = streams.in_parts(None, "cities", 0, 3)
    X, y, _ = parts["fit"]
    assert X.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert X.std(axis=0) == pytest.approx(1)
    assert len(y) < len(task.splits["easy"])
    assert np.array_equal(parts["easy"][1], 1 - parts["easy negated"][1])
    assert len(parts["hard negated"][1]) == len(task.splits["hard_negated"])


def test_contexts_come_one_after_another_and_are_cut():
    X, y, groups, context = streams.contexts(PARTS, seed=1, most=60)
    assert np.bincount(context).tolist() == [40, 60, 60]
    assert np.all(np.diff(context) >= 0)
    assert np.allclose(X[context == 0], 0, atol=0.1)
    assert np.allclose(X[context == 1], 1, atol=0.1)
    assert np.all(X[context == 2] > 1.5)
    assert len(y) == len(X) == len(groups)
    assert np.array_equal(y, groups % 2)  # as planted, so columns keep together


@pytest.mark.parametrize("order", streams.ORDERS)
def test_orders_are_permutations_of_what_they_name(order):
    context = np.repeat([0, 1, 2], 45)
    rows = streams.ordering(context, order, seed=2)
    assert sorted(rows) == list(range(135))
    blocks = context[rows].reshape(-1, streams.BLOCK)
    if order == "mixed":
        assert not np.all(blocks == blocks[:, :1])
    else:
        expected = {
            "easy, hard, negated": [0] * 3 + [1] * 3 + [2] * 3,
            "negated, hard, easy": [2] * 3 + [1] * 3 + [0] * 3,
            "in turns": [0, 1, 2] * 3,
        }
        assert blocks[:, 0].tolist() == expected[order]
        assert np.all(blocks == blocks[:, :1])


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match="order is 'sorted'"):
        streams.ordering(np.zeros(3, int), "sorted", 0)


def test_one_row_in_twenty_is_negated():
    context = np.repeat([0, 1, 2], [80, 110, 100])
    rows = streams.with_few_negated(context, seed=0)
    assert len(set(rows)) == len(rows) == 200
    assert np.sum(context[rows] == 2) == 10
    assert not np.array_equal(rows, streams.with_few_negated(context, seed=0, repeat=1))


def test_repeats_share_no_negated_row_until_all_have_come():
    context = np.repeat([0, 1, 2], [80, 110, 100])
    found = [streams.with_few_negated(context, 0, r) for r in range(10)]
    negated = [set(rows[context[rows] == 2]) for rows in found]
    assert set.union(*negated) == set(range(190, 290))
    assert sum(map(len, negated)) == 100


def test_each_third_of_the_groups_is_tested_on_once():
    split = readings.make_task("cities", 0).splits["easy"]
    tests = [streams.in_three(split, seed=0, fold=fold)[2] for fold in range(streams.FOLDS)]
    assert sorted(np.concatenate(tests)) == list(range(len(split)))


def test_adversaries_do_what_they_say():
    sets, labels = streams.missing(online.AdaptiveConformal([0.2, 0.6, 0.9]), 200)
    missed = ~sets[np.arange(200), labels]
    assert np.all(missed == ~sets.all(axis=1))
    forecasts, labels = streams.contrary(online.RunningMean(10), 200)
    assert np.array_equal(labels, forecasts < 0.5)
    for method in (online.OnlinePlatt([0, 1], [-1, 1]), online.Hedged(4)):
        forecasts, labels = streams.contrary(method, 50)
        assert forecasts.shape == labels.shape == (50,)


def test_a_refitted_reporter_learns_blocks_that_are_over_and_no_others():
    X = np.r_[RNG.normal(0, 1, (20, 1)), RNG.normal(0, 1, (40, 1))]
    y = np.r_[X[:20, 0] > 0, X[20:, 0] < 0].astype(int)
    said = streams.refitted(lambda: LogisticMAP(1.0), (X[:20], y[:20]), X[20:], y[20:], 20)
    alone = LogisticMAP(1.0).fit(X[:20], y[:20]).predict_proba(X[20:40])[:, 1]
    assert np.array_equal(said[:20], alone)
    later = LogisticMAP(1.0).fit(X[:40], y[:40]).predict_proba(X[40:])[:, 1]
    assert np.array_equal(said[20:], later)
