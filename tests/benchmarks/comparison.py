"""Record how posteriors, ensembles and points score on the same tasks.

    python tests/benchmarks/comparison.py --output book/results/recorded/comparison.json

Parts: `linear`, every method with a linear head, by set, unit and number of labels; `choices`,
other layers and prior scales on cities; `process`, a Gaussian process with 20 labels and all;
`networks`, heads with a hidden layer, and SGHMC on a linear one, on three units of each set,
with 20 labels, 100 and all; `acting`, three methods on fresh units, which these do not see;
`hidden`, posterior and tuned bag with a hidden layer on forty fresh units of each set, of which
ten have both widths; `deeper`, these with 32 hidden units, beside the methods of `acting`, on
units that nothing else sees, those of cities in `pool`; `few`, the same with 20, 50 and 100
labels; `wide`, posterior and tuned bag with 512 hidden units on some of them; `larger`, both
widths on units of cities that are asked about six hundred; `wider`, 512 hidden units on units
of their own, with every bag of equal cost that the members make; `priced` and `scarce`, these
on others, with all labels and with few. Up to `wider` the bag of equal cost was paid for by
what drawing the posterior costs, and later by the choice of its prior scale, too. The output is
written after every unit of a part, so an interrupted call continues with the pieces that are
missing. One thread; some sixteen hours of a CPU core. The chapter on ensembling judges the
file, and computes a piece anew.
"""

import hashlib
import time
from functools import partial
from pathlib import Path

import numpy as np
from recording import options, resumed, tell, write

PARTS = (
    *("linear", "choices", "process", "networks", "acting", "hidden"),
    *("pool", "deeper", "few", "wide", "larger", "wider", "priced", "scarce"),
)
SIZES = {  # numbers of labels, by part
    "linear": ("20", "50", "100", "all"),
    "process": ("20", "all"),
    "networks": ("all", "20", "100"),
    "acting": ("all",),
    "hidden": ("all",),
    "pool": ("all",),
    "deeper": ("all",),
    "few": ("20", "50", "100"),
    "wide": ("all",),
    "larger": ("all",),
    "wider": ("all",),
    "priced": ("all",),
    "scarce": ("20", "50", "100"),
}
FRESH = PARTS[4:]  # parts that have units of their own
WIDE = "wide", "wider", "priced", "scarce"  # parts with 512 hidden units alone


def main():
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these, in a trial")
    args = parser.parse_args()

    from elkutils.models import load_model
    from elkutils.study import comparison_sets as sets

    record, model = begun(args.output), load_model()
    trial = [(seed, 0) for seed in args.seeds or ()]
    names = args.sets or list(sets.UNITS)
    units = {name: trial or sets.UNITS[name] for name in names}
    for name, unit, part in turns(args.parts, units, sets.FRESH):
        seeds = args.seeds or sets.SEEDS
        for key, make in pieces(model, name, unit, part, seeds, record):
            if key not in record[part]:
                since = time.process_time()
                record[part][key] = make()
                tell(f"{part} {key} {time.process_time() - since:.1f} CPU s")
        write(args.output, record)


