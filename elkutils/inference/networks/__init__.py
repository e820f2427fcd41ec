"""The methods that draw the posterior of a network, and that train networks.

`network` is the protocol of a network; `mlp` and `transformer` are networks. `training` trains
many members at once. `hmc` draws from the posterior, in the `rowspace` of the inputs, and
`nuts` checks it; `threshold` draws from the prior given that the training loss is under a
threshold. `tempered` leads prior draws to the posterior and estimates the evidence. `sgmcmc`
draws from the posterior by steps on batches, and `laplace` from a Gaussian about a mode;
`infinite` has the limit of wide layers. `learning_coefficient` measures how fast the region of
low loss shrinks, and `singular` has models where that is known. `samplers` is the table of
methods that reporters and the tests of samplers share.
"""
