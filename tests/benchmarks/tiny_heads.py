"""Record the posterior of tiny heads, its rivals and its checks.

    python tests/benchmarks/tiny_heads.py --output book/results/recorded/tiny-heads.json

Statements, layer and scaling are those of the book; a seed is a new split and new false
statements. *quick* takes seconds, *book* five seeds and some CPU-minutes per seed, *full* ten
seeds, and a transformer as wide, for a GPU. What takes long is kept in parts, so an interrupted
run continues where it was; the output is written after each seed. The chapter on tiny heads
judges the file, and draws some of it anew.
"""

from recording import begin, options, tell, write


def main():
    parser = options(__doc__, ("quick", "book", "full"))
    parser.add_argument("--seeds", nargs="+", type=int, help="the profile's by default")
    args = parser.parse_args()
    about, parts = begin(args, "tiny_heads.py")

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import tiny_heads

    size = tiny_heads.SIZES[args.profile]
    about["size"] = vars(size)
    model = load_model()
    seeds, entries = list(args.seeds or study.seeds()), {}
    turns = [(seed, False) for seed in seeds] + [(seed, True) for seed in seeds[: size.sweeps]]
    for seed, sweep in turns:

        def tell_of(line, seed=seed):
            tell(f"seed {seed}, {line}")

        sets = tiny_heads.read(model, seed)
        entries[seed] = tiny_heads.measure(sets, seed, size, parts, sweep, tell_of)
        about["entries"] = list(entries.values())
        write(args.output, about)
    first = tiny_heads.read_sequences(model, seeds[0])
    heads, inputs = tiny_heads.TRANSFORMERS[args.profile], model.cfg.d_model
    about["transformer"] = tiny_heads.measure_transformer(
        first, seeds[0], inputs, heads, parts, lambda line: tell(f"transformer, {line}")
    )
    write(args.output, about)


if __name__ == "__main__":
    main()
