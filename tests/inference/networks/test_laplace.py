"""Laplace for networks: linear ones in closed form, dense matrices, the last layer."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from elkutils.checkpoint import Checkpoint
from elkutils.inference import linear
from elkutils.inference.draws import Draws
from elkutils.inference.logistic import mode
from elkutils.inference.networks import laplace
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import flat
from elkutils.inference.networks.training import Squared


def make(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(float)


def linear_head(d, prior_scale, bias_scale):
    return MLP(weight_scale=prior_scale * np.sqrt(d), bias_scale=bias_scale)


def check_draws(found, mean, covariance):
    """Means and covariances of independent draws (k, m), to 4.5 standard errors."""
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(found.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(len(found)))
    error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / len(found))
    assert np.all(np.abs(np.cov(found.T) - covariance) < 4.5 * error)


@pytest.mark.parametrize(("n", "d"), [(40, 4), (12, 30)])
def test_a_linear_network_has_the_laplace_of_logistic_regression(n, d):
    """With more features than rows too, where the classes are separable."""
    X, y = make(n, d)
    new = 2 * make(5, d, 1)[0]
    fit = laplace.fit(linear_head(d, 0.7, 1.3), X, y)
    exact = mode.laplace(X, y, 0.7, 1.3)
    np.testing.assert_allclose(fit.theta, [*exact.coef, exact.intercept], atol=1e-5)
    assert abs(fit.log_evidence - exact.log_evidence) < 1e-4
    # The weights' covariance, from their Hessian.
    design = np.column_stack([X, np.ones(n)]).astype(float)
    p = expit(design @ [*exact.coef, exact.intercept])
    precision = np.diag([*np.full(d, 0.7**-2.0), 1.3**-2.0])
    covariance = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]) + precision)
    rows = np.column_stack([new, np.ones(5)])
    mean, found = fit.predict(new)
    np.testing.assert_allclose(mean, new @ exact.coef + exact.intercept, atol=1e-4)
    np.testing.assert_allclose(found, rows @ covariance @ rows.T, rtol=1e-4, atol=1e-4)
    theta = fit.draw(4000, seed=2)
    check_draws(theta, fit.theta, covariance)
    check_draws(fit.draw_log_odds(new, 4000, seed=2), mean, found)


def test_with_normal_noise_it_is_the_posterior_and_the_evidence_itself():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((10, 3)).astype(np.float32)
    y = (X[:, 0] + rng.standard_normal(10)).astype(np.float32)
    design = np.column_stack([X, np.ones(10)]).astype(float)
    found = laplace.sample(linear_head(3, 1.5, 1.5), X, y, 2000, 2, loss=Squared(0.5))
    exact = linear.posterior(design, y, 1.5, 0.5)
    assert found.theta.shape == (2, 2000, 4)
    check_draws(found.flat, exact.mean, exact.covariance)
    left_out = 10 * np.log(0.5 * np.sqrt(2 * np.pi))
    evidence = linear.log_evidence(design, y, 1.5, 0.5) + left_out
    assert abs(found.details["log_evidence"] - evidence) < 1e-4


def test_without_data_draws_are_those_of_the_prior():
    head = MLP((3,), weight_scale=1.5, bias_scale=0.5)
    fit = laplace.fit(head, np.zeros((0, 2)), np.zeros(0))
    scales = flat(head, 2).scales
    check_draws(fit.draw(4000, seed=0), np.zeros(len(scales)), np.diag(scales**2))
    assert abs(fit.log_evidence) < 1e-6


def test_the_kernel_gives_what_the_dense_matrix_gives():
    """(I + JᵀWJ)⁻¹ by all parameters of a network with hidden units; p = 21 > n = 15."""
    X, y = make(15, 3)
    new = make(4, 3, 1)[0]
    network = MLP((4,), weight_scale=2.0)
    head = flat(network, 3)
    found = laplace.sample(network, X, y, 4000)
    fit = found.details["fit"]
    theta = jnp.asarray(fit.theta, jnp.float32)

    def jacobian(rows):
        slope = jax.jacobian(lambda at: network(head.parameters(at), jnp.float32(rows)))(theta)
        return np.asarray(slope, float) * head.scales

    p = expit(np.asarray(network(head.parameters(theta), X), float))
    np.testing.assert_allclose(fit.weights, p * (1 - p), rtol=1e-3)
    precision = np.eye(head.size) + jacobian(X).T @ ((p * (1 - p))[:, None] * jacobian(X))
    covariance = jacobian(new) @ np.linalg.inv(precision) @ jacobian(new).T
    mean, ours = fit.predict(new)
    np.testing.assert_allclose(ours, covariance, rtol=2e-3, atol=2e-3)
    check_draws(found.flat / head.scales, fit.mode.z, np.linalg.inv(precision))
    check_draws(found.log_odds(new)[0], mean, ours)  # by the linearised head
    at_mode = Draws(fit.head, fit.theta[None, None]).log_odds(new)[0, 0]
    np.testing.assert_allclose(at_mode, mean, atol=1e-5)
    # The mode is one: the objective is larger around it.
    assert fit.mode.slope < 1e-5
    small = laplace.fit(network, X, y, memory=1)
    assert small.at_once == 1
    np.testing.assert_allclose(small.factor, fit.factor, rtol=1e-6)
    np.testing.assert_allclose(small.draw(5, 0), fit.draw(5, 0), atol=1e-4)


def test_the_last_layer_is_logistic_regression_on_the_units():
    X, y = make(25, 3)
    new = make(6, 3, 1)[0]
    found = laplace.sample(MLP((5,), weight_scale=2.0), X, y, 4000, last_layer=True)
    fit = found.details["fit"]
    assert found.head is flat(MLP((5,), weight_scale=2.0), 3)
    (weights, biases), _ = fit.base.parameters(fit.theta)

    def units(rows):
        return np.asarray(jax.nn.silu(rows @ weights + biases), float)

    exact = mode.laplace(units(X), y, 2 / np.sqrt(5), 1.0)
    np.testing.assert_allclose(fit.theta[fit.chosen], [*exact.coef, exact.intercept], atol=1e-3)
    assert abs(fit.log_evidence - exact.log_evidence) < 1e-3
    mean, covariance = fit.predict(new)
    theirs, bias = exact.draw(4000, np.random.default_rng(0))
    check_draws(theirs @ units(new).T + bias[:, None], mean, covariance)
    check_draws(found.log_odds(new)[0], mean, covariance)  # by the network itself
    assert np.ptp(found.flat[:, : fit.chosen[0]], axis=0).max() == 0


@dataclass(frozen=True)
class Squares:
    """Log odds that are linear in no parameter."""

    def init(self, key, d):
        return jax.random.normal(key, (d,))

    def __call__(self, parameters, X):
        return X @ parameters**2

    def log_prior(self, parameters):
        return -0.5 * jnp.sum(parameters**2)

    def scales(self, d):
        return 1.0

    def units(self, d):
        return 1


@pytest.mark.parametrize(("width", "one_line"), [(4, False), (32, True)])
def test_features_of_a_wide_perceptron_lie_on_one_line_at_the_mode(width, one_line):
    """Draws of the last layer then have the same log odds, but for a slope and a constant."""
    X, y = make(60, 10)
    found = laplace.sample(MLP((width, width), weight_scale=2.0), X, y, 16, last_layer=True)
    centred = found.log_odds(make(50, 10, seed=1)[0]).reshape(16, -1)
    values = np.linalg.svd(centred - centred.mean(axis=1, keepdims=True), compute_uv=False)
    assert (values[1] < 1e-5 * values[0]) == one_line


def test_the_last_layer_is_found():
    assert len(laplace.last_layer_of(flat(MLP(), 3))) == 4
    for activation in ("relu", "tanh"):
        head = flat(MLP((4, 6), activation), 3)
        np.testing.assert_array_equal(laplace.last_layer_of(head), head.size - 7 + np.arange(7))
    with pytest.raises(ValueError, match="Squares"):
        laplace.last_layer_of(flat(Squares(), 3))


def test_a_wide_network():
    """Width 512, p = 16,897 parameters: the kernel's size is that of the rows."""
    X, y = make(20, 31)
    new = make(3, 31, 1)[0]
    fit = laplace.fit(MLP((512,), weight_scale=2.0), X, y)
    assert fit.factor.shape == (20, 20)
    draws = Draws(fit.head, fit.draw(400, seed=1)[None]).log_odds(new)[0]
    check_draws(draws, *fit.predict(new))


