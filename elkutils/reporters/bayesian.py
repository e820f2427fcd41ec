"""Bayesian logistic regression: draws from the posterior of a linear reporter."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from elkutils.inference.logistic import (
    Gaussian,
    Subspace,
    check_scale,
    laplace,
    row_space,
)
from elkutils.reporters.base import Reporter, check_counts, mean_log_odds
from elkutils.reporters.logistic import evidence_scale

METHODS = ("hmc", "nuts", "variational", "laplace")


class BayesianLogistic(Reporter):
    """The posterior of logistic regression with w ~ N(0, τ²I) and a flat or normal bias.

    Probabilities are posterior predictive: the mean over the draws. `decision_function` is
    their log odds, so it is not linear in x; `coef_` is the posterior mean.

    Parameters
    ----------
    prior_scale : float or "evidence"
        τ, in the units of 1/X, or the one of largest Laplace evidence on a grid that suits X.
    bias_scale : float or None
        Scale of the bias's normal prior, None for a flat one.
    method : "hmc", "nuts", "variational" or "laplace"
        "hmc" and "nuts" draw from the exact posterior. The first splits it about the nearest
        Gaussian and is by far the faster; where there is no Gaussian near enough (separable
        data under a loose prior) it warns and leaves the work to the second. "variational"
        draws from that Gaussian and corrects by importance where `pareto_k_` is below 0.7.
        "laplace" is a normal at the mode.
    draws : int
        Kept in each chain, so `draws * chains` in all, for every method.
    warmup : int
        Draws that adapt NUTS' step size.
    chains : int
        HMC moves all chains at once, so many short ones cost less than few long ones.
    seed : int
        The same seed on the same machine gives the same draws.
    progress : bool
        Show how far HMC or NUTS is.

    Attributes
    ----------
    coef_draws_ : (draws · chains, d) array
    intercept_draws_ : (draws · chains,) array
    prior_scale_ : float
        τ used.
    log_evidence_ : float
        Log p(y | X, τ) in nats, to a constant if the bias is flat: Laplace's approximation for
        "nuts" and "laplace", for the others the variational lower bound.
    sample_stats_ : dict of (chains, draws) arrays
        What HMC or NUTS says of each draw, under ArviZ's names; otherwise empty.
    pareto_k_ : float
        Of the importance weights; NaN for other methods than "variational".
    """

    def __init__(
        self,
        prior_scale: float | str = 1.0,
        bias_scale: float | None = None,
        method: str = "hmc",
        draws: int = 250,
        warmup: int = 500,
        chains: int = 16,
        seed: int = 0,
        progress: bool = False,
    ):
        self.prior_scale = prior_scale
        self.bias_scale = bias_scale
        self.method = method
        self.draws = draws
        self.warmup = warmup
        self.chains = chains
        self.seed = seed
        self.progress = progress

    def fit(self, X: ArrayLike, y: ArrayLike) -> "BayesianLogistic":
        """Draw from the posterior given X (n, d) and the two labels y (n,).

        Raises
        ------
        ValueError
            For bad input, scales, counts or an unknown method.
        """
        X, y = self._check_training(X, y)
        self._check_parameters()
        if isinstance(self.prior_scale, str):
            self.prior_scale_, _ = evidence_scale(X, y, self.bias_scale)
        else:
            self.prior_scale_ = check_scale("prior_scale", self.prior_scale)
        if np.isinf(self.prior_scale_):
            raise ValueError("prior_scale is infinite; a posterior needs a finite one")
        self.pareto_k_, self.sample_stats_ = np.nan, {}
        fit, theta = getattr(self, f"_{self.method}")(X, y)
        self.log_evidence_ = fit.log_evidence
        theta = theta.reshape(-1, theta.shape[-1])
        rng = np.random.default_rng((self.seed, 1))
        coef = fit.subspace.lift_draws(theta[:, :-1], self.prior_scale_, rng)
        intercept = theta[:, -1]
        self.coef_draws_, self.intercept_draws_ = coef, intercept
        self.coef_ = coef.mean(axis=0, keepdims=True)
        self.intercept_ = intercept.mean(keepdims=True)
        return self

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return posterior draws of P(y = classes_[1] | x), (draws · chains, n)."""
        return expit(self._log_odds_draws(self._check(X)))

    @property
    def idata(self):
        """The draws as ArviZ `InferenceData`, with dimensions chain, draw and feature."""
        import arviz

        check_is_fitted(self)
        features = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        return arviz.from_dict(
            posterior={
                "coef": self._by_chain(self.coef_draws_),
                "intercept": self._by_chain(self.intercept_draws_),
            },
            sample_stats=self.sample_stats_ or None,
            coords={"feature": features},
            dims={"coef": ["feature"]},
        )

    @property
    def diagnostics_(self):
        """R-hat, ESS and divergences of the draws: an `elkutils.inference.Diagnostics`."""
        from elkutils.inference.diagnostics import diagnose

        check_is_fitted(self)
        theta = np.column_stack([self.coef_draws_, self.intercept_draws_])
        return diagnose(self._by_chain(theta), self.sample_stats_.get("diverging"))

    def _laplace(self, X, y):
        fit = laplace(X, y, self.prior_scale_, self.bias_scale)
        rng = np.random.default_rng(self.seed)
        shape = self.draws * self.chains, len(fit.mean)
        return fit, fit.colour(rng.standard_normal(shape))

    def _nuts(self, X, y):
        from elkutils.inference import nuts

        fit = laplace(X, y, self.prior_scale_, self.bias_scale)
        result = nuts.sample(
            fit, X, self.draws, self.warmup, self.chains, self.seed, self.progress
        )
        self.sample_stats_ = result.stats
        return fit, result.theta

    def _hmc(self, X, y):
        from elkutils.inference import hmc

        problem = self._reduced(X)
        try:
            result = hmc.sample(
                problem.coordinates,
                y,
                problem.precision,
                self.draws,
                self.chains,
                self.seed,
                progress=self.progress,
            )
        except hmc.NotSettled as reason:
            warnings.warn(f"{reason}; drawing by NUTS instead", RuntimeWarning, stacklevel=3)
            return self._nuts(X, y)
        self.sample_stats_ = result.stats
        return problem.gaussian(result.fit), result.theta

    def _variational(self, X, y):
        from elkutils.inference import hmc, importance
        from elkutils.inference.variational import Target

        problem = self._reduced(X)
        found = hmc.fit(problem.coordinates, y, problem.precision, tolerance=1e-3)
        z, self.pareto_k_ = importance.resample(
            Target.of(found), self.draws * self.chains, self.seed
        )
        if self.pareto_k_ > importance.RELIABLE:
            warnings.warn(
                f"the Pareto k of the importance weights is {self.pareto_k_:.2f}: these are"
                " draws of the nearest Gaussian, not of the posterior",
                RuntimeWarning,
                stacklevel=3,
            )
        return problem.gaussian(found), found.mean + z @ found.spread.T

    def _reduced(self, X) -> "_Reduced":
        n, d = X.shape
        basis = row_space(X) if d > n else None
        coordinates = X if basis is None else X @ basis
        precision = np.full(coordinates.shape[1] + 1, self.prior_scale_**-2.0)
        precision[-1] = 0.0 if self.bias_scale is None else self.bias_scale**-2.0
        return _Reduced(coordinates, precision, Subspace(d, basis), self.prior_scale_)

    def _log_odds_draws(self, X: np.ndarray) -> np.ndarray:
        return self.coef_draws_ @ X.T + self.intercept_draws_[:, None]

    def _log_odds(self, X: np.ndarray) -> np.ndarray:
        return mean_log_odds(self._log_odds_draws(X))

    def _by_chain(self, draws: np.ndarray) -> np.ndarray:
        return draws.reshape(self.chains, self.draws, *draws.shape[1:])

    def _check_parameters(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"method is {self.method!r}; it has to be one of {', '.join(METHODS)}"
            )
        if isinstance(self.prior_scale, str) and self.prior_scale != "evidence":
            raise ValueError(
                f'prior_scale is {self.prior_scale!r}; it has to be positive or "evidence"'
            )
        check_counts(self, {"draws": 1, "warmup": 0, "chains": 1, "seed": 0})


@dataclass(frozen=True)
class _Reduced:
    """The problem in the coordinates in which it is sampled."""

    coordinates: np.ndarray
    precision: np.ndarray
    subspace: Subspace
    prior_scale: float

    def gaussian(self, fit) -> Gaussian:
        return Gaussian(fit.mean, fit.factor, self.subspace, self.prior_scale, fit.elbo)
