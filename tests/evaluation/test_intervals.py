import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from elkutils.evaluation import (
    Interval,
    auroc,
    averaged,
    bootstrap,
    bootstrap_means,
    brier,
    centred_bootstrap,
    difference,
    excess_ece,
    log_score,
    pooled_bootstrap,
    weighted_mean,
)


def mean(y, weights):
    return (weights * y).sum(axis=-1) / weights.sum(axis=-1)


def clustered(rng, groups=80, rows=6):
    """Rows that share their group's mean, N(0, 1), plus their own N(0, 1) noise: truth 0."""
    group = np.repeat(np.arange(groups), rows)
    return rng.normal(size=groups)[group] + rng.normal(size=groups * rows), group


def coverage(draw, truth, repeats=400):
    """Share of 95% intervals that hold the truth, and its Monte Carlo standard error."""
    covered = []
    for repeat in range(repeats):
        interval = draw(np.random.default_rng(repeat))
        covered.append(interval.lower <= truth <= interval.upper)
    return np.mean(covered), np.sqrt(0.95 * 0.05 / repeats)


def test_intervals_cover_when_groups_are_drawn_and_not_when_rows_are():
    def grouped(rng):
        y, group = clustered(rng)
        return bootstrap(mean, y, groups=group, resamples=400)

    def ungrouped(rng):
        y, _ = clustered(rng)
        return bootstrap(mean, y, groups=np.arange(len(y)), resamples=400)

    share, error = coverage(grouped, 0)
    assert abs(share - 0.95) < 3 * error + 0.01  # at 80 groups it is 1% short
    share, error = coverage(ungrouped, 0)
    assert share < 0.95 - 10 * error


def test_intervals_cover_over_groups_and_seeds():
    def crossed(rng, groups=40, seeds=20):
        group, seed = np.divmod(np.arange(groups * seeds), seeds)
        y = rng.normal(size=groups)[group] + rng.normal(size=seeds)[seed]
        y = y + rng.normal(size=groups * seeds)
        return bootstrap(mean, y, groups=group, seeds=seed, resamples=400)

    share, error = coverage(crossed, 0)
    assert share > 0.95 - 3 * error - 0.025  # 20 seeds: about √(19/20) of the width
    assert share < 1


def test_drawing_groups_alone_undercovers_where_seeds_differ():
    def groups_only(rng, groups=40, seeds=20):
        group, seed = np.divmod(np.arange(groups * seeds), seeds)
        y = rng.normal(size=seeds)[seed] + rng.normal(size=groups * seeds)
        return bootstrap(mean, y, groups=group, resamples=400)

    share, error = coverage(groups_only, 0, repeats=200)
    assert share < 0.95 - 10 * error


def test_the_estimate_is_the_mean_over_seeds_on_each_seeds_own_rows():
    rng = np.random.default_rng(0)
    seeds = np.repeat(["a", "b", "c"], (40, 60, 80))
    y, score = rng.integers(0, 2, 180), rng.random(180)
    interval = bootstrap(auroc, y, score, groups=np.arange(180) % 30, seeds=seeds, resamples=50)
    per_seed = [auroc(y[seeds == s], score[seeds == s]) for s in "abc"]
    assert interval.estimate == pytest.approx(np.mean(per_seed), rel=1e-12)
    assert interval.lower < interval.estimate < interval.upper


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    first = y + rng.normal(size=200)
    second = first + 0.1 * rng.normal(size=200)
    groups = np.arange(200) // 2
    paired = bootstrap(difference(auroc), y, first, second, groups=groups)
    alone = bootstrap(auroc, y, first, groups=groups)
    assert paired.upper - paired.lower < (alone.upper - alone.lower) / 3
    same = bootstrap(difference(auroc), y, first, first, groups=groups)
    assert (same.lower, same.upper) == (0, 0)


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch):
    y, group = clustered(np.random.default_rng(0))
    one = bootstrap(mean, y, groups=group, resamples=301)
    assert one == bootstrap(mean, y, groups=group, resamples=301)
    assert one != bootstrap(mean, y, groups=group, resamples=301, seed=1)
    monkeypatch.setattr("elkutils.evaluation.intervals._BLOCK", 100 * len(y))
    blocked = bootstrap(mean, y, groups=group, resamples=301)
    assert blocked.estimate == one.estimate
    assert blocked.upper == pytest.approx(one.upper, abs=0.1)


