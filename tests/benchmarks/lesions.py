"""Record lesions of SmolLM2, of an ensemble and of a chain.

    python tests/benchmarks/lesions.py --output book/results/recorded/lesions.json

Statements and layer are those of the book; a seed is a new split and new false statements.
*quick* takes a minute, *book* five seeds and some CPU-minutes per seed. Each lesion, or group
of them, is kept as a part, so an interrupted run continues where it was; the output is written
after each seed. The chapter on networks as ensembles judges the file, and measures some of it
anew.
"""

from recording import begin, options, tell, write


def main():
    parser = options(__doc__, ("quick", "book"))
    parser.add_argument("--seeds", nargs="+", type=int, help="the profile's by default")
    args = parser.parse_args()
    about, parts = begin(args, "lesions.py", "torch", "transformers", "transformer-lens")

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import lesions

    size, model = lesions.SIZES[args.profile], load_model()
    about |= {"size": vars(size), "entries": []}
    for seed in args.seeds or study.seeds():

        def tell_of(line, seed=seed):
            tell(f"seed {seed}, {line}")

        about["entries"].append(lesions.measure(model, seed, size, parts, tell_of))
        write(args.output, about)


if __name__ == "__main__":
    main()
