"""Strange inputs, alarms set inside, and reviews by doubt: on arrays whose answer is known."""

import numpy as np
import pytest
from scipy.special import expit

from elkutils.evaluation import Interval, bootstrap
from elkutils.reporters import LogisticMAP
from elkutils.study import outside
from elkutils.study.languages import TEMPLATES, translated
from elkutils.tasks import cities

RNG = np.random.default_rng(0)


def test_a_level_keeps_its_rate_for_exchangeable_rows():
    rang = []
    for _ in range(4000):
        scores = RNG.random(46)
        rang.append(scores[-1] > outside.alarm_level(scores[:-1], 0.1))
    assert np.mean(rang) == pytest.approx(4 / 46, abs=0.015)


@pytest.mark.parametrize(("rows", "finite"), [(999, True), (998, False)])
def test_a_level_needs_one_row_for_each_unit_of_one_over_alpha(rows, finite):
    assert np.isfinite(outside.alarm_level(RNG.random(rows), 1 / 1000)) == finite


def test_a_search_finds_the_worst_point_of_a_ball_for_one_draw():
    w, X, towards = RNG.normal(size=(1, 5)), RNG.normal(size=(4, 5)), np.array([1, -1, 1, -1])
    moved = outside.search(w, np.zeros(1), X, 0.3, towards)
    step = 0.3 * np.linalg.norm(X, axis=1) * towards
    np.testing.assert_allclose(moved, X + step[:, None] * w / np.linalg.norm(w))


def test_a_search_stays_in_its_ball_and_raises_the_mean():
    w, b, X = RNG.normal(size=(30, 5)), RNG.normal(size=30), RNG.normal(size=(6, 5))
    moved = outside.search(w, b, X, 0.5, np.ones(6))
    length = np.linalg.norm(X, axis=1)
    assert (np.linalg.norm(moved - X, axis=1) <= 0.5 * length * (1 + 1e-12)).all()
    assert (expit(moved @ w.T + b).mean(axis=1) > expit(X @ w.T + b).mean(axis=1)).all()


def asked(y, rang, doubt, seeds=None):
    seeds = np.zeros(len(y), int) if seeds is None else seeds
    groups = np.arange(len(y)).astype(str)
    rang = np.array(rang, bool)
    return outside.Asked(np.array(y), rang * 1.0, rang, np.array(doubt), groups, seeds)


def test_rates_count_alarms_of_the_harmless_and_silence_about_harm():
    inside = asked([0, 0, 1, 1], [1, 0, 1, 0], [0.0] * 4)
    strange = asked([0, 0, 1], [1, 1, 0], [0.0] * 3)
    side, wrong, *_ = outside.rates(inside, strange, "false alarms")
    assert (side.tolist(), wrong.tolist()) == ([0, 0, 1, 1], [True, False, True, True])
    assert outside.excess(side, wrong, np.ones((1, 4))) == pytest.approx([0.5])
    side, wrong, *_ = outside.rates(inside, strange, "misses")
    assert (side.tolist(), wrong.tolist()) == ([0, 0, 1], [False, True, True])
    with pytest.raises(ValueError, match="error is"):
        outside.rates(inside, strange, "errors")


def test_failures_are_missed_harm_ranked_within_their_fit():
    ordinary = np.arange(10) / 10
    inside = asked([0, 1] * 10, [0] * 20, [*ordinary, *(100 * ordinary)], np.repeat([0, 1], 10))
    strange = asked([1, 1, 0, 1], [0, 1, 0, 0], [0.55, 9, 9, 55.0], np.array([0, 0, 0, 1]))
    planted, doubt, _, seeds = outside.failures(inside, strange, repeats=2)
    assert planted.sum() == 2
    np.testing.assert_allclose(doubt[planted == 1], [0.6, 0.6])
    assert set(seeds) == {0}


def test_right_rows_are_planted_instead_of_failures():
    inside = asked([0, 1], [0, 1], [0.0, 1.0])
    strange = asked([1, 1, 0, 0], [0, 1, 0, 1], [9.0, 0.5, 2.0, 9.0])
    planted, doubt, *_ = outside.failures(inside, strange, right=True)
    np.testing.assert_allclose(doubt[planted == 1], [0.5, 1.0])


