"""A run of chains on disk, so that an interrupted one can go on to the same draws."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from elkutils.files import atomic_path
from elkutils.inference.trajectories import Pilot

if TYPE_CHECKING:
    from elkutils.inference.hmc import Sampler


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file with a sampler's chains and draws, and whose they are."""

    path: Path
    digest: str

    @classmethod
    def of(cls, path, X, y, precision, *settings) -> "Checkpoint":
        """That of one call: `digest` is of its data and settings."""
        digest = hashlib.sha256(repr((X.shape, settings)).encode())
        for part in (y, precision, *(X[i : i + 4096] for i in range(0, len(y), 4096))):
            digest.update(np.ascontiguousarray(part).tobytes())
        return cls(Path(path), digest.hexdigest())

    def save(self, sampler: "Sampler") -> None:
        """Replace the file, or leave it as it was."""
        names = ("z", "acceptance", "energy")
        traces = (
            np.ascontiguousarray(np.concatenate(part))
            for part in zip(*sampler.trace, strict=True)
        )
        about = {
            "digest": self.digest,
            "block": sampler.block,
            "steps": sampler.steps,
            "discarded": sampler.discarded,
            "pilots": [[pilot.steps, pilot.acceptance] for pilot in sampler.pilots],
        }
        arrays = dict(zip(names, traces, strict=True)) | {"now": np.asarray(sampler.z)}
        with atomic_path(self.path) as fresh:
            save_file(arrays, fresh, metadata={"about": json.dumps(about)})

    def resume(self, sampler: "Sampler") -> bool:
        """Put the sampler where the file says; say whether there was one."""
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, "numpy") as stored:
                about = json.loads(stored.metadata()["about"])
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint is {str(self.path)!r}, which is damaged") from error
        if about["digest"] != self.digest:
            raise ValueError(
                f"checkpoint is {str(self.path)!r}, of a call with other data or settings"
            )
        sampler.z, sampler.block, sampler.steps = arrays["now"], about["block"], about["steps"]
        sampler.discarded = about["discarded"]
        sampler.pilots = [Pilot(*pilot) for pilot in about["pilots"]]
        sampler.trace = [[arrays[name] for name in ("z", "acceptance", "energy")]]
        return True
