"""Times are of the runs that count; the recorded benchmarks make a table."""

import time

import pytest

from elkutils.study import timings


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
