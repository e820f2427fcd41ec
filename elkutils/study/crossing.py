"""Held-out answers about every row: groups are dealt into folds, one probe per fold.

A split holds out three groups of ten. Where that leaves too few rows for a rule to have power,
each group is held out once: `by_fold` gives the rows of every fold, `ask_by_fold` what probes
answer about them, and `per_fold` scores each fold by itself, because the scores of two probes
have no common scale. `over_layers` compares probes on such rows, `less_the_mean` a reporter
with the mean of several; `noninferiority_controls` and `rival_controls` ask whether rules on
such comparisons have power. `not_trained_on` is the one split of every seed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from elkutils.evaluation import (
    Interval,
    PassRate,
    accuracy,
    averaged,
    bootstrap,
    difference,
)
from elkutils.ledger import Criterion
from elkutils.study import readings
from elkutils.study.controls import auroc_by_pairs, planted_interval, rates
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


def over_layers(
    score: Callable,
    rows: tuple[np.ndarray, ...],
    columns: Sequence[tuple[str, int]],
    methods: Sequence[str],
    layers: Sequence[int],
    resamples: int = 1000,
) -> Interval:
    """Return a method's score, or the difference of two methods' scores, mean over layers.

    Each fold is scored by itself; a difference is taken on the same resamples.

    Parameters
    ----------
    score : callable
        As `elkutils.evaluation.bootstrap` takes it; `accuracy` is asked about probabilities.
    rows : tuple (y, *log odds, fold, groups, seeds) of (N,) arrays
        Rows of all seeds, as `elkutils.study.pooling.pooled` returns those of `ask_by_fold`.
    columns : sequence of (method, layer)
        Of the log odds, in their order.
    methods : sequence of one or two str
    layers : sequence of int
    resamples : int
        Of groups and seeds.
    """
    y, *log_odds, fold, groups, seeds = rows
    asked = [log_odds[list(columns).index(key)] for key in product(methods, layers)]
    asked = [expit(values) for values in asked] if score is accuracy else asked
    statistic = averaged(score if len(methods) == 1 else difference(score), len(layers))
    ids = {"groups": groups, "seeds": seeds, "resamples": resamples}
    return bootstrap(per_fold(statistic), y, *asked, fold, **ids)


def noninferiority_controls(
    criteria: Mapping[str, Criterion], rows: tuple[np.ndarray, ...], places: int
) -> dict[str, tuple[PassRate, PassRate]]:
    """Return how often made-up probes pass the rules on "a probe loses little to a rival".

    Such a rule is a test of noninferiority: a loss below a margin is allowed.

    Positive controls: two probes of AUROC .9 that err mostly on the same rows; and for "use"
    one such probe. Negative: a loss of ten points of AUROC, a loss of what an AUROC of .75 for
    .9 makes in accuracy, and a probe of AUROC .7.

    Parameters
    ----------
    criteria : mapping of str to Criterion
        Of "AUROC", "accuracy" and "use".
    rows : tuple (y, ..., fold, groups, seeds) of (N,) arrays
        As in `over_layers`: those of the place with the fewest rows.
    places : int
        Number of places of the claim.
    """
    y, *_, fold, groups, seeds = rows

    def planted(score, *aurocs):
        statistic = per_fold(score if len(aurocs) == 1 else difference(score))
        link = expit if score is accuracy else np.asarray
        ids = {"groups": groups, "seeds": seeds, "resamples": 100}
        noise = {"shared": 0.95, "drift": 0.05, "link": link}
        return planted_interval(statistic, y, aurocs, fold, **ids, **noise)

    pairs = {
        "AUROC": (planted(auroc_by_pairs, 0.9, 0.9), planted(auroc_by_pairs, 0.8, 0.9)),
        "accuracy": (planted(accuracy, 0.9, 0.9), planted(accuracy, 0.75, 0.9)),
        "use": (planted(auroc_by_pairs, 0.9), planted(auroc_by_pairs, 0.7)),
    }
    return {name: rates(rule, *pairs[name], places) for name, rule in criteria.items()}


def not_trained_on(
    reporter: Any,
    reads: Mapping[int, Mapping[str, readings.Reading]],
    layer: int,
    asked: str,
    taught: Sequence[str] = ("easy",),
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield what a reporter of each seed answers about rows that it was not trained on.

    Parameters
    ----------
    reporter : estimator
        Fitted anew to each seed's training rows; has `fit` and `decision_function`.
    reads : mapping of seed to mapping of kind to Reading
        As `elkutils.study.read` returns them.
    layer : int
    asked : str
        Kind of the rows asked about. Of ``easy`` and ``easy_negated`` they are those of groups
        that are held out, of others all.
    taught : sequence of str
        Kinds whose training rows the reporter is fitted to, ``easy`` or ``easy_negated``.

    Yields
    ------
    seed, y (m,), scores (m,), groups (m,)
        As `elkutils.study.pooling.interval` takes them.
    """
    for seed, read in reads.items():
        train, test = read["easy"].split.train_test(seed=seed)
        X = np.concatenate([read[kind].X[layer][train] for kind in taught])
        reporter.fit(X, np.concatenate([read[kind].y[train] for kind in taught]))
        part, rows = read[asked], test if asked.startswith("easy") else slice(None)
        scores = reporter.decision_function(part.X[layer][rows])
        yield seed, part.y[rows], scores, part.groups[rows]


