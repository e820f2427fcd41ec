"""The attention-pooled head: its forward pass, absent tokens, its prior and its posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from elkutils.inference.networks.attention_pool import AttentionPool
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_odds
from elkutils.reporters import BayesianNetwork, load

INPUTS, TOKENS = 3, 5
POOL = AttentionPool(INPUTS, heads=2, weight_scale=1.5, query_scale=2.0)


def texts(n, seed=0):
    """Tokens (n, TOKENS, INPUTS) of texts of different lengths, aligned at the end."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, TOKENS, INPUTS))
    for row, length in enumerate(rng.integers(1, TOKENS + 1, n)):
        X[row, : TOKENS - length] = 0
    return X


def flattened(X):
    return X.reshape(len(X), -1).astype(np.float32)


def test_it_is_a_softmax_over_the_tokens_there():
    X = texts(20)
    parameters = jax.tree.map(np.asarray, POOL.init(jax.random.key(0), INPUTS))
    found = POOL(parameters, jnp.asarray(flattened(X)))
    for row, tokens in enumerate(X):
        there = tokens[tokens.any(axis=1)]
        attention = softmax(there @ parameters["query"], axis=0)
        scores = there @ parameters["value"]
        expected = np.sum(attention * scores) + parameters["bias"]
        assert float(found[row]) == pytest.approx(float(expected), abs=1e-5)
    looks = POOL.attention(parameters, jnp.asarray(flattened(X)))
    np.testing.assert_allclose(looks.sum(axis=1), 1, rtol=1e-5)
    assert not np.asarray(looks)[~X.any(axis=2)].any()


def test_where_absent_tokens_stand_makes_no_difference():
    X = texts(10)
    parameters = POOL.init(jax.random.key(1), INPUTS)
    longer = np.concatenate([np.zeros((10, 4, INPUTS)), X], axis=1)
    moved = longer[:, np.random.default_rng(0).permutation(TOKENS + 4)]
    expected = POOL(parameters, jnp.asarray(flattened(X)))
    for other in (longer, moved):
        found = POOL(parameters, jnp.asarray(flattened(other)))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_its_prior_is_the_one_that_is_stated():
    draws = draw_prior(POOL, 4000, INPUTS, seed=0)
    for name, scale in POOL.scales(INPUTS).items():
        assert np.std(draws[name]) == pytest.approx(scale, rel=0.05)
    one = POOL.init(jax.random.key(2), INPUTS)
    expected = sum(
        norm.logpdf(np.asarray(one[name]), 0, scale).sum()
        for name, scale in POOL.scales(INPUTS).items()
    )
    assert float(POOL.log_prior(one)) == pytest.approx(float(expected), rel=1e-5)
    x = np.random.default_rng(0).standard_normal((1, 1, INPUTS))
    alone = np.ravel(log_odds(POOL, draws, flattened(x)))
    variance = 1.5**2 * np.mean(x**2) + 1
    assert alone.var() == pytest.approx(variance, rel=0.1)


def test_of_one_token_its_posterior_is_that_of_the_linear_reporter():
    """There is nothing to choose from: queries are free, values the linear weights."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, INPUTS))
    y = (X[:, 0] + rng.standard_normal(60) > 0).astype(int)
    new = rng.standard_normal((20, INPUTS))
    settings = {"draws": 500, "chains": 4, "warmup": 200, "seed": 0}
    found = BayesianNetwork(AttentionPool(INPUTS), **settings).fit(X, y).predict_proba(new)
    linear = BayesianNetwork(MLP(()), **settings).fit(X, y).predict_proba(new)
    assert np.abs(found - linear).max() < 0.03


def test_it_finds_the_one_token_that_tells(tmp_path):
    """The mean hides the signal among ten tokens; attention, and a saved copy, find it."""
    rng = np.random.default_rng(4)
    y = np.arange(200) % 2
    X = rng.standard_normal((200, 10, 4)) * 0.5
    place = rng.integers(10, size=200)
    X[np.arange(200), place, 0] += 3
    X[np.arange(200), place, 1] = 2 * (2 * y - 1)
    rows = X.reshape(200, -1)
    pool = AttentionPool(4, weight_scale=3.0)
    reporter = BayesianNetwork(pool, draws=200, chains=4, warmup=200, seed=0)
    reporter.fit(rows[:100], y[:100])
    assert reporter.diagnostics_.converged
    right = (reporter.predict_proba(rows[100:])[:, 1] > 0.5) == y[100:]
    by_mean = BayesianNetwork(MLP((), weight_scale=3.0), draws=200, chains=4, warmup=200)
    mean = X.mean(axis=1)
    of_mean = by_mean.fit(mean[:100], y[:100]).predict_proba(mean[100:])[:, 1] > 0.5
    assert right.mean() > 0.97
    assert right.mean() > np.mean(of_mean == y[100:]) + 0.02
    reporter.save(tmp_path / "pool")
    again = load(tmp_path / "pool").predict_proba(rows[100:])
    np.testing.assert_array_equal(again, reporter.predict_proba(rows[100:]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": 0}, "inputs is 0"),
        ({"heads": 1.5}, "heads is 1.5"),
        ({"query_scale": 0.0}, "query_scale is 0.0"),
        ({"weight_scale": np.inf}, "weight_scale is inf"),
    ],
)
def test_bad_settings_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        AttentionPool(**{"inputs": 3} | options)


def test_rows_it_cannot_take_are_named():
    with pytest.raises(ValueError, match="X has 4 columns"):
        BayesianNetwork(AttentionPool(3)).fit(np.ones((4, 4)), [0, 1, 0, 1])
    empty = flattened(texts(4))
    empty[2] = 0
    with pytest.raises(ValueError, match="first of them row 2"):
        BayesianNetwork(AttentionPool(3)).fit(empty, [0, 1, 0, 1])
