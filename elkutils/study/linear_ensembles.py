"""Ensembles of linear reporters, and what is known of them in closed form.

`Regression` is the squared error on real rows, where posterior and members are known exactly;
the bias is one more weight, of a constant feature. The rest is about the logistic loss on
separable rows, which has no minimum: the direction that members tend to, and how near they are.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls

from elkutils.inference import linear
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior, flat
from elkutils.inference.networks.training import Plan, Squared, train

NO_VARIANCE = 1e-9  # of the largest singular value


@dataclass(frozen=True)
class Regression:
    """Bayesian linear regression of labels ±1: t = Aw + σ·noise, w ~ N(0, τ²I).

    Attributes
    ----------
    A : (n, d) array
        Features and a last column of ones; see `design`.
    t : (n,) array of −1 and 1
    prior_scale, noise : float
        τ and σ.
    """

    A: np.ndarray
    t: np.ndarray
    prior_scale: float
    noise: float

    @classmethod
    def by_evidence(
        cls, X: np.ndarray, y: np.ndarray, prior_scales: Iterable, noises: Collection
    ) -> "Regression":
        """Choose τ and σ from two lists by the evidence, for X (n, d − 1) and y in {0, 1}."""
        A, t = design(X), 2.0 * np.asarray(y) - 1
        pairs = [(tau, noise) for tau in prior_scales for noise in noises]
        return cls(A, t, *max(pairs, key=lambda pair: linear.log_evidence(A, t, *pair)))

    @cached_property
    def posterior(self) -> linear.Posterior:
        """The exact posterior of w."""
        return linear.posterior(self.A, self.t, self.prior_scale, self.noise)

    @property
    def directions(self) -> np.ndarray:
        """An orthonormal basis (d, d) of rows, by the singular value of A, largest first."""
        return self._svd[2]

    @property
    def values(self) -> np.ndarray:
        """The singular values of A that are not 0, (rank,), largest first."""
        values = self._svd[1]
        return values[values > NO_VARIANCE * values[0]]

    @property
    def rank(self) -> int:
        """Number of directions of the row space; those after them are the null space."""
        return len(self.values)

    @cached_property
    def curvature(self) -> float:
        """The largest eigenvalue of AᵀA."""
        return float(np.linalg.norm(self.A, 2) ** 2)

    @cached_property
    def _svd(self):
        return np.linalg.svd(self.A)

    def error_and_variance_ratio(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how members differ from the posterior, along each of `directions`.

        Parameters
        ----------
        w : (members, d) array
            Two or more.

        Returns
        -------
        error : (d,) array
            Mean of the members less that of the posterior, in posterior standard deviations.
        ratio : (d,) array
            Variance of the members over that of the posterior.
        """
        exact, right = self.posterior, self.directions
        variance = np.einsum("ij,jk,ik->i", right, exact.covariance, right)
        error = right @ (w.mean(axis=0) - exact.mean) / np.sqrt(variance)
        return error, (w @ right.T).var(axis=0, ddof=1) / variance

    def from_null_space(self, X: np.ndarray) -> np.ndarray:
        """Return the null space's share (m,) of the posterior variance of each row's output.

        Parameters
        ----------
        X : (m, d - 1) array
            Statements, as `design` takes them.
        """
        features = (design(X) @ self.directions.T) ** 2
        gain = self.noise**2 / ((self.prior_scale * self.values) ** 2 + self.noise**2)
        row = features[:, : self.rank] @ gain
        null = features[:, self.rank :].sum(axis=1)
        return null / (row + null)

    @property
    def head(self) -> MLP:
        """The prior as a network without hidden layers."""
        return linear_head(self.A.shape[1], self.prior_scale)


def design(X: np.ndarray) -> np.ndarray:
    """Return X (n, d − 1) with a last column of ones, for the bias: (n, d)."""
    return np.column_stack([X, np.ones(len(X))])


def linear_head(d: int, prior_scale: float) -> MLP:
    """Return a linear network whose d − 1 weights and bias all have the same prior scale."""
    return MLP(weight_scale=prior_scale * np.sqrt(d - 1), bias_scale=prior_scale)


def weights(parameters: tuple) -> np.ndarray:
    """Return weights and bias (members, d) of linear networks, as `draw_prior` made them."""
    features = parameters[0][0].shape[-2]
    return np.asarray(flat(MLP(), features).flatten(parameters), np.float64)


