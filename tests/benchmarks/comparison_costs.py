"""Record what it costs a tuned ensemble to come near a posterior's log score.

    python tests/benchmarks/comparison_costs.py --output FILE

FILE is book/results/recorded/comparison-costs.json for the chapter on the comparison.
Statements, layer and scaling are those of the book; a seed is a new split and new false
statements. Times are CPU seconds; every seed runs twice and the second time counts, so that
no compilation does. Each seed's ladders are kept in parts, so an interrupted run continues
where it was.
"""

from recording import begin, options, tell, write


def main():
    parser = options(__doc__, ("quick", "book", "full"))
    parser.add_argument("--heads", nargs="+", default=["linear", "wide"])
    args = parser.parse_args()
    about, folder = begin(args, "comparison_costs.py")

    from elkutils import study
    from elkutils.models import load_model
    from elkutils.study import costs, tiny_heads

    size, seeds = costs.SIZES[args.profile], list(study.seeds())
    about["size"] = vars(size)
    model, entries = load_model(), {seed: {"seed": seed} for seed in seeds}
    for head in args.heads:
        for seed in seeds:
            sets = tiny_heads.read(model, seed)
            entries[seed] |= record(head, sets, seed, size, folder)
            about["entries"] = [each for each in entries.values() if "digest" in each]
            write(args.output, about)


def record(head, sets, seed, size, folder):
    from elkutils.study import costs, tiny_heads

    def climb():
        getattr(costs, head)(sets, seed, size)  # compiles
        return getattr(costs, head)(sets, seed, size)

    digest = tiny_heads.digest_of(sets, seed, size)
    found = tiny_heads.Parts(folder, digest, lambda line: tell(f"seed {seed}, {line}"))(
        head, climb
    )
    names = (costs.POSTERIOR, costs.LIMIT, costs.ENSEMBLE)
    rungs = {name: found[name].round(4).tolist() for name in names if name in found}
    return {head: rungs, "digest": digest}


if __name__ == "__main__":
    main()
