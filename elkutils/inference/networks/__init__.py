"""What draws the posterior of a network, and what trains one.

`network` is the protocol that a network obeys, and `mlp` the first that does. `training` trains
many members at once, `hmc` draws from the posterior, and `threshold` from the prior given that
the training loss is under a threshold. `samplers` is the table of methods that reporters,
validation and benchmarks share.
"""
