"""Tempering a network's prior to its posterior: the evidence, and the posterior's mean."""

import numpy as np
import pytest
from scipy.special import logsumexp

from elkutils.inference.networks import tempered, threshold
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_odds

HEAD = MLP((3,), weight_scale=2.0)


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (X[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(float)


def test_evidence_and_predictive_are_those_of_weighted_prior_draws():
    X, y = make(15, 2, 0)
    tries = 100_000
    weights = -len(y) * threshold.prior_losses(HEAD, X, y, tries)
    expected = logsumexp(weights) - np.log(tries)
    found = tempered.sample(HEAD, X, y, 1000, seed=1)
    error = found.details["log_evidence_error"]
    assert error < 0.2
    assert abs(found.details["log_evidence"] - expected) < 4.5 * error
    p = 1 / (1 + np.exp(-log_odds(HEAD, draw_prior(HEAD, tries, 2, 0), X)))
    weights = np.exp(weights - weights.max())
    mean = weights @ p / weights.sum()
    np.testing.assert_allclose(found.sample_proba(X).mean(axis=0), mean, atol=0.05)


def test_log_likelihood_is_that_of_the_draws():
    X, y = make(10, 2, 1)
    found = tempered.sample(HEAD, X, y, 50)
    said = found.log_odds(X)[0]
    expected = -np.logaddexp(0, np.where(y == 1, -said, said)).sum(axis=1)
    np.testing.assert_allclose(found.stats["log_likelihood"][0], expected, rtol=1e-4, atol=1e-4)


def test_bad_input():
    X, y = make(10, 2, 1)
    with pytest.raises(ValueError, match="draws"):
        tempered.sample(HEAD, X, y, 0)
    with pytest.raises(ValueError, match="y"):
        tempered.sample(HEAD, X, y + 1, 10)
