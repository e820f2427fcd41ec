"""Coverage by enumeration against simulation and by hand."""

import numpy as np
import pytest
from scipy.special import expit

from elkutils.evaluation import clopper_pearson, confidence_sequence, hoeffding_kl
from elkutils.study import bags

RNG = np.random.default_rng(0)


def test_statements_are_cut_to_the_most_and_keep_their_labels(monkeypatch):
    sizes = {"train": 50, "easy": 30, "hard": 40, "easy_negated": 30, "hard_negated": 40}
    rows = {
        name: (np.arange(n)[:, None] + 100.0 * i, np.arange(n) % 2, np.arange(n))
        for i, (name, n) in enumerate(sizes.items())
    }
    monkeypatch.setattr(bags, "by_kind", lambda model, name, seed, layer: rows)
    found = bags.statements(None, 3, 14, most=12)
    assert list(found) == ["train", "easy", "hard", "negated"]
    assert len(found["train"][1]) == 50
    for i, kind in ((1, "easy"), (2, "hard"), (3, "negated")):
        X, y, groups = found[kind]
        assert len(y) == len(np.unique(X)) == 12
        assert np.array_equal(y, (X[:, 0] - 100 * i) % 2)
        assert np.array_equal(groups, X[:, 0] - 100 * i)
    assert not np.array_equal(found["easy"][0], np.sort(found["easy"][0], axis=0))
    again = bags.statements(None, 4, 14, most=12)
    assert not np.array_equal(found["hard"][0], again["hard"][0])


@pytest.mark.parametrize("bound", [hoeffding_kl, clopper_pearson])
def test_enumerated_coverage_is_that_of_many_ensembles(bound):
    means, size = (0.02, 0.3), 30
    exact = bags.coverage_of_verdicts(bound, size, means, 0.2)
    for m, probability in zip(means, exact, strict=True):
        drawn = (RNG.random((size, 4000)) < m).astype(float)
        held = np.mean(bound(drawn, 0.2, "upper").upper >= m)
        assert held == pytest.approx(probability, abs=0.03)
        assert probability >= 0.8


def test_a_count_stays_in_a_region_as_often_as_simulated_paths_do():
    n, ones = np.ogrid[:21, :21]
    inside = ones <= 2 + n / 3
    paths = (RNG.random((20_000, 20)) < 0.3).cumsum(axis=1)
    stayed = inside[np.arange(1, 21), paths].all(axis=1).mean()
    assert bags.probability_of_staying(0.3, inside) == pytest.approx(stayed, abs=0.015)
    assert bags.probability_of_staying(0.3, inside | True) == pytest.approx(1)
    # Two members, and not more than one 1 after the second: 1 − 0.3².
    assert bags.probability_of_staying(0.3, np.arange(3)[None] < [[2]] * 3) == pytest.approx(
        0.91
    )


def test_watching_a_bound_counts_ensembles_that_hold_the_mean():
    bag = np.stack([np.full(50, 0.3), np.arange(50) % 2], axis=1).astype(float)
    drawn = bags.ensembles(bag, 20, 300, 1)
    assert drawn.shape == (20, 300, 2)
    held, width = bags.watch(clopper_pearson, np.round(bag), 20, 300, 0.2, 1)
    exact = bags.coverage_of_verdicts(clopper_pearson, 20, (0.0, 0.5), 0.2, "two")
    np.testing.assert_allclose(held, exact, atol=0.06)
    assert 0 < width[0] < width[1] < 1


def test_only_the_sequence_holds_a_share_at_every_number():
    once, always = bags.held_at_every_number(0.3, 60, 0.2)
    drawn = (RNG.random((60, 400)) < 0.3).astype(float)
    found = confidence_sequence(drawn, 0.2)
    kept = (found.lower[-1] <= 0.3) & (found.upper[-1] >= 0.3)
    assert always == pytest.approx(kept.mean(), abs=0.05)
    assert once < 0.8 < always


def test_the_nearest_input_satisfies_its_equations_with_the_least_change():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal(9), rng.standard_normal((3, 9)), rng.standard_normal(3)
    mean = w.mean(axis=0) + rng.standard_normal(9)
    found = bags.nearest_with_log_odds(-5.0, x, w, b, mean)
    assert w @ found + b == pytest.approx(-5)
    assert mean @ found == pytest.approx(mean @ x)
    null = np.linalg.svd(np.vstack([w, mean]))[2][4:]
    assert null @ (found - x) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="weights has 3 members"):
        bags.nearest_with_log_odds(-5.0, x[:3], w[:, :3], b, mean[:3])


def test_spread_in_p_grows_where_saturated_members_are_moved():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 3))
    assert bags.spread_ratio(2 * draws + 9, draws) == pytest.approx(2)
    saturated = bags.spread_ratio(2 * draws + 9, draws, expit)
    moved = bags.spread_ratio(2 * draws + 9, draws, expit, moved=True)
    assert saturated < 0.1 < 1 < moved < 2
