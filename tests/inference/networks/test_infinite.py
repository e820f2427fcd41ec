"""The limit of wide layers: its kernel, its evidence, and that wide networks come to it."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

from elkutils.inference.networks import hmc, infinite, tempered
from elkutils.inference.networks.infinite import infinite_width_kernel
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, log_odds
from elkutils.reporters import BayesianLogistic

PHI = {"silu": lambda u: u * expit(u), "tanh": np.tanh, "relu": lambda u: np.maximum(u, 0)}


def make(n=30, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (np.sin(2 * X[:, 0]) + 0.3 * rng.standard_normal(n) > 0).astype(float)


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_kernel_is_that_of_two_dimensional_quadrature(activation, scale):
    X = np.concatenate([make(3)[0], make(3)[0][:1] * 1.01])
    u = np.linspace(-7.5, 7.5, 801)
    weights = np.exp(-0.5 * u**2)
    weights /= weights.sum()
    phi, expected = PHI[activation], scale**2 * X @ X.T / 5 + 0.25
    for _ in range(2):
        sd = np.sqrt(np.diag(expected))
        found = np.empty_like(expected)
        for i, j in np.ndindex(found.shape):
            rho = min(1.0, expected[i, j] / (sd[i] * sd[j]))
            v = sd[j] * (rho * u[:, None] + np.sqrt(1 - rho**2) * u)
            found[i, j] = weights @ (phi(sd[i] * u)[:, None] * phi(v)) @ weights
        expected = scale**2 * found + 0.25
    kernel = infinite_width_kernel(MLP((1, 1), activation, scale, 0.5), X)
    np.testing.assert_allclose(kernel, expected, rtol=1e-4)
    assert np.linalg.eigvalsh(kernel)[0] > 0
    rows = infinite_width_kernel(MLP((9, 9), activation, scale, 0.5), X[:2], X)
    np.testing.assert_allclose(rows, kernel[:2], rtol=1e-6)


@pytest.mark.parametrize("activation", PHI)
def test_wide_networks_have_its_covariance(activation):
    """4000 prior draws at width 256: entries to five standard errors and a hundredth."""
    X, _ = make(4)
    network = MLP((256, 256), activation, 2.0)
    drawn = log_odds(network, draw_prior(network, 4000, 5, 0), X).astype(float)
    K = infinite_width_kernel(network, X)
    error = np.sqrt((K**2 + np.outer(np.diag(K), np.diag(K))) / 4000)
    assert np.all(np.abs(drawn.T @ drawn / 4000 - K) < 5 * error + 0.01 * np.diag(K).max())


def test_evidence_is_that_of_scikit_learn_for_a_linear_kernel():
    X, y = make()
    kernel = ConstantKernel(4 / 5) * DotProduct(0.7 * np.sqrt(5 / 4))
    expected = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
    found = infinite.evidence(MLP((), weight_scale=2.0, bias_scale=0.7), X, y)
    assert abs(found - expected.log_marginal_likelihood_value_) < 1e-3


def test_evidence_is_that_of_a_wide_network_by_tempering():
    """Laplace's error, the particles' and that of width 128 are tenths of nats each."""
    X, y = make(12, 3)
    gaps = []
    for scale in (1.0, 3.0):
        network = MLP((128,), weight_scale=scale)
        found = tempered.sample(network, X, y, 300, seed=1).details
        assert found["log_evidence_error"] < 0.25
        gaps.append(infinite.evidence(network, X, y) - found["log_evidence"])
    assert np.max(np.abs(gaps)) < 0.6


def test_a_scale_is_chosen_by_evidence():
    X, y = make(60)
    network = MLP((512,), bias_scale=0.5)
    choice = infinite.choose_scale(network, X, y, (0.1, 0.5, 1.0, 100.0))
    assert choice.scale == 1.0
    assert choice.network == MLP((512,), weight_scale=1.0, bias_scale=0.5)
    assert choice.log_evidence.argmax() == 2
    assert choice.log_evidence[2] == infinite.evidence(choice.network, X, y)
    noise = np.random.default_rng(1).integers(0, 2, 60)
    assert infinite.choose_scale(network, X, noise, (0.1, 0.5, 3.0)).scale == 0.1


def test_without_hidden_layers_it_is_logistic_regression():
    X, y = make()
    new = 2 * make(6, seed=3)[0]
    ours = infinite.sample(MLP((), weight_scale=np.sqrt(5)), X, y, 1000).log_odds(new)
    theirs = BayesianLogistic(1.0, bias_scale=1.0, draws=1000).fit(X, y).draws_.log_odds(new)
    ours, theirs = ours.reshape(-1, 6), theirs.reshape(-1, 6)
    # Either has well over a thousand effective draws.
    error = 5 * np.sqrt(2 / 1000)
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < error * theirs.std(0))
    assert np.all(np.abs(ours.std(0) / theirs.std(0) - 1) < error)


def test_rows_far_from_the_data_keep_their_prior():
    """Orthogonal to every training row, and no bias to speak of: only the prior is left."""
    X = np.eye(6)[:3]
    network = MLP((1,), weight_scale=2.0, bias_scale=1e-3)
    found = infinite.sample(network, X, [0, 1, 1], 1000)
    new = np.stack([3 * np.eye(6)[4], 3 * np.eye(6)[5]])
    said = found.log_odds(new).reshape(-1, 2)
    # E[φ] of SiLU is not zero, so even these correlate with the training rows, a little.
    K = infinite_width_kernel(network, np.concatenate([X, new]))
    gain = np.linalg.solve(K[:3, :3], K[:3, 3:])
    latent = found.log_odds(X).reshape(-1, 3)
    expected = K[3:, 3:] - gain.T @ K[:3, 3:] + gain.T @ np.cov(latent.T) @ gain
    np.testing.assert_allclose(np.cov(said.T), expected, atol=0.1 * K[4, 4])
    np.testing.assert_array_equal(found.log_odds(new), found.log_odds(new))


def test_wide_networks_come_to_the_limit():
    """Total variation at width 256, less what chains differ by, and that of other priors."""
    X, y = make(30, 10)
    new = np.concatenate([make(40, 10, 1)[0], 2 * make(40, 10, 2)[0]])
    network = MLP((256, 256), weight_scale=2.0)
    found = hmc.sample(network, X, y, 100, 100, 4, seed=1)
    assert found.diagnose(new).worst["rhat"] < 1.1
    limit = infinite.sample(network, X, y, 1000).mean_proba(new)
    apart = np.abs(found.mean_proba(new) - limit).mean()
    other = infinite.sample(MLP((1, 1), weight_scale=1.0), X, y, 1000).mean_proba(new)
    assert apart < 0.025
    assert np.abs(found.mean_proba(new) - other).mean() > 0.05


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "MLP"}, "network is 'MLP'"),
        ({"X": np.full((4, 2), np.nan)}, "X holds NaN"),
        ({"X": np.zeros(4)}, "X has shape"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"draws": 0}, "draws is 0"),
        ({"scales": ()}, "scales has shape"),
        ({"scales": (1.0, -1.0)}, "scales is -1.0"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"network": MLP((3,)), "X": np.eye(4)[:, :2], "y": np.array([0, 1, 0, 1])}
    call = infinite.choose_scale if "scales" in change else infinite.sample
    with pytest.raises(ValueError, match=said):
        call(**arguments | change)
    with pytest.raises(ValueError, match="X has shape"):
        infinite_width_kernel(MLP(), np.ones((2, 2)), np.ones((2, 3)))
