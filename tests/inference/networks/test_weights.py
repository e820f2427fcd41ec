"""Weights of rows in the posterior, the threshold and the training of networks."""

import jax
import numpy as np
import pytest

from elkutils.inference.networks import hmc, nuts, threshold
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_likelihood, mean_loss
from elkutils.inference.networks.training import Plan, train

HEAD = MLP((3,))


@pytest.fixture
def data():
    """X, y, whole weights with zeros among them, and the repeated rows."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, 2)), (np.arange(30) % 2).astype(float)
    weights = rng.integers(0, 4, 30).astype(float)
    repeats = np.repeat(np.arange(30), weights.astype(int))
    return X, y, weights, X[repeats], y[repeats]


def test_losses(data):
    X, y, weights, X_repeated, y_repeated = data
    head = jax.tree.map(lambda leaf: leaf[0], draw_prior(HEAD, 1, 2, 0))
    ours = mean_loss(HEAD, head, X, y, weights)
    assert float(ours) == pytest.approx(float(mean_loss(HEAD, head, X_repeated, y_repeated)))
    np.testing.assert_allclose(
        log_likelihood(np.zeros(2), np.ones(2), np.array([0.5, 3.0])),
        -3.5 * np.log(2),
        rtol=1e-6,
    )


@pytest.mark.parametrize("sampler", [hmc, nuts], ids=lambda s: s.__name__)
def test_chains(data, sampler):
    X, y, weights, X_repeated, y_repeated = data
    short = {"draws": 3, "warmup": 2, "chains": 2}
    ours = sampler.sample(HEAD, X, y, **short, weights=weights)
    theirs = sampler.sample(HEAD, X_repeated, y_repeated, **short)
    np.testing.assert_allclose(ours.flat, theirs.flat, atol=1e-2)
    if "energy" in ours.stats:
        np.testing.assert_allclose(ours.stats["energy"], theirs.stats["energy"], rtol=1e-3)


def test_threshold(data):
    X, y, weights, X_repeated, y_repeated = data
    ours = threshold.descend(HEAD, X, y, 0.69, draws=20, weights=weights)
    losses = [
        mean_loss(
            HEAD,
            jax.tree.map(lambda leaf, i=i: leaf[0, i], ours.parameters),
            X_repeated,
            y_repeated,
        )
        for i in range(20)
    ]
    np.testing.assert_allclose(ours.stats["loss"][0], losses, rtol=1e-4)
    with pytest.raises(ValueError, match="weights is zero in every row"):
        threshold.descend(HEAD, X, y, 0.69, draws=20, weights=np.zeros(30))


@pytest.mark.parametrize("anchored", [False, True])
def test_training(data, anchored):
    X, y, weights, X_repeated, y_repeated = data
    start = draw_prior(HEAD, 3, 2, 0)
    plan = Plan(steps=30, learning_rate=0.1, optimiser="sgd", anchored=anchored)
    ours = train(HEAD, start, X, y, plan, weights=weights)
    theirs = train(HEAD, start, X_repeated, y_repeated, plan)
    np.testing.assert_allclose(ours.flat, theirs.flat, atol=1e-4)
    np.testing.assert_allclose(ours.stats["loss"], theirs.stats["loss"], atol=1e-5)
    each = train(HEAD, start, X, y, plan, weights=np.tile(weights, (3, 1)))
    np.testing.assert_allclose(each.flat, theirs.flat, atol=1e-4)


def test_batches_hold_rows_in_proportion_to_their_weights(data):
    X, y, weights, *_ = data
    start, kept = draw_prior(HEAD, 3, 2, 0), weights > 0
    plan = Plan(steps=40, learning_rate=0.1, batch=8)
    ours = train(HEAD, start, X, y, plan, weights=weights)
    theirs = train(HEAD, start, X[kept], y[kept], plan, weights=weights[kept])
    np.testing.assert_allclose(ours.flat, theirs.flat, atol=1e-5)
    twice = train(HEAD, start, X, y, plan, weights=2 * weights)
    np.testing.assert_allclose(ours.flat, twice.flat, atol=1e-5)


def test_patience_heeds_the_weights_of_held_out_rows(data):
    X, y, weights, X_repeated, y_repeated = data
    start = draw_prior(HEAD, 3, 2, 0)
    plan = Plan(steps=200, learning_rate=0.1, patience=1, every=10)
    ours = train(HEAD, start, X, y, plan, held_out=(X, 1 - y, weights))
    theirs = train(HEAD, start, X, y, plan, held_out=(X_repeated, 1 - y_repeated))
    np.testing.assert_array_equal(ours.stats["n_steps"], theirs.stats["n_steps"])


@pytest.mark.parametrize(
    ("bad", "message"), [(-1.0, "row 0"), (np.nan, "row 0"), (0.0, "zero")]
)
def test_bad_weights_are_refused(data, bad, message):
    X, y, *_ = data
    with pytest.raises(ValueError, match=message):
        train(HEAD, draw_prior(HEAD, 2, 2, 0), X, y, Plan(steps=1), weights=np.full(30, bad))
