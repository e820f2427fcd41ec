"""What reporters are compared on: training rows, and the places where they are asked.

A *set* is what reporters are trained on; one *unit* of it is a split with its own false
statements (or a predictor of the vault with its cases). All places of a set share its training
rows. A label of 1 means harm: a false statement, or a diamond that is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from elkutils import tasks
from elkutils.study import readings
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LAYER, LAYERS = 14, (12, 14, 16, 18)  # where reporters read, and what else might be chosen
PLACE = "MLP 2"  # of the vault's predictors
CITIES = 300  # of each size
MORE_CITIES = 600  # big ones, of which as many teach
MORE = 300  # cities of each size that the persona is asked beside its first 150
PLACES = {
    "cities": (
        "cities easy",
        "cities hard",
        "negation",
        "cities to elements",
        "cities to comparisons",
    ),
    "elements": ("elements easy", "elements hard"),
    "comparisons": ("comparisons easy", "comparisons hard"),
    "persona": ("Alice easy", "Bob hard"),
    "vault": ("vault easy", "vault hard"),
}
SEEDS = range(5, 9)  # of false statements; trials saw 0 to 4
UNITS = {
    "cities": [*product(SEEDS, range(10, 15))],
    "elements": [*product(readings.FIRST_SEED + np.arange(5), (10, 11))],
    "comparisons": [*product(readings.FIRST_SEED + np.arange(5), (10, 11))],
    "persona": [*product(range(5), (10, 11))],
    "vault": [*product(range(10), (10,))],
}
FRESH = {  # acting is judged on them; some teach heads with a hidden layer, which are shown
    "cities": [*product(range(30, 40), range(24, 28))],
    "elements": [*product(range(30, 50), range(24, 27))],
    "comparisons": [*product(range(40, 64), range(24, 27))],
    "persona": [*product(range(5), range(24, 32))],
    "vault": [*product(range(10), range(22, 26))],
}
BOTH, NARROW = 10, 30  # fresh units of a set that teach heads of both widths, and of 32 units
DEEPER = {  # heads with a hidden layer are judged on them; each unit has a split of its own
    "cities": [(70 + i // 2, 100 + i) for i in range(100)],
    "elements": [(70 + i // 2, 100 + i) for i in range(60)],
    "comparisons": [(70 + i, 100 + i) for i in range(90)],
    "persona": [(5 + i % 15, 100 + i) for i in range(120)],
    "vault": [(i % 10, 100 + i) for i in range(20)],
}
LARGER = {"cities": [(120 + i // 4, 300 + i) for i in range(20)]}  # asked about more cities
WIDER = {  # wide heads are judged on them
    "cities": [(130 + i // 4, 400 + i) for i in range(20)],
    "elements": [(200 + i // 2, 400 + i) for i in range(24)],
    "comparisons": [(200 + i, 400 + i) for i in (*range(30), *range(70, 100))],
    "persona": [(20 + i % 5, 400 + i) for i in range(60)],
    "vault": [(i % 10, 400 + i) for i in range(10)],
}
LATEST = {  # wide heads are judged on them with few labels, and on some at equal cost
    "cities": [(140 + i // 4, 500 + i) for i in range(70)],
    "elements": [(230 + i // 2, 500 + i) for i in range(24)],
    "comparisons": [(300 + i, 500 + i) for i in range(50)],
    "persona": [(30 + i % 5, 500 + i) for i in range(40)],
    "vault": [(i % 10, 500 + i) for i in range(10)],
}
PRICED = {"cities": 20, "elements": 24, "persona": 40, "vault": 10}  # at equal cost, the first
SCARCE = {  # how many of them by number of labels
    "cities": {"20": 70, "50": 12, "100": 12},
    "elements": {"20": 10, "50": 10},
    "comparisons": {"20": 20, "50": 50},
    "persona": {"20": 30, "50": 12, "100": 12},
    "vault": {"20": 10, "50": 10, "100": 10},
}
TAUGHT = {  # how many units of `DEEPER` teach, the first of each set, by part of the record
    "pool": {"cities": 100},
    "deeper": {"elements": 60, "comparisons": 60, "persona": 60, "vault": 20},
    "few": {"cities": 100, "elements": 60, "comparisons": 90, "persona": 120, "vault": 20},
    "wide": {"elements": 24, "comparisons": 40, "persona": 24, "vault": 10},
}
ADAPTERS = 5  # of the persona
# Groups that teach: of 40 or 75 pairs, of 300 or 600 cities, of 150 or 450 put to Alice.
TEACH = {"comparisons": 28, "cities": 210, "persona": 105}
ACTING = {  # where acting is judged: places that have a vote in claim C17a
    "cities": ("cities easy",),
    "elements": ("elements easy", "elements hard"),
    "comparisons": ("comparisons easy",),
    "persona": ("Alice easy", "Bob hard"),
    "vault": ("vault easy",),
}
SIZES = 20, 50, 100, None  # rows to train on; None is all of them
MOST = 0.8  # of all rows: a size above that is left out

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Lesson:
    """Rows to train on, and what is asked afterwards: (X, y, groups) each, X not scaled.

    Attributes
    ----------
    train : (X (n, d), y (n,), groups (n,))
    asked : dict of str to (X (m, d), y (m,), groups (m,))
        By place.
    order : (n,) array
        Training rows in the order in which they are labelled: group by group.
    """

    train: Rows
    asked: Mapping[str, Rows]
    order: np.ndarray

    def scaled(self, count: int | None = None) -> tuple[Rows, dict[str, Rows]]:
        """Return the first `count` rows to train on, and what is asked, z-scored.

        Means and standard deviations are those of all training rows, since statements without
        labels are free.
        """
        X, y, groups = self.train
        X, *others = z_scored(X, *(rows[0] for rows in self.asked.values()))
        rows = np.sort(self.order[:count])
        found = {
            place: (scaled, *rest)
            for scaled, (place, (_, *rest)) in zip(others, self.asked.items(), strict=True)
        }
        return (X[rows], y[rows], groups[rows]), found

    def sizes(self) -> dict[str, int | None]:
        """Return the numbers of labels to train on, by name."""
        most = MOST * len(self.order)
        return {f"{n or 'all'}": n for n in SIZES if n is None or n <= most}


def lesson(
    model: "TransformerBridge | None",
    name: str,
    seed: int,
    split: int,
    layer: int = LAYER,
    seeds: Sequence[int] = SEEDS,
) -> Lesson:
    """Return one unit of a set.

    Parameters
    ----------
    model : TransformerBridge or None
        As `elkutils.models.load_model` returns it; the vault and the persona need none.
    name : str
        A key of `PLACES`.
    seed : int
        Of the false statements; the adapter of *persona*; the predictor of *vault*.
    split : int
        Seed of the division into training and held-out groups, and of their order.
    layer : int
        Layer of the residual stream that is read; one of `LAYERS` for cities.
    seeds : sequence of int
        Seeds whose cities are read in one go.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    if name not in PLACES:
        raise ValueError(f"name is {name!r}; it has to be one of {', '.join(PLACES)}")
    if name == "vault":
        return _vault(seed, split)
    if name == "persona":
        found = readings.read_persona(seed)
        easy, hard = found["alice_easy"], found["bob_hard"]
        train, test = easy.split.train_test(seed=split)
        asked = {"Alice easy": _rows(easy, layer, test), "Bob hard": _rows(hard, layer)}
        return _ordered(_rows(easy, layer, train), asked, split)
    if name == "cities":
        return _cities(model, seed, split, layer, tuple(seeds))
    found = readings.read(model, name, seed)
    train, test = found["easy"].split.train_test(seed=split)
    asked = {f"{name} easy": _rows(found["easy"], layer, test)}
    asked |= {f"{name} hard": _rows(found["hard"], layer)}
    return _ordered(_rows(found["easy"], layer, train), asked, split)


