"""Numbers that mislead: infinite scores, levels in per cent, transposed draws, roundings."""

import inspect
import re
import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from elkutils import evaluation, plots
from elkutils.evaluation import (
    Interval,
    accuracy,
    attainable_margin,
    auroc,
    behaviour,
    bootstrap,
    brier,
    centred_bootstrap,
    decision_cost,
    difference,
    disagreement,
    ece,
    ece_bias,
    equivalence_power,
    fit_platt,
    fit_temperature,
    hoeffding,
    hoeffding_kl,
    hypothesis_mass,
    hypothesis_posterior,
    hypothesis_rule,
    least_mean,
    log_score,
    mean_rule,
    mutual_information,
    p_above,
    reliability,
    risk_coverage,
    total_variation,
    value_of_knowing,
    veto,
)
from elkutils.evaluation.online import Hedged, prediction_sets, run

Y = np.array([0, 1, 1, 0])
ROUNDED = [
    np.array([0.2, 0.7, 1.0000000000000002, 0.1]),
    np.array([0.2, 0.7, np.nextafter(np.float32(1), np.float32(2)), 0.1], np.float32),
    np.array([0.2, 0.7, 1.0, -1e-18]),
    np.array([0.2, 0.7, 1.001, 0.1], np.float16),
    jnp.array([0.2, 0.7, 1.0078125, 0.1], jnp.bfloat16),
]


@pytest.mark.parametrize("p", ROUNDED, ids=["64", "32", "below", "16", "bf16"])
def test_a_rounding_outside_the_unit_interval_counts_as_its_end(p):
    inside = np.clip(np.asarray(p, np.float64), 0, 1)
    for score in (log_score, brier, ece, accuracy, auroc):
        assert score(Y, p) == pytest.approx(score(Y, inside), abs=1e-12)
    assert hoeffding(p).upper == hoeffding(inside).upper
    assert mean_rule(p, 1 + 1e-16) == mean_rule(inside, 1)
    assert risk_coverage(Y, p).area == risk_coverage(Y, inside).area
    assert disagreement(p[:, None]) == disagreement(inside[:, None])
    assert prediction_sets(p, p, 0.2).shape == (4, 2)
    assert decision_cost(p, np.ones(4, bool), 1, 9) > 0
    assert hypothesis_posterior(p[None], Y, 0.1).sum() == pytest.approx(1)
    assert run(Hedged(), p, Y).forecast.shape == (4,)


@pytest.mark.parametrize("outside", [1.01, -0.01, 95.0, np.nan])
def test_more_than_a_rounding_is_refused_with_its_row(outside):
    p = np.array([0.2, 0.7, outside, 0.1])
    for call in (
        lambda: log_score(Y, p),
        lambda: hoeffding(p),
        lambda: ece_bias(p),
        lambda: disagreement(p[:, None]),
        lambda: prediction_sets(p, [0.5], 0.2),
        lambda: prediction_sets([0.5], p, 0.2),
        lambda: decision_cost(p, np.ones(4, bool), 1, 9),
        lambda: hypothesis_posterior(p[None], Y, 0.1),
    ):
        with pytest.raises(ValueError, match=r"(proba|calibration|answers|y)\[(0, )?2(, 0)?\]"):
            call()


def test_tensors_and_half_precision_are_read():
    torch = pytest.importorskip("torch")
    p = np.array([0.25, 0.75, 0.5, 0.125])
    given = torch.tensor(p, dtype=torch.bfloat16, requires_grad=True)
    labels = [torch.tensor(Y), pd.array(Y, dtype="Int64"), pd.Series(Y).astype("category")]
    for y in [*labels, pd.array(Y == 1, dtype="boolean")]:
        assert log_score(y, given) == log_score(Y, p)
        assert auroc(y, jnp.asarray(p, jnp.bfloat16)) == auroc(Y, p)
    assert hoeffding(given).upper == hoeffding(p).upper
    assert fit_platt(Y, given).slope == fit_platt(Y, p).slope
    assert np.allclose(fit_platt(Y, p)(given), fit_platt(Y, p)(p))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["lie", "truth", "lie", "truth"], "y == 'truth'"),
        ([-1, 1, 1, -1], r"y\[0\] is -1"),
        ([0, 1, None, 0], r"y\[2\] is missing"),
        (pd.array([0, 1, pd.NA, 0], dtype="Int64"), r"y\[2\] is (missing|nan)"),
        ([0, 1, np.nan, 0], r"y\[2\] is nan"),
    ],
)
def test_labels_that_are_not_numbers_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        auroc(y, [0.1, 0.2, 0.3, 0.4])


