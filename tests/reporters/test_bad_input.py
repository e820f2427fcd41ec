"""What each reporter does with input that is wrong, awkward or degenerate."""

import numpy as np
import pytest
from sklearn.base import clone

from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    GaussianProcess,
    LinearDiscriminant,
    LogisticMAP,
)

BAGS = BayesianLogistic, BayesianNetwork, Ensemble, GaussianProcess


def test_nan_and_infinity_are_refused(reporter, data):
    X, y = data
    fitted = clone(reporter).fit(X, y)
    for bad in (np.nan, np.inf, -np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            reporter.fit(broken, y)
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            fitted.sample_proba(broken)


def test_wrong_shapes_are_refused(reporter, data):
    X, y = data
    with pytest.raises(ValueError, match="2D"):
        reporter.fit(X[:, 0], y)
    with pytest.raises(ValueError, match="inconsistent"):
        reporter.fit(X, y[:-1])
    with pytest.raises(ValueError, match="features"):
        reporter.fit(X, y).predict(X[:, :2])


def test_one_and_three_classes_are_refused(reporter, data):
    X, _ = data
    with pytest.raises(ValueError, match="one class"):
        reporter.fit(X, np.zeros(40))
    with pytest.raises(ValueError, match="3 classes"):
        reporter.fit(X, np.arange(40) % 3)
    with pytest.raises(ValueError, match="continuous"):
        reporter.fit(X, np.linspace(0, 1, 40))


def test_labels_of_any_kind(reporter, data):
    X, y = data
    plain = reporter.fit(X, y).predict_proba(X)
    for classes in ((False, True), ("lie", "truth"), (-1, 1)):
        named = reporter.fit(X, np.array(classes)[y])
        np.testing.assert_array_equal(named.predict_proba(X), plain)
        assert list(named.classes_) == list(classes)
        assert set(named.predict(X)) <= set(classes)


def test_constant_and_duplicate_features(reporter, data):
    X, y = data
    awkward = np.column_stack([X, X[:, 0], np.full(40, 7.0)])
    p = reporter.fit(awkward, y).predict_proba(awkward)
    assert np.isfinite(p).all()
    if not isinstance(reporter, BAGS):
        assert np.isfinite(reporter.coef_).all()
        assert reporter.coef_[0, 4] == pytest.approx(0, abs=1e-6)
        assert reporter.coef_[0, 3] == pytest.approx(reporter.coef_[0, 0], abs=1e-6)


def test_two_rows(reporter):
    X, y = np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([0, 1])
    if isinstance(reporter, LinearDiscriminant):
        with pytest.raises(ValueError, match="X has 2 rows"):
            reporter.fit(X, y)
        return
    p = reporter.fit(X, y).sample_proba(X).mean(0)
    assert np.isfinite(p).all()
    if not isinstance(reporter, BAGS):
        assert list(reporter.predict(X)) == [0, 1]


def test_one_feature(reporter, data):
    X, y = data
    reporter.fit(X[:, :1], y)
    assert np.corrcoef(reporter.predict_proba(X[:, :1])[:, 1], X[:, 0])[0, 1] > 0.5


def test_half_precision_is_computed_in_double(reporter, data):
    X, y = data
    half = X.astype(np.float16)
    expected = reporter.fit(half.astype(np.float64), y).sample_proba(half.astype(np.float64))
    found = reporter.fit(half, y).sample_proba(half)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_separable_data_work(reporter):
    X = np.linspace(-1, 1, 20)[:, None] + [[0.0, 3.0]]
    y = (X[:, 0] > 0).astype(int)
    fit = reporter.fit(X, y)
    # Prior draws under a loss that nearly all of them reach have hardly learned anything.
    assert fit.score(X, y) >= (0.6 if getattr(fit, "method", "") == "threshold" else 0.9)
    assert np.isfinite(reporter.decision_function(X)).all()


def test_more_features_than_rows(reporter):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((12, 30)), np.arange(12) % 2
    assert reporter.fit(X, y).sample_proba(X).shape[1] == 12


def test_huge_units_work(reporter, data):
    X, y = data
    p = reporter.fit(X * [1, 1e4, 1] + [0, 1e5, 0], y).sample_proba(X)
    assert np.isfinite(p).all()


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, None, "auto"])
def test_prior_scale_has_to_be_positive(data, scale):
    for reporter in (LogisticMAP(scale), BayesianLogistic(scale, method="laplace")):
        with pytest.raises(ValueError, match="prior_scale is"):
            reporter.fit(*data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("draws", 0),
        ("draws", 2.5),
        ("warmup", -1),
        ("chains", 0),
        ("seed", None),
        ("method", "gibbs"),
        ("bias_scale", 0.0),
    ],
)
def test_parameters_of_the_posterior_are_checked(data, name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        BayesianLogistic(method="laplace").set_params(**{name: value}).fit(*data)


def test_maximum_likelihood_needs_data_that_are_not_separable(data):
    X, y = data
    assert LogisticMAP(np.inf).fit(X, y).score(X, y) > 0.5
    with pytest.raises(ValueError, match="separates"):
        LogisticMAP(np.inf).fit(X, X[:, 0] > 0)


def test_posterior_needs_a_finite_scale(data):
    with pytest.raises(ValueError, match="finite"):
        BayesianLogistic(np.inf, method="laplace").fit(*data)


def test_equal_class_means_have_no_direction():
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    with pytest.raises(ValueError, match="same mean"):
        DifferenceInMeans().fit(X, [0, 0, 1, 1])


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, "some", [1]])
def test_shrinkage_is_checked(data, shrinkage):
    with pytest.raises(ValueError, match="shrinkage is"):
        LinearDiscriminant(shrinkage).fit(*data)


def test_cross_validation_needs_two_rows_of_each_class():
    with pytest.raises(ValueError, match="one row"):
        LogisticMAP("cv").fit(np.eye(4), [0, 0, 0, 1])
