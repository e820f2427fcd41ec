"""One result for every sampler: shapes, blocks and what the answers are."""

import numpy as np
import pytest
from scipy.special import expit, logit

from elkutils.inference import draws as module
from elkutils.inference.draws import Draws, LinearHead, mean_log_odds
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, flat


@pytest.fixture(params=["linear", "network"])
def draws(request):
    """Two chains of three draws on four inputs."""
    rng = np.random.default_rng(0)
    if request.param == "linear":
        return Draws(LinearHead(4), rng.standard_normal((2, 3, 5)))
    head = flat(MLP((3,)), 4)
    return Draws(head, head.flatten(draw_prior(head.network, 6, 4, 0)).reshape(2, 3, -1))


@pytest.fixture
def X():
    return np.random.default_rng(1).standard_normal((7, 4))


def test_shapes_and_answers(draws, X):
    assert (draws.chains, draws.draws) == (2, 3)
    log_odds = draws.log_odds(X)
    assert log_odds.shape == (2, 3, 7)
    proba = draws.sample_proba(X)
    np.testing.assert_allclose(proba, expit(log_odds).reshape(6, 7), rtol=1e-6)
    np.testing.assert_allclose(draws.mean_log_odds(X), logit(proba.mean(axis=0)), rtol=1e-4)
    assert draws.diagnose(X).rhat.shape == (7,)
    assert draws.diagnose_parameters().rhat.shape == draws.theta.shape[2:]


def test_blocks_of_rows_do_not_show(draws, X, monkeypatch):
    whole = draws.log_odds(X), draws.mean_log_odds(X)
    monkeypatch.setattr(module, "NUMBERS", 12)  # two rows of six draws
    np.testing.assert_allclose(draws.log_odds(X), whole[0], rtol=1e-5)
    np.testing.assert_allclose(draws.mean_log_odds(X), whole[1], rtol=1e-5)


def test_memory_of_a_mean_does_not_grow_with_rows():
    """Ten times as many rows: the peak grows by the answer (n numbers), not by draws · n."""
    import tracemalloc

    draws = Draws(LinearHead(2), np.random.default_rng(0).standard_normal((4, 500, 3)))
    peaks = []
    for n in (20_000, 200_000):
        X = np.zeros((n, 2))
        tracemalloc.start()
        draws.mean_log_odds(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    more = 8 * 180_000 + 2 * 180_000  # the answer, and the check that X is finite
    assert peaks[1] - peaks[0] < 2 * more < 8 * 2000 * 180_000 / 100


def test_no_draws_have_no_mean(X):
    none = Draws(LinearHead(4), np.zeros((1, 0, 5)))
    assert none.log_odds(X).shape == (1, 0, 7)
    with pytest.raises(ValueError, match="no draws"):
        none.mean_proba(X)


@pytest.mark.parametrize("X", [np.ones(4), np.ones((2, 3)), np.full((2, 4), np.nan)])
def test_inputs_are_checked(draws, X):
    with pytest.raises(ValueError, match=r"it needs \(n, 4\)|X\[0, 0\] is nan"):
        draws.log_odds(X)


def test_log_odds_of_a_mean_keep_what_a_probability_rounds():
    log_odds = np.array([[50.0, -800.0], [60.0, -801.0]])
    expected = [-np.log(np.exp([-50.0, -60.0]).mean()), -800 + np.log((1 + np.exp(-1)) / 2)]
    np.testing.assert_allclose(mean_log_odds(log_odds), expected)
