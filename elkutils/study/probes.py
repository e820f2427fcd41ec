"""The linear reporters that chapters compare, under the names that their figures show."""

from collections.abc import Sequence

import numpy as np

from elkutils.reporters import (
    BayesianLogistic,
    DifferenceInMeans,
    Ensemble,
    LinearDiscriminant,
    LogisticMAP,
    Reporter,
)


def linear_probes(X: np.ndarray, y: np.ndarray) -> dict[str, Reporter]:
    """Return four linear probes fitted to X (n, d) and y (n,) in {0, 1}.

    Returns
    -------
    dict of str to Reporter
        ``difference in means``, ``shrunk discriminant``, ``logistic, evidence`` (at the prior
        scale of largest evidence) and ``logistic, loose end`` (at the widest scale of the
        evidence's grid).
    """
    evidence = LogisticMAP("evidence").fit(X, y)
    return {
        "difference in means": DifferenceInMeans().fit(X, y),
        "shrunk discriminant": LinearDiscriminant("auto").fit(X, y),
        "logistic, evidence": evidence,
        "logistic, loose end": LogisticMAP(evidence.path_.prior_scales[-1]).fit(X, y),
    }


def five_reporters(method: str, draws: int, members: int, seed: int = 0) -> dict[str, Reporter]:
    """Return the book's five linear reporters, not yet fitted, by the names of its tables.

    Parameters
    ----------
    method : str
        How the posterior is computed, as in `BayesianLogistic`.
    draws : int
        Draws of each of its 16 chains.
    members : int
        Members of the plain ensemble, which differ in their starts alone.
    seed : int
        Of the posterior and of the ensemble.

    Returns
    -------
    dict of str to Reporter
        ``difference in means``, ``shrunk discriminant``, ``logistic MAP``, ``posterior`` (both
        at the prior scale of largest evidence) and ``ensemble``.
    """
    return {
        "difference in means": DifferenceInMeans(),
        "shrunk discriminant": LinearDiscriminant("auto"),
        "logistic MAP": LogisticMAP("evidence"),
        "posterior": BayesianLogistic("evidence", None, method, draws, chains=16, seed=seed),
        "ensemble": Ensemble(members, init="prior", anchored=False, bootstrap=False, seed=seed),
    }


METHODS = ("difference", "LDA", "MAP", "Bayes", "ensemble")


def five_of_one_prior(
    d: int, seed: int, methods: Sequence[str] = METHODS, draws: int = 500
) -> dict[str, Reporter]:
    """Return linear reporters that share one round prior, not yet fitted.

    The prior of MAP, posterior and of the ensemble's starts is w ~ N(0, τ²I), τ = 2/√d.

    Parameters
    ----------
    d : int
        Features, z-scored.
    seed : int
        Of the posterior and of the ensemble.
    methods : sequence of str
        Some of ``difference``, ``LDA``, ``MAP``, ``Bayes`` and ``ensemble``. The ensemble has
        sixteen members, each trained for 200 steps on its own resample of the rows.
    draws : int
        Draws of each of the posterior's 16 chains.

    Examples
    --------
    >>> list(five_of_one_prior(4, 0, ["MAP"])), five_of_one_prior(4, 0)["MAP"].prior_scale
    (['MAP'], 1.0)
    """
    tau = float(2 / np.sqrt(d))
    bag = {"members": 16, "init": tau, "anchored": False, "bootstrap": True, "steps": 200}
    five = {
        "difference": DifferenceInMeans(),
        "LDA": LinearDiscriminant("auto"),
        "MAP": LogisticMAP(tau),
        "Bayes": BayesianLogistic(tau, draws=draws, chains=16, seed=seed),
        "ensemble": Ensemble(**bag, seed=seed),
    }
    return {method: five[method] for method in methods}
