"""Networks whose inputs span few dimensions, sampled in those dimensions alone.

Where weights W (d, k) meet the inputs only in the product XW and the rows of X span r < d
dimensions, X = XBBᵀ with orthonormal columns B (d, r), and the likelihood sees BᵀW (r, k)
alone. Its prior is that of W, independent normal with the same standard deviation s, since B
is orthonormal; and what is left of W, (I − BBᵀ)W, keeps its prior. So chains move BᵀW, and each
draw is completed by a fresh (I − BBᵀ)G, G ~ N(0, s²): a pre-activation of a new row x then has
a fresh part N(0, s²‖x⊥‖²), which is the same whenever and with whatever other rows the draw is
asked. This is exact. `logistic.mode.Subspace` is the same for logistic regression.
"""

from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from elkutils.inference.networks.network import FlatNetwork, Network, Parameters, flat


@dataclass(frozen=True)
class ReducedNetwork(FlatNetwork):
    """A network on d inputs whose input weights are known in `rank` of the d directions only.

    Everything else is as in `FlatNetwork`; its inputs are (n, rank).

    Examples
    --------
    >>> from elkutils.inference.networks.mlp import MLP
    >>> ReducedNetwork(MLP((3,)), 10, 2).size  # 2 · 3 weights, 3 biases, 3 weights, 1 bias
    13
    """

    rank: int

    @cached_property
    def form(self) -> Parameters:
        """The parameters' shapes and types."""
        return jax.tree.map(
            lambda leaf, meets: (
                jax.ShapeDtypeStruct((self.rank, *leaf.shape[1:]), leaf.dtype)
                if meets
                else leaf
            ),
            flat(self.network, self.features).form,
            self.network.input_weights(self.features),
        )

    def lift(
        self, theta: np.ndarray, basis: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return θ (k, p) of the whole network, from θ (k, size) of this one.

        Parameters
        ----------
        theta : (k, size) array
        basis : (d, rank) array
            Orthonormal columns.
        rng : numpy.random.Generator
            Draws what the data do not see from its prior.
        """
        whole = flat(self.network, self.features)
        seen, tree = jax.tree.flatten(self.parameters(theta))
        meets = jax.tree.leaves(self.network.input_weights(self.features))
        scales = jax.tree.leaves(self.network.scales(self.features))
        basis = basis.astype(theta.dtype)
        for i, leaf in enumerate(seen):
            if meets[i]:
                shape = *leaf.shape[2:], self.features
                missing = np.empty((len(leaf), *shape), theta.dtype)
                for each in missing:
                    each[...] = scales[i] * rng.standard_normal(shape, dtype=theta.dtype)
                missing -= (missing @ basis) @ basis.T
                missing += np.moveaxis(leaf, 1, -1) @ basis.T
                seen[i] = np.moveaxis(missing, -1, 1)
        return np.asarray(whole.flatten(tree.unflatten(seen)))


def reduce(network: Network, X: np.ndarray) -> tuple[FlatNetwork, np.ndarray | None]:
    """Return the network in the row space of X (n, d), and a basis (d, r) of that space.

    The basis is None where nothing is gained: the network does not say that it sees X only
    through products with weights (`input_weights`), or the rows span all d dimensions.
    Directions in which X is below the rounding of float32 are not counted.
    """
    whole = flat(network, X.shape[1])
    if not callable(getattr(network, "input_weights", None)):
        return whole, None
    _, values, rows = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    rank = int(np.sum(values > values.max(initial=0.0) * np.finfo(np.float32).eps))
    if rank == X.shape[1]:
        return whole, None
    return ReducedNetwork(network, X.shape[1], rank), rows[:rank].T
