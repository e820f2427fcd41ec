"""What ArviZ is given beyond the draws: log likelihoods by group, and predictions."""

import numpy as np
import pytest
from scipy.special import expit, log_expit, logsumexp

from elkutils.evaluation import by_group
from elkutils.reporters import BayesianLogistic, BayesianNetwork, load

GROUPS, EACH = 12, 5


@pytest.fixture(scope="module")
def grouped():
    """Rows of a group are near to one another, and of one label."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((GROUPS, 3))
    X = np.repeat(centre, EACH, axis=0) + 0.3 * rng.standard_normal((GROUPS * EACH, 3))
    y = np.repeat(rng.random(GROUPS) < expit(centre[:, 0]), EACH).astype(int)
    return X, y, np.repeat([f"city {i}" for i in range(GROUPS)], EACH)


def left_out(X, y, groups, group, **options):
    """Log probability of a group's labels together, from a fit without it."""
    out = groups == group
    fit = BayesianLogistic(**options).fit(X[~out], y[~out])
    each = log_expit((2 * y[out] - 1) * fit.draws_.log_odds(X[out])).sum(axis=-1)
    return logsumexp(each) - np.log(each.size)


def test_arviz_leaves_out_one_group_after_the_other(grouped):
    import arviz

    X, y, groups = grouped
    options = {"prior_scale": 0.5, "draws": 500, "chains": 4}
    fit = BayesianLogistic(**options).fit(X, y)
    found = arviz.loo(by_group(fit.idata, groups), pointwise=True)
    exact = [left_out(X, y, groups, group, **options) for group in np.unique(groups)]
    assert found.loo_i.dims == ("group",)
    assert found.loo_i.coords["group"].values.tolist() == np.unique(groups).tolist()
    assert found.pareto_k.max() < 0.7
    np.testing.assert_allclose(found.loo_i, exact, atol=0.2)  # Monte Carlo error of either
    assert float(arviz.loo(fit.idata).elpd_loo) > sum(exact) + 1  # a row at a time is too kind


def test_groups_sum_rows_wherever_they_stand(grouped):
    X, y, groups = grouped
    fit = BayesianLogistic(method="laplace", draws=10, chains=2).fit(X, y)
    turned = np.random.default_rng(0).permutation(len(y))
    again = fit.fit(X[turned], y[turned]).idata
    rows, sums = again.log_likelihood["y"], by_group(again, groups[turned]).log_likelihood["y"]
    for group in np.unique(groups):
        expected = rows.values[..., groups[turned] == group].sum(axis=-1)
        np.testing.assert_allclose(sums.sel(group=group), expected)
    assert rows.dims == ("chain", "draw", "row")  # what was given is as it was


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (np.arange(3), r"groups has shape \(3,\)"),
        (np.zeros(GROUPS * EACH), "it needs two groups"),
    ],
    ids=["other length", "one group"],
)
def test_bad_groups_are_refused(grouped, groups, told):
    X, y, _ = grouped
    fit = BayesianLogistic(method="laplace", draws=10, chains=2).fit(X, y)
    with pytest.raises(ValueError, match=told):
        by_group(fit.idata, groups)


def test_a_loaded_reporter_has_no_log_likelihoods_to_group(grouped, tmp_path):
    X, y, groups = grouped
    BayesianLogistic(method="laplace", draws=10, chains=2).fit(X, y).save(tmp_path / "r")
    with pytest.raises(ValueError, match="idata has no log_likelihood"):
        by_group(load(tmp_path / "r").idata, groups)


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_predictions_of_new_rows(grouped, kind):
    X, y, _ = grouped
    fit = {
        "linear": BayesianLogistic(method="laplace", draws=1000, chains=2),
        "network": BayesianNetwork(method="laplace", draws=1000, chains=2),
    }[kind].fit(X, y)
    found = fit.idata_at(X[:7], seed=3)
    proba, labels = found.predictions["proba"], found.predictions["y"]
    assert proba.dims == labels.dims == ("chain", "draw", "row")
    chains, draws = fit.draws_.chains, fit.draws_.draws
    np.testing.assert_array_equal(proba.values.reshape(-1, 7), fit.sample_proba(X[:7]))
    assert proba.shape == (chains, draws, 7)
    assert set(np.unique(labels)) <= {0, 1}
    error = 4 * 0.5 / np.sqrt(chains * draws)  # four standard errors, at most
    np.testing.assert_allclose(
        labels.mean(("chain", "draw")), proba.mean(("chain", "draw")), atol=error
    )
    assert found.posterior.equals(fit.idata.posterior)
    np.testing.assert_array_equal(fit.idata_at(X[:7], seed=3).predictions["y"], labels)
    with pytest.raises(ValueError, match="features"):
        fit.idata_at(X[:, :2])
