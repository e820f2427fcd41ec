"""Bayesian logistic regression: draws from the posterior of a linear reporter."""

import numbers

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp
from sklearn.utils.validation import check_is_fitted

from elkutils.inference.logistic import check_scale, laplace
from elkutils.reporters.base import Reporter
from elkutils.reporters.logistic import evidence_scale


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
    method : "nuts" or "laplace"
        NUTS draws from the exact posterior; Laplace's approximation is a normal at the mode.
    draws : int
        Kept in each chain, so `draws * chains` in all (for both methods).
    warmup : int
        Draws that adapt NUTS' step size.
    chains : int
    seed : int
        The same seed on the same machine gives the same draws.
    progress : bool
        Show NUTS' progress.

    Attributes
    ----------
    coef_draws_ : (draws · chains, d) array
    intercept_draws_ : (draws · chains,) array
    prior_scale_ : float
        τ used.
    log_evidence_ : float
        Laplace's approximation to log p(y | X, τ) in nats, to a constant if the bias is flat.
    sample_stats_ : dict of (chains, draws) arrays
        What NUTS says of each draw, under ArviZ's names; empty for Laplace.
    """

    def __init__(
        self,
        prior_scale: float | str = 1.0,
        bias_scale: float | None = None,
        method: str = "nuts",
        draws: int = 1000,
        warmup: int = 500,
        chains: int = 4,
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
        fit = laplace(X, y, self.prior_scale_, self.bias_scale)
        self.log_evidence_ = fit.log_evidence
        rng = np.random.default_rng(self.seed)
        if self.method == "laplace":
            coef, intercept = fit.draw(self.draws * self.chains, rng)
            self.sample_stats_ = {}
        else:
            coef, intercept, self.sample_stats_ = self._nuts(fit, X, rng)
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

    def _nuts(self, fit, X, rng):
        from elkutils.inference import nuts

        result = nuts.sample(
            fit, X, self.draws, self.warmup, self.chains, self.seed, self.progress
        )
        theta = result.theta.reshape(-1, result.theta.shape[-1])
        coef = fit.subspace.lift_draws(theta[:, :-1], self.prior_scale_, rng)
        names = ("diverging", "acceptance_rate", "n_steps", "tree_depth", "energy")
        return coef, theta[:, -1], {name: getattr(result, name) for name in names}

    def _log_odds_draws(self, X: np.ndarray) -> np.ndarray:
        return self.coef_draws_ @ X.T + self.intercept_draws_[:, None]

    def _log_odds(self, X: np.ndarray) -> np.ndarray:
        draws = self._log_odds_draws(X)
        log_p = logsumexp(-np.logaddexp(0.0, -draws), axis=0)
        return log_p - logsumexp(-np.logaddexp(0.0, draws), axis=0)

    def _by_chain(self, draws: np.ndarray) -> np.ndarray:
        return draws.reshape(self.chains, self.draws, *draws.shape[1:])

    def _check_parameters(self) -> None:
        if self.method not in ("nuts", "laplace"):
            raise ValueError(f'method is {self.method!r}; it has to be "nuts" or "laplace"')
        if isinstance(self.prior_scale, str) and self.prior_scale != "evidence":
            raise ValueError(
                f'prior_scale is {self.prior_scale!r}; it has to be positive or "evidence"'
            )
        for name, least in (("draws", 1), ("warmup", 0), ("chains", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} is {value!r}; it has to be a whole number ≥ {least}")