def rival_controls(
    criteria: Mapping[str, Criterion],
    rows: tuple[np.ndarray, ...],
    shuffles: int,
    places: int = 2,
) -> dict[str, tuple[PassRate, PassRate]]:
    """Return how often made-up scores pass the rules on "a reporter beats its rivals".

    Their AUROCs, positive then negative: .9 and .7 by itself; .9 and .65 against .9 and .9
    over the own answer and the words, .9 and .8 against .9 and .9 over PMI; .8 and .5 over
    shuffled labels, which are at .5 on average; .7 and .5 on negated statements.

    Parameters
    ----------
    criteria : mapping of str to Criterion
        Those of C0 in ``claims.json``.
    rows : tuple (y, ..., fold, groups, seeds) of (N,) arrays
        Rows of all seeds, as `elkutils.study.pooling.pooled` returns them.
    shuffles : int
        How many shuffles of the labels are averaged.
    places : int
        Number of places of the claim.
    """
    y, *_, fold, groups, seeds = rows
    ids = {"groups": groups, "seeds": seeds, "resamples": 100, "shared": 0.2}

    def planted(*aurocs, drift=0.05):
        statistic = per_fold(auroc_by_pairs if len(aurocs) == 1 else less_the_mean)
        return planted_interval(statistic, y, aurocs, fold, drift=drift, **ids)

    chance, ten_points = [0.5] * shuffles, (planted(0.9, 0.65), planted(0.9, 0.9))
    pairs = {
        "AUROC": (planted(0.9), planted(0.7)),
        "over the own answer": ten_points,
        "over shuffled labels": (
            planted(0.8, *chance, drift=[0.05] + [0.4] * shuffles),
            planted(0.5, *chance, drift=0.4),
        ),
        "over the words": ten_points,
        "over PMI": (planted(0.9, 0.8), planted(0.9, 0.9)),
        "negation": (planted(0.7), planted(0.5)),
    }
    made, found = {}, {}
    for name, rule in criteria.items():
        key = pairs[name], rule.margin
        found[name] = made[key] = made.get(key) or rates(rule, *pairs[name], places=places)
    return found


def less_the_mean(
    y: np.ndarray, ours: np.ndarray, *others: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray | float:
    """Return the AUROC of one reporter less the mean AUROC of others, on the same rows.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    ours, *others : (n,) arrays
        Scores.
    weights : (..., n) array or None

    Examples
    --------
    >>> y, upwards = np.array([0, 1]), np.array([0.2, 0.7])
    >>> float(less_the_mean(y, upwards, upwards, -upwards))
    0.5
    """
    rivals = [auroc_by_pairs(y, other, weights) for other in others]
    return auroc_by_pairs(y, ours, weights) - np.mean(rivals, axis=0)
