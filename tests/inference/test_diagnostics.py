"""Diagnostics of draws that were handed over the wrong way round, or hold no numbers."""

import warnings

import numpy as np
import pytest

from elkutils.inference.diagnostics import diagnose


def test_chains_and_draws_that_look_exchanged_are_named():
    draws = np.random.default_rng(0).standard_normal((4, 500, 2))
    with pytest.warns(UserWarning, match="500 chains of 4 draws"):
        diagnose(draws.swapaxes(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        diagnose(draws)
        diagnose(np.random.default_rng(0).standard_normal((64, 10, 2)))


def test_draws_that_are_no_numbers_are_named():
    draws = np.random.default_rng(0).standard_normal((4, 10, 2))
    draws[1, 3, 0] = np.inf
    with pytest.raises(ValueError, match=r"draws\[1, 3, 0\] is inf"):
        diagnose(draws)
