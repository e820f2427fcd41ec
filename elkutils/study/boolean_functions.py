"""Boolean functions: how probable under the prior, and how often found by training.

A small network on four bits is one of 65,536 functions: the sign of its output on each of the
16 inputs. `prior_counts` counts the functions of prior draws. Given labels on some inputs the
functions left are few, and their probabilities under the prior given the labels are the counts
that agree with them (`given`). `trained_counts` counts what members become that are trained on
the same labels from prior draws. `agreement` compares the two, free of the error of finite
counts as far as that can be.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from elkutils._inputs import check_counts
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import draw_prior
from elkutils.inference.networks.training import Plan, train

BITS = 4
INPUTS = 1.0 - 2.0 * ((np.arange(2**BITS)[:, None] >> np.arange(BITS)) & 1)  # (16, 4), ±1
NETWORK = MLP((16,), "relu", weight_scale=float(np.sqrt(2)), bias_scale=0.5)
SHOWN = 10  # inputs with labels
LEAST = 10  # draws that a function is expected to have where it is compared
BATCH = 2**17


def codes(log_odds: np.ndarray) -> np.ndarray:
    """Return the function (k,) of each network as a number: bit i is its answer to input i.

    Parameters
    ----------
    log_odds : (k, 16) array

    Examples
    --------
    >>> codes(np.array([[1.0, -1.0, 1.0] + 13 * [-1.0]])).tolist()
    [5]
    """
    return (log_odds > 0) @ (1 << np.arange(2**BITS))


def prior_counts(draws: int, seed: int, network: MLP = NETWORK) -> np.ndarray:
    """Return how many of the prior's draws are each function, (65536,).

    Parameters
    ----------
    draws : int
        Rounded up to a multiple of `BATCH`.
    seed : int
    network : MLP
    """
    check_counts(draws=draws)
    found, key = np.zeros(2 ** (2**BITS), int), jax.random.key(seed)
    for batch in range(-(-draws // BATCH)):
        told = np.asarray(_codes(network, jax.random.fold_in(key, batch)))
        found += np.bincount(told, minlength=len(found))
    return found


@partial(jax.jit, static_argnums=0)
def _codes(network, key):
    parameters = jax.vmap(lambda k: network.init(k, BITS))(jax.random.split(key, BATCH))
    X = jnp.asarray(INPUTS, jnp.float32)
    answers = jax.vmap(lambda each: network(each, X))(parameters) > 0
    return answers @ (1 << jnp.arange(2**BITS))


@dataclass(frozen=True)
class Lesson:
    """Labels on some inputs.

    Attributes
    ----------
    rows : (10,) int array
        The inputs.
    labels : (10,) array of 0 and 1
    """

    rows: np.ndarray
    labels: np.ndarray

    @property
    def rest(self) -> np.ndarray:
        """The inputs without a label, (6,)."""
        return np.setdiff1d(np.arange(2**BITS), self.rows)


def lesson(seed: int, counts: np.ndarray, least: int = 2000) -> Lesson:
    """Return ten inputs labelled by a draw from the prior, three of each class at least.

    Parameters
    ----------
    seed : int
    counts : (65536,) array
        Of `prior_counts`: the function is drawn from them.
    least : int
        Prior draws that have to agree with the labels; another lesson is drawn where fewer do.
    """
    rng = np.random.default_rng(seed)
    while True:
        code = rng.choice(len(counts), p=counts / counts.sum())
        rows = np.sort(rng.choice(2**BITS, SHOWN, replace=False))
        found = Lesson(rows, (code >> rows) & 1)
        if 3 <= found.labels.sum() <= SHOWN - 3 and given(counts, found).sum() >= least:
            return found


def given(counts: np.ndarray, task: Lesson) -> np.ndarray:
    """Return the counts (64,) of the functions that agree with the labels.

    Entry j answers the i-th input without a label by bit i of j.
    """
    every = np.arange(2 ** len(task.rest))
    free = ((every[:, None] >> np.arange(len(task.rest))) & 1) @ (1 << task.rest)
    return counts[free + int(task.labels @ (1 << task.rows))]


def trained_counts(
    task: Lesson, plan: Plan, members: int, seed: int, network: MLP = NETWORK
) -> np.ndarray:
    """Return how many members became each function that agrees with the labels, (64,).

    Members start at prior draws. Those that have not learnt all labels are not counted.
    """
    start = draw_prior(network, members, BITS, seed)
    ends = train(network, start, INPUTS[task.rows], task.labels, plan, seed=seed)
    told = codes(ends.log_odds(INPUTS).reshape(-1, 2**BITS))
    return given(np.bincount(told, minlength=2 ** (2**BITS)), task)


@dataclass(frozen=True)
class Agreement:
    """How alike two distributions over functions are, in one lesson.

    Attributes
    ----------
    rank : float
        Spearman's correlation of the probabilities, over what finite counts leave of it.
    slope : float
        Of the logarithm of the one on that of the other.
    functions : int
        That were compared.
    """

    rank: float
    slope: float
    functions: int


def agreement(found: tuple[np.ndarray, np.ndarray], prior: tuple[np.ndarray, ...]) -> Agreement:
    """Compare what members became with the prior given the labels.

    Finite counts lower a rank correlation and flatten a slope. The correlation is divided by
    the square root of both sides' reliabilities (Spearman 1904, *The proof and measurement of
    association between two things*): the prior's is the correlation of two independent
    counts, the members' that of two halves, stepped up to the whole. The slope uses one
    count of the prior as the instrument of the other. Functions are chosen by a third count,
    so that none is compared for having been drawn often by chance.

    Parameters
    ----------
    found : two (64,) arrays
        Counts of two halves of the members.
    prior : three (64,) arrays
        Independent counts of prior draws that agree with the labels; the third chooses the
        functions of which at least `LEAST` draws are expected among the members.

    Raises
    ------
    ValueError
        If fewer than five functions are left.
    """
    members = sum(found)
    chosen = prior[2] / prior[2].sum() * members.sum() >= LEAST
    if chosen.sum() < 5:
        raise ValueError(f"{chosen.sum()} functions have {LEAST} expected draws; 5 are needed")
    whole, *halves, one, other = (
        np.log(part[chosen] + 0.5) for part in (members, *found, *prior[:2])
    )
    rank = [spearmanr(whole, each)[0] for each in (one, other)]
    half = max(spearmanr(*halves)[0], 0.0)
    reliable = 2 * half / (1 + half) * max(spearmanr(one, other)[0], 0.0)
    slopes = [
        np.cov(whole, x)[0, 1] / np.cov(z, x)[0, 1] for x, z in ((one, other), (other, one))
    ]
    rank = np.mean(rank) / np.sqrt(reliable) if reliable else 0.0
    return Agreement(float(rank), float(np.mean(slopes)), int(chosen.sum()))


def drawn(
    proba: np.ndarray, members: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts of two halves of made-up members, for `agreement`.

    Parameters
    ----------
    proba : (64,) array
        Probabilities up to a factor.
    members : int
    rng : numpy.random.Generator
    """
    proba = proba / proba.sum()
    return rng.multinomial(members // 2, proba), rng.multinomial(members - members // 2, proba)
