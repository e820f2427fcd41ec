"""Bags of networks trained on resampled rows, tuned as `tuned_bags` tunes linear ones.

Members start at draws of a prior, each with its own resample of the rows, and stop after a
number of Adam's steps. `tuned_networks` chooses the scale of the starts and the stop together,
by the log score of a small bag on held-out groups, and goes on where the latest stop is best;
`held_out_scale` chooses a posterior's prior on the same groups.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit

from elkutils.inference.draws import mean_log_odds
from elkutils.study.tuned_bags import folds, resampled

if TYPE_CHECKING:
    from elkutils.inference.draws import Draws
    from elkutils.inference.networks.mlp import MLP
    from elkutils.inference.networks.training import Course

STARTS = 0.25, 0.5, 1.0, 2.0  # weight scales of the prior from which members start
STOPS = 5, 10, 20, 40, 80, 160  # steps of Adam
LATEST = 640  # stops are doubled up to this, from the best start, as long as the last is best
SPEED = 2.0  # change of a typical log odds per step, about
TRIAL_MEMBERS = 4  # of a bag that is tried on held-out groups
LOOKED_AT = 16  # rows at which slopes are taken


def tuned_networks(
    network: "MLP", X: np.ndarray, y: np.ndarray, groups: np.ndarray, members: int, seed: int
) -> tuple["Draws", str]:
    """Return the bag whose start and stop do best on held-out groups, and how it was trained.

    Parameters
    ----------
    network : MLP
        Its weight scale is not looked at.
    X : (n, d) array
    y : (n,) array of 0 and 1
    groups : (n,) array
    members : int
    seed : int

    Raises
    ------
    ValueError
        If a class is in fewer than two groups.
    """
    pairs, starts, stops = folds(y, groups), STARTS, STOPS
    while True:
        totals = np.zeros((len(starts), len(stops)))
        for fold, (train, test) in enumerate(pairs):
            seeds = seed, fold
            found = course(network, X[train], y[train], TRIAL_MEMBERS, seeds, starts, stops)
            sign = np.where(y[test] == 1, 1, -1)
            for j, bags in enumerate(found.at_steps):
                told = np.split(np.concatenate(bags.log_odds(X[test])), len(starts))
                totals[:, j] += [log_expit(sign * mean_log_odds(f)).sum() for f in told]
        i, j = np.unravel_index(totals.argmax(), totals.shape)
        starts, stop = starts[i : i + 1], stops[j]
        if stop < stops[-1] or stop == LATEST:
            break
        stops = *stops, 2 * stop
    seeds = seed, len(pairs)
    bag = course(network, X, y, members, seeds, starts, stops[: j + 1]).end
    return bag, f"start {starts[0]:g}, {stop} steps"


def held_out_scale(X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """Return the weight scale under which one wide hidden layer does best on held-out groups.

    Each scale is scored by its most probable log odds at infinite width, as the prior scale of
    a linear head is by its most probable weights.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    groups : (n,) array

    Raises
    ------
    ValueError
        If a class is in fewer than two groups.
    """
    from elkutils.inference.networks.function_space import Process
    from elkutils.inference.networks.infinite import SCALES, infinite_width_kernel
    from elkutils.inference.networks.mlp import MLP

    pairs, scores = folds(y, groups), {}
    for scale in SCALES:
        network = MLP((1,), weight_scale=scale)
        kernel, total = infinite_width_kernel(network, X) - network.bias_scale**2, 0.0
        for train, test in pairs:
            process = Process.of(kernel[np.ix_(train, train)], network.bias_scale)
            *latent, bias = process.mode(y[train])
            told = kernel[np.ix_(test, train)] @ process.inverse @ latent + bias
            total += log_expit(np.where(y[test] == 1, 1, -1) * told).sum()
        scores[scale] = total
    return max(scores, key=scores.get)


def course(
    network: "MLP",
    X: np.ndarray,
    y: np.ndarray,
    members: int,
    seed: Sequence[int],
    starts: Sequence[float],
    stops: Sequence[int],
) -> "Course":
    """Train members on their own resamples, and keep them at stops.

    Parameters
    ----------
    network : MLP
    X : (n, d) array
    y : (n,) array of 0 and 1
    members : int
        For each start.
    seed : sequence of int
    starts : sequence of float
        Weight scales of the prior from which members start.
    stops : sequence of int
        Ascending numbers of steps.
    """
    from elkutils.inference.networks.network import draw_prior
    from elkutils.inference.networks.training import Plan, train_course

    rng = np.random.default_rng(seed)
    heads = [replace(network, weight_scale=scale) for scale in starts]
    drawn = [draw_prior(head, members, X.shape[1], int(rng.integers(2**31))) for head in heads]
    start = jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
    counts = np.tile(resampled(y, members, rng), (len(starts), 1))
    plan = Plan(stops[-1], learning_rate(network, X), every=stops[-1])
    return train_course(network, start, X, y, plan, steps=stops, weights=counts)


def learning_rate(network: "MLP", X: np.ndarray) -> float:
    """Return the rate at which Adam's first step moves a typical log odds by `SPEED`, about.

    The first step moves each weight by the rate, so it moves the log odds of a row by at most
    the rate times the sum of the sizes of its slopes. These are taken at a few rows, and at a
    few draws of the prior of weight scale 1.

    Parameters
    ----------
    network : MLP
        Its weight scale is not looked at.
    X : (n, d) array
    """
    from elkutils.inference.networks.network import draw_prior

    drawn = draw_prior(replace(network, weight_scale=1.0), TRIAL_MEMBERS, X.shape[1], 0)
    return SPEED / float(_slopes(network, drawn, np.asarray(X[:LOOKED_AT], np.float32)))


@partial(jax.jit, static_argnums=0)
def _slopes(network, drawn, X):
    """The sum of the sizes of the slopes of the log odds, a mean over draws and rows."""
    slope = jax.grad(lambda parameters, x: network(parameters, x[None])[0])
    found = jax.vmap(jax.vmap(slope, (None, 0)), (0, None))(drawn, X)
    sizes = [jnp.abs(leaf).reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(found)]
    return sum(size.sum(axis=-1) for size in sizes).mean()
