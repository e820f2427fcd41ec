"""What a ranking follows, on rows whose order is planted."""

from types import SimpleNamespace

import numpy as np
import pytest

from elkutils.reporters import BayesianLogistic, LogisticMAP
from elkutils.study import rankings, readings, shifts
from elkutils.study.answers import Answers

RNG = np.random.default_rng(0)


def rows(n, sign=1.0, groups=None):
    y = np.arange(n) % 2
    X = np.column_stack([sign * 3.0 * (2 * y - 1), np.ones(n)]) + RNG.normal(size=(n, 2))
    return shifts.Rows({5: X}, y, np.arange(n) if groups is None else groups)


def test_single_draws_rank_as_they_were_taught(monkeypatch):
    """Hard rows of which the telling feature is turned round: every draw ranks them wrongly."""
    shift = shifts.Shift(rows(40), rows(20), rows(30, sign=-1.0))
    monkeypatch.setattr(shifts, "read", lambda *_: shift)
    monkeypatch.setattr(shifts, "seeds", lambda name: range(5))

    def make(d, seed):
        return BayesianLogistic(1.0, draws=20, chains=4, seed=seed)

    scores, kept = rankings.of_draws(None, "turned", 5, make, count=2, thin=10)
    assert scores.shape == (2 * 4 * 2,)
    assert scores.max() < 0.2
    assert kept.shape == (4, 20, 30)


def test_the_order_within_the_truth_forgets_the_truth_itself():
    y, order = np.repeat([0, 1], 20), RNG.permutation(40).astype(float)
    assert rankings.within_truth(y, order + 100 * y, order) == pytest.approx(1)
    assert rankings.within_truth(y, order, -order - 100 * y) == pytest.approx(-1)


def test_negated_rows_are_compared_with_their_own_twins_and_cities(monkeypatch):
    n, test = 12, np.array([1, 3, 4, 6, 8, 9, 10, 11])
    pmi = RNG.normal(size=n)
    part = shifts.Rows({}, np.arange(len(test)) % 2, np.arange(len(test)))
    split = SimpleNamespace(train_test=lambda seed: (None, test))
    monkeypatch.setattr(readings, "read", lambda *_: {"easy": SimpleNamespace(split=split)})
    monkeypatch.setattr(readings, "rivals", lambda *_: {"easy": {"PMI": pmi}})
    monkeypatch.setattr(shifts, "seeds", lambda name: range(7, 9))
    twin = -pmi[test]
    answers = {
        ("negation", 5, "MAP", "easy"): [(np.zeros(8), None), (twin, None)],
        ("negation", 5, "MAP", "hard"): [(np.zeros(8), None), (10 - twin, None)],
    }
    asked = Answers({("negation", "hard"): [part, part]}, {}, answers)
    assert rankings.of_negated(None, asked, 5, "MAP", 8) == pytest.approx((-1, -1))


def test_a_reporter_taught_by_alice_is_asked_in_every_context(monkeypatch):
    def reading(sign):
        part = rows(40, sign)
        split = SimpleNamespace(train_test=lambda seed: (np.arange(30), np.arange(30, 40)))
        return SimpleNamespace(X=part.X, y=1 - part.y, split=split)

    signs = dict(zip(rankings.CONTEXTS, (1.0, 1.0, -1.0, -1.0), strict=True))
    read = {context: reading(sign) for context, sign in signs.items()}
    monkeypatch.setattr(readings, "read_persona", lambda adapter: read)
    scores = rankings.in_contexts(0, 5, 0, lambda d, seed: LogisticMAP(1.0))
    assert min(scores[:2]) > 0.9
    assert max(scores[2:]) < 0.1


def test_the_largest_shift_is_one_whose_seeds_share_their_groups():
    ids = np.arange(9)
    asked = Answers(
        {
            ("small", "hard"): [rows(4), rows(4)],
            ("large", "hard"): [rows(8), rows(8)],
            ("moving", "hard"): [rows(9), rows(9, groups=ids + 1)],
        },
        {},
        {},
    )
    assert rankings.largest_steady(asked, ["small", "large", "moving"]) == "large"
    with pytest.raises(ValueError, match="no shift asks about one set"):
        rankings.largest_steady(asked, ["moving"])
