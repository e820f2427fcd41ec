"""Times are of the runs that count; the recorded benchmarks make a table."""

import time

import numpy as np
import pytest

from elkutils.study import timings


def test_growth_is_that_of_planted_times():
    rng = np.random.default_rng(0)
    times = {
        (n, d): n**1.2 * d**1.8 * np.exp(0.05 * rng.standard_normal(3))
        for n in (10, 20, 40)
        for d in (3, 6, 12)
    }
    found = timings.growth(times)
    assert len(found) == 6
    for name, exponent in found.items():
        assert exponent.df == 18
        assert exponent.estimate == pytest.approx(1.2 if "in n" in name else 1.8, abs=0.15)


def test_the_recorded_growth_has_every_size_three_times():
    rows = timings.recorded_growth()["rows"]
    assert len({(row["n"], row["d"]) for row in rows}) == 9
    assert all(len(row["seconds"]) == 3 for row in rows)


def test_cpu_seconds_are_positive_and_one_per_repeat():
    X, y, prior_scale = timings.synthetic_activations(60, 8)
    assert X.shape == (60, 8)
    assert min(timings.cpu_seconds(X, y, prior_scale, repeats=2, draws=20, chains=4)) > 0


@pytest.mark.parametrize("name", timings.recorded())
def test_recorded_benchmarks_make_a_table(name):
    benchmark = timings.recorded()[name]
    lines = list(timings.table(benchmark))
    assert len(lines) == 2 + sum("ratio" in row for row in benchmark["rows"])
    assert "geometric mean" in lines[-1]
    for row in benchmark["rows"]:
        assert row["ours"]["rhat"] < 1.05
        assert row["ratio"] == pytest.approx(row["nuts"]["seconds"] / row["ours"]["seconds"])


def test_the_first_run_of_a_task_is_not_timed():
    runs = []

    def task():
        runs.append(None)
        time.sleep(0.2 if len(runs) == 1 else 0.01)

    assert 0.01 <= timings.median_seconds(task, repeats=1) < 0.1
    assert len(runs) == 2
