"""The benchmark of networks and the script for a GPU, at tiny sizes."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import flat, log_likelihood
from elkutils.study import timings
from elkutils.study.comparison_sets import (
    DEEPER,
    LARGER,
    LATEST,
    PRICED,
    SCARCE,
    TAUGHT,
    WIDER,
    hidden_units,
)

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))
import comparison
import gpu
import networks

NETWORK = MLP((5, 4), weight_scale=2.0)


@pytest.fixture(scope="module")
def rows():
    return networks.synthetic(12, 15)


def test_synthetic_rows_have_the_spectrum_and_both_classes():
    X, y, held_out = networks.synthetic()
    values = np.linalg.svd(X, compute_uv=False)
    places = np.array(networks.NUMBERED) - 1
    np.testing.assert_allclose(values[places], networks.VALUES, rtol=1e-6)
    assert values[networks.NUMBERED[-1]] < 1e-9 * values[0]
    assert 0.3 < y.mean() < 0.7
    assert held_out.shape == (3 * networks.EACH, 576)


def test_both_targets_are_one_posterior(rows):
    """The potential is the negative log posterior, and the row space sees the same rows."""
    X, y, held_out = rows
    both = networks.targets(NETWORK, X, y, held_out)
    whole, reduced = both["whole"], both["row space"]
    head = flat(NETWORK, 15)
    z = networks.first(2, whole)
    for one in z:
        log_odds = NETWORK(head.parameters(one * head.scales), X.astype(np.float32))
        exact = norm.logpdf(0, 0, 1) * head.size - log_likelihood(log_odds, y)
        exact = exact - norm.logpdf(one).sum()
        assert float(whole.potential(one)) == pytest.approx(float(exact), rel=1e-5)
    seen = reduced.rows @ np.linalg.pinv(reduced.X)
    np.testing.assert_allclose(seen @ whole.X, whole.rows, atol=1e-3 * np.abs(held_out).max())


def test_full_rank_is_refused():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3))
    with pytest.raises(ValueError, match=r"\(12, 3\) and full rank"):
        networks.targets(NETWORK, X, X[:, 0] > 0, X)


@pytest.mark.parametrize("library", ["NumPyro", "BlackJAX"])
@pytest.mark.parametrize(
    ("algorithm", "side_by_side"), [("HMC", False), ("NUTS", False), ("HMC", True)]
)
def test_a_rival_draws_from_the_target(library, algorithm, side_by_side, monkeypatch):
    """On no rows z is standard normal: mean and variance over four chains."""
    monkeypatch.setattr(networks, "on_cpu", lambda: not side_by_side)
    # The lock leaves BlackJAX out: only benchmarks use it, and they note where it is missing.
    if library == "BlackJAX" and not importlib.util.find_spec("blackjax"):
        pytest.skip("BlackJAX is not installed")
    none = np.zeros((0, 3), np.float32)
    one = np.ones((1, 3), np.float32)
    target = networks.Target(flat(MLP(), 3), none, np.zeros(0, np.float32), one)
    kernel = networks.LIBRARIES[library](algorithm, target, 50)
    chains = networks.Chains(kernel, target, 4)
    while len(chains.took) < 450:
        chains.run(sum(chains.took) + 1e-9)
    drawn = np.stack(chains.log_odds, axis=1)[:, 50:]  # variance 3 · ⅓ + 1
    found = chains.record(50)
    assert found["draws"] == drawn.size == 1600
    assert found["rhat"] < 1.05
    error = 5 / np.sqrt(found["ess"]["least"])
    assert abs(drawn.mean()) < error * np.sqrt(2)
    assert abs(drawn.var() / 2 - 1) < error * np.sqrt(2)


def test_samplers_make_records_and_a_table(rows):
    half, *_, whole = networks.samplers(NETWORK, *rows, 2, 10, 0.2)
    found, left_out = whole["samplers"], whole["left_out"]
    names = [record["name"] for record in found]
    assert names[:3] == ["ours", "NumPyro HMC", "NumPyro NUTS"]
    assert names == [record["name"] for record in half["samplers"]]
    assert len(names) == (3 if left_out else 5)
    for record in found:
        assert record["seconds"] > record["warmup_seconds"] > 0
        assert record["gradients"] >= record["transitions"]
    lines = list(timings.sampler_table(whole))
    assert len(lines) == 3 + len(found) + len(left_out)


def test_a_sampler_without_draws_says_so():
    record = {"name": "slow", "transitions": 3, "seconds": 9.0, "warmup_seconds": 9.0}
    record |= networks.efficiency(np.zeros((2, networks.LEAST_KEPT - 1, 4)))
    assert record["ess"] is None
    assert np.isnan(timings.ess_per_second(record)["least"])
    table = timings.sampler_table({"samplers": [record], "left_out": {}})
    assert "no draws: 3 transitions of warm-up" in list(table)[-1]


def test_ess_per_second_with_and_without_the_warm_up():
    record = {"ess": {"median": 30.0, "least": 10.0}, "seconds": 5.0, "warmup_seconds": 3.0}
    assert timings.ess_per_second(record) == {"median": 15.0, "least": 5.0}
    assert timings.ess_per_second(record, warmed_up=False) == {"median": 6.0, "least": 2.0}


def test_our_sghmc_has_the_variance_of_the_temperature():
    for step, temperature in ((0.2, 0.25), (0.5, 4.0)):
        z = networks.our_variance(step, temperature, 4000, 1.0)
        assert z.var() / temperature == pytest.approx(1, abs=4.5 * np.sqrt(2 / 4000))


def test_the_gradient_is_that_of_the_loss_and_is_timed(rows):
    target = networks.targets(NETWORK, *rows)["row space"]
    value, slope = networks.gradients(target, 2)["vmap"]()
    z, step = networks.first(2, target)[0], 1e-2
    along = np.asarray(slope[0]) / np.linalg.norm(slope[0])
    ends = [float(target.loss(z + sign * step * along)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(np.linalg.norm(slope[0]), rel=0.02)
    for row in networks.gradient(target, 2, rounds=3):
        assert row["share"] > 0
        assert row["inputs"] == 11
    # n = 12, r = 11: forwards and backwards, without the slope of the inputs
    assert networks.flops(target) == 24 * (2 * 11 * 5 + 3 * (5 * 4 + 4))
    assert float(value[0]) == pytest.approx(float(target.loss(z)), rel=1e-5)


def test_a_part_that_fails_or_lasts_too_long_is_told(tmp_path):
    output = tmp_path / "out.json"

    def of(code, limit=30.0):
        return gpu.run([sys.executable, "-c", code], limit, output)

    assert of("pass") == ""
    assert of("raise SystemExit(3)") == "failed with status 3"
    assert "has written nothing" in of("import time; time.sleep(60)", 0.5)
    write = f"import pathlib, time; pathlib.Path({str(output)!r}).write_text('1'); "
    assert "has what was done" in of(write + "time.sleep(60)", 5.0)


def test_the_gpu_script_runs_what_there_is():
    for part in gpu.FILES:
        assert part == "tiny_heads" or (gpu.HERE / f"{part}.py").exists()
        assert {*gpu.FULL} == {*gpu.QUICK} == {*gpu.FILES}
    assert (gpu.ROOT / "pyproject.toml").exists()


@pytest.mark.parametrize("device", timings.recorded_networks())
def test_recorded_networks_make_tables(device):
    recorded = timings.recorded_networks()[device]
    assert json.dumps(recorded)
    lines = list(timings.network_tables(recorded))
    assert all(len(line) <= 88 for line in lines)
    assert recorded["samplers"][0]["name"] == "ours"
    for row in recorded["moments"]:
        if row["name"] == "ours":
            assert abs(row["variance"] - 1) < 4.5 * row["error"]


def test_an_interrupted_comparison_continues(tmp_path, monkeypatch):
    """A piece that is recorded is not made again, and another version's record is refused."""
    made, output = [], tmp_path / "comparison.json"

    def pieces(model, name, unit, part, seeds, record):
        for n in ("20", "all"):
            key = f"{name}/{unit[0]}.{unit[1]}/{n}"
            yield key, lambda key=key: made.append((part, key)) or {"rows": 20}

    def interrupted(*given):
        yield from pieces(*given) if given[1] == "vault" else [("x", lambda: 1 / 0)]

    call = ["comparison.py", "--output", str(output), "--seeds", "1", "--parts", "linear"]
    monkeypatch.setattr("elkutils.models.load_model", lambda: None)
    monkeypatch.setattr(sys, "argv", [*call, "--sets", "vault", "persona"])
    monkeypatch.setattr(comparison, "pieces", interrupted)
    with pytest.raises(ZeroDivisionError):
        comparison.main()
    assert list(json.loads(output.read_text())["linear"]) == ["vault/1.0/20", "vault/1.0/all"]
    monkeypatch.setattr(comparison, "pieces", pieces)
    comparison.main()
    assert len(made) == len(set(made)) == 4
    record = json.loads(output.read_text())
    assert record["threads"]
    assert record["scikit-learn"]
    output.write_text(json.dumps(record | {"numpy": "0.1"}))
    with pytest.raises(SystemExit, match="another numpy"):
        comparison.main()


