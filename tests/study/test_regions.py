"""Two regions of equal loss: odds by quadrature and counting; training by formulas."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from elkutils.inference import smc
from elkutils.study import regions
from elkutils.study.regions import CURVE, LEVEL, SENSORS, VALLEY, Problem, Sums, Training


def itself(w):
    return w


BOWL = Problem("bowl", itself, regions.translates, 1, 1.0, (0.0,), regions.ones, (0.5, 0.5))
TRANSLATOR = np.array([1.0, 1, 0, 0, 0, 0.3, 0.4, 0.5])
SIMULATOR = np.array([1.0, 0, 0.5, 0.5, -1, 0, 0.5, -0.5])


def test_a_form_is_that_of_its_units():
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(8), rng.standard_normal(3)
    u, s, t = x
    monomials = np.array([u * u, s * s, t * t, s * t, u * s, u * t])
    direct = w[0] * (w[1:4] @ x) ** 2 + w[4] * (w[5:] @ x) ** 2
    np.testing.assert_allclose(monomials @ regions.form(w), direct, rtol=1e-5)


def test_translator_and_simulator_fit_every_row_and_differ_elsewhere():
    X = regions.sensors(50, np.random.default_rng(0))
    for weights, name in ((TRANSLATOR, 0), (SIMULATOR, 3)):
        assert np.flatnonzero(np.round(regions.form(weights), 6)).tolist() == [name]
        np.testing.assert_allclose(X @ regions.form(weights), X[:, 0], atol=1e-6)
    assert regions.translates(TRANSLATOR) > 0 > regions.translates(SIMULATOR)


@pytest.mark.parametrize(
    ("weights", "rank"),
    [
        (TRANSLATOR, 4),
        (np.append(TRANSLATOR[:6], [0.0, 0.0]), 3),
        (SIMULATOR, 5),
    ],
)
def test_the_loss_is_curved_in_as_many_directions_as_the_proof_says(weights, rank):
    X = regions.sensors(50, np.random.default_rng(0))
    slopes = jax.jacobian(regions.form)(jnp.asarray(weights, jnp.float32))
    assert np.linalg.matrix_rank(X @ np.asarray(slopes, float), tol=1e-3) == rank


def test_streams_are_nested_and_sums_are_of_their_rows():
    (few, many), X, y = regions.stream(SENSORS, [5, 20], seed=3)
    np.testing.assert_allclose(few.gram, X[:5].T @ X[:5])
    np.testing.assert_allclose(many.noise, X.T @ (y - X @ np.array(SENSORS.truth)))
    clean, _, _ = regions.stream(SENSORS, [5], seed=3, noisy=False)
    assert not clean[0].noise.any()
    with pytest.raises(ValueError, match="rise"):
        regions.stream(SENSORS, [20, 5], seed=3)


def test_quadrature_without_rows_is_the_prior_and_with_rows_that_of_scipy():
    none = Sums(0, np.zeros((1, 1)), np.zeros(1))
    share = norm.sf(-0.5, scale=1.5)
    np.testing.assert_allclose(
        regions.curve_odds(CURVE, [none]), np.log(share / (1 - share)), atol=1e-3
    )
    (found,), *_ = [regions.stream(CURVE, [30], seed=1)[0]]

    def density(w):
        f = (w + 1) * (w - 1) ** 3 / 2
        return norm.pdf(w, scale=1.5) * np.exp(found.noise[0] * f - 15 * f * f)

    odds = np.log(quad(density, -0.5, 9)[0] / quad(density, -9, -0.5)[0])
    np.testing.assert_allclose(regions.curve_odds(CURVE, [found]), odds, atol=1e-3)
    with pytest.raises(ValueError, match="needs one"):
        regions.curve_odds(VALLEY, [found])
    with pytest.raises(ValueError, match="too sharp"):
        regions.curve_odds(CURVE, [Sums(10**7, np.full((1, 1), 1e7), np.zeros(1))])


def test_odds_without_noise_drift_as_predicted():
    """From n = 10⁴ to 10⁸ the curve's slope is within a hundredth of ⅓."""
    sums = [Sums(n, np.full((1, 1), float(n)), np.zeros(1)) for n in (10**4, 10**6)]
    odds = regions.curve_odds(CURVE, sums, points=400_001)
    assert abs(np.diff(odds)[0] / np.log(100) - 1 / 3) < 0.01


def test_particles_agree_with_quadrature():
    sums, *_ = regions.stream(CURVE, [30, 1000, 30_000], seed=2)
    found = regions.region_odds(CURVE, sums, particles=1024, most_moves=10, seed=0)
    away = (found.log_odds - regions.curve_odds(CURVE, sums)) / found.error
    assert np.abs(away).max() < 4
    assert found.error.max() < 0.3


