"""Thresholds on doubt: their promises in simulations whose truth is known, and their errors."""

import numpy as np
import pytest
from scipy.stats import binomtest

from elkutils.evaluation import (
    coverage_threshold,
    risk_coverage,
    risk_threshold,
    rows_needed,
)

RISK, DELTA, GROUPS = 0.1, 0.2, 600


def in_groups(rng, groups=GROUPS):
    """Groups of 1 to 5 rows whose difficulty, and so doubt and errors, they have in common."""
    sizes = rng.integers(1, 6, groups)
    of = np.repeat(np.arange(groups), sizes)
    hard = rng.random(groups)
    doubt = np.clip(hard[of] + rng.normal(0, 0.1, len(of)), 0, 1)
    # Small groups are the worse ones: over rows the risk looks smaller than over groups.
    wrong = (rng.random(groups) < 0.6 * hard**2 * (1.6 - 0.2 * sizes))[of]
    return wrong, doubt, of


@pytest.fixture(scope="module")
def risk_below():
    """The true risk among rows below a threshold, each group counting alike."""
    wrong, doubt, of = in_groups(np.random.default_rng(99), 200_000)
    curve = risk_coverage(np.ones(len(of)), 1.0 - wrong, -doubt, groups=of)
    order = np.sort(doubt)

    def at(threshold):
        k = np.searchsorted(order, threshold)
        return curve.risk[k - 1] if k else 0.0

    return at


def naive(wrong, doubt):
    """The highest threshold below which no more than RISK of the rows given are wrong."""
    order = np.argsort(doubt)
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    return doubt[order][np.flatnonzero(share <= RISK)[-1]]


def threshold_of(wrong, doubt, groups=None, seed=0):
    """The certified threshold, or −∞ where nothing can be certified and nothing is answered."""
    try:
        y = np.ones(len(wrong))
        return risk_threshold(y, 1.0 - wrong, doubt, RISK, DELTA, groups, seed=seed)
    except ValueError as error:
        if "no threshold on doubt" not in str(error):
            raise
        return -np.inf


def test_in_groups_the_risk_is_kept_and_without_a_bound_it_is_not(risk_below):
    rng, runs = np.random.default_rng(0), 200
    failed = blind = answered = 0
    for run in range(runs):
        wrong, doubt, of = in_groups(rng)
        threshold = threshold_of(wrong, doubt, of, run)
        failed += risk_below(threshold) > RISK
        blind += risk_below(naive(wrong, doubt)) > RISK
        answered += (doubt < threshold).mean() / runs
    assert binomtest(failed, runs, DELTA, "greater").pvalue > 1e-3
    assert binomtest(blind, runs, DELTA, "greater").pvalue < 1e-3
    assert answered > 0.25  # a threshold that answers nothing would keep every promise


def test_independent_rows_keep_the_risk():
    """P(wrong) = doubt / 2 with doubt uniform: the risk below t is t / 4."""
    rng, runs = np.random.default_rng(1), 300
    thresholds = np.empty(runs)
    for run in range(runs):
        doubt = rng.random(1000)
        wrong = rng.random(1000) < doubt / 2
        thresholds[run] = threshold_of(wrong, doubt, seed=run)
    failed = int((np.minimum(thresholds, 1) / 4 > RISK).sum())
    assert binomtest(failed, runs, DELTA, "greater").pvalue > 1e-3
    assert np.median(thresholds) > 0.2  # 0.4 is the best there is


def test_where_everything_is_right_everything_is_answered():
    assert risk_threshold(np.ones(200), np.ones(200), np.arange(200.0), RISK) == np.inf


def test_the_share_that_is_answered_is_kept_in_groups():
    rng, runs, failed = np.random.default_rng(2), 400, 0
    law = np.sort(in_groups(rng, 100_000)[1])
    for _ in range(runs):
        _, doubt, of = in_groups(rng, 60)
        threshold = coverage_threshold(doubt, 0.8, DELTA, of)
        failed += np.searchsorted(law, threshold) / len(law) < 0.8
    assert binomtest(failed, runs, DELTA, "greater").pvalue > 1e-3


def test_too_few_rows_are_named_with_the_number_needed():
    def at(n, groups=None):
        return risk_threshold(np.ones(n), np.ones(n), np.arange(n), 0.05, groups=groups)

    with pytest.raises(ValueError, match=r"doubt has 30 rows; .* needs at least \d+$") as error:
        at(30)
    needed = int(str(error.value).split()[-1])
    assert needed > rows_needed(0.05, 0.05 / 10)
    assert at(needed) == np.inf
    with pytest.raises(ValueError, match=f"{needed - 1} rows; .* needs at least {needed}$"):
        at(needed - 1, np.arange(needed - 1))
    with pytest.raises(ValueError, match=r"doubt has 30 rows; .* needs at least 59$"):
        coverage_threshold(np.arange(30.0), 0.95)


def test_few_groups_of_many_rows_are_few():
    groups = np.repeat(np.arange(6), 100)
    with pytest.raises(ValueError, match="doubt has 6 groups"):
        risk_threshold(np.ones(600), np.ones(600), np.arange(600.0), 0.05, groups=groups)
    with pytest.raises(ValueError, match="doubt has 6 groups"):
        coverage_threshold(np.arange(600.0), 0.95, groups=groups)


def test_where_nothing_can_be_certified_the_error_tells_how_far_it_was():
    y = np.arange(400) % 2
    with pytest.raises(ValueError, match=r"400 rows 50\.0% are answered wrongly"):
        risk_threshold(y, np.ones(400), np.arange(400.0), 0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"risk": 5}, "risk is 5; .* 0.05 for 5%"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"tries": 0}, "tries is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"doubt": np.ones(3)}, "doubt has 3 rows; y has 500"),
        ({"doubt": np.full(500, np.nan)}, "doubt"),
        ({"proba": np.ones((4, 500))}, "of draws take the mean"),
        ({"groups": np.ones(3)}, "groups"),
    ],
)
def test_bad_input_says_what_is_wrong(changes, message):
    given = {"y": np.ones(500), "proba": np.ones(500), "doubt": np.arange(500.0), "risk": 0.1}
    with pytest.raises(ValueError, match=message):
        risk_threshold(**given | changes)


def test_a_coverage_in_percent_is_refused():
    with pytest.raises(ValueError, match=r"coverage is 90; .* 0\.9 for 90%"):
        coverage_threshold(np.arange(100.0), 90)
