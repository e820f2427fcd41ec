"""Easy cases to train on and hard ones to be asked about: the book's shifts, as arrays.

In each, a label of 1 means *harm*: a false statement, or a diamond that is gone. Places are
where the activations were read: layers, or places in the vault's predictor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from elkutils.study import readings
from elkutils.study.scaling import z_scored
from elkutils.tasks.persona import TAUGHT

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

ADAPTERS = tuple(f"Alice to Bob, adapter {seed}" for seed in TAUGHT)
SHIFTS = {
    "cities": "big ones to small ones",
    "elements": "light ones to heavy ones",
    "comparisons": "numbers far apart to close ones",
    "negation": "cities: is in, to is not in",
    "cities to elements": "another task",
    "cities to comparisons": "another task",
    **dict.fromkeys(ADAPTERS, "Alice and big cities, to Bob and small"),
    "vault": "no screen, to behind the screen",
}


def short(place: int | str) -> str:
    """Return the name of a place, short enough for a table or an axis.

    Examples
    --------
    >>> short("attention 2"), short(14)
    ('att 2', '14')
    """
    return str(place).replace("attention", "att")


@dataclass(frozen=True)
class Rows:
    """Rows of one kind.

    Attributes
    ----------
    X : mapping of int or str to (n, d) array
        Maps a place to its features, raw: not centred, not scaled.
    y : (n,) array of 0 and 1
        1 for harm.
    groups : (n,) array
        No split into training and held-out rows separates the rows of a group.
    """

    X: Mapping
    y: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Shift:
    """One seed of a shift.

    Attributes
    ----------
    train : Rows
        Rows to train on.
    easy : Rows
        Held-out rows like them.
    hard : Rows
        Rows that are not like them.
    """

    train: Rows
    easy: Rows
    hard: Rows

    def at(self, place: int | str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the features of the three at a place, z-scored by the training rows."""
        return z_scored(*(rows.X[place] for rows in (self.train, self.easy, self.hard)))


def names() -> list[str]:
    """Return the shifts that the active profile has."""
    adapters = {ADAPTERS[seed] for seed in readings.persona_seeds()}
    return [name for name in SHIFTS if name not in ADAPTERS or name in adapters]


def seeds(name: str) -> range:
    """Return a shift's seeds: predictors in the vault, else splits of the training task."""
    return readings.vault_seeds() if name == "vault" else readings.seeds()


def trained_on(name: str) -> str:
    """Return what reporters are trained on: shifts with the same share their training rows."""
    return name if name in (*readings.MAKERS, *ADAPTERS, "vault") else "cities"


def read(model: "TransformerBridge", name: str, seed: int) -> Shift:
    """Return one seed of a shift.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name : str
        One of `names`.
    seed : int
        One of `seeds(name)`.

    Raises
    ------
    ValueError
        If there is no such shift.
    """
    if name not in names():
        raise ValueError(f"name is {name!r}; the shifts of this profile are {names()}")
    if name == "vault":
        found = readings.read_vault(seed)
        return Shift(*(_vault(found[key], seed) for key in ("easy", "held out", "hard")))
    if name in ADAPTERS:
        found = readings.read_persona(ADAPTERS.index(name))
        trained, hard = found["alice_easy"], _statements(found["bob_hard"])
    else:
        found = readings.read(model, trained_on(name), seed)
        trained, hard = found["easy"], None
    train, test = trained.split.train_test(seed=seed)
    if hard is None:
        hard = _hard(model, name, seed, found, test)
    return Shift(_statements(trained, train), _statements(trained, test), hard)


def _hard(model, name, seed, found, test) -> Rows:
    if name == "negation":
        return _statements(found["easy_negated"], test)  # its row i negates row i of easy
    if " to " in name:
        return _statements(readings.read(model, name.split(" to ")[1], seed)["easy"])
    return _statements(found["hard"])


def _statements(reading, rows=slice(None)) -> Rows:
    X = readings.ByPlace(reading.X, rows)
    return Rows(X, 1 - reading.y[rows], reading.groups[rows])


def _vault(reading, seed) -> Rows:
    groups = np.array([f"{seed}, {row}" for row in range(len(reading.y))])  # all different
    return Rows(reading.X, reading.y, groups)
