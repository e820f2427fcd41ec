"""A reporter carries where X was read and how it was scaled, and refuses other activations."""

import copy
import json
import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import elkutils.reporters as reporters
from elkutils.reporters import LogisticMAP, make_pipeline
from elkutils.source import Activations, Source, source_of

HERE = Source("0123456789abcdef", "blocks.3.hook_resid_post", "full stop", False)
ELSEWHERE = {
    "model": "fedcba9876543210",
    "hook_point": "blocks.4.hook_resid_post",
    "position": "last",
    "start_token": True,
}


def test_other_activations_are_refused(reporter, data, tmp_path):
    X, y = data
    X = Activations.of(X, HERE)
    reporter.fit(X, y).save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    assert reporter.source_ == again.source_ == HERE
    for probe, what in product((reporter, again), ELSEWHERE):
        other = Activations.of(X, replace(HERE, **{what: ELSEWHERE[what]}))
        proba = probe.predict_proba(X)
        np.testing.assert_array_equal(probe.predict_proba(np.asarray(other)), proba)
        for ask in (probe.predict, probe.predict_proba, probe.sample_proba):
            with pytest.raises(ValueError, match=rf"X has activations whose {what}.*asarray"):
                ask(other[:3])


def test_scaling_is_carried(reporter, data, tmp_path):
    X, y = data
    X = X * [1.0, 100.0, 0.01] + [0.0, 5.0, -3.0]
    mean, scale = X.mean(axis=0), X.std(axis=0)
    expected = reporter.fit((X - mean) / scale, y).sample_proba((X - mean) / scale)
    reporter.carry(HERE, mean, scale).save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    for probe in (reporter, again):
        assert probe.source_ == HERE
        np.testing.assert_array_equal(probe.sample_proba(X), expected)
        np.testing.assert_array_equal(probe.scaling_, [mean, scale])
    assert json.loads((tmp_path / "probe" / "reporter.json").read_text())["format"] == 2
    again.save(tmp_path / "copy")
    for name in ("reporter.json", "arrays.safetensors"):
        first, second = ((tmp_path / d / name).read_bytes() for d in ("probe", "copy"))
        assert first == second


def test_a_new_fit_forgets_the_old_source_and_scaling(data):
    X, y = data
    probe = LogisticMAP().fit(Activations.of(X, HERE), y).carry(mean=1.0, scale=2.0)
    plain = LogisticMAP().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(probe.fit(X, y).predict_proba(X), plain)
    assert not hasattr(probe, "source_")


def test_what_carries_nothing_has_the_format_of_before(data, tmp_path):
    LogisticMAP().fit(*data).save(tmp_path / "probe")
    about = json.loads((tmp_path / "probe" / "reporter.json").read_text())
    assert about["format"] == 1
    assert "source" not in about


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source": "smollm2"}, "source is 'smollm2'"),
        ({"mean": [1.0, 2.0]}, r"mean has the shape \(2,\).*3 columns"),
        ({"mean": [1.0, np.nan, 2.0]}, "mean is nan in column 1"),
        ({"scale": [1.0, 0.0, 2.0]}, r"scale is 0\.0 in column 1"),
        ({"scale": -1.0}, r"scale is -1\.0"),
        ({"scale": "wide"}, "scale has the shape"),
    ],
)
def test_bad_scalings_are_named(data, change, told):
    with pytest.raises(ValueError, match=told):
        LogisticMAP().fit(*data).carry(**change)


def test_an_unfitted_reporter_carries_nothing():
    with pytest.raises(ValueError, match="not fitted"):
        LogisticMAP().carry(HERE)


def test_rows_keep_their_source_and_results_are_ordinary_arrays():
    X = Activations.of(np.arange(6.0).reshape(3, 2), HERE)
    for view in (X[1:], X[[0, 2]], X.copy(), X.astype(np.float32), copy.deepcopy(X)):
        assert source_of(view) == HERE
    assert source_of(pickle.loads(pickle.dumps(X))) == HERE
    for result in (X - 1, X.mean(axis=0), X.mean(), X @ X.T, np.exp(X), X > 1, X.std()):
        assert source_of(result) is None
        assert not isinstance(result, Activations)
    assert isinstance(X.sum(), np.floating)


