"""Directions that a linear probe can take from one data set, and the angles between them.

`ClassMoments` holds what the theorems about difference in means are written in;
`posterior_mean_turn` and `ridge_limit` are what two of them predict. The rest are independent
ways to weights which the theorems are checked against: the posterior mean by quadrature and by
importance sampling, gradient flow, and two spherical Gaussians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, logit, roots_hermitenorm
from scipy.stats import multivariate_normal

QUADRATURE_FEATURES = 3


def angle(first: ArrayLike, second: ArrayLike) -> np.ndarray | float:
    """Return the angle in radians between vectors (..., d) and (..., d), broadcast.

    Kahan's formula 2·atan2(‖u − v‖, ‖u + v‖) for unit u, v keeps its relative precision at
    angles far below the 1e-8 where an arc cosine has none.
    """
    first, second = (_unit(np.asarray(v, dtype=np.float64)) for v in (first, second))
    difference = np.linalg.norm(first - second, axis=-1)
    return 2 * np.arctan2(difference, np.linalg.norm(first + second, axis=-1))


def tilt(matrix: np.ndarray, direction: ArrayLike) -> float:
    """Return ‖P⊥ S v̂‖: how far S (d, d) turns the unit vector v̂ along v (d,) out of its line.

    It is 0 exactly where v is an eigenvector of S.
    """
    unit = _unit(np.asarray(direction, dtype=np.float64))
    turned = matrix @ unit
    return float(np.linalg.norm(turned - (unit @ turned) * unit))


@dataclass(frozen=True)
class ClassMoments:
    """First and second moments of two classes.

    Attributes
    ----------
    share : float
        π, the share of rows with y = 1.
    delta : (d,) array
        δ = mean₁ − mean₀.
    within, total : (d, d) arrays
        Scatter about the classes' own means and about the common mean: sums over rows, not
        divided by n; total = within + n π(1 − π) δδᵀ.
    """

    share: float
    delta: np.ndarray
    within: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, X: ArrayLike, y: ArrayLike) -> "ClassMoments":
        """Compute the moments of X (n, d) and y (n,) in {0, 1}, both present."""
        X, y = _check(X, y)
        mean_0, mean_1 = X[y == 0].mean(axis=0), X[y == 1].mean(axis=0)
        own = X - np.where(y[:, None] == 1, mean_1, mean_0)
        centred = X - X.mean(axis=0)
        return cls(y.mean(), mean_1 - mean_0, own.T @ own, centred.T @ centred)

    def scale(self, strength: float | np.ndarray) -> float | np.ndarray:
        """Return the prior scale τ at which τ² π(1 − π) λ_max(total) equals `strength`.

        The expansions in τ² are in powers of this number.
        """
        top = np.linalg.eigvalsh(self.total)[-1]
        return np.sqrt(strength / (self.share * (1 - self.share) * top))


def ridge_limit(moments: ClassMoments, rows: int) -> tuple[np.ndarray, float]:
    """Return the direction of ridge regression as its penalty goes to 0.

    Parameters
    ----------
    moments : ClassMoments
        Of `rows` rows in general position.
    rows : int

    Returns
    -------
    direction : (d,) array
        Fisher's discriminant S_W⁻¹δ; or, with more than rows − 2 features, δ projected on the
        null space of S_W, along which each class falls on one point.
    smallest : float
        The smallest eigenvalue of S_W above 0. The limit needs penalties far below it.
    """
    roots, basis = np.linalg.eigh(moments.within)
    zeros = max(len(roots) - (rows - 2), 0)
    if zeros:
        null = basis[:, :zeros]
        return null @ (null.T @ moments.delta), float(roots[zeros])
    return np.linalg.solve(moments.within, moments.delta), float(roots[0])


def margin(X: ArrayLike, y: ArrayLike, direction: ArrayLike) -> float:
    """Return half of the gap between the classes along a direction (d,).

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present
    direction : (d,) array, of any length above 0

    Returns
    -------
    float
        Negative where the classes overlap along the direction.
    """
    X, y = _check(X, y)
    along = X @ _unit(np.asarray(direction, dtype=np.float64))
    return float(along[y == 1].min() - along[y == 0].max()) / 2


def spherical_gaussians(X: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Return the weights (d,) of the log odds of two Gaussians with a common variance.

    Maximum likelihood gives the classes' means, and one variance for all coordinates of both.
    The weights come from the fitted log densities at the origin and at the unit vectors.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present
    """
    X, y = _check(X, y)
    variance = np.trace(ClassMoments.of(X, y).within) / X.size
    corners = np.concatenate([np.zeros((1, X.shape[1])), np.eye(X.shape[1])])
    zero, one = (
        multivariate_normal(X[y == label].mean(axis=0), variance).logpdf(corners)
        for label in (0, 1)
    )
    return (one - zero)[1:] - (one - zero)[0]


