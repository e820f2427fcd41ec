"""Every group is held out once, by a probe that was not shown it."""

from types import SimpleNamespace

import numpy as np
import pytest

from elkutils.evaluation import accuracy, auroc, bootstrap, difference
from elkutils.ledger import claims
from elkutils.study import crossing
from elkutils.study.crossing import (
    ask_by_fold,
    by_fold,
    deal,
    noninferiority_controls,
    not_trained_on,
    over_layers,
    per_fold,
    rival_controls,
)

GROUPS = np.repeat(np.arange(12), 2)


class Nearest:
    """Answers the label of the nearest training row, and counts what it was shown."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def decision_function(self, X):
        gaps = ((X[:, None] - self.X) ** 2).sum(axis=-1)
        return gaps.min(axis=1)


@pytest.fixture
def reading(monkeypatch):
    rng = np.random.default_rng(0)

    def part(count):
        y = np.tile([0, 1], count // 2)
        return SimpleNamespace(X={3: rng.normal(size=(count, 4))}, y=y, groups=GROUPS[:count])

    found = {"easy": part(24), "easy_negated": part(24), "hard": part(10)}
    monkeypatch.setattr(crossing.readings, "read", lambda model, name, seed: found)
    return found


def test_rows_of_a_group_share_a_fold_and_folds_are_of_equal_size():
    fold = deal(GROUPS, 3, seed=1)
    assert all(len(set(fold[group == GROUPS])) == 1 for group in range(12))
    assert np.bincount(fold).tolist() == [8, 8, 8]
    assert not np.array_equal(fold, deal(GROUPS, 3, seed=2))


@pytest.mark.parametrize("folds", [1, 13])
def test_folds_need_groups(folds):
    with pytest.raises(ValueError, match="folds"):
        deal(GROUPS, folds, seed=0)


def test_a_fold_is_asked_about_groups_outside_its_training_rows(reading):
    for sets in by_fold(None, "cities", 0, 3, 3):
        X, y, groups = sets["train"]
        assert not set(groups) & set(sets["easy"][2])
        assert np.array_equal(sets["easy"][2], sets["easy_negated"][2])
        assert X.mean(axis=0) == pytest.approx(0, abs=1e-12)
        assert len(X) == len(y) == 16
        assert len(sets["hard"][0]) == 10


def test_every_easy_row_is_asked_once_of_a_probe_that_never_saw_it(reading):
    found = ask_by_fold(None, "cities", 0, [3], 3, lambda X, y: {"nearest": Nearest(X, y)})
    y, odds, fold, groups = found["easy"]
    assert sorted(groups) == GROUPS.tolist()
    assert np.bincount(fold).tolist() == [8, 8, 8]
    assert odds["nearest", 3].min() > 0  # no row is at a distance of 0 from a training row
    assert np.array_equal(y, np.concatenate([reading["easy"].y[:8]] * 3))
    assert set(found["hard"][2]) == {0}
    assert len(found["hard"][0]) == 10


def test_folds_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    y, fold = np.tile([0, 1], 60), np.repeat([0, 1, 2], 40)
    scores = y + rng.normal(size=120)
    each = [auroc(y[fold == f], scores[fold == f]) for f in range(3)]
    assert per_fold(auroc)(y, scores, fold) == pytest.approx(np.mean(each))
    shifted = scores + 100 * fold
    assert per_fold(auroc)(y, shifted, fold) == pytest.approx(np.mean(each))
    found = bootstrap(per_fold(auroc), y, scores, fold, groups=np.arange(120) // 2)
    assert found.lower < found.estimate < found.upper


def rows_of_two_probes(groups=40):
    """Rows of one seed: a good and a bad probe on layers 1 and 2, in two folds."""
    rng = np.random.default_rng(0)
    of, y = np.repeat(np.arange(groups), 2), np.tile([0, 1], groups)
    columns = [(name, layer) for name in ("good", "bad") for layer in (1, 2)]
    odds = [rng.normal(gap * (2 * y - 1), 1) for gap in (2.0, 1.5, 0.3, 0.2)]
    return columns, (y, *odds, deal(of, 2, seed=0), of, np.zeros(2 * groups, int))


def test_scores_and_differences_are_means_over_layers_and_folds():
    columns, rows = rows_of_two_probes()
    y, *odds, fold, groups, seeds = rows
    ids = {"groups": groups, "seeds": seeds, "resamples": 50}
    by_hand = np.mean(
        [[auroc(y[fold == k], each[fold == k]) for each in odds[:2]] for k in (0, 1)]
    )
    good = over_layers(auroc, rows, columns, ["good"], (1, 2), resamples=50)
    assert good.estimate == pytest.approx(by_hand)
    gap = over_layers(auroc, rows, columns, ["good", "bad"], (2,), resamples=50)
    assert gap == bootstrap(per_fold(difference(auroc)), y, odds[1], odds[3], fold, **ids)
    right = over_layers(accuracy, rows, columns, ["good"], (1,), resamples=50)
    assert right.estimate == pytest.approx(np.mean((odds[0] > 0) == y))


def test_rules_on_a_probe_pass_ties_and_no_planted_losses():
    _, rows = rows_of_two_probes(80)
    found = noninferiority_controls(claims()["C2"].criteria, rows, places=1)
    assert list(found) == list(claims()["C2"].criteria)
    assert min(positive.rate for positive, _ in found.values()) > 0.5
    assert max(negative.rate for _, negative in found.values()) < 0.1


def test_rules_on_rivals_tell_what_should_pass_from_what_should_not():
    _, rows = rows_of_two_probes(80)
    found = rival_controls(claims()["C0"].criteria, rows, shuffles=4, places=1)
    assert list(found) == list(claims()["C0"].criteria)
    for positive, negative in found.values():
        assert positive.rate > negative.rate + 0.5


def test_no_reporter_is_asked_about_rows_that_it_was_trained_on(reading):
    train, test = np.arange(16), np.arange(16, 24)
    split = SimpleNamespace(train_test=lambda seed: (train, test))
    for part in reading.values():
        part.split = split
    probe = Refitted()
    for kind, count in (("easy", 8), ("easy_negated", 8), ("hard", 10)):
        found = list(not_trained_on(probe, {0: reading, 1: reading}, 3, kind))
        assert [seed for seed, *_ in found] == [0, 1]
        for _, y, scores, groups in found:
            assert len(y) == len(scores) == len(groups) == count
            assert scores.min() > 0
    both = not_trained_on(probe, {0: reading}, 3, "easy_negated", ("easy", "easy_negated"))
    _, y, scores, _ = next(both)
    assert len(probe.X) == 32
    assert np.array_equal(y, reading["easy_negated"].y[test])
    assert scores.min() > 0


class Refitted(Nearest):
    def __init__(self):
        pass

    def fit(self, X, y):
        super().__init__(X, y)
        return self
