"""The methods that draw the posterior of logistic regression: one table for all who use them.

`BayesianLogistic` draws one posterior by the `draw` of a method; simulation-based calibration
draws many small ones at once by its `draw_each`. JAX is imported when a method runs, so that
importing the table is cheap.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from elkutils.inference.draws import Draws, LinearHead
from elkutils.inference.logistic.mode import Gaussian, Subspace, laplace, row_space

if TYPE_CHECKING:
    from elkutils.inference.logistic.variational import Fit


@dataclass(frozen=True)
class Posterior:
    """The posterior of logistic regression, in the coordinates in which it is sampled.

    Attributes
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    prior_scale : float
        τ, of w ~ N(0, τ²I).
    bias_scale : float or None
        Scale of the bias's normal prior, None for a flat one.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by, positive; None for 1.
    """

    X: np.ndarray
    y: np.ndarray
    prior_scale: float
    bias_scale: float | None = None
    weights: np.ndarray | None = None

    @cached_property
    def subspace(self) -> Subspace:
        """The row space of X where d > n, which holds the likelihood; otherwise all of it."""
        n, d = self.X.shape
        return Subspace(d, row_space(self.X) if d > n else None)

    @property
    def coordinates(self) -> np.ndarray:
        """X in the subspace's coordinates, (n, k)."""
        return self.subspace.lower(self.X)

    @property
    def precision(self) -> np.ndarray:
        """Prior precision (k + 1,) of each coordinate and the bias; 0 for a flat bias."""
        basis = self.subspace.basis
        k = self.subspace.features if basis is None else basis.shape[1]
        bias = 0.0 if self.bias_scale is None else self.bias_scale**-2.0
        return np.append(np.full(k, self.prior_scale**-2.0), bias)

    def laplace(self) -> Gaussian:
        """Return the Gaussian at the mode."""
        return laplace(self.X, self.y, self.prior_scale, self.bias_scale, weights=self.weights)

    def gaussian(self, fit: "Fit") -> Gaussian:
        """Return a `variational.Fit` as a Gaussian over the weights."""
        return Gaussian(fit.mean, fit.factor, self.subspace, self.prior_scale, fit.elbo)


@dataclass(frozen=True)
class Sampler:
    """One method of drawing the posterior.

    Attributes
    ----------
    draw : callable
        ``(posterior, draws, chains, warmup, seed, progress)`` → `Draws` of (w, b), whose
        details hold "log_evidence" and "method" (the one that was used, in case of a fallback).
    draw_each : callable
        ``(X, y, fits, precision, draws, seed)`` → nearly independent draws
        (problems, draws, k + 1) of many posteriors: X (problems, n, k) with n ≥ k, y
        (problems, n), their Laplace fits and the prior precision (k + 1,).
    exact : bool
        Whether the draws converge to the posterior as their number grows.
    """

    draw: Callable
    draw_each: Callable
    exact: bool


def _draw_hmc(posterior, draws, chains, warmup, seed, progress) -> Draws:
    from elkutils.inference.logistic import hmc

    try:
        found = hmc.sample(
            posterior.coordinates,
            posterior.y,
            posterior.precision,
            draws,
            chains,
            seed,
            progress=progress,
            weights=posterior.weights,
        )
    except hmc.NotSettled as reason:
        warnings.warn(f"{reason}; drawing by NUTS instead", RuntimeWarning, stacklevel=3)
        return _draw_nuts(posterior, draws, chains, warmup, seed, progress)
    return _lifted(found, posterior.gaussian(found.details["fit"]), "hmc", seed)


def _draw_nuts(posterior, draws, chains, warmup, seed, progress) -> Draws:
    from elkutils.inference.logistic import nuts

    fit = posterior.laplace()
    found = nuts.sample(
        fit, posterior.X, draws, warmup, chains, seed, progress, posterior.weights
    )
    return _lifted(found, fit, "nuts", seed)


def _draw_variational(posterior, draws, chains, warmup, seed, progress) -> Draws:
    from elkutils.inference.logistic import importance, variational

    try:
        fit = variational.fit(
            posterior.coordinates,
            posterior.y,
            posterior.precision,
            tolerance=1e-3,
            weights=posterior.weights,
        )
    except variational.NotSettled as reason:
        warnings.warn(
            f"{reason}: these are draws of the Gaussian at the mode, not of the posterior",
            RuntimeWarning,
            stacklevel=3,
        )
        found = _draw_laplace(posterior, draws, chains, warmup, seed, progress)
        return replace(found, details=found.details | {"pareto_k": np.inf})
    target = variational.Target.of(fit)
    z, pareto_k = importance.resample(target, draws * chains, seed)
    if pareto_k > importance.RELIABLE:
        warnings.warn(
            f"the Pareto k of the importance weights is {pareto_k:.2f}: these are"
            " draws of the nearest Gaussian, not of the posterior",
            RuntimeWarning,
            stacklevel=3,
        )
    theta = (fit.mean + z @ fit.spread.T).reshape(chains, draws, -1)
    found = Draws(LinearHead(theta.shape[-1] - 1), theta, details={"pareto_k": pareto_k})
    return _lifted(found, posterior.gaussian(fit), "variational", seed)


def _draw_laplace(posterior, draws, chains, warmup, seed, progress) -> Draws:
    fit = posterior.laplace()
    shape = chains, draws, len(fit.mean)
    theta = fit.colour(np.random.default_rng(seed).standard_normal(shape))
    return _lifted(Draws(LinearHead(shape[-1] - 1), theta), fit, "laplace", seed)


def _lifted(found: Draws, fit: Gaussian, method: str, seed: int) -> Draws:
    """Draws of the weights, from draws of their coordinates in the fit's subspace."""
    rng = np.random.default_rng((seed, 1))
    coef = fit.subspace.lift_draws(found.flat[:, :-1], fit.prior_scale, rng)
    theta = np.column_stack([coef, found.flat[:, -1]])
    details = {"method": method, "log_evidence": fit.log_evidence}
    return replace(
        found,
        head=LinearHead(coef.shape[1]),
        theta=theta.reshape(*found.theta.shape[:2], -1),
        details=found.details | details,
    )


def _each_by_hmc(X, y, fits, precision, draws, seed) -> np.ndarray:
    from elkutils.inference.logistic import hmc, variational

    target, mean, spread = variational.targets(X, y, precision)
    z, _ = hmc.sample_each(target, draws, seed)
    return mean[:, None] + np.einsum("rij,rlj->rli", spread, z)


def _each_by_nuts(X, y, fits, precision, draws, seed) -> np.ndarray:
    from elkutils.inference.logistic import nuts

    return nuts.sample_each(fits, list(X), 3 * draws, 150, seed)[:, ::3]


def _each_by_importance(X, y, fits, precision, draws, seed) -> np.ndarray:
    from elkutils.inference.logistic import importance, variational

    target, mean, spread = variational.targets(X, y, precision)
    z, _ = importance.resample_each(target, draws, seed)
    return mean[:, None] + np.einsum("rij,rlj->rli", spread, z)


def _each_by_laplace(X, y, fits, precision, draws, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.column_stack(fit.draw(draws, rng)) for fit in fits])


SAMPLERS = {
    "hmc": Sampler(_draw_hmc, _each_by_hmc, exact=True),
    "nuts": Sampler(_draw_nuts, _each_by_nuts, exact=True),
    "variational": Sampler(_draw_variational, _each_by_importance, exact=True),
    "laplace": Sampler(_draw_laplace, _each_by_laplace, exact=False),
}
