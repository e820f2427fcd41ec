"""Record how the time of one posterior grows with statements and features.

    python tests/benchmarks/growth.py --output book/results/recorded/growth.json

Data are those of `posterior.py`: z-scored features with a power-law spectrum, like activations,
and labels from a logistic reporter. All sizes are timed in turn, `--repeats` times over, so
that the scatter holds what changes on the machine in the meantime. A time is the CPU seconds of
one fit of `BayesianLogistic`, compilation apart, its draws scaled to 400 effective ones of the
worst coordinate. The chapter on Bayesian logistic regression shows the file and times its
smallest sizes anew.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

SIZES = [f"{n}x{d}" for d in (512, 1024, 2048) for n in (1000, 2000, 4000)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="as 1000x512")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    from elkutils.study.timings import cpu_seconds, provenance, synthetic_activations

    about = provenance("python tests/benchmarks/growth.py")
    about |= {"protocol": f"all sizes in turn, {args.repeats} times over", "seed": 0}
    rows = {}
    for repeat in range(args.repeats):
        for size in args.sizes:
            n, d = (int(part) for part in size.split("x"))
            X, y, prior_scale = synthetic_activations(n, d)
            digest = hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest()[:16]
            row = rows.setdefault(size, {"n": n, "d": d, "seconds": [], "digest": digest})
            row["seconds"] += cpu_seconds(X, y, prior_scale, repeats=1, seed=2 * repeat)
            print(repeat, size, np.round(row["seconds"], 2), file=sys.stderr, flush=True)
    about["rows"] = list(rows.values())
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
