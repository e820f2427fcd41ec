"""Gradient descent in the row space takes the steps that training in full takes."""

import numpy as np
import pytest
from scipy.special import expit

from elkutils.study.descent import descend

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 30)), np.arange(12) % 2
START = np.column_stack([RNG.standard_normal((5, 30)), np.zeros(5)])


def slowly(start, steps, rate):
    rows, theta = np.column_stack([X, np.ones(12)]), start
    for _ in range(steps):
        theta = theta - rate * (expit(theta @ rows.T) - Y) @ rows / 12
    return theta


def loss_of(theta):
    log_odds = theta[:, :-1] @ X.T + theta[:, -1:]
    return (np.logaddexp(0, log_odds) - Y * log_odds).mean(axis=1)


def test_members_are_where_gradient_descent_takes_them():
    found = descend(X, Y, START, 0.05, (3, 40))
    assert list(found) == [3, 40]
    for steps, theta in found.items():
        np.testing.assert_allclose(theta, slowly(START, steps, 0.05), atol=2e-5)


def test_each_member_stops_when_its_own_loss_is_low_enough():
    found = descend(X, Y, START, 0.05, (2000,), loss=0.2)
    losses = loss_of(found["loss"])
    assert losses.max() <= 0.2
    assert losses.min() > 0.1
    assert loss_of(found[2000]).max() < losses.min()
    short = descend(X, Y, START, 0.05, (5,), loss=1e-6)
    np.testing.assert_array_equal(short["loss"], short[5])


def test_shapes_and_stops_are_checked():
    with pytest.raises(ValueError, match="start"):
        descend(X, Y, START[:, 1:], 0.05, (3,))
    with pytest.raises(ValueError, match="stops"):
        descend(X, Y, START, 0.05, ())
