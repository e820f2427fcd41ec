"""A reporter carries where X was read and how it was scaled, and refuses other activations."""

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import elkutils.reporters as reporters
from elkutils.reporters import LogisticMAP
from elkutils.source import Activations, Source, source_of

HERE = Source("0123456789abcdef", "blocks.3.hook_resid_post", "full stop", False)
ELSEWHERE = {
    "model": "fedcba9876543210",
    "hook_point": "blocks.4.hook_resid_post",
    "position": "last",
    "start_token": True,
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_other_activations_are_refused(reporter, data, tmp_path, what):
    X, y = data
    X = Activations.of(X, HERE)
    reporter.fit(X, y).save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    assert reporter.source_ == again.source_ == HERE
    other = Activations.of(X, replace(HERE, **{what: ELSEWHERE[what]}))
    for probe in (reporter, again):
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
