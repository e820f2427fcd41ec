"""Words as labels, rows that lack one, tensors, units, searches that end at an edge."""

import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from elkutils.evaluation import auroc
from elkutils.reporters import (
    BayesianLogistic,
    DifferenceInMeans,
    Ensemble,
    LinearDiscriminant,
    LogisticMAP,
    load,
)

QUICK = [
    DifferenceInMeans(),
    LinearDiscriminant(),
    LogisticMAP(),
    BayesianLogistic(method="laplace", draws=20, chains=2),
]
WORDS = np.array(["honest", "deceptive"])


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, (X[:, 0] + rng.standard_normal(60) > 0).astype(int)


@pytest.mark.parametrize("reporter", QUICK, ids=lambda r: type(r).__name__)
def test_probabilities_are_of_the_positive_word(reporter, data, tmp_path):
    X, y = data
    plain = reporter.fit(X, y).predict_proba(X)
    reporter.set_params(positive="deceptive").fit(X, WORDS[y])
    np.testing.assert_array_equal(reporter.predict_proba(X), plain)
    assert reporter.classes_.tolist() == ["honest", "deceptive"]
    assert auroc(y, reporter.decision_function(X)) > 0.7
    assert reporter.score(X, WORDS[y]) > 0.6
    assert "positive='deceptive'" in repr(reporter)
    reporter.save(tmp_path / "probe")
    again = load(tmp_path / "probe")
    assert again.positive == "deceptive"
    np.testing.assert_array_equal(again.predict_proba(X), plain)
    reporter.set_params(positive="honest").fit(X, WORDS[y])
    assert auroc(1 - y, reporter.sample_proba(X).mean(axis=0)) > 0.7
    with pytest.raises(ValueError, match=r"positive is 'lie'; .*\['deceptive', 'honest'\]"):
        reporter.set_params(positive="lie").fit(X, WORDS[y])
    reporter.set_params(positive=None)


def test_words_without_a_positive_one_are_named(data):
    X, y = data
    with pytest.warns(UserWarning, match="probabilities are of 'honest'.*positive='deceptive'"):
        LogisticMAP().fit(X, WORDS[y])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticMAP().fit(X, np.array(["false", "true"])[y])
        LogisticMAP(positive=0).fit(X, y)


@pytest.mark.parametrize("reporter", QUICK, ids=lambda r: type(r).__name__)
def test_entries_that_are_missing_are_named(reporter, data):
    X, y = data
    broken = X.copy()
    broken[7, 2] = np.nan
    for call in (lambda: reporter.fit(broken, y), lambda: reporter.fit(X, y).predict(broken)):
        with pytest.raises(ValueError, match=r"X\[7, 2\] is nan(.|\n)*X contains NaN"):
            call()
    for labels in ([*y[:9], None, *y[10:]], pd.array([*y[:9], pd.NA, *y[10:]], dtype="Int64")):
        with pytest.raises(ValueError, match=r"y\[9\]"):
            reporter.fit(X, labels)


@pytest.mark.parametrize("reporter", QUICK, ids=lambda r: type(r).__name__)
def test_tensors_and_half_precision_are_read(reporter, data):
    torch = pytest.importorskip("torch")
    X, y = data
    X = np.asarray(jnp.asarray(X, jnp.bfloat16).astype(jnp.float32), np.float64)
    expected = reporter.fit(X, y).predict_proba(X)
    tensor = torch.tensor(X, dtype=torch.bfloat16, requires_grad=True)
    for given in (tensor, jnp.asarray(X, jnp.bfloat16)):
        again = reporter.fit(given, torch.tensor(y)).predict_proba(given)
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("reporter", QUICK, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_numbers_that_cannot_be_squared_are_refused(reporter, data, size):
    X, y = data
    with pytest.raises(ValueError, match=r"X holds .* as its largest entry"):
        reporter.fit(X * size, y)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_features_far_from_0_are_centred(data, offset):
    X, y = data
    moved = X + np.array([offset, 0, -offset])
    for make in (
        lambda: LogisticMAP(1.0),
        lambda: LogisticMAP("evidence"),
        lambda: BayesianLogistic(method="laplace", draws=20, chains=2),
    ):
        near, far = make().fit(X, y), make().fit(moved, y)
        atol = 0.03 if isinstance(far, BayesianLogistic) else 1e-9 * offset
        np.testing.assert_allclose(far.predict_proba(moved), near.predict_proba(X), atol=atol)


@pytest.mark.parametrize(("size", "words"), [(1e-4, "hardly move|base rate"), (1e4, "hardly")])
def test_a_prior_that_does_not_suit_the_units_is_named(data, size, words):
    X, y = data
    for reporter in (LogisticMAP(), BayesianLogistic(method="laplace", draws=20, chains=2)):
        with pytest.warns(UserWarning, match=f"prior_scale is 1 .*({words})"):
            reporter.fit(X * size, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reporter.fit(X, y)


def test_a_search_that_ends_at_its_edge_says_so(data):
    X, y = data
    for how in ("evidence", "cv"):
        with pytest.warns(UserWarning, match=rf"'{how}', and of 3 .* the largest has the best"):
            LogisticMAP(how, prior_scales=[1e-4, 1e-3, 1e-2]).fit(X, y)
        with pytest.warns(UserWarning, match=r"from 10 to 1e\+03 the smallest"):
            LogisticMAP(how, prior_scales=[10, 100, 1000]).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            LogisticMAP(how).fit(X, y)
    twins, labels = np.repeat(X, 2, axis=0), np.arange(120) % 2  # X tells nothing of them
    with pytest.warns(UserWarning, match="the smallest has the best evidence"):
        BayesianLogistic("evidence", method="laplace", draws=20, chains=2).fit(twins, labels)


def test_cross_validation_needs_groups_of_both_classes(data):
    X, y = data
    one = np.where(y == 1, "all", np.arange(60).astype(str))
    with pytest.raises(ValueError, match="only one group with rows of one class"):
        LogisticMAP("cv").fit(X, y, groups=one)
    with pytest.raises(ValueError, match=r"groups\[0\] is nan, a missing id"):
        LogisticMAP("cv").fit(X, y, groups=[np.nan] * 60)
    three = np.arange(60) % 3
    with pytest.warns(UserWarning, match="with 3 folds in place of 5"):
        LogisticMAP("cv").fit(X, y, groups=three)


def test_two_columns_of_one_name_are_refused(data):
    X, y = data
    frame = pd.DataFrame(X, columns=["a", "a", "b"])
    for reporter in QUICK:
        with pytest.raises(ValueError, match="X has 2 columns 'a'"):
            reporter.fit(frame, y)


def test_members_that_have_not_arrived_are_named(data):
    X, y = data
    with pytest.warns(RuntimeWarning, match="steps is 1 .* above the .* of the base rate"):
        Ensemble(members=4, init=3.0, anchored=False, steps=1).fit(X, y)
    with pytest.warns(RuntimeWarning, match="a loss that still falls"):
        Ensemble(members=4, anchored=True, init=1.0, steps=100, learning_rate=3e-3).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ensemble(members=4, anchored=True).fit(X, y)


def test_variation_that_float32_cannot_hold_is_named(data):
    X, y = data
    for moved in (X + np.array([0, 1e8, 0]), X * np.array([1, 1e-60, 1])):
        with pytest.raises(ValueError, match=r"X\[:, 1\] varies by .* float32"):
            Ensemble(members=2, steps=5).fit(moved, y)
