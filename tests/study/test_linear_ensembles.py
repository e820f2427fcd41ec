"""Closed forms of linear ensembles against direct computation on small problems."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit

from elkutils.inference import linear
from elkutils.inference.networks.network import draw_prior, log_odds
from elkutils.inference.networks.training import Plan
from elkutils.study.linear_ensembles import (
    Regression,
    descended,
    design,
    distance_from_minima,
    far_along,
    largest_angles,
    linear_head,
    weights,
    widest_margin,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 8))
y = np.array([0, 1, 1, 0, 1])


def test_the_design_has_a_constant_last_feature():
    assert design(X).shape == (5, 9)
    assert np.array_equal(design(X)[:, -1], np.ones(5))


def test_the_evidence_chooses_the_pair_under_which_labels_are_likeliest():
    scales, noises = (0.1, 0.5, 2.0), (0.3, 1.0)
    found = Regression.by_evidence(X, y, scales, noises)
    evidence = {
        (tau, noise): linear.log_evidence(design(X), 2.0 * y - 1, tau, noise)
        for tau in scales
        for noise in noises
    }
    assert (found.prior_scale, found.noise) == max(evidence, key=evidence.get)
    assert np.array_equal(found.t, [-1, 1, 1, -1, 1])


def test_directions_divide_row_space_and_null_space():
    problem = Regression(design(X), 2.0 * y - 1, 0.5, 0.3)
    assert problem.rank == 5
    along = problem.A @ problem.directions.T
    assert np.linalg.norm(along, axis=0)[:5] == pytest.approx(problem.values)
    assert along[:, 5:] == pytest.approx(0, abs=1e-9)
    assert problem.directions @ problem.directions.T == pytest.approx(np.eye(9), abs=1e-9)
    assert problem.curvature == pytest.approx(problem.values[0] ** 2)
    exact = linear.posterior(problem.A, problem.t, 0.5, 0.3)
    assert np.array_equal(problem.posterior.mean, exact.mean)


def test_exact_draws_match_the_posterior_along_every_direction_and_shifted_ones_do_not():
    problem = Regression(design(X), 2.0 * y - 1, 0.5, 0.3)
    exact = problem.posterior
    rng = np.random.default_rng(1)
    w = rng.multivariate_normal(exact.mean, exact.covariance, 20_000)
    error, ratio = problem.error_and_variance_ratio(w)
    assert error == pytest.approx(0, abs=0.04)
    assert ratio == pytest.approx(1, abs=0.05)
    wrong = exact.mean + 2 * (w - exact.mean) + problem.directions[0]
    error, ratio = problem.error_and_variance_ratio(wrong)
    right = problem.directions[0]
    sd = np.sqrt(right @ exact.covariance @ right)
    assert error[0] == pytest.approx(1 / sd, rel=0.05)
    assert ratio == pytest.approx(4, abs=0.2)


def test_the_null_spaces_share_of_the_variance_is_that_of_the_covariance():
    problem = Regression(design(X), 2.0 * y - 1, 0.5, 0.3)
    asked = RNG.standard_normal((4, 8))
    null = problem.directions[problem.rank :]
    rows, covariance = design(asked), problem.posterior.covariance
    outside = rows @ null.T @ null
    parts = (np.einsum("ij,jk,ik->i", a, covariance, a) for a in (outside, rows))
    of, whole = parts
    assert problem.from_null_space(asked) == pytest.approx(of / whole)


def test_trained_members_reach_their_minima_and_untrained_ones_do_not():
    problem = Regression(design(X), 2.0 * y - 1, 0.5, 0.3)
    asked = RNG.standard_normal((4, 8))
    assert distance_from_minima(problem, asked, members=8, steps=1500) < 1e-4
    assert distance_from_minima(problem, asked, members=8, steps=1) > 0.1


def test_plain_descent_keeps_the_null_space_and_fits_the_labels():
    problem = Regression(design(X), 2.0 * y - 1, 0.5, 0.3)
    plan = Plan(4000, 1.9 * 5 / problem.curvature, "sgd", every=1000)
    start, end = descended(problem, plan, members=6, seed=2)
    rank = problem.rank
    assert end[:, rank:] == pytest.approx(start[:, rank:], abs=1e-5)
    fitted = end @ problem.directions @ problem.A.T
    assert fitted == pytest.approx(np.tile(problem.t, (6, 1)), abs=1e-3)
    assert start.std() == pytest.approx(0.5, rel=0.3)


def test_the_head_has_one_prior_scale_for_weights_and_bias():
    head = linear_head(9, 0.4)
    (scales,) = head.scales(8)
    assert scales == pytest.approx((0.4, 0.4))
    assert Regression(design(X), 2.0 * y - 1, 0.4, 0.3).head == head


def test_weights_give_the_log_odds_of_the_network():
    head = linear_head(9, 1.0)
    start = draw_prior(head, 3, 8, seed=1)
    assert weights(start).shape == (3, 9)
    expected = weights(start) @ design(X).T
    assert log_odds(head, start, X) == pytest.approx(expected, abs=1e-5)


def test_the_widest_margin_beats_every_other_direction():
    Z = RNG.standard_normal((12, 2)) * 0.4 + [2.0, 1.0]
    w, margin = widest_margin(Z)
    assert np.linalg.norm(w) == pytest.approx(1)
    turns = np.linspace(0, 2 * np.pi, 100_000)
    others = np.stack([np.cos(turns), np.sin(turns)])
    assert margin == pytest.approx((Z @ others).min(axis=0).max(), rel=1e-4)


def test_the_largest_angles_are_those_of_the_pair_farthest_apart():
    turned = np.radians([0, 10, 40])
    w = np.stack([np.cos(turned), np.sin(turned)], axis=1) * [[1], [5], [0.1]]
    assert largest_angles(w, np.array([1.0, 0.0])) == pytest.approx((40, 40))
    between, to_best = largest_angles(w[:2], np.array([0.0, 1.0]))
    assert (between, to_best) == pytest.approx((10, 90))


def test_the_faster_clock_follows_gradient_flow():
    Z = RNG.standard_normal((6, 2)) * 0.3 + [1.0, 0.5]
    w = np.array([[-0.5, 0.4], [0.2, -0.3]])
    best, _ = widest_margin(Z)
    found = far_along(Z, w, best, (300, 600))

    def slope(_, w):
        return expit(-Z @ w) @ Z / len(Z)

    # Each member has a clock of its own; with one member the mean is that clock.
    for member in w:
        log_t, norm, _, angle = far_along(Z, member[None], best, (300,))[0]
        exact = solve_ivp(slope, (0, np.exp(log_t)), member, rtol=1e-8, atol=1e-8).y[:, -1]
        assert norm == pytest.approx(np.linalg.norm(exact), rel=0.03)
        unit = exact / np.linalg.norm(exact)
        assert angle == pytest.approx(np.degrees(np.arccos(unit @ best)), rel=0.1, abs=0.3)
    assert found[1, 0] > found[0, 0]
    assert found[1, 2] < found[0, 2]
