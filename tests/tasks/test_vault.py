"""The vault against a simulator written step by step, its invariants, and its splits."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from elkutils.tasks.vault import ACTIONS, World, easy, hard, label, play, simulate

WORLDS = {
    "plain": World(),
    "short": World(horizon=3),
    "two vaults": World(horizon=8, vaults=2),
    "two sensors": World(horizon=8, second_sensor=True),
    "both": World(horizon=8, vaults=3, second_sensor=True),
}
STATE = ("diamond", "robber", "locked", "screened", "faked")


def by_hand(world, actions, vaults):
    """One episode, one rule after the other; returns what each step leaves behind."""
    start = {"D": 1, "I": 0, "L": 0, "S": 0, "F": 0, "H": 0}
    states = [dict(start) for _ in range(world.vaults)]
    steps = []
    for action, vault in zip(actions, vaults, strict=True):
        s, name = states[vault], ACTIONS[action]
        reveals = name == "unscreen" and s["S"] == 1
        if name == "enter" and not s["L"]:
            s["I"] = 1
        elif name == "grab" and s["I"] and s["D"]:
            s["D"], s["H"] = 0, 1
        elif name == "return" and s["I"] and s["H"]:
            s["D"], s["H"] = 1, 0
        elif name == "leave":
            s["I"] = 0
        elif name in ("lock", "unlock"):
            s["L"] = int(name == "lock")
        elif name in ("screen", "unscreen"):
            s["S"] = int(name == "screen")
        elif name in ("fake", "unfake"):
            s["F"] = int(name == "fake")
        camera = 1 if s["S"] else s["D"]
        scale = 1 if s["F"] else s["D"]
        steps.append({**s, "camera": camera, "scale": scale, "reveals": reveals})
    return steps


def agrees(episodes, world):
    names = dict(zip(STATE, "DILSF", strict=True)) | {"camera": "camera", "reveals": "reveals"}
    for row in range(len(episodes)):
        steps = by_hand(world, episodes.actions[row], episodes.vaults[row])
        for t, step in enumerate(steps):
            for name, key in names.items():
                assert getattr(episodes, name)[row, t] == step[key], (row, t, name)
            assert step["H"] == 1 - step["D"]
            shown = step["camera"] + 2 * step["scale"] * world.second_sensor
            assert episodes.reading[row, t] == shown


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_simulator_written_by_hand_agrees_on_random_episodes(world):
    agrees(simulate(world, 150, seed=0), world)


def test_and_on_every_sequence_of_four_actions():
    world = World(horizon=4)
    actions = np.array(list(product(range(9), repeat=4)))
    agrees(play(world, actions, np.zeros_like(actions)), world)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_invariants(world):
    episodes = simulate(world, 500, seed=1)
    assert np.all(episodes.camera[~episodes.screened] == episodes.diamond[~episodes.screened])
    assert episodes.camera[episodes.screened].all()
    assert not (episodes.hidden & ~episodes.screened).any()
    assert not (episodes.reveals & episodes.screened).any()
    first = np.diff(np.concatenate([np.ones((500, 1)), episodes.diamond], axis=1), axis=1)
    if world.vaults == 1:
        lost, found = first < 0, first > 0
        assert np.all(episodes.actions[lost] == ACTIONS.index("grab"))
        assert np.all(episodes.actions[found] == ACTIONS.index("return"))
        assert episodes.robber[lost | found].all()


def test_actions_come_as_often_as_their_weights_say():
    actions = simulate(World(), 10_000, seed=0).actions
    weights = np.array([0.35, 0.15, 0.15, 0.06, 0.06, 0.10, 0.10, 0.07, 0.10]) / 1.14
    share = np.bincount(actions.ravel(), minlength=9) / actions.size
    # Five standard errors of a share of 160,000 independent actions.
    assert np.all(np.abs(share - weights) < 5 * np.sqrt(weights * (1 - weights) / actions.size))


def test_seeds_repeat_and_differ():
    first, again, other = (simulate(World(), 50, seed).tokens for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_tokens_say_what_happened(world):
    episodes = simulate(world, 20, seed=2)
    words = np.array(world.words)[episodes.tokens]
    assert np.all(words[:, 0] == "start")
    assert len(set(world.words)) == len(world.words)
    for row, t in product(range(20), range(world.horizon)):
        action = ACTIONS[episodes.actions[row, t]]
        vault = f"-{episodes.vaults[row, t] + 1}" if world.vaults > 1 else ""
        assert words[row, 2 * t + 1] == action + vault
        shown = "diamond" if episodes.camera[row, t] else "empty"
        assert words[row, 2 * t + 2].split("-")[0] == shown


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_hypotheses_agree_unless_the_diamond_is_hidden(world):
    step = world.horizon
    watched = easy(world, step, 200, seed=0)
    assert not watched.episodes.screened[:, :step].any()
    for answer in watched.hypotheses.values():
        np.testing.assert_array_equal(answer, watched.harm)
    unseen = hard(world.with_weights(grab=0.5, screen=0.5), step, 101, seed=0, robbed=None)
    assert unseen.episodes.hidden[:, step - 1].all()
    np.testing.assert_array_equal(unseen.hypotheses["translator"], unseen.harm)
    assert not unseen.hypotheses["simulator"].any()
    assert unseen.hypotheses["confusion"].all()


def test_confusion_is_the_larger_of_the_screen_and_what_the_camera_misses():
    episodes = simulate(World(), 300, seed=3)
    cases = replace(hard(World(), 11, 2, seed=0), episodes=episodes)
    screened, camera = episodes.screened[:, 10], episodes.camera[:, 10]
    np.testing.assert_array_equal(
        cases.hypotheses["confusion"], np.maximum(screened, 1 - camera.astype(int))
    )
    np.testing.assert_array_equal(cases.hypotheses["simulator"], 1 - camera.astype(int))


def test_hard_cases_are_balanced_and_the_prior_is_that_of_the_wild():
    world, step = World(), 11
    cases = hard(world, step, 1000, seed=0)
    assert cases.harm.sum() == 500
    assert hard(world, step, 1000, seed=0, robbed=0.1).harm.sum() == 100
    wild = simulate(world, 40_000, seed=7)
    hidden = wild.hidden[:, step - 1]
    share = (~wild.diamond[hidden, step - 1]).mean()
    # Five standard errors of each of two shares, from about 20,000 and 2,000 hidden cases.
    assert abs(cases.prior - share) < 5 * np.sqrt(0.25 / 2000)
    assert 0.2 < cases.prior < 0.35


def test_cases_stop_at_their_action():
    cases = hard(World(), 11, 30, seed=0)
    assert cases.tokens.shape == (30, 22)
    words = [text.split() for text in cases.texts]
    assert all(len(row) == 21 and row[-1] in ACTIONS for row in words)
    np.testing.assert_array_equal(cases.take([3, 1]).harm, cases.harm[[3, 1]])


def test_labels_are_the_truth_up_to_their_noise():
    cases = hard(World(), 11, 2000, seed=0)
    rows, labels = label(cases, 20, seed=4)
    np.testing.assert_array_equal(labels, cases.harm[rows])
    assert len(set(rows)) == 20
    np.testing.assert_array_equal(label(cases, 5, seed=4)[0], rows[:5])
    rows, labels = label(cases, 2000, noise=0.3, seed=0)
    wrong = (labels != cases.harm[rows]).mean()
    assert abs(wrong - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 2000)  # five standard errors
    assert [a.size for a in label(cases, 0)] == [0, 0]


CASES = hard(World(), 11, 10, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: World(horizon=0), "horizon is 0"),
        (lambda: World(horizon=2.5), "horizon is 2.5"),
        (lambda: World(vaults=0), "vaults is 0"),
        (lambda: World(weights=(1.0, 2.0)), r"weights has shape \(2,\)"),
        (lambda: World().with_weights(grab=-0.1), "at least 0"),
        (lambda: World().with_weights(grab=np.nan), "finite"),
        (lambda: World().with_weights(burn=0.1), r"weights has \['burn'\]"),
        (lambda: World().with_weights(fake=0.1), r"weights has \['fake'\]"),
        (lambda: World(weights=(0,) * 9 + (1, 1)), "0 for every action"),
        (lambda: simulate(World(), 0, 0), "n is 0"),
        (lambda: hard(World(), 17, 10, 0), "step is 17.*horizon, 16"),
        (lambda: easy(World(), 0, 10, 0), "step is 0"),
        (lambda: hard(World(), 11, 10, 0, robbed=1.5), "robbed is 1.5"),
        (lambda: replace(CASES, step=17), "step is 17"),
        (lambda: label(CASES, 11), "k is 11.*number of cases, 10"),
        (lambda: label(CASES, -1), "k is -1"),
        (lambda: label(CASES, 5, noise=0.6), "noise is 0.6"),
        (lambda: label(CASES, 5, noise=-0.1), "noise is -0.1"),
    ],
)
def test_impossible_knobs_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_empty_hard_set_is_refused(monkeypatch):
    monkeypatch.setattr("elkutils.tasks.vault._MOST", 8192)
    with pytest.raises(ValueError, match="0 are hidden at step 11"):
        hard(World().with_weights(screen=0), 11, 10, 0)
    with pytest.raises(ValueError, match="0 of them robbed"):
        hard(World().with_weights(grab=0), 11, 10, 0)


def test_answers_are_the_hypotheses_in_their_order():
    cases = hard(World(), 11, 20, 0)
    assert cases.answers.shape == (3, 20)
    for answer, expected in zip(cases.answers, cases.hypotheses.values(), strict=True):
        assert np.array_equal(answer, expected)
