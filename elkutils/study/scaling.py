"""Activations as reporters take them: z-scored by the rows that a reporter is trained on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from elkutils.study import readings

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def z_scored(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return all arrays (…, d) in units of the training rows: mean 0, standard deviation 1.

    A feature that is constant on the training rows is centred and left at its own scale.

    Parameters
    ----------
    train : (n, d) array
    others : (m, d) arrays
        Held-out rows, which move and scale nothing.

    Returns
    -------
    tuple of float64 arrays
        `train` first, then the others in order.

    Examples
    --------
    >>> train, test = z_scored(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 6.0]]))
    >>> train.tolist(), test.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 1.0]])
    """
    raw = np.asarray(train, np.float64)
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    spread[spread == 0] = 1.0
    return tuple((np.asarray(rows, np.float64) - centre) / spread for rows in (raw, *others))


def principal(count: int, train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return rows along the leading principal directions of the training rows, z-scored.

    Parameters
    ----------
    count : int
        Number of directions k.
    train : (n, d) array
    others : (m, d) arrays

    Returns
    -------
    tuple of (…, k) arrays
        `train` first, then the others in order; each column has mean 0 and standard
        deviation 1 over the training rows.
    """
    centre = train.mean(axis=0)
    directions = np.linalg.svd(train - centre)[2][:count].T
    scale = ((train - centre) @ directions).std(axis=0)
    return tuple((rows - centre) @ directions / scale for rows in (train, *others))


def leading(
    count: int, sets: Mapping[str, tuple[np.ndarray, ...]]
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return sets of rows by kind along the leading principal directions of ``train``.

    Parameters
    ----------
    count : int
        Number of directions k.
    sets : mapping of str to (X (n, d), *others)
        By kind, ``train`` among them; the others, such as labels and groups, stay as they are.

    Returns
    -------
    dict of str to (X (n, k), *others)
        `principal` of each kind's rows.
    """
    rows = [X for X, *_ in sets.values()]
    at = list(sets).index("train")
    along = principal(count, rows[at], *rows)[1:]
    return {kind: (X, *sets[kind][1:]) for kind, X in zip(sets, along, strict=True)}


def by_kind(
    model: "TransformerBridge", name: str, seed: int, layer: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return training rows of a task, and rows about other groups by kind, all z-scored.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name, seed
        As in `elkutils.study.read`; the seed also splits the easy statements.
    layer : int
        Layer whose residual stream is read.

    Returns
    -------
    dict of str to (X (n, d), y (n,), groups (n,))
        ``train`` and ``easy`` (held out), ``hard``, and where the task has them
        ``easy_negated`` (its row i negates row i of ``easy``) and ``hard_negated``.
    """
    found = readings.read(model, name, seed)
    train, test = found["easy"].split.train_test(seed=seed)
    places = {"train": ("easy", train)} | {kind: (kind, slice(None)) for kind in found}
    places["easy"] = "easy", test
    if "easy_negated" in found:
        places["easy_negated"] = "easy_negated", test
    parts = {kind: (found[split], rows) for kind, (split, rows) in places.items()}
    scaled = z_scored(*(part.X[layer][rows] for part, rows in parts.values()))
    return {
        kind: (X, part.y[rows], part.groups[rows])
        for X, (kind, (part, rows)) in zip(scaled, parts.items(), strict=True)
    }


def thinned(
    model: "TransformerBridge", name: str, seed: int, layer: int, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the easy training rows of a seed with some of the true statements left out.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name, seed
        As in `elkutils.study.read`.
    layer : int
        Layer whose residual stream is read.
    every : int
        Every how many-th true statement is kept; 1 keeps all.

    Returns
    -------
    X : (n, d) array
        Z-scored by the rows that are kept.
    y : (n,) array of 0 and 1
    """
    part = readings.read(model, name, seed)["easy"]
    train, _ = part.split.train_test(seed=seed)
    true, false = (train[part.y[train] == label] for label in (1, 0))
    rows = np.sort(np.concatenate([true[::every], false]))
    return z_scored(part.X[layer][rows])[0], part.y[rows]


def by_component(
    train: np.ndarray, y: np.ndarray, asked: np.ndarray, blocks: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what difference in means reads through some principal components alone.

    Parameters
    ----------
    train : (n, d) array
        Rows that the components, and δ, the difference of the two classes' means, come from.
    y : (n,) array of 0 and 1, both present
    asked : (m, d) array
    blocks : sequence of k pairs (first, last)
        Components by their variance on the training rows, counted from 1, both ends included;
        a last one beyond the number of components means all the rest.

    Returns
    -------
    scores : (k, m) array
        The asked rows along the part of δ that lies in each block.
    shares : (k,) array
        The share of δ's squared length in each block.
    """
    centre = train.mean(axis=0)
    directions = np.linalg.svd(train - centre, full_matrices=False)[2]
    delta = directions @ (train[y == 1].mean(axis=0) - train[y == 0].mean(axis=0))
    along = (asked - centre) @ directions.T
    parts = [slice(first - 1, last) for first, last in blocks]
    scores = np.stack([along[:, part] @ delta[part] for part in parts])
    return scores, np.array([(delta[part] ** 2).sum() for part in parts]) / (delta @ delta)
