"""Ensembles: what makes their members differ, and what happens to the odd ones."""

import numpy as np
import pytest

import elkutils.reporters as reporters
from elkutils.evaluation import log_score
from elkutils.inference.logistic import default_prior_scales
from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import BayesianLogistic, Ensemble, LogisticMAP

PLAIN = {"init": "prior", "anchored": False, "bootstrap": False}
FEW = {"members": 4, "steps": 100, "learning_rate": 0.1}
HEAD = MLP((4,), "tanh", 2.0)


def test_one_member_works(data):
    X, y = data
    fit = Ensemble(**FEW | {"members": 1}).fit(X, y)
    proba = fit.sample_proba(X)
    assert proba.shape == (1, 40)
    np.testing.assert_allclose(fit.predict_proba(X)[:, 1], proba[0])
    np.testing.assert_allclose(fit.decision_function(X), np.log(proba[0] / (1 - proba[0])))


def test_linear_members_have_coefficients(data):
    X, y = data
    fit = Ensemble(**FEW).fit(X, y)
    log_odds = fit.coef_draws_ @ X.T + fit.intercept_draws_[:, None]
    np.testing.assert_allclose(fit.sample_proba(X), 1 / (1 + np.exp(-log_odds)))
    assert fit.coef_.shape == (1, 3)
    assert not hasattr(Ensemble(head=HEAD, **FEW).fit(X, y), "coef_")


def test_an_anchored_linear_ensemble_has_the_posteriors_spread_where_labels_say_nothing():
    """A feature that is 0 in training keeps its prior in the posterior and in the ensemble."""
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    X = np.column_stack([rng.standard_normal(30) + y, np.zeros(30)])
    recipe = {"init": 0.5, "anchored": True, "bootstrap": False}
    fit = Ensemble(400, **recipe, steps=300, learning_rate=0.05).fit(X, y)
    exact = BayesianLogistic(0.5, bias_scale=1.0).fit(X, y)
    # Standard errors of the standard deviations are 1/√800 of them; four of those.
    assert fit.coef_draws_[:, 1].std() == pytest.approx(0.5, rel=4 / np.sqrt(800))
    assert exact.coef_draws_[:, 1].std() == pytest.approx(0.5, rel=0.1)
    assert fit.coef_draws_[:, 0].std() < exact.coef_draws_[:, 0].std()


def test_init_is_the_prior_scale_of_a_linear_head():
    X, y = np.random.default_rng(0).standard_normal((6, 400)), np.arange(6) % 2
    for init, scale in ((0.3, 0.3), ("prior", 1 / 20)):
        start = Ensemble(20, init=init, steps=1, learning_rate=1e-9).fit(X, y).coef_draws_
        # 8000 numbers: the standard error of their standard deviation is below 1%.
        assert start.std() == pytest.approx(scale, rel=0.04)
    wide = Ensemble(20, HEAD, init=8.0, steps=1, learning_rate=1e-9).fit(X, y)
    narrow = Ensemble(20, HEAD, steps=1, learning_rate=1e-9).fit(X, y)
    weights = slice(0, 4 * 400)
    ratio = wide.parameters_[:, weights] / narrow.parameters_[:, weights]
    np.testing.assert_allclose(np.median(ratio), 4, rtol=1e-4)


@pytest.mark.parametrize("own", [{"bootstrap": True}, {"perturb": 0.2}])
def test_without_regularisation_members_of_one_minimum_need_something_of_their_own(data, own):
    X, y = data
    settled = PLAIN | {"members": 4, "steps": 2000, "learning_rate": 0.05}
    alike, apart = (Ensemble(**settled | more).fit(X, y).coef_draws_ for more in ({}, own))
    assert np.ptp(alike, axis=0).max() < 1e-2
    assert np.ptp(apart, axis=0).max() > 0.1


def test_a_resample_that_misses_a_class_is_drawn_again():
    rng = np.random.default_rng(0)
    y = np.array([1] + 9 * [0])
    X = rng.standard_normal((10, 2)) + 3 * y[:, None]
    fit = Ensemble(**PLAIN | FEW | {"members": 50, "bootstrap": True}).fit(X, y)
    assert (fit.sample_proba(X)[:, 0] > fit.sample_proba(X)[:, 1:].max(axis=1)).all()


