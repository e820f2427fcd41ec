"""The posterior of a small network's parameters by NumPyro's NUTS: a check on `networks.hmc`.

It shares no code with `networks.hmc` beyond the network itself, and moves in all dimensions of
the inputs. All chains are one compiled program, so that every draw costs the longest tree of
any chain; `networks.hmc` is the faster by far. Single weights have no meaning (units of a layer
can be exchanged), so convergence is judged in predictions: `Draws.diagnose`.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpy.typing import ArrayLike
from numpyro.distributions import ImproperUniform, constraints
from numpyro.infer import MCMC, NUTS

from elkutils.inference._checks import (
    check_counts,
    check_rows,
    check_weights,
    warn_of_chains,
)
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import FlatNetwork, Network, flat, log_likelihood

TARGET_ACCEPT = 0.8
MAX_TREE_DEPTH = 8
FIELDS = {"acceptance_rate": "accept_prob", "diverging": "diverging", "n_steps": "num_steps"}


@single()
def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    chains: int = 32,
    seed: int = 0,
    progress: bool = False,
    weights: ArrayLike | None = None,
) -> Draws:
    """Draw from the posterior of a network's parameters given X and y.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array of 0 and 1
        One class is enough, since the prior is proper; without rows the posterior is the prior.
    draws, warmup, chains : int
        Draws kept per chain, transitions that adapt the step of each chain, and chains. Chains
        start at draws of the prior, so R-hat over many short chains shows whether they have
        come to the same place. A draw takes at most 2⁸ − 1 gradients.
    seed : int
    progress : bool
        Show a bar.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by; None for 1.

    Returns
    -------
    Draws
        Statistics "acceptance_rate", "diverging" and "n_steps" (gradients of the draw);
        details "step_size" (chains,), after warm-up in prior standard deviations, and
        "seconds", including compilation and warm-up.

    Raises
    ------
    ValueError
        For bad data or counts below 1.
    ArithmeticError
        If the log likelihood of draws of the prior is not a number.
    MemoryError
        If the draws cannot fit into the memory that is available.

    Warns
    -----
    RuntimeWarning
        If chains hardly accepted any transition, or trajectories diverged.
    """
    data = check_rows(X, y, network)
    if weights is not None:
        data = *data, check_weights(weights, len(data[1])).astype(np.float32)
    check_counts(draws=draws, warmup=warmup, chains=chains)
    check_counts(least=0, seed=seed)
    begun = time.perf_counter()
    head = flat(network, data[0].shape[1])
    head.check_memory(draws * chains)
    kernel = NUTS(
        _model(head),
        adapt_mass_matrix=False,
        target_accept_prob=TARGET_ACCEPT,
        max_tree_depth=MAX_TREE_DEPTH,
    )
    run = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=progress,
    )
    first = np.random.default_rng(seed).standard_normal((chains, head.size), dtype=np.float32)
    try:
        with jax.default_matmul_precision("highest"):
            run.run(
                jax.random.key(seed),
                *map(jnp.asarray, data),
                init_params={"z": first},
                extra_fields=tuple(FIELDS.values()),
            )
    except RuntimeError as error:
        if "valid initial parameters" not in str(error):
            raise
        raise ArithmeticError(
            "the log likelihood is not a number where chains start; rescale X, as by z-scoring,"
            " or take a smaller prior scale"
        ) from error
    found = run.get_extra_fields(group_by_chain=True)
    stats = {name: np.asarray(found[field]) for name, field in FIELDS.items()}
    warn_of_chains(stats["acceptance_rate"], stats["diverging"], stacklevel=3)
    return Draws(
        head=head,
        theta=np.asarray(run.get_samples(group_by_chain=True)["z"]) * head.scales,
        stats=stats,
        details={
            "step_size": np.asarray(run.last_state.adapt_state.step_size),
            "seconds": time.perf_counter() - begun,
        },
    )


def _model(head: FlatNetwork):
    """The network in the coordinates z = θ/s, where s are the prior's standard deviations."""

    def model(X, y, *weights):
        z = numpyro.sample("z", ImproperUniform(constraints.real_vector, (), (head.size,)))
        parameters = head.from_white(z)
        fit = log_likelihood(head.network(parameters, X), y, *weights)
        numpyro.factor("posterior", head.network.log_prior(parameters) + fit)

    return model
