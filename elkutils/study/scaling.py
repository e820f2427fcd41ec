"""Activations as reporters take them: z-scored by the rows that a reporter is trained on."""

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