def distance_from_minima(
    problem: Regression, X: np.ndarray, members: int = 32, steps: int = 1500, seed: int = 0
) -> float:
    """Train anchored members with perturbed labels; return how far from their minima they end.

    Members are trained by gradient descent from their anchors, which are prior draws.

    Parameters
    ----------
    problem : Regression
    X : (m, d - 1) array
        Statements whose outputs are compared.
    members, steps : int
    seed : int
        Of the anchors and the noise on the labels.

    Returns
    -------
    float
        Root mean square difference of the outputs of members and of their exact minima, in
        standard deviations of the posterior's output.
    """
    rows, (n, d), noise = problem.A[:, :-1], problem.A.shape, problem.noise
    start = draw_prior(problem.head, members, d - 1, seed=seed)
    rng = np.random.default_rng((seed, 2))
    labels = problem.t + noise * rng.standard_normal((members, n))
    curvature = problem.curvature / noise**2 + problem.prior_scale**-2
    plan = Plan(steps, n / curvature, "sgd", anchored=True)
    ends = train(problem.head, start, rows, labels, plan, loss=Squared(noise)).flat
    ratio = noise / problem.prior_scale
    minima = linear.minimise(problem.A, labels, weights(start), ratio)
    asked = design(X)
    sd = np.sqrt(np.einsum("ij,jk,ik->i", asked, problem.posterior.covariance, asked))
    return float(np.sqrt(np.mean(((ends.astype(float) - minima) @ asked.T / sd) ** 2)))


def descended(
    problem: Regression, plan: Plan, members: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train members plainly, on the squared error and the labels that all of them see.

    Parameters
    ----------
    problem : Regression
    plan : Plan
        Its rate is that of the mean loss of the n rows.
    members : int
    seed : int
        Of the starts, which are prior draws.

    Returns
    -------
    starts, ends : (members, d) arrays
        Weights along `problem.directions`.
    """
    start = draw_prior(problem.head, members, problem.A.shape[1] - 1, seed=seed)
    rows = problem.A[:, :-1]
    ends = train(problem.head, start, rows, problem.t, plan, loss=Squared())
    return weights(start) @ problem.directions.T, ends.flat @ problem.directions.T


def widest_margin(Z: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the unit direction (d,) that separates the rows most widely, and its margin.

    Parameters
    ----------
    Z : (n, d) array
        Rows times their labels ±1; separable, so that some w has Zw > 0.

    Notes
    -----
    It solves the dual of the hard-margin separator, as non-negative least squares with a ridge
    so small that it does not show.
    """
    system = np.vstack([1e-3 * Z.T, np.ones(len(Z))])
    dual = nnls(system, np.append(np.zeros(Z.shape[1]), 1.0))[0]
    w = Z.T @ dual / np.linalg.norm(Z.T @ dual)
    return w, float((Z @ w).min())


def largest_angles(w: np.ndarray, best: np.ndarray) -> tuple[float, float]:
    """Return the largest angle between members (k, d), and from one to `best`, in degrees.

    Parameters
    ----------
    w : (k, d) array
    best : (d,) array
        Of length 1.
    """
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    between, to_best = (np.clip(unit @ other, -1, 1) for other in (unit.T, best))
    return np.degrees(np.arccos(between)).max(), np.degrees(np.arccos(to_best)).max()


def far_along(
    Z: np.ndarray, w: np.ndarray, best: np.ndarray, looks: Collection[int]
) -> np.ndarray:
    """Follow the gradient flow of the logistic loss far beyond any training time.

    The clock of dw/du = −∇L/L runs faster as the loss L falls, dt = du/L, and the path is that
    of gradient flow.

    Parameters
    ----------
    Z : (n, d) array
        Rows times their labels ±1.
    w : (k, d) array
        Where members start.
    best : (d,) array
        The direction that angles are measured to, of length 1.
    looks : collection of int
        Steps of the faster clock at which to look, ascending.

    Returns
    -------
    (looks, 4) array
        Mean log time, mean norm, and the two angles of `largest_angles`.
    """
    step, log_t, seen = 0.7 * len(Z) / np.linalg.norm(Z, 2) ** 2, -np.inf, []
    looks = sorted(looks)
    for k in range(looks[-1] + 1):
        margins = w @ Z.T
        log_loss = np.log(np.logaddexp(0, -margins).mean(axis=1, keepdims=True))
        if k in looks:
            norm = np.linalg.norm(w, axis=1).mean()
            seen.append((np.mean(log_t), norm, *largest_angles(w, best)))
        w = w + step * np.exp(-np.logaddexp(0, margins) - log_loss) @ Z / len(Z)
        log_t = np.logaddexp(log_t, np.log(step) - log_loss)
    return np.array(seen)
