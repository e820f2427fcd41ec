"""A pretrained body with a head: its prior, its kernels, and what must hold by construction."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from elkutils.inference.networks import laplace
from elkutils.inference.networks.function_space import Process
from elkutils.inference.networks.jacobian import kernel
from elkutils.inference.networks.network import draw_prior, flat
from elkutils.inference.networks.pretrained import (
    Pretrained,
    body_kernel,
    features,
    head_kernel,
    linearity,
)

TAU, BIAS = 0.7, 1.5


@dataclass(frozen=True)
class Linear:
    """Features XW."""

    def __call__(self, weights, X):
        return X @ weights["W"]

    def units(self, d):
        return 4


@dataclass(frozen=True)
class Bent:
    """Features tanh(XW)·V."""

    def __call__(self, weights, X):
        return jnp.tanh(X @ weights["W"]) @ weights["V"]

    def units(self, d):
        return 9


def make(body, s, seed=0):
    rng = np.random.default_rng(seed)
    weights = {"W": rng.standard_normal((3, 5)), "V": rng.standard_normal((5, 4))}
    if isinstance(body, Linear):
        weights = {"W": rng.standard_normal((3, 4))}
    centre, spread = rng.standard_normal(4), rng.uniform(1, 2, 4)
    return Pretrained(body, weights, centre, spread, s, TAU, BIAS)


def data(n=30, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    return X, (X @ [1.0, -1.0, 0.5] + 0.5 * rng.standard_normal(n) > 0.2).astype(int)


def test_the_prior_is_about_the_pretrained_weights():
    network, (X, _) = make(Bent(), 0.3), data(4)
    head = flat(network, 3)
    theta = head.flatten(draw_prior(network, 4000, 3, seed=0))
    np.testing.assert_allclose(np.std(theta, axis=0), head.scales, rtol=0.056)
    assert head.scales[0] == pytest.approx(
        0.3 * np.sqrt(np.mean(network.weights["V"] ** 2)), rel=1e-6
    )
    at = head.parameters(theta[:1])
    one = jax.tree.map(lambda leaf: leaf[0], at)
    W, V = (network.weights[k] + np.asarray(one["body"][k], float) for k in ("W", "V"))
    h = (np.tanh(X @ W) @ V - network.centre) / network.spread
    expected = h @ np.asarray(one["head"]["weights"], float) + float(one["head"]["bias"])
    np.testing.assert_allclose(
        head.log_odds(theta[:1].astype(float), X)[0], expected, rtol=1e-6
    )


def test_kernels_are_those_of_the_jacobian():
    """By all parameters at once, at two heads: their mean is head, body and bias together."""
    network, (X, _) = make(Bent(), 0.3), data(6)
    base, heads = flat(network, 3), np.random.default_rng(2).standard_normal((2, 4))
    whole = []
    for w in heads:
        theta = np.concatenate([np.zeros(base.size - 5), [0.0], w])
        whole.append(kernel(base, theta / base.scales, X))
    parts = head_kernel(network, X, X) + 0.3**2 * body_kernel(network, heads, X, X)
    np.testing.assert_allclose(parts.across + BIAS**2, np.mean(whole, axis=0), rtol=1e-6)
    np.testing.assert_allclose(parts.own, np.diag(parts.across), rtol=1e-9)


def test_a_body_that_is_linear_in_its_weights_is_linearised_exactly():
    heads = np.random.default_rng(2).standard_normal((2, 4))
    found = linearity(make(Linear(), 0.5), heads, data()[0], [0.1, 1.0])
    np.testing.assert_allclose(found, 1, atol=1e-9)
    near, far = linearity(make(Bent(), 0.5), heads, data()[0], [0.01, 1.0])
    assert far < 0.9 < 0.999 < near


def test_a_frozen_body_is_the_head_alone():
    """s = 0: the kernel by all parameters is the head's, at any head; the share is then 1."""
    network, (X, y) = make(Bent(), 0.0), data()
    base = flat(network, 3)
    z = np.random.default_rng(3).standard_normal(base.size)
    np.testing.assert_allclose(
        kernel(base, z, X), head_kernel(network, X, X).across + BIAS**2, rtol=1e-6
    )
    found = laplace.find_mode(network, X, y)
    h = features(network, X)
    process = Process.of(head_kernel(network, X, X).across, BIAS)
    mode = process.mode(y)
    theta = found.z * base.scales
    by_weights = h @ theta[-4:] + theta[-5]
    np.testing.assert_allclose(process.design @ mode[:-1] + mode[-1], by_weights, atol=1e-4)
    assert np.all(theta[:-5] == 0)
    with pytest.raises(ValueError, match="every entry positive"):
        linearity(network, np.ones((1, 4)), X, [0.0])


def test_the_posterior_of_a_linearised_network_is_its_gaussian():
    """With weak labels Laplace's Gaussian is nearly exact: its closed form against the draws.

    The log odds are w·h + b + w₀ᵀJδ: a network that is linear in all its parameters, so that
    its Laplace approximation in weights is that of the process. Means and standard deviations
    agree to the error of 4000 draws (.016 sd, .011; five each) and Laplace's own, .02 sd here.
    """
    network, (X, y) = make(Bent(), 0.2), data(8)
    new = data(5, 7)[0]
    heads = np.random.default_rng(4).standard_normal((1, 4))
    small = 0.05  # of the kernel: so weak a prior moves no probability far

    def prior(rows):
        found = head_kernel(network, rows, X) + 0.2**2 * body_kernel(network, heads, rows, X)
        return small * found

    process = Process.of(prior(X).across, 0.3)
    theta = process.sample(y, 1000, 4, seed=0).flat
    drawn = process.log_odds(theta, prior(new).across, prior(new).own, np.random.default_rng(0))
    K, across = prior(X).across + 0.3**2, prior(new).across + 0.3**2
    mode = process.mode(y)
    p = expit(process.design @ mode[:-1] + mode[-1])
    inner = np.linalg.inv(K + np.diag(1 / (p * (1 - p))))
    mean = across @ (y - p)
    sd = np.sqrt(prior(new).own + 0.3**2 - np.sum((across @ inner) * across, axis=1))
    assert np.abs((drawn.mean(axis=0) - mean) / sd).max() < 0.1
    assert np.abs(drawn.std(axis=0) / sd - 1).max() < 0.075


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"body_scale": -0.1}, "body_scale is -0.1"),
        ({"weight_scale": 0.0}, "weight_scale is 0.0"),
        ({"spread": np.ones(3)}, r"spread \(3,\)"),
        ({"spread": np.zeros(4)}, "not positive"),
        ({"weights": {"W": np.full((3, 4), np.nan)}}, r"weights\['W'\]"),
    ],
)
def test_bad_networks(changed, told):
    with pytest.raises(ValueError, match=told):
        replace(make(Linear(), 0.5), **changed)


def test_bad_heads():
    with pytest.raises(ValueError, match=r"it needs \(h, 4\), h ≥ 1"):
        body_kernel(make(Linear(), 0.5), np.ones((2, 3)), data()[0], data()[0])
