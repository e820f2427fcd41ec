"""Writing: whole or not at all, and never at the cost of what somebody else made."""

import errno
import resource
import signal
import threading

import numpy as np
import pytest

from elkutils.checkpoint import Checkpoint
from elkutils.files import atomic_path, cache_dir
from elkutils.reporters import DifferenceInMeans, load


def write(target, text="new"):
    with atomic_path(target) as fresh:
        fresh.write_text(text)


def make(target, *names):
    with atomic_path(target) as fresh:
        fresh.mkdir()
        for name in names:
            (fresh / name).parent.mkdir(exist_ok=True)
            (fresh / name).write_text("new")


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_home_is_spelled_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write("~/deep/note.txt")
    monkeypatch.setenv("ELKUTILS_CACHE", "~/cached")
    assert cache_dir() == tmp_path / "cached"
    X, y = np.array([[-1.0], [1.0], [0.5]]), [0, 1, 1]
    DifferenceInMeans().fit(X, y).save("~/probe")
    assert load("~/probe").predict([[2.0]]) == [1]
    assert Checkpoint("~/run", "x").path == tmp_path / "run"
    assert names(tmp_path)[:4] == ["cached", "deep", "deep/note.txt", "probe"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="other files"):
        DifferenceInMeans().fit(X, y).save("~/mine")


def test_a_folder_is_replaced_only_by_one_that_has_its_files(tmp_path):
    target = tmp_path / "made"
    make(target, "a", "in/b")
    make(target, "a", "in/b", "c")
    (target / "in" / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match=r"other files is there \(in/mine\)"):
        make(target, "a", "in/b", "c")
    assert (target / "in" / "mine").read_text() == "precious"
    assert names(tmp_path) == [
        "made",
        "made/a",
        "made/c",
        "made/in",
        "made/in/b",
        "made/in/mine",
    ]


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotADirectoryError, match="a file is there"):
        make(tmp_path / "file")
    with pytest.raises(IsADirectoryError, match="a folder is there"):
        write(tmp_path / "folder")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]
    for nameless in ("", ".", "..", "/"):
        with pytest.raises(ValueError, match="has no name"):
            write(nameless)


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    (tmp_path / "real").write_text("old")
    for name, to in (("link", "real"), ("dangling", "later")):
        (tmp_path / name).symlink_to(to)
        write(tmp_path / name, name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / to).read_text() == name
    (tmp_path / "place").mkdir()
    (tmp_path / "to-place").symlink_to("place")
    make(tmp_path / "to-place", "a")
    assert names(tmp_path / "place") == ["a"]
    assert (tmp_path / "to-place").is_symlink()
    assert Checkpoint(tmp_path / "link", "x").path == tmp_path / "real"


def run_full(target):
    with atomic_path(target) as fresh:
        fresh.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_there(tmp_path):
    target = tmp_path / "note.txt"
    target.write_text("old")
    with pytest.raises(OSError, match=r"No space is left.*is unchanged") as caught:
        run_full(target)
    assert caught.value.filename == str(target)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


def test_a_limit_on_the_size_of_files_leaves_what_was_there(tmp_path):
    target = tmp_path / "big"
    target.write_text("old")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.SIG_IGN
    handler = signal.signal(signal.SIGXFSZ, handler)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OSError, match="too large"):
            write(target, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["big"]


def test_a_long_name_can_be_written(tmp_path):
    write(tmp_path / ("n" * 250))
    assert names(tmp_path) == ["n" * 250]


def test_a_cache_with_a_file_in_the_way_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELKUTILS_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileExistsError, match="set ELKUTILS_CACHE"):
        cache_dir()


def test_a_checkpoint_never_takes_the_place_of_another_file(tmp_path):
    from safetensors.numpy import save_file

    foreign = tmp_path / "mine"
    for about in (None, {"about": "{}"}, {"about": "not JSON"}):
        save_file({"a": np.zeros(3)}, foreign, metadata=about)
        kept = foreign.read_bytes()
        with pytest.raises(ValueError, match="damaged, or another file"):
            Checkpoint(foreign, "x").resume(None)
        assert foreign.read_bytes() == kept
    with pytest.raises(ValueError, match=r"is a folder; it has to be the path of a file"):
        Checkpoint(tmp_path, "x")
    with pytest.raises(ValueError, match=r"is a file; it has to be the path of a file"):
        Checkpoint(foreign / "below", "x")


def test_many_may_write_one_folder_at_once(tmp_path):
    target, failed = tmp_path / "shared", []

    def write(who):
        try:
            for _ in range(20):
                with atomic_path(target) as fresh:
                    fresh.mkdir()
                    (fresh / "one").write_text(str(who))
                    (fresh / "two").write_text(str(who))
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (target / "one").read_text() == (target / "two").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_the_folder_that_python_runs_in_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        pytest.raises(OSError, match="Python runs in this folder"),
        atomic_path(tmp_path / "here") as fresh,
    ):
        fresh.mkdir()
    assert (tmp_path / "here").is_dir()


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(NotADirectoryError, match="a file stands where a folder is needed"),
        atomic_path(tmp_path / "file" / "new"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"
