"""The linear probes that chapters compare, under the names that their figures show."""

import numpy as np

from elkutils.reporters import DifferenceInMeans, LinearDiscriminant, LogisticMAP, Reporter


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
