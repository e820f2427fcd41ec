"""The argument's own posterior: draws of the prior whose training loss is under a threshold.

"Sampling from the posterior" can be read as: draw initial weights from the prior and keep them
if the mean training loss is at most t. That is a posterior under a likelihood of 0 or 1, in
place of exp(−n·loss). `sample` does just this, by the hundred thousand, and `tried` and
`log_rate` say what it cost. `descend` reaches thresholds that no prior draw would meet in a
lifetime, through a sequence of falling thresholds (`smc.constrain`); it gives the same
distribution up to Monte Carlo error, with draws that are not quite independent.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils.inference import smc
from elkutils.inference.heads import MLP, Parameters, draw, log_likelihood, log_odds
from elkutils.inference.networks import check_counts, check_rows, prior_scales

FLOATS = 4


@dataclass(frozen=True)
class Accepted:
    """Draws of the prior given that the mean training loss is at most a threshold.

    Attributes
    ----------
    head : MLP
    parameters : Parameters
        Every leaf with the leading axis (draws,), which may be 0.
    losses : (draws,) array
        Mean training loss of each, in nats a row.
    threshold : float
    log_rate : float
        Log of the share of the prior that is accepted, in nats; −∞ where none was.
    tried : int
        Prior draws tried, or trajectories of particles in `descend`.
    population : smc.Population or None
        What `descend` went through.
    """

    head: MLP
    parameters: Parameters
    losses: np.ndarray
    threshold: float
    log_rate: float
    tried: int
    population: smc.Population | None = None

    def log_odds(self, X: ArrayLike) -> np.ndarray:
        """Return the log odds (draws, n) of X (n, d)."""
        return log_odds(self.head, self.parameters, X)

    def sample_proba(self, X: ArrayLike) -> np.ndarray:
        """Return draws of the probability of 1, (draws, n)."""
        return np.asarray(jax.nn.sigmoid(self.log_odds(X)))


def sample(
    head: MLP,
    X: ArrayLike,
    y: ArrayLike,
    threshold: float,
    draws: int | None = None,
    tries: int = 100_000,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> Accepted:
    """Draw heads from the prior and keep those whose mean training loss is at most `threshold`.

    Parameters
    ----------
    head : MLP
    X : (n, d) array
    y : (n,) array of 0 and 1
    threshold : float
        In nats a row. Saying ½ to everything costs log 2 = 0.693.
    draws : int or None
        Accepted draws after which to stop; None to use all tries. The rate stays unbiased,
        because the last batch is counted whole, and its surplus draws are kept.
    tries : int
        Prior draws at most. Where none is accepted the result is empty and its rate 0.
    memory : int
        Bytes that a batch may take.
    seed : int
        Draw number i has a key of its own, whatever the batches.
    progress : bool
        Show draws tried and accepted.

    Raises
    ------
    ValueError
        For bad data, no rows, a threshold that is not positive, or counts below 1.
    """
    X, y = _check(X, y, threshold, tries=tries, draws=1 if draws is None else draws)
    tried, kept, losses = 0, [], []
    for numbers, found, bar in _tries(head, X, y, tries, memory, seed, progress):
        under = found <= threshold
        tried += len(numbers)
        kept.append(numbers[under])
        losses.append(found[under])
        accepted = sum(map(len, kept))
        bar.set_postfix(accepted=accepted)
        if draws is not None and accepted >= draws:
            break
    numbers = np.concatenate(kept)
    with np.errstate(divide="ignore"):
        log_rate = float(np.log(len(numbers) / tried))
    parameters = jax.tree.map(np.asarray, draw(head, numbers, X.shape[1], seed))
    return Accepted(head, parameters, np.concatenate(losses), float(threshold), log_rate, tried)


def prior_losses(
    head: MLP,
    X: ArrayLike,
    y: ArrayLike,
    tries: int = 100_000,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Return the mean training loss (tries,) of prior draws: what thresholds can be reached.

    The draws are those that `sample` tries with the same seed, so those of `heads.draw`.
    """
    X, y = _check(X, y, 1.0, tries=tries)
    blocks = _tries(head, X, y, tries, memory, seed, progress)
    return np.concatenate([losses for _, losses, _ in blocks])


