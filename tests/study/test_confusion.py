"""Heads that act like a known hypothesis, and where two floors meet."""

import numpy as np
import pytest

from elkutils.evaluation import hoeffding_kl
from elkutils.study import confusion
from elkutils.study.confusion import KINDS, Taught, _alternating, binding_members
from elkutils.tasks import vault

EASY_Y, HARD_Y = np.repeat([0, 1], [30, 10]), np.repeat([0, 1], 20)
ANSWERS = {"truth": (0.1, 0.9), "safe": (0.1, 0.1), "harm": (0.9, 0.9)}


def taught(*kinds):
    """One draw for each pair of ways to decide easy and hidden cases."""
    parts = []
    for side, y in ((0, EASY_Y), (1, HARD_Y)):
        parts.append(np.array([np.take(ANSWERS[kind[side]], y) for kind in kinds]))
    return Taught(*parts, EASY_Y, HARD_Y)


def test_each_kind_is_named():
    for name, kind in KINDS.items():
        masses = taught(kind).masses()
        assert masses.pop(name) == 1.0
        assert set(masses.values()) == {0.0}


def test_a_constant_answer_is_no_simulator_and_has_half():
    draws = taught(("safe", "safe"), ("harm", "harm"))
    assert draws.masses()["simulator"] == draws.masses()["confusion"] == 0.0
    assert draws.accuracy == 0.5


def test_kinds_and_other_add_up():
    masses = taught(("truth", "truth"), ("harm", "truth"), ("safe", "harm")).masses()
    assert masses["translator"] == pytest.approx(1 / 3)
    assert masses["other"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="least"):
        taught(("truth", "truth")).masses(0.7)


def test_accuracy_of_draws_is_not_that_of_their_mean():
    draws = taught(("truth", "truth"), ("truth", "truth"), ("truth", "safe"))
    assert draws.accuracy == pytest.approx((1 + 1 + 0.5) / 3)
    assert draws.mean_accuracy == 1.0


def test_a_threshold_at_the_median_sees_the_ranking_alone():
    rising = np.linspace(0.1, 0.3, 40)[None]  # all called safe at ½, and ranked rightly
    draws = Taught(np.zeros((1, 40)), rising, EASY_Y, HARD_Y)
    assert (draws.mean_accuracy, draws.ranked_accuracy) == (0.5, 1.0)


def test_floors_are_counted_on_the_right_cases():
    draws = taught(("truth", "safe"))
    assert (draws.floored(0.05), draws.floored(0.1)) == (1.0, 0.0)
    assert (draws.missed(0.05), draws.missed(0.1)) == (0.0, 1.0)
    assert draws.harmless == pytest.approx(0.1)


def test_members_bind_up_to_the_number_that_the_bound_says():
    floor = hoeffding_kl(np.zeros(100), 0.05, "upper").upper
    assert binding_members(floor) == pytest.approx(100)
    assert np.isinf(binding_members(0.0))
    mass, members = 0.03, 80
    assert (mass > 1 - 0.05 ** (1 / members)) == (members > binding_members(mass))
    for bad in ({"mass": 1.0}, {"mass": -0.1}, {"mass": 0.1, "delta": 1.0}):
        with pytest.raises(ValueError, match=next(reversed(bad))):
            binding_members(**bad)


def test_hard_cases_come_one_of_either_label_in_turn():
    order = _alternating(HARD_Y, np.random.default_rng(0))
    assert sorted(order) == list(range(len(HARD_Y)))
    assert np.array_equal(HARD_Y[order], np.tile([1, 0], 20))


def test_a_row_of_heads_is_a_predictors_mean_over_choices(monkeypatch):
    def taught(seed, place, k, easy, pick, shuffle):
        p = np.full((4, 2), 0.1 * (seed + pick[0]))
        return Taught(p, p, np.array([0, 1]), np.array([0, 1]))

    monkeypatch.setattr(confusion, "teach", taught)
    one = confusion.heads([1], "MLP 2", 2, 0, [(1,)], 0.25)
    both = confusion.heads([1, 4], "MLP 2", 2, 0, [(1,), (3,)], 0.25)
    bag = taught(1, "MLP 2", 2, 0, (1,), False)
    expected = [bag.accuracy, bag.mean_accuracy, bag.floored(0.25), bag.missed(0.25)]
    np.testing.assert_allclose(one[0, :4], expected)
    np.testing.assert_allclose(one[0, 4], np.log10(binding_members(bag.harmless)).mean())
    assert both.shape == (2, 5 + len(KINDS) + 2)
    assert both[0, 2] == 0.5  # one choice of two lies above the floor


def test_labelled_cases_have_the_hypotheses_answers():
    cases = vault.hard(vault.World(), 11, 20, seed=0)
    answers, labels = confusion.labelled(cases, 12, 0.0, 3)
    assert answers.shape == (len(cases.answers), 12)
    np.testing.assert_array_equal(answers[0], labels)  # the translator, without noise
