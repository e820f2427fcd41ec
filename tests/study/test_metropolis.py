"""The walk has the posterior as its stationary distribution, and a memory."""

import numpy as np
import pytest
from scipy.special import log_expit

from elkutils.study.metropolis import walk

RNG = np.random.default_rng(0)
X = RNG.standard_normal((15, 1))
y = (RNG.random(15) < 0.5).astype(int)


def test_the_walk_averages_to_the_posterior_mean_by_quadrature():
    path = walk(X, y, 0.8, np.zeros((200, 2)), 600, 0.8, np.random.default_rng(1))
    assert path.shape == (600, 200, 2)
    w, b = np.meshgrid(np.linspace(-4, 4, 401), np.linspace(-6, 6, 401), indexing="ij")
    log_odds = w[..., None] * X[:, 0] + b[..., None]
    density = np.exp(log_expit((2 * y - 1) * log_odds).sum(axis=-1) - w**2 / (2 * 0.8**2))
    exact = [(value * density).sum() / density.sum() for value in (w, b, w**2)]
    draws = path[100:]
    found = [draws[..., 0], draws[..., 1], draws[..., 0] ** 2]
    for mean, values in zip(exact, found, strict=True):
        error = values.mean(axis=0).std() / np.sqrt(200)
        assert values.mean() == pytest.approx(mean, abs=4 * error)


def test_a_draw_remembers_the_one_before_it():
    path = walk(X, y, 0.8, np.zeros((50, 2)), 300, 0.2, np.random.default_rng(2))[100:, :, 0]
    assert np.corrcoef(path[:-1].ravel(), path[1:].ravel())[0, 1] > 0.8
    stays = np.mean(path[1:] == path[:-1])
    assert 0 < stays < 0.5
