import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from elkutils.evaluation import alarm_rate, certified_threshold, rows_needed

ALPHA, DELTA, RUNS = 0.1, 0.2, 2000


def failures(draw, rate, runs=RUNS):
    """Number of runs in which the true rate of the certified threshold exceeds α."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(runs):
        score, groups = draw(rng)
        found += rate(certified_threshold(score, ALPHA, DELTA, groups)) > ALPHA
    return found


def in_groups(rng, groups=60, rows=8, shared=2.0):
    """Scores of variance 1 + shared², which rows of a group have mostly in common."""
    score = rng.normal(size=(groups, rows)) + shared * rng.normal(size=(groups, 1))
    return score.ravel(), np.repeat(np.arange(groups), rows)


def rate_in_groups(threshold, shared=2.0):
    return norm.sf(threshold / np.hypot(1, shared))


@pytest.mark.parametrize("n", [16, 40, 200])
def test_independent_rows_fail_as_often_as_the_binomial_law_says(n):
    allowed = max(k for k in range(n) if binom.cdf(k, n, ALPHA) <= DELTA)
    exact = binom.cdf(allowed, n, ALPHA)
    failed = failures(lambda rng: (rng.random(n), None), lambda t: 1 - t)
    assert binomtest(failed, RUNS, exact).pvalue > 1e-3
    assert exact <= DELTA


def test_in_groups_the_guarantee_holds_and_without_them_it_fails():
    """Rows that are taken to be independent break the promise: the test has power."""
    failed = failures(in_groups, rate_in_groups, 500)
    assert binomtest(failed, 500, DELTA, "greater").pvalue > 1e-3
    blind = failures(lambda rng: (in_groups(rng)[0], None), rate_in_groups, 500)
    assert binomtest(blind, 500, DELTA, "greater").pvalue < 1e-3


def test_in_groups_the_threshold_is_not_needlessly_high():
    """Groups that agree within themselves count as one row each, but for Hoeffding's bound."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=2000)
    groups = np.repeat(np.arange(2000), 5)
    exact = certified_threshold(one, ALPHA, DELTA)
    found = certified_threshold(np.repeat(one, 5), ALPHA, DELTA, groups)
    assert exact <= found <= exact + 0.15


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_tied_scores_give_an_alarm_together(dtype):
    score = np.repeat(np.arange(10), 20).astype(dtype)
    threshold = certified_threshold(score, 0.3, 0.05)
    assert 7 < threshold <= 8
    assert np.mean(score >= threshold) == np.mean(score > 7)


def test_the_lowest_threshold_is_returned():
    """One more row with an alarm would break the guarantee."""
    score = np.sort(np.random.default_rng(1).normal(size=300))
    threshold = certified_threshold(score, ALPHA, DELTA)
    alarms = int(np.sum(score >= threshold))
    assert binom.cdf(alarms, 300, ALPHA) <= DELTA < binom.cdf(alarms + 1, 300, ALPHA)


def test_order_and_names_of_groups_do_not_matter():
    rng = np.random.default_rng(2)
    score, groups = in_groups(rng)
    shuffled = rng.permutation(len(score))
    named = np.array([f"city {g}" for g in groups])
    expected = certified_threshold(score, ALPHA, DELTA, groups)
    assert certified_threshold(score[shuffled], ALPHA, DELTA, named[shuffled]) == expected
    alone = certified_threshold(score, ALPHA, DELTA, np.arange(len(score)))
    assert alone == certified_threshold(score, ALPHA, DELTA)


def test_large_groups_count_no_more_than_small_ones():
    score = np.r_[np.zeros(99), np.ones(1000) * 5]
    groups = np.r_[np.arange(99), np.full(1000, 99)]
    assert certified_threshold(score, 0.1, 0.05, groups) < 1
    assert certified_threshold(score, 0.1, 0.05) > 5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
def test_rows_needed_is_where_it_begins_to_work(alpha):
    n = rows_needed(alpha, 0.05)
    score = np.arange(n, dtype=float)
    certified_threshold(score, alpha, 0.05)
    for groups in (None, np.arange(n - 1)):
        with pytest.raises(ValueError, match=f"needs at least {n}$"):
            certified_threshold(score[1:], alpha, 0.05, groups)


def test_groups_are_counted_and_not_rows():
    with pytest.raises(ValueError, match=r"has 20 groups; .* needs at least 29$"):
        certified_threshold(np.arange(200.0), 0.1, 0.05, np.arange(200) // 10)


def test_the_interval_of_a_rate_holds_it():
    rng, held, blind = np.random.default_rng(3), 0, 0
    for _ in range(400):
        score, groups = in_groups(rng)
        found = alarm_rate(score, 1.0, groups, 0.8)
        held += found.lower <= rate_in_groups(1.0) <= found.upper
        alone = alarm_rate(score, 1.0, level=0.8)
        blind += alone.lower <= rate_in_groups(1.0) <= alone.upper
    assert binomtest(held, 400, 0.8, "less").pvalue > 1e-3
    assert binomtest(blind, 400, 0.8, "less").pvalue < 1e-3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score": np.ones((3, 4))}, r"score has shape \(3, 4\)"),
        ({"score": []}, r"score has shape \(0,\)"),
        ({"score": [0.0] * 99 + [np.inf]}, r"score\[99\] is inf"),
        ({"alpha": 5}, "0.05 for 5%"),
        ({"alpha": 0}, "alpha is 0"),
        ({"delta": 1.0}, "delta is 1.0"),
        ({"groups": np.arange(7)}, r"groups has shape \(7,\)"),
        ({"groups": [None] * 100}, r"groups\[0\] is None"),
        ({"score": np.r_[np.ones(60), np.zeros(40)]}, "score is 1 in too many rows"),
    ],
)
def test_bad_input_is_named(given, message):
    settings = {"score": np.linspace(0, 1, 100), "alpha": 0.1} | given
    with pytest.raises(ValueError, match=message):
        certified_threshold(**settings)


def test_a_threshold_has_to_be_a_number():
    with pytest.raises(ValueError, match="threshold is nan"):
        alarm_rate([0.1, 0.2], np.nan)
