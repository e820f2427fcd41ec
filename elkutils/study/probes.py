"""The linear reporters that chapters compare, under the names that their figures show."""

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
