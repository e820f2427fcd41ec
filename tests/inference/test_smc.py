"""Sequential Monte Carlo against answers in closed form."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm, truncnorm

from elkutils.inference import smc


def below(z):
    return -z[0]


def square(z):
    return z @ z


def gaussian(z, centre, scale):
    return -0.5 * ((z - centre) / scale) @ ((z - centre) / scale)


def shifted(z, centre, scale):
    return -0.5 * z[0] ** 2 - z[0]


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
