"""What lesions are judged by, on made-up entries; the recorded run."""

import numpy as np
import pytest

from elkutils import ledger
from elkutils.evaluation import auroc
from elkutils.study import lesions
from elkutils.study.lesions import CHAIN, ENSEMBLE, MODEL, NETWORKS, QUARTER, Size

COUNTS = (2, QUARTER)


def made_entry(seed):
    """30 cities, 60 statements; lesion 3 of the chain costs 5 nats and no order survives."""
    rng = np.random.default_rng(seed)
    y, groups = np.tile([0, 1], 30), np.repeat(np.arange(30), 2).astype(str)
    loss = {name: np.tile(1 + rng.random(60), (6, 1)) for name in NETWORKS}
    loss[ENSEMBLE][1:] += 0.1 * rng.random((5, 60))
    loss[CHAIN][4] += 5 + rng.random(60)
    loss[MODEL][4] += 1.5
    sure = {MODEL: 1.0, ENSEMBLE: 1.2, CHAIN: 0.0}
    score = {
        name: np.array([sure[name] * (2 * y - 1) + rng.standard_normal(60) for _ in range(5)])
        for name in NETWORKS
    }
    about = {"seed": seed, "y": y, "groups": groups, "rows": np.arange(60)}
    return about | {"loss": loss, "score": score}


ENTRIES = [made_entry(seed) for seed in range(3)]


def test_rises_are_those_of_the_entries():
    np.testing.assert_allclose(lesions.rises(ENTRIES, MODEL), [0, 0, 0, 1.5, 0], atol=1e-12)
    worst = lesions.worst_rise(lesions.loss_columns(ENTRIES, MODEL), resamples=100)
    assert (worst.estimate, worst.lower) == pytest.approx((1.5, 1.5))


def test_scores_are_those_of_the_count():
    y, scores, groups, seeds = lesions.score_columns(ENTRIES, MODEL, COUNTS, QUARTER)
    assert scores.shape == (2, 180)  # two orders
    np.testing.assert_array_equal(scores[:, :60], ENTRIES[0]["score"][MODEL][[2, 4]])
    intact = lesions.score_columns(ENTRIES, MODEL, COUNTS, 0)
    np.testing.assert_array_equal(intact[1][0, :60], ENTRIES[0]["score"][MODEL][0])
    found = lesions.mean_auroc((y, scores, groups, seeds), resamples=100).estimate
    each = [auroc(e["y"], e["score"][MODEL][i]) for e in ENTRIES for i in (2, 4)]
    assert found == pytest.approx(np.mean(each))


def test_the_rules_pass_an_ensemble_and_not_a_chain():
    rules = ledger.claims()["C7a"].criteria
    columns = [lesions.loss_columns(ENTRIES, name) for name in (ENSEMBLE, CHAIN)]
    found = lesions.lesion_controls(rules["single lesion"], lesions.worst_rise, *columns)
    assert [rate.rate for rate in found] == [1.0, 0.0]
    columns = [
        lesions.score_columns(ENTRIES, name, COUNTS, QUARTER) for name in (ENSEMBLE, CHAIN)
    ]
    found = lesions.lesion_controls(rules["AUROC"], lesions.mean_auroc, *columns)
    assert found[0].rate > 0.95
    assert found[1].rate == 0.0


def test_subsets_are_nested_and_of_the_reporters_sublayers():
    size = Size(4, (1, 8), 2, 1)
    found = lesions.subsets(size, 3)
    assert [len(some) for some in found] == [1, 8, 1, 8]
    assert set(found[0]) < set(found[1]) <= set(range(lesions.SUBLAYERS))
    assert found == lesions.subsets(size, 3) != lesions.subsets(size, 4)
    record = {"size": vars(size)}
    assert lesions.bypassed_at(record, {"seed": 3}, 8) == [found[1], found[3]]


def test_one_reporter_per_member_and_their_mean_probability():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 6)), np.tile([0, 1], 40)
    X[:, 0] += 3 * y
    together = lesions.Reporters(X, y, members=2)
    probabilities = []
    for part in (slice(0, 3), slice(3, 6)):
        one = lesions.Reporters(X[:, part], y)
        probabilities.append(1 / (1 + np.exp(-one.log_odds(X[:, part]))))
    found = 1 / (1 + np.exp(-together.log_odds(X)))
    np.testing.assert_allclose(found, np.mean(probabilities, axis=0), atol=1e-6)


def test_the_recorded_run_has_what_the_chapter_asks():
    found = lesions.recorded()
    assert found["command"].endswith("--profile book")
    counts, orders = found["size"]["counts"], found["size"]["orders"]
    assert QUARTER in counts
    for entry in found["entries"]:
        for name in NETWORKS:
            sublayers = 60 if name == MODEL else lesions.SUBLAYERS
            assert entry["loss"][name].shape == (1 + sublayers, len(entry["rows"]))
            assert entry["score"][name].shape == (1 + orders * len(counts), len(entry["y"]))