def test_a_higher_level_is_wider():
    y, group = clustered(np.random.default_rng(0))
    narrow = bootstrap(mean, y, groups=group, level=0.5)
    wide = bootstrap(mean, y, groups=group, level=0.99)
    assert wide.lower < narrow.lower < narrow.upper < wide.upper
    assert (narrow.level, wide.level) == (0.5, 0.99)


def test_resamples_without_a_class_are_left_out_or_refused():
    y = np.r_[np.ones(4), np.zeros(60)]
    score = np.random.default_rng(0).random(64)
    assert np.isfinite(bootstrap(auroc, y, score, groups=np.arange(64)).upper)
    with pytest.raises(ValueError, match="too few groups"):
        bootstrap(auroc, y, score, groups=np.r_[0, 0, 0, 0, 1:61])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"groups": np.zeros(4)}, "at least 2"),
        ({"groups": np.arange(3)}, "groups has shape"),
        ({"groups": None}, r"groups is None.*np\.arange\(len\(y\)\)"),
        ({"seeds": np.arange(3)}, "seeds has shape"),
        ({"level": 1.0}, "level"),
        ({"resamples": 0}, "resamples"),
    ],
)
def test_bad_arguments_are_named(change, match):
    options = {"groups": np.arange(4), **change}
    with pytest.raises(ValueError, match=match):
        bootstrap(log_score, [0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8], **options)


def test_arrays_have_to_match():
    with pytest.raises(ValueError, match="an array has shape"):
        bootstrap(log_score, [0, 1], [0.5], groups=[0, 1])
    with pytest.raises(ValueError, match="groups has shape"):
        bootstrap(mean, [], groups=[])
    with pytest.raises(ValueError, match="NaN on the data"):
        bootstrap(lambda y, weights: np.full(len(weights), np.nan), [0, 1], groups=[0, 1])


def test_a_centred_interval_has_the_width_of_the_other_and_the_estimate_as_its_median():
    rng = np.random.default_rng(3)
    p = rng.random(150)
    y = (rng.random(150) < p).astype(int)
    options = {"groups": np.arange(150), "resamples": 200, "level": 0.9}
    plain, centred = (f(excess_ece, y, p, **options) for f in (bootstrap, centred_bootstrap))
    assert centred.estimate == plain.estimate
    assert centred.level == 0.9
    assert centred.upper - centred.lower == pytest.approx(plain.upper - plain.lower)
    # Resampling adds noise to a calibration error, so the plain interval lies too high.
    assert centred.lower < plain.lower
    assert centred.lower < centred.estimate < centred.upper


def test_the_weighted_mean_is_that_of_repeated_values():
    weights = np.array([[1, 0, 3], [0, 2, 0]])
    np.testing.assert_allclose(weighted_mean([1.0, 5.0, 2.0], weights), [7 / 4, 5])


def test_clipping_moves_the_ends_that_stick_out_and_no_others():
    assert Interval(0.5, -0.2, 0.8, 0.9).clipped(0, 1) == Interval(0.5, 0, 0.8, 0.9)
    assert Interval(0.5, 0.2, 1.4).clipped(0, 1) == Interval(0.5, 0.2, 1)


def test_an_average_over_places_pairs_forecasts_of_the_same_place():
    rng = np.random.default_rng(0)
    y = np.arange(50) % 2
    ours, theirs = rng.random((3, 50)), rng.random((3, 50))
    weights = rng.random((4, 50))
    found = averaged(difference(auroc), 3)(y, *ours, *theirs, weights=weights)
    expected = [
        auroc(y, a, weights=weights) - auroc(y, b, weights=weights)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert np.allclose(found, np.mean(expected, axis=0))
    same = averaged(difference(auroc), 3)(y, *ours, *ours, weights=weights)
    assert np.all(same == 0)


def test_pooled_intervals_cover_over_groups_and_seeds():
    def crossed(rng, groups=40, seeds=20):
        group, seed = np.divmod(np.arange(groups * seeds), seeds)
        y = rng.normal(size=groups)[group] + rng.normal(size=seeds)[seed]
        y = y + rng.normal(size=groups * seeds)
        return pooled_bootstrap(mean, y, groups=group, seeds=seed, resamples=400)

    share, error = coverage(crossed, 0, repeats=200)
    assert 0.95 - 3 * error * np.sqrt(2) - 0.025 < share < 1


def test_pooled_intervals_take_the_statistic_of_all_rows():
    rng = np.random.default_rng(0)
    seeds = np.repeat([0, 1], (40, 160))
    y = seeds + rng.normal(size=200)
    found = pooled_bootstrap(mean, y, groups=np.arange(200) % 40, seeds=seeds, resamples=100)
    assert found.estimate == pytest.approx(y.mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": [0, 0]}, "at least 2"),
        ({"groups": [0, 1], "level": 1.0}, "level is 1.0"),
        ({"groups": [0, 1], "resamples": 0}, "resamples is 0"),
        ({"groups": [0]}, "has to be"),
    ],
)
def test_bad_input_to_pooled_bootstrap(options, message):
    with pytest.raises(ValueError, match=message):
        pooled_bootstrap(mean, [0.0, 1.0], **options)


