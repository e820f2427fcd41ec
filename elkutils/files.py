"""Where the package keeps files, and how it writes them: never half-written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of converted weights and cached activations, made if it is missing.

    It is ``$ELKUTILS_CACHE`` where that is set, else ``elkutils`` in ``$XDG_CACHE_HOME``
    or ``~/.cache``.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ELKUTILS_CACHE") or Path(base) / "elkutils")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and rename it to `target` on success.

    The body may write a file or make a folder at the yielded path. If it raises (a full
    disk, an interrupt), the temporary is removed and `target` is unchanged.
    A folder that already exists at `target` is replaced by the new one.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/note.txt") as fresh:
    ...         _ = fresh.write_text("whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = scratch / target.name
        yield fresh
        replaced = scratch / "replaced"
        if fresh.is_dir() and target.is_dir():
            os.replace(target, replaced)
        try:
            os.replace(fresh, target)
        except OSError:
            if replaced.exists():
                os.replace(replaced, target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
