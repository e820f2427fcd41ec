import re

import numpy as np
import pytest

from elkutils import token_scores

TEXTS = ["a <b> & c", "Café."]
SPANS = ([0, 0, 0, 1, 1, 1, 1], [0, 1, 6, 0, 3, 3, 4], [1, 5, 9, 3, 4, 4, 5])
SCORE = [0.0, 0.5, 1.0, 0.2, 0.4, 0.8, 0.3]


def test_every_character_is_shown_once_and_escaped():
    page = token_scores.show(TEXTS, SPANS, SCORE)._repr_html_()
    plain = re.sub(r"<[^>]*>", "", page)
    assert plain.startswith("a &lt;b&gt; &amp; cCafé.")
    assert page.count("<span") == 6


def test_tokens_of_one_character_are_shown_together():
    found = token_scores.show(TEXTS, SPANS, SCORE)
    assert found.pieces[1][1] == (3, 4, pytest.approx(0.6))
    assert repr(found).splitlines()[1] == "Caf 0.20 | é 0.60 | . 0.30"


def test_shade_and_line_grow_with_the_score_and_stop_at_the_ends():
    page = token_scores.show(TEXTS, SPANS, SCORE, low=0.25, high=0.5)._repr_html_()
    lines = [float(px) for px in re.findall(r"border-bottom: ([\d.]+)px", page)]
    assert lines[:3] == [0, 4, 4]
    assert lines[3] == 0
    assert 0 < lines[5] < lines[4] == 4


def test_scores_that_are_all_alike_have_no_shade():
    page = token_scores.show(TEXTS, SPANS, np.full(7, 0.3))._repr_html_()
    assert set(re.findall(r"border-bottom: ([\d.]+)px", page)) == {"0.0"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"score": SCORE[:-1]}, "one entry for each token"),
        ({"score": np.ones((4, 7))}, r"\.mean\(axis=0\)"),
        ({"score": [np.nan, *SCORE[1:]]}, "score holds NaN"),
        ({"texts": TEXTS[:1]}, "outside its text"),
        ({"texts": TEXTS[::-1]}, "outside its text"),
        ({"low": 2.0, "high": 1.0}, "low has to be below high"),
    ],
)
def test_bad_input_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        token_scores.show(**{"texts": TEXTS, "spans": SPANS, "score": SCORE} | given)
