"""Weights of rows and classes: in a fit, a row of weight 2 is two rows."""

import numpy as np
import pytest

from elkutils.inference.networks.samplers import SAMPLERS, WEIGHTED
from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    LinearDiscriminant,
    LogisticMAP,
    load,
)
from elkutils.reporters.weights import distinct


@pytest.fixture
def weights():
    found = np.random.default_rng(1).integers(0, 4, 40).astype(float)
    found[:2] = 0, 3
    return found


def again(reporter, **changed):
    return reporter.__class__(**reporter.get_params() | changed)


def test_a_whole_weight_repeats_a_row_and_zero_leaves_it_out(weighted, data, weights):
    (X, y), repeats = data, np.repeat(np.arange(40), weights.astype(int))
    plain = again(weighted).fit(X, y).predict_proba(X)
    ours = again(weighted).fit(X, y, sample_weight=weights).predict_proba(X)
    theirs = again(weighted).fit(X[repeats], y[repeats]).predict_proba(X)
    np.testing.assert_allclose(ours, theirs, atol=1e-7)
    assert np.abs(ours - plain).max() > 1e-3
    kept = weights > 0
    left = again(weighted).fit(X[kept], y[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(left.predict_proba(X), ours, atol=1e-9)
    ones = again(weighted).fit(X, y, sample_weight=np.ones(40)).predict_proba(X)
    np.testing.assert_array_equal(ones, plain)


@pytest.mark.parametrize("shrinkage", [None, 0.2, "auto"])
def test_discriminant_of_weighted_rows(data, weights, shrinkage):
    (X, y), repeats = data, np.repeat(np.arange(40), weights.astype(int))
    ours = LinearDiscriminant(shrinkage).fit(X, y, weights)
    theirs = LinearDiscriminant(shrinkage).fit(X[repeats], y[repeats])
    np.testing.assert_allclose(ours.coef_, theirs.coef_)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_)


@pytest.mark.parametrize("shrinkage", [None, 0.2, "auto"])
def test_discriminant_is_scikit_learns(data, shrinkage):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    ours = LinearDiscriminant(shrinkage).fit(*data)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(*data)
    np.testing.assert_allclose(ours.coef_, theirs.coef_)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_)


def test_the_prior_scale_is_chosen_by_weighted_rows(data, weights):
    (X, y), repeats = data, np.repeat(np.arange(40), weights.astype(int))
    repeats = np.random.default_rng(2).permutation(repeats)
    for kind in (
        LogisticMAP("evidence"),
        LogisticMAP("cv"),
        BayesianLogistic("evidence", method="laplace"),
    ):
        ours = again(kind).fit(X, y, sample_weight=weights).prior_scale_
        assert ours == pytest.approx(again(kind).fit(X[repeats], y[repeats]).prior_scale_)


def test_cross_validation_keeps_the_copies_of_a_row_together(data, weights):
    X, y = data
    kept, scales = weights > 0, [0.1, 1.0]
    groups = np.arange(40) // 2
    ours = LogisticMAP("cv", prior_scales=scales)
    found = ours.fit(X, y, groups, sample_weight=weights).cv_log_score_
    left = ours.fit(X[kept], y[kept], groups[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(found, left.cv_log_score_)
    order = np.random.default_rng(2).permutation(np.repeat(np.arange(40), weights.astype(int)))
    for by_group in (None, groups):
        of = [None, None] if by_group is None else [by_group, by_group[order]]
        found = ours.fit(X, y, of[0], sample_weight=weights).cv_log_score_
        same = ours.fit(X[order], y[order], of[1]).cv_log_score_
        np.testing.assert_allclose(found, same, rtol=1e-9)
    with pytest.raises(ValueError, match=r"groups has shape \(39,\)"):
        ours.fit(X, y, groups[:-1], sample_weight=weights)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (-1.0, "sample_weight is -1.0 in row 7"),
        (np.nan, "sample_weight is nan in row 7"),
        (np.inf, "sample_weight is inf in row 7"),
    ],
)
def test_a_bad_weight_is_named(checks_weights, data, bad, message):
    weights = np.ones(40)
    weights[7] = bad
    with pytest.raises(ValueError, match=message):
        checks_weights.fit(*data, sample_weight=weights)


@pytest.mark.parametrize("shape", [(), (39,), (40, 1), (1, 40)])
def test_weights_of_another_shape_are_refused(checks_weights, data, shape):
    with pytest.raises(ValueError, match="sample_weight has shape"):
        checks_weights.fit(*data, sample_weight=np.ones(shape))


@pytest.mark.parametrize("label", [0, 1])
def test_each_class_needs_a_weight(checks_weights, data, label):
    X, y = data
    with pytest.raises(ValueError, match=f"zero for every row of class {label}"):
        checks_weights.fit(X, y, sample_weight=np.where(y == label, 0.0, 1.0))


