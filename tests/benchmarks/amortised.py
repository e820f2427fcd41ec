"""Record how a learned posterior over rules compares with enumeration and with SMC.

    python tests/benchmarks/amortised.py --output book/results/recorded/amortised.json

Per seed a rule world on the vault, networks trained over label sets and for one, and SMC; then
networks trained on a posterior with a planted rare mode. *book* takes about five CPU-minutes.
Each piece is kept in a folder, so an interrupted run continues where it was; the output is
written after each piece. The chapter on learned posteriors judges the file and computes a part
of it anew.
"""

import argparse
import json
import sys
from pathlib import Path

from elkutils.files import atomic_path, cache_dir
from elkutils.study import amortised, timings

SEEDS = range(5, 13)  # trials saw 0 to 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=tuple(amortised.SIZES), default="book")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    size = amortised.SIZES[args.profile]
    parts = args.parts or cache_dir() / "amortised"
    about = timings.provenance(f"python tests/benchmarks/amortised.py --profile {args.profile}")
    about |= {"size": vars(size), "seeds": args.seeds, "entries": [], "misses": []}
    args.output.parent.mkdir(parents=True, exist_ok=True)

    def keep(name, where, compute):
        key = {"profile": args.profile, "size": vars(size), "name": name}
        path = parts / f"{args.profile}-{name.replace(' ', '-').replace(',', '')}.json"
        about[where].append(amortised.kept(path, key, compute))
        with atomic_path(args.output) as fresh:
            fresh.write_text(json.dumps(about, separators=(",", ":")) + "\n")
        print(f"{name}: done", file=sys.stderr, flush=True)

    for seed in args.seeds:

        def tell(line, seed=seed):
            print(f"seed {seed}, {line}", file=sys.stderr, flush=True)

        keep(f"seed {seed}", "entries", lambda s=seed: amortised.measure(s, size, tell))
    first = 1000 * args.seeds[0]
    for recipe in amortised.RECIPES:
        seeds = range(first, first + size.networks)
        keep(
            f"mode {recipe}",
            "misses",
            lambda r=recipe, s=seeds: amortised.silent_misses(r, s, size),
        )


if __name__ == "__main__":
    main()
