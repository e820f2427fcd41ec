"""How draws are made. A folder is named for what is drawn from, a file in it for how.

`logistic` holds the methods that draw the posterior of logistic regression, `networks` those
that draw the posterior of a network. Both return `draws.Draws`, and `diagnostics` shows
whether the chains have converged. `linear` has the closed forms for the case where everything
is linear and normal. `smc` leads a population to regions that plain sampling does not reach,
and `rare` uses it to estimate posterior means far below one over the number of draws. `sets`
has posteriors over sets of conditions, and `amortised` networks that learn to draw from them.

Everything here takes arrays and knows nothing of tasks or models.
"""
