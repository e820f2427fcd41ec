"""The methods that draw a network's parameters given data: one table for all who use them.

Each is called as ``(network, X, y, *, draws, chains, warmup, steps, batch, threshold, seed,
progress, weights)``, takes what it needs of these, and returns `Draws`; `weights` (n,) is None
where no row has one, and for methods that are not in `WEIGHTED`. JAX is imported when a method
runs, so that importing the table is cheap.
"""

from functools import partial

from elkutils.inference.draws import Draws


def _draw_hmc(
    network, X, y, *, draws, chains, warmup, steps, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import hmc

    options = {"steps": steps, "seed": seed, "progress": progress, "weights": weights}
    return hmc.sample(network, X, y, draws, warmup, chains, **options)


def _draw_nuts(
    network, X, y, *, draws, chains, warmup, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import nuts

    options = {"seed": seed, "progress": progress, "weights": weights}
    return nuts.sample(network, X, y, draws, warmup, chains, **options)


def _draw_threshold(
    network, X, y, *, draws, chains, threshold, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import threshold as prior

    if threshold is None:
        raise ValueError("threshold is None; method 'threshold' needs one, in nats per row")
    options = {"seed": seed, "progress": progress, "weights": weights}
    return prior.descend(network, X, y, threshold, draws * chains, **options)


def _draw_sgmcmc(
    network, X, y, *, draws, chains, warmup, steps, seed, progress, method, batch=None, **_
) -> Draws:
    from elkutils.inference.networks import sgmcmc

    options = {"method": method, "batch": batch, "seed": seed, "progress": progress}
    return sgmcmc.sample(network, X, y, draws, warmup, chains, steps, **options)


def _draw_laplace(network, X, y, *, draws, chains, seed, progress, last_layer, **_) -> Draws:
    from elkutils.inference.networks import laplace

    options = {"last_layer": last_layer, "seed": seed, "progress": progress}
    return laplace.sample(network, X, y, draws, chains, **options)


SAMPLERS = {
    "hmc": _draw_hmc,
    "nuts": _draw_nuts,
    "sghmc": partial(_draw_sgmcmc, method="sghmc"),
    "sgld": partial(_draw_sgmcmc, method="sgld"),
    "laplace": partial(_draw_laplace, last_layer=False),
    "last_layer_laplace": partial(_draw_laplace, last_layer=True),
    "threshold": _draw_threshold,
}
WEIGHTED = frozenset({"hmc", "nuts", "threshold"})  # those that take weights of rows