def test_turns_begin_with_the_first_unit_of_each_set():
    units = {"cities": [(5, 10), (5, 11), (6, 10)], "vault": [(0, 10), (1, 10)]}
    fresh = {"cities": [(20, 20)], "vault": [(0, 20), (1, 20)]}
    parts = ["linear", "choices", "networks", "acting"]
    found = list(comparison.turns(parts, units, fresh))
    assert found[:3] == [
        ("cities", (5, 10), "linear"),
        ("vault", (0, 10), "linear"),
        ("cities", (5, 11), "linear"),
    ]
    assert [unit for _, unit, part in found if part == "choices"] == [
        (5, 10),
        (6, 10),
        (5, 11),
    ]
    for name, every in units.items():
        some = [unit for n, unit, part in found if (n, part) == (name, "networks")]
        assert some == every[:2]
        acting = [unit for n, unit, part in found if (n, part) == (name, "acting")]
        assert acting == fresh[name]


def test_spread_units_train_networks():
    units = {"cities": [*range(20)], "vault": [*range(10)]}
    fresh = {name: [*range(40)] for name in units}
    parts = ["networks", "hidden", *TAUGHT, "larger", "wider", "priced", "scarce"]
    found = list(comparison.turns(parts, units, fresh))
    expected = {
        ("cities", "networks"): [0, 10, 5],
        ("vault", "networks"): [0, 5, 2],
    }
    for name in units:
        both, narrow = hidden_units(name)
        expected[name, "hidden"] = [*both, *narrow]
        for part, counts in TAUGHT.items():
            count = counts.get(name, 0)
            expected[name, part] = DEEPER[name][:count]
            assert len(DEEPER[name]) >= count
        expected[name, "larger"] = LARGER.get(name, [])
        expected[name, "wider"] = WIDER[name]
        expected[name, "priced"] = LATEST[name][: PRICED[name]]
        expected[name, "scarce"] = LATEST[name][: max(SCARCE[name].values())]
    for which, some in expected.items():
        assert [unit for name, unit, part in found if (name, part) == which] == some
