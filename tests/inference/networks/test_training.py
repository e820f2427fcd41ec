"""Members trained together are what each would be alone, and what theory says they are."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from elkutils.inference.linear import least_squares_flow, minimise
from elkutils.inference.networks import training
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior
from elkutils.inference.networks.training import Plan, Squared, train

SMALL = MLP((6,))


class Interrupted(Exception):
    """What stops a run in these tests."""


def make(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 2).astype(float)
    return rng.standard_normal((n, d)) + y[:, None], y


def flat(parameters):
    """Parameters of each member in one row, (members, p)."""
    leaves = jax.tree.leaves(parameters)
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in leaves], axis=1)


def test_anchored_members_with_perturbed_labels_reach_their_minimum():
    """Each is then an exact posterior draw: see `test_linear`."""
    d, n, noise, members = 4, 30, 0.5, 50
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    labels = y + noise * rng.standard_normal((members, n))
    head = MLP(weight_scale=np.sqrt(d))  # a standard normal prior for weights and bias
    start = draw_prior(head, members, d, seed=1)
    design = np.column_stack([X, np.ones(n)])
    curvature = np.linalg.eigvalsh(design.T @ design / noise**2 + np.eye(d + 1))[-1] / n
    plan = Plan(steps=600, learning_rate=1 / curvature, optimiser="sgd", anchored=True)
    found = train(head, start, X, labels, plan, loss=Squared(noise)).flat
    expected = minimise(design, labels, flat(start), noise)
    np.testing.assert_allclose(found, expected, atol=2e-5)  # float32


def test_plain_descent_ends_where_gradient_flow_does():
    X, y = np.random.default_rng(0).standard_normal((5, 8)), np.arange(5) - 2.0
    start = draw_prior(MLP(), 7, 8, seed=0)
    design = np.column_stack([X, np.ones(5)])
    rate = 5 / np.linalg.eigvalsh(design.T @ design)[-1]
    plan = Plan(steps=2000, learning_rate=rate, optimiser="sgd")
    found = train(MLP(), start, X, y, plan, loss=Squared())
    expected = least_squares_flow(design, y, flat(start), np.inf)
    np.testing.assert_allclose(found.flat, expected, atol=1e-4)  # float32
    assert found.stats["loss"][0].max() < 1e-6


@pytest.mark.parametrize("batch", [None, 8])
def test_members_do_not_see_each_other(batch):
    X, y = make()
    plan, start = Plan(steps=70, batch=batch, anchored=True), draw_prior(SMALL, 4, 3, seed=0)
    together = train(SMALL, start, X, y, plan).flat
    for i in (0, 3):
        one = jax.tree.map(lambda part, i=i: part[i : i + 1], start)
        alone = train(SMALL, one, X, y, plan).flat
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-4)  # float32, 70 steps


def test_batches_are_shared_or_each_members_own():
    X, y = make()
    start = jax.tree.map(
        lambda part: np.repeat(part, 2, axis=0), draw_prior(SMALL, 1, 3, seed=0)
    )
    first, second = train(SMALL, start, X, y, Plan(60, batch=8)).flat
    np.testing.assert_allclose(first, second, atol=1e-5)
    own = Plan(60, batch=8, shared_batches=False)
    first, second = train(SMALL, start, X, y, own).flat
    assert np.abs(first - second).max() > 1e-2


def test_weights_count_rows():
    X, y = make()
    counts = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=2)
    start, plan = draw_prior(SMALL, 2, 3, seed=0), Plan(steps=60)
    weighted = train(SMALL, start, X, y, plan, weights=counts).flat
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(40), count)
        repeated = train(SMALL, start, X[rows], y[rows], plan).flat
        np.testing.assert_allclose(weighted[i], repeated[i], atol=1e-4)  # float32, 60 steps


def test_each_member_stops_by_itself_and_goes_back_to_its_best():
    X, y = make(24, 10)
    y = np.random.default_rng(2).permutation(y)  # nothing to learn: held-out loss only rises
    other = make(24, 10, seed=3)
    start = draw_prior(SMALL, 6, 10, seed=0)
    plan = Plan(steps=500, every=5, patience=4)
    stopped = train(SMALL, start, X, y, plan, held_out=other)
    assert len(set(stopped.stats["n_steps"][0])) > 1
    assert stopped.stats["n_steps"][0].max() < 500
    looks = np.isfinite(stopped.details["trace"]).sum(axis=1)
    np.testing.assert_array_equal(looks * 5, stopped.stats["n_steps"][0])

    def score(members):
        said = members.log_odds(other[0])[0]
        return np.logaddexp(0, np.where(other[1] == 1, -said, said)).mean(axis=1)

    each = []
    for length in range(5, 500, 5):
        if length <= stopped.stats["n_steps"][0].max():
            at = train(SMALL, start, X, y, Plan(steps=length, every=5))
            each.append(score(at))
    seen = np.array(each)
    for i, steps in enumerate(stopped.stats["n_steps"][0]):
        best = seen[: steps // 5, i].min()
        np.testing.assert_allclose(score(stopped)[i], best, rtol=1e-4)


def test_members_stop_at_a_target_loss():
    X, y = make()
    start = draw_prior(SMALL, 6, 3, seed=0)
    found = train(SMALL, start, X, y, Plan(steps=2000, every=5, target_loss=0.3))
    assert found.stats["loss"][0].max() < 0.3
    assert found.stats["loss"][0].min() > 0.25
    assert len(set(found.stats["n_steps"][0])) > 1


def test_a_member_that_diverges_leaves_the_others_alone():
    X, y = make()
    start = draw_prior(MLP(), 3, 3, seed=0)
    wild = jax.tree.map(lambda part: part.at[1].mul(1e25), start)
    plan = Plan(steps=60, optimiser="sgd")
    found = train(MLP(), wild, X, y, plan, loss=Squared())
    np.testing.assert_array_equal(found.stats["diverging"][0], [False, True, False])
    assert np.isfinite(found.flat).all()
    calm = train(MLP(), start, X, y, plan, loss=Squared())
    for i in (0, 2):
        np.testing.assert_allclose(found.flat[i], calm.flat[i])


@pytest.mark.parametrize("patience", [None, 50])
def test_an_interrupted_run_resumes_to_the_same_members(tmp_path, monkeypatch, patience):
    X, y = make()
    path, start = tmp_path / "members.safetensors", draw_prior(SMALL, 3, 3, seed=0)
    held_out = None if patience is None else make(seed=1)
    plan = Plan(steps=55, every=10, batch=8, shared_batches=False, patience=patience)

    def go(plan=plan, checkpoint=path):
        return train(SMALL, start, X, y, plan, held_out=held_out, checkpoint=checkpoint)

    whole = go(checkpoint=None)
    save = training.Checkpoint.save

    def stop_after_two(self, run):
        save(self, run)
        if len(run.trace) == 2:
            raise Interrupted

    monkeypatch.setattr(training.Checkpoint, "save", stop_after_two)
    with pytest.raises(Interrupted):
        go()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="other data or settings"):
        go(Plan(steps=56, every=10, batch=8, patience=patience))
    again = go()
    np.testing.assert_array_equal(again.flat, whole.flat)
    np.testing.assert_array_equal(again.details["trace"], whole.details["trace"])
    np.testing.assert_array_equal(again.stats["n_steps"], whole.stats["n_steps"])
    assert not path.exists()
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        go()


def test_progress_shows_steps_and_the_loss(capsys):
    X, y = make()
    train(SMALL, draw_prior(SMALL, 2, 3, seed=0), X, y, Plan(steps=60), progress=True)
    shown = capsys.readouterr().err
    assert "60/60" in shown
    assert "loss=" in shown


def test_a_falling_rate_ends_nearer_the_minimum():
    X, y = make()
    start = draw_prior(MLP(), 8, 3, seed=0)
    settled = train(MLP(), start, X, y, Plan(steps=3000)).stats["loss"][0]
    plans = (
        Plan(600, 0.1, batch=4, shared_batches=False, decay=decay) for decay in (False, True)
    )
    ends = [train(MLP(), start, X, y, plan).stats["loss"][0] - settled for plan in plans]
    assert ends[1].mean() < ends[0].mean() / 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimiser": "newton"}, "optimiser is"),
        ({"learning_rate": 0.0}, "learning_rate is"),
        ({"steps": 0}, "steps is"),
        ({"batch": 2.5}, "batch is"),
        ({"patience": 0}, "patience is"),
        ({"every": -1}, "every is"),
    ],
)
def test_impossible_plans_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Plan(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": np.zeros(3)}, "y has shape"),
        ({"y": np.zeros((3, 40))}, "y has shape"),
        ({"weights": np.zeros((40, 2))}, "weights has shape"),
        ({"plan": Plan(patience=2)}, "held_out is missing"),
        ({"held_out": make()}, "held_out is given"),
    ],
)
def test_bad_input_is_named(change, said):
    X, y = make()
    arguments = {"start": draw_prior(SMALL, 2, 3, seed=0), "X": X, "y": y, "plan": Plan()}
    with pytest.raises(ValueError, match=said):
        train(SMALL, **arguments | change)


def test_a_course_holds_what_separate_runs_would():
    X, y = make()
    start, plan = draw_prior(SMALL, 5, 3, seed=0), Plan(100, 0.05, every=5)
    course = training.train_course(
        SMALL, start, X, y, plan, losses=(0.5, 0.3), steps=(20, 100), held_out=make(seed=1)
    )
    sparse = replace(plan, every=100)
    fewer = training.train_course(SMALL, start, X, y, sparse, steps=(20, 100))
    np.testing.assert_array_equal(fewer.looks, (20, 100))
    for found, same in zip(course.at_steps, fewer.at_steps, strict=True):
        np.testing.assert_allclose(same.flat, found.flat, atol=1e-4)  # float32
    for count, found in zip((20, 100), course.at_steps, strict=True):
        alone = train(SMALL, start, X, y, Plan(count, 0.05, every=5))
        np.testing.assert_allclose(found.flat, alone.flat, atol=1e-4)  # float32
        np.testing.assert_array_equal(found.stats["n_steps"], alone.stats["n_steps"])
    for bar, found in zip((0.5, 0.3), course.at_losses, strict=True):
        target = Plan(100, 0.05, target_loss=bar, every=5)
        alone = train(SMALL, start, X, y, target)
        np.testing.assert_allclose(found.flat, alone.flat, atol=1e-4)
        np.testing.assert_array_equal(found.stats["n_steps"], alone.stats["n_steps"])
        assert (found.stats["loss"][found.stats["reached"]] <= bar).all()
    np.testing.assert_array_equal(course.end.flat, course.at_steps[1].flat)
    assert course.held_out.shape == (5, 20)
    assert course.best_steps == course.looks[course.held_out.mean(axis=0).argmin()]


def test_a_loss_that_is_never_reached_gives_the_end():
    X, y = make()
    start = draw_prior(SMALL, 3, 3, seed=0)
    course = training.train_course(SMALL, start, X, y, Plan(20, every=10), losses=(1e-9,))
    (found,) = course.at_losses
    assert not found.stats["reached"].any()
    np.testing.assert_array_equal(found.flat, course.end.flat)
    with pytest.raises(ValueError, match="held-out"):
        _ = course.best_steps


@pytest.mark.parametrize(
    ("plan", "steps", "match"),
    [
        (Plan(20, target_loss=0.3), (), "target_loss"),
        (Plan(20, every=10), (21,), "steps holds 21"),
        (Plan(20, every=10), (0,), "steps holds 0"),
        (Plan(20, every=10), (1.5,), "whole numbers from 1 to 20"),
    ],
)
def test_a_course_has_stops_of_its_own(plan, steps, match):
    X, y = make()
    with pytest.raises(ValueError, match=match):
        training.train_course(SMALL, draw_prior(SMALL, 2, 3, 0), X, y, plan, steps=steps)