def sure_and_wrong(n=60):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    p = np.where(rng.random(n) < 0.8, y, 1 - y) * 0.8 + 0.1
    p[3] = 1 - y[3]
    return y, p


def test_a_bootstrap_of_an_infinite_score_has_an_infinite_end_and_says_so():
    y, p = sure_and_wrong()
    groups, clipped = np.arange(60), np.clip(p, 1e-3, 1 - 1e-3)
    with pytest.warns(RuntimeWarning, match=r"infinite on \d+ of 2000.*np.clip"):
        found = bootstrap(log_score, y, p, groups=groups)
    assert (found.estimate, found.lower) == (-np.inf, -np.inf)
    assert -1 < found.upper < 0
    with pytest.warns(RuntimeWarning, match="statistic is inf on the data"):
        found = bootstrap(difference(log_score), y, clipped, p, groups=groups)
    assert found.upper == np.inf
    assert np.isfinite(found.lower)
    with pytest.raises(ValueError, match=r"NaN on the data.*difference of two infinite scores"):
        bootstrap(difference(log_score), y, p, p, groups=groups)
    with pytest.raises(ValueError, match="cannot be centred"), pytest.warns(RuntimeWarning):
        centred_bootstrap(log_score, y, p, groups=groups)
    with pytest.raises(ValueError, match="have to be finite"):
        p_above(Interval(-np.inf, -np.inf, 0.0), 0.0)
    with pytest.raises(ValueError, match=r"values\[1\] is -inf"):
        Interval.of_mean([0.0, -np.inf, 1.0])


@pytest.mark.parametrize("level", [95, 0, 1, -0.5, np.nan, "95%", None])
def test_levels_lie_between_0_and_1(level):
    p = np.linspace(0.1, 0.9, 20)
    y = np.arange(20) % 2
    for call in (
        lambda: reliability(y, p, level=level),
        lambda: bootstrap(accuracy, y, p, groups=np.arange(20), level=level),
        lambda: Interval.of_mean([1.0, 2.0], level),
        lambda: Interval.of_share(1, 2, level),
        lambda: plots.predictive(p[None], level=level),
        lambda: equivalence_power(1.0, 1.0, level),
        lambda: attainable_margin(1.0, level),
    ):
        with pytest.raises(ValueError, match="has to lie between 0 and 1"):
            call()
    if level == 95:
        with pytest.raises(ValueError, match=r"95% is 0\.95"):
            Interval(0.5, 0.4, 0.6, level)
        with pytest.raises(ValueError, match=r"0\.95 for 95%"):
            hypothesis_rule(p, 0.5, level)
        with pytest.raises(ValueError, match=r"0\.95 for 95%"):
            least_mean(0.5, level)