def _cities(model, seed, split, layer, seeds) -> Lesson:
    splits, X = _read_cities(model, seeds, layer)
    parts = {kind: (X[seed, kind], made) for kind, made in splits[seed].items()}
    train, test = splits[seed]["easy"].train_test(seed=split)

    def rows(kind, of=slice(None)):
        features, made = parts[kind]
        return features[of], 1 - made.labels[of], made.groups[of]

    asked = {
        "cities easy": rows("easy", test),
        "cities hard": rows("hard"),
        "negation": rows("easy_negated", test),  # its row i negates row i of easy
    }
    if seed in readings.seeds():
        for other in ("elements", "comparisons"):
            asked[f"cities to {other}"] = _rows(
                readings.read(model, other, seed)["easy"], layer
            )
    return _ordered(rows("easy", train), asked, split)


def fresh_lesson(model: "TransformerBridge | None", name: str, seed: int, split: int) -> Lesson:
    """Return a unit of `FRESH`, `DEEPER`, `LARGER`, `WIDER` or `LATEST`, at places of `ACTING`.

    Statements are drawn with seeds of their own, and comparisons with numbers of their own;
    cities and elements are those of the other units, split anew. The persona's are put to an
    adapter about the first 150 cities of each size, which it did not learn from. From `DEEPER`
    on as many comparisons teach, and four times as many are asked; from `LARGER` on as many
    cities teach, and the rest of `MORE_CITIES` are asked; from `WIDER` on the persona's are
    about all 450 cities of each size that its adapter did not learn from.

    Parameters
    ----------
    model : TransformerBridge or None
        As `lesson` takes it.
    name : str
        A key of `FRESH`.
    seed, split : int
        As `lesson` takes them; the persona's statements are drawn with seed 40 + `seed`, and
        its adapter is `seed` modulo `ADAPTERS`.
    """
    if name == "vault":
        found = _vault(seed, split)
        asked = {place: found.asked[place] for place in ACTING[name]}
        return Lesson(found.train, asked, found.order)
    every = (units.get(name, ()) for units in (FRESH, DEEPER, LARGER, WIDER, LATEST))
    units = next(some for some in every if (seed, split) in some)
    easy, *others = _read_fresh(model, name, tuple(dict.fromkeys(s for s, _ in units)))[seed]
    held_out = 0.3
    if teach := TEACH.get(name):
        held_out = max(held_out, 1 - teach / len(set(easy[0].groups)))
    train, test = easy[0].train_test(held_out, split)
    parts = [_part(*easy, test), *(_part(*part) for part in others)]
    asked = dict(zip(ACTING[name], parts, strict=True))
    return _ordered(_part(*easy, train), asked, split)


