"""A Gaussian process on the log odds: what a probe is without a finite set of weights."""

import warnings

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from sklearn.utils.validation import check_is_fitted

from elkutils._inputs import check_counts, check_order
from elkutils.inference.draws import mean_log_odds
from elkutils.reporters.base import Reporter

FEATURES = 512  # pairs of waves that stand for the RBF kernel in a prior draw
MOST_ROWS = 5000  # of training: the kernel matrix then takes 200 MB, several times
STRONGEST = 1e4  # variance of a typical log odds at most, and one over the least
FARTHEST = 30  # factor by which a length may move from that of X


class GaussianProcess(Reporter):
    """A Gaussian process on the log odds, whose kernel the evidence chooses.

    The kernel is a linear one, as of logistic regression with normal weights and bias, plus a
    squared-exponential one (RBF), which lets log odds bend. Their strengths and the length of
    the RBF are those of largest Laplace evidence; where the labels do not ask for bends, its
    strength is near 0. Wang et al. 2023, *Gaussian process probes (GPP) for uncertainty-aware
    probing* (arXiv 2305.18213), read activations with another such process. The posterior is
    Laplace's approximation (Rasmussen & Williams 2006, *Gaussian processes for machine
    learning*, ch. 3), found by scikit-learn's `GaussianProcessClassifier`.

    Draws are functions: each is a prior draw, corrected by what the labels say (Matheron's
    rule; Wilson et al. 2020, arXiv 2002.09309). The RBF part of a prior draw is a sum of random
    waves (Rahimi & Recht 2007), exact in variance and close in covariance. A fit takes
    (training rows)³ operations, some dozens of times.

    Parameters
    ----------
    draws : int
    linear : bool
        Whether the kernel has a linear part.
    bends : bool
        Whether it has an RBF part.
    restarts : int
        Further starts of the search for the kernel, at random.
    seed : int
    positive : str, number or None
        The label that probabilities are of; None for the later one in order.

    Attributes
    ----------
    linear_variance_, bias_variance_ : float
        Prior variance of each weight, and of the bias; 0 without a linear part.
    bend_variance_, length_ : float
        Prior variance of the RBF part of the log odds, and its length in the units of X; 0 and
        1 without that part.
    log_evidence_ : float
        Laplace's approximation, in nats.

    Examples
    --------
    A linear reporter cannot tell the middle from both ends.

    >>> X, y = np.linspace(-2, 2, 21)[:, None], (np.abs(np.linspace(-2, 2, 21)) > 1).astype(int)
    >>> found = GaussianProcess(draws=100).fit(X, y)
    >>> found.predict([[-2.0], [0.0], [2.0]]).tolist()
    [1, 0, 1]
    >>> found.sample_proba([[0.0]]).shape
    (100, 1)
    """

    def __init__(
        self,
        draws: int = 256,
        linear: bool = True,
        bends: bool = True,
        restarts: int = 0,
        seed: int = 0,
        positive: object = None,
    ):
        self.draws = draws
        self.linear = linear
        self.bends = bends
        self.restarts = restarts
        self.seed = seed
        self.positive = positive

    def fit(self, X: ArrayLike, y: ArrayLike) -> "GaussianProcess":
        """Fit to X (n, d), n ≤ 5000, and the two labels y (n,).

        Raises
        ------
        ValueError
            For bad input or parameters, too many rows, or a kernel without any part.
        ArithmeticError
            If rounding errors end the search for the kernel.

        Warns
        -----
        RuntimeWarning
            If the search for the kernel did not end.
        """
        check_order(X=X)
        X, y = self._check_training(X, y)
        self._check_parameters()
        if len(X) > MOST_ROWS:
            raise ValueError(
                f"X has {len(X)} rows; a Gaussian process takes at most {MOST_ROWS}: draw as"
                " many, or use BayesianLogistic"
            )
        found = self._search(X, y)
        self._learn_kernel(found.kernel_)
        self.log_evidence_ = float(found.log_marginal_likelihood_value_)
        self._draw_functions(X, y, found)
        return self

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of P(y = classes_[1] | x), (draws, n)."""
        check_is_fitted(self)
        return expit(np.concatenate([self._log_odds(part) for part in self._blocks(X)], axis=1))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds of the mean probability of `classes_[1]`, (n,)."""
        check_is_fitted(self)
        return np.concatenate([mean_log_odds(self._log_odds(part)) for part in self._blocks(X)])

    def _draws(self) -> int:
        return len(self.bias_) + 2 * FEATURES

    def _check_parameters(self) -> None:
        check_counts(draws=self.draws)
        check_counts(least=0, restarts=self.restarts, seed=self.seed)
        if not (self.linear or self.bends):
            raise ValueError("linear and bends are both False; the kernel needs a part")

    def _search(self, X, y):
        """The classifier of scikit-learn with the best kernel."""
        size, spread = np.sqrt(np.mean(np.sum(X**2, axis=1))), _typical_distance(X)

        def near(value, factor):
            return value / factor, value * factor

        weight = 1 / size**2
        parts = []
        if self.linear:
            bias = DotProduct(size, near(size, FARTHEST))
            parts.append(ConstantKernel(weight, near(weight, STRONGEST)) * bias)
        if self.bends:
            wave = RBF(spread, near(spread, FARTHEST))
            parts.append(ConstantKernel(1.0, near(1.0, STRONGEST)) * wave)
        kernel = sum(parts[1:], parts[0])
        search = GaussianProcessClassifier(
            kernel, n_restarts_optimizer=self.restarts, random_state=self.seed
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                search.fit(X, y)
            except np.linalg.LinAlgError as error:
                raise ArithmeticError(
                    "the posterior of a kernel that the search tried cannot be computed: "
                    "z-score X, or use BayesianLogistic"
                ) from error
        if any("lbfgs" in str(one.message) for one in told):
            warnings.warn(
                "the search for the kernel did not end; restarts may help",
                RuntimeWarning,
                stacklevel=3,
            )
        for one in told:
            if not issubclass(one.category, ConvergenceWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return search.base_estimator_

    def _learn_kernel(self, kernel) -> None:
        self.linear_variance_, self.bias_variance_ = 0.0, 0.0
        self.bend_variance_, self.length_ = 0.0, 1.0
        parts = (kernel.k1, kernel.k2) if self.linear and self.bends else (kernel,)
        for part in parts:
            strength = float(part.k1.constant_value)
            if isinstance(part.k2, RBF):
                self.bend_variance_, self.length_ = strength, float(part.k2.length_scale)
            else:
                self.linear_variance_ = strength
                self.bias_variance_ = strength * float(part.k2.sigma_0) ** 2

    def _draw_functions(self, X, y, found) -> None:
        """Prior draws, and what each training row adds to them."""
        rng = np.random.default_rng(self.seed)
        d = X.shape[1]
        self.weights_ = rng.standard_normal((d, self.draws)) * np.sqrt(self.linear_variance_)
        self.bias_ = rng.standard_normal(self.draws) * np.sqrt(self.bias_variance_)
        self.waves_ = rng.standard_normal((d, FEATURES)) / self.length_
        strength = np.sqrt(self.bend_variance_ / FEATURES)
        self.heights_ = rng.standard_normal((2 * FEATURES, self.draws)) * strength
        self.rows_, root = X.copy(), found.W_sr_  # the caller may change X later
        noise = rng.standard_normal((len(X), self.draws))
        # Laplace's posterior is that of a regression with noise 1/W: W = π(1 − π), W½ = root,
        # and found.L_ is the Cholesky factor of I + W½ K W½.
        away = root[:, None] * self._prior(X).T + noise
        solved = cho_solve((found.L_, True), away)
        pulls = (y - found.pi_)[:, None] - root[:, None] * solved
        # LAPACK's columns are turned into rows, as a file has them: BLAS may round otherwise.
        self.pulls_ = np.ascontiguousarray(pulls)

    def _prior(self, X) -> np.ndarray:
        """Prior draws of the log odds, (draws, n)."""
        phase = X @ self.waves_
        waves = np.hstack([np.cos(phase), np.sin(phase)])
        return (X @ self.weights_ + self.bias_ + waves @ self.heights_).T

    def _kernel(self, X) -> np.ndarray:
        """Prior covariance of the log odds at X (m, d) and the training rows, (m, n)."""
        products = X @ self.rows_.T
        squares = np.sum(X**2, axis=1)[:, None] + np.sum(self.rows_**2, axis=1) - 2 * products
        bends = np.exp(-np.maximum(squares, 0) / (2 * self.length_**2))
        return (
            self.linear_variance_ * products + self.bias_variance_ + self.bend_variance_ * bends
        )

    def _log_odds(self, X) -> np.ndarray:
        return self._prior(X) + (self._kernel(X) @ self.pulls_).T


def _typical_distance(X: np.ndarray) -> float:
    """The root-mean-square distance of two rows; 1 where all are the same."""
    found = np.sqrt(2 * X.var(axis=0).sum())
    return float(found) if found > 0 else 1.0
