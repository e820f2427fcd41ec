import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from elkutils.evaluation import (
    auroc,
    fit_platt,
    fit_temperature,
    log_score,
    recalibration_intercept,
    recalibration_slope,
)


def distorted(slope, intercept, n=4000, seed=0):
    """Labels, and forecasts whose right recalibration has this slope and intercept."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 2, n)
    y = (rng.random(n) < expit(log_odds)).astype(int)
    return y, expit((log_odds - intercept) / slope)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, -0.7), (-1.5, 0.4)])
def test_platt_finds_the_distortion(slope, intercept):
    found = fit_platt(*distorted(slope, intercept))
    # Four standard errors: the information of 4000 rows leaves 0.06 times the slope, and 0.05.
    assert found.slope == pytest.approx(slope, abs=0.25 * abs(slope))
    assert found.intercept == pytest.approx(intercept, abs=0.2)


def test_temperature_finds_the_distortion_and_has_no_intercept():
    found = fit_temperature(*distorted(0.5, 0.0))
    assert found.temperature == pytest.approx(2.0, rel=0.15)
    assert found.intercept == 0


def test_platt_is_logistic_regression_with_his_targets():
    y, proba = distorted(0.7, 0.3, n=60)
    ones = y.sum()
    targets = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (60 - ones + 2))
    twice = np.tile(logit(proba), 2)[:, None], np.repeat([1, 0], 60)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(*twice, sample_weight=np.concatenate([targets, 1 - targets]))
    found = fit_platt(y, proba)
    assert found.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(model.intercept_[0], abs=1e-4)


def test_neither_loses_on_the_rows_it_was_fitted_on_and_ranking_stays():
    y, proba = distorted(0.3, 0.0)
    temperature, platt = fit_temperature(y, proba), fit_platt(y, proba)
    scores = [log_score(y, p) for p in (proba, temperature(proba), platt(proba))]
    # Platt's targets are not the labels, which costs less than one part in n.
    assert scores[0] < scores[1] < scores[2] + 1 / len(y)
    assert auroc(y, temperature(proba)) == pytest.approx(auroc(y, proba))
    assert auroc(y, platt(proba)) == pytest.approx(auroc(y, proba))


@pytest.mark.filterwarnings("ignore:proba is exactly")
def test_separable_rows_and_certain_forecasts_stay_finite():
    y, proba = np.array([0, 0, 1, 1]), np.array([0.0, 0.2, 0.7, 1.0])
    for fit in (fit_temperature, fit_platt):
        found = fit(y, proba)
        assert np.isfinite([found.slope, found.intercept]).all()
        assert ((found(proba) > 0) & (found(proba) < 1)).all()


def test_a_temperature_never_turns_a_reporter_round():
    y, proba = distorted(-1.0, 0.0)
    with pytest.warns(RuntimeWarning, match="temperature is infinite"):
        found = fit_temperature(y, proba)
    assert (found.slope, found.temperature) == (0, np.inf)
    assert fit_platt(y, proba).slope < 0


def test_shapes_are_kept():
    found = fit_platt(*distorted(1.0, 0.0))
    assert found(np.full((3, 5), 0.4)).shape == (3, 5)


def test_the_slope_is_that_of_logistic_regression_whatever_the_weights():
    y, proba = distorted(0.6, 0.5, n=400)
    weights = np.random.default_rng(1).integers(0, 4, (6, 400)).astype(float)
    found = recalibration_slope(y, proba, weights=weights)
    for slope, each in zip(found, weights, strict=True):
        reference = LogisticRegression(C=1e8, tol=1e-10)
        reference.fit(logit(proba)[:, None], y, sample_weight=each)
        assert slope == pytest.approx(reference.coef_[0, 0], rel=2e-3)
    assert recalibration_slope(y, proba, np.ones(400)) == recalibration_slope(y, proba)


def test_the_intercept_makes_the_share_of_ones_right():
    y, proba = distorted(1.0, -0.7, n=500)
    weights = np.random.default_rng(2).integers(0, 4, (6, 500)).astype(float)
    for shift, each in zip(recalibration_intercept(y, proba, weights), weights, strict=True):
        assert each @ expit(logit(proba) + shift) == pytest.approx(each @ y, rel=1e-3)


def test_slopes_are_finite_on_separable_labels_and_at_certainty():
    y = np.repeat([0, 1], 20)
    assert 10 < recalibration_slope(y, np.where(y, 0.6, 0.4)) < 1e4
    certain = np.where(np.arange(40) % 8 == 0, 1 - y, y).astype(float)
    assert 0.01 < recalibration_slope(y, certain) < 0.2
    assert np.isfinite(recalibration_intercept(y, certain))


def test_what_has_no_slope_is_nan():
    y = np.repeat([0, 1], 20)
    one_class = np.stack([y, np.ones(40)])
    found = recalibration_slope(y, np.linspace(0.2, 0.8, 40), weights=one_class)
    assert np.isnan(found).tolist() == [True, False]
    assert np.isnan(recalibration_slope(y, np.full(40, 0.3)))
    assert np.isfinite(recalibration_intercept(y, np.full(40, 0.3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_platt([], []), r"y has shape \(0,\)"),
        (lambda: fit_platt([0, 1], [0.4, 0.4]), "in every row"),
        (lambda: fit_temperature([0, 1], [0.5, 0.5]), "½ in every row"),
        (lambda: fit_temperature([0, 1], [0.5, np.nan]), "holds NaN"),
        (lambda: fit_platt([0, 2], [0.4, 0.5]), "only 0 and 1"),
        (lambda: fit_platt([0, 1], [[0.4, 0.5]]), "one forecast"),
        (lambda: fit_platt([0, 1], [0.4, 1.5]), "between 0 and 1"),
        (lambda: fit_platt([0, 1], [0.4, 0.5])([0.1, np.nan]), "holds NaN"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
