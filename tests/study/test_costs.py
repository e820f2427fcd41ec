"""Ladders of cost: climbed on made-up rows, and judged where they arrive."""

import numpy as np
import pytest

from elkutils.ledger import UNDECIDED, Criterion
from elkutils.study import costs
from elkutils.study.costs import ENSEMBLE, LIMIT, NEVER, POSTERIOR, SIZES


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    w, found = rng.standard_normal(5), {}
    for kind, n in {"train": 40, "easy": 30, "hard": 30}.items():
        X = rng.standard_normal((n, 5))
        found[kind] = X, (X @ w + rng.logistic(size=n) > 0).astype(int), np.arange(n) // 2
    return found


@pytest.mark.parametrize("head", ["linear", "wide"])
def test_every_ladder_climbs_in_cost_and_the_posterior_beats_a_coin(sets, head):
    ladders = getattr(costs, head)(sets, 3, SIZES["quick"])
    assert {POSTERIOR, ENSEMBLE} <= set(ladders)
    for name, rungs in ladders.items():
        assert rungs.shape[1] == 3, name
        assert (rungs[:, 0] > 0).all(), name
        assert np.isfinite(rungs).all(), name
    drawn = ladders[POSTERIOR if head == "linear" else LIMIT]
    assert drawn[-1, 1] > np.log(0.5)
    chain = ladders[POSTERIOR]
    assert head == "linear" or (np.diff(chain[:, 0]) > 0).all()


def test_a_bag_is_tuned_on_groups_that_are_left_out(sets):
    rungs = costs.linear(sets, 3, SIZES["quick"])[ENSEMBLE]
    again = costs.linear(sets, 3, SIZES["quick"])[ENSEMBLE]
    np.testing.assert_array_equal(rungs[:, 1:], again[:, 1:])


def entries(ensemble, posterior=((1.0, -0.3, -0.6), (2.0, -0.3, -0.6))):
    """Seeds whose times differ by a tenth of a nat."""
    made = []
    for factor in np.exp([-0.1, 0.0, 0.1]):
        rungs = {POSTERIOR: np.array(posterior), ENSEMBLE: np.array(ensemble)}
        rungs[ENSEMBLE][:, 0] *= factor
        made.append({"linear": rungs, "wide": rungs | {LIMIT: np.array(posterior)}})
    return made


def test_arrival_is_where_the_score_stays():
    leaves = entries([(1.0, -0.3, -0.9), (2.0, -0.35, -0.6), (4.0, -0.31, -0.6)])
    assert costs.arrival(leaves, "linear", ENSEMBLE, "easy") == 2
    assert costs.arrival(leaves, "linear", ENSEMBLE, "hard") == 1
    assert costs.arrival(leaves, "linear", POSTERIOR, "easy") == 0
    assert costs.arrival(leaves, "linear", ENSEMBLE, "easy", margin=0.005) is None


def test_ratio_of_seconds():
    found = costs.log_ratio(entries([(4.0, -0.3, -0.9)]), "linear", POSTERIOR, "easy")
    assert found.estimate == pytest.approx(np.log(4))
    assert found.lower < found.estimate < found.upper
    never = costs.log_ratio(entries([(4.0, -0.3, -0.9)]), "wide", POSTERIOR, "hard")
    assert (never.estimate, never.level) == (NEVER, 1.0)
    slow = entries([(4.0, -0.3, -0.6)], posterior=[(1.0, -0.5, -0.6)])
    for entry in slow:
        entry["wide"][LIMIT] = np.array([(1.0, -0.3, -0.6)])
    assert costs.log_ratio(slow, "wide", POSTERIOR, "easy").estimate == -NEVER


def test_one_seed_leaves_a_ratio_open():
    alone = entries([(4.0, -0.3, -0.9)])[:1]
    rule = Criterion("seconds", "below", 0, "as dear")
    for kind in costs.KINDS:
        found = costs.log_ratio(alone, "linear", POSTERIOR, kind)
        assert rule.judge(found) == UNDECIDED


def test_the_recorded_run_is_the_book_s():
    found = costs.recorded()
    assert found["size"]["width"] == 512
    assert [entry["seed"] for entry in found["entries"]] == [5, 6, 7, 8, 9]
    for entry in found["entries"]:
        assert entry["linear"][POSTERIOR].shape == (3, 1 + len(costs.KINDS))