class Stopped(Exception):
    pass


def test_an_interrupted_search_continues_to_the_same_draws(tmp_path, monkeypatch):
    X, y = make(30, 3)
    path, options = tmp_path / "mode.safetensors", {"draws": 5, "seed": 3}
    network = MLP((4,), weight_scale=2.0)
    monkeypatch.setattr(laplace, "ROUND", 10)
    whole = laplace.sample(network, X, y, **options)
    assert whole.details["fit"].mode.iterations > 20
    save = Checkpoint.save

    def stop(self, run):
        save(self, run)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        for _ in range(2):
            with pytest.raises(Stopped):
                laplace.sample(network, X, y, checkpoint=path, **options)
    with pytest.raises(ValueError, match="other data or settings"):
        laplace.sample(network, X, y, checkpoint=path, draws=5, seed=4)
    found = laplace.sample(network, X, y, checkpoint=path, **options)
    np.testing.assert_array_equal(found.theta, whole.theta)
    assert not path.exists()


def test_a_search_that_has_not_settled_says_so(capfd):
    X, y = make(30, 3)
    with pytest.warns(RuntimeWarning, match="not settled after 2"):
        laplace.find_mode(MLP((4,)), X, y, iterations=2, progress=True)
    assert "log_joint" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.full((4, 2), np.nan)}, "X holds NaN"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"draws": 0}, "draws is 0"),
        ({"chains": 0}, "chains is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"memory": 0.5}, "memory is 0.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=said):
        laplace.sample(MLP(), **arguments)