def test_members_that_diverge_are_left_out(data):
    X, y = data
    huge = X * [1.0, 1e18, 1.0]
    wild = PLAIN | {"optimiser": "sgd", "learning_rate": 1e20, "steps": 100}
    with pytest.raises(ValueError, match="all 4 members diverged"):
        Ensemble(4, **wild).fit(huge, y)

    def one(trained):
        import dataclasses

        diverging = np.array([[False, True, False, False]])
        return dataclasses.replace(trained, stats=trained.stats | {"diverging": diverging})

    from elkutils.inference.networks import training

    train = training.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", lambda *a, **k: one(train(*a, **k)))
        with pytest.warns(RuntimeWarning, match="1 of 4 members diverged"):
            fit = Ensemble(**PLAIN, **FEW).fit(X, y)
    whole = Ensemble(**PLAIN, **FEW).fit(X, y)
    np.testing.assert_array_equal(fit.parameters_, whole.parameters_[[0, 2, 3]])
    assert fit.sample_proba(X).shape == (3, 40)


def test_by_default_the_prior_is_that_of_largest_evidence(data, tmp_path):
    X, y = data
    fit = Ensemble(members=4).fit(X, y)
    tau = LogisticMAP("evidence").fit(X, y).prior_scale_
    assert fit.init_ == pytest.approx(tau)
    same = Ensemble(members=4, init=tau).fit(X, y)
    np.testing.assert_allclose(fit.coef_draws_, same.coef_draws_, rtol=1e-5)
    assert not hasattr(same, "init_")
    fit.save(tmp_path / "bag")
    again = reporters.load(tmp_path / "bag")
    assert again.init_ == fit.init_
    np.testing.assert_array_equal(again.sample_proba(X), fit.sample_proba(X))
    with pytest.raises(ValueError, match="choose_scale gives a number"):
        Ensemble(head=HEAD, init="evidence").fit(X, y)


def test_labels_that_ask_for_no_prior_are_named_by_the_argument():
    X = np.arange(-5.0, 5.0)[:, None] + 0.5
    with pytest.warns(UserWarning, match=r"init is 'evidence'.* give a number as init$"):
        fit = Ensemble(2, init="evidence", steps=5).fit(X, X[:, 0] > 0)
    scales = default_prior_scales(X)
    assert fit.init_ == pytest.approx(np.sqrt(scales[0] * scales[-1]))


def test_default_members_arrive_where_a_hyperplane_separates_the_classes():
    X = np.linspace(-1, 1, 20)[:, None] + [[0.0, 3.0]]
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(UserWarning, match="init is 'evidence'"):
        fit = Ensemble(8, bootstrap=False).fit(X, y)
    assert fit.score(X, y) > 0.9


def test_default_members_know_more_of_new_rows_than_plain_ones():
    """Forty separable rows of a hundred features: plain members grow too sure."""
    rng = np.random.default_rng(0)
    y, shift = np.arange(1040) % 2, rng.normal(scale=0.2, size=100)
    X = rng.standard_normal((1040, 100)) + np.outer(y, shift)
    scores = []
    for options in ({}, PLAIN):
        p = Ensemble(**options).fit(X[:40], y[:40]).predict_proba(X[40:])[:, 1]
        scores.append(log_score(y[40:], p))
    assert scores[0] > max(scores[1] + 0.1, np.log(0.5))


def test_members_stop_by_held_out_rows(data):
    X, y = data
    fit = Ensemble(head=HEAD, patience=1, **FEW | {"steps": 1000})
    named = np.array(["lie", "truth"])[y]
    fit.fit(X[::2], named[::2], held_out=(X[1::2], named[1::2]))
    assert fit.steps_.max() < 1000
    with pytest.raises(ValueError, match="held_out is missing"):
        fit.fit(X, named)
    with pytest.raises(ValueError, match="held_out has labels"):
        fit.fit(X, named, held_out=(X, y))


def test_a_head_comes_back_from_disk(data, tmp_path):
    fit = Ensemble(head=HEAD, init=0.5, **FEW).fit(*data)
    fit.save(tmp_path / "bag")
    again = reporters.load(tmp_path / "bag")
    assert again.head == HEAD
    about = tmp_path / "bag" / "reporter.json"
    about.write_text(about.read_text().replace("mlp:MLP", "mlp:LSTM"))
    with pytest.raises(ValueError, match="LSTM"):
        reporters.load(tmp_path / "bag")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("members", 0),
        ("members", 2.5),
        ("head", "quadratic"),
        ("head", 3),
        ("init", 0.0),
        ("init", "wide"),
        ("head", MLP),
        ("init", np.nan),
        ("perturb", 0.5),
        ("perturb", -0.1),
        ("seed", None),
        ("steps", 0),
        ("batch", 0),
        ("patience", 0),
        ("optimiser", "newton"),
    ],
)
def test_parameters_are_checked(data, name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        Ensemble(**FEW | {name: value}).fit(*data)
