import numpy as np
import pytest

from elkutils.evaluation import pool

COUNTS = [1, 4, 9, 2]
ROW = np.repeat(np.arange(4), COUNTS)
SCORE = np.random.default_rng(0).normal(size=(3, len(ROW)))
TEXTS = np.split(SCORE, np.cumsum(COUNTS)[:-1], axis=-1)


@pytest.mark.parametrize(
    ("rule", "one"),
    [
        ("mean", lambda text: text.mean()),
        ("max", lambda text: text.max()),
        ("last", lambda text: text[-1]),
    ],
)
def test_each_text_is_pooled_by_itself(rule, one):
    expected = [[one(text) for text in draws] for draws in zip(*TEXTS, strict=True)]
    np.testing.assert_allclose(pool(SCORE, ROW, rule), expected)
    np.testing.assert_allclose(pool(SCORE[0], ROW, rule), expected[0])


@pytest.mark.parametrize("window", [1, 2, 3, 5, 50])
def test_a_rolling_mean_stays_within_its_text(window):
    def best(text):
        size = min(window, len(text))
        return np.convolve(text, np.ones(size) / size, "valid").max()

    expected = [[best(text) for text in draws] for draws in zip(*TEXTS, strict=True)]
    np.testing.assert_allclose(pool(SCORE, ROW, "rolling", window), expected)


def test_windows_join_the_other_rules():
    np.testing.assert_allclose(pool(SCORE, ROW, "rolling", 1), pool(SCORE, ROW, "max"))
    np.testing.assert_allclose(pool(SCORE, ROW, "rolling", 9), pool(SCORE, ROW, "mean"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rule": "median"}, "rule is 'median'"),
        ({"window": 3}, "'rolling' alone has one"),
        ({"rule": "rolling"}, "'rolling' alone has one"),
        ({"rule": "rolling", "window": 0}, "window is 0"),
        ({"score": SCORE.T}, r"score has shape \(16, 3\)"),
        ({"row": ROW + 1}, r"row\[0\] is 1"),
        ({"row": ROW * 2}, r"row\[1\] is 2"),
        ({"row": ROW[::-1]}, r"row\[0\] is 3"),
        ({"row": np.r_[ROW[:-1], 0]}, r"row\[15\] is 0"),
        ({"score": np.full(16, np.nan)}, "score holds NaN"),
        ({"score": [], "row": []}, "N ≥ 1"),
    ],
)
def test_bad_input_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        pool(**{"score": SCORE, "row": ROW} | given)