def test_a_ceiling_is_taught_the_same_cities_in_other_languages(monkeypatch):
    """A feature turns round with the language: English lessons invert, the others do not."""
    y, n = np.tile([0, 1], 20), 40
    X = np.column_stack([2.0 * y - 1, RNG.normal(size=n)])
    kinds = {"train": X, "train, other languages": -X, "other languages": -X[:10]}
    rows = {kind: (Z, y[: len(Z)], np.arange(len(Z))) for kind, Z in kinds.items()}
    monkeypatch.setattr(outside, "read", lambda *_: rows)
    monkeypatch.setattr(outside.readings, "seeds", lambda: [3, 4])
    make = lambda d, seed: {"MAP": LogisticMAP(1.0), "other": None}  # noqa: E731
    proba = outside.ceiling(None, 0, make, "MAP", repeats=2)
    assert proba.shape == (40,)
    assert ((proba > 0.5) == np.tile(y[:10], 4)).all()


def test_a_review_finds_what_is_more_doubtful_than_its_budget_leaves():
    planted = np.repeat([0, 1], [10, 4])
    doubt = np.array([*range(10), 8.5, 9.5, 3.5, 7.5])
    assert outside.found_in_review(planted, doubt, budget=0.1)[0] == 0.5
    assert outside.found_in_review(planted, doubt, budget=0.2)[0] == 0.75


def test_its_interval_is_the_bootstraps_for_one_seed_and_exact_where_all_is_found():
    planted = np.repeat([0, 1], [60, 20])
    doubt, groups = RNG.random(80), np.arange(80)
    columns = planted, doubt, groups, np.zeros(80)
    ours = outside.found_interval(*columns, resamples=4000)
    theirs = bootstrap(outside.found_in_review, planted, doubt, groups=groups, resamples=4000)
    ends = [(i.estimate, i.lower, i.upper) for i in (ours, theirs)]
    np.testing.assert_allclose(*ends, atol=0.06)
    assert outside.found_interval(planted, planted, *columns[2:]) == Interval.of_share(20, 20)
    few = np.repeat([0, 1], [60, 3])  # of many resamples that hold none nothing is asked
    assert outside.found_interval(few, RNG.random(63), np.arange(63), np.zeros(63)).upper > 0
    with pytest.raises(ValueError, match=r"groups\[79\] is nan"):
        outside.found_interval(planted, doubt, [*range(79), np.nan], np.zeros(80))
    with pytest.raises(ValueError, match=r"95% is 0\.95"):
        outside.found_interval(*columns, level=95)
    with pytest.raises(ValueError, match="no failure"):
        outside.found_interval(0 * planted, *columns[1:])


def test_failures_of_one_seed_among_many_have_an_exact_interval():
    """A resample in four has no such seed; the bootstrap would have too few left."""
    seeds = np.repeat(np.arange(5), 40)
    groups, planted = np.tile(np.arange(40), 5), (seeds == 0) * (np.arange(200) % 2)
    doubt = np.linspace(0, 1, 200)
    found = outside.found_interval(planted, doubt, groups, seeds)
    assert found == Interval.of_share(0, 20)
    planted = np.arange(200) % 2  # in all seeds: the bootstrap's
    found = outside.found_interval(planted, doubt, groups, seeds)
    assert found != Interval.of_share(round(20 * found.estimate), 20)
    assert 0 <= found.lower < found.estimate < found.upper <= 1


def test_reviews_of_streams_find_shares_that_are_known():
    ordinary, failing = np.zeros(5), np.ones(3)
    found = outside.reviews(ordinary, failing, 0.01, 0.1, RNG)
    assert (found == 10).all()
    found = outside.reviews(ordinary, ordinary, 0.01, 0.1, RNG, runs=2000)
    assert found.mean() == pytest.approx(1.0, abs=0.1)  # ties: a review at random
    assert (outside.reviews(failing, ordinary, 0.01, 0.1, RNG) == 0).all()


def test_shuffled_words_are_the_same_words_each_time():
    text = "The city of Paris is in France."
    assert outside._shuffled(text) == outside._shuffled(text) != text
    assert sorted(outside._shuffled(text)[:-1].split()) == sorted(text[:-1].split())


@pytest.mark.parametrize("language", TEMPLATES)
def test_every_country_of_the_easy_cities_is_translated(language):
    texts = translated(cities()["easy"], language)
    assert len(set(texts)) == 300
    assert all(text.endswith(".") for text in texts)


def test_other_languages_and_countries_are_refused():
    with pytest.raises(ValueError, match="language is 'Latin'"):
        translated(cities()["easy"], "Latin")
    with pytest.raises(ValueError, match="not translated"):
        translated(cities(easy=300)["easy"], "German")
