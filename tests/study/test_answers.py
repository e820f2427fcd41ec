"""Answers stay with the rows that they are about, on a small made-up pair of shifts."""

import numpy as np
import pytest

from elkutils.evaluation import accuracy, auroc, bootstrap, class_distance, log_score
from elkutils.ledger import Criterion
from elkutils.reporters import DifferenceInMeans, LogisticMAP
from elkutils.study import answers, shifts
from elkutils.study.calibration import folds

LAYERS = (0, 1, 2, 3)


def rows(seed, n, moved=0.0):
    rng = np.random.default_rng((seed, n))
    y = np.arange(n) % 2
    X = {  # features tell the truth in later layers
        layer: rng.standard_normal((n, 2)) + layer * np.outer(2 * y - 1, [1, 0]) + moved
        for layer in LAYERS
    }
    return shifts.Rows(X, y, np.arange(n) // 2 + n)


@pytest.fixture
def asked(monkeypatch):
    def read(model, name, seed):
        moved = {"near": 1.0, "far": 9.0}[name]
        return shifts.Shift(rows(seed, 60), rows(seed, 40), rows(seed, 30, moved))

    monkeypatch.setattr(shifts, "read", read)
    monkeypatch.setattr(shifts, "seeds", lambda name: range(2))
    monkeypatch.setattr(shifts, "trained_on", lambda name: "near")
    return answers.ask(None, ("near", "far"), make, 2)


def make(d, seed):
    return {"MAP": LogisticMAP(1.0), "difference": DifferenceInMeans()}


def test_places_are_read_in_steps_and_at_the_end(asked):
    assert asked.places == {"near": [0, 2, 3], "far": [0, 2, 3]}


def test_forecasts_are_those_of_the_reporter_that_was_trained_on_the_seed(asked):
    X, easy, hard = shifts.read(None, "far", 1).at(2)
    reporter = LogisticMAP(1.0).fit(X, rows(1, 60).y)
    p = asked.forecast("far", 2, "MAP", "hard")
    assert np.array_equal(p[30:], reporter.predict_proba(hard)[:, 1])
    p = asked.forecast("near", 2, "MAP", "easy")
    assert np.array_equal(p[40:], reporter.predict_proba(easy)[:, 1])
    y, groups, which = asked.about("far", "hard")
    assert which.tolist() == [0] * 30 + [1] * 30
    assert np.array_equal(groups, np.tile(np.arange(30) // 2 + 30, 2))
    assert np.array_equal(y, np.tile(np.arange(30) % 2, 2))
    assert asked.doubt("far", 2, "MAP", "hard") == pytest.approx(np.zeros(60))  # one draw


def test_scores_are_means_over_seeds_and_intervals_resample_groups_and_seeds(asked):
    y, groups, which = asked.about("near", "hard")
    p = asked.forecast("near", 2, "MAP", "hard")
    each = [auroc(y[which == seed], p[which == seed]) for seed in (0, 1)]
    assert asked.mean_score(auroc, "near", 2, "MAP", "hard") == pytest.approx(np.mean(each))
    direct = bootstrap(auroc, y, p, groups=groups, seeds=which, resamples=50)
    assert asked.interval(auroc, "near", 2, "MAP", "hard", resamples=50) == direct


def test_the_best_place_is_that_of_the_best_easy_log_score(asked):
    y, _, _ = asked.about("near", "easy")
    best = asked.best_place("near", "MAP")
    scores = [log_score(y, asked.forecast("near", place, "MAP", "easy")) for place in (0, 2, 3)]
    assert best == (0, 2, 3)[int(np.argmax(scores))] == 3
    assert accuracy(y, asked.forecast("near", 3, "MAP", "easy")) > 0.9


def test_the_two_halves_share_neither_groups_nor_seeds(asked):
    first = asked.half("far", 2, ("MAP", "difference"), 0)
    second = asked.half("far", 2, ("MAP", "difference"), 1)
    for y, mine, other, groups, which in (first, second):
        assert len(y) == len(mine) == len(other) == len(groups) == len(which)
        assert not np.array_equal(mine, other)
    assert not set(first[3]) & set(second[3])
    assert set(first[4]) == {0}
    assert set(second[4]) == {1}
    _, _, _, groups, _ = first
    kept = np.isin(asked.about("far", "hard")[1][:30], groups)
    assert np.array_equal(first[1], asked.forecast("far", 2, "MAP", "hard")[:30][kept])


def test_distances_are_from_the_training_rows_in_the_order_of_forecasts(asked):
    found = answers.distances(None, "far", 2)
    X, easy, hard = shifts.read(None, "far", 1).at(2)
    y = rows(1, 60).y
    assert np.array_equal(found["easy"][40:], class_distance(X, y, easy))
    assert np.array_equal(found["hard"][30:], class_distance(X, y, hard))
    assert found["hard"].min() > np.median(found["easy"])


def test_places_may_be_named_and_answers_joined(asked):
    def one(d, seed):
        return {"loose": LogisticMAP(10.0)}

    more = answers.ask(None, ("near", "far"), one, {"near": [3], "far": [2, 3]})
    both = asked.joined(more)
    assert more.places == {"near": [3], "far": [2, 3]}
    assert ("near", 2, "loose", "hard") not in both.answers
    X, _, hard = shifts.read(None, "far", 0).at(2)
    expected = LogisticMAP(10.0).fit(X, rows(0, 60).y).predict_proba(hard)[:, 1]
    assert np.array_equal(both.forecast("far", 2, "loose", "hard")[:30], expected)
    assert both.best_place("near", "MAP") == 3


def test_a_ceiling_is_trained_on_the_other_folds_of_the_hard_rows(asked):
    found = answers.ask_ceilings(None, ["far"], make, {"far": [0, 3]}, parts=3)
    hard = shifts.read(None, "far", 1).hard
    train, out = folds(hard.groups, 3, seed=1)[2]
    mean, sd = hard.X[3][train].mean(axis=0), hard.X[3][train].std(axis=0)
    X = (hard.X[3] - mean) / sd
    reporter = LogisticMAP(1.0).fit(X[train], hard.y[train])
    p = found.forecast("far", 3, "MAP", "hard")[30:]
    assert p[out] == pytest.approx(reporter.predict_proba(X[out])[:, 1], abs=1e-6)
    assert np.array_equal(found.about("far", "hard")[0], asked.about("far", "hard")[0])
    ceiling = found.mean_score(auroc, "far", 3, "MAP", "hard")
    assert ceiling > 0.9 > found.mean_score(auroc, "far", 0, "MAP", "hard")


def test_controls_ask_made_up_reporters_about_the_shift_with_the_fewest_groups(asked):
    rule = Criterion("AUROC", "above", 0.6, "")
    positive, negative = asked.controls(rule, auroc, ("near", "far"), (0.93, 0.5))
    assert positive.rate > 0.9
    assert negative.rate < 0.1
    seen = []

    def target(name):
        seen.append(name)
        return fewer.about(name, "hard")[0] == 0

    fewer = answers.Answers(
        {**asked.rows, ("far", "hard"): [rows(s, 20) for s in range(2)]},
        asked.places,
        asked.answers,
    )
    fewer.controls(rule, auroc, ("near", "far"), (0.99, 0.5), target)
    assert seen == ["far"]
