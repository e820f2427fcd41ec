"""Rows by place are those of the arrays they come from; a task is made once per profile."""

import numpy as np
import pytest

from elkutils import profiles
from elkutils.study import readings


@pytest.mark.parametrize("rows", [[3, 0], slice(1, None), np.array([True, False, True, True])])
def test_rows_are_taken_at_every_place(rows):
    arrays = {place: np.random.default_rng(0).normal(size=(4, 2)) for place in (0, "MLP 1")}
    some = readings.ByPlace(arrays, rows)
    assert list(some) == [0, "MLP 1"]
    for place, X in arrays.items():
        assert np.array_equal(some[place], X[rows])
    assert np.array_equal(readings.ByPlace(some, [1])[0], arrays[0][rows][[1]])
    with pytest.raises(KeyError):
        some[7]


def test_a_task_belongs_to_its_profile(monkeypatch):
    sizes = {}
    for profile in ("quick", "book"):
        monkeypatch.setenv("ELKUTILS_PROFILE", profile)
        assert profiles.active() == profile
        task = readings.make_task("elements", 5)
        assert readings.make_task("elements", 5) is task
        sizes[profile] = len(task.splits["easy"])
    assert sizes["quick"] < sizes["book"]
