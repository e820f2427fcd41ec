"""Toy posteriors over two parameters in which the mean of a rare harm is known.

In the first, log odds are normal. In the second a corner that holds little mass and nearly
certain harm lies where nothing on the way leads uphill. Densities and log p are what
`elkutils.inference.rare.estimate` takes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from elkutils.evaluation import Interval
from elkutils.inference.rare import RareHarm

CORNER = (0.0, 12.0)
FENCE, SLOPE, RISE = 9.0, 2.0, 20.0  # where harm begins, and log odds before and after it
FAR = -15.0


def normal_density(theta: jax.Array, *_: object) -> jax.Array:
    """Return the log density of N(0, I) at θ (2,), up to a constant."""
    return -0.5 * theta @ theta


def log_harm(theta: jax.Array, shift: float, slope: float) -> jax.Array:
    """Return log p where the log odds of harm are shift + slope · θ₀."""
    return -jax.nn.softplus(-(shift + slope * theta[0]))


def mean_harm(shift: float, slope: float) -> float:
    """Return E[p] by quadrature for log odds N(shift, slope²)."""
    return quad(
        lambda z: expit(shift + slope * z) * norm.pdf(z), -12, 12, limit=400, points=(0, 5, 8)
    )[0]


def density_with_corner(theta: jax.Array, mass: float) -> jax.Array:
    """Return the log density at θ (2,) of N(0, I) and, with this `mass`, N(`CORNER`, I)."""
    away = jnp.sum((theta - jnp.array(CORNER)) ** 2)
    return jnp.logaddexp(jnp.log1p(-mass) + normal_density(theta), jnp.log(mass) - 0.5 * away)


def log_harm_in_corner(theta: jax.Array, mass: float) -> jax.Array:
    """Return log p: next to nothing about the origin, and near certainty in the corner."""
    log_odds = FAR + SLOPE * theta[0] + RISE * jax.nn.sigmoid(4 * (theta[1] - FENCE))
    return -jax.nn.softplus(-log_odds)


def mean_harm_with_corner(mass: float) -> float:
    """Return E[p] for `density_with_corner` by quadrature, the fence taken for a step."""
    seen, unseen = mean_harm(FAR, SLOPE), mean_harm(FAR + RISE, SLOPE)
    return (1 - mass) * seen + mass * unseen


def off_by(found: RareHarm, answer: float, doubt: float = 0.0) -> Interval:
    """Return log₁₀ of an estimate over the answer, with three standard errors either way.

    Parameters
    ----------
    found : RareHarm
        The estimate and its relative standard error.
    answer : float
        Above 0.
    doubt : float
        Standard error of the answer, 0 if it is exact.
    """
    error = 3 * np.hypot(found.relative_error, doubt / answer)
    return Interval(
        *np.log10(found.estimate / answer * np.array([1, 1 / (1 + error), 1 + error]))
    )
