"""What samplers say of chains that stood still or lost their way."""

import warnings

import numpy as np
import pytest

from elkutils.inference._checks import warn_of_chains

FINE, NONE = np.full((3, 10), 0.8), np.zeros((3, 10), bool)


def test_good_chains_pass_in_silence():
    with warnings.catch_warnings(action="error"):
        warn_of_chains(FINE, NONE, stacklevel=1)


def test_a_single_divergence_is_told():
    diverging = NONE.copy()
    diverging[1, 4] = True
    with pytest.warns(RuntimeWarning, match="1 of 30 draws .* diverged") as said:
        warn_of_chains(FINE, diverging, stacklevel=1)
    assert said[0].filename == __file__


@pytest.mark.parametrize("rate", [0.05, np.nan])
def test_stuck_chains_are_named(rate):
    rates = FINE.copy()
    rates[2] = rate
    with pytest.warns(RuntimeWarning, match="chains 2 of 3 accepted"):
        warn_of_chains(rates, NONE, stacklevel=1)
