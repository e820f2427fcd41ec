r"""Record what learning theory predicts: odds of regions, members, Boolean functions.

    python tests/benchmarks/learning_theory.py \
        --output book/results/recorded/learning-theory.json

What is computed is kept in parts, so an interrupted run continues where it was. *quick* takes
seconds, *book* about ten CPU-minutes. The chapter on learning theory judges the file, and
computes some of it anew.
"""

import dataclasses

from recording import begin, options, tell, write


def main():
    args = options(__doc__, ("quick", "book")).parse_args()
    about, folder = begin(args, "learning_theory.py")

    from elkutils.study import learning_theory

    size = learning_theory.SIZES[args.profile]
    about |= {"size": dataclasses.asdict(size)}
    about |= learning_theory.measure(size, folder, tell)
    write(args.output, about)


if __name__ == "__main__":
    main()
