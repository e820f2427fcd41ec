"""Bayesian logistic regression: draws from the posterior of a linear reporter."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from elkutils._inputs import check_order
from elkutils.inference._checks import (
    check_choice,
    check_counts,
    check_scale,
    far_centre,
    warn_of_units,
)
from elkutils.inference.diagnostics import warn_unless_converged
from elkutils.inference.draws import LinearHead
from elkutils.inference.logistic.samplers import SAMPLERS, Posterior
from elkutils.reporters.base import PosteriorReporter
from elkutils.reporters.logistic_map import evidence_scale
from elkutils.reporters.weights import distinct, warn_of_few

if TYPE_CHECKING:
    from arviz import InferenceData

    from elkutils.inference.diagnostics import Diagnostics


class BayesianLogistic(PosteriorReporter):
    """The posterior of logistic regression with w ~ N(0, τ²I) and a flat or normal bias.

    Probabilities are posterior predictive: the mean over the draws. `decision_function` is
    their log odds, so it is not linear in x; `coef_` is the posterior mean, and `coef_draws_`
    and `intercept_draws_` are the draws.

    Parameters
    ----------
    prior_scale : float or "evidence"
        τ, in the units of 1/X; "evidence" takes the τ of largest Laplace evidence on a grid
        that suits X.
    bias_scale : float or None
        Scale of the normal prior of the bias, None for a flat one.
    method : "hmc", "nuts", "variational" or "laplace"
        "hmc" and "nuts" draw from the exact posterior. "hmc" splits it about the nearest
        Gaussian and is much the faster; where the posterior is far wider, as on separable data,
        it widens that Gaussian, goes on until its slowest directions are drawn well, and warns
        if that does not come; where no Gaussian can be fitted it warns and uses "nuts"
        instead. "variational" draws from that Gaussian
        and corrects by importance where `pareto_k_` is below 0.7; where no Gaussian is near it
        warns and draws as "laplace" does, from a normal at the mode.
    draws : int
        Draws kept per chain, so `draws * chains` in all, for every method.
    warmup : int
        Draws that adapt the step size of NUTS.
    chains : int
        HMC moves all chains at once. Eight of 500 draws cost little more than sixteen of 250,
        and R-hat judges them better: its own noise shrinks with a chain's length.
    seed : int
        The same seed on the same machine gives the same draws.
    progress : bool
        Show the progress of HMC or NUTS.
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
    log_evidence_ : float
        Log p(y | X, τ) in nats, up to a constant if the bias is flat: Laplace's approximation
        for "nuts" and "laplace", and the variational lower bound for the others.
    pareto_k_ : float
        k̂ of the importance weights, infinite where no Gaussian was near; NaN for methods other
        than "variational".

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> reporter = BayesianLogistic(method="laplace", draws=10, chains=2).fit(X, y)
    >>> reporter.sample_proba(X).shape
    (20, 6)
    >>> reporter.predict_proba([[0.0]]).round(1).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        prior_scale: float | str = 1.0,
        bias_scale: float | None = None,
        method: str = "hmc",
        draws: int = 500,
        warmup: int = 500,
        chains: int = 8,
        seed: int = 0,
        progress: bool = False,
        class_weight: dict | str | None = None,
        positive: object = None,
    ):
        self.prior_scale = prior_scale
        self.bias_scale = bias_scale
        self.method = method
        self.draws = draws
        self.warmup = warmup
        self.chains = chains
        self.seed = seed
        self.progress = progress
        self.class_weight = class_weight
        self.positive = positive

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "BayesianLogistic":
        """Draw from the posterior given X (n, d) and the two labels y (n,).

        Parameters
        ----------
        X : (n, d) array
            Equal rows of one label are merged and weighted, which is the same posterior.
        y : (n,) array of two labels
        sample_weight : (n,) array or None
            What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it
            twice.

        Raises
        ------
        ValueError
            For bad input, scales, counts or an unknown method.

        Warns
        -----
        RuntimeWarning
            If chains have not converged (HMC judges its slowest directions, NUTS all
            parameters), or a method took another's place.
        UserWarning
            If `prior_scale` does not suit the units of X, or is at the edge of its grid.
        """
        check_order(X=X, sample_weight=sample_weight)
        X, y = self._check_training(X, y)
        rows = self._weighted(X, y, sample_weight)
        warn_of_few(rows[2])
        X, y, weights = distinct(*rows)
        self._check_parameters()
        centre = far_centre(X) if self.bias_scale is None else None
        X = X if centre is None else X - centre
        if isinstance(self.prior_scale, str):
            self.prior_scale_, _ = evidence_scale(X, y, self.bias_scale, weights=weights)
        else:
            self.prior_scale_ = check_scale("prior_scale", self.prior_scale)
        if np.isinf(self.prior_scale_):
            raise ValueError("prior_scale is infinite; a posterior needs a finite one")
        if not isinstance(self.prior_scale, str):
            warn_of_units(X, self.prior_scale_)
        posterior = Posterior(X, y, self.prior_scale_, self.bias_scale, weights)
        self.draws_ = SAMPLERS[self.method].draw(
            posterior, self.draws, self.chains, self.warmup, self.seed, self.progress
        )
        if centre is not None:
            theta = self.draws_.theta.copy()
            theta[..., -1] -= theta[..., :-1] @ centre
            self.draws_ = replace(self.draws_, theta=theta)
        self._keep_rows(*rows)
        if self.draws_.details["method"] == "nuts":
            warn_unless_converged(
                self.diagnostics_, "more warmup or draws help, or a smaller prior_scale"
            )
        self.log_evidence_ = self.draws_.details["log_evidence"]
        self.pareto_k_ = self.draws_.details.get("pareto_k", np.nan)
        return self

    @property
    def coef_draws_(self) -> np.ndarray:
        """Weights of each draw, (draws · chains, d), chain by chain."""
        return self.draws_.flat[:, :-1]

    @property
    def intercept_draws_(self) -> np.ndarray:
        """Bias of each draw, (draws · chains,), chain by chain."""
        return self.draws_.flat[:, -1]

    @property
    def coef_(self) -> np.ndarray:
        """Posterior mean of the weights, (1, d)."""
        return self.coef_draws_.mean(axis=0, keepdims=True)

    @property
    def intercept_(self) -> np.ndarray:
        """Posterior mean of the bias, (1,)."""
        return self.intercept_draws_.mean(keepdims=True)

    @property
    def sample_stats_(self) -> dict[str, np.ndarray]:
        """Statistics of each draw of HMC or NUTS, (chains, draws), under the names of ArviZ."""
        return self.draws_.stats

    @property
    def idata(self) -> "InferenceData":
        """The draws as ArviZ `InferenceData`, with dimensions chain, draw, feature and row.

        ``log_likelihood`` is that of each training row of positive weight, in their order and
        times their weight, so that `arviz.loo` leaves out one after the other. It is missing
        where draws · rows is above 2²⁴, which bounds the memory, and from a reporter that was
        loaded, which has no training rows. `arviz.loo` takes the draws for those of the
        posterior, also where "laplace" made them. Only "nuts" has an ``energy``, which
        `arviz.plot_energy` needs; other draws have the log posterior as ``lp``.
        """
        import arviz

        check_is_fitted(self)
        features = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        return arviz.from_dict(
            posterior=self.draws_.parameters,
            coords={"feature": features},
            dims={"coef": ["feature"], "y": ["row"]},
            **self._for_arviz(),
        )

    @property
    def diagnostics_(self) -> "Diagnostics":
        """R-hat, ESS and divergences of every parameter: `elkutils.inference.diagnostics`."""
        check_is_fitted(self)
        return self.draws_.diagnose_parameters()

    def restore(self, arrays: dict[str, np.ndarray | float]) -> None:
        """Undo `state`; a state of version 0.1 works too."""
        if "draws_.theta" not in arrays:
            arrays = _renamed(arrays, self.chains)
        super().restore(arrays)

    def _head(self) -> LinearHead:
        return LinearHead(self.n_features_in_)

    def _check_parameters(self) -> None:
        check_choice("method", self.method, SAMPLERS)
        if self.bias_scale is not None:
            check_scale("bias_scale", self.bias_scale)
        if isinstance(self.prior_scale, str) and self.prior_scale != "evidence":
            raise ValueError(
                f'prior_scale is {self.prior_scale!r}; it has to be positive or "evidence"'
            )
        check_counts(draws=self.draws, chains=self.chains)
        check_counts(least=0, warmup=self.warmup, seed=self.seed)


def _renamed(arrays: dict, chains: int) -> dict:
    """Return the state of version 0.1 under its present names."""
    arrays = dict(arrays)
    coef, intercept = arrays.pop("coef_draws_"), arrays.pop("intercept_draws_")
    theta = np.column_stack([coef, intercept])
    found = {"draws_.theta": theta.reshape(chains, -1, theta.shape[1])}
    for name, value in arrays.items():
        if name not in ("coef_", "intercept_"):
            found[name.replace("sample_stats_.", "draws_.stats.")] = value
    return found
