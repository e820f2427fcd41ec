"""Rare harm: a posterior mean E[p] far below 1/N, by tempering towards p.

N draws that all answer "no" leave E[p] unknown below about 1/N. But E[p] is a ratio of
normalisers: with π(θ) the posterior and targets π(θ)·p(θ)^β, E[p] = Z₁/Z₀, and each factor
Z(β′)/Z(β) is the mean of a quantity that hardly varies (annealed importance sampling, Neal
2001; the sampler is `smc.temper`). The draws are led to where p is large and π still leaves
some mass, and the estimate follows how much mass that is.

Where averaging is already better. What makes the plain mean of p over N independent draws bad
is not that E[p] is small, but that few draws carry it: its relative variance is
(E[p²]/E[p]² − 1)/N. If log odds are normal with standard deviation s and far below 0, that is
(e^{s²} − 1)/N, whatever the mean: with s ≤ 1.5 a few thousand draws give E[p] = 1e−30 to a few
per cent, faster than anything here. `RareHarm.carriers` counts the draws that carry the
average; where they are a tenth of all or more, believe the average. Where they are few, do not:
the count and the error made from it come from the same draws and share their blindness. A mode
that none of the draws visited shows in neither, and tempering finds it only if the way there
leads uphill.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp
from tqdm import tqdm

from elkutils.inference import smc
from elkutils.inference._checks import check_counts


@dataclass(frozen=True)
class RareHarm:
    """Estimates of E[p], on the log scale, and what they rest on.

    Attributes
    ----------
    log_estimates : (repeats,) array
        Log of each repeat's estimate of E[p], in nats.
    log_naive : float
        Log of the plain mean of p over all the draws given.
    carriers : float
        How many of the draws carry that mean: (Σp)²/Σp², between 1 and their number.
    draws : int
        Draws given.
    populations : list of smc.Population
        Of each repeat.
    """

    log_estimates: np.ndarray
    log_naive: float
    carriers: float
    draws: int
    populations: list[smc.Population]

    @property
    def log_estimate(self) -> float:
        """Log of the mean of the repeats' estimates."""
        return float(logsumexp(self.log_estimates) - np.log(len(self.log_estimates)))

    @property
    def estimate(self) -> float:
        """Mean of the repeats' estimates of E[p]; 0 where that is below the smallest float."""
        return float(np.exp(self.log_estimate))

    @property
    def relative_error(self) -> float:
        """Standard error of `estimate` over repeats, as a share of it."""
        ratios = np.exp(self.log_estimates - self.log_estimate)
        return float(ratios.std(ddof=1) / np.sqrt(len(ratios)))

    @property
    def standard_error(self) -> float:
        """Standard error of `estimate`, over repeats."""
        return self.estimate * self.relative_error

    @property
    def naive(self) -> float:
        """Plain mean of p over the draws given."""
        return float(np.exp(self.log_naive))

    @property
    def naive_relative_error(self) -> float:
        """Standard error of `naive` as a share of it, were the draws independent."""
        return float(np.sqrt(max(0.0, 1 / self.carriers - 1 / self.draws)))

    def __str__(self) -> str:
        lines = [
            f"E[p] {self.estimate:.3g}, standard error {self.relative_error:.0%} of it",
            f"plain mean of {self.draws} draws {self.naive:.3g},"
            f" carried by {self.carriers:.1f} of them",
        ]
        return "\n".join(lines)


