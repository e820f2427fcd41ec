"""The recorded benchmarks are whole, and their table shows every point with a ratio."""

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
