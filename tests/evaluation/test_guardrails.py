"""Ville's bound by simulation and by the gambler's ruin; guardrails against brute force."""

import numpy as np
import pytest
from scipy.stats import beta

from elkutils.evaluation.guardrails import (
    Cutoff,
    Mass,
    MassInRank,
    Mean,
    Members,
    Theories,
    certified_alpha,
    watch,
)
from elkutils.tasks.rules import STREAMS, RuleWorld

RNG = np.random.default_rng(0)


def rule_theories(d=4, n=9, noise=0.2):
    world = RuleWorld(RNG.integers(2, size=(n, d)), noise=noise)
    harm = world.harm(world.rules())
    prior = np.exp(world.log_prior(world.rules()))
    return Theories(world.law(harm), harm, prior)


def two(ratio=1.0, tells=True, noise=0.45):
    """The truth says safe, its rival of prior odds `ratio` harm; in context 1 they agree."""
    harm = np.array([[0.0, 0.0], [1.0 * tells, 0.0]])
    law = np.where(harm > 0, 1 - noise, noise)
    return Theories(law, np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1, ratio]) / (1 + ratio))


def test_m_alpha_is_its_definition():
    """Against a loop over theories; ties share a rank, so no order of the list matters."""
    for _ in range(200):
        weights = RNG.dirichlet(np.full(12, 0.3)).round(2) + 1e-3
        weights /= weights.sum()
        alpha = RNG.uniform(0.001, 0.6)
        expected = [w >= alpha * weights[weights >= w].sum() for w in weights]
        expected = np.array(expected) | (weights == weights.max())
        found = MassInRank(alpha).members(weights)
        np.testing.assert_array_equal(found, expected)
        order = RNG.permutation(12)
        np.testing.assert_array_equal(MassInRank(alpha).members(weights[order]), found[order])
        assert (Cutoff(alpha).members(weights) <= found).all()


def test_the_cutoff_can_be_empty_and_m_alpha_cannot():
    weights, harm = np.full(10, 0.1), np.ones((10, 1))
    assert Cutoff(0.5).bound(weights, harm).tolist() == [0.0]
    assert MassInRank(0.5).bound(weights, harm).tolist() == [1.0]


def test_bounds_of_graded_harm():
    weights = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    harm = np.array([[0.0], [0.4], [0.9]])
    assert Cutoff(0.2).bound(weights, harm).ravel().tolist() == [0.4, 0.9]
    assert Mass(0.35).bound(weights, harm).ravel().tolist() == [0.4, 0.9]
    np.testing.assert_allclose(Mean().bound(weights, harm).ravel(), [0.21, 0.71])


def test_certified_alpha_solves_villes_inequality():
    for delta in (0.01, 0.2, 0.7):
        for weight in (1e-3, 0.2, 0.9):
            odds = certified_alpha(delta, weight, "odds")
            assert odds / (1 - odds) * (1 - weight) / weight == pytest.approx(delta)
            stated = certified_alpha(delta, weight)
            assert stated == pytest.approx(delta * weight)
            assert stated <= odds * (1 + 1e-12)


def test_the_odds_are_a_supermartingale_exactly():
    """The mean of O after one label, by enumeration, is at most O: equal where laws differ."""
    theories = rule_theories()
    for truth in range(16):
        for row in range(9):
            after = 0.0
            for label in (0, 1):
                w = theories.weights([row], [label])[truth]
                p = theories.law[truth, row]
                after += (p if label else 1 - p) * (1 - w) / w
            before = (1 - theories.prior[truth]) / theories.prior[truth]
            assert after == pytest.approx(before)


def test_exits_are_those_of_the_gamblers_ruin():
    """Two theories: P(ever m more labels for the rival) = (η/(1 − η))^m."""
    runs, noise = 4000, 0.4
    found = watch(
        two(noise=noise), np.zeros(runs, int), lambda seen: np.zeros(runs, int), 300, {}, RNG
    )
    for m in (1, 3, 6):
        odds = (noise / (1 - noise)) ** -m
        exact = (noise / (1 - noise)) ** m
        share = found.left(1 / (1 + odds) + 1e-9).mean()
        assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / runs)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_bound_holds_against_every_stream_and_five_times_alpha_does_not(stream):
    theories, delta = two(noise=0.4), 0.2
    alpha = certified_alpha(delta, 0.5, "odds")
    guards = {"certified": MassInRank(alpha), "cutoff": Cutoff(alpha)}
    found = watch(theories, np.zeros(1500, int), STREAMS[stream], 60, guards, RNG)
    wrong = found.left(alpha).sum()
    assert beta.ppf(0.001, wrong, 1501 - wrong) < delta
    assert all(broken.sum() <= wrong for broken in found.broken.values())
    five = found.left(5 * delta * 0.5 - 0.01).sum()  # 5 δ w₀, less rounding
    if stream != "random":
        assert beta.ppf(0.001, five, 1501 - five) > delta


