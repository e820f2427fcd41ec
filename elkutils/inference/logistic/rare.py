"""Rare harm under the posterior of logistic regression: `inference.rare`, in good coordinates.

The tempering runs in the coordinates of the Laplace approximation, in which the posterior is
nearly a standard normal. The part of the input outside the rows of X is one more coordinate,
exactly standard normal.
"""

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from elkutils.inference._checks import check_data
from elkutils.inference.logistic.mode import laplace
from elkutils.inference.logistic.whitened import potential, whitened_data
from elkutils.inference.rare import RareHarm, repeat_tempering


def estimate_at(
    X: ArrayLike,
    y: ArrayLike,
    x: ArrayLike,
    coef_draws: ArrayLike,
    intercept_draws: ArrayLike,
    prior_scale: float,
    bias_scale: float | None = None,
    repeats: int = 8,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> RareHarm:
    """Estimate E[p] at one input under the posterior of logistic regression.

    For the posterior behind a `BayesianLogistic` fitted on X and y: ``rare.estimate_at(X, y, x,
    r.coef_draws_, r.intercept_draws_, r.prior_scale_, r.bias_scale)``.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
        p is the probability of 1. For the probability of 0 give 1 − y and the draws with the
        opposite sign.
    x : (d,) array
        The input. Its part outside the rows of X is handled exactly.
    coef_draws : (m, d) array
    intercept_draws : (m,) array
        Draws of the posterior, by a method that is exact.
    prior_scale : float
    bias_scale : float or None
    repeats, share, steps, most_moves, seed, progress
        As in `elkutils.inference.rare.estimate`.

    Returns
    -------
    elkutils.inference.rare.RareHarm

    Raises
    ------
    ValueError
        For bad data, shapes that do not fit, or what `elkutils.inference.rare.estimate` raises.
    """
    X, y = check_data(X, y, one_class=bias_scale is not None)
    x, coef = np.asarray(x, np.float64), np.asarray(coef_draws, np.float64)
    bias, d = np.asarray(intercept_draws, np.float64), X.shape[1]
    if x.shape != (d,) or not np.isfinite(x).all():
        raise ValueError(f"x has shape {x.shape}; it needs ({d},), every entry finite")
    if coef.ndim != 2 or coef.shape[1] != d or bias.shape != coef.shape[:1]:
        raise ValueError(
            f"coef_draws has shape {coef.shape} and intercept_draws {bias.shape};"
            f" they need (m, {d}) and (m,)"
        )
    fit = laplace(X, y, prior_scale, bias_scale)
    data = whitened_data(fit, X)
    inside = fit.subspace.lower(x)
    beyond = x - fit.subspace.lift(inside)
    reach = prior_scale * np.linalg.norm(beyond)
    white = fit.whiten(np.column_stack([fit.subspace.lower(coef), bias]))
    width = data.basis.shape[1]  # of the potential, which may be padded
    rng = np.random.default_rng((seed, 2))
    fresh = rng.standard_normal((len(coef), width + 1 - white.shape[1]))
    slope, row = np.zeros(width + 1), np.append(inside, 1.0)
    slope[: len(row)] = solve_triangular(fit.factor, row, lower=True)
    if reach > 1e-9 * prior_scale * np.linalg.norm(x):
        slope[-1], fresh[:, -1] = reach, coef @ beyond / reach
    white = np.column_stack([white, fresh])
    arguments = data, slope.astype(np.float32), np.float32(row @ fit.mean)
    return repeat_tempering(
        _logistic_tilt,
        _logistic_excess,
        white,
        arguments,
        repeats,
        share,
        steps,
        most_moves,
        seed,
        progress,
    )


def _logistic_tilt(z, data, slope, at_mode):
    return -jax.nn.softplus(-(at_mode + slope @ z))


def _logistic_excess(z, data, slope, at_mode):
    return 0.5 * z[:-1] @ z[:-1] - potential(z[:-1], data)
