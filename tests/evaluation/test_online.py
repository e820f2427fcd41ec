"""Guarantees on every sequence, tested on sequences built to break them."""

import copy

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from elkutils.evaluation import brier, log_score
from elkutils.evaluation.online import (
    AdaptiveConformal,
    Hedged,
    OnlinePlatt,
    RunningMean,
    calibration_error,
    excess_calibration_error,
    prediction_sets,
    refinement,
    run,
)

N = 450


def streams(n=N):
    """Probabilities and labels: constant, random, drifting, periodic, all of them known."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 0.5, n)
    right = (rng.random(n) < p).astype(int)
    third = np.arange(n) * 3 // n
    drift = np.where(third == 0, right, np.where(third == 1, rng.integers(0, 2, n), 1 - right))
    return {
        "all ones": (p, np.ones(n, dtype=int)),
        "all zeros": (np.full(n, 0.9), np.zeros(n, dtype=int)),
        "random": (p, rng.integers(0, 2, n)),
        "calibrated": (p, right),
        "calibrated, useless, inverted": (p, drift),
        "halves": (np.full(n, 0.5), (np.arange(n) >= n // 2).astype(int)),
        "blocks": (p, np.arange(n) // 20 % 2),
        "certain and wrong": (np.tile([0.0, 1.0], n // 2), np.tile([1, 0], n // 2)),
    }


STREAMS = streams()


def against(method, choose, n=N, p=0.6):
    """A stream whose labels an adversary chooses after it has seen the method's forecast."""
    method, forecasts, labels = copy.deepcopy(method), [], []
    for _ in range(n):
        forecasts.append(method.forecast(p))
        labels.append(choose(method, forecasts[-1]))
        method.update(labels[-1])
    return np.array(forecasts), np.array(labels)


def contrary(_, forecast):
    return int(forecast < 0.5)


def contrary_to_the_mean(method, _, p=0.6):
    values, chances = method.lottery(p)
    return int(values @ chances < 0.5)


def miss(_, allowed):
    """A label that is not in the set, if there is one."""
    return int(allowed[0])


# Adaptive conformal inference

CALIBRATION = np.random.default_rng(1).beta(4, 1, 99)


def misses(sets, y):
    return ~sets[np.arange(len(y)), y]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(("alpha", "step", "start"), [(0.1, 0.05, None), (0.3, 0.5, 1.0)])
def test_coverage_keeps_its_bound_on_every_prefix(name, alpha, step, start):
    method = AdaptiveConformal(CALIBRATION, alpha, step, start)
    proba, y = STREAMS[name]
    found = run(method, proba, y)
    for n in range(1, N + 1):
        error = misses(found.forecast[:n], y[:n]).mean()
        assert abs(error - alpha) <= method.bound(n) + 1e-12
    assert (found.state >= -step).all()
    assert (found.state <= 1 + step).all()


@pytest.mark.parametrize("step", [0.01, 0.05, 0.5])
def test_an_adversary_attains_the_bound_to_order(step):
    """Missing whenever it can from α₁ = 1, it keeps the level near 0 from then on."""
    method = AdaptiveConformal(CALIBRATION, 0.1, step, start=1.0)
    allowed, y = against(method, miss, p=1.0)
    ratio = (misses(allowed, y).mean() - 0.1) / method.bound(N)
    # Sets hold both labels below 1/(m + 1), so the level ends within that and a step of 0; the
    # bound allows for a step beyond it.
    least = (1 - step - 1 / (len(CALIBRATION) + 1)) / (1 + step)
    assert least <= ratio <= 1 + 1e-9


def test_nothing_is_ruled_out_at_level_0_and_everything_at_level_1():
    proba = np.array([0.0, 0.3, 1.0])
    assert prediction_sets(proba, CALIBRATION, 0.0).all()
    assert prediction_sets(proba, CALIBRATION, -0.2).all()
    assert not prediction_sets(proba, CALIBRATION, 1.0).any()
    assert not prediction_sets(proba, CALIBRATION, 1.3).any()


