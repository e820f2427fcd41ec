"""Activations of several hook points side by side: numbers, names of columns, source."""

import mmap

import numpy as np
import pytest

from elkutils import source
from elkutils.reporters import LogisticMAP, load
from elkutils.source import Activations, Source, join

HOOKS = "blocks.1.hook_resid_post", "blocks.7.hook_mlp_out"


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    return {
        hook: Activations.of(
            rng.standard_normal((40, d)).astype(np.float32), Source("9f2c", hook, "last")
        )
        for hook, d in zip(HOOKS, (3, 2), strict=True)
    }


def test_columns_are_those_of_one_part_after_the_other(found):
    X, parts = join(found)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.concatenate(list(found.values()), axis=1))
    for hook in HOOKS:
        np.testing.assert_array_equal(X[:, parts[hook]], found[hook])
    names = [f"{HOOKS[0]}[{i}]" for i in range(3)] + [f"{HOOKS[1]}[{i}]" for i in range(2)]
    assert join(found).columns.tolist() == names


def test_a_file_is_written_block_by_block_and_mapped(found, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "JOINED_AT_ONCE", 5 * 7)
    X, _ = join(found, tmp_path / "joined.npy")
    np.testing.assert_array_equal(X, join(found).X)
    assert isinstance(X.base.base, np.memmap | mmap.mmap)
    assert not X.flags.writeable
    assert X.source == join(found).X.source
    assert [path.name for path in tmp_path.iterdir()] == ["joined.npy"]


def test_the_joined_source_is_kept_and_checked(found, tmp_path):
    X = join(found).X
    assert X.source == Source("9f2c", " + ".join(HOOKS), "last")
    reporter = LogisticMAP(1.0).fit(X, np.arange(40) % 2)
    reporter.save(tmp_path / "r")
    again = load(tmp_path / "r")
    np.testing.assert_array_equal(again.predict_proba(X), reporter.predict_proba(X))
    turned = join(dict(reversed(found.items()))).X
    with pytest.raises(ValueError, match="activations whose hook_point is"):
        again.predict_proba(turned)


def test_arrays_of_ones_own_have_no_source(found):
    mixed = join({"mine": np.ones((40, 2)), **found})
    assert source.source_of(mixed.X) is None
    assert mixed.parts[HOOKS[1]] == slice(5, 7)


def test_names_of_columns_reach_a_reporter(found):
    pandas = pytest.importorskip("pandas")
    joined = join(found)
    table = pandas.DataFrame(np.asarray(joined.X), columns=joined.columns)
    reporter = LogisticMAP(1.0).fit(table, np.arange(40) % 2)
    assert reporter.feature_names_in_.tolist() == joined.columns.tolist()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "other"}, "whose model is 'other', and 'blocks.1.hook_resid_post'"),
        ({"position": "all"}, "whose position is 'all'"),
        ({"start_token": True}, "whose start_token is True"),
    ],
    ids=str,
)
def test_parts_of_different_readings_are_refused(found, change, told):
    about = {"model": "9f2c", "hook_point": HOOKS[1], "position": "last"} | change
    found[HOOKS[1]] = Activations.of(found[HOOKS[1]], Source(**about))
    with pytest.raises(ValueError, match=told):
        join(found)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({}, "it has to be a dict of arrays"),
        (np.eye(3), "it has to be a dict of arrays"),
        ({"a": np.ones(3)}, r"'a' of shape \(3,\); it has to be \(n, d\)"),
        ({"a": np.eye(3), "b": np.eye(2)}, r"'b' of shape \(2, 2\); it has to be \(3, d\)"),
    ],
    ids=["empty", "array", "vector", "other rows"],
)
def test_bad_parts_are_refused(bad, told):
    with pytest.raises(ValueError, match=told):
        join(bad)