def posterior_mean_turn(X: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Return how the posterior mean turns from δ: a vector (d,) perpendicular to δ.

    Under a tight prior of scale τ, the mean over its length along δ is δ/‖δ‖ − τ² times this
    vector, to second order. It is the part perpendicular to g of the expansion's second term,
    m₂ S_T g + m₃/2 Σ‖xᵢ‖²xᵢ for centred x, over ‖g‖, where g = Σ yᵢxᵢ,
    m₂ = n₁n₀ / n(n + 1) and m₃ = m₂ (n₀ − n₁) / (n + 2).

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present
    """
    X, y = _check(X, y)
    n, n1 = len(y), y.sum()
    m2 = n1 * (n - n1) / (n * (n + 1))
    m3 = m2 * (n - 2 * n1) / (n + 2)
    x = X - X.mean(axis=0)
    g = y @ x
    turn = m2 * (x @ g) @ x + m3 / 2 * (x**2).sum(axis=1) @ x
    along = _unit(g)
    return (turn - (turn @ along) * along) / np.linalg.norm(g)


def posterior_mean(
    X: ArrayLike, y: ArrayLike, prior_scale: float, nodes: int = 10
) -> np.ndarray:
    """Return the posterior mean (d,) of the logistic weights by quadrature.

    The prior is w ~ N(0, τ²I) with a flat bias. It uses Gauss–Hermite nodes for w/τ and an
    evenly spaced grid for the bias. The error is negligible where τ times the length of a row
    is below about 1, and not controlled above that.

    Parameters
    ----------
    X : (n, d) array
        d is at most 3, because the number of nodes is ``nodes**d``.
    y : (n,) array of 0 and 1, both present
    prior_scale : float
        τ.
    nodes : int
        Gauss–Hermite nodes per feature.

    Raises
    ------
    ValueError
        For bad data, or more than 3 features.
    """
    X, y = _check(X, y)
    d = X.shape[1]
    if d > QUADRATURE_FEATURES:
        raise ValueError(f"X has {d} features; quadrature takes at most {QUADRATURE_FEATURES}")
    points, masses = roots_hermitenorm(nodes)
    w = prior_scale * np.stack(np.meshgrid(*[points] * d), axis=-1).reshape(-1, d)
    mass = np.prod(np.meshgrid(*[masses] * d), axis=0).ravel()
    X = X - X.mean(axis=0)
    log_weights, proba = _integrate_bias(X, y, w, _bias_grid(y, 161))
    weights = mass * np.exp(log_weights - log_weights.max())
    return prior_scale**2 * (y - weights @ proba / weights.sum()) @ X


def sampled_posterior_mean(
    X: ArrayLike,
    y: ArrayLike,
    prior_scale: float,
    pairs: int = 1000,
    batches: int = 20,
    seed: int = 0,
) -> np.ndarray:
    """Return independent importance-sampling estimates (batches, d) of the posterior mean.

    The proposal is the prior, in antithetic pairs w, −w, and the bias is integrated out on a
    grid; Stein's identity E[w] = τ² Σ(yᵢ − E pᵢ)xᵢ turns the draws' probabilities into the
    mean, which leaves far less noise than averaging the draws. It is fit for small τ only,
    where the posterior is close to the prior.

    Parameters
    ----------
    X : (n, d) array
        d may have any size.
    y : (n,) array of 0 and 1, both present
    prior_scale : float
        τ.
    pairs : int
        Antithetic pairs per batch, at least 1.
    batches : int
        Number of estimates, at least 1.
    seed : int

    Raises
    ------
    ValueError
        For bad data, or no pairs or batches.
    """
    X, y = _check(X, y)
    if pairs < 1 or batches < 1:
        raise ValueError(f"pairs is {pairs} and batches {batches}; both have to be at least 1")
    X = X - X.mean(axis=0)
    bias = _bias_grid(y, 21)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(batches):
        half = prior_scale * rng.standard_normal((pairs, X.shape[1]))
        log_weights, proba = _integrate_bias(X, y, np.concatenate([half, -half]), bias)
        weights = np.exp(log_weights - log_weights.max())
        means.append(prior_scale**2 * (y - weights @ proba / weights.sum()) @ X)
    return np.array(means)


def gradient_flow(
    X: ArrayLike, y: ArrayLike, times: Sequence[float], steps: int = 32
) -> np.ndarray:
    """Return the weights (k, d) of gradient flow on the summed logistic loss at `times` (k,).

    It starts from w = 0 and b = logit ȳ. The method of Runge and Kutta of order four is exact
    enough while a step times λ_max of Σxᵢxᵢᵀ stays below 1.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present
    times : sequence of float
        Above 0 and increasing.
    steps : int
        Equal steps from each time to the next.

    Raises
    ------
    ValueError
        For bad data, or times that do not increase from above 0.
    """
    X, y = _check(X, y)
    if np.any(np.diff(times, prepend=0) <= 0):
        raise ValueError(f"times is {times}; it has to increase from above 0")
    design = np.column_stack([X, np.ones(len(y))])
    theta = np.zeros(design.shape[1])
    theta[-1] = logit(y.mean())

    def slope(theta):
        return (y - expit(design @ theta)) @ design

    path, now = [], 0.0
    for time in times:
        step = (time - now) / steps
        for _ in range(steps):
            first = slope(theta)
            second = slope(theta + step / 2 * first)
            third = slope(theta + step / 2 * second)
            fourth = slope(theta + step * third)
            theta = theta + step / 6 * (first + 2 * second + 2 * third + fourth)
        path.append(theta[:-1])
        now = time
    return np.array(path)


def _integrate_bias(X, y, w, bias):
    """For each w (m, d) the log likelihood integrated over `bias` (k,), and E[p | w] (m, n)."""
    log_weights, proba = np.empty(len(w)), np.empty((len(w), len(y)))
    sign = 2 * y - 1
    for i, log_odds in enumerate(w @ X.T):
        grid = log_odds + bias[:, None]
        log_likelihood = log_expit(sign * grid).sum(axis=1)
        top = log_likelihood.max()
        mass = np.exp(log_likelihood - top)
        log_weights[i] = top + np.log(mass.sum())
        proba[i] = mass @ expit(grid) / mass.sum()
    return log_weights, proba


def _bias_grid(y, size):
    """Biases (size,) that hold all but e⁻²⁵ or so of the posterior at w = 0."""
    positive, negative = y.sum(), len(y) - y.sum()
    spread = np.sqrt(1 / positive + 1 / negative)
    reach = 8 * spread + 30 / min(positive, negative)
    return logit(y.mean()) + np.linspace(-reach, reach, size)


def _unit(vector):
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _check(X, y):
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}; they need (n, d) and (n,)")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinity; every entry has to be finite")
    if set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(f"y holds {np.unique(y)[:5]}; it has to hold 0 and 1, both of them")
    return X, y
