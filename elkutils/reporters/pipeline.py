"""Preparation of features and a reporter as one reporter: `make_pipeline`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sklearn.pipeline
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.pipeline import _name_estimators
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from elkutils.inference._checks import check_counts
from elkutils.inference.draws import NUMBERS
from elkutils.reporters import persist
from elkutils.reporters.base import Reporter, is_table, row_blocks
from elkutils.source import source_of


class Pipeline(sklearn.pipeline.Pipeline):
    """scikit-learn's `Pipeline` that ends in a reporter, and has what a reporter has.

    So it has `sample_proba`, draws of probabilities, and `save`, which writes the fitted
    transformers with the reporter. `elkutils.reporters.load` reads it. Fitted on activations it
    remembers their source, and refuses those of another model, hook point or position.

    What can be saved are transformers that learn numbers, arrays of numbers and text, such as
    `StandardScaler`, `PCA` or `SimpleImputer`; others raise a `ValueError` when they are saved.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers, and a reporter at the end; `make_pipeline` names them itself.
    transform_input, memory, verbose
        As in scikit-learn.

    Examples
    --------
    Activations are z-scored in `fit`, and by the same means and scales wherever they are used.

    >>> from sklearn.preprocessing import StandardScaler
    >>> from elkutils.reporters import LogisticMAP, make_pipeline
    >>> X = np.array([[-300.0], [-200.0], [0.0], [0.0], [200.0], [300.0]])
    >>> y = [0, 0, 0, 1, 1, 1]
    >>> reporter = make_pipeline(StandardScaler(), LogisticMAP()).fit(X, y)
    >>> reporter.sample_proba([[0.0], [100.0]]).round(2).tolist()
    [[0.5, 0.62]]
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **params: object,
    ) -> "Pipeline":
        """Fit the transformers and the reporter.

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array of two labels
        sample_weight : (n,) array or None
            Weights of the rows, for every step that takes them.
        **params : object
            Others, as ``step__name=value``.

        Raises
        ------
        ValueError
            If the last step is no reporter, and for what the steps refuse.
        """
        last = self.steps[-1][1]
        if not isinstance(last, Reporter):
            raise ValueError(
                f"the last step is {last!r}; it has to be a reporter: use scikit-learn's"
                " Pipeline for other estimators"
            )
        if sample_weight is not None:
            for name, step in self.steps:
                if has_fit_parameter(step, "sample_weight"):
                    params[f"{name}__sample_weight"] = sample_weight
        persist.forget(self, source_of(X))
        return super().fit(X, y, **params)

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n); a point estimate has one."""
        return self.steps[-1][1].sample_proba(self._prepared(X))

    def sample_proba_blocks(
        self, X: ArrayLike, rows: int | None = None, progress: bool = False
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the draws of some rows after others; see `Reporter.sample_proba_blocks`."""
        if rows is not None:
            check_counts(rows=rows)
        check_is_fitted(self)
        last = self.steps[-1][1]
        for span, part in self._blocks(X, NUMBERS // last._draws(), rows, progress):
            yield span, last.sample_proba(self._prepared(part))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likelier label of each row, (n,)."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def predict_proba(self, X: ArrayLike, progress: bool = False) -> np.ndarray:
        """Return the probability of each class, (n, 2), block by block of the rows."""
        check_is_fitted(self)
        last = self.steps[-1][1]
        blocks = self._blocks(X, NUMBERS, progress=progress)
        return np.concatenate([last.predict_proba(self._prepared(part)) for _, part in blocks])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds of `classes_[1]`, (n,), block by block of the rows."""
        check_is_fitted(self)
        last = self.steps[-1][1]
        blocks = self._blocks(X, NUMBERS)
        found = [last.decision_function(self._prepared(part)) for _, part in blocks]
        return np.concatenate(found)

    def save(self, folder: str | Path) -> None:
        """Write the fitted steps to `folder`; see `elkutils.reporters.load`."""
        persist.save(self, folder)

    def state(self) -> dict[str, np.ndarray | float | None]:
        """Return what the steps have learned: numbers, and text as arrays of bytes."""
        found = {}
        for name, step in self._estimators():
            if isinstance(step, Reporter):
                learned = {
                    key: value for key, value in step.state().items() if value is not None
                }
            else:
                learned = dict(_learned(name, step))
            found |= {f"{name}.{key}": value for key, value in learned.items()}
        return found

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state` on unfitted steps."""
        for name, step in self._estimators():
            prefix = f"{name}."
            mine = {
                k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
            }
            if isinstance(step, Reporter):
                if "n_features_in_" in mine:  # heads are made from it
                    step.n_features_in_ = mine["n_features_in_"]
                step.restore(mine)
                persist.set_since(step)
            else:
                for key, value in mine.items():
                    key, value = _told(key, value)
                    setattr(step, key, value)

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted; probabilities are of `classes_[1]`."""
        return self.steps[-1][1].classes_

    @classes_.setter
    def classes_(self, classes: np.ndarray) -> None:
        """Set them, when a pipeline is read."""
        self.steps[-1][1].classes_ = classes

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns that the first step was fitted on."""
        return self.steps[0][1].feature_names_in_

    @feature_names_in_.setter
    def feature_names_in_(self, names: np.ndarray) -> None:
        """Set them, when a pipeline is read; transformers hold their own."""
        if isinstance(self.steps[0][1], Reporter):
            self.steps[0][1].feature_names_in_ = names

    def _blocks(self, X, *options, **more) -> Iterator[tuple[slice, ArrayLike]]:
        if is_table(X):
            yield from row_blocks(X, *options, **more)
        else:
            yield slice(None), X

    def _prepared(self, X: ArrayLike) -> np.ndarray:
        persist.check_source(self, X)
        for _, _, step in self._iter(with_final=False):
            X = step.transform(X)
        return X

    def _estimators(self) -> Iterator[tuple[str, BaseEstimator]]:
        for name, step in self.steps:
            if step is not None and step != "passthrough":
                yield name, step


persist.register(Pipeline)


def make_pipeline(*steps: BaseEstimator, **options: object) -> Pipeline:
    """Return a `Pipeline` of transformers and a reporter, named by their classes.

    It is scikit-learn's `make_pipeline`, whose result keeps what a reporter can do.

    Parameters
    ----------
    *steps : BaseEstimator
        The last one is a reporter.
    **options : object
        `memory`, `transform_input` and `verbose` of the pipeline.
    """
    return Pipeline(_name_estimators(steps), **options)


def reading_direction(reporter: Reporter | Pipeline) -> np.ndarray:
    """Return the direction in which a linear reporter reads, in the units of X as it is given.

    It is the change of the log odds per unit of each feature, through the scalers before the
    reporter, for `elkutils.models.causal_check`. Of draws it is their mean.

    Parameters
    ----------
    reporter : Reporter or Pipeline
        Fitted, with `coef_`; a pipeline's transformers have to be affine maps.

    Returns
    -------
    (d,) array

    Raises
    ------
    ValueError
        If the reporter is not linear, or a transformer is not affine.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from elkutils.reporters import DifferenceInMeans, make_pipeline
    >>> X, y = np.array([[-6.0], [-4.0], [0.0], [0.0], [4.0], [6.0]]), [0, 0, 0, 1, 1, 1]
    >>> fit = make_pipeline(StandardScaler(), DifferenceInMeans()).fit(X, y)
    >>> reading_direction(fit).round(2).tolist()
    [1.07]
    """
    last = reporter.steps[-1][1] if isinstance(reporter, Pipeline) else reporter
    try:
        weights = np.asarray(last.coef_)[0]
    except AttributeError as error:
        raise ValueError(
            f"reporter is {last!r}, which has no coef_: a direction needs a linear reporter, "
            "fitted"
        ) from error
    if (scaling := getattr(last, "scaling_", None)) is not None:
        weights = weights / scaling[1]
    if last is reporter or len(reporter.steps) == 1:
        return weights
    prepare = reporter[:-1].transform
    d = reporter.n_features_in_
    origin = prepare(np.zeros((1, d)))
    turned = prepare(np.eye(d)) - origin
    if not np.allclose(prepare(2 * np.eye(d)) - origin, 2 * turned, rtol=1e-6, atol=1e-9):
        raise ValueError("a step before the reporter is not affine: it has no one direction")
    return turned @ weights


def _learned(name: str, step: BaseEstimator) -> Iterator[tuple[str, np.ndarray]]:
    """What a transformer has learned: arrays of numbers, under names with the types."""
    for key, value in vars(step).items():
        if key in step.get_params(deep=False):
            continue
        array = np.asarray(value)
        if isinstance(value, np.dtype):
            yield f"{key}:dtype", np.frombuffer(value.str.encode(), np.uint8)
        elif value is None:
            yield f"{key}:none", np.zeros(0)
        elif array.dtype.kind in "biuf":
            yield f"{key}:{'number' if np.isscalar(value) else 'array'}", array
        elif array.dtype.kind in "UO" and all(isinstance(s, str) for s in array.ravel()):
            kind = "text" if array.ndim == 0 else "texts"
            text = "\0".join(array.ravel().tolist())
            yield f"{key}:{kind}", np.frombuffer(text.encode(), np.uint8)
        else:
            raise ValueError(
                f"step {name!r} learned {key} of type {type(value).__name__}; a step that is"
                " saved may learn numbers and text only"
            )


def _told(key: str, value: np.ndarray | float) -> tuple[str, object]:
    """The attribute that `_learned` wrote."""
    key, _, kind = key.rpartition(":")
    if kind == "none":
        return key, None
    if kind == "number":
        return key, np.asarray(value).item()
    if kind == "array":
        return key, np.asarray(value)
    text = np.asarray(value, np.uint8).tobytes().decode()
    if kind == "dtype":
        return key, np.dtype(text)
    return key, text if kind == "text" else np.array(text.split("\0"), dtype=object)
