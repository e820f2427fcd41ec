"""The methods that draw the posterior of logistic regression.

`mode` finds the mode and the Gaussian around it in float64 NumPy, `variational` the Gaussian
nearest to the whole posterior. `hmc` samples the exact posterior, split about the second
Gaussian, along `trajectories`; `nuts` samples it in the coordinates of the first (`whitened`),
with NumPyro; `importance` weights draws of the second. `rows` holds the data, in memory or on
disk. `samplers` is the table of methods that reporters, validation and benchmarks share, `sbc`
tests whether a method draws from the posterior it claims, and `rare` estimates probabilities
far below one over the number of draws. Only `mode`, `samplers` and `sbc` are imported without
JAX.
"""

from elkutils.inference.logistic.mode import (
    Gaussian,
    LogisticPath,
    MapFit,
    Subspace,
    default_prior_scales,
    fit_map,
    is_separable,
    laplace,
    logistic_path,
    row_space,
)

__all__ = [
    "Gaussian",
    "LogisticPath",
    "MapFit",
    "Subspace",
    "default_prior_scales",
    "fit_map",
    "is_separable",
    "laplace",
    "logistic_path",
    "row_space",
]