def test_a_truth_in_every_run_of_many_rules_stays_in():
    theories = rule_theories()
    truths = np.repeat(np.arange(16), 40)
    for delta in (0.1, 0.5):
        found = watch(theories, truths, STREAMS["against the truth"], 60, {}, RNG)
        shares = [
            np.mean(found.least[truths == t] < certified_alpha(delta, theories.prior[t]))
            for t in range(16)
        ]
        assert np.mean(shares) < delta


@pytest.mark.parametrize("form", ["stated", "odds", "no data can tell"])
def test_vetoes_end_where_theory_says(form):
    """Labels that cannot tell: vetoes end at r = δ, √δ and 1."""
    delta = 0.09
    end = {"stated": delta, "odds": np.sqrt(delta), "no data can tell": 1.0}[form]
    for r in (0.98 * end, 1.02 * end):
        theories = two(r, tells=False)
        alpha = 1 - 1e-12
        if form != "no data can tell":
            alpha = certified_alpha(delta, theories.prior[0], form)
        weights = theories.weights([1] * 7, [0, 1, 0, 0, 1, 0, 0])
        np.testing.assert_allclose(weights, theories.prior)
        vetoed = MassInRank(alpha).bound(weights, theories.harm)[0] == 1
        assert vetoed == (r > end)


def test_clones_move_the_cutoff_and_not_the_mass_rule():
    harm = np.array([[1.0]] * 40 + [[0.0]])
    theories = Theories(np.where(harm > 0, 0.9, 0.1), harm, np.array([0.5 / 40] * 40 + [0.5]))
    alpha = 0.05
    assert Cutoff(alpha).bound(theories.prior, harm).tolist() == [0.0]
    assert Mass(alpha).bound(theories.prior, harm).tolist() == [1.0]
    merged, of = theories.merged()
    assert sorted(merged.prior) == pytest.approx([0.5, 0.5])
    assert Cutoff(alpha).bound(merged.prior, merged.harm).tolist() == [1.0]
    np.testing.assert_array_equal(merged.harm[of], harm)


def test_members_are_calm_wrongly_at_most_as_often_as_delta():
    weights = np.tile([0.95, 0.05], (4000, 1))
    harm = np.array([[0.0], [1.0]])
    for count in (30, 100, 400):
        calm = (Members(count, 0.05, 0.1).bound(weights, harm) == 0).mean()
        assert calm < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 4000)
    few = int(np.log(0.1) / np.log(1 - 0.05))
    nothing = np.array([1.0, 0.0])
    assert Members(few, 0.05, 0.1).bound(nothing, harm).tolist() == [1.0]
    assert Members(few + 1, 0.05, 0.1).bound(nothing, harm).tolist() == [0.0]


def test_a_truth_outside_has_no_guarantee():
    """Prior 0: its weight stays 0, no α is certified, and the bound breaks at once."""
    theories = two()
    harm = np.vstack([theories.harm, [[0.0, 1.0]]])
    law = np.where(harm > 0, 0.6, 0.4)
    outside = Theories(law, harm, np.array([0.5, 0.5, 0.0]))
    guards = {"certified": MassInRank(certified_alpha(0.05, 0.5))}
    found = watch(outside, np.full(50, 2), STREAMS["random"], 20, guards, RNG)
    assert found.broken["certified"].all()
    assert (found.path == 0).all()
    with pytest.raises(ValueError, match="outside the theories has no guarantee"):
        certified_alpha(0.05, 0.0)


def test_contradictory_labels_cancel():
    theories = rule_theories()
    np.testing.assert_allclose(theories.weights([2, 2], [0, 1]), theories.prior)
    np.testing.assert_allclose(theories.weights([], []), theories.prior)


LAW, HARM, PRIOR = np.full((2, 3), 0.4), np.zeros((2, 3)), np.full(2, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: certified_alpha(0.0, 0.5), "delta is 0.0"),
        (lambda: certified_alpha(5, 0.5), "delta is 5"),
        (lambda: certified_alpha(0.1, 1.2), "weight is 1.2"),
        (lambda: certified_alpha(0.1, 0.5, "best"), "form is 'best'"),
        (lambda: Cutoff(0.0), "alpha is 0.0"),
        (lambda: MassInRank(1.5), "alpha is 1.5"),
        (lambda: Mass(np.nan), "alpha is nan"),
        (lambda: Members(0, 0.1, 0.1), "count is 0"),
        (lambda: Theories(LAW, HARM[:1], PRIOR), "they have to be"),
        (lambda: Theories(LAW, HARM, PRIOR * 1.1), "prior has sum 1.1"),
        (lambda: Theories(LAW, HARM, np.array([1.5, -0.5])), "least entry -0.5"),
        (lambda: Theories(LAW, HARM + 2, PRIOR), "harm ranges"),
        (lambda: Theories(LAW + 0.6, HARM, PRIOR), "law ranges"),
        (lambda: Theories(LAW, HARM * np.nan, PRIOR), "harm holds NaN"),
        (lambda: Theories(LAW, HARM, PRIOR).weights([0], [3]), "labels"),
        (lambda: watch(Theories(LAW, HARM, PRIOR), 2, STREAMS["random"], 1, {}, RNG), "truth"),
        (lambda: watch(Theories(LAW, HARM, PRIOR), 0, STREAMS["random"], 0, {}, RNG), "steps"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
