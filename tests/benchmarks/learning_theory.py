r"""Record what learning theory predicts: odds of regions, members, Boolean functions.

    python tests/benchmarks/learning_theory.py \
        --output book/results/recorded/learning-theory.json

What is computed is kept in parts, so an interrupted run continues where it was. *quick* takes
seconds, *book* about ten CPU-minutes. The chapter on learning theory judges the file, and
computes some of it anew.
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

    from elkutils.study import learning_theory, timings

    size = learning_theory.SIZES[args.profile]
    command = f"python tests/benchmarks/learning_theory.py --profile {args.profile}"
    about = timings.provenance(command) | {"size": dataclasses.asdict(size)}
    folder = args.parts or cache_dir() / "learning-theory"
    about |= learning_theory.measure(
        size, folder, lambda line: print(line, file=sys.stderr, flush=True)
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output) as fresh:
        fresh.write_text(json.dumps(about, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
