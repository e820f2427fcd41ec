"""Record estimates of learning coefficients: known models, SGLD's settings, real heads.

    python tests/benchmarks/learning_coefficient.py \
        --output book/results/recorded/learning-coefficient.json

What is computed is kept in parts, so an interrupted run continues where it was. *quick* takes
seconds, *book* some CPU-minutes. The chapter on learning theory judges the file, and computes
some of it anew.
"""

import dataclasses

from recording import begin, options, tell, write


def main():
    args = options(__doc__, ("quick", "book")).parse_args()
    about, folder = begin(args, "learning_coefficient.py")

    from elkutils.models import load_model
    from elkutils.study import learning_coefficients

    size = learning_coefficients.SIZES[args.profile]
    about |= {"size": dataclasses.asdict(size)}
    about |= learning_coefficients.measure(load_model(), size, folder, tell)
    write(args.output, about)


if __name__ == "__main__":
    main()
