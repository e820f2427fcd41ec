"""Sampling in the row space of the inputs: it is exact, on the rows and off them."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import kstest, norm

from elkutils.inference.networks import hmc, rowspace
from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import BayesianLogistic


@dataclass(frozen=True)
class Whole(MLP):
    """An MLP that does not say where it sees its inputs."""

    input_weights = None


def make(n=10, d=14, rank=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) / np.sqrt(rank)
    new = np.concatenate([X[:3] + 0.5, 1.5 * rng.standard_normal((5, d))])
    return X, (X[:, 0] > 0).astype(float), new


def test_a_linear_head_with_more_inputs_than_rows_is_logistic_regression():
    X, y, new = make()
    found = hmc.sample(MLP(weight_scale=np.sqrt(14)), X, y, 300, 200, 10)
    assert found.details["rank"] == 6
    exact = BayesianLogistic(1.0, bias_scale=1.0, draws=1000).fit(X, y).draws_
    for mean in (lambda d: d.log_odds(new), lambda d: d.log_odds(new) ** 2):
        ours, theirs = mean(found).reshape(-1, 8), mean(exact).reshape(-1, 8)
        size = found.diagnose(new).worst["ess"], exact.diagnose(new).worst["ess"]
        error = np.hypot(ours.std(0) / np.sqrt(size[0]), theirs.std(0) / np.sqrt(size[1]))
        assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < 4.5 * error)


def test_a_network_answers_as_one_sampled_in_all_dimensions():
    X, y, new = make()
    one, other = (
        hmc.sample(kind((6,), weight_scale=3.0), X, y, 400, 200, 10) for kind in (MLP, Whole)
    )
    assert (one.details["rank"], other.details["rank"]) == (6, 14)
    assert one.theta.shape == other.theta.shape
    for power in (1, 2):
        means = [d.log_odds(new).reshape(-1, 8) ** power for d in (one, other)]
        size = [d.diagnose(new).worst["ess"] for d in (one, other)]
        errors = [m.std(0) / np.sqrt(k) for m, k in zip(means, size, strict=True)]
        apart = np.abs(means[0].mean(0) - means[1].mean(0))
        assert np.all(apart < 4.5 * np.hypot(*errors))


def test_what_the_rows_do_not_see_keeps_its_prior():
    X, y, _ = make()
    found = hmc.sample(MLP((5,), weight_scale=2.0), X, y, 20, 30, 10)
    weights = found.parameters[0][0].reshape(-1, 14, 5)
    null = np.linalg.svd(X)[2][6:]
    unseen = np.einsum("nd,kdu->knu", null, weights) / (2.0 / np.sqrt(14))
    assert kstest(unseen.ravel(), norm.cdf).pvalue > 0.001
    # independent of each other over draws, units and directions
    flat = unseen.reshape(200, -1)
    correlation = np.corrcoef(flat.T)[np.triu_indices(flat.shape[1], 1)]
    assert abs(correlation.std() * np.sqrt(200) - 1) < 0.1


def test_lifted_weights_give_the_rows_what_the_reduced_ones_gave():
    X, _, _ = make()
    head, basis = rowspace.reduce(MLP((5,)), X)
    theta = np.random.default_rng(1).standard_normal((4, head.size)).astype(np.float32)
    lifted = head.lift(theta, basis, np.random.default_rng(2))
    reduced = head.network(head.parameters(theta[2]), (X @ basis).astype(np.float32))
    whole = rowspace.flat(MLP((5,)), 14).log_odds(lifted, X)
    np.testing.assert_allclose(whole[2], reduced, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "X"),
    [(MLP((3,)), np.random.default_rng(0).standard_normal((9, 4))), (Whole(), np.ones((2, 4)))],
)
def test_nothing_is_reduced_where_nothing_is_gained(network, X):
    head, basis = rowspace.reduce(network, X)
    assert basis is None
    assert head is rowspace.flat(network, 4)


def test_rows_beyond_float32_in_the_row_space_are_named():
    with pytest.raises(ValueError, match="beyond float32"):
        hmc.sample(MLP((2,)), np.full((2, 9), 3e38), np.array([0, 1]), 2, 2, 1)
