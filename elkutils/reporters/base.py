"""What every reporter shares: checks of its input, answers from draws, its state on disk."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.exceptions import DTypePromotionError
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from elkutils._inputs import WRITTEN_GAPS, check_order, is_missing, is_number, place, plain
from elkutils.inference._checks import check_counts, check_size
from elkutils.inference.draws import NUMBERS
from elkutils.reporters import persist
from elkutils.reporters.moments import moments, warn_if_far
from elkutils.reporters.weights import row_weights
from elkutils.source import Source, source_of

if TYPE_CHECKING:
    from arviz import InferenceData

    from elkutils.inference.draws import Draws


# What a fit sets before it has learned anything.
LEARNED_FIRST = (
    "classes_",
    "feature_names_in_",
    "moments_",
    "n_features_in_",
    "scaling_",
    "source_",
)


def is_table(X: object) -> bool:
    """Whether X is an array or a data frame with rows, of which some can be had cheaply."""
    known = hasattr(X, "iloc") or isinstance(X, np.ndarray)
    return known and X.ndim == 2 and len(X) > 0


def row_blocks(
    X: np.ndarray, numbers: int, rows: int | None = None, progress: bool = False
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield which rows, and these rows of a table X (n, d), some after others.

    Parameters
    ----------
    X : (n, d) array or data frame
    numbers : int
        Rows per block, or as many as hold `NUMBERS` numbers where that is fewer.
    rows : int or None
        Rows per block instead.
    progress : bool
        Show how many rows are done.
    """
    size = rows or max(1, min(numbers, NUMBERS // max(1, X.shape[1])))
    with tqdm(total=len(X), disable=not progress, desc="scoring", unit="row") as bar:
        for begin in range(0, len(X), size):
            span = slice(begin, min(begin + size, len(X)))
            yield span, X.iloc[span] if hasattr(X, "iloc") else X[span]
            bar.update(span.stop - span.start)


class Reporter(ClassifierMixin, BaseEstimator):
    """A classifier of two classes that draws probabilities.

    A subclass has `fit`, and either `coef_` and `intercept_` or its own `sample_proba` and
    `decision_function`. It can be saved and loaded as it is if what it learned is numbers and
    arrays of numbers; otherwise it overrides `state` and `restore`.

    Attributes
    ----------
    classes_ : (2,) array
        The labels, sorted, or with the parameter `positive` last; probabilities are of
        `classes_[1]`. The metrics of scikit-learn sort words whatever `positive` is, so give
        them ``y == positive``.
    coef_ : (1, d) array
        Weights: change of the log odds per unit of each feature, where the reporter is linear.
    intercept_ : (1,) array
        Log odds at x = 0, likewise.
    n_features_in_ : int
    moments_ : (2, d) array
        Mean and standard deviation of each feature in training. A warning compares X with them.

    Examples
    --------
    Every reporter is used in the same way, here on six rows with one feature.

    >>> from elkutils.reporters import DifferenceInMeans
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> reporter = DifferenceInMeans().fit(X, y)
    >>> reporter.predict([[-1.0], [1.0]]).tolist()
    [0, 1]
    >>> reporter.sample_proba([[0.0]]).round(3).tolist()
    [[0.5]]
    """

    _fitted_with: dict | None = None  # the parameters of the fit
    _told_far = False  # whether it has warned that X is far from what it was fitted on
    _cloned = False  # by scikit-learn, as its searches and ensembles do

    def __init_subclass__(cls, **kwargs) -> None:
        """Register the class, so that `load` finds it."""
        super().__init_subclass__(**kwargs)
        persist.register(cls)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likelier label of each row, (n,)."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    def predict_proba(self, X: ArrayLike, progress: bool = False) -> np.ndarray:
        """Return the probability of each class, (n, 2): the mean over the draws.

        Rows are taken in blocks, so the memory needed beside X does not grow with their
        number. X may be a memory map; `progress` shows how many rows are done.
        """
        blocks = self.sample_proba_blocks(X, progress=progress)
        p = np.concatenate([draws.mean(axis=0) for _, draws in blocks])
        return np.column_stack([1 - p, p])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds of `classes_[1]`, (n,)."""
        check_is_fitted(self)
        coef, bias = self.coef_[0], self.intercept_[0]
        return np.concatenate([part @ coef + bias for part in self._blocks(X)])

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n); a point estimate has one."""
        return expit(self.decision_function(X))[None, :]

    def carry(
        self,
        source: Source | None = None,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ) -> "Reporter":
        """Remember where X was read and how it was scaled; X is given unscaled from now on.

        Both are saved with the reporter. It then refuses activations of another model, hook
        point or position; an array that does not know its source is taken as it is.

        Parameters
        ----------
        source : elkutils.source.Source or None
            Of an array that `elkutils.models.activations` returned, its `source`. None keeps
            what `fit` found on its X.
        mean, scale : (d,) arrays, numbers or None
            What was subtracted from X before `fit`, and what it was then divided by. None
            keeps what is there, or else no shift and no scale.

        Returns
        -------
        Reporter
            Itself.

        Raises
        ------
        ValueError
            If the reporter is not fitted, `source` is no `Source`, or mean and scale are not d
            finite numbers, scale above 0.

        Examples
        --------
        >>> from elkutils.reporters import DifferenceInMeans
        >>> X, y = np.array([[1.0], [2.0], [5.0], [6.0]]), [0, 0, 1, 1]
        >>> mean, scale = X.mean(axis=0), X.std(axis=0)
        >>> probe = DifferenceInMeans().fit((X - mean) / scale, y).carry(None, mean, scale)
        >>> probe.predict(X).tolist()
        [0, 0, 1, 1]
        """
        check_is_fitted(self)
        persist.carry(self, source, mean, scale)
        return self

    def sample_proba_blocks(
        self, X: ArrayLike, rows: int | None = None, progress: bool = False
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the draws of some rows after others, for more rows than memory has room for.

        Parameters
        ----------
        X : (n, d) array
            It may be a memory map: each block is read and checked when its turn comes.
        rows : int or None
            Rows per block; None for as many as take some 32 megabytes.
        progress : bool
            Show how many rows are done, and the time left.

        Yields
        ------
        slice
            Which rows of X.
        (draws, rows) array
            What `sample_proba` returns for them.

        Raises
        ------
        ValueError
            If `rows` is no whole number ≥ 1, or X is not a finite table of d columns.

        Examples
        --------
        >>> from elkutils.reporters import DifferenceInMeans
        >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
        >>> reporter = DifferenceInMeans().fit(X, y)
        >>> [draws.shape for _, draws in reporter.sample_proba_blocks(X, rows=4)]
        [(1, 4), (1, 2)]
        """
        if rows is not None:
            check_counts(rows=rows)
        check_is_fitted(self)
        if not is_table(X):
            X = _validated(self, X, dtype=np.float64, reset=False)
        for span, part in row_blocks(X, NUMBERS // self._draws(), rows, progress):
            yield span, self.sample_proba(part)

    def save(self, folder: str | Path) -> None:
        """Write the fitted reporter to `folder`; see `elkutils.reporters.load`."""
        persist.save(self, folder)

    def state(self) -> dict[str, np.ndarray | float | None]:
        """Return what was learned, by name: numbers, arrays of numbers, or None."""
        return dict(self._learned())

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state` on an unfitted reporter; entries that were None are missing.

        `classes_`, `feature_names_in_` and the constructor's parameters are there already.
        """
        for name, value in arrays.items():
            setattr(self, name, value)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the last fit has ended: what it learns first does not count."""
        return any(
            name[-1] == "_" and name[0] != "_" and name not in LEARNED_FIRST
            for name, value in vars(self).items()
            if value is not None
        )

    def __sklearn_clone__(self) -> "Reporter":
        made = super().__sklearn_clone__()
        made._cloned = True
        return made

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _learned(self) -> Iterator[tuple[str, object]]:
        for name, value in vars(self).items():
            if name.endswith("_") and name not in persist.APART:
                yield name, value

    def _draws(self) -> int:
        """How many numbers a row takes besides its features."""
        return 1

    def _blocks(self, X, progress: bool = False) -> Iterator[np.ndarray]:
        """Yield the rows of X in blocks, checked."""
        check_is_fitted(self)
        if not is_table(X):
            X = _validated(self, X, dtype=np.float64, reset=False)
        for span, part in row_blocks(X, NUMBERS, progress=progress):
            yield self._check(part, span.start)

    def _check(self, X, first: int = 0) -> np.ndarray:
        """Return rows X of a table, from its row `first` on, checked and scaled."""
        persist.check_source(self, X)
        X = persist.scaled(self, _validated(self, X, dtype=np.float64, reset=False))
        if not self._told_far and hasattr(self, "moments_"):
            self._told_far = warn_if_far(X, self.moments_, first)
        return X

    def _check_training(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """Return X in float64 and y as 0.0 and 1.0, and learn the classes.

        The parameters are remembered: what is saved is what was fitted.
        """
        check_order(stacklevel=4, X=X, y=y)
        for name in [name for name in vars(self) if name[0] != "_" and name[-1] == "_"]:
            delattr(self, name)  # a fit that fails leaves nothing of the one before
        persist.forget(self, source_of(X))
        self._fitted_with = deepcopy(self.get_params(deep=False))
        X, y = _validated(self, X, y, dtype=np.float64)
        check_size(X)
        _check_labels(y)
        classes = np.unique(y)
        if len(classes) == 1:
            raise ValueError(
                f"y holds one class only, {classes[:1].tolist()[0]!r}; a reporter needs two"
            )
        if len(classes) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is"
                f" {type_of_target(y)}: y holds {len(classes)} classes, {classes[:5]}"
            )
        self.classes_ = self._ordered(classes)
        self.moments_, self._told_far = moments(X), False
        return X, (y == self.classes_[1]).astype(np.float64)

    def _ordered(self, classes: np.ndarray) -> np.ndarray:
        """The two labels, the positive one last; a warning where words leave it to chance."""
        positive = getattr(self, "positive", None)
        if positive is None:
            if classes.dtype.kind in "UOS" and str(classes[1]).lower() not in ("true", "yes"):
                first, last = (str(word) for word in classes)
                warnings.warn(
                    f"y holds the words {first!r} and {last!r}, and positive is None; all "
                    f"probabilities are of {last!r}, the later one in the alphabet: give the "
                    f"reporter positive={first!r} or positive={last!r}",
                    UserWarning,
                    stacklevel=4,
                )
            return classes
        if positive not in classes.tolist():
            raise ValueError(
                f"positive is {positive!r}; it has to be one of the labels in y, "
                f"{classes.tolist()}"
            )
        if classes[1] == positive:
            return classes
        if self._cloned:
            first, last = classes.tolist()
            warnings.warn(
                f"positive is {positive!r}, and the scorers and ensembles of scikit-learn take "
                f"the later label, {last!r}, for it, so that AUROC and log score are those of "
                f"the wrong class: give them labels y == {first!r} and positive=None",
                UserWarning,
                stacklevel=4,
            )
        return classes[::-1].copy()

    def _weighted(
        self, X: np.ndarray, y: np.ndarray, sample_weight: ArrayLike | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the rows of positive weight, and their weights (None where all are 1).

        X and y are those that `_check_training` returned; a parameter `class_weight` counts.
        """
        class_weight = getattr(self, "class_weight", None)
        weights = row_weights(y, self.classes_, sample_weight, class_weight)
        if weights is None:
            return X, y, None
        kept = weights > 0
        weights = weights[kept]
        return X[kept], y[kept], None if np.all(weights == 1) else weights


def _validated(reporter: Reporter, *X_and_y, **options):
    """scikit-learn's `validate_data`, for tensors too; it names entries that are not finite."""
    names = list(getattr(X_and_y[0], "columns", ()))
    twice = (
        [name for name in names if names.count(name) > 1]
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        raise ValueError(
            f"X has {names.count(twice[0])} columns {twice[0]!r}; rename the others"
        )
    given = [
        plain(part, name) if _needs_numpy(part) else part
        for part, name in zip(X_and_y, ("X", "y"), strict=False)
    ]
    given[1:] = [_plain_labels(y) for y in given[1:]]
    try:
        return validate_data(reporter, *given, **options)
    except (ValueError, DTypePromotionError) as error:
        _raise_first_word(given[0], error)
        where = "y" if "Input y" in str(error) else "X"
        if "NaN" in str(error) or "infinity" in str(error):
            raise ValueError(f"{_first_bad(given[where == 'y'], where)}{error}") from error
        raise


def _needs_numpy(part) -> bool:
    kind = getattr(getattr(part, "dtype", None), "kind", "")
    return hasattr(part, "detach") or kind == "V" or isinstance(part, np.ma.MaskedArray)


def _plain_labels(y):
    """Labels none of which is missing; numbers and truth values among objects as numbers."""
    found = np.asarray(y)
    if found.dtype.kind not in "OU" or found.ndim != 1:
        return y
    words = [isinstance(label, str) for label in found]
    for row, label in enumerate(found):
        if is_missing(label) or (words[row] and label.strip() in WRITTEN_GAPS):
            raise ValueError(
                f"y[{row}] is missing ({str(label)!r}); leave the row out. y contains NaN"
            )
    if any(words) and not all(words):
        other = words.index(not words[0])
        raise ValueError(
            f"y[0] is {found[0]!r} and y[{other}] is {found[other]!r}; its labels have to be "
            "of one type, as by y.astype(str)"
        )
    numeric = found.dtype.kind == "O" and all(
        is_number(label) or isinstance(label, bool | np.bool_) for label in found
    )
    return np.array(found.tolist()) if numeric else y


def _check_labels(y: np.ndarray) -> None:
    """Raise ValueError unless labels are classes."""
    if y.dtype.kind in "mM":
        raise ValueError(f"y holds dates, such as {y[0]}; it has to hold two labels")
    try:
        check_classification_targets(y)
    except ValueError as error:
        shown = (
            ", ".join(f"{value:.6g}" for value in np.unique(y)[:3])
            if y.dtype.kind == "f"
            else y[:3]
        )
        raise ValueError(
            f"{error} y holds {shown} and others; it has to hold two labels, as y > 0.5 does"
        ) from error


def _raise_first_word(X, error: Exception) -> None:
    """Raise ValueError that names the first entry of X that is no number, if there is one."""
    if isinstance(error, ValueError) and "could not convert" not in str(error):
        return
    try:
        table = np.asarray(X, dtype=object)
    except ValueError:
        return
    names = list(getattr(X, "columns", ()))
    for flat, value in enumerate(table.ravel() if table.ndim == 2 else ()):
        try:
            float(value)
        except (TypeError, ValueError):
            column = f" (column {names[flat % len(names)]!r})" if names else ""
            comma = isinstance(value, str) and value.count(",") == 1
            hint = "; of a file with decimal commas, read it with decimal=','" if comma else ""
            raise ValueError(
                f"{place('X', table.shape, flat)} is {value!r}{column}; every entry has to be "
                f"a number{hint}: {error}"
            ) from error


def _first_bad(values, name: str) -> str:
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return ""
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return ""
    first = place(name, values.shape, bad[0])
    return f"{first} is {values.ravel()[bad[0]]}, the first of {len(bad)}. "


LIKELIHOODS = 2**24  # log likelihoods, of rows by draws, that `idata` holds at most: 128 MB


class DrawsReporter(Reporter, ABC):
    """A reporter whose answers are those of draws of a head.

    Probabilities are means over the draws. `decision_function` is their log odds, so it need
    not be linear in x.

    Attributes
    ----------
    draws_ : elkutils.inference.draws.Draws
        What the sampler returned. A reporter that was loaded lacks its `details`.
    """

    draws_: "Draws"

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds of the mean probability of `classes_[1]`, (n,)."""
        return np.concatenate([self.draws_.mean_log_odds(part) for part in self._blocks(X)])

    def predict_proba(self, X: ArrayLike, progress: bool = False) -> np.ndarray:
        """Return the probability of each class, (n, 2): the mean over the draws.

        Rows are taken in blocks, so the memory needed beside X does not grow with their
        number. X may be a memory map; `progress` shows how many rows are done.
        """
        blocks = self._blocks(X, progress)
        p = np.concatenate([self.draws_.mean_proba(part) for part in blocks])
        return np.column_stack([1 - p, p])

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n), chain by chain."""
        check_is_fitted(self)
        X = self._check(X)
        return self.draws_.sample_proba(X)

    def state(self) -> dict[str, np.ndarray | float | None]:
        """Return what was learned: the draws, their statistics, and the rest."""
        draws = {"draws_.theta": self.draws_.theta}
        draws |= {f"draws_.stats.{name}": value for name, value in self.draws_.stats.items()}
        return draws | {name: value for name, value in self._learned() if name != "draws_"}

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state` on an unfitted reporter."""
        from elkutils.inference.draws import Draws

        prefix = "draws_.stats."
        stats = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        super().restore({k: v for k, v in arrays.items() if not k.startswith("draws_.")})
        self.draws_ = Draws(self._head(), arrays["draws_.theta"], stats)

    def _draws(self) -> int:
        return max(1, len(self.draws_.flat))

    @abstractmethod
    def _head(self):
        """Return the head of the draws, from the parameters and `n_features_in_`."""


class PosteriorReporter(DrawsReporter):
    """A reporter whose draws are of a posterior, which ArviZ can read."""

    _rows: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None  # of the fit

    @property
    @abstractmethod
    def idata(self) -> "InferenceData":
        """The draws as ArviZ `InferenceData`."""

    def idata_at(self, X: ArrayLike, seed: int = 0) -> "InferenceData":
        """Return `idata` with the group ``predictions`` for new rows X (n, d).

        It holds, in dimensions chain, draw and row, "proba", the probability of `classes_[1]`,
        and "y", a label drawn with it: 1 for `classes_[1]`, by `seed`. Both take
        draws · n numbers.

        Raises
        ------
        ValueError
            If X is not a finite table of d columns.
        """
        found = self.idata
        proba = self.sample_proba(X)
        proba = proba.reshape(self.draws_.chains, self.draws_.draws, proba.shape[1])
        y = (np.random.default_rng(seed).random(proba.shape) < proba).astype(np.int8)
        found.add_groups(
            {"predictions": {"proba": proba, "y": y}}, dims={"proba": ["row"], "y": ["row"]}
        )
        return found

    def _keep_rows(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Keep a copy of the training rows for `idata`, where there are few enough."""
        few = len(X) * len(self.draws_.flat) <= LIKELIHOODS
        self._rows = (X.copy(), y, weights) if few else None

    def _for_arviz(self) -> dict[str, dict | None]:
        """Statistics of the draws and log likelihoods of the training rows, by ArviZ' names."""
        stats = dict(self.draws_.stats)
        if "energy" in stats and "tree_depth" not in stats:  # ArviZ means the Hamiltonian
            stats["lp"] = -stats.pop("energy")
        found = {"sample_stats": stats or None}
        if self._rows is not None:
            X, y, weights = self._rows
            odds = self.draws_.log_odds(X)
            odds *= 2 * y - 1
            found["log_likelihood"] = {
                "y": log_expit(odds) * (1 if weights is None else weights)
            }
        return found
