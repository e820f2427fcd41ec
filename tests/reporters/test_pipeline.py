"""A pipeline keeps what a reporter can do: draws, weights, and a folder."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import (
    BayesianLogistic,
    DifferenceInMeans,
    Ensemble,
    LogisticMAP,
    Pipeline,
    load,
    make_pipeline,
)


@pytest.fixture
def rows(data):
    X, y = data
    return 1e3 * X + [0.0, 5.0, 1e6], y


def test_it_is_the_steps_one_after_another(rows):
    X, y = rows
    reporter = make_pipeline(StandardScaler(), BayesianLogistic(method="laplace", draws=20))
    reporter.fit(X, y)
    Z = StandardScaler().fit_transform(X)
    alone = BayesianLogistic(method="laplace", draws=20).fit(Z, y)
    np.testing.assert_array_equal(reporter.sample_proba(X), alone.sample_proba(Z))
    np.testing.assert_array_equal(reporter.predict_proba(X), alone.predict_proba(Z))
    np.testing.assert_array_equal(reporter.predict(X), alone.predict(Z))
    blocks = [part for _, part in reporter.sample_proba_blocks(X, rows=16)]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), alone.sample_proba(Z))
    assert reporter.score(X, y) == alone.score(Z, y)
    assert reporter[:-1].transform(X).shape == X.shape


def test_any_reporter_is_saved_with_its_scaling(tmp_path, reporter, rows):
    X, y = rows
    fit = make_pipeline(StandardScaler(), reporter).fit(X, y)
    fit.save(tmp_path / "reporter")
    again = load(tmp_path / "reporter")
    assert isinstance(again, Pipeline)
    np.testing.assert_array_equal(again.sample_proba(X), fit.sample_proba(X))
    np.testing.assert_array_equal(again.predict_proba(X), fit.predict_proba(X))
    assert repr(again.get_params()) == repr(fit.get_params())
    np.testing.assert_array_equal(again.classes_, fit.classes_)
    again.save(tmp_path / "again")


@pytest.mark.parametrize(
    "step",
    [
        PCA(2, whiten=True, random_state=0),
        SimpleImputer(strategy="median"),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        FunctionTransformer(),
        "passthrough",
    ],
    ids=str,
)
def test_other_transformers(tmp_path, rows, step):
    X, y = rows
    fit = Pipeline([("first", step), ("scale", StandardScaler()), ("last", LogisticMAP())])
    fit.fit(X, y).save(tmp_path / "reporter")
    again = load(tmp_path / "reporter")
    np.testing.assert_array_equal(again.predict_proba(X), fit.predict_proba(X))
    if step != "passthrough":
        assert vars(again[0]).keys() == vars(fit[0]).keys()


def test_what_cannot_be_saved_says_so(tmp_path, rows):
    X, y = rows
    for step, said in (
        (FunctionTransformer(np.cbrt), "not JSON's"),
        (SelectKBest(k=2), "not JSON's"),
    ):
        fit = make_pipeline(step, LogisticMAP()).fit(X, y)
        with pytest.raises(ValueError, match=said):
            fit.save(tmp_path / "reporter")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="has to be a reporter"):
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


def test_weights_reach_every_step(rows):
    X, y = rows
    weights = np.random.default_rng(0).integers(0, 4, 40)
    repeats = np.repeat(np.arange(40), weights)
    steps = StandardScaler(), LogisticMAP()
    ours = make_pipeline(*map(clone, steps)).fit(X, y, sample_weight=weights)
    theirs = make_pipeline(*map(clone, steps)).fit(X[repeats], y[repeats])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)
    alone = make_pipeline(*map(clone, steps))
    alone.fit(X, y, logisticmap__groups=np.arange(40))
    assert alone[-1].prior_scale_ == 1.0


def test_names_of_features_and_labels(tmp_path, rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fit = make_pipeline(StandardScaler(), DifferenceInMeans())
    fit.fit(frame, np.array(["lie", "truth"])[y]).save(tmp_path / "reporter")
    again = load(tmp_path / "reporter")
    assert list(again.feature_names_in_) == ["a", "b", "c"]
    assert list(again.classes_) == ["lie", "truth"]
    np.testing.assert_array_equal(again.predict(frame), fit.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[["c", "b", "a"]])


def test_it_is_searched_and_set_like_scikit_learns(tmp_path, rows):
    X, y = rows
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticMAP()),
        {"logisticmap__prior_scale": [0.1, 1.0]},
        scoring="neg_log_loss",
    ).fit(X, y)
    assert search.best_estimator_.sample_proba(X).shape == (1, 40)
    fit = make_pipeline(StandardScaler(), Ensemble(2, steps=5)).fit(X, y)
    before = fit.sample_proba(X)
    fit.set_params(ensemble__head=MLP((8,)), ensemble__steps=7)
    fit.save(tmp_path / "reporter")
    again = load(tmp_path / "reporter")
    np.testing.assert_array_equal(again.sample_proba(X), before)
    assert again.get_params()["ensemble__steps"] == 7
    assert again[-1].head == MLP((8,))
