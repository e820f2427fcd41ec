"""The scaler of tokens: their own mean and scale, and absent ones stay absent."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from elkutils.reporters import TokenScaler


@pytest.fixture
def rows():
    X = 40 + 7 * np.random.default_rng(0).standard_normal((10, 4, 3))
    X[:6, :2] = 0
    X[3, :3] = 0
    return X


def test_tokens_that_are_present_are_standardised(rows):
    present = rows.any(-1)
    flat = rows.reshape(10, 12)
    found = TokenScaler(3).fit_transform(flat).reshape(rows.shape)
    expected = StandardScaler().fit_transform(rows[present])
    np.testing.assert_allclose(found[present], expected, rtol=1e-12)
    np.testing.assert_array_equal(found[~present], 0)


def test_new_rows_have_the_scale_of_those_of_the_fit(rows):
    scaler = clone(TokenScaler(3)).fit(rows[:5].reshape(5, 12))
    tokens = rows[:5][rows[:5].any(-1)]
    found = scaler.transform(rows[5:].reshape(5, 12)).reshape(5, 4, 3)
    expected = (rows[5:, 2:] - tokens.mean(0)) / tokens.std(0)
    np.testing.assert_allclose(found[:, 2:], expected, rtol=1e-12)


def test_a_constant_number_is_not_scaled(rows):
    rows[..., 1] = np.where(rows.any(-1), 2.0, 0.0)
    found = TokenScaler(3).fit_transform(rows.reshape(10, 12)).reshape(rows.shape)
    np.testing.assert_array_equal(found[..., 1], 0)
    assert TokenScaler(3).fit(rows.reshape(10, 12)).scale_[1] == 1


@pytest.mark.parametrize(
    ("inputs", "X", "said"),
    [
        (3, np.ones((2, 4)), "multiple of inputs, 3"),
        (2, np.zeros((2, 4)), "no token"),
        (0, np.ones((2, 4)), "inputs is 0"),
        (2, np.full((2, 4), np.nan), "NaN"),
    ],
)
def test_what_it_cannot_scale_is_refused(inputs, X, said):
    with pytest.raises(ValueError, match=said):
        TokenScaler(inputs).fit(X)


def test_a_token_that_would_vanish_is_refused(rows):
    scaler = TokenScaler(3).fit(rows.reshape(10, 12))
    row = rows[:1].copy()
    row[0, 3] = scaler.mean_
    with pytest.raises(ValueError, match="token 3 of row 0"):
        scaler.transform(row.reshape(1, 12))
    with pytest.raises(ValueError, match="features"):
        scaler.transform(np.ones((1, 6)))
