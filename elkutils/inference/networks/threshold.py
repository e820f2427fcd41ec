"""The argument's own posterior: draws of the prior whose training loss is under a threshold.

"Sampling from the posterior" can be read as: draw initial weights from the prior and keep them
if the mean training loss is at most t. That is a posterior under a likelihood of 0 or 1, in
place of exp(−n·loss). `sample` does exactly this, in batches, and the details "tried" and
"log_rate" record its cost. `descend` reaches thresholds that prior draws would practically
never meet, through a sequence of falling thresholds (`smc.constrain`); it gives the same
distribution up to Monte Carlo error, with draws that are not quite independent.
`descend_each` keeps what it has at several thresholds on the way.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils.inference import smc
from elkutils.inference._checks import check_counts, check_rows, check_weights
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import (
    FlatNetwork,
    Network,
    draw_prior,
    flat,
    mean_loss,
)


@single()
def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    threshold: float,
    draws: int | None = None,
    tries: int = 100_000,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> Draws:
    """Draw heads from the prior and keep those whose mean training loss is at most `threshold`.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array of 0 and 1
    threshold : float
        In nats per row. A probability of ½ everywhere costs log 2 = 0.693.
    draws : int or None
        Stop after this number of accepted draws; None to use all tries. The last batch is
        counted whole and its surplus draws are kept. Stopping by successes raises the rate, on
        average by about one part in `draws`; with None it is unbiased.
    tries : int
        Largest number of prior draws. Where none is accepted the result is empty and its rate
        0.
    memory : int
        Largest number of bytes of a batch.
    seed : int
        Draw number i has a key of its own, whatever the batches.
    progress : bool
        Show draws tried and accepted.

    Returns
    -------
    Draws
        The accepted draws, possibly none, as one chain (1, accepted). Statistics: "loss", the
        mean training loss in nats per row. Details: "threshold"; "log_rate", the log of the
        accepted share of the prior, in nats, −∞ where none was; "tried", prior draws tried.

    Raises
    ------
    ValueError
        For bad data, no rows, a threshold that is not positive, or counts below 1.
    """
    X, y = _check(network, X, y, threshold, tries=tries, draws=1 if draws is None else draws)
    tried, kept, losses = 0, [], []
    for numbers, found, bar in _tries(
        flat(network, X.shape[1]), X, y, tries, memory, seed, progress
    ):
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
    head = flat(network, X.shape[1])
    theta = head.flatten(draw_prior(network, numbers, X.shape[1], seed))
    return Draws(
        head,
        np.asarray(theta)[None],
        {"loss": np.concatenate(losses)[None]},
        {"threshold": float(threshold), "log_rate": log_rate, "tried": tried},
    )


@single()
def prior_losses(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    tries: int = 100_000,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Return the mean training loss (tries,) of prior draws, which shows what is reachable.

    The draws are those that `sample` tries with the same seed, and so those of `draw_prior`.
    """
    X, y = _check(network, X, y, 1.0, tries=tries)
    blocks = _tries(flat(network, X.shape[1]), X, y, tries, memory, seed, progress)
    return np.concatenate([losses for _, losses, _ in blocks])


@single()
def descend(
    network: Network,
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
    weights: ArrayLike | None = None,
) -> Draws:
    """Draw heads from the prior given that their mean training loss is at most `threshold`.

    A population of `draws` heads falls through a sequence of thresholds, each of which keeps
    `share` of it; the others are replaced by copies, and all are moved inside the constraint.
    The detail "log_rate_error" is the Monte Carlo error of "log_rate". The detail "population"
    records how much of each level the moves forgot and how many of the heads it began with
    have descendants; a second run with another seed shows how far to trust it.

    Parameters are those of `sample` and of `smc.constrain`; with `weights` (n,) the mean is
    weighted.

    Returns
    -------
    Draws
        As `sample`, with "tried" the trajectories of all particles, and the details
        "log_rate_error", the standard error of "log_rate" in nats, and "population", the
        final `smc.Population`.

    Raises
    ------
    ValueError
        For bad data, no rows, a threshold that is not positive, or counts below 1.
    ArithmeticError
        If the losses stop falling above the threshold.

    Warns
    -----
    RuntimeWarning
        If at some threshold heads hardly moved; see `smc.Population.stuck`.
    """
    return descend_each(
        network,
        X,
        y,
        (threshold,),
        draws,
        share,
        steps,
        most_moves,
        last_moves,
        memory,
        seed,
        progress,
        weights,
    )[0]


