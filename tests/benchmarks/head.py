"""Record how a head's posterior compares with that of the whole network.

    python tests/benchmarks/head.py --output book/results/recorded/head.json

Parts: `vault`, the linearised networks of ten predictors (about a CPU minute each); `random`,
the same of untrained predictors, a control; `language`, the linearised language model, by
seeds (some CPU minutes each); `hmc`, HMC over all weights of a predictor at a width (some CPU
minutes each); `bags`, a head's posterior against bags of bases, in sixty settings (seconds
each). Every piece is written when it is done, and a call with the same settings
continues with the pieces that are missing; `hmc` also continues inside a piece. The chapter on
heads reads the file and computes a piece anew.
"""

import hashlib
import time
from pathlib import Path

from recording import options, resumed, tell, write

PARTS = "vault", "random", "bags", "language", "hmc"
COMPARED = 3  # predictors whose HMC is compared with a linearised posterior, for a minute each


def main():
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--predictors", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--hmc-predictors", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--hmc-scales", type=float, nargs="+", default=[0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    args = parser.parse_args()
    from elkutils.study.head_enough import many_settings

    record = begun(args.output)
    work = {
        "vault": [(f"{p}", lambda p=p: vault(p, True)) for p in args.predictors],
        "random": [(f"{p}", lambda p=p: vault(p, False)) for p in args.predictors[:3]],
        "bags": [
            (f"{labels}/{step}/{place}", lambda at=(labels, step, place): bags(*at))
            for labels, step, place in many_settings()
        ],
        "language": [(f"{s}", lambda s=s: language(s)) for s in args.seeds],
        "hmc": [
            (f"{p}/{s:g}", lambda p=p, s=s: by_hmc(p, s, args.output))
            for s in args.hmc_scales
            for p in args.hmc_predictors
        ],
    }
    for part in args.parts:
        for name, make in work[part]:
            if name in record[part]:
                continue
            since = time.process_time()
            found = make()
            record[part][name] = found | {"cpu seconds": round(time.process_time() - since)}
            write(args.output, rounded(record))
            tell(f"{part} {name} {record[part][name]['cpu seconds']} CPU s")


def begun(path: Path) -> dict:
    """The record so far, or an empty one."""
    from elkutils.study import head_enough, timings

    about = timings.provenance("python tests/benchmarks/head.py") | {
        "scales": list(head_enough.SCALES),
        "labels": head_enough.LABELS,
        "heads": head_enough.HEADS,
    }
    return resumed(path, about, PARTS)


def rounded(value):
    """Numbers to six digits, so that the file is small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def vault(predictor: int, trained: bool) -> dict:
    from elkutils.study import head_enough

    setting = head_enough.vault_setting(predictor, trained=trained)
    prior = head_enough.vault_prior(setting, progress=True)
    digest = hashlib.sha256(setting.X.tobytes() + setting.y.tobytes()).hexdigest()[:16]
    return head_enough.measure(setting, prior) | {"digest": digest}


def bags(labels: int, step: int, place: str) -> dict:
    from elkutils.study import head_enough

    return head_enough.against_bags(labels, step, place)


def language(seed: int) -> dict:
    from elkutils.study import head_enough

    return head_enough.language(seed, progress=True)


def by_hmc(predictor: int, s: float, output: Path) -> dict:
    from elkutils.study import head_enough

    setting = head_enough.vault_setting(predictor).only("train", "easy", "hard")
    prior = None
    if predictor < COMPARED:
        prior = head_enough.vault_prior(setting.only("train", "hard"), progress=True)
    kept = output.with_name(f"{output.stem}-{predictor}-{s:g}.partial")
    return head_enough.by_hmc(setting, s, prior, checkpoint=kept, progress=True)


if __name__ == "__main__":
    main()
