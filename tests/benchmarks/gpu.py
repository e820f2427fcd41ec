"""The benchmarks and the full profile of tiny heads on a CUDA device, in under ten minutes.

    python tests/benchmarks/gpu.py --limits 170 130 280

Each part has a time limit in seconds, in the order of the parts; one that reaches it is ended,
and what it had written stays. They write where the book reads, or into `--folder`. No network
is needed. JAX takes what the environment's JAX_PLATFORMS names, by default CUDA alone, so that
nothing is recorded as a GPU's that was not one's. With `--quick` sizes are tiny, to try it all
without a device: ``JAX_PLATFORMS=cpu python tests/benchmarks/gpu.py --quick --folder trial``.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POINTS = "1000x64", "1000x576", "10000x576", "50000x2048"
RECORDED = Path("book/results/recorded")
FILES = {
    "posterior": Path("elkutils/study/times/gpu.json"),
    "networks": RECORDED / "networks-gpu.json",
    "tiny_heads": RECORDED / "tiny-heads-gpu.json",
}
FULL = {
    "posterior": ("--points", *POINTS, "--patience", "10"),
    "networks": ("--patience", "10", "--warmup", "200"),
    "tiny_heads": ("--profile", "full"),
}
QUICK = {
    "posterior": ("--points", "100x8", "--patience", "5"),
    "networks": ("--patience", "1", "--warmup", "10", "--width", "8", "--data", "synthetic"),
    "tiny_heads": ("--profile", "quick"),
}


def run(command: list[str], limit: float, output: Path) -> str:
    """Run a command until its limit in seconds; return how it ended, "" if well."""
    environment = {"JAX_PLATFORMS": "cuda", **os.environ}
    places = str(ROOT), environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    before = output.stat().st_mtime_ns if output.exists() else None
    try:
        status = subprocess.run(command, env=environment, timeout=limit).returncode
    except subprocess.TimeoutExpired:
        if output.exists() and output.stat().st_mtime_ns != before:
            return f"was ended after {limit:g} s; {output} has what was done by then"
        return f"was ended after {limit:g} s and has written nothing"
    return f"failed with status {status}" if status else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--limits", nargs=len(FILES), type=float, default=[170, 130, 280])
    parser.add_argument("--folder", type=Path, help="for all files, instead of the book's")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    args = parser.parse_args()
    limits = dict(zip(FILES, args.limits, strict=True))
    ended = {}
    for part in args.parts:
        output = args.folder / f"{part}.json" if args.folder else ROOT / FILES[part]
        output.parent.mkdir(parents=True, exist_ok=True)
        options = (QUICK if args.quick else FULL)[part]
        command = [sys.executable, HERE / f"{part}.py", *options, "--output", output]
        begun = time.perf_counter()
        ended[part] = run([*map(str, command)], limits[part], output)
        taken = time.perf_counter() - begun
        print(f"{part}: {ended[part] or 'done'} ({taken:.0f} s)", file=sys.stderr, flush=True)
    sys.exit(1 if any(ended.values()) else 0)


if __name__ == "__main__":
    main()