def test_weights_are_not_numbers_or_too_large(data):
    with pytest.raises(ValueError, match=r"sample_weight has dtype .*; it has to hold numbers"):
        LogisticMAP().fit(*data, sample_weight=["much"] * 40)
    with pytest.raises(ValueError, match="infinite sum"):
        LogisticMAP().fit(*data, sample_weight=np.full(40, 1e308))


def test_class_weights_are_weights_of_rows(weighted, data):
    X, y = data
    ours = again(weighted, class_weight={1: 3.0}).fit(X, y).predict_proba(X)
    theirs = again(weighted).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(ours, theirs.predict_proba(X))


def test_balanced_classes_weigh_the_same(data, weights):
    X, y = data
    fit = DifferenceInMeans("balanced").fit(X, y, weights)
    middle = [np.average(X[y == c], axis=0, weights=weights[y == c]) for c in (0, 1)]
    assert fit.decision_function([np.mean(middle, axis=0)])[0] == pytest.approx(0, abs=1e-12)
    sums = np.array([weights[y == c].sum() for c in (0, 1)])
    by_hand = weights * (weights.sum() / (2 * sums))[y]
    ours = LogisticMAP(class_weight="balanced").fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(ours.coef_, LogisticMAP().fit(X, y, None, by_hand).coef_)


@pytest.mark.parametrize(
    "bad", ["even", [1, 2], {2: 1.0}, {1: 0.0}, {1: -1.0}, {0: np.inf}, {0: "a"}, {0: None}]
)
def test_bad_class_weights_are_refused(data, bad):
    with pytest.raises(ValueError, match="class_weight is"):
        LogisticMAP(class_weight=bad).fit(*data)


@pytest.mark.parametrize("labels", [(0, 1), ("lie", "truth"), (False, True), (-1.0, 2.0)])
def test_class_weights_are_saved(tmp_path, data, labels):
    X, y = data[0], np.array(labels)[data[1]]
    fit = LogisticMAP(class_weight={labels[0]: 2.0, labels[1]: 0.5}).fit(X, y)
    fit.save(tmp_path / "reporter")
    read = load(tmp_path / "reporter")
    assert read.class_weight == fit.class_weight
    assert [type(key) for key in read.class_weight] == [type(label) for label in labels]
    np.testing.assert_array_equal(read.fit(X, y).coef_, fit.coef_)
    balanced = LogisticMAP(class_weight="balanced").fit(X, y)
    balanced.save(tmp_path / "balanced")
    assert load(tmp_path / "balanced").class_weight == "balanced"


def test_a_flipped_label_is_of_one_copy():
    y, counts = np.array([0.0, 1.0]), np.array([4.0, 2.5])
    members = Ensemble(members=20_000, perturb=0.25)
    labels, weights = members._own_rows(y, counts)
    np.testing.assert_allclose(labels.mean(axis=0), [0.25, 0.75], atol=0.01)
    assert set(labels[:, 0]) == {0.0, 0.25, 0.5, 0.75, 1.0}
    np.testing.assert_allclose(weights, counts)


def test_resamples_are_of_the_weights():
    y, counts = np.array([0.0, 1.0, 1.0]), np.array([6.0, 1.0, 3.0])
    _, weights = Ensemble(members=20_000, bootstrap=True)._own_rows(y, counts)
    np.testing.assert_allclose(weights.sum(axis=1), 10)
    np.testing.assert_allclose(weights.mean(axis=0), counts, atol=0.1)
    with pytest.raises(ValueError, match="bootstrap is True"):
        Ensemble(bootstrap=True)._own_rows(y, np.array([1e6, 1e-6, 1e-6]))


def test_class_weights_hold_for_held_out_rows(data):
    X, y = data
    reporter = Ensemble(2, steps=5, patience=1, class_weight="balanced").fit(X, y, (X, y))
    _, _, weights = reporter._check_held_out((X, y), np.array([25.0, 15.0]))
    np.testing.assert_allclose(weights, np.where(y == 1, 40 / 30, 40 / 50))


def test_equal_rows_are_merged():
    X = np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [-0.0, 0.0], [1.0, 2.0]])
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    rows, labels, weights = distinct(X, y, None)
    assert sorted(zip(rows.tolist(), labels, weights, strict=True)) == [
        ([0.0, 0.0], 1.0, 2.0),
        ([1.0, 2.0], 0.0, 2.0),
        ([1.0, 2.0], 1.0, 1.0),
    ]
    order = [4, 3, 2, 1, 0]
    shuffled = distinct(X[order], y[order], None)
    np.testing.assert_array_equal(shuffled[0], rows)
    assert distinct(X[:2], y[:2], None)[2] is None


@pytest.mark.parametrize("method", sorted(set(SAMPLERS) - WEIGHTED))
def test_methods_of_networks_without_weights_refuse_them(data, method):
    X, y = data
    with pytest.raises(ValueError, match="takes no weights"):
        BayesianNetwork(method=method).fit(X, y, sample_weight=np.arange(40.0))
