"""Random-walk Metropolis on the posterior of logistic regression: chains with a long memory.

It shows what correlated draws do to bounds that need independent ones. To draw from that
posterior use `elkutils.reporters.BayesianLogistic`.
"""

import numpy as np


def walk(
    X: np.ndarray,
    y: np.ndarray,
    prior_scale: float,
    start: np.ndarray,
    steps: int,
    size: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the paths (steps, chains, d + 1) of all chains, without their start.

    The prior is w ~ N(0, τ²I) with a flat bias, which is the last coordinate.

    Parameters
    ----------
    X, y : (n, d) and (n,) arrays
        y in {0, 1}.
    prior_scale : float
        τ.
    start : (chains, d + 1) array
    steps : int
    size : float
        Standard deviation of a proposal in each coordinate.
    rng : numpy.random.Generator
    """
    theta, here, path = start, _log_density(start, X, y, prior_scale), []
    for _ in range(steps):
        proposal = theta + size * rng.standard_normal(theta.shape)
        there = _log_density(proposal, X, y, prior_scale)
        taken = np.log(rng.random(len(theta))) < there - here
        theta = np.where(taken[:, None], proposal, theta)
        here = np.where(taken, there, here)
        path.append(theta)
    return np.array(path)


def _log_density(theta, X, y, prior_scale):
    log_odds = theta[:, :-1] @ X.T + theta[:, -1:]
    fit = -np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)).sum(axis=1)
    return fit - (theta[:, :-1] ** 2).sum(axis=1) / (2 * prior_scale**2)