def _part(split: tasks.Split, X: np.ndarray, of=slice(None)) -> Rows:
    return X[of], 1 - split.labels[of], split.groups[of]


def hidden_units(name: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the units of `FRESH` that teach heads with a hidden layer, which are shown.

    Returns
    -------
    both, narrow : lists of (seed, split)
        `BOTH` units for both widths, and `NARROW` others for the narrow one.
    """
    every = FRESH[name]
    both = every[:: len(every) // BOTH][:BOTH]
    others = [unit for unit in every if unit not in both]
    return both, others[:: len(others) // NARROW][:NARROW]


@lru_cache(maxsize=2 * len(FRESH))
def _read_fresh(
    model, name: str, seeds: tuple[int, ...]
) -> dict[int, list[tuple[tasks.Split, np.ndarray]]]:
    """The splits of every seed of a set, easy first, each with its features."""
    from elkutils.models import activations, resid_post

    if name == "persona":
        return {seed: _read_persona(seed) for seed in seeds}
    kinds = ("easy", "hard")[: len(ACTING[name])]
    made = {seed: _fresh_task(name, seed) for seed in seeds}
    splits = {seed: [task[kind] for kind in kinds] for seed, task in made.items()}
    texts = list(
        dict.fromkeys(
            text for found in splits.values() for part in found for text in part.texts
        )
    )
    row, (hook,) = {text: i for i, text in enumerate(texts)}, resid_post(model, [LAYER])
    X = np.asarray(activations(model, texts, [hook])[hook])
    return {
        seed: [(part, X[[row[text] for text in part.texts]]) for part in found]
        for seed, found in splits.items()
    }


def _fresh_task(name: str, seed: int) -> tasks.Task:
    """Cities, elements or comparisons: more cities, and all comparisons, from some seeds on."""
    if name == "cities":
        easy = MORE_CITIES if seed >= LARGER[name][0][0] else CITIES
        return tasks.cities(seed, easy, CITIES)
    if name == "comparisons" and seed >= DEEPER[name][0][0]:
        return tasks.comparisons(seed)
    return readings.make_task(name, seed)


def _read_persona(seed: int) -> list[tuple[tasks.Split, np.ndarray]]:
    """Alice's easy statements and Bob's hard ones, read by an adapter."""
    from elkutils.models import activations, resid_post
    from elkutils.models.cache import keep
    from elkutils.models.persona import adapter_digest, load_persona
    from elkutils.tasks.persona import persona

    adapter, asked = seed % ADAPTERS, [persona(40 + seed)]
    if seed >= WIDER["persona"][0][0]:
        asked.append(persona(40 + seed, MORE, MORE, skip=MORE))
    splits = [_joined([made[name] for made in asked]) for name in ("alice_easy", "bob_hard")]
    texts = [text for part in splits for text in part.texts]

    def compute() -> dict[str, np.ndarray]:
        model = load_persona(adapter).model
        (hook,) = resid_post(model, [LAYER])
        return {"X": np.asarray(activations(model, texts, [hook], "last", cache=False)[hook])}

    about = {"adapter": adapter_digest(adapter), "texts": texts, "layer": LAYER}
    X = keep("persona", about, compute)["X"]
    return list(zip(splits, np.split(X, [len(splits[0])]), strict=True))


def _joined(splits: Sequence[tasks.Split]) -> tasks.Split:
    """The statements of several splits in one."""
    texts = [text for split in splits for text in split.texts]
    labels, groups = (
        np.concatenate([getattr(split, name) for split in splits])
        for name in ("labels", "groups")
    )
    return tasks.Split(splits[0].name, texts, labels, groups)


@lru_cache(maxsize=len(LAYERS))
def _read_cities(model, seeds, layer):
    from elkutils.models import activations, resid_post

    kinds = "easy", "hard", "easy_negated"
    made = {seed: tasks.cities(seed, CITIES, CITIES).splits for seed in seeds}
    splits = {seed: {kind: found[kind] for kind in kinds} for seed, found in made.items()}
    texts = [
        text for found in splits.values() for part in found.values() for text in part.texts
    ]
    texts = list(dict.fromkeys(texts))  # true statements are the same for each seed
    row = {text: i for i, text in enumerate(texts)}
    X = activations(model, texts, resid_post(model, LAYERS))[resid_post(model, [layer])[0]]
    return splits, {
        (seed, kind): X[[row[text] for text in part.texts]]
        for seed, found in splits.items()
        for kind, part in found.items()
    }


def _rows(reading, layer, of=slice(None)) -> Rows:
    return np.asarray(reading.X[layer][of]), 1 - reading.y[of], reading.groups[of]


def _vault(seed: int, split: int) -> Lesson:
    """Cases that no chapter sees, as one predictor sees them."""
    from elkutils.models import activations
    from elkutils.models.vault import load_predictor
    from elkutils.tasks import vault

    predictor, hook = load_predictor(seed), readings.VAULT_PLACES[PLACE]
    step, found = readings.VAULT_STEP, []
    for part, (make, count) in enumerate(
        ((vault.easy, 600), (vault.easy, 400), (vault.hard, 600))
    ):
        cases = make(predictor.world, step, count, (seed, step, split, part))
        options = {"batch_size": 500, "cache": False, "progress": False}
        X = activations(predictor.model, cases.texts, [hook], "last", **options)[hook]
        groups = np.array([f"{seed}, {part}, {row}" for row in range(count)])
        found.append((np.asarray(X), cases.harm, groups))
    train, easy, hard = found
    return _ordered(train, {"vault easy": easy, "vault hard": hard}, split)


def _ordered(train: Rows, asked: Mapping[str, Rows], split: int) -> Lesson:
    """The lesson with its training groups in an order of the split."""
    names, of = np.unique(train[2], return_inverse=True)
    turn = np.random.default_rng(split).permutation(len(names))
    return Lesson(train, asked, np.argsort(turn[of], kind="stable"))
