"""Sequential Monte Carlo against answers in closed form."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf
from jax.scipy.stats import norm as jax_norm
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import chi2, kstest, ncx2, norm, truncnorm

from elkutils.inference import smc


def first(z):
    return z[0]


def below(z):
    return -z[0]


def square(z):
    return z @ z


def gaussian(z, centre, scale):
    return -0.5 * ((z - centre) / scale) @ ((z - centre) / scale)


def shifted(z, centre, scale):
    return -0.5 * z[0] ** 2 - z[0]


def scaled(z, precision):
    return -0.5 * precision * z @ z


def corner(z):
    """(u₁u₂)² of u uniform on [0, 1]: λ = ½ with multiplicity two, at infinity of z."""
    return jnp.prod(jax_norm.cdf(z)) ** 2


def cross(z):
    """(u₁u₂)² of u uniform on [−1, 1]: the same volumes, about two crossing lines."""
    return jnp.prod(erf(z / np.sqrt(2))) ** 2


def crossed(z, n):
    return -n * cross(z)


def misfit(z, A, t):
    return 0.5 * (A @ z - t) @ (A @ z - t)


def fit(z, A, t):
    return -misfit(z, A, t)


FAR = np.array([4, 0, 0], np.float32)


def two_balls(z):
    """About ±4 of the first axis; the one at −4 has half the radius."""
    return jnp.minimum((z - FAR) @ (z - FAR), 4 * (z + FAR) @ (z + FAR))


def two_peaks(z, precision):
    right, left = (z - FAR) @ (z - FAR), 4 * (z + FAR) @ (z + FAR)
    return jnp.logaddexp(-0.5 * precision * right, -0.5 * precision * left)


def start(particles, p, seed):
    return np.random.default_rng((seed, 9)).standard_normal((particles, p))


def standard_errors(ratios):
    """How far the mean of the ratios to the truth is from 1, in its standard errors."""
    return (np.mean(ratios) - 1) / (np.std(ratios, ddof=1) / np.sqrt(len(ratios)))


def test_tail_of_a_normal():
    """P(z ≥ 5) = 2.9e-7, and the draws are those of the truncated normal."""
    found = [smc.constrain(below, -5.0, start(1000, 1, s), seed=s) for s in range(12)]
    ratios = [np.exp(population.log_ratio) / norm.sf(5) for population in found]
    assert abs(standard_errors(ratios)) < 4
    assert np.std(ratios) < 0.3  # 22 levels that keep half of 1000: √(22/1000) = 0.15 at best
    thinned = np.concatenate([population.particles[::100, 0] for population in found])
    assert kstest(thinned, truncnorm(5, np.inf).cdf).pvalue > 0.001
    assert thinned.min() >= 5 - 1e-5
    for population in found:
        assert population.levels[-1] == -5
        assert np.all(np.diff(population.levels) < 0)
        assert np.all(population.values <= -5 + 1e-5)
        assert 1 < population.ancestors < 1000


def test_small_ball_of_a_normal_in_ten_dimensions():
    found = [smc.constrain(square, 1.0, start(1000, 10, s), seed=s) for s in range(8)]
    assert abs(standard_errors([np.exp(f.log_ratio) / chi2.cdf(1, 10) for f in found])) < 4
    radius = np.concatenate([population.values[::100] for population in found])
    assert kstest(radius, lambda r: chi2.cdf(r, 10) / chi2.cdf(1, 10)).pvalue > 0.001


def test_tempering_to_a_gaussian_posterior():
    """Evidence, mean and sd of N(0, I)·N(z; 2, 0.1²) in five dimensions."""
    data = np.full(5, 2, np.float32), np.float32(0.1)
    found = [smc.temper(gaussian, start(1000, 5, s), data, seed=s) for s in range(12)]
    exact = 5 * (norm.logpdf(2, 0, np.sqrt(1.01)) - norm.logpdf(0, 0, 0.1))
    assert abs(standard_errors([np.exp(f.log_ratio - exact) for f in found])) < 4
    thinned = np.concatenate([population.particles[::50] for population in found])
    sd = 0.1 / np.sqrt(1.01)
    assert kstest((thinned[:, 0] - 2 / 1.01) / sd, norm.cdf).pvalue > 0.001
    for population in found:
        assert population.levels[-1] == 1
        assert np.all(np.diff(population.levels) > 0)
        assert population.remembered.max() < 0.3


def test_a_base_that_is_not_standard_normal():
    """N(z₀; −½, ½) tempered by a likelihood: its evidence and its mean."""
    data = np.array([2, 0], np.float32), np.array([0.5, 1], np.float32)
    base = start(4000, 2, 0) * [np.sqrt(0.5), 1] + [-0.5, 0]
    found = smc.temper(gaussian, base, data, excess=shifted, seed=0)
    exact = norm.logpdf(2, -0.5, np.sqrt(0.75)) - norm.logpdf(0, 0, 0.5) + 0.5 * np.log(0.5)
    assert found.log_ratio == pytest.approx(exact, abs=0.15)  # one run of 4000, 3 levels
    assert found.particles[:, 0].mean() == pytest.approx((-0.5 / 0.5 + 2 / 0.25) / 6, abs=0.03)


TINY = 1e-12


def monomial_level(volume):
    """The ε with √ε·(1 + ½·log 1/ε) = volume, which is V(ε) of `corner` and `cross`."""
    log_root = brentq(lambda x: x + np.log1p(-x) - np.log(volume), -60, -1e-9)
    return np.exp(2 * log_root)


def monomial_evidence(n):
    """Log of E exp(−n·x²), x = u₁u₂ having the density log 1/x."""
    value = quad(lambda x: x * np.exp(-n * np.exp(-2 * x) - x), 0, 60, points=[np.log(n) / 2])
    return np.log(value[0])


def peaks_evidence(precision):
    terms = [-1.5 * np.log1p(p) - 8 * p / (1 + p) for p in (precision, 4 * precision)]
    return logsumexp(terms)


def check_ratio(found, exact, largest):
    """The truth within 4.5 reported errors, which are not large; nothing stuck."""
    assert abs(found.log_ratio - exact) < 4.5 * found.log_ratio_error
    assert found.log_ratio_error < largest
    assert not found.stuck.any()


@pytest.mark.parametrize("d", [2, 10, 50])
def test_balls_down_to_a_volume_of_1e_minus_12(d):
    """40 levels that keep half of 1000 have an error of √(40/1000) = 0.2 at best."""
    level = chi2.ppf(TINY, d)
    found = smc.constrain(square, level, start(1000, d, 0), seed=0)
    check_ratio(found, np.log(TINY), 0.4)
    assert found.remembered.max() < 0.3
    share = (found.values[::20] / level) ** (d / 2)  # of volume, if the density is even
    if d < 50:
        assert kstest(share, "uniform").pvalue > 0.001


@pytest.mark.parametrize("d", [2, 10, 50])
def test_tempering_into_balls_as_small(d):
    precision = np.float32(TINY ** (-2 / d) - 1)
    found = smc.temper(scaled, start(1000, d, 0), (precision,), seed=0)
    check_ratio(found, -0.5 * d * np.log1p(np.float64(precision)), 0.4)


@pytest.mark.parametrize(
    ("loss", "volume", "largest"), [(corner, TINY, 0.5), (cross, 1e-3, 0.3), (cross, 1e-6, 0.4)]
)
def test_a_monomial_with_multiplicity_two(loss, volume, largest):
    found = smc.constrain(loss, monomial_level(volume), start(600, 2, 0), most_moves=30, seed=0)
    check_ratio(found, np.log(volume), largest)


@pytest.mark.parametrize("n", [1e3, 1e12])
def test_tempering_by_a_monomial(n):
    found = smc.temper(crossed, start(600, 2, 0), (np.float32(n),), most_moves=30, seed=0)
    check_ratio(found, monomial_evidence(float(np.float32(n))), 0.4)


def test_a_linear_gaussian_likelihood():
    """Its evidence, and the prior volume of a misfit, by the moment generating function.

    P(misfit ≤ t) is found from E exp(−β·misfit), known for every complex β, by inversion.
    """
    rng = np.random.default_rng(1)
    A = rng.standard_normal((30, 6)).astype(np.float32) * 8
    t = (A @ rng.standard_normal(6) + rng.standard_normal(30)).astype(np.float32)
    wide, aim = A.astype(float), t.astype(float)
    covariance = np.eye(30) + wide @ wide.T
    evidence = -0.5 * (
        np.linalg.slogdet(covariance)[1] + aim @ np.linalg.solve(covariance, aim)
    )
    check_ratio(smc.temper(fit, start(1000, 6, 0), (A, t), seed=0), evidence, 0.4)

    scales, directions = np.linalg.eigh(wide.T @ wide)
    best = np.linalg.lstsq(wide, aim)[0]
    least, centre = 0.5 * np.sum((wide @ best - aim) ** 2), directions.T @ best

    def log_mean(beta):  # of exp(−β·(misfit − least))
        grown = 1 + beta * scales
        return np.sum(-0.5 * np.log(grown) - 0.5 * beta * scales * centre**2 / grown)

    room = 5.0
    at = 1.0  # any positive real part of β does
    integral = quad(
        lambda w: np.real(np.exp((at + 1j * w) * room + log_mean(at + 1j * w)) / (at + 1j * w)),
        0,
        200,
        limit=2000,
    )[0]
    found = smc.constrain(misfit, least + room, start(1000, 6, 0), (A, t), seed=0)
    check_ratio(found, np.log(integral / np.pi), 0.4)


@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_two_far_modes_keep_their_proportion(level):
    """No move joins them, so the proportion varies from run to run; its mean is right."""
    wide, narrow = ncx2.cdf([level, level / 4], 3, 16)
    runs = [
        smc.constrain(two_balls, level, start(1000, 3, s), most_moves=10, seed=s)
        for s in range(8)
    ]
    for found in runs:
        check_ratio(found, np.log(wide + narrow), 0.4)
    on_left = [np.mean(found.particles[:, 0] < 0) for found in runs]
    error = np.std(on_left, ddof=1) / np.sqrt(8)
    assert abs(np.mean(on_left) - narrow / (wide + narrow)) < 4.5 * error
    assert error < 0.05


def test_tempering_into_two_far_modes():
    precision = np.float32(100)
    runs = [
        smc.temper(two_peaks, start(1000, 3, s), (precision,), most_moves=10, seed=s)
        for s in range(8)
    ]
    for found in runs:
        check_ratio(found, peaks_evidence(100.0), 0.4)
    on_left = [np.mean(found.particles[:, 0] < 0) for found in runs]
    left = np.exp(-1.5 * np.log(401) - 8 * 400 / 401 - peaks_evidence(100.0))
    error = np.std(on_left, ddof=1) / np.sqrt(8)
    assert abs(np.mean(on_left) - left) < 4.5 * error
    assert error < 0.05


@pytest.mark.parametrize("most_moves", [3, 100])
def test_the_reported_error_is_that_of_repeated_runs(most_moves):
    """Few moves leave copies alike, which makes the log ratio worse: the error knows."""
    level = chi2.ppf(TINY, 10)
    found = [
        smc.constrain(square, level, start(400, 10, s), most_moves=most_moves, seed=s)
        for s in range(24)
    ]
    off = np.array([(f.log_ratio - np.log(TINY)) / f.log_ratio_error for f in found])
    assert 0.5 < np.sqrt(np.mean(off**2)) < 1.7
    assert np.abs(off).max() < 4.5
    binomial = np.sqrt(40 / 400)
    errors = [f.log_ratio_error for f in found]
    assert binomial < np.mean(errors) < (2.2 if most_moves == 3 else 1.3) * binomial


def test_the_reported_error_of_tempering_is_that_of_repeated_runs():
    data = np.full(5, 2, np.float32), np.float32(0.01)
    exact = 5 * (norm.logpdf(2, 0, np.sqrt(1.0001)) - norm.logpdf(0, 0, 0.01))
    found = [smc.temper(gaussian, start(400, 5, s), data, seed=s) for s in range(24)]
    off = np.array([(f.log_ratio - exact) / f.log_ratio_error for f in found])
    assert 0.5 < np.sqrt(np.mean(off**2)) < 1.7
    assert np.abs(off).max() < 4.5


def test_error_of_one_level_is_binomial():
    half = np.tile([0.02, 0.0], 50)
    parents = np.arange(100) // 2 * 2
    assert smc.ratio_error([half], [parents]) == pytest.approx(np.sqrt(1 / 100), rel=0.01)
    every = np.full(100, 0.01)
    assert smc.ratio_error([every], [np.arange(100)]) == 1 / 100


def test_error_of_copies_that_keep_their_fate():
    """Of four families one takes all: 3/4 at once, or at two levels that each halve them."""
    first = np.repeat([1, 1, 0, 0], 25) / 50
    parents = np.tile(np.arange(50), 2)
    second = np.tile(np.repeat([1, 0], 25), 2) / 50
    both = smc.ratio_error([first, second], [parents, np.tile(np.arange(25), 4)])
    once = smc.ratio_error([np.repeat([1, 0], [25, 75]) / 25], [np.tile(np.arange(25), 4)])
    assert both == pytest.approx(once)


def test_particles_that_have_not_moved_are_reported():
    """One move of angles far too long leaves every particle at its radius."""
    with pytest.warns(RuntimeWarning, match="particles hardly moved at"):
        found = smc.constrain(square, 1e-8, start(300, 2, 0), most_moves=1, seed=0)
    assert found.stuck.any()
    assert found.remembered[found.stuck].min() >= smc.STUCK
    data = (np.float32(1e10),)
    with pytest.warns(RuntimeWarning, match="particles hardly moved at"):
        tempered = smc.temper(scaled, start(300, 2, 0), data, most_moves=1, seed=0)
    assert tempered.stuck.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = smc.constrain(square, 1e-8, start(300, 2, 0), seed=0)
    assert moved.stuck.shape == moved.levels.shape
    assert not moved.stuck.any()


def test_nothing_to_do_takes_one_level():
    easy = smc.constrain(square, 100.0, start(300, 2, 0))
    assert easy.levels.tolist() == [100]
    assert easy.log_ratio == 0
    flat = smc.temper(below, 1e-3 * start(300, 2, 0))
    assert flat.levels.tolist() == [1]


def test_same_seed_same_population_whatever_the_batch():
    one, other = (
        smc.constrain(square, 0.5, start(300, 2, 0), seed=3, batch=b) for b in (64, 300)
    )
    np.testing.assert_allclose(one.particles, other.particles, rtol=1e-4)
    assert one.log_ratio == other.log_ratio


def test_moves_at_the_last_threshold_are_counted_apart():
    found = smc.constrain(square, 0.1, start(300, 2, 0), most_moves=1, last_moves=50, seed=1)
    assert len(found.moves) > 1
    assert np.all(found.moves[:-1] == 1)
    assert found.moves[-1] > 1
    assert found.remembered[-1] < smc.REMEMBERED


def test_an_impossible_constraint_is_given_up():
    with pytest.raises(ArithmeticError, match="levels were not enough"):
        smc.constrain(square, -1.0, start(50, 2, 0), most_moves=1)


def test_progress_shows(capfd):
    smc.constrain(square, 0.5, start(300, 2, 0), progress=True)
    assert "loss=0.5" in capfd.readouterr().err
    smc.temper(below, start(300, 2, 0), progress=True)
    assert "beta=1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": np.nan}, "threshold is nan"),
        ({"share": 1.0}, "share is 1.0"),
        ({"steps": 0}, "steps is 0"),
        ({"most_moves": 0}, "most_moves is 0"),
        ({"last_moves": 0}, "last_moves is 0"),
        ({"start": np.zeros(3)}, "start has shape"),
        ({"start": np.zeros((1, 3))}, "start has shape"),
        ({"start": np.full((3, 3), np.nan)}, "start has shape"),
        ({"start": np.full((3, 3), 1e30)}, "not finite"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"threshold": 1.0, "start": start(10, 2, 0), **change}
    with pytest.raises(ValueError, match=said):
        smc.constrain(square, **arguments)


def test_thresholds_of_one_descent_are_each_reached():
    start = np.random.default_rng(0).standard_normal((2000, 2))
    thresholds = (1.0, 0.0, -1.0)
    found = smc.constrain_each(first, thresholds, start, seed=1)
    for threshold, population in zip(thresholds, found, strict=True):
        assert population.values.max() <= threshold
        error = 4.5 * population.log_ratio_error
        assert abs(population.log_ratio - norm.logcdf(threshold)) < error
    alone = smc.constrain(first, 1.0, start, seed=1)
    np.testing.assert_array_equal(alone.particles, found[0].particles)


@pytest.mark.parametrize("thresholds", [(), (0.0, 0.0), (0.0, 1.0), (np.nan,)])
def test_thresholds_have_to_fall(thresholds):
    with pytest.raises(ValueError, match="threshold"):
        smc.constrain_each(first, thresholds, np.zeros((4, 2)))
