"""The posterior of logistic regression: its mode, its Laplace approximation, its evidence.

The model is P(y = 1 | x) = σ(w·x + b) with w ~ N(0, τ²I) and b flat, or b ~ N(0, bias_scale²).
`fit_map` finds the mode by damped Newton, `laplace` the Gaussian around it, and `logistic_path`
follows both over the prior scale τ. With more features than rows all of them work in the row
space of X, where the likelihood lives; `Subspace.lift_draws` puts back the rest, which keeps
the prior.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, qr, solve_triangular
from scipy.linalg.lapack import dpotrf
from scipy.special import expit, logit

from elkutils._inputs import check_finite, check_order, numbers, plain
from elkutils.inference._checks import check_data, check_scale, check_weights

MAX_ITERATIONS = 500
SETTLED = 1e-5  # the last Newton step moves no log odds by more, so what is left is smaller
LOG_2PI = np.log(2 * np.pi)


@dataclass(frozen=True)
class Subspace:
    """Coordinates in which the likelihood is written: all of them, or the row space's.

    Attributes
    ----------
    features : int
        d, the number of features.
    basis : (d, k) array or None
        Orthonormal columns that span the rows of X, or None where k = d and nothing is rotated.
    """

    features: int
    basis: np.ndarray | None

    def lift(self, coords: np.ndarray) -> np.ndarray:
        """Return the smallest weights (..., d) whose coordinates are `coords` (..., k)."""
        return coords if self.basis is None else coords @ self.basis.T

    def lower(self, weights: np.ndarray) -> np.ndarray:
        """Return the coordinates (..., k) of `weights` (..., d)."""
        return weights if self.basis is None else weights @ self.basis

    def lift_draws(
        self, coords: np.ndarray, prior_scale: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Return posterior draws (m, d) of the weights from draws (m, k) of their coordinates.

        Exact: the likelihood does not see what is orthogonal to the rows of X, and under an
        isotropic prior that part is independent of the rest, so its posterior is its prior.
        """
        if self.basis is None:
            return coords
        fresh = prior_scale * rng.standard_normal((len(coords), self.features))
        return fresh + (coords - fresh @ self.basis) @ self.basis.T


@dataclass(frozen=True)
class MapFit:
    """The mode of the posterior.

    Attributes
    ----------
    coef : (d,) array
    intercept : float
    log_joint : float
        The value log p(y | w, b) − ‖w‖²/2τ² − b²/2·bias_scale², without the prior's constants.
    iterations : int
        Newton steps taken.
    """

    coef: np.ndarray
    intercept: float
    log_joint: float
    iterations: int


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian approximation to the posterior, over (coordinates of w, b).

    Attributes
    ----------
    mean : (k + 1,) array
        k coordinates of w, then the bias. For `laplace` it is the mode.
    factor : (k + 1, k + 1) array
        Lower triangular L with L Lᵀ the precision. For `laplace` the precision is the Hessian
        of the negative log posterior at the mode.
    subspace : Subspace
    prior_scale : float
    log_evidence : float
        Estimate of log p(y | X, τ), in nats: an approximation from `laplace`, a lower bound
        from `variational`. With a flat bias its prior density is taken as 1, so only
        differences between fits to the same y are meaningful.
    """

    mean: np.ndarray
    factor: np.ndarray
    subspace: Subspace
    prior_scale: float
    log_evidence: float

    @property
    def coef(self) -> np.ndarray:
        """(d,) weights at the mean."""
        return self.subspace.lift(self.mean[:-1])

    @property
    def intercept(self) -> float:
        """Bias at the mean."""
        return float(self.mean[-1])

    def colour(self, z: np.ndarray) -> np.ndarray:
        """Return mean + L⁻ᵀz for white `z` (..., k + 1)."""
        flat = solve_triangular(self.factor.T, z.reshape(-1, len(self.mean)).T, lower=False)
        return self.mean + flat.T.reshape(z.shape)

    def whiten(self, theta: np.ndarray) -> np.ndarray:
        """Return Lᵀ(θ − mean), which inverts `colour`."""
        return (theta - self.mean) @ self.factor

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `draws` independent draws of the weights (draws, d) and the bias (draws,)."""
        theta = self.colour(rng.standard_normal((draws, len(self.mean))))
        weights = self.subspace.lift_draws(theta[:, :-1], self.prior_scale, rng)
        return weights, theta[:, -1]