def test_few_groups_are_named():
    y, p = np.arange(40) % 2, np.linspace(0, 1, 40)
    with pytest.warns(UserWarning, match="groups holds 4 groups"):
        bootstrap(accuracy, y, p, groups=np.arange(40) // 10, resamples=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bootstrap(accuracy, y, p, groups=np.arange(40) // 4, resamples=50)


@pytest.mark.parametrize(
    "groups",
    [
        np.array([np.nan] * 30 + [1, 2] * 5),
        ["a", None, "b", float("nan")] * 10,
        pd.Series(["a", None] * 20),
        pd.array([1, 2, pd.NA, 4] * 10, dtype="Int16"),
        np.array(["a", "nan"] * 20),
        ["a", ""] * 20,
        np.array(["2020-01-01", "NaT"] * 20, dtype="datetime64[D]"),
    ],
)
def test_rows_without_a_group_are_refused(groups):
    y, p = np.arange(40) % 2, np.linspace(0, 1, 40)
    for call in (
        lambda: bootstrap(accuracy, y, p, groups=groups),
        lambda: bootstrap(accuracy, y, p, groups=np.arange(40), seeds=groups),
        lambda: reliability(y, p, groups=groups),
    ):
        with pytest.raises(ValueError, match=r"(groups|seeds)\[\d\] is .* a missing id"):
            call()


def test_ids_of_two_types_are_compared_as_text():
    y, p = np.arange(40) % 2, np.linspace(0, 1, 40)
    mixed = np.array([1, "1", 2, "b"] * 10, dtype=object)
    with pytest.warns(UserWarning, match="3 groups"):
        bootstrap(accuracy, y, p, groups=mixed, resamples=50)


def test_draws_the_wrong_way_round_are_named():
    draws = np.random.default_rng(0).random((30, 4))
    with pytest.raises(ValueError, match="transposed"):
        log_score(Y, draws.T)
    both = np.column_stack([1 - draws[:, 0], draws[:, 0]])
    with pytest.raises(ValueError, match=r"second column, \[:, 1\]"):
        log_score(np.arange(30) % 2, both)
    for call in (hoeffding_kl, disagreement, mutual_information, ece_bias):
        with pytest.warns(UserWarning, match="as predict_proba"):
            call(both)
    with pytest.raises(ValueError, match="transposed"):
        total_variation(draws, draws.T)
    with pytest.raises(ValueError, match="4 inputs, proba for 30"):
        behaviour(draws.T, {"truth": Y})
    with pytest.raises(ValueError, match="draws along the first axis"):
        plots.predictive(draws.T, Y)
    each = np.full(4, 0.5)  # one for each input of draws (30, 4)
    for call in (mean_rule, veto, hypothesis_mass, value_of_knowing):
        assert np.shape(call(draws, each)) == (4,)
        with pytest.raises(ValueError, match=r"has shape \(4,\).*proba is transposed"):
            call(draws.T, each)
    with pytest.raises(ValueError, match=r"mass has shape \(4,\).*proba is transposed"):
        hypothesis_rule(draws.T, each, 0.5)
    with pytest.raises(ValueError, match=r"effective is .*is proba transposed\?"):
        hoeffding(draws.T, effective=np.full(4, 2.0))
    with pytest.raises(ValueError, match=r"act .*\(\.\.\., 4\), rows last"):
        decision_cost(Y, draws.T > 0.5, 1, 1)
    with pytest.raises(ValueError, match=r"of draws \(draws, n\) give the mean"):
        bootstrap(accuracy, Y, draws, groups=np.arange(4))


def test_a_level_for_each_draw_is_refused():
    """It would be compared draw by draw, and the answer would mean nothing."""
    draws = np.random.default_rng(0).random((30, 4))
    for call in (veto, hypothesis_mass, value_of_knowing):
        with pytest.raises(ValueError, match=r"has shape \(30, 1\).*one for each input"):
            call(draws, np.full((30, 1), 0.5))
        with pytest.raises(ValueError, match=r"has shape \(30,\)"):
            call(draws[:, 0], np.full(30, 0.5))


def test_whatever_takes_draws_names_their_axis():
    """Where shapes cannot tell that draws are transposed, docstrings say what comes first."""
    silent, seen = [], 0
    for name in evaluation.__all__:
        about = inspect.getdoc(getattr(evaluation, name)) or ""
        takes = re.search(r"(proba|answers) : .*\(draws, n\) array\n(.*)", about)
        seen += bool(takes)
        if takes and "first axis" not in takes[2]:
            silent.append(name)
    assert seen >= 10
    assert not silent


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 20.0])
def test_recalibration_of_log_odds_of_any_size(size):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=2000)
    y = rng.random(2000) < expit(truth)
    p = expit(truth / np.abs(truth).max() * size)
    temperature, platt = fit_temperature(y, p), fit_platt(y, p)
    seen = logit(p)
    expected = np.abs(truth).max() / size
    assert temperature.slope == pytest.approx(expected, rel=0.2 if size > 1e-10 else 0.3)
    assert platt.slope == pytest.approx(expected, rel=0.2 if size > 1e-10 else 0.3)
    assert np.corrcoef(logit(platt(p)), seen)[0, 1] > 0.99


def test_forecasts_whose_log_odds_are_lost_are_named():
    y = np.arange(40) % 2
    p = expit(np.where(y, 40, -200).astype(np.float32) * 3)
    for fit in (fit_temperature, fit_platt):
        with pytest.warns(RuntimeWarning, match=r"in 40 of 40 rows, proba\[0\] first"):
            fit(y, p)
