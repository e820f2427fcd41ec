"""Record what it costs a tuned ensemble to come near a posterior's log score.

    python tests/benchmarks/comparison_costs.py --output FILE

FILE is book/results/recorded/comparison-costs.json for the chapter on the comparison.
Statements, layer and scaling are those of the book; a seed is a new split and new false
statements. Times are CPU seconds; every seed runs twice and the second time counts, so that
no compilation does. Each seed's ladders are kept in parts, so an interrupted run continues
where it was.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from elkutils.files import atomic_path, cache_dir


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("quick", "book", "full"), default="book")
    parser.add_argument("--heads", nargs="+", default=["linear", "wide"])
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    os.environ["ELKUTILS_PROFILE"] = args.profile

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import costs, timings, tiny_heads

    size, seeds = costs.SIZES[args.profile], list(study.seeds())
    folder = args.parts or cache_dir() / "comparison-costs"
    command = "python tests/benchmarks/comparison_costs.py --profile"
    about = timings.provenance(f"{command} {args.profile}")
    about["size"] = vars(size)
    model, entries = load_model(), {seed: {"seed": seed} for seed in seeds}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for head in args.heads:
        for seed in seeds:
            sets = tiny_heads.read(model, seed)
            entries[seed] |= record(head, sets, seed, size, folder)
            about["entries"] = [each for each in entries.values() if "digest" in each]
            with atomic_path(args.output) as fresh:
                fresh.write_text(json.dumps(about, separators=(",", ":")) + "\n")


def record(head, sets, seed, size, folder):
    from elkutils.study import costs, tiny_heads

    def climb():
        getattr(costs, head)(sets, seed, size)  # compiles
        return getattr(costs, head)(sets, seed, size)

    def tell(line):
        print(f"seed {seed}, {line}", file=sys.stderr, flush=True)

    digest = tiny_heads.digest_of(sets, seed, size)
    found = tiny_heads.Parts(folder, digest, tell)(head, climb)
    names = (costs.POSTERIOR, costs.LIMIT, costs.ENSEMBLE)
    rungs = {name: found[name].round(4).tolist() for name in names if name in found}
    return {head: rungs, "digest": digest}


if __name__ == "__main__":
    main()
