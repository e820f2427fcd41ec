"""A network that nothing in the package knows goes through everything that takes networks."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from elkutils.inference.networks import threshold
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, flat
from elkutils.inference.networks.samplers import SAMPLERS
from elkutils.inference.networks.training import Plan, train
from elkutils.reporters import BayesianNetwork, Ensemble, load


@dataclass(frozen=True)
class Bumps:
    """Log odds Σ aₖ exp(−|x − cₖ|²/2): parameters by name, a scalar and a matrix among them."""

    bumps: int = 3
    weight_scale: float = 2.0

    def init(self, key, d):
        drawn = jax.random.normal(key, (self.bumps * (d + 1) + 1,))
        heights = self.weight_scale * drawn[: self.bumps]
        centres = drawn[self.bumps : -1].reshape(self.bumps, d)
        return {"offset": 0.5 * drawn[-1], "heights": heights, "centres": centres}

    def __call__(self, parameters, X):
        away = X[:, None] - parameters["centres"]
        bumps = jnp.exp(-0.5 * jnp.sum(away**2, axis=-1))
        return bumps @ parameters["heights"] + parameters["offset"]

    def log_prior(self, parameters):
        scales = self.scales(parameters["centres"].shape[1])
        return sum(norm.logpdf(parameters[k], 0, s).sum() for k, s in scales.items())

    def scales(self, d):
        return {"offset": 0.5, "heights": self.weight_scale, "centres": 1.0}

    def units(self, d):
        return self.bumps * (d + 1)


NETWORKS = (Bumps(), MLP((4,), weight_scale=2.0))


@pytest.fixture
def data():
    """Fifty rows, true near the origin."""
    rng = np.random.default_rng(0)
    X = 1.5 * rng.standard_normal((50, 2))
    return X, (np.sum(X**2, axis=1) + 0.5 * rng.standard_normal(50) < 2).astype(int)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_scales_are_those_of_the_prior_and_flat_parameters_come_back(network):
    head = flat(network, 2)
    drawn = draw_prior(network, 4000, 2, seed=0)
    theta = head.flatten(drawn)
    assert theta.shape == (4000, head.size)
    # The relative error of a standard deviation from 4000 draws is 1.1%; five of those.
    np.testing.assert_allclose(np.std(theta, axis=0), head.scales, rtol=0.056)
    for a, b in zip(*map(jax.tree.leaves, (drawn, head.parameters(theta))), strict=True):
        np.testing.assert_array_equal(a, b)
    one = jax.tree.map(lambda leaf: leaf[0], drawn)
    expected = norm.logpdf(theta[0], 0, head.scales).sum()
    np.testing.assert_allclose(network.log_prior(one), expected, rtol=1e-4)
    np.testing.assert_array_equal(head.flatten(one), theta[0])


def run(name, X, y):
    network = Bumps()
    if name == "training":
        return train(network, draw_prior(network, 6, 2, 0), X, y, Plan(steps=300))
    if name == "rejection":
        return threshold.sample(network, X, y, 0.6, tries=2000)
    options = {"draws": 60, "chains": 3, "warmup": 60, "steps": 8, "threshold": 0.4}
    return SAMPLERS[name](network, X, y, seed=0, progress=False, **options)


@pytest.mark.parametrize("name", [*SAMPLERS, "training", "rejection"])
def test_every_sampler_takes_it(data, name):
    X, y = data
    found = run(name, X, y)
    assert found.parameters["centres"].shape == (*found.theta.shape[:2], 3, 2)
    assert found.parameters["offset"].shape == found.theta.shape[:2]
    assert all(values.shape == found.theta.shape[:2] for values in found.stats.values())
    p = found.sample_proba(X)
    assert p.shape == (found.chains * found.draws, 50)
    assert p.mean(axis=0)[y == 1].mean() > p.mean(axis=0)[y == 0].mean() + 0.1


@pytest.mark.parametrize(
    "reporter",
    [
        Ensemble(3, Bumps(), init=1.5, steps=50, learning_rate=0.1),
        BayesianNetwork(Bumps(), draws=30, chains=2, warmup=30, steps=8),
    ],
    ids=lambda r: type(r).__name__,
)
def test_reporters_take_it_and_save_it(data, reporter, tmp_path):
    X, y = data
    fit = reporter.fit(X, y)
    fit.save(tmp_path / "bumps")
    again = load(tmp_path / "bumps")
    assert again.get_params() == reporter.get_params()
    np.testing.assert_array_equal(again.sample_proba(X), fit.sample_proba(X))
