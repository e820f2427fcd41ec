"""Fit, draw, save and load every reporter, as ``make lowest`` does on the lowest versions.

It needs the package alone, without pytest, torch or a language model.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from elkutils.evaluation import auroc, bootstrap, log_score
from elkutils.inference.logistic import rare
from elkutils.inference.networks import threshold
from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    LinearDiscriminant,
    LogisticMAP,
    load,
)

NET = MLP((4,))
SHORT = {"draws": 30, "chains": 2, "warmup": 30}
REPORTERS = [
    DifferenceInMeans(),
    LinearDiscriminant("auto"),
    LogisticMAP("evidence"),
    *(BayesianLogistic(method=m, **SHORT) for m in ("hmc", "nuts", "variational", "laplace")),
    *(BayesianNetwork(NET, m, **SHORT, steps=8) for m in ("hmc", "nuts")),
    BayesianNetwork(NET, "threshold", threshold=0.6, **SHORT),
    Ensemble(3, steps=50, learning_rate=0.1, anchored=True, bootstrap=True),
    Ensemble(3, NET, steps=50, learning_rate=0.1, batch=16),
]


def main() -> None:
    """Print a line per reporter; an error or a failed assertion ends it."""
    warnings.filterwarnings("ignore", "the Pareto k")
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.standard_normal((60, 5)) + y[:, None] * [1.5, 0, 0, 0, -1]
    for reporter in REPORTERS:
        fit = reporter.fit(X, np.array(["lie", "truth"])[y])
        proba = fit.sample_proba(X)
        with tempfile.TemporaryDirectory() as folder:
            fit.save(Path(folder) / "probe")
            again = load(Path(folder) / "probe")
        np.testing.assert_array_equal(again.sample_proba(X), proba)
        if hasattr(fit, "idata"):
            assert fit.idata.posterior.sizes["chain"] == fit.draws_.chains
            str(fit.diagnostics_)
        p = fit.predict_proba(X)[:, 1]
        interval = bootstrap(log_score, y, p, groups=np.arange(60), resamples=100)
        assert auroc(y, p) > 0.8, (fit, auroc(y, p))
        print(f"{type(fit).__name__:20s} {interval}")
    posterior = BayesianLogistic(1.0, bias_scale=1.0).fit(X, y)
    draws = posterior.coef_draws_, posterior.intercept_draws_
    print(rare.estimate_at(X, y, -3 * X[y == 1].mean(axis=0), *draws, 1.0, 1.0))
    assert threshold.sample(NET, X, y, 0.65, tries=500).details["tried"] == 500


if __name__ == "__main__":
    main()
