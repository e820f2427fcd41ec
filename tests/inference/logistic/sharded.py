"""Draws of split HMC on a mesh of devices; run by test_sharding.py, one process a call.

python sharded.py OUTPUT ROWS CHAINS [PROCESS ADDRESS]
"""

import sys

import jax
import numpy as np
from jax.sharding import Mesh
from scipy.special import expit

from elkutils.inference.logistic import hmc

output, across_rows, across_chains, *distributed = sys.argv[1:]
shape = int(across_rows), int(across_chains)
if distributed:
    process, address = distributed
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=int(process))
mesh = None
if np.prod(shape) > 1:
    mesh = Mesh(np.array(jax.devices()).reshape(shape), ("rows", "chains"))
rng = np.random.default_rng(0)
X = rng.standard_normal((900, 12))
y = (rng.random(900) < expit(X[:, 0] + 0.3)).astype(float)
found = hmc.sample(X, y, np.append(np.ones(12), 0.0), 40, chains=8, seed=0, mesh=mesh)
if not distributed or process == "0":
    np.save(output, found.theta)