def test_a_pipeline_refuses_other_activations(data, tmp_path):
    X, y = Activations.of(data[0], HERE), data[1]
    steps = StandardScaler(), PCA(2), LogisticMAP()
    make_pipeline(*steps).fit(X, y).save(tmp_path / "probe")
    for probe in (make_pipeline(*steps).fit(X, y), reporters.load(tmp_path / "probe")):
        assert probe.source_ == HERE
        proba = probe.predict_proba(X)
        np.testing.assert_array_equal(probe.predict_proba(np.asarray(X)), proba)
        for what, value in ELSEWHERE.items():
            other = Activations.of(X, replace(HERE, **{what: value}))
            for name in ("predict", "predict_proba", "decision_function", "sample_proba"):
                with pytest.raises(ValueError, match=f"X has activations whose {what}"):
                    getattr(probe, name)(other)
            with pytest.raises(ValueError, match=f"X has activations whose {what}"):
                next(probe.sample_proba_blocks(other))
        probe.fit(np.asarray(X), y)
        assert not hasattr(probe, "source_")


@pytest.mark.parametrize("how", ["z-scored", "centred", "in float32"])
def test_activations_as_read_are_refused_after_scaling_by_hand(data, tmp_path, how):
    X, y = Activations.of(data[0] * [1.0, 100.0, 0.01] + [0.0, 5.0, -3.0], HERE), data[1]
    mean, scale = X.mean(axis=0), X.std(axis=0) if how == "z-scored" else np.ones(3)
    Z = (X - mean) / scale
    Z = Z.astype(np.float32) if how == "in float32" else Z
    LogisticMAP().fit(Z, y).save(tmp_path / "probe")
    for probe in (LogisticMAP().fit(Z, y), reporters.load(tmp_path / "probe")):
        expected = probe.predict_proba(Z)
        for ask in (probe.predict, probe.predict_proba, probe.sample_proba):
            with pytest.raises(ValueError, match=r"mean 0.*carry\(X\.source, mean, scale\)"):
                ask(X)
            with pytest.raises(ValueError, match="mean 0"):
                probe.carry(HERE).predict(X[:1])
        found = probe.carry(HERE, mean, scale).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_arrays_without_a_source_are_taken_as_they_are(data):
    X, y = data
    LogisticMAP().fit(X - X.mean(axis=0), y).predict(X)
    LogisticMAP().fit(X, y).predict(Activations.of(X, HERE))


def test_rows_far_outside_are_named_once(reporter, data, tmp_path):
    """Features in other units: 22 standard deviations away and more."""
    X, y = data
    reporter.fit(X, y).save(tmp_path / "probe")
    far = X.copy()
    far[7:] += 30 * X.std(axis=0)
    far[30] += 900 * X.std(axis=0)
    for probe in (reporter, reporters.load(tmp_path / "probe")):
        with pytest.warns(
            UserWarning, match=r"X lies far outside.*row 0 9\d\d.*`carry`"
        ) as found:
            list(map(probe.predict, (far[30:], far)))
        assert sum("far outside" in str(w.message) for w in found) == 1


@pytest.mark.filterwarnings("error:X lies far")
def test_real_shifts_are_not_named(data):
    X, y = data
    spread = X.std(axis=0)
    probe = LogisticMAP().fit(X, y)
    probe.predict(X + 15 * spread)
    some = X + 500 * spread * (np.arange(40) < 18)[:, None]  # fewer than half of the rows
    probe.predict(some)
    X = np.column_stack([X, np.full(40, 3.0), np.arange(40) < 1])
    probe.fit(X, y)
    X[:, 3:] += 1e6  # what is constant there, and one feature of the four that vary
    probe.predict(X)
