"""Activations on disk: the same numbers, in bounded memory, and nothing lost by a stop."""

import mmap
import sys

import numpy as np
import pytest
import tiny_models as tiny

from elkutils.models import activations, load_model, resid_post, store_activations
from elkutils.reporters import LogisticMAP

TEXTS = [*tiny.TEXTS * 4, "It is in Peru."]
OPTIONS = {"progress": False, "block": 4}
module = sys.modules["elkutils.models.store"]


@pytest.fixture
def small(own_cache):
    return load_model(tiny.llama(), tokenizer=tiny.tokenizer(bos=True))


def expected(model, position):
    return activations(model, TEXTS, resid_post(model), position, cache=False, progress=False)


@pytest.mark.parametrize("position", ["all", "last", 1, [1, 2] * 6 + [-1]], ids=str)
def test_the_store_has_what_activations_returns(small, tmp_path, position):
    found = store_activations(
        tmp_path / "s", small, TEXTS, resid_post(small), position, **OPTIONS
    )
    for name, rows in expected(small, position).items():
        np.testing.assert_allclose(found[name], rows, rtol=1e-5, atol=1e-5)
        assert found[name].source.hook_point == name
        assert isinstance(found[name].base.base, np.memmap | mmap.mmap)
        assert not found[name].flags.writeable


def test_a_stopped_run_goes_on_where_it_was(small, tmp_path, monkeypatch):
    hooks, asked = resid_post(small), []

    def stopping(model, texts, *rest, **options):
        asked.append(len(texts))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return activations(model, texts, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "activations", stopping)
        with pytest.raises(KeyboardInterrupt):
            store_activations(tmp_path / "s", small, TEXTS, hooks, **OPTIONS)
    asked.clear()
    with monkeypatch.context() as patched:
        patched.setattr(module, "activations", stopping)
        found = store_activations(tmp_path / "s", small, TEXTS, hooks, **OPTIONS)
        assert asked == [4, 1]
        store_activations(tmp_path / "s", small, TEXTS, hooks, **OPTIONS)
        assert asked == [4, 1]
    for name, rows in expected(small, "all").items():
        np.testing.assert_allclose(found[name], rows, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "other", [{"texts": TEXTS[:-1]}, {"position": "last"}, {"hook_points": None}], ids=str
)
def test_another_run_in_the_folder_is_refused(small, tmp_path, other):
    asked = {"texts": TEXTS, "hook_points": resid_post(small), "position": "all"} | OPTIONS
    store_activations(tmp_path / "s", small, **asked)
    before = {path: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    other = {key: value or resid_post(small)[:1] for key, value in other.items()}
    with pytest.raises(ValueError, match="holds activations of another model"):
        store_activations(tmp_path / "s", small, **asked | other)
    assert before == {path: path.read_bytes() for path in (tmp_path / "s").iterdir()}


def test_a_folder_with_other_files_is_refused(small, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds mine\.txt"):
        store_activations(tmp_path, small, TEXTS, resid_post(small), **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_with_hooks_of_ones_own_is_refused(small, tmp_path):
    small.add_hook(resid_post(small)[0], lambda tensor, hook: tensor)
    with pytest.raises(ValueError, match="hooks or forward methods of your own"):
        store_activations(tmp_path / "s", small, TEXTS, resid_post(small), **OPTIONS)
    small.reset_hooks()


def test_reporters_take_the_map_as_it_is(small, tmp_path):
    [hook] = resid_post(small)[-1:]
    X = store_activations(tmp_path / "s", small, TEXTS, [hook], "last", **OPTIONS)[hook]
    y = np.arange(len(X)) % 2
    reporter = LogisticMAP(1.0).fit(X, y)
    assert reporter.source_ == X.source
    plain = LogisticMAP(1.0).fit(np.array(X), y)
    np.testing.assert_allclose(reporter.predict_proba(X), plain.predict_proba(np.array(X)))
