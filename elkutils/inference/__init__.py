"""How draws are made: the logistic posterior, its samplers and their diagnostics.

`logistic` finds the mode and the Gaussian around it in float64 NumPy, `nuts` samples the exact
posterior in that Gaussian's coordinates with NumPyro, `diagnostics` says whether the chains can
be believed, and `sbc` whether a sampler draws from the posterior it claims. Everything here
takes arrays and knows nothing of tasks or models. Only `nuts` and `sbc` import JAX.
"""
