"""What careless users hand over ends in the right answer, or in an error that names it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from elkutils._inputs import check_ids, check_order, plain, whole_number
from elkutils.evaluation import (
    Interval,
    accuracy,
    auroc,
    bootstrap,
    bootstrap_means,
    class_distance,
    log_score,
    pooled_bootstrap,
    recalibration_slope,
    weighted_mean,
)
from elkutils.evaluation.online import prediction_sets
from elkutils.evaluation.power import p_above, p_below
from elkutils.inference.logistic import default_prior_scales, fit_map, is_separable
from elkutils.reporters import (
    BayesianLogistic,
    DifferenceInMeans,
    Ensemble,
    LinearDiscriminant,
    LogisticMAP,
)
from elkutils.tasks import Split, Task

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 4))
Y = (X[:, 0] + 0.7 * RNG.normal(size=N) > 0).astype(int)
P = RNG.random(N)
GROUPS = np.arange(N) // 3
FRAME = pd.DataFrame(X, columns=list("abcd"))
TURNED = pd.Series(Y, index=np.arange(N)[::-1])
LINEAR = DifferenceInMeans, LinearDiscriminant, LogisticMAP


def masked(values):
    return np.ma.masked_array(values, np.arange(np.size(values)).reshape(np.shape(values)) == 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LogisticMAP().fit(masked(X), Y),
        lambda: LogisticMAP().fit(X, masked(Y)),
        lambda: LogisticMAP().fit(X, Y, sample_weight=masked(np.ones(N))),
        lambda: LogisticMAP().fit(X, Y).predict(masked(X)),
        lambda: fit_map(masked(X), Y, 1.0),
        lambda: auroc(Y, masked(P)),
        lambda: auroc(masked(Y), P),
        lambda: accuracy(Y, P, masked(np.ones(N))),
        lambda: bootstrap(accuracy, Y, P, groups=masked(GROUPS)),
        lambda: class_distance(masked(X), Y, X),
        lambda: Split("s", ["A."] * N, masked(Y), GROUPS),
    ],
)
def test_masked_entries_are_refused(call):
    with pytest.raises(ValueError, match=r"masked array: \w+\[.*3\] is masked"):
        call()


def test_a_masked_array_without_masked_entries_is_an_array():
    assert plain(np.ma.masked_array([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda: LogisticMAP().fit(FRAME, TURNED),
        lambda: DifferenceInMeans().fit(FRAME, Y, sample_weight=TURNED + 1),
        lambda: fit_map(FRAME, TURNED, 1.0),
        lambda: auroc(TURNED, pd.Series(P)),
        lambda: log_score(TURNED, pd.Series(P)),
        lambda: recalibration_slope(TURNED, pd.Series(P)),
        lambda: bootstrap(accuracy, pd.Series(Y), P, groups=pd.Series(GROUPS, TURNED.index)),
        lambda: class_distance(FRAME, TURNED, X),
        lambda: Split("s", pd.Series([f"{i}." for i in range(N)]), TURNED, GROUPS),
    ],
)
def test_rows_whose_index_is_in_another_order_are_warned_of(call):
    with pytest.warns(UserWarning, match=r"index of \w+ in another order.*by their place"):
        call()


@pytest.mark.filterwarnings("error")
def test_only_the_same_index_in_another_order_is_warned_of():
    check_order(X=FRAME, y=pd.Series(Y))
    check_order(X=FRAME, y=pd.Series(Y, index=np.arange(N) + 7))
    check_order(X=X, y=TURNED)
    check_order(X=FRAME, y=Y)


def test_columns_in_another_order_are_refused():
    with pytest.raises(ValueError, match=r"X_new has the columns of X in another order"):
        class_distance(FRAME, Y, FRAME[list("dcba")])


@pytest.mark.parametrize(
    "ids",
    [
        [1.0, "1", 2, "2.0"],
        np.array([1.0, 1, 2.0, 2], dtype=object),
        ["Paris", "Paris ", "Rome", " Rome"],
        ["caf\u00e9", "cafe\u0301", "x", "x"],
        ["12.0", "12", "7", "7.00"],
    ],
)
def test_ids_that_mean_one_are_one(ids):
    found = check_ids(ids, "groups", 4)
    assert found[0] == found[1] != found[2] == found[3]


@pytest.mark.parametrize("text", ["1.5", ".0", "v1.0", "1.0.0", "", "007"])
def test_only_whole_numbers_lose_their_zeros(text):
    assert whole_number(text) == text


@pytest.mark.parametrize("gap", ["n/a", "NULL", "#N/A", "NaN"])
def test_words_for_a_missing_id_are_refused(gap):
    with pytest.raises(ValueError, match=r"groups\[1\] is .* a missing id"):
        check_ids(["a", gap, "b"], "groups", 3)


@pytest.mark.parametrize("ids", [["NA", "NA", "b"], [-1, -1, 4], ["?", "?", "b"]])
def test_ids_that_may_stand_for_a_missing_one_are_warned_of(ids):
    with pytest.warns(UserWarning, match="in 2 rows, first in row 0, which count as one group"):
        check_ids(ids, "groups", 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ids", [["NA", "DE", "FR"], [-1, 0, 1], [-2, -1, -1]])
def test_ids_that_are_meant_are_not(ids):
    check_ids(ids, "groups", 3)


def test_ids_that_differ_in_capital_letters_are_warned_of():
    with pytest.warns(UserWarning, match="'Paris' and 'paris', which count as two groups"):
        check_ids(["Paris", "paris"], "groups", 2)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (["lie", np.nan] * (N // 2), r"y\[1\] is missing"),
        (["lie", ""] * (N // 2), r"y\[1\] is missing"),
        (["lie", "NULL"] * (N // 2), r"y\[1\] is missing"),
        (np.array([1, "1"] * (N // 2), dtype=object), r"y\[0\] is 1 and y\[1\] is '1'"),
        (pd.to_datetime(Y), "y holds dates"),
        (P, "Unknown label type.* y holds .* y > 0.5"),
    ],
)
def test_labels_that_are_none_are_named(y, said):
    with pytest.raises(ValueError, match=said):
        LogisticMAP().fit(X, y)


def test_truth_values_and_numbers_among_objects_are_labels():
    y = np.array([bool(v) if i % 2 else int(v) for i, v in enumerate(Y)], dtype=object)
    assert np.array_equal(LogisticMAP().fit(X, y).coef_, LogisticMAP().fit(X, Y).coef_)


def test_words_in_a_table_are_named():
    with pytest.raises(ValueError, match=r"X\[0, 4\] is '1,5' \(column 'e'\).*decimal=','"):
        LogisticMAP().fit(FRAME.assign(e="1,5"), Y)
    with pytest.raises(ValueError, match=r"X\[0, 4\] is Timestamp.*column 'e'"):
        DifferenceInMeans().fit(FRAME.assign(e=pd.Timestamp("2020")), Y)


@pytest.mark.parametrize("kind", LINEAR)
def test_features_far_from_zero_give_the_same_answers(kind):
    near, far = kind().fit(X, Y), kind().fit(X + 1e9, Y)
    gap = np.abs(near.predict_proba(X) - far.predict_proba(X + 1e9)).max()
    assert gap < 1e-4  # X + 1e9 is rounded by 1e-7 in each feature


def test_scikit_learn_searches_with_an_earlier_label_as_positive_are_warned_of():
    words = np.array(["lie", "true"])[Y]
    grid = {"prior_scale": [0.1, 1.0]}
    search = GridSearchCV(LogisticMAP(positive="lie"), grid, cv=3, scoring="roc_auc")
    with pytest.warns(UserWarning, match="give them labels y == 'lie' and positive=None"):
        search.fit(X, words)
    again = GridSearchCV(LogisticMAP(), grid, cv=3, scoring="roc_auc").fit(X, words == "lie")
    assert again.best_score_ > 0.8 > 0.2 > search.best_score_


@pytest.mark.filterwarnings("error")
def test_only_clones_with_an_earlier_label_are():
    words = np.array(["lie", "true"])[Y]
    LogisticMAP(positive="lie").fit(X, words)
    clone(LogisticMAP(positive="true")).fit(X, words)


def test_a_fit_that_fails_leaves_nothing_of_the_one_before():
    reporter = LogisticMAP().fit(X, Y).carry(None, np.ones(4), np.full(4, 2.0))
    with pytest.raises(ValueError, match="one class"):
        reporter.fit(X, np.ones(N))
    with pytest.raises(NotFittedError):
        reporter.predict_proba(X)
    reporter.fit(X, Y).set_params(prior_scale=-1.0)
    with pytest.raises(ValueError, match="prior_scale"):
        reporter.fit(X, Y)
    with pytest.raises(NotFittedError):
        reporter.predict(X)


@pytest.mark.parametrize("kind", [LogisticMAP, lambda: BayesianLogistic(method="laplace")])
def test_weights_that_count_as_one_row_are_warned_of(kind):
    with pytest.warns(UserWarning, match="sums to 1 over 60 rows"):
        kind().fit(X, Y, sample_weight=np.full(N, 1 / N))


@pytest.mark.parametrize(
    ("reporter", "said"),
    [
        (LogisticMAP(True), "prior_scale is True"),
        (LogisticMAP(bias_scale=True), "bias_scale is True"),
        (LogisticMAP(10**400), "prior_scale is 1000"),
        (BayesianLogistic(draws=True), "draws is True"),
        (LinearDiscriminant(shrinkage=True), "shrinkage is True"),
        (Ensemble(members=True), "members is True"),
        (Ensemble(init=True), "init is True"),
        (Ensemble(decay=0.1), "decay is 0.1; it has to be True or False"),
        (Ensemble(bootstrap="no"), "bootstrap is 'no'; it has to be True or False"),
        (Ensemble(anchored=1), "anchored is 1; it has to be True or False"),
        (Ensemble(steps=1.0), "steps is 1.0"),
        (Ensemble(learning_rate="1"), "learning_rate is '1'"),
    ],
)
def test_truth_values_are_no_numbers_and_numbers_none(reporter, said):
    with pytest.raises(ValueError, match=said):
        reporter.fit(X, Y)


def test_groups_that_are_not_used_are_checked_all_the_same():
    with pytest.raises(ValueError, match="groups has shape"):
        LogisticMAP(1.0).fit(X, Y, groups=GROUPS[:-3])


@pytest.mark.parametrize("resample", [bootstrap, pooled_bootstrap])
def test_a_statistic_that_ignores_the_resamples_is_refused(resample):
    with pytest.raises(ValueError, match=r"statistic returned shape \(\)"):
        resample(lambda y, p, weights=None: auroc(y, p), Y, P, groups=GROUPS)
    with pytest.raises(ValueError, match=r"which takes neither weights= nor sample_weight="):
        resample(lambda y, p: roc_auc_score(y, p), Y, P, groups=GROUPS)


def test_every_bootstrap_checks_levels_groups_and_resamples():
    table = np.stack([P, P], axis=1)
    with pytest.raises(ValueError, match=r"level is 95.*95% is 0\.95"):
        bootstrap_means(table, GROUPS, level=95)
    with pytest.warns(UserWarning, match="fewer than 10"):
        bootstrap_means(table, GROUPS > 5)
    with pytest.warns(UserWarning, match=r"resamples is 39; .* needs at least 40"):
        bootstrap(accuracy, Y, P, groups=GROUPS, resamples=39)


def test_weights_of_any_usual_size_give_the_same_score():
    for size in (1e-100, 1e-6, 1e6, 1e100):
        weights = np.full(N, size)
        assert np.isclose(auroc(Y, P, weights), auroc(Y, P), rtol=1e-12)
        found = recalibration_slope(Y, P, weights)
        assert np.isclose(found, recalibration_slope(Y, P), rtol=1e-6)
    for size in (1e-320, 1e308):
        with pytest.raises(ValueError, match="divide them by it"):
            auroc(Y, P, np.full(N, size))
    with pytest.raises(ValueError, match=r"weights\[0\] is -1"):
        weighted_mean(P, -np.ones(N))


def test_slopes_of_lost_log_odds_are_warned_of():
    with pytest.warns(RuntimeWarning, match="exactly 0 or 1 in 60 of 60 rows"):
        recalibration_slope(Y, (P > 0.5) * 1.0)


@pytest.mark.parametrize("margin", [np.nan, "0.5", None, True])
def test_margins_have_to_be_numbers(margin):
    value = Interval(0.5, 0.4, 0.6)
    for test in (p_above, p_below):
        with pytest.raises(ValueError, match="margin is"):
            test(value, margin)


def test_a_level_in_per_cent_is_named():
    with pytest.raises(ValueError, match=r"5% is 0\.05"):
        prediction_sets(P, P, level=5)


def test_grids_and_separation_need_finite_data():
    with pytest.raises(ValueError, match=r"X\[0, 0\] is nan"):
        default_prior_scales(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="y holds"):
        is_separable(X, 2 * Y - 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("texts", {"A.", "B."}),
        ("texts", {"A.": 1, "B.": 0}),
        ("texts", pd.DataFrame({"x": ["A."], "y": ["B."]})),
        ("words", {"false", "true"}),
    ],
)
def test_texts_need_an_order(field, value):
    given = {"texts": ["A.", "B."], "labels": [0, 1], "groups": [1, 2], field: value}
    with pytest.raises(ValueError, match=f"{field} is a .*in order"):
        Split("s", **given)


def test_texts_without_anything_to_see_are_blank():
    with pytest.raises(ValueError, match=r"texts\[1\] is blank"):
        Split("s", ["A.", "\u200b\ufe0f"], [0, 1], [1, 2])


@pytest.mark.parametrize("mark", ["\u200d", "\u200e", "\u202a", "\ufe0f", "\u2066"])
def test_marks_without_width_do_not_make_two_statements(mark):
    with pytest.warns(UserWarning, match="one statement"):
        Split("s", ["Ab.", f"A{mark}b."], [0, 1], [1, 1])


def test_texts_that_were_decoded_twice_are_warned_of():
    with pytest.warns(UserWarning, match="read as latin-1: 'Zürich.'"):
        Split("s", ["Zürich.".encode().decode("latin-1"), "B."], [0, 1], [1, 2])


@pytest.mark.filterwarnings("error")
def test_texts_in_other_scripts_are_not():
    Split("s", ["Zürich é — “q”.", "Œuvre Ã.", "東京", "A 👩\u200d🚀."], [0, 1, 0, 1], range(4))


def test_names_of_splits_that_differ_in_capital_letters_are_warned_of():
    parts = {name: Split(name, [f"{name}."], [1], [1]) for name in ("Train", "train ")}
    with pytest.warns(UserWarning, match="'Train' and 'train '"):
        Task("t", parts)