def estimate(
    log_density: Callable,
    log_p: Callable,
    draws: ArrayLike,
    data: tuple = (),
    repeats: int = 8,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> RareHarm:
    """Estimate the posterior mean of p, however small it is.

    Parameters
    ----------
    log_density : callable
        ``(θ, *data)`` → log posterior at θ (k,) up to a constant; differentiable by JAX. Give
        the same function object again and nothing is compiled twice.
    log_p : callable
        ``(θ, *data)`` → log p, at most 0 and finite; differentiable by JAX.
    draws : (m, k) array
        Draws of the posterior, the more nearly independent the better: each repeat starts
        from m/repeats of them, dealt at random. Their mean and covariance make the
        coordinates in which the moves are made. A thousand or more per repeat is a good number.
    data : tuple
        Arrays for both functions.
    repeats : int
        Independent runs, at least 2; the standard error comes from them.
    share, steps, most_moves
        As in `elkutils.inference.smc.temper`.
    seed : int
    progress : bool
        Show how many repeats are done.

    Returns
    -------
    RareHarm

    Raises
    ------
    ValueError
        For bad arguments, or p outside [0, 1] or exactly 0 at a draw.

    Notes
    -----
    Each repeat's estimate is unbiased but for the adaptation, of order 1/m; the mean of their
    logs is biased downward, so estimates are averaged, not their logs.
    """
    draws = np.asarray(draws, np.float64)
    if draws.ndim != 2 or not np.isfinite(draws).all():
        raise ValueError(f"draws has shape {draws.shape}; it needs (m, k), every entry finite")
    centre, factor = _coordinates(draws)
    white = solve_triangular(factor, (draws - centre).T, lower=True).T
    data = (centre.astype(np.float32), factor.astype(np.float32), *data)
    tilt, excess = _whitened(log_density, log_p)
    return repeat_tempering(
        tilt, excess, white, data, repeats, share, steps, most_moves, seed, progress
    )


def repeat_tempering(
    tilt: Callable,
    excess: Callable,
    white: np.ndarray,
    data: tuple,
    repeats: int,
    share: float,
    steps: int,
    most_moves: int,
    seed: int,
    progress: bool,
) -> RareHarm:
    """Estimate the posterior mean of p from draws in coordinates that suit `smc.temper`.

    Parameters
    ----------
    tilt : callable
        ``(z, *data)`` → log p.
    excess : callable
        ``(z, *data)`` → log of the posterior over N(0, I), up to a constant.
    white : (m, k) array
        Draws of the posterior, in coordinates z where it is near N(0, I).
    data, repeats, share, steps, most_moves, seed, progress
        As in `estimate`.

    Raises
    ------
    ValueError
        For fewer than 2 repeats or 2 draws per repeat, or p that is 0 or above 1 at a draw.
    """
    check_counts(repeats=repeats)
    if repeats < 2 or len(white) < 2 * repeats:
        raise ValueError(
            f"repeats is {repeats} for {len(white)} draws;"
            " it has to be at least 2, with two draws for each"
        )
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(len(white))[: len(white) // repeats * repeats].reshape(repeats, -1)
    with jax.default_matmul_precision("highest"):
        log_p = smc.values(tilt, white, data)
        if not (np.isfinite(log_p).all() and log_p.max() <= 1e-6):
            raise ValueError(
                f"log p ranges from {log_p.min():.4g} to {log_p.max():.4g} over the draws;"
                " p has to be above 0 and at most 1"
            )
        populations = [
            smc.temper(
                tilt,
                white[rows],
                data,
                excess,
                share=share,
                steps=steps,
                most_moves=most_moves,
                seed=int(rng.integers(2**31)),
            )
            for rows in tqdm(dealt, disable=not progress, desc="rare harm", unit="repeat")
        ]
    log_sum = logsumexp(log_p)
    return RareHarm(
        log_estimates=np.array([population.log_ratio for population in populations]),
        log_naive=float(log_sum - np.log(len(log_p))),
        carriers=float(np.exp(2 * log_sum - logsumexp(2 * log_p))),
        draws=len(log_p),
        populations=populations,
    )


def _coordinates(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (k,) and a lower triangular root (k, k) of the covariance of draws (m, k).

    With fewer than ten draws per coordinate it is diagonal. It need not be right, only near:
    the moves are exact in any coordinates.
    """
    m, k = draws.shape
    sd = draws.std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    if m < 10 * k:
        return draws.mean(axis=0), np.diag(sd)
    correlation = np.cov(draws.T / sd[:, None]).reshape(k, k) + 1e-6 * np.eye(k)
    return draws.mean(axis=0), sd[:, None] * cholesky(correlation, lower=True)


@lru_cache(maxsize=32)
def _whitened(log_density, log_p):
    """Tilt and excess in the white coordinates; one pair of objects per pair given."""

    def tilt(z, centre, factor, *data):
        return log_p(centre + factor @ z, *data)

    def excess(z, centre, factor, *data):
        return log_density(centre + factor @ z, *data) + 0.5 * z @ z

    return tilt, excess
