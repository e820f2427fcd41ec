"""Boolean functions of small networks: counted, given labels, trained and compared."""

import numpy as np
import pytest

from elkutils.inference.networks.training import Plan
from elkutils.study import boolean_functions as functions
from elkutils.study.boolean_functions import Lesson

TASK = Lesson(np.arange(10), np.array([0, 1] * 5))


@pytest.fixture(scope="module")
def counts():
    return functions.prior_counts(2**17, seed=0)


def test_every_draw_is_one_function_and_a_function_as_probable_as_its_negation(counts):
    assert counts.sum() == 2**17
    none, every = counts[0], counts[-1]
    assert none > 1000
    assert abs(none - every) < 5 * np.sqrt(none + every)


def test_given_labels_the_counts_are_those_of_functions_that_agree(counts):
    code = int(TASK.labels @ (1 << TASK.rows)) + (0b101 << 10)
    assert functions.given(counts, TASK)[0b101] == counts[code]
    bits = (np.arange(len(counts))[:, None] >> np.arange(10)) & 1
    assert functions.given(counts, TASK).sum() == counts[(bits == TASK.labels).all(1)].sum()


def test_lessons_have_both_classes_and_enough_draws(counts):
    task = functions.lesson(3, counts, least=20)
    assert 3 <= task.labels.sum() <= 7
    assert functions.given(counts, task).sum() >= 20
    assert sorted([*task.rows, *task.rest]) == list(range(16))


def test_members_that_are_counted_have_learnt_their_labels(counts):
    task = functions.lesson(3, counts, least=20)
    plan = Plan(2000, 0.01, "adam", target_loss=float(np.log(2) / 10), every=20)
    found = functions.trained_counts(task, plan, 64, seed=0)
    assert found.shape == (64,)
    assert 60 <= found.sum() <= 64
    early = functions.trained_counts(task, Plan(1, 1e-6, "adam"), 64, seed=0)
    assert early.sum() < 30


def compared(power: float, noise: float, seed: int):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(64, 0.3))
    prior = tuple(rng.multinomial(5000, proba) for _ in range(3))
    other = proba**power * np.exp(noise * rng.standard_normal(64))
    return functions.agreement(functions.drawn(other, 2000, rng), prior)


@pytest.mark.parametrize(("power", "noise"), [(1.0, 0.0), (1.5, 0.0), (1.0, 1.0)])
def test_agreement_finds_the_power_and_the_noise(power, noise):
    found = [compared(power, noise, seed) for seed in range(20)]
    rank = np.mean([each.rank for each in found])
    assert rank < 0.85 if noise else rank > 0.95
    if not noise:
        assert abs(np.mean([each.slope for each in found]) - power) < 0.1 * power


def test_too_few_functions_are_refused():
    few = np.zeros(64, int)
    few[:3] = 1000
    with pytest.raises(ValueError, match="5 are needed"):
        functions.agreement((few, few), (few, few, few))
