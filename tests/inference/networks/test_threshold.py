"""Prior draws under a loss threshold: against quadrature, and rejection against descent."""

import jax
import numpy as np
import pytest
from scipy.stats import ks_2samp, norm

from elkutils.inference.networks import threshold
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import flat


def make(n, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (X[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(float)


def mean_losses(head, parameters, X, y):
    log_odds = np.asarray(jax.vmap(head, (0, None))(parameters, X.astype(np.float32)))
    return np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)).mean(axis=1)


def test_rate_of_a_linear_head_by_quadrature():
    X, y = make(12, 1, 0)
    w, b = np.meshgrid(np.linspace(-8, 8, 801), np.linspace(-8, 8, 801), indexing="ij")
    loss = np.mean(
        [
            np.logaddexp(0, (1 - 2 * label) * (w * x + b))
            for x, label in zip(X[:, 0], y, strict=True)
        ],
        axis=0,
    )
    mass = norm.pdf(w, 0, 1.5) * norm.pdf(b) * 0.02**2
    exact = mass[loss <= 0.45].sum()
    found = threshold.sample(MLP(weight_scale=1.5), X, y, 0.45, tries=100_000)
    assert found.details["tried"] == 100_000
    error = np.sqrt(exact * (1 - exact) / 100_000)
    assert abs(np.exp(found.details["log_rate"]) - exact) < 4.5 * error
    ((weights, _),) = found.parameters
    mean = (mass * w)[loss <= 0.45].sum() / exact
    assert abs(weights.mean() - mean) < 4.5 * weights.std() / np.sqrt(len(weights))


HEAD = MLP((3,), weight_scale=2.0)


@pytest.fixture(scope="module")
def plain():
    X, y = make(20, 2, 1)
    return X, y, threshold.sample(HEAD, X, y, 0.4, tries=200_000)


def test_what_is_accepted_is_under_the_threshold(plain):
    X, y, found = plain
    np.testing.assert_allclose(
        found.stats["loss"][0],
        mean_losses(HEAD, flat(HEAD, 2).parameters(found.flat), X, y),
        rtol=1e-4,
    )
    assert found.stats["loss"][0].max() <= 0.4
    assert found.details["log_rate"] == np.log(len(found.stats["loss"][0]) / 200_000)
    assert found.sample_proba(X).shape == (len(found.stats["loss"][0]), 20)
    every = threshold.prior_losses(HEAD, X, y, tries=200_000)
    np.testing.assert_array_equal(every[every <= 0.4], found.stats["loss"][0])


def test_descent_agrees_with_rejection_where_both_reach(plain):
    """Rate, losses and a prediction; descents with different seeds are independent."""
    X, y, found = plain
    descents = [threshold.descend(HEAD, X, y, 0.4, draws=500, seed=s) for s in range(8)]
    ratios = np.exp([d.details["log_rate"] - found.details["log_rate"] for d in descents])
    error = np.hypot(
        np.std(ratios, ddof=1) / np.sqrt(8), 1 / np.sqrt(len(found.stats["loss"][0]))
    )
    assert abs(ratios.mean() - 1) < 4.5 * error
    x = np.array([[0.5, -3.0]])  # far from the data, where heads differ
    ours = np.concatenate([d.log_odds(x)[0, ::25, 0] for d in descents])
    losses = np.concatenate([d.stats["loss"][0][::25] for d in descents])
    assert ks_2samp(ours, found.log_odds(x)[0, :, 0]).pvalue > 0.001
    assert ks_2samp(losses, found.stats["loss"][0]).pvalue > 0.001


def test_descent_reaches_what_rejection_cannot(plain):
    X, y, _ = plain
    deep = threshold.descend(HEAD, X, y, 0.25, draws=500, most_moves=30)
    assert deep.stats["loss"][0].max() <= 0.25 + 1e-6
    np.testing.assert_allclose(
        deep.stats["loss"][0],
        mean_losses(HEAD, flat(HEAD, 2).parameters(deep.flat), X, y),
        rtol=1e-3,
    )
    assert deep.details["log_rate"] < np.log(1e-5)
    assert threshold.prior_losses(HEAD, X, y, tries=200_000).min() > 0.25


def test_batches_do_not_show_and_stop_when_enough_is_accepted(plain):
    X, y, found = plain
    small = threshold.sample(HEAD, X, y, 0.4, draws=10, tries=200_000, memory=2**18)
    accepted = len(small.stats["loss"][0])
    assert 10 <= accepted < len(found.stats["loss"][0])
    assert small.details["tried"] < 200_000
    np.testing.assert_allclose(
        small.stats["loss"][0], found.stats["loss"][0][:accepted], rtol=1e-5
    )
    assert flat(HEAD, 2).at_once(20, 2**18) == 2**18 // (4 * (13 + 2 * 20 * 4))
    assert flat(HEAD, 2).at_once(20, 1) == 1


def test_nothing_accepted_is_an_answer():
    X, y = make(20, 2, 1)
    found = threshold.sample(HEAD, X, y, 1e-6, tries=200_000)
    assert found.details["log_rate"] == -np.inf
    assert found.log_odds(X).shape == (1, 0, 20)


def test_progress_shows(capfd):
    X, y = make(20, 2, 1)
    threshold.sample(HEAD, X, y, 1e-6, tries=200_000, progress=True)
    assert "200000/200000" in capfd.readouterr().err


@pytest.mark.parametrize("method", [threshold.sample, threshold.descend])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"X": np.full((4, 2), np.inf)}, "X holds"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, "no rows"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_bad_input_is_named(method, change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), "threshold": 0.5, **change}
    with pytest.raises(ValueError, match=said):
        method(HEAD, **arguments)
    with pytest.raises(ValueError, match="tries is 0"):
        threshold.prior_losses(HEAD, np.ones((4, 2)), np.ones(4), tries=0)


def test_one_descent_serves_several_thresholds(plain):
    X, y, found = plain
    higher, lower = threshold.descend_each(HEAD, X, y, (0.6, 0.4), 800, seed=3)
    assert higher.stats["loss"].max() <= 0.6
    assert lower.stats["loss"].max() <= 0.4
    assert higher.details["threshold"] == 0.6
    error = np.hypot(lower.details["log_rate_error"], 1 / np.sqrt(len(found.flat)))
    assert abs(lower.details["log_rate"] - found.details["log_rate"]) < 4.5 * error