@dataclass(frozen=True)
class LogisticPath:
    """The mode as a function of the prior scale.

    Attributes
    ----------
    prior_scales : (k,) array
        τ, in the units of 1/X.
    coefs : (k, d) array
    intercepts : (k,) array
    log_evidence : (k,) array
        Laplace's approximation in nats; see `Gaussian.log_evidence`. NaN where τ is infinite.
    """

    prior_scales: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    log_evidence: np.ndarray

    @property
    def best(self) -> int:
        """Index of the largest evidence."""
        return int(np.nanargmax(self.log_evidence))


def fit_map(
    X: ArrayLike,
    y: ArrayLike,
    prior_scale: float,
    bias_scale: float | None = None,
    start: tuple[np.ndarray, float] | None = None,
    weights: ArrayLike | None = None,
) -> MapFit:
    """Return the mode of the posterior of logistic regression.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present unless the bias has a proper prior
    prior_scale : float
        τ > 0. Infinity asks for the maximum likelihood estimate: the smallest one where there
        are several, which is the limit of the mode as τ → ∞.
    bias_scale : float or None
        Scale of the normal prior of the bias, or None for a flat one.
    start : (weights (d,), bias) or None
        Where Newton starts: a nearby solution saves steps.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by: 0 leaves it out, 2 is to have it twice.

    Raises
    ------
    ValueError
        If a scale is not positive, a weight is negative or not finite, y is not 0/1 with both
        present in rows of positive weight, or τ is infinite and the data are separable, so
        that no maximum likelihood estimate exists.

    Examples
    --------
    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> found = fit_map(X, y, prior_scale=1.0)
    >>> print(f"{found.coef[0]:.3f}")
    0.915
    """
    problem = _Problem.of(X, y, prior_scale, bias_scale, weights, rotate=False)
    theta, settled, steps = problem.newton(prior_scale, problem.start(start), _Iterative)
    if not settled:
        begun = problem.weights(theta), problem.bias(theta)
        if problem.subspace.basis is None and problem.subspace.features > len(problem.y):
            problem = _Problem.of(X, y, prior_scale, bias_scale, weights)
        theta, more = problem.mode(prior_scale, problem.start(begun))
        steps += more
    return MapFit(
        problem.weights(theta),
        problem.bias(theta),
        problem.log_joint(theta, prior_scale),
        steps,
    )


def laplace(
    X: ArrayLike,
    y: ArrayLike,
    prior_scale: float,
    bias_scale: float | None = None,
    start: tuple[np.ndarray, float] | None = None,
    weights: ArrayLike | None = None,
) -> Gaussian:
    """Return the Gaussian at the mode whose precision is the Hessian there, and its evidence.

    Parameters and errors are those of `fit_map`, except that τ has to be finite.
    See MacKay (1992), *The evidence framework applied to classification networks*.
    """
    if not np.isfinite(check_scale("prior_scale", prior_scale)):
        raise ValueError(f"prior_scale is {prior_scale}; a posterior needs a finite one")
    problem = _Problem.of(X, y, prior_scale, bias_scale, weights)
    theta, _ = problem.mode(prior_scale, problem.start(start))
    factor, log_evidence = problem.evidence(theta, prior_scale)
    return Gaussian(theta, factor, problem.subspace, float(prior_scale), log_evidence)


def logistic_path(
    X: ArrayLike,
    y: ArrayLike,
    prior_scales: ArrayLike,
    bias_scale: float | None = None,
    weights: ArrayLike | None = None,
) -> LogisticPath:
    """Return the mode and the evidence at each prior scale; each fit starts from the last.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1, both present
    prior_scales : (k,) array
        In any order; returned as given.
    bias_scale : float or None
    weights : (n,) array or None
        As in `fit_map`.

    Raises
    ------
    ValueError
        As `fit_map`.

    Examples
    --------
    The weight grows with the prior scale.

    >>> X, y = np.array([[-3.0], [-2.0], [0.0], [0.0], [2.0], [3.0]]), [0, 0, 0, 1, 1, 1]
    >>> path = logistic_path(X, y, [0.1, 1.0, 10.0])
    >>> bool(np.all(np.diff(path.coefs[:, 0]) > 0))
    True
    """
    scales = np.atleast_1d(np.asarray(prior_scales, dtype=np.float64))
    if scales.ndim != 1 or scales.size == 0:
        raise ValueError(f"prior_scales has shape {scales.shape}; it has to be (k,), k ≥ 1")
    problem = _Problem.of(X, y, scales.max(), bias_scale, weights)
    for scale in scales:
        check_scale("prior_scales", scale)
    coefs = np.empty((len(scales), problem.subspace.features))
    intercepts, log_evidence = np.empty(len(scales)), np.full(len(scales), np.nan)
    theta = problem.start(None)
    for i in np.argsort(scales):
        theta, _ = problem.mode(scales[i], theta)
        coefs[i], intercepts[i] = problem.weights(theta), problem.bias(theta)
        if np.isfinite(scales[i]):
            log_evidence[i] = problem.evidence(theta, scales[i])[1]
    return LogisticPath(scales, coefs, intercepts, log_evidence)


