"""The recorded run of tiny heads: its parts, its summaries and the rules' controls."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from elkutils import ledger
from elkutils.evaluation import Interval
from elkutils.inference.networks.mlp import MLP
from elkutils.ledger import Criterion
from elkutils.study import tiny_heads
from elkutils.study.tiny_heads import HMC, LIMIT, LINEAR, WIDER, Parts, Size

TINY = Size(6, (3,), 3, 1, 2, 16, 16, 3, 10)


@pytest.fixture(scope="module")
def sets():
    """Statements of twelve groups, on features that tell the labels apart."""
    rng = np.random.default_rng(0)

    def some(count):
        y = np.arange(count) % 2
        X = rng.standard_normal((count, 5)) + y[:, None]
        return X, y, np.array([f"g{i // 2 % 12}" for i in range(count)])

    return {"train": some(40), "easy": some(24), "hard": some(26), "negated": some(24)}


@pytest.fixture(scope="module")
def measured(sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    told = []
    entry = tiny_heads.measure(sets, 3, TINY, folder, True, told.append)
    return folder, told, json.loads(json.dumps(entry))


def test_an_entry_has_every_method_at_every_row(measured, sets):
    entry = tiny_heads.decoded(measured[2])
    methods = {*tiny_heads.RIVALS, LIMIT, WIDER, LINEAR, f"{HMC}, width 6", f"{HMC}, width 3"}
    assert set(entry["p"]) == set(entry["score"]) == methods | {"NUTS, width 3"}
    for p in entry["p"].values():
        assert len(p) == 24 + 26 + 24
        assert 0 <= min(p) <= max(p) <= 1
    assert (
        entry["y"] == np.concatenate([sets[k][1] for k in ("easy", "hard", "negated")]).tolist()
    )
    assert set(entry["samplers"]) == set(entry["blocks"]) - {WIDER}
    assert entry["samplers"][f"{HMC}, width 6"]["gradients"] > 2 * 32
    assert set(entry["modes"]) == {"3", "6"}
    assert entry["modes"]["6"]["log_joint"] >= -40 * np.log(2) - 1e-6


def test_a_run_continues_from_its_parts(measured, sets):
    folder, told, entry = measured
    assert len(told) == len(set(told)) > 10
    again = []
    assert tiny_heads.measure(sets, 3, TINY, folder, True, again.append) == entry
    assert not again


def test_other_rows_are_other_parts(measured, sets):
    digest = measured[2]["digest"]
    X, y, groups = sets["train"]
    assert tiny_heads.digest_of(sets, 3, TINY) == digest
    assert tiny_heads.digest_of(sets | {"train": (X + 1, y, groups)}, 3, TINY) != digest
    assert tiny_heads.digest_of(sets, 4, TINY) != digest


def test_a_transformer_head_is_drawn_and_costed(tmp_path):
    rng = np.random.default_rng(0)

    def some(count):
        y = np.arange(count) % 2
        return rng.standard_normal((count, 6)) + y[:, None], y, np.arange(count)

    sets = {"train": some(20), "easy": some(8)}
    size = tiny_heads.TransformerSize(4, 2, 8, 8, 8)
    found = tiny_heads.measure_transformer(sets, 0, 3, size, tmp_path)
    assert found["sampler"]["chains"] == 2
    assert found["sampler"]["weights"] < found["gradients"]["8"]["weights"]
    assert found["gradients"]["8"]["each"] > 0
    assert found["score"]["easy"] < 0


@pytest.mark.parametrize("measured", [None, 150.0])
def test_what_was_not_measured_is_undecided(measured):
    rule = Criterion("", "above", 400, "")
    assert rule.judge(tiny_heads.left_open(rule, measured)) == ledger.UNDECIDED


def test_an_interrupted_part_leaves_nothing(tmp_path):
    parts = Parts(tmp_path, "digest")

    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts("some", broken)
    assert parts("some", lambda: {"value": 3})["value"] == 3
    assert parts("some", broken)["value"] == 3


def test_bags_of_all_draws_score_their_mean():
    rng = np.random.default_rng(0)
    log_odds, y = rng.standard_normal((8, 5)), np.array([0, 1, 1, 0, 1])
    p = expit(log_odds).mean(axis=0)
    exact = np.where(y == 1, np.log(p), np.log1p(-p))
    np.testing.assert_allclose(tiny_heads.bag_scores(log_odds, y, 8), exact)
    smaller = tiny_heads.bag_scores(log_odds, y, 2, bags=2000)
    pairs = [(i, j) for i in range(8) for j in range(i)]
    right = expit(np.where(y == 1, 1, -1) * log_odds)
    mean = np.mean([np.log(right[list(pair)].mean(axis=0)) for pair in pairs], axis=0)
    np.testing.assert_allclose(smaller, mean, atol=0.02)


def test_excess_is_zero_for_one_distribution_and_the_distance_for_two():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.5, 0.05, (2, 8, 4000))
    assert abs(tiny_heads.excess(one, other).mean()) < 0.001
    far = tiny_heads.excess(np.full((8, 1), 0.2), np.full((8, 1), 0.5))
    np.testing.assert_allclose(far, 0.3)


def test_blocks_and_spreads_are_of_the_draws_in_order():
    log_odds = np.repeat([-1.0, 1.0], 16).reshape(2, 16, 1) + np.zeros(3)
    found = tiny_heads.blocks(log_odds, 4)
    np.testing.assert_allclose(found[:, 0], expit([-1, -1, 1, 1]))
    np.testing.assert_allclose(tiny_heads.spreads(log_odds), 0)


def made(rng, shift=0.0, wider=1.0, seeds=(1, 2, 3)):
    """Entries of two samplers; the second has its log odds moved and scaled."""
    entries = []
    for seed in seeds:
        centre = rng.standard_normal(60)
        draws = {
            "one": centre + rng.standard_normal((4, 200, 60)),
            "other": centre + shift + wider * rng.standard_normal((4, 200, 60)),
        }
        entries.append(
            {
                "seed": seed,
                "kinds": {"easy": 60},
                "groups": np.array([f"g{i // 2}" for i in range(60)]),
                "blocks": {k: tiny_heads.blocks(v) for k, v in draws.items()},
                "spread": {k: tiny_heads.spreads(v) for k, v in draws.items()},
                "p": {"point": expit(np.zeros(60))},
                "score": {"one": np.zeros(60), "other": np.full(60, -0.25)},
            }
        )
    return entries


def test_distances_spreads_and_gains_are_as_planted():
    entries = made(np.random.default_rng(0), shift=1.0, wider=2.0)
    mean = tiny_heads.mean_of
    assert 0.1 < mean(tiny_heads.distances(entries, "one", "other", "easy")).estimate < 0.25
    ratio = mean(tiny_heads.spread_ratios(entries, "one", "other", "easy"))
    assert ratio.estimate == pytest.approx(0.5, abs=0.03)
    assert mean(tiny_heads.gains(entries, "one", "other", "easy")).estimate == 0.25


@pytest.mark.parametrize("which", ["agreement", "spread"])
def test_controls_know_right_from_wrong(which):
    entries = made(np.random.default_rng(1), wider=2.0)
    if which == "agreement":
        rule, wrong = Criterion("", "below", 0.03, ""), "point"
        found = tiny_heads.agreement_controls(rule, entries, "one", wrong, "easy", 2)
    else:
        rule = Criterion("", "within", [0.8, 1.25], "")
        found = tiny_heads.spread_controls(rule, entries, "one", "other", "easy", 2)
    assert ledger.Controls(*found).good


@pytest.mark.parametrize("controls", ["gain_controls", "redrawn_controls"])
def test_a_planted_gain_is_found_and_none_is_not(controls):
    rng = np.random.default_rng(2)
    groups, seeds = np.repeat(np.arange(60), 4), np.tile(np.arange(2), 120)
    columns = rng.normal(0, 0.1, 240), groups, seeds
    controls = getattr(tiny_heads, controls)
    found = controls(Criterion("", "above", 0.01, ""), columns, 0.1, 3)
    assert ledger.Controls(*found).good


def test_the_attainable_gain_is_found_as_often_as_stated():
    rng, rule, places = np.random.default_rng(3), Criterion("", "above", 0.01, ""), 24
    gain = tiny_heads.attainable_gain(rule, Interval(0.0, -0.1, 0.3), places)
    estimates = rng.normal(gain, 0.1 / 1.96, 4000)
    found = [
        rule.judge(Interval(value, value - 0.1, value + 0.1), places) == ledger.HOLDS
        for value in estimates
    ]
    assert np.mean(found) == pytest.approx(0.9, abs=0.015)  # three standard errors


STEEPEST = 2.4  # where SiLU's slope is greatest, 1.0998


def differences(network, parameters, X):
    """Differences of log odds of all pairs of rows, and the bound that the chapter proves."""
    d, m = X.shape[1], network.widths[0]
    pairs = zip(parameters, network.scales(d), strict=True)
    product = np.prod([np.linalg.norm(weights) / sd for (weights, _), (sd, _) in pairs])
    i, j = np.triu_indices(len(X), 1)
    f = np.asarray(network(parameters, X))
    apart = np.linalg.norm(X[i] - X[j], axis=1)
    bound = network.weight_scale**3 * 1.1**2 * product * apart / (m * np.sqrt(d))
    return np.abs(f[i] - f[j]), bound


@pytest.mark.parametrize("seed", range(20))
def test_weights_bound_how_far_log_odds_differ(seed):
    rng = np.random.default_rng(seed)
    c, m = rng.choice([0.5, 1.0, 2.0]), int(rng.choice([1, 3, 8]))
    network = MLP((m, m), weight_scale=float(c), bias_scale=3.0)
    X = rng.standard_normal((30, 4)) * rng.choice([0.01, 1.0, 10.0])
    found, bound = differences(network, network.init(jax.random.key(seed), 4), X)
    assert np.all(found <= bound + 1e-5)  # single precision


def test_the_bound_is_reached_where_slopes_are_greatest():
    network, X = MLP((1, 1), weight_scale=2.0), np.array([[0.0], [0.01]])
    one = jnp.ones((1, 1))
    second = STEEPEST - float(jax.nn.silu(STEEPEST))
    biases = (STEEPEST, second, 0.0)
    found, bound = differences(network, tuple((one, jnp.array([b])) for b in biases), X)
    assert 0.97 < found[0] / bound[0] <= 1
