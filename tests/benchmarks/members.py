"""Record how much the members of bags differ: heads on SmolLM2, and the vault's networks.

    python tests/benchmarks/members.py --output book/results/recorded/members.json

Parts: ten seeds of statements, each with every bag of `elkutils.study.members` but those of
large heads; ten predictors of the vault; two other seeds with draws of all weights of the
linearised language model; three more with large heads, first wide perceptrons, then
transformers; the spread of AUROCs by place, and the controls of its rule. Every bag is kept
when it is done, so an interrupted run continues where it was. *quick* takes some minutes,
*book* half a CPU-hour. The chapter on networks as ensembles judges the file, and
computes bags anew.
"""

from recording import begin, options, tell, write


def main():
    args = options(__doc__, ("quick", "book")).parse_args()
    packages = "torch", "transformers", "transformer-lens", "numpyro"
    about, folder = begin(args, "members.py", *packages)

    from elkutils.models import load_model
    from elkutils.study import members

    size = members.SIZES[args.profile]
    about |= {"size": vars(size), "seeds": [], "predictors": []}
    about |= {"linearised": [], "wide": [], "tokens": []}

    def keep(name, found):
        about[name] = found
        write(args.output, about)

    model, bags = load_model(), {}
    rows = members.read(model, size.seeds, size)
    for seed in size.seeds:
        entry, bags[seed] = members.measure(rows[seed], seed, folder, tell)
        keep("seeds", [*about["seeds"], entry])
    for predictor in range(size.predictors):
        entry = members.measure_vault(predictor, folder, tell)
        keep("predictors", [*about["predictors"], entry])
    for seed in size.linearised:
        entry = members.measure_linearised(seed, folder, tell)
        keep("linearised", [*about["linearised"], entry])
    last, tokens = members.read_tokens(model, size.large, size)
    for part, given, names in (
        ("wide", last, members.WIDE_ONES),
        ("tokens", tokens, members.OF_TOKENS),
    ):
        for seed in size.large:
            entry, found = members.measure(given[seed], seed, folder, tell, names)
            bags[seed] = bags.get(seed, {}) | found
            keep(part, [*about[part], entry])
    keep("spreads", members.measure_spreads(bags, tell))
    keep("spread controls", members.measure_spread_controls(bags))


if __name__ == "__main__":
    main()