def test_sets_shrink_as_the_level_grows():
    proba = np.linspace(0, 1, 50)
    sizes = [prediction_sets(proba, CALIBRATION, level).sum(1) for level in (0.1, 0.5, 0.9)]
    assert (sizes[0] >= sizes[1]).all()
    assert (sizes[1] >= sizes[2]).all()
    assert sizes[0].sum() > sizes[2].sum()


def test_split_sets_cover_exchangeable_rows():
    rng = np.random.default_rng(2)
    rates = []
    for _ in range(400):
        p = rng.beta(0.7, 0.7, 60)
        y = (rng.random(60) < p).astype(int)
        given = np.where(y == 1, p, 1 - p)
        sets = prediction_sets(p[20:], given[:20], 0.2)
        rates.append(misses(sets, y[20:]).mean())
    # ⌊0.2 · 21⌋ / 21 = 4/21 exactly, for scores without ties.
    error = np.std(rates) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - 4 / 21) < 4 * error


# Online Platt scaling


def best_pair(proba, y, limit):
    """Total log loss of the best slope and intercept in the grid's range, in hindsight."""
    with np.errstate(divide="ignore"):
        log_odds = np.clip(logit(proba), -limit, limit)

    def loss(theta):
        scores = theta[0] * log_odds + theta[1]
        slope = expit(scores) - y
        value = np.logaddexp(0, np.where(y == 1, -scores, scores)).sum()
        return value, np.array([slope @ log_odds, slope.sum()])

    bounds = [(-2, 3), (-5, 5)]
    return minimize(loss, [0.5, 0.0], jac=True, bounds=bounds).fun


def log_loss(forecast, y):
    return -len(y) * log_score(y, forecast)


@pytest.mark.parametrize("name", STREAMS)
def test_regret_keeps_its_bound(name):
    method = OnlinePlatt()
    proba, y = STREAMS[name]
    regret = log_loss(run(method, proba, y).forecast, y) - best_pair(proba, y, method.limit)
    assert regret <= method.bound(N)


def test_regret_keeps_its_bound_against_an_adversary():
    method = OnlinePlatt(np.linspace(-2, 3, 21), np.linspace(-5, 5, 21))
    forecast, y = against(method, contrary)
    proba = np.full(N, 0.6)
    assert log_loss(forecast, y) - best_pair(proba, y, method.limit) <= method.bound(N)