def descend(
    head: MLP,
    X: ArrayLike,
    y: ArrayLike,
    threshold: float,
    draws: int = 1000,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    last_moves: int | None = None,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> Accepted:
    """Draw heads from the prior given that their mean training loss is at most `threshold`.

    A population of `draws` heads falls through a sequence of thresholds, each of which keeps
    `share` of it; the others are replaced by copies, and all are moved inside the constraint.
    Its `population` says how much of each level the moves forgot and how many of the heads it
    began with have descendants; a second run with another seed says how far to trust it.

    Parameters are those of `sample` and of `smc.constrain`.

    Raises
    ------
    ValueError
        For bad data, no rows, a threshold that is not positive, or counts below 1.
    ArithmeticError
        If the losses stop falling above the threshold.
    """
    X, y = _check(X, y, threshold, draws=draws)
    n, d = X.shape
    scales, unravel = prior_scales(head, d)
    start = np.random.default_rng((seed, 1)).standard_normal((draws, len(scales)))
    population = smc.constrain(
        _loss_at(head, d),
        threshold,
        start,
        (X, y),
        share=share,
        steps=steps,
        most_moves=most_moves,
        last_moves=last_moves,
        batch=batch_size(head, n, d, memory // 4),
        seed=seed,
        progress=progress,
    )
    parameters = jax.vmap(unravel)(jnp.asarray(population.particles) * scales)
    return Accepted(
        head=head,
        parameters=jax.tree.map(np.asarray, parameters),
        losses=population.values,
        threshold=float(threshold),
        log_rate=population.log_ratio,
        tried=draws * int(population.moves.sum()),
        population=population,
    )


def batch_size(head: MLP, n: int, d: int, memory: int) -> int:
    """Return how many heads fit into `memory` bytes, parameters and units of n rows; ≥ 1."""
    parameters = len(prior_scales(head, d)[0])
    units = n * (sum(head.widths) + 1)
    return int(max(1, memory // (FLOATS * (parameters + 2 * units))))


def mean_loss(head: MLP, parameters: Parameters, X: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean training loss, in nats a row."""
    return -log_likelihood(head(parameters, X), y) / len(y)


@partial(jax.jit, static_argnames="head")
def _losses(parameters, X, y, *, head):
    return jax.vmap(lambda each: mean_loss(head, each, X, y))(parameters)


@lru_cache(maxsize=16)
def _loss_at(head, d):
    """The mean loss as a function of z; one object for each head, so that programs are kept."""
    scales, unravel = prior_scales(head, d)
    return lambda z, X, y: mean_loss(head, unravel(z * scales), X, y)


def _tries(head, X, y, tries, memory, seed, progress):
    """Yield the numbers of prior draws, their losses, and the bar, a batch at a time."""
    batch = min(tries, batch_size(head, *X.shape, memory))
    X, y = jnp.asarray(X), jnp.asarray(y)
    with tqdm(total=tries, disable=not progress, desc="prior", unit="draw") as bar:
        for begin in range(0, tries, batch):
            numbers = np.arange(begin, begin + batch)  # the last may be surplus
            drawn = draw(head, numbers, X.shape[1], seed)
            losses = np.asarray(_losses(drawn, X, y, head=head))
            used = min(batch, tries - begin)
            bar.update(used)
            yield numbers[:used], losses[:used], bar


def _check(X, y, threshold, **counts) -> tuple[np.ndarray, np.ndarray]:
    X, y = check_rows(X, y)
    if not len(y):
        raise ValueError("X has no rows; a training loss needs one")
    if not 0 < threshold < np.inf:
        raise ValueError(f"threshold is {threshold}; it has to be positive and finite")
    check_counts(**counts)
    return X, y
