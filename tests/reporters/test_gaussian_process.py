"""A Gaussian process as a reporter: its posterior is Laplace's, and its draws are of that."""

import numpy as np
import pytest
from scipy.linalg import solve_triangular
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier

from elkutils.reporters import GaussianProcess, load
from elkutils.reporters.gaussian_process import STRONGEST


@pytest.fixture(scope="module")
def bent():
    """(X (60, 3), y (60,)): the label is bent in one feature and rises with another."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, (X[:, 0] + X[:, 1] ** 2 + 0.5 * rng.standard_normal(60) > 0.6).astype(int)


@pytest.mark.parametrize(("linear", "bends"), [(True, True), (True, False), (False, True)])
def test_draws_have_the_moments_of_the_posterior(bent, linear, bends):
    """Those of Rasmussen & Williams (2006), algorithm 3.2, with the kernel that was found."""
    X, y = bent
    Z = 1.5 * np.random.default_rng(1).standard_normal((30, 3))
    fit = GaussianProcess(draws=4000, linear=linear, bends=bends).fit(X, y)
    theirs = fit._search(X, y)
    across = theirs.kernel_(Z, X)
    np.testing.assert_allclose(fit._kernel(Z), across, atol=1e-8)
    mean = across @ (y - theirs.pi_)
    v = solve_triangular(theirs.L_, theirs.W_sr_[:, None] * across.T, lower=True)
    sd = np.sqrt(theirs.kernel_.diag(Z) - (v**2).sum(axis=0))
    draws = fit._log_odds(Z)
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 5 / np.sqrt(4000)
    # of 4000 draws an sd is within 5% in all of 30 rows; waves for the RBF leave as much again
    assert np.abs(draws.std(axis=0) / sd - 1).max() < 0.1


def test_its_kernel_is_that_of_largest_evidence(bent):
    X, y = bent
    both, linear = (GaussianProcess(8, bends=bends).fit(X, y) for bends in (True, False))
    assert both.log_evidence_ > linear.log_evidence_ + 1  # the label is bent
    assert both.bend_variance_ > 1
    assert (linear.bend_variance_, linear.length_) == (0.0, 1.0)


def test_a_linear_one_is_the_laplace_posterior_of_logistic_regression(bent):
    """In function space and in weight space it is one Gaussian."""
    from elkutils.reporters import BayesianLogistic

    X, y = bent
    ours = GaussianProcess(20_000, bends=False).fit(X, y)
    tau, bias = np.sqrt(ours.linear_variance_), np.sqrt(ours.bias_variance_)
    theirs = BayesianLogistic(tau, bias, "laplace", draws=2500, chains=8).fit(X, y)
    p, q = (fit.predict_proba(X)[:, 1] for fit in (ours, theirs))
    np.testing.assert_allclose(p, q, atol=5 * 0.25 * np.sqrt(2 / 20_000))


def test_predictions_agree_with_those_of_scikit_learn(bent):
    X, y = bent
    fit = GaussianProcess(draws=4000).fit(X, y)
    kernel = fit._search(X, y).kernel_
    theirs = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
    # theirs integrates by an approximation with an error below .01
    np.testing.assert_allclose(
        fit.predict_proba(X)[:, 1], theirs.predict_proba(X)[:, 1], atol=0.02
    )


def test_a_draw_is_one_function(bent):
    """It answers a row the same whatever else is asked."""
    X, y = bent
    fit = GaussianProcess(draws=16).fit(X, y)
    whole = fit.sample_proba(X)
    np.testing.assert_allclose(fit.sample_proba(X[5:9]), whole[:, 5:9], atol=1e-12)
    assert np.abs(whole[0] - whole[1]).max() > 0.01
    assert ((expit(fit._log_odds(X)) - whole) == 0).all()


@pytest.mark.parametrize("units", [1e-6, 1.0, 1e6])
def test_separable_rows_in_any_units_have_a_kernel(units):
    """Evidence asks for ever stronger kernels there, and stops at the bound."""
    X = np.random.default_rng(5).standard_normal((300, 40))
    y = (X[:, 0] > 0).astype(int)
    fit = GaussianProcess(draws=8).fit(units * X, y)
    assert (fit.predict(units * X) == y).all()
    assert fit.linear_variance_ * units**2 * 40 <= 1.01 * STRONGEST


def test_a_search_that_breaks_is_named(bent, monkeypatch):
    def broken(*_):
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(GaussianProcessClassifier, "fit", broken)
    with pytest.raises(ArithmeticError, match="z-score X"):
        GaussianProcess().fit(*bent)


def test_saved_and_loaded_it_draws_the_same(bent, tmp_path):
    X, y = bent
    fit = GaussianProcess(draws=16).fit(X, np.where(y == 1, "no", "yes"))
    fit.save(tmp_path / "process")
    assert not np.shares_memory(fit.rows_, X)
    np.testing.assert_array_equal(
        load(tmp_path / "process").sample_proba(X), fit.sample_proba(X)
    )


def test_bad_parameters_are_named(bent, monkeypatch):
    X, y = bent
    for name, value in {"draws": 0, "restarts": -1, "seed": -1}.items():
        with pytest.raises(ValueError, match=name):
            GaussianProcess(**{name: value}).fit(X, y)
    with pytest.raises(ValueError, match="a part"):
        GaussianProcess(linear=False, bends=False).fit(X, y)
    monkeypatch.setattr("elkutils.reporters.gaussian_process.MOST_ROWS", 50)
    with pytest.raises(ValueError, match=r"60 rows.*at most 50"):
        GaussianProcess().fit(X, y)
