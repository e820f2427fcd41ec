"""Posteriors of more rows than memory: time and memory against n, rows read from a memory map.

    python tests/benchmarks/streaming.py --rows 62500 250000 1000000 --features 576

The rows are made block by block on disk (in `--folder`, removed afterwards), float32, with the
labels of a logistic reporter. Each n has its own process, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import expit

BLOCK = 20_000


def write(path, n, d):
    """Make X (n, d) on disk, and return y (n,)."""
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    scales = np.arange(1, d + 1, dtype=np.float32) ** -0.5
    weights = rng.standard_normal(d) * 3 / np.sqrt(d)
    y = np.empty(n)
    for start in range(0, n, BLOCK):
        part = rng.standard_normal((min(BLOCK, n - start), d), dtype=np.float32) * scales
        X[start : start + len(part)] = part
        y[start : start + len(part)] = rng.random(len(part)) < expit(part @ weights)
    X.flush()
    return y


def run(path, y, memory, draws, chains):
    """Draw with the rows on disk; return what it took."""
    from elkutils.inference.diagnostics import diagnose
    from elkutils.inference.logistic import hmc

    X = np.load(path, mmap_mode="r")
    prior = np.append(np.full(X.shape[1], X.shape[1] / 9), 0.0)
    begun = time.perf_counter()
    found = hmc.sample(X, y, prior, draws, chains, seed=0, memory=memory, progress=True)
    taken = time.perf_counter() - begun
    worst = diagnose(found.theta).worst
    anonymous = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    return {
        "n": len(y),
        "seconds": taken,
        **found.details["seconds"],
        "passes": found.details["fit"].passes,
        "steps": found.details["steps"],
        "ess": worst["ess"],
        "rhat": worst["rhat"],
        "megabytes_of_rows": X.nbytes / 1e6,
        "megabytes_held": anonymous / 1e3,
        "megabytes_peak_with_mapped_pages": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / 1e3,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[62_500, 250_000, 1_000_000])
    parser.add_argument("--features", type=int, default=576)
    parser.add_argument("--memory", type=int, default=256, help="megabytes for rows")
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="where there is room for the rows")
    args = parser.parse_args()
    if len(args.rows) > 1:
        for n in args.rows:
            again = [sys.executable, __file__, *sys.argv[1:], "--rows", str(n)]
            subprocess.run(again, check=True)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "X.npy"
        y = write(path, args.rows[0], args.features)
        found = run(path, y, args.memory * 10**6, args.draws, args.chains)
        print(json.dumps({key: round(value, 3) for key, value in found.items()}))


if __name__ == "__main__":
    main()
