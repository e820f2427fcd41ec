"""Record lesions of SmolLM2, of an ensemble and of a chain.

    python tests/benchmarks/lesions.py --output book/results/recorded/lesions.json

Statements and layer are those of the book; a seed is a new split and new false statements.
*quick* takes a minute, *book* five seeds and some CPU-minutes per seed. Each lesion, or group
of them, is kept as a part, so an interrupted run continues where it was; the output is written
after each seed. The chapter on networks as ensembles judges the file, and measures some of it
anew.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from elkutils.files import atomic_path, cache_dir


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("quick", "book"), default="book")
    parser.add_argument("--seeds", nargs="+", type=int, help="the profile's by default")
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    os.environ["ELKUTILS_PROFILE"] = args.profile

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import lesions, timings

    size = lesions.SIZES[args.profile]
    parts = args.parts or cache_dir() / "lesions"
    command = f"python tests/benchmarks/lesions.py --profile {args.profile}"
    about = timings.provenance(command, "torch", "transformers", "transformer-lens")
    about |= {"size": vars(size), "entries": []}
    model = load_model()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds or study.seeds():

        def tell(line, seed=seed):
            print(f"seed {seed}, {line}", file=sys.stderr, flush=True)

        about["entries"].append(lesions.measure(model, seed, size, parts, tell))
        with atomic_path(args.output) as fresh:
            fresh.write_text(json.dumps(about, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
