"""Diagnostics of draws that were handed over the wrong way round, or hold no numbers."""

import warnings

import numpy as np
import pytest

from elkutils.inference.diagnostics import diagnose, warn_unless_converged


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


def stuck(chains, draws, apart, seed=0):
    """Independent draws of two numbers, chains' means `apart` standard deviations."""
    z = np.random.default_rng(seed).standard_normal((chains, draws, 2))
    return z + apart * np.arange(chains)[:, None, None]


@pytest.mark.parametrize(
    ("draws", "diverging", "told"),
    [
        (stuck(4, 500, 0.15), None, r"the largest R-hat is 1\.0\d+ and needs < 1\.01"),
        (stuck(4, 500, 5.0), None, r"R-hat is .*; the slowest of 2 weights has \d effective"),
        (
            stuck(4, 50, 5.0),
            None,
            r"has [4-9] effective draws of 200 and needs 50: see .*; wait",
        ),
        (stuck(4, 500, 0.0), np.eye(4, 500) > 0, r"converged: 4 of 2000 draws diverged: see"),
    ],
)
def test_what_is_at_fault_is_named(draws, diverging, told):
    with pytest.warns(RuntimeWarning, match=told):
        warn_unless_converged(diagnose(draws, diverging, "weights"), "wait")


def test_short_runs_are_not_blamed_for_being_short():
    """R-hat of independent draws exceeds 1.01 in short chains, by its noise."""
    highest = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for chains, draws in ((4, 500), (8, 500), (4, 100), (4, 50), (4, 3), (1, 400)):
            for seed in range(10):
                found = diagnose(stuck(chains, draws, 0.0, seed))
                warn_unless_converged(found, "wait")
                highest = max(highest, np.nan_to_num(found.worst["rhat"]))
    assert highest > 1.02
