"""Rows that are scaled as they are read."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from elkutils.inference.draws import Draws, LinearHead
from elkutils.inference.logistic import hmc
from elkutils.inference.logistic.rows import Scaled


def test_moments_of_blocks_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    X = (1e4 + rng.standard_normal((103, 5)) * [1, 2, 30, 0.1, 0]).astype(np.float32)
    scaler = StandardScaler().fit(X.astype(np.float64))
    found = Scaled.of(X, rows=10)
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.scale, scaler.scale_, rtol=1e-9)
    wanted = scaler.transform(X.astype(np.float64))[3:50:7]
    np.testing.assert_allclose(found[3:50:7], wanted, rtol=1e-6, atol=1e-6)


def test_a_memory_map_is_scaled_as_it_is_read(tmp_path):
    rng = np.random.default_rng(0)
    X = (5 + 3 * rng.standard_normal((600, 4))).astype(np.float32)
    y = (rng.random(600) < 1 / (1 + np.exp(5 - X[:, 0]))).astype(float)
    np.save(tmp_path / "X.npy", X)
    scaled = Scaled.of(np.load(tmp_path / "X.npy", mmap_mode="r"), rows=100)
    precision = np.append(np.ones(4), 0.0)
    options = {"draws": 20, "chains": 8, "seed": 0}
    found = hmc.sample(scaled, y, precision, memory=5000, **options)
    whole = hmc.sample(scaled[:], y, precision, **options)
    assert np.abs(found.theta - whole.theta).max() < 1e-3 * whole.theta.std()
    unscaled = Draws(LinearHead(4), scaled.unscaled(found.theta))
    np.testing.assert_allclose(unscaled.log_odds(X), found.log_odds(scaled[:]), atol=1e-9)
