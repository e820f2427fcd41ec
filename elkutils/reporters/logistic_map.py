"""The mode of Bayesian logistic regression, and the choice of its prior scale."""

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from elkutils._inputs import check_ids, check_order, numbers
from elkutils.inference._checks import (
    check_scale,
    check_weights,
    far_centre,
    warn_of_units,
)
from elkutils.inference.logistic import (
    LogisticPath,
    default_prior_scales,
    fit_map,
    logistic_path,
)
from elkutils.reporters.base import Reporter
from elkutils.reporters.weights import distinct, warn_of_few


class LogisticMAP(Reporter):
    """Logistic regression at its posterior mode: w ~ N(0, τ²I), the bias flat or normal.

    With a flat bias it is scikit-learn's `LogisticRegression` with C = τ². An infinite
    `prior_scale` asks for maximum likelihood, which separable data do not have.

    Parameters
    ----------
    prior_scale : float, "evidence" or "cv"
        τ, in the units of 1/X. "evidence" and "cv" choose it among `prior_scales`, by the
        largest Laplace evidence or the best log score in five-fold cross-validation.
    bias_scale : float or None
        Scale of the normal prior of the bias, None for a flat one.
    prior_scales : (k,) array or None
        The candidates; None for a grid that suits X (`default_prior_scales`).
    class_weight : None, "balanced" or dict
        Weights of the classes by label, times those of the rows: as in scikit-learn. With
        "balanced" both classes weigh the same, and probabilities are for equally many rows
        of each.
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Attributes
    ----------
    prior_scale_ : float
        The τ used.
    path_ : LogisticPath or None
        Modes and evidence at every candidate, where τ was chosen.
    cv_log_score_ : (k,) array or None
        Mean held-out log score at every candidate in nats, where τ was cross-validated.

    Examples
    --------
    A tighter prior shrinks the weight.

    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> loose, tight = (LogisticMAP(scale).fit(X, y).coef_[0, 0] for scale in (1.0, 0.1))
    >>> bool(tight < loose)
    True
    """

    def __init__(
        self,
        prior_scale: float | str = 1.0,
        bias_scale: float | None = None,
        prior_scales: ArrayLike | None = None,
        class_weight: dict | str | None = None,
        positive: object = None,
    ):
        self.prior_scale = prior_scale
        self.bias_scale = bias_scale
        self.prior_scales = prior_scales
        self.class_weight = class_weight
        self.positive = positive

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "LogisticMAP":
        """Fit to X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array of two labels
        groups : (n,) array or None
            Rows of one group stay in one fold of the cross-validation; only "cv" uses it.
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice. In cross-validation equal rows, of one label and group, share a fold.

        Raises
        ------
        ValueError
            For bad input or scales, and for maximum likelihood on separable data.

        Warns
        -----
        UserWarning
            If the best candidate is the smallest or the largest, there are too few rows or
            groups for five folds, or `prior_scale` does not suit the units of X.
        """
        check_order(X=X, groups=groups, sample_weight=sample_weight)
        X, y = self._check_training(X, y)
        groups = self._kept_groups(y, groups, sample_weight)
        X, y, weights = self._weighted(X, y, sample_weight)
        warn_of_few(weights)
        centre = far_centre(X) if self.bias_scale is None else None
        X = X if centre is None else X - centre
        self.path_, self.cv_log_score_ = None, None
        if isinstance(self.prior_scale, str):
            coef, intercept = self._choose(X, y, groups, weights)
        else:
            self.prior_scale_ = check_scale("prior_scale", self.prior_scale)
            if np.isfinite(self.prior_scale_):
                warn_of_units(X, self.prior_scale_)
            mode = fit_map(X, y, self.prior_scale_, self.bias_scale, weights=weights)
            coef, intercept = mode.coef, mode.intercept
        self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
        if centre is not None:
            self._move_back(centre)
        return self

    def _move_back(self, centre: np.ndarray) -> None:
        self.intercept_ = self.intercept_ - self.coef_ @ centre
        if self.path_ is not None:
            moved = self.path_.intercepts - self.path_.coefs @ centre
            self.path_ = replace(self.path_, intercepts=moved)

    def state(self) -> dict[str, np.ndarray | float | None]:
        """Return what was learned; the fields of the path as ``"path_.coefs"`` and so on."""
        found = super().state()
        path = found.pop("path_")
        fields = {} if path is None else vars(path)
        return found | {f"path_.{name}": value for name, value in fields.items()}

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state` on an unfitted reporter."""
        prefix = "path_."
        path = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        self.path_ = LogisticPath(**path) if path else None
        self.cv_log_score_ = None
        super().restore({k: v for k, v in arrays.items() if not k.startswith(prefix)})

    def _kept_groups(self, y, groups, sample_weight):
        """The groups of the rows whose weight is not zero."""
        if groups is None:
            return None
        groups = check_ids(groups, "groups", len(y))
        if sample_weight is None:
            return groups
        return groups[check_weights(sample_weight, len(y), "sample_weight") > 0]

    def _choose(self, X, y, groups, weights) -> tuple[np.ndarray, float]:
        if self.prior_scale not in ("evidence", "cv"):
            raise ValueError(
                f"prior_scale is {self.prior_scale!r};"
                ' it has to be a positive number, "evidence" or "cv"'
            )
        scales = self.prior_scales
        if scales is None:
            scales = default_prior_scales(X, weights=weights)
        scales = np.atleast_1d(numbers(scales, "prior_scales").astype(np.float64))
        self.path_ = logistic_path(X, y, scales, self.bias_scale, weights)
        best = self.path_.best
        if self.prior_scale == "cv":
            self.cv_log_score_ = _cross_validate(X, y, groups, scales, self.bias_scale, weights)
            best = int(np.argmax(self.cv_log_score_))
            warn_at_edge(scales, self.cv_log_score_, "cv", grid=True)
        else:
            warn_at_edge(scales, self.path_.log_evidence, "evidence", grid=True)
        self.prior_scale_ = float(scales[best])
        return self.path_.coefs[best], float(self.path_.intercepts[best])


def evidence_scale(
    X: np.ndarray,
    y: np.ndarray,
    bias_scale: float | None = None,
    prior_scales: ArrayLike | None = None,
    weights: np.ndarray | None = None,
    name: str = "prior_scale",
) -> tuple[float, LogisticPath]:
    """Return the candidate prior scale of largest Laplace evidence, and the path over them."""
    scales = prior_scales
    if scales is None:
        scales = default_prior_scales(X, weights=weights)
    path = logistic_path(X, y, scales, bias_scale, weights)
    warn_at_edge(path.prior_scales, path.log_evidence, "evidence", name)
    return float(path.prior_scales[path.best]), path


def warn_at_edge(
    scales: ArrayLike,
    scores: ArrayLike,
    how: str,
    name: str = "prior_scale",
    grid: bool = False,
) -> None:
    """Warn if the best of several candidate prior scales is the smallest or the largest.

    Parameters
    ----------
    scales, scores : (k,) arrays
        The candidates, and the evidence or held-out log score of each; NaN where it has none.
    how : "evidence" or "cv"
        What `prior_scale` is.
    name : str
        What the parameter is called.
    grid : bool
        Whether other candidates can be given, as ``prior_scales``.
    """
    scales, scores = np.asarray(scales, np.float64), np.asarray(scores, np.float64)
    scales, scores = scales[~np.isnan(scores)], scores[~np.isnan(scores)]
    best = scales[np.argmax(scores)] if len(scores) else np.nan
    if len(np.unique(scales)) < 3 or scales.min() < best < scales.max():
        return
    small = best == scales.min()
    meaning = (
        "the labels ask for weights nearer to 0 than any of them, as where X tells little of"
        " them, or only in a few directions, or its units are large: compare with a fixed"
        f" {name}, such as 2/√d for z-scored X, on held-out rows"
        f"{', or give smaller prior_scales' if grid else ''}"
        if small
        else "the labels ask for larger weights than any of them, as where a hyperplane"
        " separates the classes or the units of X are small: give "
        f"{'larger prior_scales, or ' if grid else ''}a number as {name}"
    )
    score = {"evidence": "evidence", "cv": "held-out log score"}[how]
    warnings.warn(
        f"{name} is {how!r}, and of {len(scales)} candidates from {scales.min():.3g} to "
        f"{scales.max():.3g} the {'smallest' if small else 'largest'} has the best {score}: "
        f"{meaning}",
        UserWarning,
        stacklevel=4,
    )


def _cross_validate(X, y, groups, scales, bias_scale, weights=None, folds=5) -> np.ndarray:
    X, y, groups, weights = _merged(X, y, groups, weights)
    rarest = int(min(y.sum(), len(y) - y.sum()))
    if rarest < 2:
        raise ValueError(
            "y has a class of one row, or of copies of one; prior_scale='cv' needs two rows in "
            "each"
        )
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    if groups is not None:
        rarest = min(rarest, *(len(np.unique(groups[y == label])) for label in (0, 1)))
        if rarest < 2:
            raise ValueError(
                "groups has only one group with rows of one class; prior_scale='cv' needs two "
                "groups of each"
            )
    if rarest < folds:
        warnings.warn(
            f"prior_scale is 'cv' with {rarest} folds in place of {folds}, since one class has "
            f"no more {'rows' if groups is None else 'groups'}; 'evidence' needs no folds",
            UserWarning,
            stacklevel=4,
        )
    folds = splitter(min(folds, rarest), shuffle=True, random_state=0)
    counts = np.ones(len(y)) if weights is None else weights
    total = np.zeros(len(scales))
    for train, test in folds.split(X, y, groups):
        if y[train].min() == y[train].max():
            raise ValueError(
                "groups leaves one class out of a fold; prior_scale='cv' needs more groups of "
                "each class, and 'evidence' needs none"
            )
        some = None if weights is None else weights[train]
        path = logistic_path(X[train], y[train], scales, bias_scale, some)
        log_odds = X[test] @ path.coefs.T + path.intercepts
        losses = np.logaddexp(0.0, np.where(y[test, None] == 1, -log_odds, log_odds))
        total -= (counts[test, None] * losses).sum(0)
    return total / counts.sum()


def _merged(X, y, groups, weights):
    """Rows of which none repeats another of its label and group, and their weights.

    Copies in two folds would be trained on and tested on, which favours wide priors.
    """
    if groups is None:
        X, y, weights = distinct(X, y, weights)
        return X, y, None, weights
    _, codes = np.unique(check_ids(groups, "groups", len(y)), return_inverse=True)
    X, y, weights = distinct(np.column_stack([X, codes]), y, weights)
    return X[:, :-1], y, X[:, -1].astype(int), weights
