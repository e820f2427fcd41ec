"""Rivals that learn without labels, the table of rivals, and the direction of a pipeline."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import PowerTransformer, StandardScaler

from elkutils.evaluation import auroc, bootstrap, difference
from elkutils.reporters import (
    BayesianNetwork,
    ContrastiveClustering,
    DifferenceInMeans,
    LogisticMAP,
    RandomDirection,
    load,
    make_pipeline,
    reading_direction,
    rivals,
)

N, D = 400, 20
GROUPS = np.repeat(np.arange(N // 2), 2)
TRAIN, TEST = np.arange(N // 2), np.arange(N // 2, N)


def statements(seed=0, gap=4.0, form=0.0):
    """Pairs of a true and a false text, in an order by coin; form is what one side shares."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2, N // 2)
    y = np.column_stack([first, 1 - first]).ravel()
    X = rng.standard_normal((N, D))
    X[:, 0] += gap * y
    X[1::2, 1] += form
    pairs = np.arange(N).reshape(-1, 2)
    return X, y, pairs


def test_a_random_direction_is_that_of_its_seed_and_only_its_scale_is_fitted():
    X, y, _ = statements()
    one, other = (RandomDirection(seed=3).fit(X, labels) for labels in (y, 1 - y))
    np.testing.assert_allclose(one.coef_, -other.coef_)
    apart = RandomDirection(seed=4).fit(X, y).coef_
    cosine = one.coef_ @ apart.T / np.linalg.norm(one.coef_) / np.linalg.norm(apart)
    assert abs(cosine.item()) < 0.7
    assert auroc(y, one.decision_function(X)) >= 0.5


@pytest.mark.parametrize("form", [0.0, 30.0])
def test_contrast_pairs_show_the_truth_without_labels_whatever_the_form_of_a_side(form):
    X, y, pairs = statements(form=form)
    right = ContrastiveClustering().fit(X, y, pairs)
    blind = ContrastiveClustering().fit(X, np.random.default_rng(9).permutation(y), pairs)
    unit, other = (r.coef_[0] / np.linalg.norm(r.coef_) for r in (right, blind))
    assert abs(unit[0]) > 0.95
    np.testing.assert_allclose(np.abs(unit), np.abs(other))  # labels give sign and scale only
    flipped = ContrastiveClustering().fit(X, y, pairs[:, ::-1])
    np.testing.assert_allclose(flipped.coef_, right.coef_)


def test_contrast_pairs_may_show_another_thing_in_which_they_differ():
    X, y, pairs = statements(gap=1.0)
    X[:, 2] += 8 * np.random.default_rng(1).integers(0, 2, N)
    unit = ContrastiveClustering().fit(X, y, pairs).coef_[0]
    assert np.argmax(np.abs(unit)) == 2


def test_a_random_direction_comes_back_from_disk_and_needs_rows_that_vary(tmp_path):
    X, y, _ = statements()
    fit = RandomDirection(seed=5).fit(X, y)
    fit.save(tmp_path / "random")
    np.testing.assert_array_equal(
        load(tmp_path / "random").sample_proba(X), fit.sample_proba(X)
    )
    with pytest.raises(ValueError, match="all alike"):
        RandomDirection().fit(np.ones((4, 2)), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="seed is -1"):
        RandomDirection(seed=-1).fit(X, y)


def test_contrast_clustering_in_a_pipeline_comes_back_from_disk(tmp_path):
    X, y, pairs = statements()
    fit = make_pipeline(StandardScaler(), ContrastiveClustering())
    fit.fit(X, y, contrastiveclustering__pairs=pairs).save(tmp_path / "pairs")
    again = load(tmp_path / "pairs")
    np.testing.assert_array_equal(again.sample_proba(X), fit.sample_proba(X))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (None, "pairs is None"),
        ([[0, 1]], "k ≥ 2"),
        ([[0, 1, 2], [3, 4, 5]], r"shape \(2, 3\)"),
        ([[0.0, 1.0], [2.0, 3.0]], "dtype float64"),
        ([[0, 1], [2, N]], f"row {N}; X has rows 0 to {N - 1}"),
        ([[0, 1], [-1, 3]], "row -1"),
        ([[0, 1], [2, 2]], "the row 2 twice"),
    ],
)
def test_bad_pairs_are_named(pairs, message):
    X, y, _ = statements()
    with pytest.raises(ValueError, match=message):
        ContrastiveClustering().fit(X, y, pairs)


