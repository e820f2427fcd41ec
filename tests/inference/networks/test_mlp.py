"""A head's prior, its log odds and its densities say the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from elkutils.inference.networks import network
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_likelihood, log_odds


def test_a_head_without_hidden_layers_is_linear():
    head = MLP()
    ((weights, biases),) = parameters = head.init(jax.random.key(0), 3)
    X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(head(parameters, X), X @ weights[:, 0] + biases[0], rtol=1e-5)


def test_log_prior_is_the_density_that_init_draws_from():
    head = MLP((4,), weight_scale=2.0, bias_scale=0.5)
    parameters = head.init(jax.random.key(1), 3)
    scales = (2 / np.sqrt(3), 0.5), (2 / np.sqrt(4), 0.5)
    expected = sum(
        norm.logpdf(part, 0, scale).sum()
        for layer, pair in zip(parameters, scales, strict=True)
        for part, scale in zip(layer, pair, strict=True)
    )
    np.testing.assert_allclose(head.log_prior(parameters), expected, rtol=1e-5)
    drawn = jax.vmap(lambda key: head.init(key, 3))(jax.random.split(jax.random.key(2), 20_000))
    for layer, pair in zip(drawn, scales, strict=True):
        for part, scale in zip(layer, pair, strict=True):
            # Relative error of an sd from 20 000 draws is 1/200; five of them.
            np.testing.assert_allclose(part.std(axis=0), scale, rtol=0.025)


def test_log_likelihood_is_the_sum_of_log_probabilities():
    log_odds, y = jnp.array([0.3, -2.0, 90.0]), jnp.array([1.0, 0.0, 0.0])
    p = 1 / (1 + np.exp(-np.asarray(log_odds, float)))
    expected = np.log(p[0]) + np.log(1 - p[1]) - 90
    np.testing.assert_allclose(log_likelihood(log_odds, y), expected, rtol=1e-6)


def test_a_draw_is_the_same_in_any_company():
    head = MLP((2,))
    few, many, some = (draw_prior(head, numbers, 3, seed=5) for numbers in (2, 9, [7, 1]))
    for a, b, c in zip(*map(jax.tree.leaves, (few, many, some)), strict=True):
        np.testing.assert_array_equal(a, b[:2])
        np.testing.assert_array_equal(c, b[np.array([7, 1])])
    assert [len(leaf) for leaf in jax.tree.leaves(draw_prior(head, 0, 3, seed=5))] == [0] * 4


def test_log_odds_of_many_are_those_of_each(monkeypatch):
    head, X = MLP((2,)), np.random.default_rng(0).standard_normal((4, 3))
    parameters = draw_prior(head, 5, 3, seed=0)
    each = [head(jax.tree.map(lambda leaf, i=i: leaf[i], parameters), X) for i in range(5)]
    np.testing.assert_allclose(log_odds(head, parameters, X), each, rtol=1e-4)
    monkeypatch.setattr(network, "UNITS", 2 * 4 * 3)  # two draws at once, then one
    jax.clear_caches()
    np.testing.assert_allclose(log_odds(head, parameters, X), each, rtol=1e-4)


@pytest.mark.parametrize("X", [np.ones(3), np.ones((1, 2)), np.full((1, 3), np.inf)])
def test_log_odds_need_finite_rows_of_the_right_length(X):
    with pytest.raises(ValueError, match=r"X (has shape|holds NaN)"):
        log_odds(MLP(), draw_prior(MLP(), 2, 3, seed=0), X)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"widths": (0,)}, "widths"),
        ({"activation": "cosine"}, "activation"),
        ({"weight_scale": 0.0}, "weight_scale"),
        ({"bias_scale": float("nan")}, "bias_scale"),
    ],
)
def test_impossible_heads_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        MLP(**arguments)
