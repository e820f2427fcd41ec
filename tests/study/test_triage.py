"""Recall at a budget: of known scores, and at a number of harmless rows."""

import numpy as np
import pytest

from elkutils.study.controls import planted_scores
from elkutils.study.triage import auroc_of_recall, rare_recall, recall_among, recall_of_auroc


def test_planted_scores_have_the_recall_that_their_auroc_implies():
    y = np.tile([0, 1], 200_000)
    scores = planted_scores(y, auroc_of_recall(0.6, 0.1), y, np.random.default_rng(0), 0.0)
    assert rare_recall(0.1)(y, scores) == pytest.approx(0.6, abs=0.01)
    assert recall_of_auroc(auroc_of_recall(0.6, 0.1), 0.1) == pytest.approx(0.6)
    assert auroc_of_recall(0.01, 0.01) == pytest.approx(0.5)


def test_fewer_harmless_rows_flatter_recall():
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], 90)
    p = y + rng.standard_normal(180)
    few, many = (recall_among(y, p, n, 0.01, seed=2) for n in (10, 80))
    assert few > many
    assert recall_among(y, p, 90, 0.01) == pytest.approx(rare_recall(0.01)(y, p))


@pytest.mark.parametrize("harmless", [0, 4])
def test_a_number_of_harmless_rows_that_is_not_there(harmless):
    with pytest.raises(ValueError, match="rows with y = 0"):
        recall_among(np.array([0, 0, 0, 1]), np.arange(4.0), harmless, 0.01)


def test_values_out_of_range():
    with pytest.raises(ValueError, match="recall is"):
        auroc_of_recall(0.0, 0.01)
    with pytest.raises(ValueError, match="auroc is"):
        recall_of_auroc(1.0, 0.01)
