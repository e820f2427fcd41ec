"""What the scripts that record a run share: options, provenance, progress, and writing.

A run of *parts* keeps what takes long in a folder, and its output is written anew as it grows.
A run of *pieces* keeps every piece in the output, by part and name, and continues there.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def options(doc: str, profiles: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser with ``--output``; with profiles also ``--profile`` and ``--parts``."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    if profiles:
        parser.add_argument("--profile", choices=profiles, default="book")
        parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    return parser


def begin(args: argparse.Namespace, script: str, *packages: str) -> tuple[dict, Path]:
    """Set the profile, and return the record's provenance and the folder of its parts.

    Parameters
    ----------
    args : argparse.Namespace
        Of a parser from `options` with profiles.
    script : str
        The name of a file in this folder.
    *packages : str
        As `elkutils.study.timings.provenance` takes them.
    """
    from elkutils.files import cache_dir
    from elkutils.study import timings

    os.environ["ELKUTILS_PROFILE"] = args.profile
    command = f"python tests/benchmarks/{script} --profile {args.profile}"
    folder = args.parts or cache_dir() / Path(script).stem.replace("_", "-")
    return timings.provenance(command, *packages), folder


def resumed(path: Path, about: dict, parts: Sequence[str]) -> dict:
    """Return the record of pieces so far, or one of empty parts.

    Raises
    ------
    SystemExit
        If the record was made with other versions, settings or another machine.
    """
    if path.exists():
        before = json.loads(path.read_text())
        changed = [name for name in about if before.get(name) != about[name]]
        if changed:
            raise SystemExit(f"{path} was made with another {', '.join(changed)}: move it away")
        about = before
    return {part: {} for part in parts} | about


def write(path: Path, record: dict) -> None:
    """Write a record in one line, whole or not at all."""
    from elkutils.files import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as fresh:
        fresh.write_text(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")


def tell(line: str) -> None:
    """Show how far a run is."""
    print(line, file=sys.stderr, flush=True)
