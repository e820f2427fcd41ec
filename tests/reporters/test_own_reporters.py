"""Reporters of a user's own on disk, those of version 0.1, and what is refused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from elkutils.reporters import Ensemble, LogisticMAP, Reporter, load

SAVED = Path(__file__).parent / "saved"  # written by version 0.1


class Nearest(Reporter):
    """A reporter outside the package: the sign of the distance to two class means."""

    def __init__(self, sharpness=1.0):
        self.sharpness = sharpness

    def fit(self, X, y):
        X, y = self._check_training(X, y)
        self.means_ = np.stack([X[y == label].mean(axis=0) for label in (0, 1)])
        return self

    def decision_function(self, X):
        away = self._check(X)[:, None] - self.means_
        return self.sharpness * np.subtract(*np.linalg.norm(away, axis=2).T)


class Named(Nearest):
    """It learns a string, which is not saved."""

    def fit(self, X, y):
        fit = super().fit(X, y)
        self.name_ = "nearest"
        return fit


class Forgetful(Nearest):
    """Its state misses what it needs, so it would come back broken."""

    def state(self):
        return super().state() | {"extra_": 1.0}

    def restore(self, arrays):
        super().restore({k: v for k, v in arrays.items() if k != "extra_"})
        self.means_ = 2 * self.means_


def test_a_reporter_of_ones_own_is_saved_and_loaded(data, tmp_path):
    X, y = data
    fit = Nearest(2.0).fit(X, np.array(["lie", "truth"])[y])
    fit.save(tmp_path / "nearest")
    again = load(tmp_path / "nearest")
    assert type(again) is Nearest
    assert again.get_params() == {"sharpness": 2.0}
    np.testing.assert_array_equal(again.predict_proba(X), fit.predict_proba(X))


@pytest.mark.parametrize("kind", sorted(p.name for p in SAVED.iterdir() if p.is_dir()))
def test_reporters_of_version_0_1_give_the_same_answers(kind):
    stored = np.load(SAVED / "answers.npz")
    again = load(SAVED / kind)
    np.testing.assert_allclose(again.sample_proba(stored["X"]), stored[kind], rtol=1e-6)
    assert list(again.classes_) == ["lie", "truth"]


def refused(reporter, tmp_path, said):
    with pytest.raises(ValueError, match=said):
        reporter.save(tmp_path / "probe")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_back_is_refused(data, tmp_path):
    @dataclass(frozen=True)
    class Local:
        widths: tuple = ()

    refused(Named().fit(*data), tmp_path, "name_ of type str")
    refused(Forgetful().fit(*data), tmp_path, "would not be the same")
    fit = Ensemble(2, steps=5).fit(*data)
    fit.head = Local()
    refused(fit, tmp_path, "head is a .*Local")
    fit = LogisticMAP().fit(*data)
    fit.bias_scale = {1, 2}
    refused(fit, tmp_path, "not JSON's")


def test_what_is_in_the_way_is_not_lost(data, tmp_path):
    fit = Nearest().fit(*data)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match=r"other files \(thesis.txt\)"):
        fit.save(tmp_path / "results")
    (tmp_path / "probe.json").write_text("{}")
    with pytest.raises(ValueError, match=r"probe.json', a file"):
        fit.save(tmp_path / "probe.json")
    (tmp_path / "link").symlink_to(tmp_path / "results")
    with pytest.raises(ValueError, match="a link"):
        fit.save(tmp_path / "link")
    assert (tmp_path / "results" / "thesis.txt").read_text() == "years"
    fit.save(tmp_path / "new")
    fit.save(tmp_path / "new")  # a saved reporter is replaced


def test_what_was_learned_under_a_plain_name_is_refused(data, tmp_path):
    fit = Nearest(2.0).fit(*data)
    fit.scale = 9.0
    refused(fit, tmp_path, "scale was set and would be lost")


def test_numbers_of_numpy_are_numbers(data, tmp_path):
    LogisticMAP(np.float64(0.5)).fit(*data).save(tmp_path / "map")
    assert load(tmp_path / "map").prior_scale == 0.5


def test_parameters_keep_their_types(data, tmp_path):
    fit = Nearest((1.0, 2.0)).fit(*data)
    fit.save(tmp_path / "pair")
    assert load(tmp_path / "pair").sharpness == (1.0, 2.0)
    fit = LogisticMAP("cv", prior_scales=np.array([0.1, 1.0])).fit(*data)
    fit.save(tmp_path / "map")
    again = load(tmp_path / "map").prior_scales
    assert isinstance(again, np.ndarray)
    np.testing.assert_array_equal(again, [0.1, 1.0])


def test_a_class_defined_again_is_not_confused_with_the_old(data, tmp_path):
    def define():
        class Mine(Nearest):
            pass

        return Mine

    old = define()().fit(*data)
    new = define()().fit(*data)
    refused(old, tmp_path, "defined again")
    new.save(tmp_path / "probe")
    assert type(load(tmp_path / "probe")) is type(new)


def test_a_class_that_is_not_there_is_named(data, tmp_path):
    Nearest().fit(*data).save(tmp_path / "probe")
    about = tmp_path / "probe" / "reporter.json"
    about.write_text(about.read_text().replace("Nearest", "Farthest"))
    with pytest.raises(ValueError, match="Farthest"):
        load(tmp_path / "probe")
