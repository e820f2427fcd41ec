"""Controls of the rules about strange inputs, against what was planted in them."""

import numpy as np
import pytest

from elkutils.study import planted_outside

RNG = np.random.default_rng(0)
FITS = 40
GROUPS = np.tile(np.arange(200), 2)  # each asked about inside and outside
ROWS = {
    "strange": np.repeat(np.repeat([0, 1], 200), FITS),
    "groups": np.repeat(GROUPS, FITS),
    "seeds": np.tile(np.arange(FITS), 400),
}


@pytest.mark.parametrize("more", [0.05, 0.45])
@pytest.mark.parametrize(("inside", "drawn"), [(0.1, 0.1), (0.0, 0.02)])
def test_the_rate_outside_is_higher_by_what_was_planted(more, inside, drawn):
    wrong = RNG.random(400 * FITS) < inside
    control = planted_outside.alarms(**ROWS, wrong=wrong, more=more)
    found = [control(np.random.default_rng(seed)).estimate for seed in range(30)]
    assert np.mean(found) == pytest.approx(more, abs=0.02)


def test_alarms_of_one_fit_outside_are_alike():
    """So the excess over few fits is less certain, though there are as many cities."""
    few = {name: column[ROWS["seeds"] < 3] for name, column in ROWS.items()}
    scatter = []
    for rows in (few, ROWS):
        control = planted_outside.alarms(**rows, wrong=rows["strange"] < 0, more=0.45)
        drawn = [control(np.random.default_rng(seed)).estimate for seed in range(30)]
        scatter.append(np.std(drawn))
    assert scatter[0] > 2 * scatter[1]


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_review_finds_the_share_that_was_planted(share):
    planted = np.repeat([0, 1], [2000, 1000])
    groups, seeds = np.arange(3000), np.zeros(3000, int)
    control = planted_outside.doubts(planted, groups, seeds, share)
    found = [control(np.random.default_rng(seed)).estimate for seed in range(10)]
    assert np.mean(found) == pytest.approx(share, abs=0.02)