def test_particles_agree_with_counting_prior_draws():
    """Within four standard errors of both, the counting's from its weights."""
    (sums,), *_ = regions.stream(SENSORS, [60], seed=2)
    z = np.random.default_rng(0).standard_normal((2_000_000, 8), dtype=np.float32)
    fit = jax.vmap(lambda w: -regions.excess(SENSORS, w, sums.gram, sums.noise))(z)
    first = np.asarray(jax.vmap(regions.translates)(z)) > 0
    weights = np.exp(np.asarray(fit, float))
    parts = weights[first], weights[~first]
    square = sum(np.sum(part**2) / np.sum(part) ** 2 for part in parts)
    counted = np.log(parts[0].sum() / parts[1].sum())
    found = regions.region_odds(SENSORS, [sums], particles=2048, most_moves=20, seed=0)
    error = np.hypot(found.error[0], np.sqrt(square))
    assert error < 0.3
    assert abs(found.log_odds[0] - counted) < 4 * error
    with pytest.raises(ValueError, match="ask for no more"):
        regions.region_odds(SENSORS, [sums], particles=10**6)


def test_descent_ends_in_the_basin_it_starts_in():
    sums, *rows = regions.stream(LEVEL, [1000], seed=0, noisy=False)
    start = regions.prior_draws(LEVEL, 200, seed=0)
    ends = regions.train(
        LEVEL, Training("gradient descent", 0.05, 2000), sums, [rows], start[None], 0
    )[0]
    basin = np.where(start > -0.25, 0.5, -1.0)
    np.testing.assert_allclose(ends, basin, atol=1e-3)


def test_langevin_dynamics_has_the_posterior_of_a_bowl():
    sums, *rows = regions.stream(BOWL, [20], seed=0)
    start = regions.prior_draws(BOWL, 4000, seed=0)
    ends = regions.train(BOWL, Training("Langevin", 0.01, 1500), sums, [rows], start[None], 0)[
        0
    ]
    mean, variance = sums[0].noise[0] / 21, 1 / 21
    assert abs(ends.mean() - mean) < 4 * np.sqrt(variance / 4000)
    assert abs(ends.var() / variance - 1) < 0.1


def test_noise_of_sgd_is_that_of_its_rows():
    """With one row per step w ← w − η(w − y): a stationary variance of η/(2 − η) of y's."""
    sums, X, y = regions.stream(BOWL, [1000], seed=0)
    start, eta = np.zeros((4000, 1), np.float32) + np.float32(y.mean()), 0.05
    y = y / 4  # so that no gradient is clipped
    plan = Training("SGD", eta, 400)
    ends = regions.train(BOWL, plan, sums, [(X, y)], start[None] / 4, 0)[0]
    assert abs(ends.var() / (eta / (2 - eta) * y.var()) - 1) < 0.1


def test_the_first_step_of_adam_has_the_length_of_its_rate():
    sums, *rows = regions.stream(BOWL, [10], seed=0)
    start = np.array([[2.0], [-2.0]], np.float32)
    ends = regions.train(BOWL, Training("Adam", 0.01, 1), sums, [rows], start[None], 0)[0]
    np.testing.assert_allclose(start - ends, [[0.01], [-0.01]], rtol=1e-4)


def test_bad_plans_are_refused():
    plan = Training("SGD", 0.1, 10)
    with pytest.raises(ValueError, match="optimiser is 'adam'"):
        replace(plan, optimiser="adam")
    with pytest.raises(ValueError, match="steps"):
        replace(plan, steps=0)


def test_a_trajectory_that_overflows_is_not_taken():
    """Far too long an angle: compiled, min(1, NaN) may be 1, and NaN would be accepted."""
    tilt, base = regions._densities(SENSORS)
    (sums,), *_ = regions.stream(SENSORS, [60], seed=2)
    at, _ = regions._starts(SENSORS, 1.0, 512, np.random.default_rng(0))
    none = np.zeros((6, 6), np.float32), np.zeros(6, np.float32)
    data = np.float32(1), *none, sums.gram.astype(np.float32), sums.noise.astype(np.float32)
    rng = np.random.default_rng(1)
    noise = (
        rng.standard_normal(at.shape, dtype=np.float32),
        np.full(512, np.pi / 2, np.float32),
        rng.random(512, dtype=np.float32),
    )
    options = {"tilt": tilt, "excess": base, "steps": 8, "batch": 512}
    particles, tilts, *_ = smc._tempered(noise, at, np.float32(0.3), data, **options)
    assert np.isfinite(particles).all()
    assert np.isfinite(tilts).all()