def test_means_of_columns_are_those_of_the_bootstrap():
    rng = np.random.default_rng(0)
    values, groups = rng.standard_normal((60, 2)), np.tile(np.repeat(np.arange(10), 3), 2)
    seeds = np.repeat([3, 7], 30)
    found = bootstrap_means(values, groups, seeds, resamples=200)
    for column, interval in zip(values.T, found, strict=True):
        expected = bootstrap(weighted_mean, column, groups=groups, seeds=seeds, resamples=200)
        ends = interval.estimate, interval.lower, interval.upper
        np.testing.assert_allclose(
            ends, (expected.estimate, expected.lower, expected.upper), rtol=1e-10
        )


def test_rows_of_which_a_column_does_not_speak_are_left_out():
    values = np.array([[1.0], [np.nan], [3.0], [np.nan]])
    (found,) = bootstrap_means(values, np.arange(4), resamples=50)
    assert found.estimate == 2.0
    assert found.lower >= 1.0
    assert found.upper <= 3.0


def test_means_of_columns_refuse_what_they_cannot_average():
    with pytest.raises(ValueError, match="infinite"):
        bootstrap_means([[np.inf], [0.0]], [0, 1])
    with pytest.raises(ValueError, match="NaN in every row"):
        bootstrap_means([[np.nan], [np.nan]], [0, 1])
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap_means([[1.0], [0.0]], [0, 0])
    for options, told in (
        ({"groups": None}, "groups is None"),
        ({"groups": [0, np.nan]}, r"groups\[1\] is nan"),
        ({"groups": [0, 1], "level": 95}, "95% is 0.95"),
        ({"groups": [0, 1], "resamples": 0}, "resamples is 0"),
    ):
        with pytest.raises(ValueError, match=told):
            bootstrap_means([[1.0], [0.0]], **options)
    with pytest.warns(UserWarning, match="2 groups"):
        bootstrap_means([[1.0], [0.0]], [0, 1], resamples=10)


def test_a_pooled_interval_need_not_be_centred():
    """Then it holds no value that the statistic cannot take."""
    hits, groups = (np.arange(40) < 38).astype(float), np.arange(40)
    ends = np.quantile(
        np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 2000) @ hits / 40,
        (0.025, 0.975),
    )
    found = pooled_bootstrap(weighted_mean, hits, groups=groups, centre=False)
    assert (found.lower, found.upper) == tuple(ends)


def loss(y, proba, weights=None):
    return -log_score(y, proba, weights=weights)


@pytest.mark.parametrize("resample", [bootstrap, pooled_bootstrap])
@pytest.mark.parametrize(
    ("metric", "score"),
    [(roc_auc_score, auroc), (brier_score_loss, brier), (log_loss, loss)],
)
def test_a_metric_of_scikit_learn_is_resampled_as_our_score_is(resample, metric, score):
    rng = np.random.default_rng(4)
    y, proba = np.arange(60) % 2, rng.uniform(0.05, 0.95, size=60)
    given = {"groups": np.arange(60) // 2, "resamples": 100}
    theirs, ours = resample(metric, y, proba, **given), resample(score, y, proba, **given)
    np.testing.assert_allclose(
        [theirs.estimate, theirs.lower, theirs.upper], [ours.estimate, ours.lower, ours.upper]
    )


def test_metrics_of_scikit_learn_are_compared_and_lose_resamples_of_one_class():
    rng = np.random.default_rng(4)
    y, first, second = np.arange(40) % 2, rng.random(40), rng.random(40)
    given = {"groups": np.arange(40), "resamples": 100}
    theirs = bootstrap(difference(roc_auc_score), y, first, second, **given)
    ours = bootstrap(difference(auroc), y, first, second, **given)
    assert [theirs.lower, theirs.upper] == pytest.approx([ours.lower, ours.upper])
    assert difference(roc_auc_score)(y, first, second) == pytest.approx(theirs.estimate)
    with pytest.raises(ValueError, match=r"NaN on .* resamples"):
        bootstrap(roc_auc_score, np.arange(40) > 38, first, **given)
