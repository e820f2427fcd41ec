"""A head's prior, its log odds and its densities say the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from elkutils.inference.heads import MLP, log_likelihood


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
