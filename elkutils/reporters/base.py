"""What every reporter shares: checks of its input, answers from draws, its state on disk."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from elkutils.reporters import persist
from elkutils.source import Source, source_of

if TYPE_CHECKING:
    from elkutils.inference.draws import Draws


class Reporter(ClassifierMixin, BaseEstimator):
    """A classifier of two classes that draws probabilities.

    A subclass has `fit`, and either `coef_` and `intercept_` or its own `sample_proba` and
    `decision_function`. It can be saved and loaded as it is if what it learned is numbers and
    arrays of numbers; otherwise it overrides `state` and `restore`.

    Attributes
    ----------
    classes_ : (2,) array
        The labels, sorted; probabilities are of `classes_[1]`.
    coef_ : (1, d) array
        Weights: change of the log odds per unit of each feature, where the reporter is linear.
    intercept_ : (1,) array
        Log odds at x = 0, likewise.
    n_features_in_ : int

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

    def __init_subclass__(cls, **kwargs) -> None:
        """Register the class, so that `load` finds it."""
        super().__init_subclass__(**kwargs)
        persist.register(cls)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likelier label of each row, (n,)."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, (n, 2): the mean over the draws."""
        p = self.sample_proba(X).mean(axis=0)
        return np.column_stack([1 - p, p])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds of `classes_[1]`, (n,)."""
        return self._check(X) @ self.coef_[0] + self.intercept_[0]

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _learned(self) -> Iterator[tuple[str, object]]:
        for name, value in vars(self).items():
            if name.endswith("_") and name not in persist.APART:
                yield name, value

    def _check(self, X) -> np.ndarray:
        check_is_fitted(self)
        persist.check_source(self, X)
        return persist.scaled(self, validate_data(self, X, dtype=np.float64, reset=False))

    def _check_training(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """Return X in float64 and y as 0.0 and 1.0, and learn the classes."""
        persist.forget(self, source_of(X))
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
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
        self.classes_ = classes
        return X, (y == classes[1]).astype(np.float64)


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
        X = self._check(X)
        return self.draws_.mean_log_odds(X)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, (n, 2): the mean over the draws.

        Rows are taken in blocks, so the memory needed does not grow with draws · n.
        """
        X = self._check(X)
        p = self.draws_.mean_proba(X)
        return np.column_stack([1 - p, p])

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n), chain by chain."""
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

    @abstractmethod
    def _head(self):
        """Return the head of the draws, from the parameters and `n_features_in_`."""
