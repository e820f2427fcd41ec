"""Simulation-based calibration: a test of whether a sampler draws from the posterior it claims.

Draw parameters from the prior, data from the parameters, and draws from the posterior given
the data: the parameters and the draws are then exchangeable (Talts et al. 2018), so the rank of
the parameters among the draws is uniform. Ranks need many replications to show a small error
in scale, so a second statistic pools the squared distance from the centre over all
coordinates.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import chi2, norm, rankdata

from elkutils.inference._checks import check_choice
from elkutils.inference.logistic.mode import Gaussian, laplace
from elkutils.inference.logistic.samplers import SAMPLERS


@dataclass(frozen=True)
class Simulation:
    """Data sets drawn from the model, with the parameters that made them.

    Attributes
    ----------
    theta : (replications, d + 1) array
        Weights, then bias.
    X : (replications, n, d) array
    y : (replications, n) array of 0 and 1
    """

    theta: np.ndarray
    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """The result of simulation-based calibration.

    Attributes
    ----------
    ranks : (replications, d + 2) int array
        Number of posterior draws below the truth: for each weight, the bias, and the log
        likelihood, which shows errors that single parameters do not (Modrák et al. 2023).
    draws : int
        Number of draws per rank: each rank is uniform on 0 … draws.
    rank_p : (d + 2,) array
        P-value of a χ² test of uniformity for each quantity.
    dispersion : float
        Mean squared distance of the truth from the centre over that of the draws, in whitened
        coordinates: 1 when right, above 1 when the drawn posterior is too narrow.
    dispersion_z : float
        Standard errors by which the two distances differ; standard normal when right.
    """

    ranks: np.ndarray
    draws: int
    rank_p: np.ndarray
    dispersion: float
    dispersion_z: float

    @property
    def p_value(self) -> float:
        """Smallest of all p-values, Bonferroni-corrected."""
        smallest = min(self.rank_p.min(), 2 * norm.sf(abs(self.dispersion_z)))
        return float(min(1.0, smallest * (len(self.rank_p) + 1)))

    def __str__(self) -> str:
        return (
            f"{len(self.ranks)} replications, ranks among {self.draws} draws: dispersion"
            f" {self.dispersion:.3f} ({self.dispersion_z:+.1f} standard errors from 1),"
            f" corrected p-value {self.p_value:.3f}"
        )


def normal_designs(replications: int, n: int, d: int, seed: int) -> np.ndarray:
    """Return standard normal designs (replications, n, d)."""
    return np.random.default_rng(seed).standard_normal((replications, n, d))


def subset_designs(rows: np.ndarray, replications: int, n: int, seed: int) -> np.ndarray:
    """Return designs of `n` rows each, drawn without replacement from `rows` (m, d).

    With d > n they are in coordinates of their row space, (replications, n, n): under an
    isotropic prior the rest of the posterior is the prior, and needs no check.
    """
    rng = np.random.default_rng(seed)
    drawn = [rows[rng.choice(len(rows), n, replace=False)] for _ in range(replications)]
    if rows.shape[1] > n:
        drawn = [np.linalg.qr(X.T, mode="r").T for X in drawn]
    return np.stack(drawn)


def simulate(X: np.ndarray, prior_scale: float, bias_scale: float, seed: int) -> Simulation:
    """Draw parameters from the prior and labels from them, for designs (replications, n, d)."""
    rng = np.random.default_rng(seed)
    replications, n, d = X.shape
    theta = rng.standard_normal((replications, d + 1))
    theta *= np.append(np.full(d, prior_scale), bias_scale)
    y = rng.random((replications, n)) < expit(_log_odds(X, theta[:, None])[:, 0])
    return Simulation(theta, X, y.astype(np.float64))


@dataclass(frozen=True)
class Posteriors:
    """The posterior of each replication, under one prior.

    Attributes
    ----------
    fits : list of Gaussian
        Their Laplace approximations.
    precision : (d + 1,) array
        Prior precision of each weight and the bias.
    """

    fits: list[Gaussian]
    precision: np.ndarray


def posteriors(data: Simulation, prior_scale: float, bias_scale: float) -> Posteriors:
    """Return each replication's posterior under a prior, perhaps not the simulation's."""
    fits = [laplace(X, y, prior_scale, bias_scale) for X, y in zip(data.X, data.y, strict=True)]
    d = data.X.shape[2]
    return Posteriors(fits, np.append(np.full(d, prior_scale**-2.0), bias_scale**-2.0))


def first(data: Simulation, found: Posteriors, count: int) -> tuple[Simulation, Posteriors]:
    """Return the first `count` replications, and their posteriors."""
    some = Simulation(data.theta[:count], data.X[:count], data.y[:count])
    return some, Posteriors(found.fits[:count], found.precision)


def draw_each(
    data: Simulation, found: Posteriors, method: str, draws: int, seed: int
) -> np.ndarray:
    """Return nearly independent posterior draws (replications, draws, d + 1).

    Parameters
    ----------
    data : Simulation
        With n ≥ d.
    found : Posteriors
    method : str
        A key of `samplers.SAMPLERS`. HMC keeps every second draw of one chain per replication,
        NUTS every third after a warm-up of 150.
    draws, seed : int

    Raises
    ------
    ValueError
        For an unknown method.
    """
    check_choice("method", method, SAMPLERS)
    sampler = SAMPLERS[method]
    return sampler.draw_each(data.X, data.y, found.fits, found.precision, draws, seed)


@dataclass(frozen=True)
class Comparison:
    """The truth of each replication and its posterior draws, on an equal footing.

    Attributes
    ----------
    ranks : (replications, L + 1, d + 2) int array
        Rank of the truth, which is first, and of each of L draws among the others.
    distance : (replications, L + 1) array
        Squared distance of each from the centre of them all, in whitened coordinates.
    """

    ranks: np.ndarray
    distance: np.ndarray

    def judge(
        self, which: np.ndarray | int = 0, rows: np.ndarray | slice = slice(None)
    ) -> Calibration:
        """Return the calibration that takes number `which` of each replication for the truth.

        Parameters
        ----------
        which : (replications,) int array or int
            0 is the truth itself. A number drawn at random makes a truth that is calibrated by
            construction: it is one of the draws.
        rows : int array or slice
            Which replications.
        """
        ranks, distance = self.ranks[rows], self.distance[rows]
        every = np.arange(len(ranks))
        count = ranks.shape[1] - 1
        ours, ranks = distance[every, which], ranks[every, which]
        others = (distance.sum(axis=1) - ours) / count
        excess = ours - others
        return Calibration(
            ranks=ranks,
            draws=count,
            rank_p=_uniformity(ranks, count),
            dispersion=float(ours.mean() / others.mean()),
            dispersion_z=float(excess.mean() / (excess.std(ddof=1) / np.sqrt(len(ranks)))),
        )


def compare(data: Simulation, found: Posteriors, draws: np.ndarray) -> Comparison:
    """Compare the truth of each replication with posterior `draws` (replications, L, d + 1).

    The coordinates of the distance are whitened with each fit's Hessian, which depends on the
    data alone, so that truth and draws stay exchangeable; the centre is the mean of them all.
    With d > n the Hessian is that of the row space, and the prior's precision beside it.
    """
    together = np.concatenate([data.theta[:, None], draws], axis=1)
    values = np.concatenate([together, _log_likelihood(data, together)[..., None]], axis=2)
    away = together - together.mean(axis=1, keepdims=True)
    distance = [_squared(a, fit) for a, fit in zip(away, found.fits, strict=True)]
    return Comparison(rankdata(values, "min", axis=1).astype(np.int64) - 1, np.stack(distance))


def judge(data: Simulation, found: Posteriors, draws: np.ndarray) -> Calibration:
    """Return the calibration of posterior `draws` (replications, L, d + 1): see `compare`."""
    return compare(data, found, draws).judge()


def calibrate(
    method: str = "hmc",
    replications: int = 400,
    n: int = 40,
    d: int = 8,
    prior_scale: float = 1.0,
    bias_scale: float = 1.0,
    draws: int = 99,
    seed: int = 0,
) -> Calibration:
    """Run simulation-based calibration of a sampler on small problems; see `judge`."""
    data = simulate(normal_designs(replications, n, d, seed), prior_scale, bias_scale, seed + 1)
    found = posteriors(data, prior_scale, bias_scale)
    return judge(data, found, draw_each(data, found, method, draws, seed + 2))


def replications_needed(
    parameters: int, error: float, level: float = 0.01, power: float = 0.99
) -> int:
    """Return how many replications show a relative `error` of the posterior's covariance.

    For a normal posterior a squared distance has mean k and variance 2k, so the dispersion's
    standard error is √(2 / (k · replications)), k being the number of parameters.

    Examples
    --------
    >>> replications_needed(parameters=9, error=0.05)
    2137
    """
    reach = norm.isf(level / 2) + norm.isf(1 - power)
    return int(np.ceil(2 * reach**2 / (parameters * error**2)))


def _squared(away: np.ndarray, fit: Gaussian) -> np.ndarray:
    """Squared length of rows (m, d + 1) in the coordinates in which the fit is white."""
    basis = fit.subspace.basis
    if basis is None:
        return np.sum((away @ fit.factor) ** 2, axis=1)
    weights = away[:, :-1]
    inside = weights @ basis
    white = np.column_stack([inside, away[:, -1]]) @ fit.factor
    outside = np.sum(weights**2, axis=1) - np.sum(inside**2, axis=1)
    return np.sum(white**2, axis=1) + outside / fit.prior_scale**2


def _log_odds(X: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Log odds (replications, L, n) of X (replications, n, d) at θ (replications, L, d + 1)."""
    return theta[..., :-1] @ X.swapaxes(1, 2) + theta[..., -1:]


def _log_likelihood(data: Simulation, theta: np.ndarray) -> np.ndarray:
    signs = 1 - 2 * data.y[:, None]
    return -np.logaddexp(0.0, signs * _log_odds(data.X, theta)).sum(axis=2)


def _uniformity(ranks: np.ndarray, draws: int, bins: int = 10) -> np.ndarray:
    """Return the χ² p-value of each column of `ranks` being uniform on 0 … draws."""
    if (draws + 1) % bins:
        raise ValueError(f"draws is {draws}; draws + 1 has to be a multiple of {bins}")
    cell = ranks * bins // (draws + 1)
    counts = np.stack([np.sum(cell == b, axis=0) for b in range(bins)])
    expected = len(ranks) / bins
    return chi2.sf(np.sum((counts - expected) ** 2, axis=0) / expected, bins - 1)