def turns(parts, units, fresh):
    """Each set, unit and part, the first units of all sets first."""
    from elkutils.study import comparison_sets as sets

    known = units, fresh, sets.DEEPER, sets.WIDER, sets.LATEST
    priced = {name: sets.LATEST[name][:count] for name, count in sets.PRICED.items()}
    scarce = {
        name: sets.LATEST[name][: max(counts.values())] for name, counts in sets.SCARCE.items()
    }
    most = max(len(some) for each in known for some in each.values())
    judged = {
        part: {name: sets.DEEPER[name][:count] for name, count in counts.items()}
        for part, counts in sets.TAUGHT.items()
    }
    judged |= {"larger": sets.LARGER, "wider": sets.WIDER}
    judged |= {"priced": priced, "scarce": scarce}
    for part in parts:
        for turn in range(most):
            for name, every in units.items():
                some = fresh[name] if part in FRESH else every
                if part == "networks":
                    half = max(1, len(every) // 2)
                    some = [*every[::half][:2], *every[half // 2 :: half][:1]]
                    some = list(dict.fromkeys(some))
                if part == "hidden":
                    both, narrow = sets.hidden_units(name)
                    some = [*both, *narrow]
                if part in judged:
                    some = judged[part].get(name, [])
                if part == "choices":
                    some = sorted(every, key=lambda u: u[::-1]) if name == "cities" else []
                if turn < len(some):
                    yield name, some[turn], part


def pieces(model, name, unit, part, seeds, record):
    """Names of the pieces of a unit, and what computes them."""
    from elkutils.study import comparison
    from elkutils.study import comparison_methods as methods
    from elkutils.study import comparison_sets as sets

    label, seed = f"{unit[0]}.{unit[1]}", int(100 * unit[0] + unit[1])
    if part == "choices":
        yield label, lambda: comparison.choices(model, *map(int, unit), seeds)
        return
    if part in FRESH:
        found = sets.fresh_lesson(model, name, *map(int, unit))
    else:
        found = sets.lesson(model, name, *map(int, unit), seeds=seeds)
    about, groups = comparison.about_rows(found)
    if record["rows"].setdefault(f"{name}/{label}", about) != about:
        raise SystemExit(f"{name}/{label} was recorded with other rows; start a new file")
    record["groups"].update(groups)
    record["digests"].setdefault(f"{name}/{label}", digest(found))
    ways = {"": getattr(methods, part, None)}
    layered = {
        "networks": methods.hidden,
        "hidden": methods.pair,
        "pool": methods.pair_and_linear,
        "deeper": methods.pair_and_linear,
        "few": methods.pair_and_linear,
        "wide": methods.pair,
        "larger": methods.pair,
        "wider": methods.pair_and_platt,
        "priced": methods.pair_and_platt,
        "scarce": methods.pair_and_platt,
    }
    if way := layered.get(part):
        narrow = part in ("pool", "deeper", "few") or (
            part == "hidden" and tuple(unit) in map(tuple, sets.hidden_units(name)[1])
        )
        widths = methods.WIDTHS[part in WIDE :][: 1 if narrow else None]
        ways = {f"/{width}": partial(way, width=width) for width in widths}
        if part == "larger":
            ways["/32"] = partial(methods.pair_and_linear, width=32)
    if part == "networks":
        ways["/SGHMC"] = methods.stochastic
    sizes = [n for n in SIZES[part] if n in found.sizes()]
    if part == "scarce":
        place = sets.LATEST[name].index(unit)
        sizes = [n for n, count in sets.SCARCE[name].items() if place < count]
    for n in sizes:
        for ending, way in ways.items():
            yield (
                f"{name}/{label}/{n}{ending}",
                lambda way=way, n=n: comparison.measure(found, n, seed, way),
            )


def digest(found) -> str:
    """Of the features and labels of a unit."""
    made = hashlib.sha256()
    for X, y, _ in (found.train, *found.asked.values()):
        made.update(np.round(np.asarray(X, np.float64), 2).tobytes() + y.tobytes())
    return made.hexdigest()[:16]


def begun(path: Path) -> dict:
    """The record so far, or an empty one."""
    from elkutils.study import comparison_methods as methods
    from elkutils.study import comparison_sets as sets
    from elkutils.study import timings

    about = timings.provenance("python tests/benchmarks/comparison.py", "scikit-learn") | {
        "layer": sets.LAYER,
        "layers": list(sets.LAYERS),
        "members": methods.MEMBERS,
        "draws": methods.CHAINS * methods.DRAWS,
    }
    return resumed(path, about, ("rows", "groups", "digests", *PARTS))


if __name__ == "__main__":
    main()
