"""Each reporter's answer against the formula that defines it."""

import warnings

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    GaussianProcess,
    LinearDiscriminant,
    LogisticMAP,
    base,
    load,
)


def test_difference_in_means_is_the_normal_model_of_the_projection(data):
    X, y = data
    fit = DifferenceInMeans().fit(X, y)
    delta = X[y == 1].mean(0) - X[y == 0].mean(0)
    direction = delta / np.linalg.norm(delta)
    np.testing.assert_allclose(fit.coef_[0] / np.linalg.norm(fit.coef_), direction)
    t = X @ direction
    means = [t[y == c].mean() for c in (0, 1)]
    variance = np.mean((t - np.array(means)[y]) ** 2)
    log_odds = ((t - means[0]) ** 2 - (t - means[1]) ** 2) / (2 * variance) + logit(15 / 40)
    np.testing.assert_allclose(fit.decision_function(X), log_odds)


@pytest.mark.parametrize("shrinkage", [None, 0.3, "auto"])
def test_discriminant_direction(data, shrinkage):
    X, y = data
    fit = LinearDiscriminant(shrinkage).fit(X, y)
    if shrinkage == "auto":
        assert not np.allclose(fit.coef_, LinearDiscriminant().fit(X, y).coef_)
        return
    within = sum(np.cov(X[y == c].T, bias=True) * np.mean(y == c) for c in (0, 1))
    if shrinkage:
        each = [np.cov(X[y == c].T, bias=True) for c in (0, 1)]
        shrunk = [(1 - 0.3) * S + 0.3 * np.trace(S) / 3 * np.eye(3) for S in each]
        within = sum(S * np.mean(y == c) for c, S in enumerate(shrunk))
    delta = X[y == 1].mean(0) - X[y == 0].mean(0)
    np.testing.assert_allclose(fit.coef_[0], np.linalg.solve(within, delta))


@pytest.mark.parametrize("shape", [(200, 20), (30, 80)])
@pytest.mark.parametrize("seed", range(3))
def test_logistic_map_is_scikit_learns(shape, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape)
    y = rng.random(shape[0]) < expit(X[:, 0])
    ours = LogisticMAP(0.5).fit(X, y)
    theirs = LogisticRegression(C=0.25, solver="newton-cholesky", tol=1e-12).fit(X, y)
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6 * scale, rtol=0)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6 * scale, rtol=0)


def test_evidence_and_cross_validation_choose_from_the_path(data):
    X, y = data
    scales = np.geomspace(0.01, 10, 7)
    chosen = LogisticMAP("evidence", prior_scales=scales).fit(X, y)
    assert chosen.prior_scale_ == scales[np.argmax(chosen.path_.log_evidence)]
    np.testing.assert_allclose(
        chosen.coef_, LogisticMAP(chosen.prior_scale_).fit(X, y).coef_, atol=1e-8
    )
    validated = LogisticMAP("cv", prior_scales=scales).fit(X, y)
    assert validated.prior_scale_ == scales[np.argmax(validated.cv_log_score_)]
    assert BayesianLogistic("evidence", method="laplace").fit(X, y).prior_scale_ > 0


def test_grouped_cross_validation_does_not_learn_the_groups():
    """Features that only name the group: with groups kept apart the widest prior loses."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    X = np.eye(40)[groups] + 0.01 * rng.standard_normal((160, 40))
    y = rng.integers(0, 2, 40)[groups]
    scales = [0.01, 10.0]
    assert LogisticMAP("cv", prior_scales=scales).fit(X, y).prior_scale_ == 10
    fit = LogisticMAP("cv", prior_scales=scales).fit(X, y, groups=groups)
    assert fit.prior_scale_ == 0.01


def test_point_reporters_have_one_draw_and_bags_many(reporter, data):
    X, y = data
    proba = reporter.fit(X, y).sample_proba(X[:7])
    bags = {BayesianLogistic: 50, BayesianNetwork: 50, Ensemble: 4, GaussianProcess: 25}
    draws = bags.get(type(reporter), 1)
    assert proba.shape == (draws, 7)
    np.testing.assert_allclose(reporter.predict_proba(X[:7])[:, 1], proba.mean(0))
    np.testing.assert_allclose(
        reporter.decision_function(X[:7]), logit(proba.mean(0)), atol=1e-10
    )


def test_certain_predictives_keep_finite_log_odds(data):
    fit = BayesianLogistic(method="laplace").fit(*data)
    assert np.isfinite(fit.decision_function(1e5 * data[0])).all()


def test_posterior_is_invariant_to_rotation():
    """Same predictive, by the same exact sampler in turned coordinates."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((60, 5)), rng.integers(0, 2, 60)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    make = {"prior_scale": 0.8, "draws": 2000, "warmup": 200}
    plain = BayesianLogistic(**make, seed=0).fit(X, y).sample_proba(X)
    turned = BayesianLogistic(**make, seed=1).fit(X @ turn, y).sample_proba(X @ turn)
    # at least 2000 effective draws in each: five standard errors
    error = 5 * plain.std(0) * np.sqrt(2 / 2000)
    assert np.all(np.abs(plain.mean(0) - turned.mean(0)) < error)


def test_null_space_keeps_the_prior():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((10, 25)), np.arange(10) % 2
    fit = BayesianLogistic(0.4, draws=1000, warmup=200).fit(X, y)
    null = np.linalg.svd(X)[2][10:]
    z = fit.coef_draws_ @ null.T / 0.4
    # 60 000 independent standard normals
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)


