"""Record estimates of learning coefficients: known models, SGLD's settings, real heads.

    python tests/benchmarks/learning_coefficient.py \
        --output book/results/recorded/learning-coefficient.json

What is computed is kept in parts, so an interrupted run continues where it was. *quick* takes
seconds, *book* some CPU-minutes. The chapter on learning theory judges the file, and computes
some of it anew.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from elkutils.files import atomic_path, cache_dir


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("quick", "book"), default="book")
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    os.environ["ELKUTILS_PROFILE"] = args.profile

    from elkutils.models import load_model
    from elkutils.study import learning_coefficients, timings

    size = learning_coefficients.SIZES[args.profile]
    command = f"python tests/benchmarks/learning_coefficient.py --profile {args.profile}"
    about = timings.provenance(command) | {"size": dataclasses.asdict(size)}
    folder = args.parts or cache_dir() / "learning-coefficient"
    about |= learning_coefficients.measure(
        load_model(), size, folder, lambda line: print(line, file=sys.stderr, flush=True)
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output) as fresh:
        fresh.write_text(json.dumps(about, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