def default_prior_scales(
    X: np.ndarray, count: int = 21, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return a grid of prior scales (count,) that spans the plausible ones for X.

    τ times the root-mean-square distance of a row from the mean row is the prior standard
    deviation of a typical log odds about the bias; the grid takes it from 0.01 to 100. With
    weights (n,) both means are weighted.

    Raises
    ------
    ValueError
        If X is not a finite table (n, d), n ≥ 1.
    """
    X = numbers(X, "X").astype(np.float64)
    if X.ndim != 2 or not len(X):
        raise ValueError(f"X has shape {X.shape}; it has to be (n, d), n ≥ 1")
    check_finite(X, "X")
    centre = X.mean(0) if weights is None else np.average(X, axis=0, weights=weights)
    squares = np.sum((X - centre) ** 2, axis=1)
    mean = np.mean(squares) if weights is None else np.average(squares, weights=weights)
    spread = np.sqrt(mean)
    return np.geomspace(0.01, 100, count) / (spread if spread > 0 else 1.0)


def row_space(X: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (d, n) of a space that holds the rows of X (n, d), d ≥ n."""
    return qr(X.T, mode="economic", check_finite=False)[0]


@dataclass(frozen=True)
class _Problem:
    """One data set in the coordinates Newton works in: k of w's, then the bias."""

    design: np.ndarray  # (n, k + 1), its last column ones
    y: np.ndarray
    bias_scale: float
    subspace: Subspace
    centre: np.ndarray  # (d,) subtracted from X; zero unless the estimate is unpenalised
    row_weights: np.ndarray | float  # (n,), all positive; or 1.0

    @classmethod
    def of(cls, X, y, prior_scale, bias_scale, weights=None, rotate=True) -> "_Problem":
        check_scale("prior_scale", prior_scale)
        bias_scale = np.inf if bias_scale is None else check_scale("bias_scale", bias_scale)
        if weights is None:
            weights = 1.0
        else:
            weights = check_weights(weights, len(X))
            kept = weights > 0
            check_order(stacklevel=4, X=X, y=y)
            X, y, weights = plain(X, "X")[kept], plain(y, "y")[kept], weights[kept]
        X, y = check_data(X, y, one_class=np.isfinite(bias_scale))
        n, d = X.shape
        centre, basis = np.zeros(d), None
        if np.isinf(prior_scale):
            centre = X.mean(0) if np.isinf(bias_scale) else centre
            basis = _spanning_basis(X - centre)
        elif d > n and rotate:
            basis = row_space(X)
        coords = X - centre if basis is None else (X - centre) @ basis
        design = np.empty((n, coords.shape[1] + 1))
        design[:, :-1], design[:, -1] = coords, 1.0
        return cls(design, y, bias_scale, Subspace(d, basis), centre, weights)

    def weights(self, theta: np.ndarray) -> np.ndarray:
        return self.subspace.lift(theta[:-1])

    def bias(self, theta: np.ndarray) -> float:
        return float(theta[-1] - self.centre @ self.weights(theta))

    def start(self, given: tuple[np.ndarray, float] | None) -> np.ndarray:
        if given is None:
            theta = np.zeros(self.design.shape[1])
            share = self.share
            if 0 < share < 1:
                theta[-1] = logit(share)
            return theta
        weights, bias = given
        return np.append(self.subspace.lower(weights), bias + self.centre @ weights)

    @property
    def share(self) -> float:
        """Share of ones among the rows, by their weights."""
        if np.ndim(self.row_weights):
            return float(np.average(self.y, weights=self.row_weights))
        return self.y.mean()

    def prior_precision(self, prior_scale: float) -> np.ndarray:
        precision = np.full(self.design.shape[1], prior_scale**-2.0)
        precision[-1] = self.bias_scale**-2.0
        return precision

    def log_joint(self, theta: np.ndarray, prior_scale: float) -> float:
        log_odds = self.design @ theta
        return -float(self.loss(log_odds) + _penalty(theta, self.prior_precision(prior_scale)))

    def loss(self, log_odds: np.ndarray) -> float:
        losses = np.logaddexp(0.0, np.where(self.y > 0, -log_odds, log_odds))
        return float(np.sum(self.row_weights * losses))

    def mode(self, prior_scale: float, theta: np.ndarray) -> tuple[np.ndarray, int]:
        """The mode from `theta` on, and the Newton steps taken."""
        theta, settled, steps = self.newton(prior_scale, theta, _Factored)
        if settled:
            return theta, steps
        if np.isinf(prior_scale) and is_separable(self.design[:, :-1], self.y):
            raise ValueError(_SEPARABLE)
        raise ValueError(
            f"X and prior_scale = {prior_scale:.3g} have a mode that Newton's method did not "
            f"reach in {steps} steps; {self._scaling()}: z-score X, or give a smaller "
            "prior_scale"
        )

    def _scaling(self) -> str:
        X = self.design[:, :-1]
        sizes = np.abs(X).max(axis=0)
        spread = X.std(axis=0)
        return (
            f"its columns reach from {sizes.min():.2g} to {sizes.max():.2g} and vary by "
            f"{spread.min():.2g} to {spread.max():.2g}"
        )

    def newton(
        self, prior_scale: float, theta: np.ndarray, method: type["_Solver"]
    ) -> tuple[np.ndarray, bool, int]:
        """Damped Newton; returns where it came to, whether it settled, and its steps."""
        precision = self.prior_precision(prior_scale)
        solver = method(self.design, precision, self.row_weights)
        log_odds = self.design @ theta
        objective = self.loss(log_odds) + _penalty(theta, precision)
        moved = 1.0
        for steps in range(1, MAX_ITERATIONS + 1):
            p = expit(log_odds)
            gradient = self.design.T @ (self.row_weights * (self.y - p)) - precision * theta
            curvature = self.row_weights * p * (1 - p)
            step = solver.solve(curvature, gradient, min(0.1, max(moved, 1e-4)))
            if step is None:
                return theta, False, steps
            slope, gain = self.design @ step, gradient @ step
            size, rounding = 1.0, 1e-12 * max(1.0, abs(objective))
            while size > 1e-10:
                trial = theta + size * step, log_odds + size * slope
                value = self.loss(trial[1]) + _penalty(trial[0], precision)
                if value <= objective - 1e-4 * size * gain + rounding:
                    break
                size /= 2
            (theta, log_odds), objective = trial, value
            if np.isinf(prior_scale) and np.all((2 * self.y - 1) * log_odds > 0):
                raise ValueError(_SEPARABLE)
            moved = np.max(np.abs(slope))
            if size == 1.0 and moved <= SETTLED:
                return theta, True, steps
        return theta, False, steps

    def evidence(self, theta: np.ndarray, prior_scale: float) -> tuple[np.ndarray, float]:
        """Cholesky factor of the Hessian at the mode, and Laplace's log evidence."""
        p = expit(self.design @ theta)
        precision = self.prior_precision(prior_scale)
        curvature = self.row_weights * p * (1 - p)
        factor = cholesky(_hessian(self.design, curvature, precision))
        k = len(theta) - 1
        log_prior = -k * np.log(prior_scale) - 0.5 * k * LOG_2PI
        if np.isfinite(self.bias_scale):
            log_prior -= np.log(self.bias_scale) + 0.5 * LOG_2PI
        log_volume = 0.5 * (k + 1) * LOG_2PI - np.sum(np.log(np.diag(factor)))
        return factor, self.log_joint(theta, prior_scale) + log_prior + float(log_volume)


_SEPARABLE = (
    "prior_scale is infinite and a hyperplane separates the classes of X, so the likelihood has"
    " no maximum: give a finite prior_scale"
)


def is_separable(X: np.ndarray, y: np.ndarray) -> bool:
    """Return whether logistic regression has no maximum likelihood estimate.

    It has none exactly when some hyperplane has every row on its own side or on the hyperplane,
    and not all of them on it (Albert & Anderson 1984); a linear program decides this.

    Examples
    --------
    >>> is_separable(np.array([[-1.0], [1.0]]), np.array([0, 1]))
    True
    >>> is_separable(np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 0]))
    False
    """
    from scipy.optimize import linprog

    X, y = check_data(X, y, one_class=True)
    signs = 2.0 * y - 1
    margins = signs[:, None] * np.column_stack([X, np.ones(len(X))])
    scale = np.linalg.norm(margins, axis=0)
    margins = margins / np.where(scale > 0, scale, 1.0)
    result = linprog(
        -margins.sum(0),
        A_ub=np.vstack([-margins, margins]),
        b_ub=np.concatenate([np.zeros(len(X)), np.ones(len(X))]),
        bounds=(None, None),
    )
    return bool(-result.fun > 1e-6)


def _spanning_basis(X: np.ndarray) -> np.ndarray:
    """Orthonormal columns (d, r) that span the rows of X and nothing else."""
    _, values, rows = np.linalg.svd(X, full_matrices=False)
    rank = np.sum(values > values[0] * max(X.shape) * np.finfo(float).eps)
    return rows[:rank].T


def _penalty(theta: np.ndarray, precision: np.ndarray) -> float:
    return 0.5 * float(np.sum(precision * theta**2))


def _hessian(design: np.ndarray, weights: np.ndarray, precision: np.ndarray) -> np.ndarray:
    weighted = design * np.sqrt(weights)[:, None]
    hessian = weighted.T @ weighted
    hessian[np.diag_indices_from(hessian)] += precision
    return hessian


def cholesky(hessian: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor, found at unit diagonal so that features of any units do well."""
    scale = np.sqrt(np.diag(hessian))
    if not np.all(scale > 0):
        raise np.linalg.LinAlgError("a feature has no curvature")
    factor, info = dpotrf(hessian / np.outer(scale, scale), lower=True, clean=True)
    if info:
        raise np.linalg.LinAlgError("the Hessian is not positive definite")
    return factor * scale[:, None]


class _Solver(ABC):
    """Newton steps: conjugate gradients under a preconditioner that the subclasses choose."""

    def __init__(self, design: np.ndarray, precision: np.ndarray, row_weights):
        self.design, self.precision, self.row_weights = design, precision, row_weights

    @abstractmethod
    def solve(self, weights, gradient, accuracy) -> np.ndarray | None:
        """Return H⁻¹ gradient to relative `accuracy`, or None where this solver gives up."""

    def conjugate_gradients(self, weights, gradient, accuracy, precondition, limit):
        step, residual = np.zeros_like(gradient), gradient
        direction = better = precondition(residual)
        size = first = residual @ better
        for used in range(1, limit + 1):
            if size <= accuracy**2 * first:
                return step, used
            image = self.design.T @ (weights * (self.design @ direction))
            image += self.precision * direction
            scale = size / (direction @ image)
            step = step + scale * direction
            residual = residual - scale * image
            better = precondition(residual)
            size, last = residual @ better, size
            direction = better + (size / last) * direction
        return None, limit


class _Iterative(_Solver):
    """No matrix is formed: fast while the prior keeps the problem well conditioned."""

    def __init__(self, design, precision, row_weights):
        super().__init__(design, precision, row_weights)
        self.left = (
            min(design.shape) // 3
        )  # more of these cost as much as the factor they spare
        weighted = design * row_weights[:, None] if np.ndim(row_weights) else design
        self.diagonal = 0.25 * np.einsum("ij,ij->j", weighted, design) + precision

    def solve(self, weights, gradient, accuracy):
        step, used = self.conjugate_gradients(
            weights, gradient, accuracy, lambda r: r / self.diagonal, self.left
        )
        self.left -= used
        return step


class _Factored(_Solver):
    """The Hessian's Cholesky factor, kept as a preconditioner while it is near enough."""

    def __init__(self, design, precision, row_weights):
        super().__init__(design, precision, row_weights)
        self.factor = None

    def solve(self, weights, gradient, accuracy):
        if self.factor is not None:
            step, _ = self.conjugate_gradients(
                weights, gradient, accuracy, self.apply, self.design.shape[1] // 30
            )
            if step is not None:
                return step
        try:
            self.factor = cholesky(_hessian(self.design, weights, self.precision))
        except np.linalg.LinAlgError:
            return None
        return self.apply(gradient)

    def apply(self, right):
        return cho_solve((self.factor, True), right, check_finite=False)
