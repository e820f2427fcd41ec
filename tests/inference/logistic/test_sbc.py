"""Simulation-based calibration passes the right sampler and catches planted faults."""

import numpy as np
import pytest
from scipy.stats import norm

from elkutils.inference.logistic import sbc

REPLICATIONS = sbc.replications_needed(9, error=0.1, level=0.001, power=0.99)


@pytest.fixture(scope="module", params=["hmc", "nuts", "variational"])
def problem(request):
    X = sbc.normal_designs(REPLICATIONS, n=40, d=8, seed=2)
    data = sbc.simulate(X, prior_scale=0.3, bias_scale=0.3, seed=0)
    fits = sbc.posteriors(data, 0.3, 0.3)
    return data, fits, sbc.draw_each(data, fits, request.param, draws=99, seed=1)


def test_exact_methods_are_calibrated(problem):
    found = sbc.judge(*problem)
    assert found.p_value > 0.001
    assert found.ranks.shape == (REPLICATIONS, 10)


@pytest.mark.parametrize("error", [-0.1, 0.1])
def test_a_covariance_ten_percent_off_is_caught(problem, error):
    data, fits, draws = problem
    centre = draws.mean(axis=1, keepdims=True)
    found = sbc.judge(data, fits, centre + np.sqrt(1 + error) * (draws - centre))
    assert found.p_value < 0.01
    assert np.sign(found.dispersion - 1) == -np.sign(error)


def test_a_wrong_prior_scale_is_caught(problem):
    data, _, _ = problem
    fits = sbc.posteriors(data, 0.45, 0.3)
    assert (
        sbc.judge(data, fits, sbc.draw_each(data, fits, "laplace", 99, seed=2)).p_value < 0.001
    )


def test_a_shifted_weight_shows_in_its_rank(problem):
    data, fits, draws = problem
    shifted = draws + 0.15 * np.eye(9)[2]
    found = sbc.judge(data, fits, shifted)
    assert np.argmin(found.rank_p[:9]) == 2
    assert found.p_value < 0.001


def test_a_chain_that_never_moves_is_caught(problem):
    data, fits, draws = problem
    stuck = np.repeat(draws[:, :1], 99, axis=1)
    assert sbc.judge(data, fits, stuck).p_value < 0.001


def test_hmc_is_calibrated_where_the_posterior_is_not_normal():
    assert sbc.calibrate("hmc", replications=400, prior_scale=2.0, seed=1).p_value > 0.001


def test_laplace_is_caught_where_the_posterior_is_not_normal():
    assert sbc.calibrate("laplace", replications=400, prior_scale=2.0).p_value < 0.001


def test_a_draw_in_place_of_the_truth_is_calibrated(problem):
    found = sbc.compare(*problem)
    assert found.judge().p_value == sbc.judge(*problem).p_value
    others = np.random.default_rng(3).integers(100, size=(20, REPLICATIONS))
    assert np.mean([found.judge(which).p_value < 0.01 for which in others]) < 0.2
    assert len(found.judge(rows=np.arange(50)).ranks) == 50


def test_the_first_replications_keep_their_posteriors(problem):
    data, fits, _ = problem
    made, found = sbc.first(data, fits, 7)
    assert made.X.shape[0] == len(made.y) == len(made.theta) == len(found.fits) == 7


def test_distances_with_more_features_than_rows_are_those_of_the_whole_precision():
    data = sbc.simulate(sbc.normal_designs(2, n=5, d=9, seed=0), 0.7, 1.0, seed=1)
    found = sbc.posteriors(data, 0.7, 1.0)
    draws = np.random.default_rng(2).standard_normal((2, 9, 10))
    distance = sbc.compare(data, found, draws).distance
    for i in range(2):
        fit = found.fits[i]
        basis = np.zeros((10, 6))
        basis[:-1, :-1], basis[-1, -1] = fit.subspace.basis, 1.0
        rest = np.eye(10) - basis @ basis.T
        precision = basis @ fit.factor @ fit.factor.T @ basis.T + rest / 0.7**2
        together = np.concatenate([data.theta[i, None], draws[i]])
        away = together - together.mean(axis=0)
        assert distance[i] == pytest.approx(np.sum(away @ precision * away, axis=1))


def test_power_is_as_computed():
    """The dispersion's z-score on normal draws 10% too narrow, over repeated experiments."""
    rng = np.random.default_rng(0)
    needed = sbc.replications_needed(5, error=0.1, level=0.05, power=0.8)
    truth = np.sum(rng.standard_normal((400, needed, 5)) ** 2, axis=2)
    z = (truth.mean(1) - 0.9 * 5) / (truth.std(1) / np.sqrt(needed))
    assert np.mean(np.abs(z) > norm.isf(0.025)) == pytest.approx(0.8, abs=0.08)


def test_designs_of_wide_rows_keep_their_geometry():
    rows = np.random.default_rng(0).standard_normal((20, 30))
    X = sbc.subset_designs(rows, replications=3, n=6, seed=0)
    assert X.shape == (3, 6, 6)
    inner = rows @ rows.T
    norms = np.einsum("rij,rij->ri", X, X)
    assert np.isclose(norms[..., None], np.diag(inner)).any(axis=2).all()
    assert sbc.subset_designs(rows[:, :4], 3, 6, 0).shape == (3, 6, 4)


def test_bad_input_is_named(problem):
    data, fits, draws = problem
    with pytest.raises(ValueError, match="method is 'gibbs'"):
        sbc.draw_each(data, fits, "gibbs", 9, 0)
    with pytest.raises(ValueError, match="draws is 98"):
        sbc.judge(data, fits, draws[:, :98])
