"""Linear regression with normal prior and noise, where everything is known in closed form.

The model is w ~ N(0, τ²I), y = Xw + σ·noise. The module has its posterior, ensembles whose
members are exact draws from it, and the result of plain gradient descent from a prior draw. A
bias is a column of ones. Everything is in float64 NumPy.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import multivariate_normal

from elkutils._inputs import check_finite, is_number, numbers


@dataclass(frozen=True)
class Posterior:
    """The normal posterior of w.

    Attributes
    ----------
    mean : (d,) array
    covariance : (d, d) array
    """

    mean: np.ndarray
    covariance: np.ndarray


def posterior(X: np.ndarray, y: np.ndarray, prior_scale: float, noise: float) -> Posterior:
    """Return the posterior of w given X (n, d) and y (n,).

    Its precision is XᵀX/σ² + I/τ² and its mean the ridge solution (Bishop 2006, eqs. 3.53 and
    3.54). With `noise` 0 it is the limit σ → 0: mean X⁺y, and τ² times the projector on the
    null space of X for the covariance.

    Raises
    ------
    ValueError
        If shapes do not match, `prior_scale` is not positive or `noise` is negative.

    Examples
    --------
    One observation of one weight, with prior and noise of the same scale, moves it half way.

    >>> found = posterior(np.array([[1.0]]), np.array([2.0]), prior_scale=1.0, noise=1.0)
    >>> print(f"{found.mean[0]:.2f} ± {found.covariance[0, 0] ** 0.5:.2f}")
    1.00 ± 0.71
    """
    X, y = _check(X, y, prior_scale, noise)
    basis, values = _row_space(X)
    gain = prior_scale**2 * values / (prior_scale**2 * values**2 + noise**2)
    left = X @ basis / values
    mean = basis @ (gain * (left.T @ y))
    known = basis * (gain * values) @ basis.T
    return Posterior(mean, prior_scale**2 * (np.eye(X.shape[1]) - known))


def log_evidence(X: np.ndarray, y: np.ndarray, prior_scale: float, noise: float) -> float:
    """Return the log density of y (n,) under the prior, in nats: N(0, τ²XXᵀ + σ²I).

    Raises
    ------
    ValueError
        As `posterior`, and if `noise` is 0.
    """
    X, y = _check(X, y, prior_scale, noise)
    if noise == 0:
        raise ValueError("noise is 0; it has to be positive for y to have a density")
    covariance = prior_scale**2 * X @ X.T + noise**2 * np.eye(len(y))
    return float(multivariate_normal(cov=covariance).logpdf(y))


def sample_then_optimise(
    X: np.ndarray,
    y: np.ndarray,
    prior_scale: float,
    noise: float,
    members: int,
    rng: np.random.Generator,
    *,
    anchored: bool = True,
    perturbed: bool = True,
) -> np.ndarray:
    """Return the minimisers (members, d) of ‖y + σε − Xw‖²/σ² + ‖w − w₀‖²/τ².

    Each member has its own noise ε and its own prior draw w₀, and is then an exact draw from
    the posterior (Matthews, Hron, Turner & Ghahramani 2017, *Sample-then-optimize posterior
    sampling for Bayesian linear models*). Without either it is not: `anchored=False` sets w₀
    to 0, `perturbed=False` sets ε to 0.

    Raises
    ------
    ValueError
        As `posterior`, and if `noise` is 0; for that case see `least_squares_flow`.
    """
    X, y = _check(X, y, prior_scale, noise)
    if noise == 0:
        raise ValueError("noise is 0; it has to be positive to weigh labels against the prior")
    n, d = X.shape
    start = anchored * prior_scale * rng.standard_normal((members, d))
    labels = y + perturbed * noise * rng.standard_normal((members, n))
    return minimise(X, labels, start, noise / prior_scale)


def minimise(X: np.ndarray, y: np.ndarray, start: np.ndarray, ratio: float) -> np.ndarray:
    """Return the minimisers (members, d) of ‖y − Xw‖² + ρ²‖w − w₀‖².

    ρ = σ/τ is the `ratio`.

    Parameters
    ----------
    X : (n, d) array
    y : (members, n) array
        Each member's labels.
    start : (members, d) array
        Each member's w₀.
    ratio : float
    """
    factor = cho_factor(X @ X.T + ratio**2 * np.eye(len(X)))
    return start + cho_solve(factor, (y - start @ X.T).T).T @ X


def least_squares_flow(
    X: np.ndarray, y: np.ndarray, start: np.ndarray, time: float
) -> np.ndarray:
    """Return the point that gradient flow on ½‖y − Xw‖² has reached at `time`.

    At time ∞ it is w₀ + X⁺(y − Xw₀): the part of w₀ in the null space of X does not change.
    Gradient descent with steps below 2/λ, where λ is the largest eigenvalue of XᵀX, has the
    same limit.

    Examples
    --------
    The first weight is fitted; the second has no data and stays at its start.

    >>> X, y, start = np.array([[1.0, 0.0]]), np.array([2.0]), np.array([[0.0, 3.0]])
    >>> least_squares_flow(X, y, start, np.inf).tolist()
    [[2.0, 3.0]]
    """
    X, y = _check(X, y, 1.0, 0.0)
    basis, values = _row_space(X)
    start = np.atleast_2d(np.asarray(start, np.float64))
    left = X @ basis / values
    target = (left.T @ y) / values
    return start + (-np.expm1(-(values**2) * time) * (target - start @ basis)) @ basis.T


def _row_space(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis (d, r) of the row space, and the r singular values above 0."""
    _, values, right = np.linalg.svd(X, full_matrices=False)
    rank = int(np.sum(values > values.max(initial=0) * max(X.shape) * np.finfo(float).eps))
    return right[:rank].T, values[:rank]


def _check(X, y, prior_scale, noise) -> tuple[np.ndarray, np.ndarray]:
    X, y = numbers(X, "X").astype(np.float64), numbers(y, "y").astype(np.float64)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}; they need (n, d) and (n,)")
    check_finite(X, "X")
    check_finite(y, "y")
    if not (is_number(prior_scale) and 0 < prior_scale < np.inf):
        raise ValueError(f"prior_scale is {prior_scale}; it has to be positive and finite")
    if not (is_number(noise) and 0 <= noise < np.inf):
        raise ValueError(f"noise is {noise}; it has to be finite and not negative")
    return X, y
