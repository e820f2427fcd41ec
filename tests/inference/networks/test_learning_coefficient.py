"""Estimators of the learning coefficient against models where it is known at every scale."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from elkutils.inference.networks.learning_coefficient import (
    Estimate,
    _check_agreement,
    sgld,
    slope,
    tempered,
    volume,
)
from elkutils.inference.networks.singular import Monomial, Quadratic, ReducedRank

LADDER, THRESHOLDS = (1e2, 1e3, 1e4), (1e-1, 1e-2, 1e-3)
CLOSED = [Quadratic((1.0, 0.2, 5.0)), Monomial((1, 1)), Monomial((1, 2)), ReducedRank(2, 2, 1)]
SIZE = {"particles": 500, "repeats": 6}
FAR = 4.5  # standard errors of six repeats that a test allows


def off(found, exact):
    """How many standard errors the estimate is off."""
    return abs(found.value - exact) / found.standard_error


@pytest.mark.parametrize("model", CLOSED, ids=str)
def test_both_slopes_are_exact_at_their_scale(model):
    m = model.multiplicity
    found = tempered(model, model.size, LADDER, multiplicity=m, seed=1, **SIZE)
    exact = slope(LADDER, model.log_evidence(LADDER), m)
    assert off(found, exact) < FAR
    assert found.value == pytest.approx(exact, rel=0.05)
    assert found.scale == (LADDER[0], LADDER[-1])
    found = volume(model, model.size, THRESHOLDS, multiplicity=m, seed=2, **SIZE)
    exact = slope(THRESHOLDS, model.log_volume(THRESHOLDS), m)
    assert off(found, exact) < FAR
    assert found.value == pytest.approx(exact, rel=0.05)


def test_reduced_rank_of_positive_rank():
    """Of λ = 2, m = 1: the target has the rank of the model, which is regular but for A ~ B."""
    model = ReducedRank(2, 3, 1, 1)
    for found in (
        tempered(model, 5, LADDER, seed=0, **SIZE),
        volume(model, 5, THRESHOLDS, seed=0, **SIZE),
    ):
        assert found.value == pytest.approx(model.learning_coefficient, rel=0.1)


def test_the_mean_loss_is_the_slope_at_each_point():
    """t·E_t[K] = −d log Z/d log t (Watanabe 2013), by differences of the exact log Z."""
    model, step = Monomial((1, 1)), 1.01
    found = tempered(model, 2, LADDER, multiplicity=2, seed=3, particles=1000, repeats=8)
    for t, local in zip(LADDER, found.local.T, strict=True):
        ends = model.log_evidence(np.array([t / step, t * step]))
        exact = (ends[0] - ends[1]) / (2 * np.log(step))
        error = local.std(ddof=1) / np.sqrt(len(local))
        assert abs(local.mean() - exact) < FAR * error
        assert exact < model.learning_coefficient - 0.05  # the bias of m = 2 is still there


def two_places(z, centre, spread):
    """K = w⁴(w − 1)²: λ = ¼ at 0, and ½ at 1."""
    w = centre + spread * z[0]
    return w**4 * (w - 1) ** 2


@pytest.mark.parametrize(("centre", "coefficient"), [(0.0, 0.25), (1.0, 0.5)])
def test_a_narrow_prior_reads_the_coefficient_of_its_place(centre, coefficient):
    data = np.float32(centre), np.float32(0.1)
    found = tempered(two_places, 1, (1e6, 1e8), data, seed=4, **SIZE)
    assert found.value == pytest.approx(coefficient, rel=0.05)
    found = volume(two_places, 1, (1e-6, 1e-8), data, seed=4, **SIZE)
    assert found.value == pytest.approx(coefficient, rel=0.05)


def test_slope_of_the_asymptotic_form_is_exact():
    t = np.array([1e2, 1e4, 1e8])
    heights = -1.5 * np.log(t) + 2 * np.log(np.log(t)) + 7
    assert slope(t, heights, 3) == pytest.approx(1.5)
    epsilon = 1 / t
    heights = 1.5 * np.log(epsilon) + np.log(np.log(1 / epsilon)) - 2
    assert slope(epsilon, np.stack([heights, heights]), 2) == pytest.approx([1.5, 1.5])


def half(w, X):
    return 0.5 * jnp.mean((X @ w) ** 2)


CURVED = np.array([0.5, 1.0, 2.0])
ROWS = np.sqrt(CURVED) * np.random.default_rng(0).permuted(
    np.repeat([[1.0], [-1.0]], 32, axis=0) * np.ones(3), axis=0
)


def exact_chain(t, pull, h, first, last):
    """Mean of t·K over the steps `first` to `last` of SGLD from w₀ on a quadratic loss."""
    a = t * np.linalg.eigvalsh(ROWS.T @ ROWS / len(ROWS)) + pull
    rho, k = 1 - h * a / 2, np.arange(first, last)
    variance = h * (1 - rho[:, None] ** (2 * k)) / (1 - rho[:, None] ** 2)
    return 0.5 * np.sum((a - pull)[:, None] * variance, axis=0).mean()


@pytest.mark.parametrize(("draws", "burn_in"), [(2000, 500), (100, 0)])
def test_sgld_on_a_quadratic_is_what_its_recursion_gives(draws, burn_in):
    """Steps bias it, and so does the way from w₀: both are known here."""
    t, pull, h = 20.0, 1.0, 5e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the short one has not converged, rightly
        found = sgld(half, np.zeros(3), (ROWS,), t, draws, burn_in, 200, None, h, pull, seed=1)
    assert off(found, exact_chain(t, pull, h, burn_in, burn_in + draws)) < FAR
    assert found.values.shape == (200,)
    assert found.scale == (t, t)
    assert np.isnan(found.heights).all()


def test_sgld_takes_the_usual_temperature_and_batches():
    n = len(ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too short, rightly
        usual = sgld(half, np.zeros(3), (ROWS,), None, 400, 200, batch=16, step_size=1e-3)
    assert usual.points[0] == pytest.approx(n / np.log(n))
    assert 0 < usual.value < 3


def test_sgld_warns_of_chains_that_ran_away_or_have_not_converged():
    with pytest.warns(RuntimeWarning, match="ran away"):
        found = sgld(half, np.ones(3), (ROWS,), 1e4, 500, step_size=1.0)
    assert not np.isfinite(found.value)
    with pytest.warns(RuntimeWarning, match="converged"):
        sgld(half, np.zeros(3), (ROWS,), step_size=1e-5)


def test_repeats_that_disagree_are_told():
    heights = np.array([[-1.0, -9.0], [-1.0, -5.0], [-1.0, -7.0], [-1.0, -3.0]])
    with pytest.warns(RuntimeWarning, match="do not mix"):
        _check_agreement(heights, np.full((4, 2), 0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _check_agreement(heights, np.full((4, 2), 9.0))


def test_an_estimate_tells_its_scale():
    found = Estimate(
        np.array([1.0, 3.0]), np.array([1e2, 1e4]), np.zeros((2, 2)), np.zeros((2, 2))
    )
    assert found.value == 2
    assert found.standard_error == 1
    assert "read from 100 to 1e+04" in str(found)


def below_zero(z):
    return z @ z - 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ladder": (1e3, 1e2)}, "ladder is .*rising"),
        ({"ladder": (1e3,)}, "ladder is .*two or more"),
        ({"ladder": (0.0, 1e2)}, "ladder is .*positive"),
        ({"ladder": (1.0, 1e2), "multiplicity": 2}, "begins at 1"),
        ({"multiplicity": 0}, "multiplicity is 0"),
        ({"repeats": 1}, "repeats is 1"),
        ({"particles": 0}, "particles is 0"),
        ({"size": 0}, "size is 0"),
        ({"excess": below_zero}, "less its minimum"),
    ],
)
def test_bad_arguments_of_tempered_are_named(changed, message):
    given = {"excess": Monomial((1,)), "size": 1, "ladder": LADDER, "particles": 50}
    with pytest.raises(ValueError, match=message):
        tempered(**given | changed)


@pytest.mark.parametrize(
    ("thresholds", "m", "message"),
    [
        ((1e-3, 1e-2), 1, "falling"),
        ((1e-3, 0.0), 1, "positive"),
        ((1.0, 1e-2), 2, "below 1"),
        ((2.0, 1e-2), 2, "below 1"),
    ],
)
def test_bad_arguments_of_volume_are_named(thresholds, m, message):
    with pytest.raises(ValueError, match=message):
        volume(Monomial((1,)), 1, thresholds, multiplicity=m)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"centre": np.zeros((2, 2))}, "centre has shape"),
        ({"centre": np.array([0.0, np.nan, 0.0])}, "centre"),
        ({"rows": ()}, "rows has"),
        ({"rows": (ROWS, ROWS[:5])}, "rows has"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"localisation": -1.0}, "localisation is -1.0"),
        ({"t": -2.0}, "t is -2.0"),
        ({"burn_in": -1}, "burn_in is -1"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_bad_arguments_of_sgld_are_named(changed, message):
    given = {"loss": half, "centre": np.zeros(3), "rows": (ROWS,)}
    with pytest.raises(ValueError, match=message):
        sgld(**given | changed)
