"""Record how a learned posterior over rules compares with enumeration and with SMC.

    python tests/benchmarks/amortised.py --output book/results/recorded/amortised.json

Per seed a rule world on the vault, networks trained over label sets and for one, and SMC; then
networks trained on a posterior with a planted rare mode. *book* takes about five CPU-minutes.
Each piece is kept in a folder, so an interrupted run continues where it was; the output is
written after each piece. The chapter on learned posteriors judges the file and computes a part
of it anew.
"""

from recording import begin, options, tell, write

from elkutils.study import amortised

SEEDS = range(5, 13)  # trials saw 0 to 4


def main():
    parser = options(__doc__, tuple(amortised.SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    args = parser.parse_args()
    size = amortised.SIZES[args.profile]
    about, parts = begin(args, "amortised.py")
    about |= {"size": vars(size), "seeds": args.seeds, "entries": [], "misses": []}

    def keep(name, where, compute):
        key = {"profile": args.profile, "size": vars(size), "name": name}
        path = parts / f"{args.profile}-{name.replace(' ', '-').replace(',', '')}.json"
        about[where].append(amortised.kept(path, key, compute))
        write(args.output, about)
        tell(f"{name}: done")

    for seed in args.seeds:

        def tell_of(line, seed=seed):
            tell(f"seed {seed}, {line}")

        keep(f"seed {seed}", "entries", lambda s=seed: amortised.measure(s, size, tell_of))
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
