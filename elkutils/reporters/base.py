"""What every reporter shares: checking what it is given, and turning draws into answers."""

import numbers
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data


class Reporter(ClassifierMixin, BaseEstimator):
    """A classifier of two classes that draws probabilities.

    Attributes
    ----------
    classes_ : (2,) array
        The labels, sorted; probabilities are of `classes_[1]`.
    coef_ : (1, d) array
        Weights: change of the log odds per unit of each feature, where the reporter is linear.
    intercept_ : (1,) array
        Log odds at x = 0, likewise.
    n_features_in_ : int
    """

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
        return self._log_odds(self._check(X))

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n); a point estimate has one."""
        return expit(self.decision_function(X))[None, :]

    def save(self, folder: str | Path) -> None:
        """Write the fitted reporter to `folder`; see `elkutils.reporters.load`."""
        from elkutils.reporters.persist import save

        save(self, folder)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check(self, X) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _check_training(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """Return X in float64 and y as 0.0 and 1.0, and learn the classes."""
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

    def _log_odds(self, X: np.ndarray) -> np.ndarray:
        return X @ self.coef_[0] + self.intercept_[0]


def mean_log_odds(log_odds: np.ndarray) -> np.ndarray:
    """Return the log odds (n,) of the mean probability over draws (draws, n) of log odds."""
    log_p = logsumexp(-np.logaddexp(0.0, -log_odds), axis=0)
    return log_p - logsumexp(-np.logaddexp(0.0, log_odds), axis=0)


def check_counts(reporter: Reporter, least: dict[str, int]) -> None:
    """Raise `ValueError` unless these parameters are whole numbers of at least so much."""
    for name, smallest in least.items():
        value = getattr(reporter, name)
        if not isinstance(value, numbers.Integral) or value < smallest:
            raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ {smallest}")
