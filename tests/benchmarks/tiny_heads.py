"""Record the posterior of tiny heads, its rivals and its checks.

    python tests/benchmarks/tiny_heads.py --output book/results/recorded/tiny-heads.json

Statements, layer and scaling are those of the book; a seed is a new split and new false
statements. *quick* takes seconds, *book* five seeds and some CPU-minutes per seed, *full* ten
seeds, and a transformer as wide, for a GPU. What takes long is kept in parts, so an interrupted
run continues where it was; the output is written after each seed. The chapter on tiny heads
judges the file, and draws some of it anew.
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
    parser.add_argument("--seeds", nargs="+", type=int, help="the profile's by default")
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    os.environ["ELKUTILS_PROFILE"] = args.profile

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import timings, tiny_heads

    size = tiny_heads.SIZES[args.profile]
    parts = args.parts or cache_dir() / "tiny-heads"
    command = f"python tests/benchmarks/tiny_heads.py --profile {args.profile}"
    about = timings.provenance(command)
    about["size"] = vars(size)
    model = load_model()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    seeds, entries = list(args.seeds or study.seeds()), {}
    turns = [(seed, False) for seed in seeds] + [(seed, True) for seed in seeds[: size.sweeps]]
    for seed, sweep in turns:

        def tell(line, seed=seed):
            print(f"seed {seed}, {line}", file=sys.stderr, flush=True)

        sets = tiny_heads.read(model, seed)
        entries[seed] = tiny_heads.measure(sets, seed, size, parts, sweep, tell)
        about["entries"] = list(entries.values())
        write(about, args.output)
    first = tiny_heads.read_sequences(model, seeds[0])
    heads, inputs = tiny_heads.TRANSFORMERS[args.profile], model.cfg.d_model
    about["transformer"] = tiny_heads.measure_transformer(
        first, seeds[0], inputs, heads, parts, lambda line: print(f"transformer, {line}")
    )
    write(about, args.output)


def write(about, output):
    with atomic_path(output) as fresh:
        fresh.write_text(json.dumps(about, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
