"""Draws of split HMC on a mesh of devices; run by test_sharding.py, one process a call.

python sharded.py OUTPUT N ROWS CHAINS [PROCESS ADDRESS]

Writes the draws of a posterior of N statements, and R and its slope at some places.
"""

import sys

import jax
import numpy as np
from jax.sharding import Mesh
from scipy.special import expit

from elkutils.inference.logistic import hmc, rows
from elkutils.inference.logistic.variational import Target

output, n, across_rows, across_chains, *distributed = sys.argv[1:]
n, shape = int(n), (int(across_rows), int(across_chains))
if distributed:
    process, address = distributed
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=int(process))
mesh = None
if np.prod(shape) > 1:
    devices = np.array(jax.devices()[: np.prod(shape)])
    mesh = Mesh(devices.reshape(shape), ("rows", "chains"))
rng = np.random.default_rng(0)
X = rng.standard_normal((n, 12))
y = (rng.random(n) < expit(X[:, 0] + 0.3)).astype(float)
found = hmc.sample(X, y, np.append(np.ones(12), 0.0), 40, chains=8, seed=0, mesh=mesh)
kept = {"theta": found.theta}
if not distributed:
    fit = found.details["fit"]
    places = len({shard.device for shard in fit.expansions[0].log_odds.addressable_shards})
    assert places == max(1, np.prod(shape)), f"the rows lie on {places} devices"
    with rows.exactly():
        z = rng.standard_normal((13, 5)).astype(np.float32)
        kept["value"], kept["slope"] = map(np.asarray, Target.of(fit)(z))
if not distributed or process == "0":
    np.savez(output, **kept)
