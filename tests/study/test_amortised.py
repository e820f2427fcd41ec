"""The planted mode is rare and hidden from single steps; pieces are kept; costs are shared."""

import numpy as np
import pytest

from elkutils.inference.sets import smc
from elkutils.study import amortised
from elkutils.study.amortised import BALANCE, LIKELIHOOD, MEASURES

RUNG = {"log Z": 0.2, "harm": 0.04}


def entry():
    ladder = [
        {"particles": 10, "seconds": 0.001} | RUNG,
        {"particles": 100, "seconds": 0.01, "log Z": 0.05, "harm": 0.01},
    ]
    row = {"train seconds": 50.0, "seconds": 0.002, "log Z": 0.1, "harm": 0.02}
    own = [row | {"train seconds": 4.0, "log Z": value} for value in (0.3, 0.4)]
    return {"learned": {BALANCE: row, LIKELIHOOD: row}, "smc": ladder, "alone": own}


def test_the_planted_mode_is_rare_and_a_step_towards_it_is_uphill():
    target, evidence = amortised.planted_mode()
    log_p = target.posterior(evidence)
    harm = np.exp(log_p) @ target.covered(target.all_sets())
    assert 0.005 < harm[-1] < 0.02
    first, other = np.zeros(12), np.zeros(12)
    first[0], other[1:5] = 1, 1
    weight = target.log_weight(np.stack([first, other]), evidence)
    assert -6 < weight[1] - weight[0] < -3
    for j in range(1, 5):  # neither adding one of the four nor leaving the first out helps
        step = first.copy()
        step[j] = 1
        assert target.log_weight(step, evidence) < weight[0] - 10
    assert target.log_weight(np.zeros(12), evidence) < weight[0] - 10


def test_smc_finds_the_planted_mode():
    target, evidence = amortised.planted_mode()
    harm = np.exp(target.posterior(evidence)) @ target.covered(target.all_sets())
    found = smc(target, np.tile(evidence, (20, 1)), 1000, seed=0).harm(target)[:, -1]
    assert abs(found.mean() / harm[-1] - 1) < 0.15


def test_worlds_are_distinct_contexts_of_the_vault():
    world = amortised.vault_world(0)
    assert world.contexts.shape == (48, 12)
    assert len(np.unique(world.contexts, axis=0)) == 48
    assert not np.array_equal(world.contexts, amortised.vault_world(1).contexts)


def test_training_is_shared_among_label_sets():
    found = entry()
    assert amortised.within(found, 0.02, average=True) == found["smc"][1] | {
        "runs": 2.0,
        "log Z": 0.05 / np.sqrt(2),
        "harm": 0.01 / np.sqrt(2),
    }
    assert amortised.within(found, 0.02) == found["smc"][1] | {"runs": 1.0}
    assert amortised.within(found, 0.0) == found["smc"][0] | {"runs": 1.0}
    for measure in MEASURES:
        dear = amortised.log_ratio(found, BALANCE, 100, measure, average=True)
        cheap = amortised.log_ratio(found, BALANCE, 10**9, measure, average=True)
        assert dear == pytest.approx(np.log(2 * np.sqrt(50.2)))
        assert cheap == pytest.approx(np.log(np.sqrt(2) / 2), abs=1e-3)
        options = {"drawing": 1.0, "average": True}
        longer = amortised.log_ratio(found, BALANCE, 100, measure, **options)
        row, share = found["learned"][BALANCE], found["learned"][BALANCE]["train seconds"] / 100
        error = row[measure] / np.sqrt(max(1, share / row["seconds"]))
        budget = share + max(share, row["seconds"])
        rival = amortised.within(found, budget, average=True)
        assert longer == pytest.approx(np.log(error / rival[measure]))
        once = amortised.log_ratio(found, BALANCE, 100, measure)
        assert once == pytest.approx(np.log(2))
        both = amortised.log_ratios(iter([found, found]), BALANCE, 100, measure)
        assert both.tolist() == [once, once]
    alone = amortised.alone(found)
    assert alone["log Z"] == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert alone["train seconds"] == 4


def test_a_limit_without_hits_is_that_of_a_power():
    assert amortised.upper_limit(0, 1000, 0.01) == pytest.approx(1 - 0.01 ** (1 / 1000))
    assert amortised.upper_limit(5, 5) == 1


def test_pieces_are_kept_by_their_key(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    path = tmp_path / "a" / "piece.json"
    for key in ({"n": (1, 2)}, {"n": [1, 2]}, {"n": [3]}):
        found = amortised.kept(path, key, compute)
    assert len(calls) == 2
    assert found == {"value": 2}


def test_the_recorded_run_is_what_the_script_makes():
    record = amortised.recorded()
    size = amortised.Size(**record["size"] | {"ladder": tuple(record["size"]["ladder"])})
    assert size == amortised.SIZES["book"]
    assert [entry["seed"] for entry in record["entries"]] == record["seeds"] == [*range(5, 13)]
    assert [miss["recipe"] for miss in record["misses"]] == list(amortised.RECIPES)
    for miss in record["misses"]:
        assert len(miss["ess"]) == len(miss["bound"]) == size.networks
    for each in record["entries"]:
        assert [row["particles"] for row in each["smc"]] == list(size.ladder)
        assert len(each["alone"]) == size.alone