def test_pairs_in_the_order_of_truth_are_refused():
    X, y, pairs = statements()
    by_truth = np.where((y[pairs[:, 0]] == 1)[:, None], pairs, pairs[:, ::-1])
    with pytest.raises(ValueError, match="one label only"):
        ContrastiveClustering().fit(X, y, by_truth)


def test_rivals_are_compared_on_test_rows_by_the_paired_bootstrap():
    X, y, pairs = statements(gap=1.0)
    reporter = make_pipeline(StandardScaler(), LogisticMAP(0.2)).fit(X[TRAIN], y[TRAIN])
    own = X[:, 0]
    scores = {"all rows": own, "test rows": own[TEST]}
    found = rivals(
        reporter, X, y, TRAIN, TEST, groups=GROUPS, pairs=pairs, scores=scores, directions=5
    )
    assert list(found) == [
        "random direction",
        "difference in means",
        "contrast pairs",
        "all rows",
        "test rows",
    ]
    assert found["all rows"] == found["test rows"]
    means = make_pipeline(StandardScaler(), DifferenceInMeans()).fit(X[TRAIN], y[TRAIN])
    ours, theirs = (r.decision_function(X[TEST]) for r in (reporter, means))
    options = {"groups": GROUPS[TEST], "seed": 0}
    expected = bootstrap(difference(auroc), y[TEST], ours, theirs, **options)
    assert found["difference in means"].gain == expected
    assert found["random direction"].gain.lower > 0
    assert "reporter +" in str(found["random direction"])


def test_a_reporter_that_reads_nothing_loses():
    X, y, _ = statements()
    blind = RandomDirection().fit(np.delete(X, 0, axis=1)[TRAIN], y[TRAIN])
    padded = LogisticMAP(1.0).fit(X[TRAIN], y[TRAIN])
    padded.coef_ = np.insert(blind.coef_, 0, 0.0, axis=1)
    found = rivals(padded, X, y, TRAIN, TEST, groups=GROUPS, directions=3)
    assert found["difference in means"].gain.upper < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": TRAIN}, "groups has 0 in train and in test"),
        ({"test": np.array([N])}, f"test has the row {N}"),
        ({"train": np.array([0.5])}, "row numbers"),
        ({"scores": {"mine": np.ones(3)}}, r"scores\['mine'\] has shape \(3,\)"),
        ({"pairs": np.array([[0, N]])}, "row numbers of X"),
        ({"directions": 0}, "directions is 0"),
        ({"groups": None}, "groups"),
    ],
)
def test_bad_input_says_what_is_wrong(changes, message):
    X, y, _ = statements()
    reporter = DifferenceInMeans().fit(X[TRAIN], y[TRAIN])
    given = {"train": TRAIN, "test": TEST, "groups": GROUPS}
    with pytest.raises(ValueError, match=message):
        rivals(reporter, X, y, **given | changes)


def test_a_reporter_of_words_is_refused():
    X, y, _ = statements()
    words = np.array(["no", "yes"])[y]
    reporter = DifferenceInMeans().fit(X[TRAIN], words[TRAIN])
    with pytest.raises(ValueError, match="is not fitted"):
        rivals(LogisticMAP(), X, y, TRAIN, TEST, groups=GROUPS)
    with pytest.raises(ValueError, match="has to be fitted on 0 and 1"):
        rivals(reporter, X, y, TRAIN, TEST, groups=GROUPS)


@pytest.mark.parametrize("steps", [[], [StandardScaler()], [StandardScaler(), PCA(5)]])
def test_the_reading_direction_is_the_slope_of_the_log_odds(steps):
    X, y, _ = statements()
    X = 5 + X * np.linspace(1, 9, D)
    fit = LogisticMAP(0.2)
    fit = (make_pipeline(*steps, fit) if steps else fit).fit(X, y)
    slope = fit.decision_function(X[:1] + np.eye(D)) - fit.decision_function(X[:1])
    np.testing.assert_allclose(reading_direction(fit), slope, rtol=1e-6, atol=1e-9)


def test_the_reading_direction_knows_what_a_reporter_carries():
    X, y, _ = statements()
    fit = LogisticMAP(0.2).fit((X - 1) / 2, y)
    coef = fit.coef_[0]
    np.testing.assert_allclose(reading_direction(fit.carry(None, 1.0, 2.0)), coef / 2)


def test_what_has_no_direction_is_refused():
    X, y, _ = statements()
    bent = make_pipeline(PowerTransformer(), LogisticMAP(0.2)).fit(X, y)
    with pytest.raises(ValueError, match="not affine"):
        reading_direction(bent)
    for unfit in (LogisticMAP(), BayesianNetwork()):
        with pytest.raises(ValueError, match="has no coef_"):
            reading_direction(unfit)
