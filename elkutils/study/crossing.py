"""Held-out answers about every row: groups are dealt into folds, one probe per fold.

A split holds out three groups of ten. Where that leaves too few rows for a rule to have power,
each group is held out once: `by_fold` gives the rows of every fold, `ask_by_fold` what probes
answer about them, and `per_fold` scores each fold by itself, because the scores of two probes
have no common scale.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elkutils.study import readings
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def deal(groups: ArrayLike, folds: int, seed: int) -> np.ndarray:
    """Return the fold (n,) of each row: all rows of a group are in one fold.

    Parameters
    ----------
    groups : (n,) array
    folds : int
        At least 2, and no more than there are groups; their numbers of groups differ by at
        most 1.
    seed : int

    Raises
    ------
    ValueError
        If there are fewer than 2 folds, or fewer groups than folds.

    Examples
    --------
    >>> deal(["a", "a", "b", "c", "c", "d"], 2, seed=0).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    names, of = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise ValueError(
            f"folds is {folds}; it has to be between 2 and the number of groups, {len(names)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % folds)[of]


def by_fold(
    model: "TransformerBridge", name: str, seed: int, layer: int, folds: int
) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Yield, for each fold, the rows to train on and the rows to ask about, z-scored.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name, seed
        As in `elkutils.study.read`; the seed also deals the easy groups into folds.
    layer : int
        Layer whose residual stream is read.
    folds : int

    Yields
    ------
    dict of str to (X (n, d), y (n,), groups (n,))
        ``train``, the easy rows outside the fold; ``easy``, those inside; ``easy_negated``,
        their negations; ``hard``, all hard rows.
    """
    found = readings.read(model, name, seed)
    of = deal(found["easy"].groups, folds, seed)
    for fold in range(folds):
        places = {
            "train": ("easy", of != fold),
            "easy": ("easy", of == fold),
            "easy_negated": ("easy_negated", of == fold),
            "hard": ("hard", slice(None)),
        }
        parts = {kind: (found[split], rows) for kind, (split, rows) in places.items()}
        scaled = z_scored(*(part.X[layer][rows] for part, rows in parts.values()))
        yield {
            kind: (X, part.y[rows], part.groups[rows])
            for X, (kind, (part, rows)) in zip(scaled, parts.items(), strict=True)
        }


def ask_by_fold(
    model: "TransformerBridge",
    name: str,
    seed: int,
    layers: Iterable[int],
    folds: int,
    make: Callable,
) -> dict[str, tuple[np.ndarray, dict[tuple, np.ndarray], np.ndarray, np.ndarray]]:
    """Return the log odds that probes give to every row about a group they were not shown.

    Parameters
    ----------
    model, name, seed, folds
        As in `by_fold`.
    layers : iterable of int
    make : callable
        ``(X, y)`` → dict of fitted reporters by method, such as
        `elkutils.study.probes.linear_probes`.

    Returns
    -------
    dict of str to (y (n,), log odds, fold (n,), groups (n,))
        By kind: ``easy``, ``hard``, ``easy_negated``. The log odds are a dict of
        (method, layer) to an (n,) array. Hard rows are asked of the first fold's probes only.
    """
    odds, rows = defaultdict(dict), {}
    for layer in layers:
        for fold, sets in enumerate(by_fold(model, name, seed, layer, folds)):
            probes = make(*sets.pop("train")[:2])
            for kind in sets if fold == 0 else sets.keys() - {"hard"}:
                X, *rows[kind, fold] = sets[kind]
                for method, probe in probes.items():
                    odds[kind, fold][method, layer] = probe.decision_function(X)
    found = {}
    for kind in ("easy", "hard", "easy_negated"):
        places = [place for place in rows if place[0] == kind]
        y, groups = (np.concatenate([rows[place][i] for place in places]) for i in (0, 1))
        fold = np.concatenate([np.full(len(rows[place][0]), place[1]) for place in places])
        columns = {
            column: np.concatenate([odds[place][column] for place in places])
            for column in odds[kind, 0]
        }
        found[kind] = y, columns, fold, groups
    return found


def per_fold(statistic: Callable) -> Callable:
    """Return the mean over folds of a statistic of one fold; its last array is the fold.

    Parameters
    ----------
    statistic : callable
        ``statistic(y, *arrays, weights=W)``, as `elkutils.evaluation.bootstrap` takes it.

    Examples
    --------
    Each fold is ranked perfectly, on a scale of its own.

    >>> from elkutils.evaluation import auroc
    >>> y, fold = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> float(per_fold(auroc)(y, [0.1, 0.2, 5.0, 6.0], fold))
    1.0
    """

    def mean(y, *arrays, weights=None):
        *arrays, fold = map(np.asarray, arrays)
        found = []
        for value in np.unique(fold):
            rows = fold == value
            part = None if weights is None else weights[..., rows]
            found.append(statistic(y[rows], *(a[rows] for a in arrays), weights=part))
        return np.mean(found, axis=0)

    return mean
