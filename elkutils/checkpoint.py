"""A long run on disk, so that an interrupted run can continue to the same end."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as dump_arrays

from elkutils.files import atomic_path, written_path


class Resumable(Protocol):
    """A run that can save where it is, and continue from there."""

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return its arrays by name, and the rest in types that JSON can hold."""

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        """Continue from where another run was when it was packed."""


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file with the state of a run and the digest of the call that it belongs to.

    Parameters
    ----------
    path : Path
        May begin with "~"; a link is followed.
    digest : str
        Digest of the data and settings of the call.

    Raises
    ------
    ValueError
        If a folder is at `path`, or a file where its folder should be.
    """

    path: Path
    digest: str

    def __post_init__(self) -> None:
        path = written_path(self.path)
        above = next(part for part in (path, *path.parents) if part.exists())
        if path.is_dir() or not (above == path or above.is_dir()):
            raise ValueError(
                f"checkpoint is {str(self.path)!r}, and {str(above)!r} is a "
                f"{'folder' if path.is_dir() else 'file'}; it has to be the path of a file"
            )
        object.__setattr__(self, "path", path)

    @classmethod
    def of(
        cls, path: str | Path, X: np.ndarray, others: Sequence[np.ndarray], *settings: object
    ) -> "Checkpoint":
        """Return the checkpoint of one call; `digest` covers its data, arrays and settings."""
        digest = hashlib.sha256(repr((X.shape, settings)).encode())
        for part in (*others, *(X[i : i + 4096] for i in range(0, X.shape[0], 4096))):
            digest.update(np.ascontiguousarray(part).tobytes())
        return cls(Path(path), digest.hexdigest())

    def save(self, run: Resumable) -> None:
        """Replace the file with the state of `run`; an error leaves the old file."""
        arrays, about = run.pack()
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        about = json.dumps(about | {"digest": self.digest})
        stored = dump_arrays(arrays, metadata={"about": about})
        with atomic_path(self.path) as fresh:
            fresh.write_bytes(stored)

    def resume(self, run: Resumable) -> bool:
        """Restore the run from the file; return False if there is no file.

        Raises
        ------
        ValueError
            If the file is damaged, or belongs to a call with other data or settings.
        """
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, "numpy") as stored:
                about = json.loads(stored.metadata()["about"])
                digest = about["digest"]
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"checkpoint is {str(self.path)!r}, which is damaged, or another file"
            ) from error
        if digest != self.digest:
            raise ValueError(
                f"checkpoint is {str(self.path)!r}, of a call with other data or settings"
            )
        run.unpack(arrays, about)
        return True
