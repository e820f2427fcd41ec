import numpy as np
import pytest

from elkutils.evaluation import ece, ece_bias, reliability


def test_equal_mass_bins_by_hand():
    y = [0, 1, 1, 0, 1, 1]
    proba = [0.1, 0.2, 0.3, 0.6, 0.7, 0.8]
    gaps = abs(0.1 + 0.2 + 0.3 - 2) + abs(0.6 + 0.7 + 0.8 - 2)
    assert ece(y, proba, bins=2) == pytest.approx(gaps / 6)


def test_bins_hold_equal_numbers_without_ties():
    proba = np.random.default_rng(0).random(100)
    assert (reliability(np.zeros(100), proba).count == 10).all()


@pytest.mark.parametrize("seed", range(3))
def test_ties_make_the_order_of_rows_irrelevant(seed):
    rng = np.random.default_rng(seed)
    proba = rng.integers(0, 4, 100) / 3
    y = rng.integers(0, 2, 100)
    order = rng.permutation(100)
    assert ece(y, proba) == pytest.approx(ece(y[order], proba[order]), rel=1e-12)


def test_a_constant_forecast_has_one_bin():
    y = np.arange(10) < 3
    assert ece(y, np.full(10, 0.5)) == pytest.approx(0.2)
    assert reliability(y, np.full(10, 0.5)).count.tolist() == [10]


def test_one_row_and_more_bins_than_rows():
    assert ece([1], [0.7]) == pytest.approx(0.3)
    assert ece([1, 0, 1], [0.5, 0.6, 0.9], bins=50) == pytest.approx((0.5 + 0.6 + 0.1) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_integer_weights_are_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    y, proba = rng.integers(0, 2, 50), rng.integers(0, 20, 50) / 19
    weights = rng.integers(0, 4, (6, 50))
    repeated = [ece(np.repeat(y, w), np.repeat(proba, w)) for w in weights]
    np.testing.assert_allclose(ece(y, proba, weights=weights), repeated, rtol=1e-12)


def test_leading_axes_give_what_a_loop_gives():
    rng = np.random.default_rng(1)
    y, proba = rng.integers(0, 2, 40), rng.random((2, 3, 40))
    looped = [[ece(y, p) for p in row] for row in proba]
    np.testing.assert_allclose(ece(y, proba), looped, rtol=1e-12)
    assert ece_bias(proba, repeats=3).shape == (2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_bias_is_the_mean_ece_of_a_calibrated_forecaster(seed):
    rng = np.random.default_rng(100 + seed)
    proba = rng.beta(0.5, 0.5, 200)
    measured = np.array([ece(rng.random(200) < proba, proba) for _ in range(1000)])
    expected = ece_bias(proba, seed=seed)
    error = measured.std() * np.sqrt(1 / 1000 + 1 / 2000)
    assert abs(measured.mean() - expected) < 4 * error


def test_bias_agrees_with_its_normal_approximation_in_large_bins():
    proba = np.full(5000, 0.3)
    expected = np.sqrt(2 / np.pi * 0.21 / 5000)
    error = np.sqrt((1 - 2 / np.pi) * 0.21 / 5000 / 4000)
    assert abs(ece_bias(proba, repeats=4000) - expected) < 4 * error


def test_certain_forecasts_have_no_bias():
    assert ece_bias(np.array([0.0, 1.0, 1.0])) == 0


def test_wilson_intervals_by_the_published_formula():
    r = reliability([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.full(10, 0.1), bins=1)
    assert (r.lower[0], r.upper[0]) == pytest.approx((0.0179, 0.4042), abs=1e-4)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_bin_intervals_cover_the_true_frequency(p):
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(500):
        r = reliability(rng.random(60) < p, np.full(60, 0.5), bins=1)
        covered += r.lower[0] <= p <= r.upper[0]
    assert covered / 500 > 0.95 - 0.02 - 3 * np.sqrt(0.95 * 0.05 / 500)


def test_copies_of_a_row_do_not_narrow_its_interval_when_grouped():
    y, proba = np.array([0, 1, 1, 0, 1]), np.full(5, 0.5)
    once = reliability(y, proba, bins=1)
    copies = reliability(
        np.tile(y, 4), np.tile(proba, 4), bins=1, groups=np.tile(np.arange(5), 4)
    )
    np.testing.assert_allclose([copies.lower, copies.upper], [once.lower, once.upper])


@pytest.mark.parametrize("bins", [0, -1, 2.5])
def test_bins_have_to_be_a_positive_whole_number(bins):
    with pytest.raises(ValueError, match="bins"):
        ece([0, 1], [0.1, 0.2], bins=bins)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="holds NaN"):
        ece([0, 1], [0.1, np.nan])
    with pytest.raises(ValueError, match="between 0 and 1"):
        ece_bias(np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="n ≥ 1"):
        ece_bias(np.array([]))
    with pytest.raises(ValueError, match="one forecast"):
        reliability([0, 1], [[0.1, 0.2]])
    with pytest.raises(ValueError, match="groups has shape"):
        reliability([0, 1], [0.1, 0.2], groups=[1])
