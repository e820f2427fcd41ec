"""The methods that draw a network's parameters given data: one table for all who use them.

Each is called as ``(network, X, y, *, draws, chains, warmup, steps, threshold, seed,
progress, weights)``, takes what it needs of these, and returns `Draws`; `weights` (n,) is None
where no row has one. JAX is imported when a method runs, so that importing the table is cheap.
"""

from elkutils.inference.draws import Draws


def _draw_hmc(
    network, X, y, *, draws, chains, warmup, steps, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import hmc

    options = {"steps": steps, "seed": seed, "progress": progress, "weights": weights}
    return hmc.sample(network, X, y, draws, warmup, chains, kernel="hmc", **options)


def _draw_nuts(
    network, X, y, *, draws, chains, warmup, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import hmc

    options = {"seed": seed, "progress": progress, "weights": weights}
    return hmc.sample(network, X, y, draws, warmup, chains, kernel="nuts", **options)


def _draw_threshold(
    network, X, y, *, draws, chains, threshold, seed, progress, weights=None, **_
) -> Draws:
    from elkutils.inference.networks import threshold as prior

    if threshold is None:
        raise ValueError("threshold is None; method 'threshold' needs one, in nats per row")
    options = {"seed": seed, "progress": progress, "weights": weights}
    return prior.descend(network, X, y, threshold, draws * chains, **options)


SAMPLERS = {"hmc": _draw_hmc, "nuts": _draw_nuts, "threshold": _draw_threshold}
