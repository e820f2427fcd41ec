"""The readings that the book's chapters share: which tasks, which seeds, which layers.

Every chapter asks for the same texts in the same order, so each activation is extracted
once per build and read from the cache after that. The vault's predictors are so small that
every chapter reads theirs anew.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from elkutils import profiles, tasks
from elkutils.tasks import vault
from elkutils.tasks.persona import TAUGHT, persona

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

FIRST_SEED = 5  # trials in which rules were made, and margins set, saw seeds 0 to 4
MAKERS = {"cities": tasks.cities, "comparisons": tasks.comparisons, "elements": tasks.elements}


class ByPlace(Mapping):
    """Some rows of the arrays of a mapping, taken when a place is asked for.

    A study reads a few layers of many splits, so copying the rows of every layer is most of its
    reading.

    Parameters
    ----------
    arrays : mapping of int or str to (m, d) array
    rows : indices, mask or slice
        Which rows, in their order.

    Examples
    --------
    >>> some = ByPlace({3: np.arange(8).reshape(4, 2)}, [2, 0])
    >>> some[3].tolist(), list(some), len(some)
    ([[4, 5], [0, 1]], [3], 1)
    """

    def __init__(self, arrays: Mapping, rows: np.ndarray | list[int] | slice):
        self._arrays, self._rows = arrays, rows

    def __getitem__(self, place: int | str) -> np.ndarray:
        return self._arrays[place][self._rows]

    def __iter__(self) -> Iterator:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


@dataclass(frozen=True)
class Reading:
    """One split of a task with the residual stream read at its full stops.

    Attributes
    ----------
    split : elkutils.tasks.Split
        The statements, labels and groups.
    X : mapping of int to (n, d) array
        Maps a layer to its residual stream, raw: not centred, not scaled.
    """

    split: tasks.Split
    X: Mapping[int, np.ndarray]

    @property
    def y(self) -> np.ndarray:
        """Labels (n,), 1 for true."""
        return self.split.labels

    @property
    def groups(self) -> np.ndarray:
        """Group ids (n,); no train-test split may separate the rows of a group."""
        return self.split.groups


def seeds() -> range:
    """Return the seeds of the active profile: each a new split and new false statements.

    They begin after those of the trials in which the claims' rules were made.
    """
    return range(FIRST_SEED, FIRST_SEED + profiles.pick(quick=2, book=5, full=10))


def make_task(name: str, seed: int) -> tasks.Task:
    """Return one of the book's tasks, *cities*, *comparisons* or *elements*.

    Comparisons share no statements between seeds, so fewer of them are read; the *quick*
    profile takes fewer of everything.
    """
    return _make_task(name, seed, profiles.active())


def read(model: "TransformerBridge", name: str, seed: int) -> dict[str, Reading]:
    """Return every split of a task, read at the full stop after each layer.

    The texts of all of the profile's seeds are read in one go, because the true statements
    are the same for each of them.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name : str
        One of "cities", "comparisons" and "elements".
    seed : int
        Which false statements: one of `seeds`.

    Returns
    -------
    dict of str to Reading
        By the name of the split: ``easy``, ``hard``, ``easy_negated``, ``hard_negated``.

    Raises
    ------
    ValueError
        If `seed` is not one of the profile's.
    """
    if seed not in seeds():
        raise ValueError(f"seed is {seed}; the profile {profiles.active()} has {list(seeds())}")
    rows, by_layer = _read_all(model, name, profiles.active())
    splits = make_task(name, seed).splits
    places = {key: [rows[text] for text in split.texts] for key, split in splits.items()}
    return {
        key: Reading(split, ByPlace(by_layer, places[key])) for key, split in splits.items()
    }


RIVAL_SPLITS = ("easy", "hard", "easy_negated")


def rival_seeds() -> range:
    """Return the seeds whose statements the model is also asked about: a few of `seeds`."""
    return range(FIRST_SEED, FIRST_SEED + profiles.pick(quick=1, book=3, full=10))


def rivals(model: "TransformerBridge", seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Return what the model itself answers about the *cities*: scores that need no labels.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    seed : int
        One of `rival_seeds`.

    Returns
    -------
    dict of str to dict of str to ndarray
        By split and by name, (n,) each: ``own answer`` (log odds of True after a question),
        ``log-probability`` of the statement's last word and ``PMI`` of that word and the city.
    """
    from elkutils.models import answer_log_odds, completion_log_prob

    made = [make_task("cities", s).splits[key] for s in rival_seeds() for key in RIVAL_SPLITS]
    rows = list(dict.fromkeys(row for split in made for row in _parts(split)))
    texts, stems, completions, neutral = zip(*rows, strict=True)
    given = completion_log_prob(model, stems, completions)
    scores = {
        "own answer": answer_log_odds(model, texts),
        "log-probability": given,
        "PMI": given - completion_log_prob(model, neutral, completions),
    }
    place = {row: i for i, row in enumerate(rows)}
    splits = make_task("cities", seed).splits
    return {
        key: {
            name: score[[place[row] for row in _parts(splits[key])]]
            for name, score in scores.items()
        }
        for key in RIVAL_SPLITS
    }


VAULT_STEP = 11  # of 16: the predictor still needs to know what the screen hides
VAULT_PLACES = {
    "attention 1": "blocks.0.hook_resid_mid",
    "MLP 1": "blocks.0.hook_resid_post",
    "attention 2": "blocks.1.hook_resid_mid",
    "MLP 2": "blocks.1.hook_resid_post",
}