@single()
def descend_each(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    thresholds: Sequence[float],
    draws: int = 1000,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 100,
    last_moves: int | None = None,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
    weights: ArrayLike | None = None,
) -> list[Draws]:
    """Draw heads under each of several thresholds, which fall, in one descent: see `descend`.

    Returns
    -------
    list of Draws
        One per threshold, as `descend` returns it; "tried" counts from the start.

    Raises
    ------
    ValueError
        As `descend`, and if `thresholds` is empty or does not fall.
    ArithmeticError
        If the losses stop falling above a threshold.
    """
    for threshold in thresholds:
        X, y = _check(network, X, y, threshold, draws=draws)
    data = X, y
    if weights is not None:
        data = X, y, check_weights(weights, len(y)).astype(np.float32)
        if not data[2].any():
            raise ValueError("weights is zero in every row; a mean loss needs one that counts")
    head = flat(network, np.shape(X)[1])
    head.check_memory(draws)
    start = np.random.default_rng((seed, 1)).standard_normal((draws, head.size))
    found = smc.constrain_each(
        _loss_at(head),
        thresholds,
        start,
        data,
        share=share,
        steps=steps,
        most_moves=most_moves,
        last_moves=last_moves,
        batch=head.at_once(len(X), memory // 4),
        seed=seed,
        progress=progress,
    )
    return [
        Draws(
            head,
            (population.particles * head.scales)[None],
            {"loss": population.values[None]},
            {
                "threshold": float(threshold),
                "log_rate": population.log_ratio,
                "log_rate_error": population.log_ratio_error,
                "tried": draws * int(population.moves.sum()),
                "population": population,
            },
        )
        for threshold, population in zip(thresholds, found, strict=True)
    ]


@partial(jax.jit, static_argnames="network")
def _losses(parameters, X, y, *, network):
    return jax.vmap(lambda each: mean_loss(network, each, X, y))(parameters)


@lru_cache(maxsize=16)
def _loss_at(head: FlatNetwork):
    """The mean loss as a function of z; one object per head, so that programs are kept."""
    return lambda z, X, y, *weights: mean_loss(head.network, head.from_white(z), X, y, *weights)


def _tries(head, X, y, tries, memory, seed, progress):
    """Yield the numbers of prior draws, their losses, and the bar, a batch at a time."""
    batch = min(tries, head.at_once(len(X), memory))
    X, y = jnp.asarray(X), jnp.asarray(y)
    with tqdm(total=tries, disable=not progress, desc="prior", unit="draw") as bar:
        for begin in range(0, tries, batch):
            numbers = np.arange(begin, begin + batch)  # the last may be surplus
            drawn = draw_prior(head.network, numbers, X.shape[1], seed)
            losses = np.asarray(_losses(drawn, X, y, network=head.network))
            used = min(batch, tries - begin)
            bar.update(used)
            yield numbers[:used], losses[:used], bar


def _check(network, X, y, threshold, **counts) -> tuple[np.ndarray, np.ndarray]:
    X, y = check_rows(X, y, network)
    if not len(y):
        raise ValueError("X has no rows; a training loss needs one")
    if not 0 < threshold < np.inf:
        raise ValueError(f"threshold is {threshold}; it has to be positive and finite")
    check_counts(**counts)
    return X, y
