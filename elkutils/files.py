"""Where the package keeps files, and how it writes them: never half-written.

What was at a path before is only ever replaced by its like. A folder with other files in it is
left alone, a link is followed, and "~" is the user's home.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = errno.ENOSPC, errno.EDQUOT
TAKEN = errno.ENOTEMPTY, errno.EEXIST  # by a folder that another process has put there
TURNS = 100


def cache_dir() -> Path:
    """Return the folder of converted weights and cached activations, made if it is missing.

    It is ``$ELKUTILS_CACHE`` where that is set, else ``elkutils`` in ``$XDG_CACHE_HOME``
    or ``~/.cache``.

    Raises
    ------
    OSError
        If it cannot be made, as where a file is in the way.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ELKUTILS_CACHE") or Path(base) / "elkutils").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}; set ELKUTILS_CACHE to a folder that can be made and written",
            str(folder),
        ) from error
    return folder


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and rename it to `target` on success.

    The body may write a file or make a folder at the yielded path. If it raises (a full
    disk, an interrupt), the temporary is removed and `target` is unchanged.
    A file at `target` is replaced, and so is a folder whose files the new one has too. Where
    `target` is a link, what it points to is replaced, and the link stays.

    Parameters
    ----------
    target : str or Path
        May begin with "~".

    Raises
    ------
    ValueError
        If `target` has no name, as "" and "." have none.
    OSError
        If it cannot be written; if a file stands where a folder is needed, or the reverse; or
        if a folder at `target` holds files that the new one lacks. `target` is then unchanged.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/note.txt") as fresh:
    ...         _ = fresh.write_text("whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    target = written_path(target)
    scratch = None
    try:
        _make_parent(target)
        scratch = Path(tempfile.mkdtemp(prefix=".fresh-", dir=target.parent))
        fresh = scratch / target.name
        yield fresh
        _put(fresh, target, scratch)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno,
            "No space is left to write it, and what was there is unchanged; free some, or "
            "choose another folder",
            str(target),
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def written_path(path: str | Path) -> Path:
    """Return the path that writing to `path` changes: "~" spelled out, a link followed."""
    path = Path(path).expanduser()
    if not path.name or path.name == "..":
        raise ValueError(f"the path is {str(path)!r}, which has no name; it needs one")
    return path.resolve() if path.is_symlink() else path


def _check_replaceable(fresh: Path, target: Path) -> None:
    """Raise OSError where putting `fresh` at `target` would remove what is not its like."""
    new, old = _kind(fresh), _kind(target)
    if new == old == "folder":
        if _is_working_folder(target):
            raise OSError(
                errno.EBUSY, "Python runs in this folder, which would be replaced", str(target)
            )
        made = {path.relative_to(fresh) for path in fresh.rglob("*")}
        others = sorted(
            str(path.relative_to(target))
            for path in target.rglob("*")
            if path.relative_to(target) not in made
        )
        if others:
            raise FileExistsError(
                errno.EEXIST,
                f"a folder with other files is there ({', '.join(others[:3])}), which would be "
                "lost; choose a new or empty one",
                str(target),
            )
    elif old == "folder":
        raise IsADirectoryError(
            errno.EISDIR, "a folder is there; a file needs another name", str(target)
        )
    elif new == "folder" and old == "file":
        raise NotADirectoryError(
            errno.ENOTDIR, "a file is there; a folder needs another name", str(target)
        )


def _kind(path: Path) -> str | None:
    """Return what is at a path, looked at once, as another process may change it."""
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except FileNotFoundError:
        return None


def _is_working_folder(folder: Path) -> bool:
    try:
        return Path.cwd().is_relative_to(folder.resolve())
    except FileNotFoundError:  # it has been removed
        return False


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            errno.ENOTDIR,
            f"a file stands where a folder is needed for {target.name!r}",
            str(target.parent),
        ) from error


def _put(fresh: Path, target: Path, scratch: Path) -> None:
    """Move `fresh` to `target`, in turn with other processes that write there."""
    for turn in range(TURNS):
        replaced = scratch / f"replaced-{turn}"
        try:
            _check_replaceable(fresh, target)
            if fresh.is_dir() and target.is_dir():
                os.replace(target, replaced)
        except FileNotFoundError:  # another process has just moved it away
            pass
        try:
            os.replace(fresh, target)
            return
        except OSError as error:
            taken = error.errno in TAKEN and turn < TURNS - 1
            if replaced.exists() and not taken:
                os.replace(replaced, target)
            if not taken:
                raise
