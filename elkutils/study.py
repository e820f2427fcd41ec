"""The readings that the book's chapters share: which tasks, which seeds, which layers.

Every chapter asks for the same texts in the same order, so each activation is extracted
once a build and read from the cache after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elkutils import profiles, tasks

MAKERS = {"cities": tasks.cities, "comparisons": tasks.comparisons, "elements": tasks.elements}


@dataclass(frozen=True)
class Reading:
    """One split of a task with the residual stream read at its full stops.

    Attributes
    ----------
    split
        The statements, labels and groups.
    X
        Maps a layer to an array (n, d), raw: not centred, not scaled.
    """

    split: tasks.Split
    X: Mapping[int, np.ndarray]

    @property
    def y(self) -> np.ndarray:
        """Labels (n,), 1 for true."""
        return self.split.labels

    @property
    def groups(self) -> np.ndarray:
        """Group ids (n,): what no train-test split may separate."""
        return self.split.groups


def seeds() -> range:
    """Return the seeds of the active profile: each a new split and new false statements."""
    return range(profiles.pick(quick=2, book=5, full=10))


def make_task(name: str, seed: int) -> tasks.Task:
    """Return one of the book's tasks, *cities*, *comparisons* or *elements*, at full size.

    The *quick* profile takes fewer cities.
    """
    small = {"easy": 60, "hard": 60} if profiles.active() == "quick" else {}
    return MAKERS[name](seed, **(small if name == "cities" else {}))


def read(model, name: str, seed: int) -> dict[str, Reading]:
    """Return every split of a task, read at the full stop after each layer.

    Parameters
    ----------
    model
        What `elkutils.models.load_model` returns.
    name
        ``"cities"``, ``"comparisons"`` or ``"elements"``.
    seed
        Which false statements.

    Returns
    -------
    dict of str to Reading
        By the name of the split: ``easy``, ``hard``, ``easy_negated``, ``hard_negated``.
    """
    from elkutils.models import activations, resid_post

    task = make_task(name, seed)
    texts = [text for split in task.splits.values() for text in split.texts]
    hooks = resid_post(model)
    found = activations(model, texts, hooks, "full stop", progress=False)
    ends = np.cumsum([len(split) for split in task.splits.values()])[:-1]
    parts = {layer: np.split(found[hook], ends) for layer, hook in enumerate(hooks)}
    return {
        split.name: Reading(split, {layer: rows[i] for layer, rows in parts.items()})
        for i, split in enumerate(task.splits.values())
    }
