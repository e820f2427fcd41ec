"""The posterior of a small network by tempering, which also estimates its evidence.

A population of prior draws is led to the posterior through powers of the likelihood
(`smc.temper`). It shares no code with HMC's chains, so that each can check the other, and the
normaliser that it estimates on the way is the evidence, by which prior scales are chosen.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from elkutils.inference import smc
from elkutils.inference._checks import check_counts, check_rows
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import FlatNetwork, Network, flat, log_likelihood


@single()
def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 128,
    share: float = 0.5,
    steps: int = 8,
    most_moves: int = 20,
    memory: int = 2**27,
    seed: int = 0,
    progress: bool = False,
) -> Draws:
    """Lead draws of the prior to draws of the posterior, and estimate the evidence.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array of 0 and 1
    draws : int
        Particles, at least 2.
    share, steps, most_moves, seed, progress
        As in `smc.temper`.
    memory : int
        Largest number of bytes of a batch.

    Returns
    -------
    Draws
        As one chain (1, draws), not quite independent of each other. Details: "log_evidence",
        in nats; "log_evidence_error", its Monte Carlo standard error from this run alone;
        "population", the final `smc.Population`.

    Raises
    ------
    ValueError
        For bad data or arguments.
    MemoryError
        If the draws cannot fit into the memory that is available.

    Warns
    -----
    RuntimeWarning
        If particles hardly moved; see `smc.Population.stuck`.
    """
    X, y = check_rows(X, y, network)
    check_counts(draws=draws)
    head = flat(network, X.shape[1])
    head.check_memory(draws)
    start = np.random.default_rng((seed, 2)).standard_normal((draws, head.size))
    population = smc.temper(
        _log_likelihood_at(head),
        start,
        (X, y),
        share=share,
        steps=steps,
        most_moves=most_moves,
        batch=head.at_once(len(X), memory // 4),
        seed=seed,
        progress=progress,
    )
    return Draws(
        head,
        (population.particles * head.scales)[None],
        {"log_likelihood": population.values[None]},
        {
            "log_evidence": population.log_ratio,
            "log_evidence_error": population.log_ratio_error,
            "population": population,
        },
    )


@lru_cache(maxsize=16)
def _log_likelihood_at(head: FlatNetwork):
    """The log likelihood as a function of z; one object per head, so that programs are kept."""
    return lambda z, X, y: log_likelihood(head.network(head.from_white(z), X), y)
