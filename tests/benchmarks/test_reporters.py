"""LogisticMAP against scikit-learn: run by name, ``pytest tests/benchmarks/test_reporters.py``.

The two are timed in turn, in CPU time, on z-scored features with a power-law spectrum, like
activations. scikit-learn's default tolerance leaves errors of a hundredth in the weights, so
its solver is run at the tolerance that leaves 1e-5, which is still looser than ours.
"""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from timing import alternating_medians

from elkutils.reporters import LogisticMAP


def activations(n, d, seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = (rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.5) @ turn
    X = (X - X.mean(0)) / X.std(0)
    return X, rng.random(n) < expit(X @ rng.standard_normal(d) / 10)


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("prior_scale", [0.05, 1.0])
def test_logistic_map_is_no_slower_than_scikit_learn(n, prior_scale, capsys):
    X, y = activations(n, 576, seed=0)
    ours = LogisticMAP(prior_scale)
    rivals = {
        f"{solver}, tol {tol:g}": LogisticRegression(
            C=prior_scale**2, solver=solver, tol=tol, max_iter=10_000
        )
        for solver, tol in [("lbfgs", 1e-8), ("lbfgs", 1e-4), ("newton-cholesky", 1e-6)]
    }
    models = [ours, *rivals.values()]
    seconds = alternating_medians(*(lambda m=m: m.fit(X, y) for m in models))
    with capsys.disabled():
        print(f"\nn {n}, d 576, τ {prior_scale}: LogisticMAP {1e3 * seconds[0]:.1f} ms")
        for (name, rival), taken in zip(rivals.items(), seconds[1:], strict=True):
            error = np.abs(rival.coef_ - ours.coef_).max() / np.abs(ours.coef_).max()
            print(f"  {name:26} {taken / seconds[0]:6.2f} × as long, differs by {error:.0e}")
    assert seconds[0] <= 1.1 * seconds[1], "slower than lbfgs at a comparable tolerance"
