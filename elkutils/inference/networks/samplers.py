"""The methods that draw a network's parameters given data: one table for all who use them.

Each is called as ``(network, X, y, *, draws, chains, warmup, steps, batch, threshold, seed,
progress, weights, checkpoint, options)``, takes what it needs of these, and returns `Draws`.
`weights` (n,) is None where no row has one, and for methods that are not in `WEIGHTED`;
`checkpoint` is None for methods that are not in `RESUMED`. `options` are further arguments of
the sampler by name, or None. JAX is imported when a method runs, so that importing the table is
cheap.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature

from elkutils.inference.draws import Draws


def _draw_hmc(
    network,
    X,
    y,
    *,
    draws,
    chains,
    warmup,
    steps,
    seed,
    progress,
    weights=None,
    checkpoint=None,
    options=None,
    **_,
) -> Draws:
    from elkutils.inference.networks import hmc

    fixed = {"steps": steps, "seed": seed, "progress": progress, "weights": weights}
    fixed |= {"checkpoint": checkpoint}
    return _called(hmc.sample, options, network, X, y, draws, warmup, chains, **fixed)


def _draw_nuts(
    network, X, y, *, draws, chains, warmup, seed, progress, weights=None, options=None, **_
) -> Draws:
    from elkutils.inference.networks import nuts

    fixed = {"seed": seed, "progress": progress, "weights": weights}
    return _called(nuts.sample, options, network, X, y, draws, warmup, chains, **fixed)


def _draw_threshold(
    network,
    X,
    y,
    *,
    draws,
    chains,
    threshold,
    seed,
    progress,
    weights=None,
    options=None,
    **_,
) -> Draws:
    from elkutils.inference.networks import threshold as prior

    if threshold is None:
        raise ValueError("threshold is None; method 'threshold' needs one, in nats per row")
    fixed = {"seed": seed, "progress": progress, "weights": weights}
    return _called(prior.descend, options, network, X, y, threshold, draws * chains, **fixed)


def _draw_sgmcmc(
    network,
    X,
    y,
    *,
    draws,
    chains,
    warmup,
    steps,
    seed,
    progress,
    method,
    batch=None,
    checkpoint=None,
    options=None,
    **_,
) -> Draws:
    from elkutils.inference.networks import sgmcmc

    fixed = {"method": method, "batch": batch, "loss": sgmcmc.cross_entropy, "seed": seed}
    fixed |= {"progress": progress, "checkpoint": checkpoint}
    given = network, X, y, draws, warmup, chains, steps
    return _called(sgmcmc.sample, options, *given, **fixed)


def _draw_laplace(
    network,
    X,
    y,
    *,
    draws,
    chains,
    seed,
    progress,
    last_layer,
    checkpoint=None,
    options=None,
    **_,
) -> Draws:
    from elkutils.inference.networks import laplace

    fixed = {"last_layer": last_layer, "loss": laplace.cross_entropy, "seed": seed}
    fixed |= {"progress": progress, "checkpoint": checkpoint}
    return _called(laplace.sample, options, network, X, y, draws, chains, **fixed)


def _called(sampler: Callable, options: dict | None, *given, **fixed) -> Draws:
    """Call a sampler with options for the arguments that are not given; check their names."""
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise ValueError(f"options is {options!r}; it has to be a dict, or None")
    free = list(signature(sampler).parameters)[len(given) :]
    free = [name for name in free if name not in fixed]
    unknown = [name for name in options if name not in free]
    if unknown:
        raise ValueError(
            f"options holds {unknown[0]!r}; this method takes {', '.join(free) or 'none'}"
        )
    return sampler(*given, **fixed, **options)


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
RESUMED = frozenset(SAMPLERS) - {"nuts", "threshold"}  # those that take a checkpoint
