"""Vetoes end where theory says; exits are the gambler's ruin; decisions on planted worlds."""

import numpy as np
import pytest

from elkutils.evaluation.guardrails import Mass, MassInRank, certified_alpha
from elkutils.study.harm_bound import (
    NEVER,
    VaultWorld,
    after_labels,
    certified,
    exit_weights,
    last_ratio,
    play,
    two_theories,
)
from elkutils.tasks.rules import Bandit, RuleWorld

# conditions: gone, hidden; rows in the open (gone or not), then hidden ones (gone or not)
CONTEXTS = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])


def planted(contexts=CONTEXTS):
    world = RuleWorld(contexts, names=("gone", "hidden"))
    hidden, robbed = np.array([0, 0, 1, 1], bool), np.array([1, 0, 1, 0], bool)
    return VaultWorld(world, hidden, robbed, {})


@pytest.mark.parametrize("delta", [0.01, 0.3])
def test_vetoes_end_at_delta_its_root_and_one(delta):
    ends = {"stated": delta, "odds": np.sqrt(delta), NEVER: 1.0}
    for form, end in ends.items():
        assert last_ratio(delta, form) == pytest.approx(end, rel=1e-6)


def test_exits_are_the_gamblers_ruin():
    runs, noise = 20_000, 0.45
    least = exit_weights(runs, 2000, noise, np.random.default_rng(0))
    for delta in (0.05, 0.5):
        nats = np.log((1 - noise) / noise)
        exact = np.exp(-nats * np.ceil(np.log(1 / delta) / nats))
        share = np.mean(least < certified_alpha(delta, 0.5, "odds"))
        assert abs(share - exact) < 4 * np.sqrt(exact / runs)
        assert exact <= delta


def test_the_two_theories_differ_only_where_they_tell():
    assert np.ptp(two_theories(tells=False).law) == 0
    assert two_theories(3.0, 0.2).law.ravel().tolist() == [0.2, 0.8]
    assert two_theories(3.0).prior.tolist() == [0.25, 0.75]


def test_confusion_vetoes_until_hard_labels_come():
    found = planted()
    guards = certified(found, 0.05)
    before = after_labels(found, 0, guards)
    after = after_labels(found, 100, guards)
    for name in guards:
        assert before[name].vetoed == 1
        assert after[name].vetoed == 0
        assert before[name].missed == after[name].missed == 0


def test_a_truth_that_is_no_rule_is_missed():
    """The condition "gone" is read as never met: no rule can say what happens."""
    found = planted(np.array([[0, 0], [0, 0], [0, 0], [0, 1]]))
    outcome = after_labels(found, 100, {"M": MassInRank(0.01)}, of_vault=True)["M"]
    assert outcome.missed == 1
    assert outcome.broken == 1


def test_the_certified_alphas_are_those_of_the_rule_and_its_class():
    guards = certified(planted(), 0.1)
    prior = np.exp(planted().world.log_prior(np.array([1, 0])))
    assert guards["M^alpha"].alpha == pytest.approx(0.1 * prior)
    assert isinstance(guards["mass rule"], Mass)
    assert guards["mass rule"].alpha == pytest.approx(0.1 * prior)  # no clones here


def test_a_guardrail_keeps_an_agent_from_exploding():
    rng = np.random.default_rng(0)
    bandit = Bandit(rng.integers(2, size=(6, 5)), limit=1.5)
    free, reward = play(bandit, None, 30, 40, np.random.default_rng(1))
    guarded, less = play(
        bandit,
        lambda weights, harm, alpha: MassInRank(alpha).bound(weights, harm) >= 0.5,
        30,
        40,
        np.random.default_rng(1),
    )
    resting, nothing = play(bandit, lambda w, h, a: np.ones(6, bool), 5, 5, rng)
    assert free > 0.5 > 0.1 > guarded
    assert np.isfinite([reward, less]).all()
    assert resting == nothing == 0
