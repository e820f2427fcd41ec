"""Results kept as safetensors, so that what took minutes to compute is computed once.

An entry is found by a key made from everything that its numbers depend on, carries a digest of
its content, is rebuilt when damaged, and is made by one process while others wait.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from elkutils.files import atomic_path, cache_dir

Arrays = dict[str, np.ndarray]


def keep(kind: str, options: Mapping, compute: Callable[[], Arrays]) -> Arrays:
    """Return the kept arrays of `options`; compute and keep them if there are none.

    Parameters
    ----------
    kind : str
        The folder in `elkutils.files.cache_dir` of the entry.
    options : mapping
        Everything that the arrays depend on, in types that JSON can hold.
    compute : callable
        Makes the arrays. If it raises, nothing is kept.

    Returns
    -------
    dict of str to array
    """
    path = entry_path(kind, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):  # a second process waits here, then reads
        kept = _read(path)
        if kept is None:
            kept = compute()
            with atomic_path(path) as scratch:
                save_file(kept, scratch, metadata={"sha256": digest(kept)})
    return kept


def entry_path(kind: str, options: Mapping) -> Path:
    """Return the path of the entry of `options`, whether it exists or not."""
    text = json.dumps({"format": 1, **options}, ensure_ascii=False, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    return cache_dir() / kind / f"{key[:32]}.safetensors"


def digest(arrays: Arrays) -> str:
    """Return a SHA-256 of names and numbers, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


def check_shapes(found: Arrays, wanted: Mapping, where: str) -> None:
    """Raise `ValueError` unless the arrays have the wanted names and shapes (by name)."""
    found = {name: tuple(array.shape) for name, array in found.items()}
    wanted = {name: tuple(shape) for name, shape in wanted.items()}
    if wanted != found:
        odd = min(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
        raise ValueError(
            f"{where} holds weights of another shape than it states: {odd} is "
            f"{found.get(odd)}, and has to be {wanted.get(odd)}"
        )


def _read(path: Path) -> Arrays | None:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            intact = (file.metadata() or {}).get("sha256") == digest(arrays)
    except (OSError, SafetensorError):  # a folder in its place is met when it is written
        return None
    return arrays if intact else None
