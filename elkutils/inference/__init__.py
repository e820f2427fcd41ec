"""How draws are made. A folder is named for what is drawn from, a file in it for how.

`logistic` holds what draws the posterior of logistic regression, `networks` what draws the
posterior of a network. Both return `draws.Draws`, and `diagnostics` tells whether its chains
can be believed. `linear` has in closed form what everything comes to where all is linear and
normal. `smc` leads a population to what plain sampling does not reach, and with it `rare`
estimates posterior means far below one over the number of draws.

Everything here takes arrays and knows nothing of tasks or models.
"""
