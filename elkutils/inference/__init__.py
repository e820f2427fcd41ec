"""How draws are made: the logistic posterior, its samplers and their diagnostics.

`logistic` finds the mode and the Gaussian around it in float64 NumPy, `variational` the
Gaussian nearest to the whole posterior. `hmc` samples the exact posterior split about the
second, moving along `trajectories`; `nuts` samples it in the coordinates of the first, with
NumPyro; `importance` weighs draws of the second. `rows` says where the data are, `checkpoint`
keeps an interrupted run. `diagnostics` says whether the chains can be believed, `sbc` whether a
sampler draws from the posterior it claims, and `timings` how long others take.

`heads` are small networks as pure functions, `ensembles` trains many of them at once, and
`linear_gaussian` has in closed form what both come to where everything is linear and normal.
`networks` draws a head from its posterior, `rejection` from the prior given that the training
loss is under a threshold. `smc` leads a population to what neither reaches, and with it `rare`
estimates posterior means far below one over the number of draws.

Everything here takes arrays and knows nothing of tasks or models. Only `logistic`,
`linear_gaussian`, `diagnostics` and `timings` do without JAX.
"""
