"""Logistic regression with one or two weights, for many weightings of the rows at once."""

import numpy as np
from scipy.special import expit

_STEPS = 100
_LITTLE = 1e-4  # precision of the normal prior of each weight: sd 100


def refit(
    design: np.ndarray, y: np.ndarray, weights: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    """Return the weights (B, k) of a logistic regression for each row of `weights`.

    Newton's method with steps short enough never to overshoot; the rows of `weights` start at
    the fit to their mean, so that a few steps do for resamples of the same data. A normal prior
    N(0, 100²) on each weight keeps the fit finite where the labels can be separated.

    Parameters
    ----------
    design : (n, k) array
        Columns of a size near 1.
    y : (n,) array of 0 and 1
    weights : (B, n) array of numbers ≥ 0
    offset : (n,) array
        Log odds that are added as they are.
    """
    theta = np.zeros((1, design.shape[1]))
    mean = weights.mean(axis=0, keepdims=True)
    for _ in range(_STEPS):
        step, far = _step(design, y, mean, offset, theta)
        theta = theta + step
        if far.max() < 1e-9:
            break
    if len(weights) == 1:
        return theta
    for _ in range(_STEPS):  # in the first step theta has one row, which makes it cheap
        step, far = _step(design, y, weights, offset, theta)
        theta = theta + step
        if far.max() < 0.02:  # the error left is about its square
            break
    return theta


def _step(design, y, weights, offset, theta):
    """Newton's step from theta (1 or B, k), and how far it moves a log odds, at most."""
    k = design.shape[1]
    pairs = np.stack([design[:, i] * design[:, j] for i in range(k) for j in range(k)], axis=1)
    p = expit(offset + theta @ design.T)
    if len(theta) == 1:
        slope = weights @ ((y - p).T * design)
        curvature = weights @ ((p * (1 - p)).T * pairs)
    else:
        slope = (weights * (y - p)) @ design
        curvature = (weights * (p * (1 - p))) @ pairs
    slope = slope - _LITTLE * theta
    curvature = curvature.reshape(-1, k, k) + _LITTLE * np.eye(k)
    step = np.linalg.solve(curvature, slope[..., None])[..., 0]
    far = np.abs(step) @ np.abs(design).max(axis=0)
    safe = np.where(far > 1, np.log1p(far) / np.maximum(far, 1e-300), 1.0)
    return safe[:, None] * step, far