@dataclass(frozen=True)
class VaultReading:
    """Cases from the vault with a predictor's residual stream at the action they stop at.

    Attributes
    ----------
    cases : elkutils.tasks.vault.Cases
    X : mapping of str to (n, d) array
        Maps a place of `VAULT_PLACES` to its residual stream, raw: not centred, not scaled.
    """

    cases: vault.Cases
    X: Mapping[str, np.ndarray]

    @property
    def y(self) -> np.ndarray:
        """Labels (n,), 1 for harm."""
        return self.cases.harm


def vault_seeds() -> range:
    """Return the seeds of the vault's predictors that the active profile reads."""
    return range(profiles.pick(quick=3, book=10, full=10))


@lru_cache(maxsize=16)
def read_vault(seed: int, step: int = VAULT_STEP) -> dict[str, VaultReading]:
    """Return cases of the vault as one predictor sees them.

    Parameters
    ----------
    seed : int
        Which predictor, and which cases.
    step : int
        The action to stop at, 1 to the world's horizon.

    Returns
    -------
    dict of str to VaultReading
        ``easy`` to train on (600), ``held out`` easy ones (400), ``asked``, hard ones to label
        (1000), and ``hard`` ones to test on (1000). Hard ones are balanced.
    """
    from elkutils.models import activations
    from elkutils.models.vault import load_predictor

    predictor = load_predictor(seed)
    hooks = list(VAULT_PLACES.values())
    makers = {"easy": (vault.easy, 600), "held out": (vault.easy, 400)}
    makers |= {"asked": (vault.hard, 1000), "hard": (vault.hard, 1000)}
    found = {}
    for i, (name, (make, n)) in enumerate(makers.items()):
        cases = make(predictor.world, step, n, (seed, step, i))
        options = {"batch_size": 500, "cache": False, "progress": False}
        read = activations(predictor.model, cases.texts, hooks, "last", **options)
        found[name] = VaultReading(cases, {p: read[hook] for p, hook in VAULT_PLACES.items()})
    return found


@dataclass(frozen=True)
class PersonaReading(Reading):
    """One split of the persona task, read at the last token, where the answer is about to come.

    Attributes
    ----------
    answer : (n,) array
        The model's own log odds of True to False: Alice's answer, or Bob's.
    """

    answer: np.ndarray


def persona_seeds() -> range:
    """Return the seeds of the adapters that the active profile reads."""
    return range(profiles.pick(quick=1, book=len(TAUGHT), full=len(TAUGHT)))


def read_persona(seed: int) -> dict[str, PersonaReading]:
    """Return statements put to Alice and to Bob, as one adapted model reads them.

    Parameters
    ----------
    seed : int
        Which adapter, and which false statements: one of `persona_seeds`.

    Returns
    -------
    dict of str to PersonaReading
        ``alice_easy``, ``alice_hard``, ``bob_easy``, ``bob_hard``; row i of Bob's is the
        statement of row i of Alice's. Labels are the truth.
    """
    return _read_persona(seed, profiles.pick(quick=24, book=100, full=150))


@lru_cache(maxsize=len(TAUGHT))
def _read_persona(seed: int, cities: int) -> dict[str, PersonaReading]:
    from elkutils.models.cache import keep
    from elkutils.models.persona import adapter_digest, load_persona, read_answering

    splits = persona(seed, cities, cities).splits
    texts = [text for split in splits.values() for text in split.texts]

    def compute() -> dict[str, np.ndarray]:
        return read_answering(load_persona(seed).model, texts)

    found = keep("persona", {"adapter": adapter_digest(seed), "texts": texts}, compute)
    answers = found["answer"]
    by_layer = {layer: found[f"{layer}"] for layer in range(len(found) - 1)}
    ends = np.cumsum([len(split) for split in splits.values()])
    named = zip(splits.items(), ends, strict=True)
    rows = {name: slice(end - len(split), end) for (name, split), end in named}
    return {
        name: PersonaReading(
            split,
            ByPlace(by_layer, rows[name]),
            answers[rows[name]],
        )
        for name, split in splits.items()
    }


@lru_cache(maxsize=64)
def _make_task(name: str, seed: int, profile: str) -> tasks.Task:
    task = MAKERS[name](seed, **_few_cities(name))
    most = profiles.pick(quick=80, book=160, full=300)
    if name != "comparisons" and profile != "quick":
        return task
    return replace(task, splits={key: _head(split, most) for key, split in task.splits.items()})


def _parts(split: tasks.Split) -> list[tuple[str, str, str, str]]:
    return list(zip(split.texts, split.stems, split.completions, split.neutral, strict=True))


@lru_cache(maxsize=2)
def _read_all(model, name: str, profile: str) -> tuple[dict[str, int], dict[int, np.ndarray]]:
    from elkutils.models import activations, resid_post

    splits = [split for seed in seeds() for split in make_task(name, seed).splits.values()]
    texts = list(dict.fromkeys(text for split in splits for text in split.texts))
    found = activations(model, texts, hooks := resid_post(model))
    by_layer = {layer: found[hook] for layer, hook in enumerate(hooks)}
    return {text: row for row, text in enumerate(texts)}, by_layer


def _few_cities(name: str) -> dict[str, int]:
    # A derangement has to be drawn among the cities that are used, so cities shrink themselves.
    return {"easy": 40, "hard": 40} if (name, profiles.active()) == ("cities", "quick") else {}


def _head(split: tasks.Split, count: int) -> tasks.Split:
    rows = {
        field.name: value[:count]
        for field in fields(split)
        if field.name != "name" and (value := getattr(split, field.name)) is not None
    }
    return replace(split, **rows)