def test_inference_data_has_names(data):
    X, y = data
    fit = BayesianLogistic(method="nuts", draws=25, warmup=25, chains=2).fit(X, y)
    posterior, stats = fit.idata.posterior, fit.idata.sample_stats
    assert posterior["coef"].dims == ("chain", "draw", "feature")
    assert posterior["coef"].shape == (2, 25, 3)
    assert posterior["intercept"].dims == ("chain", "draw")
    assert {"diverging", "acceptance_rate", "n_steps", "tree_depth", "energy"} <= set(stats)
    np.testing.assert_array_equal(posterior["coef"].values.reshape(50, 3), fit.coef_draws_)
    assert fit.diagnostics_.rhat.shape == (4,)


@pytest.fixture(scope="module")
def left_out():
    """Log score of each of 40 rows but row 3, of fits without it: X, y, weights and the sum."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [25, 15])
    X = rng.standard_normal((40, 3)) + y[:, None] * [1.0, 0.0, -0.5]
    weights = np.ones(40)
    weights[3] = total = 0
    for row in np.flatnonzero(weights):
        others = (weights > 0) & (np.arange(40) != row)
        fit = BayesianLogistic(draws=500, chains=4).fit(X[others], y[others])
        total += np.log(fit.predict_proba(X[[row]])[0, y[row]])
    return X, y, weights, total


@pytest.mark.parametrize("method", ["hmc", "nuts", "laplace"])
def test_arviz_leaves_out_one_row_after_the_other(left_out, method):
    import arviz

    X, y, weights, exact = left_out
    fit = BayesianLogistic(method=method, draws=500, chains=4).fit(X, y, sample_weight=weights)
    kept = weights > 0
    said = fit.idata.log_likelihood["y"]
    assert said.dims == ("chain", "draw", "row")
    p = fit.sample_proba(X[kept]).reshape(4, 500, 39)
    np.testing.assert_allclose(said, np.log(np.where(y[kept] == 1, p, 1 - p)), rtol=1e-9)
    found = arviz.loo(fit.idata, pointwise=True)
    assert float(found.elpd_loo) == pytest.approx(exact, abs=0.5)
    assert abs(exact - np.log(fit.predict_proba(X)[np.arange(40), y])[kept].sum()) > 1


def test_a_weight_counts_in_the_log_likelihood(data):
    X, y = data
    fit = BayesianLogistic(method="laplace", draws=10, chains=2)
    once = fit.fit(X, y, sample_weight=np.full(40, 2.0)).idata.log_likelihood["y"].values
    p = fit.sample_proba(X).reshape(2, 10, 40)
    np.testing.assert_allclose(once, 2 * np.log(np.where(y == 1, p, 1 - p)), rtol=1e-9)


def test_the_log_likelihood_is_bounded_and_not_saved(data, tmp_path, monkeypatch):
    X, y = data
    fit = BayesianLogistic(method="laplace", draws=10, chains=2).fit(X, y)
    fit.save(tmp_path / "posterior")
    again = load(tmp_path / "posterior")
    assert "log_likelihood" in fit.idata.groups()
    assert "log_likelihood" not in again.idata.groups()
    monkeypatch.setattr(base, "LIKELIHOODS", 40 * 20 - 1)
    assert "log_likelihood" not in fit.fit(X, y).idata.groups()
    before = X.copy()
    monkeypatch.undo()
    fit.fit(X, y)
    said = fit.idata.log_likelihood["y"].values
    X += 1
    np.testing.assert_array_equal(fit.idata.log_likelihood["y"].values, said)
    X[:] = before


def test_only_a_hamiltonian_is_called_energy(data):
    """HMC keeps the log posterior; ArviZ would take it for the energy and judge by it."""
    import arviz

    X, y = data
    fit = BayesianLogistic(draws=20, chains=2, bias_scale=1.0).fit(X, y)
    stats = fit.idata.sample_stats
    log_prior = -0.5 * (fit.draws_.theta**2).sum(axis=-1)
    log_posterior = fit.idata.log_likelihood["y"].sum("row").values + log_prior
    gap = stats["lp"].values - log_posterior
    np.testing.assert_allclose(gap, gap.mean(), atol=1e-3)
    with pytest.raises(AttributeError, match="energy"):
        arviz.plot_energy(fit.idata)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"draws": 300, "warmup": 1, "prior_scale": 1e3}, "effective draws of"),
        ({"draws": 25, "warmup": 1, "chains": 2, "prior_scale": 1e3}, r"and needs 12: see the"),
    ],
)
@pytest.mark.filterwarnings("ignore:prior_scale:UserWarning")
def test_nuts_that_has_not_converged_warns(options, told):
    X, y = np.random.default_rng(0).standard_normal((20, 30)), np.arange(20) % 2
    with pytest.warns(RuntimeWarning, match=rf"chains have not converged: .*{told}.* help"):
        BayesianLogistic(method="nuts", **options).fit(X, y)


def test_nuts_that_has_converged_does_not_warn(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BayesianLogistic(method="nuts").fit(*data)
        BayesianLogistic(method="nuts", draws=50, warmup=200, chains=4).fit(*data)


def test_importing_reporters_is_light():
    import subprocess
    import sys

    heavy = "jax, numpyro, arviz, torch, matplotlib"
    script = f"""
import sys, numpy as np, elkutils, elkutils.reporters as r
r.BayesianLogistic(method="laplace").fit(np.eye(4), [0, 1, 0, 1]).sample_proba(np.eye(4))
print([m for m in "{heavy}".split(", ") if m in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
