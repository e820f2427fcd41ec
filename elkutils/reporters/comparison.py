"""What a reporter has to beat: readings that need no training, or hardly any, in one call."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from elkutils._inputs import check_counts, check_ids, numbers, plain
from elkutils.evaluation import Interval, auroc, bootstrap, difference
from elkutils.evaluation._arrays import check_labels
from elkutils.reporters.base import Reporter
from elkutils.reporters.contrast import ContrastiveClustering, RandomDirection
from elkutils.reporters.linear import DifferenceInMeans
from elkutils.reporters.pipeline import Pipeline


@dataclass(frozen=True)
class Rival:
    """What a rival scores on test rows, and what the reporter scores more.

    Attributes
    ----------
    auroc : Interval
        Of the rival.
    gain : Interval
        AUROC of the reporter less that of the rival, on the same resamples of groups. Above 0,
        the reporter ranks better.
    """

    auroc: Interval
    gain: Interval

    def __str__(self) -> str:
        return f"AUROC {self.auroc}, reporter {self.gain.estimate:+.3f} " + (
            f"[{self.gain.lower:+.3f}, {self.gain.upper:+.3f}]"
        )


def rivals(
    reporter: Reporter | Pipeline,
    X: ArrayLike,
    y: ArrayLike,
    train: ArrayLike,
    test: ArrayLike,
    *,
    groups: ArrayLike,
    pairs: ArrayLike | None = None,
    scores: Mapping[str, ArrayLike] | None = None,
    directions: int = 10,
    seed: int = 0,
) -> dict[str, Rival]:
    """Return how a fitted reporter fares against its rivals on test rows.

    The rivals are random directions, the difference in means, the direction of contrast pairs
    where `pairs` are given, and whatever `scores` hold, such as `elkutils.models.pmi` and the
    model's own answer. They are fitted on the same training rows, prepared as for the reporter.

    Parameters
    ----------
    reporter : Reporter or Pipeline
        Fitted on rows `train`.
    X : (n, d) array
    y : (n,) array of 0 and 1
    train, test : (k,) arrays of int
        Rows of X, none in both.
    groups : (n,) array
        Group of each row; none may be in both parts.
    pairs : (m, 2) array of int or None
        Rows of X, as in `ContrastiveClustering.fit`. Those outside `train` are left
        out.
    scores : mapping of str to (n,) arrays, or None
        Scores by name, higher for label 1, of all rows or of the rows `test` alone.
    directions : int
        How many random directions; their AUROC is averaged, and resampled as seeds are.
    seed : int
        Of the directions and of the resamples.

    Returns
    -------
    dict of str to Rival

    Raises
    ------
    ValueError
        If a row or a group is in both parts, `scores` do not fit, and for bad input.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(400) % 2
    >>> X = rng.normal(size=(400, 20)) + np.outer(y, np.linspace(0, 0.6, 20))
    >>> train, test = np.arange(200), np.arange(200, 400)
    >>> reporter = DifferenceInMeans().fit(X[train], y[train])
    >>> found = rivals(reporter, X, y, train, test, groups=np.arange(400))
    >>> print(found["random direction"].gain.lower > 0)
    True
    """
    X, y = np.asarray(plain(X, "X")), check_labels(y).astype(int)
    train, test, groups = _parts(X, y, train, test, groups)
    check_counts(directions=directions)
    ours = _log_odds(reporter, X[test])
    prepared = X
    if isinstance(reporter, Pipeline) and len(reporter.steps) > 1:
        prepared = np.asarray(reporter[:-1].transform(X))
    first, asked = prepared[train], prepared[test]
    drawn = [
        RandomDirection(seed=seed + i).fit(first, y[train]).decision_function(asked)
        for i in range(directions)
    ]
    means = DifferenceInMeans().fit(first, y[train])
    others = {"difference in means": means.decision_function(asked)}
    if pairs is not None:
        own = _renumbered(pairs, train, len(X))
        found = ContrastiveClustering().fit(first, y[train], own)
        others["contrast pairs"] = found.decision_function(asked)
    for name, values in (scores or {}).items():
        others[name] = _score(name, values, len(X), test)
    options = {"groups": groups[test], "seed": seed}
    many = {"groups": np.tile(groups[test], directions), "seed": seed, "resamples": 500}
    many["seeds"] = np.repeat(np.arange(directions), len(test))
    long = [np.tile(part, directions) for part in (y[test], ours)]
    compared = {"random direction": _compared(*long, np.concatenate(drawn), many)}
    return compared | {
        name: _compared(y[test], ours, theirs, options) for name, theirs in others.items()
    }


def _parts(X, y, train, test, groups):
    if X.ndim != 2 or len(X) != len(y):
        raise ValueError(
            f"X has shape {X.shape}; it has to be (n, d), a row for each of {len(y)}"
        )
    groups, parts = check_ids(groups, "groups", len(y)), []
    for name, rows in (("train", train), ("test", test)):
        rows = plain(rows, name)
        rows = np.flatnonzero(rows) if rows.dtype.kind == "b" and len(rows) == len(y) else rows
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ValueError(f"{name} has shape {rows.shape}; it has to hold row numbers of X")
        if rows.min() < 0 or rows.max() >= len(y):
            raise ValueError(f"{name} has the row {rows.max()}; X has rows 0 to {len(y) - 1}")
        parts.append(rows)
    shared = np.intersect1d(groups[parts[0]], groups[parts[1]])
    if len(shared):
        raise ValueError(
            f"groups has {shared[:1].tolist()[0]!r} in train and in test; no group may be "
            "in both, see Split.train_test"
        )
    return *parts, groups


def _log_odds(reporter, X) -> np.ndarray:
    check_is_fitted(reporter)
    if list(reporter.classes_) not in ([0, 1], [False, True]):
        raise ValueError(
            f"reporter has the labels {list(reporter.classes_)}; it has to be fitted on 0 and 1"
        )
    return reporter.decision_function(X)


def _renumbered(pairs, train, n: int) -> np.ndarray:
    """Pairs of rows of X as pairs of training rows, without those that are not."""
    pairs = plain(pairs, "pairs")
    if pairs.ndim != 2 or pairs.dtype.kind not in "iu" or pairs.min() < 0 or pairs.max() >= n:
        raise ValueError(f"pairs has shape {pairs.shape}; it has to be (k, 2) row numbers of X")
    place = np.full(n, -1)
    place[train] = np.arange(len(train))
    found = place[pairs]
    return found[(found >= 0).all(axis=1)]


def _score(name, values, n: int, test) -> np.ndarray:
    values = numbers(values, f"scores[{name!r}]")
    if values.shape not in ((n,), test.shape):
        raise ValueError(
            f"scores[{name!r}] has shape {values.shape}; it has to be {(n,)}, one per row of "
            f"X, or {test.shape}, one per row of test"
        )
    return values[test] if values.shape == (n,) else values


def _compared(y, ours, theirs, options) -> Rival:
    return Rival(
        bootstrap(auroc, y, theirs, **options),
        bootstrap(difference(auroc), y, ours, theirs, **options),
    )
