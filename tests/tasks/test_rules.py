"""Rules against enumeration by hand; conditions against the vault's own hypotheses."""

import numpy as np
import pytest

from elkutils.tasks import vault
from elkutils.tasks.rules import (
    ADVERSARIES,
    STREAMS,
    Bandit,
    RuleWorld,
    Seen,
    vault_conditions,
)

RNG = np.random.default_rng(0)
CONTEXTS = RNG.integers(2, size=(7, 5))


def test_harm_is_any_condition_of_the_rule():
    world = RuleWorld(CONTEXTS)
    rules = world.rules()
    assert len(np.unique(rules, axis=0)) == 32
    for rule, harm in zip(rules, world.harm(rules), strict=True):
        expected = [any(rule[j] and meets[j] for j in range(5)) for meets in CONTEXTS]
        assert harm.tolist() == expected


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.5])
def test_the_prior_sums_to_one_and_rules_are_drawn_from_it(penalty):
    world = RuleWorld(CONTEXTS, penalty=penalty)
    prior = np.exp(world.log_prior(world.rules()))
    assert prior.sum() == pytest.approx(1)
    assert prior[1] / prior[0] == pytest.approx(np.exp(-penalty))
    drawn = world.draw_rules(4000, np.random.default_rng(1)) @ 2 ** np.arange(5)
    share, error = np.mean(drawn == 0), np.sqrt(prior[0] / 4000)
    assert abs(share - prior[0]) < 4 * error


def test_net_counts_are_sufficient():
    """The log likelihood of labels one by one, against the counts; contradictions cancel."""
    world = RuleWorld(CONTEXTS, noise=0.2)
    rows = RNG.integers(7, size=30)
    labels = RNG.integers(2, size=30)
    harm = world.harm(world.rules())
    p = world.law(harm)[:, rows]
    exact = np.log(np.where(labels == 1, p, 1 - p)).sum(axis=1)
    counted = world.weight_of_evidence * harm @ world.net(rows, labels)
    np.testing.assert_allclose(np.ptp(exact - counted), 0, atol=1e-9)
    assert world.net([3, 3], [0, 1]).tolist() == [0] * 7


def test_clones_share_a_class():
    contexts = np.array([[1, 1, 0], [0, 0, 1]])  # the first two conditions are one
    world = RuleWorld(contexts)
    classes = world.classes(world.rules())
    assert len(set(classes)) == 4
    assert classes[0b001] == classes[0b010] == classes[0b011] != classes[0b100]


def test_labels_are_wrong_as_often_as_the_noise():
    world = RuleWorld(CONTEXTS, noise=0.25)
    rule = world.rules()[9]
    rows = np.tile(np.arange(7), 1000)
    wrong = world.draw_labels(rule, rows, np.random.default_rng(3)) != world.harm(rule)[rows]
    assert abs(wrong.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 7000)


@pytest.fixture(scope="module")
def cases():
    return vault.Cases(vault.simulate(vault.World(), 600, 4), step=11)


def test_the_vaults_hypotheses_are_rules(cases):
    conditions = vault_conditions(cases)
    assert len(conditions) == 21
    contexts = np.stack(list(conditions.values()), axis=1)
    world = RuleWorld(contexts, names=tuple(conditions))
    told = {"translator": ("gone",), "simulator": ("empty",), "confusion": ("gone", "hidden")}
    for name, parts in told.items():
        rule = np.isin(world.names, parts)
        np.testing.assert_array_equal(world.harm(rule), cases.hypotheses[name] > 0.5)
        assert world.index(*parts) == rule @ 2 ** np.arange(21)
    assert contexts[:, 12:].sum(axis=1).tolist() == [1] * 600  # one action was the last


def seen(wrong=False):
    harm = np.array([[0.0, 0, 1], [0, 1, 1], [0, 0, 0]])
    weights = np.array([[0.5, 0.3, 0.2]])
    rng = np.random.default_rng(0)
    return Seen(weights, harm, harm[[2]], np.array([0]), np.array([wrong]), 4, rng)


def test_streams_choose_what_they_say():
    found = {name: int(choose(seen())[0]) for name, choose in STREAMS.items()}
    assert found["in turn"] == 1
    assert found["most doubted"] == 1  # P(harm) is 0, .3, .8
    assert found["against the truth"] == found["after noise"] == 2
    assert int(STREAMS["after noise"](seen(wrong=True))[0]) == 0
    assert set(ADVERSARIES) < set(STREAMS)


def test_a_bandit_explodes_above_its_limit():
    bandit = Bandit.draw(6, 4, limit=1.5, rng=np.random.default_rng(0))
    theories = bandit.theories()
    means = theories @ bandit.features.T
    np.testing.assert_array_equal(bandit.explodes(theories), means > 1.5)
    np.testing.assert_array_equal(bandit.means(theories), means)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RuleWorld(np.zeros(3)), r"contexts has shape \(3,\)"),
        (lambda: RuleWorld(np.full((2, 2), 0.5)), "hold 0 and 1"),
        (lambda: RuleWorld(CONTEXTS, noise=0.5), "noise is 0.5"),
        (lambda: RuleWorld(CONTEXTS, noise=0), "noise is 0"),
        (lambda: RuleWorld(CONTEXTS, penalty=np.inf), "penalty is inf"),
        (lambda: RuleWorld(CONTEXTS, names=("a",)), "names has 1"),
        (lambda: RuleWorld(np.ones((1, 23))).rules(), "23 conditions"),
        (lambda: RuleWorld(CONTEXTS, names=tuple("abcde")).index("z"), r"names has \['z'\]"),
        (lambda: RuleWorld(CONTEXTS).net([0], [2]), "labels"),
        (lambda: RuleWorld(CONTEXTS).net([7], [1]), "rows reaches 7"),
        (lambda: RuleWorld(CONTEXTS).net([0, 1], [1]), "labels has shape"),
        (lambda: Bandit(np.zeros(2), 1.0), "features has shape"),
        (lambda: Bandit(np.eye(2), 1.0, sd=0), "sd is 0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
