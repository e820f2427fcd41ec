"""The posterior of log odds under a Gaussian-process prior, drawn in as many numbers as rows.

A network that is linear in its parameters, or infinitely wide, has a Gaussian process for the
prior of its log odds, known by its covariance K alone. With K = AAᵀ at the n training rows, and
a bias of its own prior, the log odds there are Aw + bias, w ~ N(0, I): logistic regression on
A. So mode, evidence and draws are those of `inference.logistic`, however many parameters the
network has. Log odds of new rows are normal given these (Rasmussen & Williams 2006, *Gaussian
processes for machine learning*, eq. 2.19).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_finite
from elkutils.inference._checks import check_counts
from elkutils.inference.draws import Draws
from elkutils.inference.logistic.mode import fit_map, laplace
from elkutils.inference.logistic.samplers import SAMPLERS, Posterior

LEAST = 1e-10  # eigenvalues of a covariance, of the largest, under which they are dropped


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian-process prior of the log odds, in coordinates at the n training rows.

    Attributes
    ----------
    design : (n, r) array
        A, with AAᵀ = K and r the rank of K.
    inverse : (n, r) array
        What turns covariances (m, n) with the training rows into a design (m, r).
    bias_scale : float or None
        Standard deviation of the bias's normal prior, None for a flat one.

    Examples
    --------
    Two rows with unit variance and no covariance; a third that is their mean.

    >>> process = Process.of(np.eye(2))
    >>> design, left = process.at([[0.5, 0.5]], [0.5])
    >>> np.abs(design).round(3).tolist(), left.tolist()
    ([[0.5, 0.5]], [0.0])
    """

    design: np.ndarray
    inverse: np.ndarray
    bias_scale: float | None = None

    @classmethod
    def of(cls, covariance: ArrayLike, bias_scale: float | None = None) -> "Process":
        """Return the process of a prior covariance (n, n) at the training rows.

        The covariance is without the bias's part.

        Raises
        ------
        ValueError
            If it is not a finite, symmetric matrix, or not positive semidefinite.
        """
        K = np.asarray(covariance, np.float64)
        if K.ndim != 2 or K.shape[0] != K.shape[1] or not len(K):
            raise ValueError(f"covariance has shape {K.shape}; it needs (n, n), n ≥ 1")
        check_finite(K, "covariance")
        if not np.allclose(K, K.T, rtol=1e-6, atol=1e-9 * np.abs(K).max()):
            raise ValueError("covariance is not symmetric; it has to be one of a prior")
        values, vectors = np.linalg.eigh(K)
        if values[0] < -1e-6 * max(values[-1], np.finfo(float).tiny):
            raise ValueError(
                f"covariance has the eigenvalue {values[0]:.3g}; all have to be at least 0"
            )
        seen = values > LEAST * max(values[-1], np.finfo(float).tiny)
        root = np.sqrt(values[seen])
        return cls(vectors[:, seen] * root, vectors[:, seen] / root, bias_scale)

    def evidence(self, y: ArrayLike) -> float:
        """Return Laplace's log evidence of the labels y (n,) of 0 and 1, in nats.

        It is that of the n log odds (Rasmussen & Williams 2006, eq. 3.32).
        """
        return laplace(self.design, y, 1.0, self.bias_scale).log_evidence

    def mode(self, y: ArrayLike) -> np.ndarray:
        """Return the coordinates (r + 1,) of the most probable log odds, the bias last.

        Where the process is that of a network that is linear in its parameters, these are the
        log odds of the most probable parameters.
        """
        found = fit_map(self.design, y, 1.0, self.bias_scale)
        return np.append(found.coef, found.intercept)

    def sample(
        self,
        y: ArrayLike,
        draws: int = 500,
        chains: int = 4,
        seed: int = 0,
        progress: bool = False,
    ) -> Draws:
        """Return draws of the posterior; θ holds the coordinates (r + 1,), the bias last.

        The sampler is `logistic.hmc`, which rotates under the nearest Gaussian. The head
        answers rows of a design, such as those of `at`, without what is left of their variance.
        """
        check_counts(draws=draws, chains=chains)
        posterior = Posterior(self.design, np.asarray(y), 1.0, self.bias_scale)
        return SAMPLERS["hmc"].draw(posterior, draws, chains, 300, seed, progress)

    def at(self, across: ArrayLike, own: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the design (m, r) of new rows, and their variance that it leaves.

        Parameters
        ----------
        across : (m, n) array
            Prior covariance of new rows with the training rows.
        own : (m, m) array or (m,) array
            Of new rows with each other, or their variances only: then each row is drawn by
            itself. What is left has the same shape.
        """
        across, own = np.asarray(across, np.float64), np.asarray(own, np.float64)
        n, m = len(self.inverse), len(across)
        if across.shape != (m, n) or own.shape not in ((m, m), (m,)):
            raise ValueError(
                f"across has shape {across.shape} and own {own.shape}; they need ({m}, {n}),"
                f" and ({m}, {m}) or ({m},)"
            )
        design = across @ self.inverse
        if own.ndim == 2:
            return design, own - design @ design.T
        return design, np.maximum(own - np.sum(design**2, axis=1), 0.0)

    def log_odds(
        self, theta: ArrayLike, across: ArrayLike, own: ArrayLike, rng: np.random.Generator
    ) -> np.ndarray:
        """Return log odds (k, m) of new rows, drawn given coordinates θ (k, r + 1).

        `across` and `own` are those of `at`.
        """
        design, left = self.at(across, own)
        white = rng.standard_normal((len(theta), len(design)))
        if left.ndim == 1:
            fresh = white * np.sqrt(left)
        else:
            values, vectors = np.linalg.eigh(left)
            fresh = white @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        return theta[:, :-1] @ design.T + theta[:, -1:] + fresh
