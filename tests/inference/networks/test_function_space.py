"""Posteriors in function space against those in weights, and against closed forms."""

import numpy as np
import pytest

from elkutils.inference.networks.function_space import Process
from elkutils.reporters import BayesianLogistic, LogisticMAP

TAU = 0.8


def make(n=40, d=60, seed=0):
    """More features than rows, labels from a linear rule, and 50 new rows."""
    rng = np.random.default_rng(seed)
    X, new = rng.standard_normal((n, d)), rng.standard_normal((50, d))
    y = (X[:, :5].sum(axis=1) + rng.standard_normal(n) > 0.5).astype(int)
    return X, y, new


def test_a_linear_kernel_is_logistic_regression():
    """Mode to rounding; draws' moments to the error of 4000 of each, independent or nearly."""
    X, y, new = make()
    process = Process.of(TAU**2 * X @ X.T)
    across, own = TAU**2 * new @ X.T, TAU**2 * np.sum(new**2, axis=1)
    design, _ = process.at(across, own)
    mode = process.mode(y)
    point = LogisticMAP(TAU).fit(X, y)
    expected = point.decision_function(new)
    np.testing.assert_allclose(design @ mode[:-1] + mode[-1], expected, atol=1e-4)

    theta = process.sample(y, 1000, 4, seed=1).flat
    ours = process.log_odds(theta, across, own, np.random.default_rng(0))
    fit = BayesianLogistic(TAU, draws=1000, chains=4, seed=2).fit(X, y)
    theirs = np.log(fit.sample_proba(new)) - np.log1p(-fit.sample_proba(new))
    sd = theirs.std(axis=0)
    # The error of a difference of means of 4000 draws is .022 sd, of log sds .016; five each.
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 0.11 * sd.max()
    assert np.abs(np.log(ours.std(axis=0) / sd)).max() < 0.08


def test_new_rows_have_the_moments_of_a_conditional_normal():
    X, _, new = make(10, 30)
    K, across, own = X @ X.T, new[:6] @ X.T, new[:6] @ new[:6].T
    process = Process.of(K)
    theta = np.append(np.random.default_rng(1).standard_normal(10), 0.3)
    drawn = process.log_odds(np.tile(theta, (20_000, 1)), across, own, np.random.default_rng(2))
    seen = process.design @ theta[:-1]
    mean = across @ np.linalg.solve(K, seen) + 0.3
    left = own - across @ np.linalg.solve(K, across.T)
    error = np.sqrt(np.diag(left) / 20_000)
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 5 * error)
    scale = np.sqrt(np.outer(np.diag(left), np.diag(left)))
    assert np.abs((np.cov(drawn.T) - left) / scale).max() < 5 * np.sqrt(2 / 20_000)
    # One by one, rows have the same means and variances, and no covariance.
    alone = process.log_odds(
        np.tile(theta, (20_000, 1)), across, np.diag(own), np.random.default_rng(3)
    )
    assert np.all(np.abs(alone.mean(axis=0) - mean) < 5 * error)
    cov = np.cov(alone.T) / scale
    assert np.abs(cov - np.eye(6)).max() < 5 * np.sqrt(2 / 20_000)


def test_training_rows_have_nothing_left():
    X, _, _ = make(10, 30)
    process = Process.of(X @ X.T)
    design, left = process.at(X @ X.T, np.sum(X**2, axis=1))
    np.testing.assert_allclose(design, process.design, atol=1e-9)
    assert left.max() < 1e-9 * np.sum(X**2)


@pytest.mark.parametrize(
    ("covariance", "told"),
    [
        (np.ones((2, 3)), "needs \\(n, n\\)"),
        (np.array([[1.0, 0.5], [0.2, 1.0]]), "not symmetric"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "the eigenvalue -1"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "covariance"),
    ],
)
def test_bad_covariances(covariance, told):
    with pytest.raises(ValueError, match=told):
        Process.of(covariance)


def test_bad_new_rows():
    with pytest.raises(ValueError, match=r"need \(3, 2\), and \(3, 3\) or \(3,\)"):
        Process.of(np.eye(2)).at(np.ones((3, 2)), np.ones(4))
