"""Saved reporters come back the same, or say that they are damaged."""

import json

import numpy as np
import pytest

import elkutils.reporters as reporters
from elkutils.reporters import BayesianLogistic, DifferenceInMeans, LogisticMAP

SIX_ROWS = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]


def test_same_draws_after_loading(reporter, data, tmp_path):
    X, y = data
    reporter.fit(X, np.array(["lie", "truth"])[y]).save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    assert type(again) is type(reporter)
    assert again.get_params() == reporter.get_params()
    np.testing.assert_array_equal(again.sample_proba(X), reporter.sample_proba(X))
    np.testing.assert_array_equal(again.predict(X), reporter.predict(X))
    assert again.n_features_in_ == 3
    for name, value in vars(reporter).items():  # in a file's order: BLAS may round by it
        assert not isinstance(value, np.ndarray) or value.flags.c_contiguous, name
    again.save(tmp_path / "copy")
    for name in ("reporter.json", "arrays.safetensors"):
        first, second = ((tmp_path / d / name).read_bytes() for d in ("probe", "copy"))
        assert first == second


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [-1.0, 1.0], ["a", "b"]])
def test_labels_keep_their_kind(data, tmp_path, labels):
    X, y = data
    fit = LogisticMAP().fit(X, np.array(labels)[y])
    fit.save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    np.testing.assert_array_equal(again.classes_, fit.classes_)
    assert again.classes_.dtype == fit.classes_.dtype


def test_what_was_learned_comes_back(data, tmp_path):
    chosen = LogisticMAP("cv", prior_scales=np.array([0.1, 1.0])).fit(*data)
    chosen.save(tmp_path / "map")
    again = reporters.load(tmp_path / "map")
    np.testing.assert_array_equal(again.path_.log_evidence, chosen.path_.log_evidence)
    np.testing.assert_array_equal(again.cv_log_score_, chosen.cv_log_score_)
    assert again.prior_scale_ == chosen.prior_scale_

    plain = LogisticMAP().fit(*data)
    plain.save(tmp_path / "plain")
    assert reporters.load(tmp_path / "plain").path_ is None

    posterior = BayesianLogistic(method="nuts", draws=25, warmup=25, chains=2).fit(*data)
    posterior.save(tmp_path / "posterior")
    again = reporters.load(tmp_path / "posterior")
    assert again.idata.posterior.equals(posterior.idata.posterior)
    assert again.idata.sample_stats.equals(posterior.idata.sample_stats)
    assert again.log_evidence_ == posterior.log_evidence_


def test_feature_names_come_back(data, tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=["north", "east", "up"])
    LogisticMAP().fit(frame, y).save(tmp_path / "probe")
    again = reporters.load(tmp_path / "probe")
    assert list(again.feature_names_in_) == ["north", "east", "up"]
    assert again.predict(frame).shape == y.shape


def test_unfitted_is_not_saved(reporter, tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        reporter.save(tmp_path / "probe")
    assert not list(tmp_path.iterdir())


def damage(folder, how):
    arrays, about = folder / "arrays.safetensors", folder / "reporter.json"
    if how == "truncated arrays":
        arrays.write_bytes(arrays.read_bytes()[:-8])
    elif how == "flipped bit":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(content)
    elif how == "no arrays":
        arrays.unlink()
    elif how == "broken JSON":
        about.write_text(about.read_text()[:-20])
    elif how == "not UTF-8":
        about.write_bytes(b"\xff\xfe{")
    elif how == "JSON of something else":
        about.write_text("[1, 2]")
    elif how in ("format", "reporter"):
        about.write_text(json.dumps(json.loads(about.read_text()) | {how: "newer"}))
    else:
        about.unlink()


@pytest.mark.parametrize(
    "how",
    [
        "truncated arrays",
        "flipped bit",
        "no arrays",
        "broken JSON",
        "not UTF-8",
        "JSON of something else",
        "format",
        "reporter",
        "no JSON",
    ],
)
def test_damage_is_named(data, tmp_path, how):
    LogisticMAP().fit(*data).save(tmp_path / "probe")
    damage(tmp_path / "probe", how)
    with pytest.raises(ValueError, match="folder"):
        reporters.load(tmp_path / "probe")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        reporters.load(tmp_path / "nowhere")


@pytest.mark.parametrize("written", ["arrays.safetensors", "reporter.json"])
def test_a_full_disk_leaves_nothing_half_written(data, tmp_path, monkeypatch, written):
    from pathlib import Path

    X, y = data
    fit = LogisticMAP().fit(X, y)
    fit.save(tmp_path / "probe")
    whole = fit.sample_proba(X)

    def full(path, content, *args, **kwargs):
        raise OSError(28, "No space left on device")

    method = "write_bytes" if written == "arrays.safetensors" else "write_text"
    monkeypatch.setattr(Path, method, full)
    with pytest.raises(OSError, match="No space"):
        LogisticMAP(0.1).fit(X, y).save(tmp_path / "probe")
    with pytest.raises(OSError, match="No space"):
        fit.save(tmp_path / "other")
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["probe"]
    np.testing.assert_array_equal(reporters.load(tmp_path / "probe").sample_proba(X), whole)


def test_a_folder_with_files_of_the_same_names_is_left_alone(tmp_path):
    reporter = DifferenceInMeans().fit(*SIX_ROWS)
    for content in ("mine", "{}", '["format"]'):
        (tmp_path / "reporter.json").write_text(content)
        with pytest.raises(ValueError, match="a folder with other files"):
            reporter.save(tmp_path)
        assert (tmp_path / "reporter.json").read_text() == content
    (tmp_path / "reporter.json").unlink()
    (tmp_path / "reporter.json").mkdir()
    with pytest.raises(ValueError, match="a folder with other files"):
        reporter.save(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reporter": "BayesianLogistic"}, "does not describe a BayesianLogistic"),
        ({"reporter": ["DifferenceInMeans"]}, "has not been defined"),
        ({"parameters": {"nonsense": 1}}, "nonsense"),
        ({"classes": {"dtype": "<i8", "values": [0, 1, 2]}}, "has to have two"),
        ({"classes": None}, "does not describe"),
        ({"features": ["a", "b"]}, "2 names of features, and 1 features"),
        ({"source": {"x": 1}}, "does not describe"),
        ({"format": 99}, "this version reads"),
        ({"format": True}, "this version reads"),
    ],
)
def test_a_description_that_does_not_fit_is_named(tmp_path, change, said):
    folder = tmp_path / "saved"
    DifferenceInMeans().fit(*SIX_ROWS).save(folder)
    about = json.loads((folder / "reporter.json").read_text())
    (folder / "reporter.json").write_text(json.dumps(about | change))
    with pytest.raises(ValueError, match=said):
        reporters.load(folder)
