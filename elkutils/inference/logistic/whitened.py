"""The logistic posterior in the coordinates of its Laplace approximation.

With θ = m + L⁻ᵀz, where m is the mode and LLᵀ the Hessian there, the posterior of z is exactly

    N(z; 0, I) · exp(−Σᵢ rᵢ(Δᵢ)),  Δ = A L⁻ᵀ z,

where A is the design and rᵢ the remainder of the i-th loss after its second-order expansion
about the mode. The prior has cancelled, the target is nearly a standard normal whatever the
units of X, and all numbers are of order one, so float32 is enough. Zero rows add nothing to
the sum, and zero columns only add independent normals, which are dropped.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit

from elkutils.inference.logistic.mode import Gaussian
from elkutils.inference.logistic.rows import padded


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WhitenedData:
    """Arguments of the potential, in float32: whitened rows, what the mode says, weights."""

    basis: jax.Array  # (n, k + 1), the rows of A L⁻ᵀ
    log_odds: jax.Array  # (n,)
    p: jax.Array  # (n,)
    weights: jax.Array  # (n,)


def whitened_data(
    fit: Gaussian, X: np.ndarray, weights: np.ndarray | None = None
) -> WhitenedData:
    """Return the arguments of `potential` for the posterior behind `fit`, padded with zeros.

    `weights` (n,) are those of the rows that `fit` was made with.
    """
    weights = np.ones(len(X)) if weights is None else weights
    design = np.column_stack([fit.subspace.lower(np.asarray(X, np.float64)), np.ones(len(X))])
    basis = solve_triangular(fit.factor, design.T, lower=True).T
    log_odds = design @ fit.mean
    n, k = basis.shape
    rows, columns = padded(n) - n, max(16, k) - k
    return WhitenedData(
        jnp.asarray(np.pad(basis, ((0, rows), (0, columns))), jnp.float32),
        jnp.asarray(np.pad(log_odds, (0, rows)), jnp.float32),
        jnp.asarray(np.pad(expit(log_odds), (0, rows)), jnp.float32),
        jnp.asarray(np.pad(weights, (0, rows)), jnp.float32),
    )


def potential(z: jax.Array, data: WhitenedData) -> jax.Array:
    """Return −log posterior(z) less its value at the mode: ‖z‖²/2 plus the remainders."""
    delta = data.basis @ z
    quadratic = delta * (data.p + 0.5 * data.p * (1 - data.p) * delta)
    change = jax.nn.softplus(data.log_odds + delta) - jax.nn.softplus(data.log_odds)
    return 0.5 * z @ z + jnp.sum(data.weights * (change - quadratic))
