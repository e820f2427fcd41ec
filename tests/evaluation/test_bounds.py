"""Bounds on a mean: closed forms, coverage, and where no bound promises any."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from elkutils.evaluation import (
    Bounds,
    betting,
    clopper_pearson,
    confidence_sequence,
    empirical_bernstein,
    hoeffding,
    hoeffding_kl,
    members_needed,
)

FIXED = (hoeffding, hoeffding_kl, clopper_pearson, empirical_bernstein, betting)
EVERY = (*FIXED, confidence_sequence)
MEANS = (0.5, 0.1, 0.01, 1e-3, 1e-4)
EXACT = 1e-9


def by_name(functions):
    return {"argvalues": functions, "ids": [f.__name__ for f in functions]}


def ends(bound, *args, **options):
    """Lower and upper end from all draws, also where there are bounds for every number."""
    found = bound(*args, **options)
    row = -1 if bound is confidence_sequence else ...
    return found.lower[row], found.upper[row]


def verdicts(ones, count):
    return np.r_[np.ones(ones), np.zeros(count - ones)]


def kl(a, m):
    """Relative entropy of coins, for a and m inside (0, 1)."""
    return a * np.log(a / m) + (1 - a) * np.log((1 - a) / (1 - m))


# closed forms


@pytest.mark.parametrize("count", [1, 2, 10, 1000, 10**7])
@pytest.mark.parametrize("delta", [0.5, 0.05, 1e-6])
def test_the_floor_of_draws_that_are_all_zero(count, delta):
    zeros, floor = np.zeros(count), -np.expm1(np.log(delta) / count)
    for bound in (hoeffding_kl, clopper_pearson):
        assert bound(zeros, delta, "upper").upper == pytest.approx(floor, rel=EXACT)
        assert bound(1 - zeros, delta, "lower").lower == pytest.approx(1 - floor, abs=EXACT)
    textbook = min(1, np.sqrt(np.log(1 / delta) / (2 * count)))
    assert hoeffding(zeros, delta, "upper").upper == pytest.approx(textbook, rel=EXACT)
    bernstein = 7 * np.log(2 / delta) / (3 * (count - 1)) if count > 1 else 1
    found = empirical_bernstein(zeros, delta, "upper").upper
    assert found == pytest.approx(min(1, bernstein), rel=EXACT)


@pytest.mark.parametrize("count", [1, 2, 30, 3000])
def test_no_bound_goes_below_the_floor_and_one_that_did_would_not_cover(count):
    floor = 1 - 0.05 ** (1 / count)
    for bound in EVERY:
        _, upper = ends(bound, np.zeros(count), 0.05, "upper")
        assert upper >= floor * (1 - EXACT), bound.__name__
    unseen = 0.999 * floor  # posterior mass on p = 1, above a bound that is lower still
    assert binom.pmf(0, count, unseen) > 0.05


def test_hoeffding_and_bernstein_by_their_formulas():
    p = np.random.default_rng(0).random((50, 4)) ** 2
    mean, log = p.mean(axis=0), np.log(2 / 0.1)
    found = hoeffding(p, 0.1)
    width = np.sqrt(log / 100)
    np.testing.assert_allclose(found.upper, np.minimum(mean + width, 1), atol=EXACT)
    np.testing.assert_allclose(found.lower, np.maximum(mean - width, 0), atol=EXACT)
    log = np.log(4 / 0.1)
    width = np.sqrt(2 * p.var(axis=0, ddof=1) * log / 50) + 7 * log / (3 * 49)
    found = empirical_bernstein(p, 0.1)
    np.testing.assert_allclose(found.upper, np.minimum(mean + width, 1), atol=EXACT)
    np.testing.assert_allclose(found.lower, np.maximum(mean - width, 0), atol=EXACT)


@pytest.mark.parametrize("count", [7, 100, 10**7])
def test_hoeffding_kl_solves_its_equation(count):
    grid = np.array([1e-6, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-6])
    found = hoeffding_kl(np.tile(grid, (2, 1)), 0.05, effective=2 if count > 100 else 2 / count)
    rate = np.log(2 / 0.05) / (2 if count > 100 else 2 / count)
    inside = (found.lower > 0) & (found.upper < 1 - 1e-9)
    for end in (found.lower[inside], found.upper[inside]):
        np.testing.assert_allclose(kl(grid[inside], end), rate, rtol=1e-6)


def test_a_coin_that_landed_evenly_has_a_closed_form():
    """kl(½ ‖ m) = −½ log 4m(1 − m), so m = ½ ± ½√(1 − δ^(2/N)) with δ/2 on either side."""
    for count in (2, 100, 10**6):
        found = hoeffding_kl(verdicts(count // 2, count))
        half = np.sqrt(-np.expm1(2 * np.log(0.025) / count)) / 2
        assert found.upper == pytest.approx(0.5 + half, abs=EXACT)
        assert found.lower == pytest.approx(0.5 - half, abs=EXACT)


@pytest.mark.parametrize("count", [1, 12, 400])
def test_clopper_pearson_is_the_binomial_test_turned_round(count):
    for ones in {0, 1, count // 3, count}:
        found = clopper_pearson(verdicts(ones, count), 0.1)
        if ones < count:
            assert binom.cdf(ones, count, found.upper) == pytest.approx(0.05, abs=EXACT)
        if ones > 0:
            assert binom.sf(ones - 1, count, found.lower) == pytest.approx(0.05, abs=EXACT)
    assert clopper_pearson(verdicts(count, count)).upper == 1
    assert clopper_pearson(verdicts(0, count)).lower == 0


def test_betting_on_two_draws_by_hand():
    """p = (1, 0): bets √(2 log(1/δ)/2σ²) with σ² = ¼, then (¼ + (1 − ¾)²)/2."""
    goal = np.log(1 / 0.6)
    m = betting([1.0, 0.0], 0.6, "upper").upper
    first, second = (min(np.sqrt(goal / v), 0.5 / (1 - m)) for v in (0.25, 0.3125 / 2))
    capital = np.cumprod([1 - first * (1 - m), 1 + second * m])
    assert m < 1
    assert capital.max() == pytest.approx(1 / 0.6, rel=EXACT)


def test_confidence_sequence_on_zeros_by_hand():
    """One zero: the mixture is E[1 − q] = ½, so ½/(1 − m) = 1/δ; two: E[(1 − q)²] = ⅜."""
    found = confidence_sequence(np.zeros(2), 0.1)
    np.testing.assert_allclose(found.upper, [1 - 0.05, 1 - np.sqrt(0.0375)], atol=EXACT)
    np.testing.assert_array_equal(found.lower, 0)
    count = np.arange(1, 2001)
    upper = confidence_sequence(np.zeros(2000), 0.1).upper
    assert (upper < np.log(np.sqrt(np.pi * (count + 0.5)) / 0.1) / count).all()


def test_effective_number_takes_the_place_of_the_number():
    p = np.r_[np.zeros(90), np.ones(10)]
    few = np.r_[np.zeros(9), np.ones(1)]
    for bound in (hoeffding, hoeffding_kl, clopper_pearson):
        np.testing.assert_allclose(ends(bound, p, effective=10), ends(bound, few), atol=EXACT)
    for bound in EVERY:
        shrunk, full = ends(bound, p, effective=30), ends(bound, p)
        assert shrunk[0] <= full[0] < full[1] < shrunk[1], bound.__name__
        np.testing.assert_allclose(ends(bound, p, effective=100), full, atol=EXACT)
    each = hoeffding_kl(np.c_[p, p], effective=[10, 100])
    assert each.upper[0] == pytest.approx(hoeffding_kl(few).upper, abs=EXACT)
    assert each.upper[1] == pytest.approx(hoeffding_kl(p).upper, abs=EXACT)


def test_union_divides_delta():
    p = (np.random.default_rng(0).random((40, 3)) < 0.2).astype(float)
    for bound in EVERY:
        together, each = bound(p, 0.06, union=3), bound(p, 0.02)
        np.testing.assert_array_equal(together.upper, each.upper)
        np.testing.assert_array_equal(together.lower, each.lower)


# coverage


@pytest.mark.parametrize("bound", **by_name([bound for bound in FIXED if bound is not betting]))
@pytest.mark.parametrize("side", ["two", "upper", "lower"])
def test_coverage_on_coins_by_enumeration(bound, side):
    for count in (1, 2, 7, 30, 300):
        outcomes = (np.arange(count) < np.arange(count + 1)[:, None]).T.astype(float)
        found = bound(outcomes, 0.1, side)
        for mean in MEANS:
            held = (found.lower <= mean) & (mean <= found.upper)
            chance = binom.pmf(np.arange(count + 1), count, mean)
            assert chance[held].sum() >= 0.9 - EXACT, (count, mean)


@pytest.mark.parametrize("bound", **by_name((hoeffding, hoeffding_kl, empirical_bernstein)))
def test_coverage_on_two_points_by_enumeration(bound):
    for low, high in ((0, 0.1), (0.3, 1), (1e-4, 0.02)):
        outcomes = np.arange(60)[:, None] < np.arange(61)
        found = bound(np.where(outcomes, high, low), 0.1)
        for share in (0.5, 0.1, 0.01):
            mean = share * high + (1 - share) * low
            held = (found.lower <= mean) & (mean <= found.upper)
            assert binom.pmf(np.arange(61), 60, share)[held].sum() >= 0.9 - EXACT


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.1, 0.6), (0, 0.01)])
def test_coverage_of_betting_by_enumeration_of_sequences(low, high):
    sequences = np.array(list(product((0, 1), repeat=10))).T
    found = betting(np.where(sequences, high, low), 0.3)
    for share in MEANS:
        mean = share * high + (1 - share) * low
        chance = np.where(sequences, share, 1 - share).prod(axis=0)
        held = (found.lower <= mean) & (mean <= found.upper)
        assert chance[held].sum() >= 0.7 - EXACT


@pytest.mark.parametrize("delta", [0.3, 0.05])
def test_confidence_sequence_covers_at_every_number_of_draws(delta):
    """Of 400 tosses: the chance of having left the bounds by then, by counting heads."""
    longest = 400
    sets = {n: last_of_all_counts(n, delta) for n in range(1, longest + 1)}
    for mean in MEANS:
        alive, left = np.ones(1), 0.0
        for n in range(1, longest + 1):
            alive = np.convolve(alive, [1 - mean, mean])
            inside = (sets[n][0] <= mean) & (mean <= sets[n][1])
            left += alive[~inside].sum()
            alive = np.where(inside, alive, 0)
        assert left <= delta + EXACT


def last_of_all_counts(n, delta):
    """The bounds from n tosses alone for 0 … n heads, by the definition of the mixture."""
    from scipy.optimize import brentq
    from scipy.special import betaln, xlog1py, xlogy

    if n > 40:  # the function itself; up to there the definition, to hold one to the other
        from elkutils.evaluation.bounds import _mixture, _Sample

        mean = np.arange(n + 1) / n
        upper = _mixture(_Sample(mean, None, np.full(n + 1, float(n)), 1), delta)
        return 1 - upper[::-1], upper
    upper = np.ones(n + 1)
    for heads in range(n):
        level = betaln(heads + 0.5, n - heads + 0.5) - np.log(np.pi) + np.log(delta)

        def excess(m, heads=heads, level=level):
            return level - xlogy(heads, m) - xlog1py(n - heads, -m)

        upper[heads] = brentq(excess, heads / n, 1 - 1e-15, xtol=1e-14)
    return 1 - upper[::-1], upper


def beta_draws(mean):
    return lambda rng, shape: rng.beta(2 * mean, 2 - 2 * mean, shape)


def mixture_draws(mean):
    """Mostly near zero, now and then near one, as a member that has found the harm."""

    def draw(rng, shape):
        rare = rng.random(shape) < mean
        return np.where(rare, rng.beta(20, 1, shape), rng.beta(1, 50, shape))

    return draw


REAL_VALUED = {
    f"{kind} {mean}": (draw, true)
    for mean in MEANS
    for kind, draw, true in (
        ("beta", beta_draws(mean), mean),
        ("mixture", mixture_draws(mean), mean * 20 / 21 + (1 - mean) / 51),
    )
}


@pytest.mark.parametrize("case", REAL_VALUED)
def test_coverage_on_other_distributions_up_to_monte_carlo_error(case):
    draw, mean = REAL_VALUED[case]
    repeats, rng = 1000, np.random.default_rng(list(case.encode()))
    for count in (10, 100):
        p = draw(rng, (count, repeats))
        for bound in (hoeffding, hoeffding_kl, empirical_bernstein, betting):
            found = bound(p, 0.1)
            held = np.mean((found.lower <= mean) & (mean <= found.upper))
            # four standard errors: one test in fifteen thousand would fail at coverage 0.9
            assert held >= 0.9 - 4 * np.sqrt(0.09 / repeats), (bound.__name__, count)
        running = confidence_sequence(p, 0.1)
        held = np.mean(((running.lower <= mean) & (mean <= running.upper)).all(axis=0))
        assert held >= 0.9 - 4 * np.sqrt(0.09 / repeats)


def sticky(rng, mean, stay, count, chains):
    """Coins that keep their face with probability `stay` and are tossed anew otherwise."""
    tossed = rng.random((count, chains)) < mean
    fresh = rng.random((count, chains)) >= stay
    fresh[0] = True
    source = np.maximum.accumulate(np.where(fresh, np.arange(count)[:, None], 0), axis=0)
    return np.take_along_axis(tossed, source, axis=0).astype(float)


@pytest.mark.parametrize("bound", **by_name(EVERY))
def test_correlated_draws_break_every_bound(bound):
    stay, count, chains = 0.98, 500, 500
    p = sticky(np.random.default_rng(1), 0.3, stay, count, chains)
    lower, upper = ends(bound, p, 0.1)
    held = np.mean((lower <= 0.3) & (upper >= 0.3))
    assert held < 0.9 - 10 * np.sqrt(0.09 / chains)


@pytest.mark.parametrize("bound", **by_name(FIXED))
def test_an_effective_number_mends_a_chain_that_mixes_and_not_one_that_has_not(bound):
    stay, count, chains = 0.9, 500, 2000
    effective = count * (1 - stay) / (1 + stay)
    p = sticky(np.random.default_rng(2), 0.3, stay, count, chains)
    found = bound(p, 0.1, effective=effective)
    held = np.mean((found.lower <= 0.3) & (found.upper >= 0.3))
    assert held >= 0.9 - 4 * np.sqrt(0.09 / chains)
    # E[p] = ½, but no chain has left its mode, in which its draws are independent
    rng = np.random.default_rng(3)
    mode = np.where(rng.random(chains) < 0.5, 0.2, 0.8)
    found = bound((rng.random((count, chains)) < mode).astype(float), 0.1, effective=count)
    held = np.mean((found.lower <= 0.5) & (found.upper >= 0.5))
    assert held < 0.1


# order, edges, members needed


def test_the_forms_in_their_order():
    rng = np.random.default_rng(0)
    for count in (5, 50, 500):
        p = (rng.random((count, 40)) < rng.random(40)).astype(float)
        textbook, first, exact = (b(p) for b in (hoeffding, hoeffding_kl, clopper_pearson))
        assert (exact.upper <= first.upper + EXACT).all()
        assert (first.upper <= textbook.upper + EXACT).all()
        assert (exact.lower >= first.lower - EXACT).all()
        assert (first.lower >= textbook.lower - EXACT).all()
    steady = np.clip(rng.normal(0.3, 0.01, 2000), 0, 1)
    for adaptive in (empirical_bernstein, betting):
        found, textbook = adaptive(steady), hoeffding(steady)
        assert found.upper - found.lower < (textbook.upper - textbook.lower) / 3


@pytest.mark.parametrize("bound", **by_name(EVERY))
def test_turning_p_round_turns_the_bounds_round(bound):
    p = (np.random.default_rng(0).random((60, 3)) < [0.0, 0.3, 1.0]).astype(float)
    for side, other in (("two", "two"), ("upper", "lower")):
        here, there = bound(p, side=side), bound(1 - p, side=other)
        np.testing.assert_allclose(here.upper, 1 - there.lower, atol=1e-12)
    one = bound(p, side="upper")
    np.testing.assert_array_equal(one.lower, 0)
    assert (one.upper <= bound(p).upper + EXACT).all()


@pytest.mark.parametrize("bound", **by_name(EVERY))
def test_one_draw_and_equal_draws(bound):
    for constant in (0.0, 1.0) if bound is clopper_pearson else (0.0, 0.3, 1.0):
        for count in (1, 2, 1000):
            lower, upper = ends(bound, np.full(count, constant))
            assert 0 <= lower <= constant <= upper <= 1
            assert (lower > 0) <= (constant > 0)
            assert (upper < 1) <= (constant < 1)
        assert upper - lower < 0.12


def test_ten_million_draws():
    p = np.arange(10**7) % 1000 == 0
    for bound in (hoeffding, hoeffding_kl, clopper_pearson, empirical_bernstein):
        found = bound(p, 0.05, "upper")
        assert 1e-3 < found.upper < 1.5e-3
    nearly = np.full(10**7, 1 - 1e-12)
    found = hoeffding_kl(nearly)
    assert 1 - 4e-7 < found.lower < 1 - 3.6e-7
    assert found.upper <= 1


def test_a_million_draws_one_at_a_time():
    zeros = np.zeros(10**6)
    assert betting(zeros, 0.05, "upper").upper < 7e-6
    upper = confidence_sequence(zeros, 0.05).upper
    assert (np.diff(upper) <= 0).all()
    bound = np.log(np.sqrt(np.pi * (10**6 + 0.5)) / 0.05) / 10**6
    assert upper[-1] == pytest.approx(bound, rel=1e-5)


def test_shapes():
    p = np.random.default_rng(0).integers(0, 2, (20, 3))
    for bound in FIXED:
        assert bound(p).upper.shape == (3,)
        assert np.ndim(bound(p[:, 0]).upper) == 0
        assert bound(p[:, 0]).upper == pytest.approx(bound(p).upper[0], abs=EXACT)
    assert confidence_sequence(p).upper.shape == (20, 3)
    assert confidence_sequence(p[:, 0]).lower.shape == (20,)


@pytest.mark.parametrize("bound", **by_name(EVERY))
@pytest.mark.parametrize("mean", [0.0, 0.25])
def test_members_needed_is_the_number_at_which_the_bound_gets_there(bound, mean):
    epsilon = 0.05
    needed = members_needed(bound, epsilon, 0.05, mean=mean, side="upper")
    if mean == 0:
        for count, enough in ((needed, True), (needed - 1, False)):
            upper = ends(bound, np.zeros(count), 0.05, "upper")[1]
            assert (upper <= epsilon) == enough
    else:
        whole = 4 * -(-needed // 4)
        upper = ends(bound, np.tile([0.0, 1, 0, 0], whole // 4), 0.05, "upper")[1]
        assert upper - mean <= epsilon * 1.02  # betting: the order of the ones
        assert needed < members_needed(bound, epsilon, 0.05, mean=mean, side="two") + 1


def test_members_needed_in_closed_form():
    assert members_needed(hoeffding_kl, 0.001, 0.05) == np.ceil(np.log(0.05) / np.log(0.999))
    assert members_needed(hoeffding, 0.01, 0.05) == np.ceil(np.log(20) / 2e-4)
    pool = members_needed(hoeffding_kl, 0.001, 0.05, union=1000)
    assert pool == np.ceil(np.log(0.05 / 1000) / np.log(0.999))
    assert members_needed(hoeffding_kl, 0.001, mean=1.0, side="upper") == 1


# another implementation


@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (1, 30)])
def test_betting_agrees_with_confseq(shape, monkeypatch):
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # gone from NumPy 2
    other = pytest.importorskip("confseq.betting")
    p = np.random.default_rng(0).beta(*shape, 200)
    lower, upper = other.betting_ci(p, 0.05, breaks=2000, trunc_scale=0.5, m_trunc=True)
    found = betting(p, 0.05)
    # confseq knows the ends to the step of its grid, 1/2000
    assert found.lower == pytest.approx(lower, abs=2 / 2000)
    assert found.upper == pytest.approx(upper, abs=2 / 2000)


# bad input


@pytest.mark.parametrize("bound", **by_name(EVERY))
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"proba": [0.0, 1.1]}, "proba ranges from 0 to 1.1"),
        ({"proba": [0.0, -0.1]}, "proba ranges from -0.1"),
        ({"proba": [0.0, np.nan]}, "proba ranges from nan"),
        ({"proba": []}, r"proba has shape \(0,\)"),
        ({"proba": np.zeros((3, 0))}, r"proba has shape \(3, 0\)"),
        ({"proba": np.zeros((0, 3))}, r"proba has shape \(0, 3\)"),
        ({"proba": 0.5}, r"proba has shape \(\)"),
        ({"proba": np.zeros((2, 2, 2))}, "proba has shape"),
        ({"proba": ["a", "b"]}, "proba has dtype"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"delta": 1}, "delta is 1"),
        ({"delta": np.nan}, "delta is nan"),
        ({"side": "both"}, "side is 'both'"),
        ({"union": 0}, "union is 0"),
        ({"union": 2.5}, "union is 2.5"),
        ({"proba": np.zeros((4, 3)), "union": 2}, "union is 2; .* no smaller than n = 3"),
        ({"effective": 3}, "effective is 3; .* at most the number of draws, 2"),
        ({"effective": 0}, "effective is 0"),
        ({"effective": np.nan}, "effective is nan"),
        ({"effective": [1, 1]}, "effective is"),
    ],
)
def test_bad_arguments_are_named(bound, change, match):
    with pytest.raises(ValueError, match=match):
        bound(**{"proba": [0.0, 1.0], **change})


def test_clopper_pearson_takes_verdicts():
    with pytest.raises(ValueError, match="proba holds numbers between 0 and 1"):
        clopper_pearson([0.0, 0.5])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bound": max}, "bound is"),
        ({"epsilon": 0}, "epsilon is 0"),
        ({"epsilon": np.nan}, "epsilon is nan"),
        ({"delta": 1.5}, "delta is 1.5"),
        ({"mean": -0.1}, "mean is -0.1"),
        ({"side": "left"}, "side is 'left'"),
        ({"union": 0}, "union is 0"),
        ({"bound": betting, "epsilon": 1e-4}, "epsilon is 0.0001; .* more than 1,000"),
        ({"bound": hoeffding, "epsilon": 1e-12}, "more than 9,007"),
    ],
)
def test_members_needed_names_bad_arguments(change, match, monkeypatch):
    monkeypatch.setattr("elkutils.evaluation.bounds._MOST_BETS", 1000)
    with pytest.raises(ValueError, match=match):
        members_needed(**{"bound": hoeffding_kl, "epsilon": 0.1, **change})


def test_an_interval_holds_its_ends_and_what_lies_between():
    found = Bounds(np.array([0.1, 0.1, 0.1]), np.array([0.3, 0.3, 0.3]))
    assert found.hold(np.array([0.1, 0.3, 0.31])).tolist() == [True, True, False]
    assert not Bounds(0.1, 0.3).hold(0.0)