def test_sharing_keeps_its_bound_against_a_pair_for_each_stretch():
    method = OnlinePlatt(share=0.01)
    proba, y = STREAMS["calibrated, useless, inverted"]
    thirds = [slice(i * N // 3, (i + 1) * N // 3) for i in range(3)]
    rival = sum(best_pair(proba[part], y[part], method.limit) for part in thirds)
    shared = log_loss(run(method, proba, y).forecast, y)
    assert shared - rival <= method.bound(N, stretches=3)
    assert shared < log_loss(run(OnlinePlatt(), proba, y).forecast, y)
    assert OnlinePlatt().bound(N, stretches=3) == np.inf


def test_the_mixture_is_bayes_rule_over_its_pairs():
    slopes, intercepts = np.array([0.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    method, weights = OnlinePlatt(slopes, intercepts), np.ones(6)
    pairs = [(a, b) for b in intercepts for a in slopes]
    for p, y in [(0.3, 1), (0.9, 0), (0.6, 1)]:
        said = np.array([expit(a * logit(p) + b) for a, b in pairs])
        assert method.forecast(p) == pytest.approx(weights @ said / weights.sum())
        method.update(y)
        weights = weights * (said if y else 1 - said)
    np.testing.assert_allclose(method.state, weights @ np.array(pairs) / weights.sum())


@pytest.mark.parametrize(
    ("p", "y", "grid", "told"),
    [
        (0.5, [1], {}, r"intercepts goes from -5 to 5, .* by 5, its largest.*\(-5, 15, 101\)"),
        (0.5, [0], {}, r"intercepts goes .* by -5, its smallest.*linspace\(-15, 5, 101\)"),
        (0.55, [1, 0], {}, r"slopes goes from -2 to 3, .* by 3, its largest.*\(-2, 8, 101\)"),
        (0.9, [0, 1], {"slopes": np.linspace(0, 2, 21)}, r"slopes .* by 0, .*\(-2, 2, 41\)"),
    ],
)
def test_a_grid_that_ends_too_soon_is_named_once(p, y, grid, told):
    """Labels that are all 1, or more, or less, or the contrary of what is forecast."""
    proba = np.where(np.arange(300) % 2 == 0, p, 1 - p)
    with pytest.warns(UserWarning, match=told) as found:
        run(OnlinePlatt(**grid), proba, np.resize(y, 300))
    assert len(found) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(5))
def test_grids_that_hold_the_best_pair_are_not_named(seed):
    """Nor are those of five labels, whose best pair is at an edge, nor grids of two."""
    rng = np.random.default_rng(seed)
    proba = rng.random(2000)
    run(OnlinePlatt(), proba, (rng.random(2000) < proba).astype(int))
    run(OnlinePlatt(), proba[:5], np.ones(5))
    run(OnlinePlatt([0, 1], [-1, 1]), proba[:300], np.ones(300))


def test_small_regret_is_no_calibration():
    """The contrary adversary: little regret, and forecasts that are half a unit off."""
    method = OnlinePlatt(np.linspace(-2, 3, 21), np.linspace(-5, 5, 21))
    forecast, y = against(method, contrary)
    assert calibration_error(y, forecast, bins=10) >= 0.5


# Running means


@pytest.mark.parametrize("bins", [1, 5, 40])
@pytest.mark.parametrize("name", STREAMS)
def test_brier_score_is_near_the_refinement_on_every_prefix(name, bins):
    proba, y = STREAMS[name]
    method = RunningMean(bins)
    forecast = run(method, proba, y).forecast
    for n in (1, 3, 10, 100, N):
        excess = brier(y[:n], forecast[:n]) - refinement(y[:n], proba[:n], bins)
        assert -1 <= excess <= method.bound(n) + 1e-12


def test_brier_bound_is_kept_by_an_adversary_who_breaks_calibration():
    forecast, y = against(RunningMean(), contrary)
    assert brier(y, forecast) - refinement(y, np.full(N, 0.6), 1) <= RunningMean().bound(N)
    assert calibration_error(y, forecast, bins=10) >= 0.5


def test_base_rate_is_off_when_the_rate_drifts():
    """Zeros, then ones: forecasts average ½ − ½ log 2 = .153, to a term of order 1/n."""
    proba, y = STREAMS["halves"]
    forecast = run(RunningMean(), proba, y).forecast
    assert forecast.mean() == pytest.approx(0.5 - 0.5 * np.log(2), abs=2 / N)
    assert calibration_error(y, forecast) > 0.3


def test_base_rate_is_calibrated_on_exchangeable_streams_and_in_hindsight():
    proba, y = STREAMS["halves"]
    off = []
    for seed in range(60):
        mixed = np.random.default_rng(seed).permutation(y)
        forecast = run(RunningMean(), proba, mixed).forecast
        off.append((forecast - mixed).mean())
    assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(len(off))
    # The variance of one is ¼/N: twice that of a mean of N labels, less that mean's own.
    assert np.std(off) == pytest.approx(0.5 / np.sqrt(N), rel=0.4)
    assert calibration_error(y, np.full(N, y.mean())) < 1e-12


# Hedged forecasts


def test_hedged_forecasts_are_calibrated_in_expectation_on_every_stream():
    for proba, y in STREAMS.values():
        for inputs in (1, 4):
            errors = []
            for seed in range(4):
                method = Hedged(6, inputs, seed)
                errors.append(calibration_error(y, run(method, proba, y).forecast, bins=6))
            assert np.mean(errors) + 3 * np.std(errors) / np.sqrt(4) <= method.bound(N)


def test_hedged_forecasts_are_calibrated_against_who_knows_the_odds_of_the_coin():
    errors = []
    for seed in range(20):
        forecast, y = against(Hedged(8, seed=seed), contrary_to_the_mean)
        errors.append(calibration_error(y, forecast, bins=8))
    assert np.mean(errors) + 3 * np.std(errors) / np.sqrt(20) <= Hedged(8).bound(N)


def test_who_sees_the_toss_breaks_them():
    forecast, y = against(Hedged(8), contrary)
    assert calibration_error(y, forecast, bins=8) >= 0.5 - 1 / 16


def test_the_coin_makes_the_next_label_powerless():
    """The choice is made so that either label leaves the squared distance where it is."""
    method = Hedged(5, seed=3)
    rng, coins = np.random.default_rng(3), 0
    for _ in range(200):
        values, chances = method.lottery(0.5)
        assert chances.sum() == pytest.approx(1)
        if len(values) == 2:
            low = round(values[0] * 5 - 0.5)
            ones, count, coins = method._ones[0], method._count[0], coins + 1
            over = ones[low] - (low + 1) / 5 * count[low]
            under = (low + 1) / 5 * count[low + 1] - ones[low + 1]
            assert over > 0
            assert under > 0
            assert chances[0] * over == pytest.approx(chances[1] * under)
        method.forecast(0.5)
        method.update(int(rng.random() < 0.5))
    assert coins > 20


# Streams

METHODS = {
    "conformal": AdaptiveConformal(CALIBRATION),
    "platt": OnlinePlatt(np.linspace(-1, 2, 7), np.linspace(-2, 2, 5), share=0.1),
    "running mean": RunningMean(4),
    "hedged": Hedged(4, 2, seed=5),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_is_what_the_steps_give_and_leaves_the_method_alone(name):
    proba, y = STREAMS["calibrated"]
    found = run(METHODS[name], proba[:50], y[:50])
    again = run(METHODS[name], proba[:50], y[:50])
    np.testing.assert_array_equal(found.forecast, again.forecast)
    method = copy.deepcopy(METHODS[name])
    for t in range(50):
        assert method.state == tuple(found.state[t])
        np.testing.assert_array_equal(method.forecast(proba[t]), found.forecast[t])
        method.update(y[t])


@pytest.mark.parametrize("name", METHODS)
def test_a_forecast_never_looks_at_its_label_or_later_ones(name):
    proba, y = STREAMS["random"]
    other = np.where(np.arange(60) < 30, y[:60], 1 - y[:60])
    found = [run(METHODS[name], proba[:60], labels).forecast for labels in (y[:60], other)]
    np.testing.assert_array_equal(found[0][:31], found[1][:31])


@pytest.mark.parametrize("name", METHODS)
def test_without_labels_nothing_is_learned(name):
    proba, y = STREAMS["random"]
    untold = run(METHODS[name], proba[:60], y[:60], np.zeros(60, dtype=bool))
    flipped = run(METHODS[name], proba[:60], 1 - y[:60], np.zeros(60, dtype=bool))
    np.testing.assert_array_equal(untold.forecast, flipped.forecast)
    assert (untold.state == untold.state[:1]).all()


def test_fixed_bins_by_hand():
    y, proba = [1, 0, 1, 1], [0.1, 0.15, 0.5, 1.0]
    assert calibration_error(y, proba, 2) == pytest.approx((abs(0.9 - 0.15) + 0.5) / 4)
    assert refinement(y, proba, 2) == pytest.approx((0.25 + 0.25) / 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AdaptiveConformal(CALIBRATION, step=0), "step is 0"),
        (lambda: AdaptiveConformal(CALIBRATION, step=-0.1), "step is -0.1"),
        (lambda: AdaptiveConformal(CALIBRATION, step=np.nan), "step is nan"),
        (lambda: AdaptiveConformal(CALIBRATION, alpha=0), "alpha is 0"),
        (lambda: AdaptiveConformal(CALIBRATION, alpha=1.0), "alpha is 1.0"),
        (lambda: AdaptiveConformal(CALIBRATION, start=1.1), "start is 1.1"),
        (lambda: AdaptiveConformal([]), r"calibration has shape \(0,\)"),
        (lambda: AdaptiveConformal([0.5, np.nan]), "between 0 and 1"),
        (lambda: AdaptiveConformal(CALIBRATION).bound(0), "n is 0"),
        (lambda: prediction_sets([0.5, 1.2], CALIBRATION, 0.1), "between 0 and 1"),
        (lambda: prediction_sets([0.5], CALIBRATION, np.nan), "has to be a number"),
        (lambda: OnlinePlatt(slopes=[1.0]), "at least two"),
        (lambda: OnlinePlatt(slopes=[0.0, np.nan]), "at least two finite"),
        (lambda: OnlinePlatt(intercepts=[0, 1, 3]), "even steps"),
        (lambda: OnlinePlatt(intercepts=[1, 0]), "ascend"),
        (lambda: OnlinePlatt(share=1), "share is 1"),
        (lambda: OnlinePlatt(share=-0.1), "share is -0.1"),
        (lambda: OnlinePlatt(limit=0), "limit is 0"),
        (lambda: OnlinePlatt().bound(10, stretches=11), "stretches is 11"),
        (lambda: RunningMean(0), "bins is 0"),
        (lambda: RunningMean(2.5), "bins is 2.5"),
        (lambda: Hedged(bins=-1), "bins is -1"),
        (lambda: Hedged(inputs=0), "inputs is 0"),
        (lambda: run(RunningMean(), [], []), r"y has shape \(0,\)"),
        (lambda: run(RunningMean(), [0.1, np.nan], [0, 1]), "proba holds NaN"),
        (lambda: run(RunningMean(), [0.1, 0.2], [0, np.nan]), "only 0 and 1"),
        (lambda: run(RunningMean(), [0.1], [0, 1]), "last axis"),
        (lambda: run(RunningMean(), [[0.1, 0.2]], [0, 1]), "have to match y"),
        (lambda: run(RunningMean(), [0.1, 1.2], [0, 1]), "between 0 and 1"),
        (lambda: run(RunningMean(), [0.1, 0.2], [0, 1], [1, 0]), "has to be bool"),
        (lambda: run(RunningMean(), [0.1, 0.2], [0, 1], [True]), "have to match y"),
        (lambda: RunningMean().forecast(np.nan), "p is nan"),
        (lambda: RunningMean().forecast(1.5), "p is 1.5"),
        (lambda: RunningMean().update(1), "a forecast first"),
        (lambda: RunningMean().update(np.nan), "y is nan"),
        (lambda: calibration_error([0, 1], [0.1, 0.2], bins=0), "bins is 0"),
        (lambda: calibration_error([], []), r"y has shape \(0,\)"),
        (lambda: refinement([0, 1], [[0.1, 0.2]]), "one forecast"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_label_is_taken_once():
    method = RunningMean()
    method.forecast(0.3)
    method.update(1)
    with pytest.raises(ValueError, match="a forecast first"):
        method.update(1)


def test_the_bound_reached_is_the_worst_over_all_steps():
    method = AdaptiveConformal(np.linspace(0, 1, 50), alpha=0.1, step=0.05)
    sets = np.ones((4, 2), dtype=bool)
    sets[0] = False
    y = np.array([1, 0, 1, 0])
    misses = np.array([1, 1 / 2, 1 / 3, 1 / 4])
    expected = max(abs(m - 0.1) / method.bound(n + 1) for n, m in enumerate(misses))
    assert method.bound_reached(sets, y) == pytest.approx(expected)


def test_the_best_pair_in_hindsight_is_the_least_loss_on_the_grid():
    p, y = STREAMS["random"]
    method = OnlinePlatt(np.linspace(-1, 2, 7), np.linspace(-1, 1, 5))
    losses = [
        -len(y) * log_score(y, expit(a * np.clip(logit(p), -5, 5) + b))
        for a in method.slopes
        for b in method.intercepts
    ]
    assert method.hindsight_loss(p, y) == pytest.approx(min(losses))
    mixture = -len(y) * log_score(y, run(method, p, y).forecast)
    assert min(losses) <= mixture <= min(losses) + method.bound(len(y))


def test_excess_calibration_error_is_0_on_average_for_a_perfect_forecaster():
    rng = np.random.default_rng(0)
    p = rng.random(200)
    labels = (rng.random((100, 200)) < p).astype(int)
    excess = [excess_calibration_error(y, p, repeats=200) for y in labels]
    assert abs(np.mean(excess)) < 4 * np.std(excess) / 10
    wrong = excess_calibration_error(1 - (p > 0.5).astype(int), p, repeats=200)
    assert wrong > 0.3
