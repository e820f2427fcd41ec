"""Streams of statements whose kind changes on the way, made of rows that no reporter saw.

`in_parts` divides a task's rows into those to fit on, to recalibrate with and to test on.
`contexts` takes test rows of three kinds; `ordering` and `with_few_negated` return the order in
which a stream has them. `refitted` forecasts by a reporter that is fitted again on the way;
`missing` and `contrary` are adversaries.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from elkutils.evaluation.online import AdaptiveConformal, Hedged, Online
from elkutils.study import readings
from elkutils.study.calibration import folds
from elkutils.study.scaling import z_scored
from elkutils.tasks import Split

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

CONTEXTS = ("easy", "hard", "negated")
ORDERS = ("easy, hard, negated", "negated, hard, easy", "in turns", "mixed")
FOLDS = 3  # a third of the groups is tested on
BLOCK = 15  # rows of one context before the next one's turn
RARE = 19  # rows of other kinds for each negated one, where these are rare

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def in_three(
    split: Split, seed: int, share: float = 0.3, fold: int = 0
) -> tuple[np.ndarray, ...]:
    """Return rows to fit on, to recalibrate with and to test on; no group is in two of them.

    Parameters
    ----------
    split : Split
    seed : int
    share : float
        Share of the groups outside the test rows that serve to recalibrate.
    fold : int
        Which third of the groups to test on, 0 to 2.
    """
    train, test = folds(split.groups, FOLDS, seed)[fold]
    names = np.random.default_rng((seed, 1)).permutation(np.unique(split.groups[train]))
    later = np.isin(split.groups[train], names[: round(share * len(names))])
    return train[~later], train[later], test


def in_parts(
    model: "TransformerBridge", name: str, seed: int, layer: int, fold: int = 0
) -> dict[str, Rows]:
    """Return a task's rows by what they are for, z-scored by the rows to fit on.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name, seed
        As in `elkutils.study.read`.
    layer : int
        Layer whose residual stream is read.
    fold : int
        Which third of the easy groups is held out to test on, 0 to 2.

    Returns
    -------
    dict of str to (X (n, d), y (n,), groups (n,))
        ``fit``, ``recalibrate`` and ``easy`` from the easy split, ``easy negated`` (its row i
        negates row i of ``easy``), ``hard`` and ``hard negated``.
    """
    found = readings.read(model, name, seed)
    fit, later, test = in_three(found["easy"].split, seed, fold=fold)
    places = {"fit": ("easy", fit), "recalibrate": ("easy", later), "easy": ("easy", test)}
    places["easy negated"] = "easy_negated", test
    for kind in ("hard", "hard negated"):
        places[kind] = kind.replace(" ", "_"), slice(None)
    parts = [(found[split], rows) for split, rows in places.values()]
    scaled = z_scored(*(part.X[layer][rows] for part, rows in parts))
    return {
        kind: (X, part.y[rows], part.groups[rows])
        for kind, X, (part, rows) in zip(places, scaled, parts, strict=True)
    }


def contexts(
    parts: Mapping[str, Rows], seed: int, most: int = 300
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a stream's rows, one context of `CONTEXTS` after another.

    Parameters
    ----------
    parts : mapping
        As from `in_parts`.
    seed : int
        Which rows, where a context has more than `most`.
    most : int
        Most rows per context.

    Returns
    -------
    X (n, d), y (n,), groups (n,) and context (n,), 0 to 2
    """
    negated = zip(parts["easy negated"], parts["hard negated"], strict=True)
    sets = parts["easy"], parts["hard"], [np.concatenate(pair) for pair in negated]
    rng, found = np.random.default_rng((seed, 2)), []
    for context, columns in enumerate(sets):
        some = rng.permutation(len(columns[1]))[:most]
        kept = [column[some] for column in columns]
        found.append((*kept, np.full(len(some), context)))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def ordering(context: np.ndarray, order: str, seed: int) -> np.ndarray:
    """Return row numbers (n,) in the order of the stream.

    Parameters
    ----------
    context : (n,) array
        Ascending, as from `contexts`.
    order : str
        One of `ORDERS`.
    seed : int
        Seed of the order "mixed".

    Raises
    ------
    ValueError
        For an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; it has to be one of {ORDERS}")
    place = np.concatenate([np.arange(n) for n in np.bincount(context)])
    shuffled = np.random.default_rng((seed, 3)).permutation(len(context))
    keys = context, -context, place // BLOCK * len(CONTEXTS) + context, shuffled
    return np.argsort(dict(zip(ORDERS, keys, strict=True))[order], kind="stable")


def with_few_negated(context: np.ndarray, seed: int, repeat: int = 0) -> np.ndarray:
    """Return row numbers of a mixed stream in which one row in twenty is negated.

    Parameters
    ----------
    context : (n,) array
        As from `contexts`.
    seed, repeat : int
        Which negated rows, and the order. Repeats of one seed share no negated row until all
        have come.
    """
    often, seldom = np.flatnonzero(context < 2), np.flatnonzero(context == 2)
    seldom = np.random.default_rng((seed, 4)).permutation(seldom)
    count = min(max(len(often) // RARE, 1), len(seldom))
    some = (repeat * count + np.arange(count)) % len(seldom)
    rng = np.random.default_rng((seed, repeat, 4))
    return rng.permutation(np.r_[often, seldom[some]])


def refitted(
    make: Callable, trained: tuple, X: np.ndarray, y: np.ndarray, every: int = 60
) -> np.ndarray:
    """Return P(y = 1) (n,) of a reporter that is fitted again after every few labels.

    Each forecast is made before the labels of its block are seen.

    Parameters
    ----------
    make : callable
        Takes nothing and returns a new reporter.
    trained : (X, y)
        Rows that the reporter is fitted on each time, with all earlier rows of the stream.
    X, y : (n, d) and (n,) arrays
        The stream.
    every : int
        Labels between two fits.
    """
    said = []
    for start in range(0, len(y), every):
        seen = np.concatenate([trained[0], X[:start]]), np.r_[trained[1], y[:start]]
        said.append(make().fit(*seen).predict_proba(X[start : start + every])[:, 1])
    return np.concatenate(said)


def missing(method: AdaptiveConformal, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Let an adversary pick labels outside the sets wherever it can; p is 1 at each step.

    Parameters
    ----------
    method : AdaptiveConformal
        It learns on the way.
    n : int
        Number of steps.

    Returns
    -------
    sets (n, 2) of bool and labels (n,)
    """
    sets, labels = [], []
    for _ in range(n):
        sets.append(method.forecast(1.0))
        labels.append(int(sets[-1][0]))
        method.update(labels[-1])
    return np.array(sets), np.array(labels)


def contrary(method: Online, n: int, p: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Let an adversary pick the label on the other side of one half at each step.

    Against `Hedged` it knows the odds of the next coin, not how it falls.

    Parameters
    ----------
    method : Online
        Of probabilities; it learns on the way.
    n : int
        Number of steps.
    p : float
        The reporter's P(y = 1) at each step.

    Returns
    -------
    forecasts (n,) and labels (n,)
    """
    forecasts, labels = [], []
    for _ in range(n):
        values, chances = method.lottery(p) if isinstance(method, Hedged) else ([], [])
        forecasts.append(method.forecast(p))
        mean = values @ chances if len(values) else forecasts[-1]
        labels.append(int(mean < 0.5))
        method.update(labels[-1])
    return np.array(forecasts), np.array(labels)
