"""The kernel of a network: products of the gradients of its log odds, rows by rows.

The Jacobian J (n, p) of the log odds at n rows makes the kernel K = JJᵀ (n, n), which is all
that a network that is taken as linear in its parameters needs: the *neural tangent kernel* at
that point, weighted by the prior (Jacot, Gabriel & Hongler 2018, *Neural tangent kernel*).
Gradients are held for a block of rows at a time, so memory does not grow with n · p. All is in
float64.
"""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils.inference._checks import check_counts
from elkutils.inference._precision import exactly
from elkutils.inference.networks.network import FlatNetwork

COPIES = 4  # of a block's gradients, on their way into one matrix
BYTES = 8
MEMORY = 2**29


def kernel(
    head: FlatNetwork,
    z: np.ndarray,
    left: ArrayLike,
    right: ArrayLike | None = None,
    *,
    chosen: np.ndarray | None = None,
    memory: int = MEMORY,
    progress: bool = False,
) -> np.ndarray:
    """Return J(left)J(right)ᵀ, (rows of left, rows of right).

    J is the Jacobian of the log odds at z, in prior standard deviations, with respect to the
    chosen parameters.

    Parameters
    ----------
    head : FlatNetwork
    z : (p,) array
    left, right : (n, d) and (m, d) arrays
        `right` is None for `left` itself. Gradients of `left` are computed anew for each block
        of `right`: have the fewer rows on the right.
    chosen : (k,) int array or None
        None for all parameters.
    memory : int
        Bytes for the gradients of two blocks of rows; a block has one row at least.
    progress : bool
        Show a bar over the rows of `left`, for all blocks of `right`.

    Raises
    ------
    ValueError
        If `z` has another length than the parameters, rows are not finite tables of d columns,
        or `memory` is not a whole number ≥ 1.

    Examples
    --------
    A linear network's is the product of its inputs, weighted by the prior.

    >>> from elkutils.inference.networks.mlp import MLP
    >>> from elkutils.inference.networks.network import flat
    >>> kernel(flat(MLP(), 2), np.zeros(3), [[1.0, 3.0]], [[1.0, 1.0]]).round(6).tolist()
    [[3.0]]
    """
    right = left if right is None else right
    options = {"chosen": chosen, "memory": memory, "progress": progress}
    return products(head, z, left, right, **options)[0]


def products(
    head: FlatNetwork,
    z: np.ndarray,
    left: ArrayLike,
    right: ArrayLike,
    *,
    chosen: np.ndarray | None = None,
    memory: int = MEMORY,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return `kernel`, and the squared length (n,) of each row of J(left).

    With no rows on the right these are all that is computed. Parameters and errors are those
    of `kernel`.
    """
    same, left, right = right is left, head.check(left), head.check(right)
    blocks = Blocks(head, z, chosen, memory)
    found, squares = np.empty((len(left), len(right))), np.empty(len(left))
    columns = list(blocks.of(len(right))) or [slice(0, 0)]
    total = len(left) * len(columns)
    with tqdm(total=total, disable=not progress, desc="kernel", unit="row") as bar:
        for column in columns:
            ours = blocks.jacobian(right[column])
            for row in blocks.of(len(left)):
                bar.update(row.stop - row.start)
                if same and row.start < column.start:
                    found[row, column] = found[column, row].T
                    continue
                theirs = ours if same and row == column else blocks.jacobian(left[row])
                found[row, column] = theirs @ ours.T
                squares[row] = np.sum(theirs**2, axis=1)
    return found, squares


class Blocks:
    """Jacobians at z of as many rows at a time as memory allows."""

    def __init__(self, head: FlatNetwork, z: ArrayLike, chosen: np.ndarray | None, memory: int):
        check_counts(memory=memory)
        z = np.asarray(z, np.float64)
        if z.shape != (head.size,):
            raise ValueError(f"z has shape {z.shape}; it needs ({head.size},), the parameters'")
        self.head, self.z = head, z
        self.chosen = None if chosen is None else np.asarray(chosen)
        size = head.size if chosen is None else len(self.chosen)
        self.rows = int(max(1, memory // (2 * BYTES * (COPIES * size + 4 * head.units))))

    def of(self, n: int) -> Iterator[slice]:
        """Yield the blocks of n rows."""
        return (slice(i, min(n, i + self.rows)) for i in range(0, n, self.rows))

    def jacobian(self, X: np.ndarray) -> np.ndarray:
        """Return J (n, k) at the rows X (n, d)."""
        with exactly():
            args = (jnp.asarray(part, jnp.float64) for part in (self.z, X))
            z, X = args
            return np.asarray(_jacobian(self.head, z, self.chosen, X))


def moved(
    head: FlatNetwork, z: jax.Array, chosen: np.ndarray | None, X: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Return the log odds at X as a function of a move (k,) of the chosen parameters."""

    def at(move):
        to = z + move if chosen is None else z.at[chosen].add(move)
        return head.network(head.from_white(to), X)

    return at


def still(z: jax.Array, chosen: np.ndarray | None) -> jax.Array:
    """Return the move (k,) that moves nothing."""
    return jnp.zeros_like(z if chosen is None else z[chosen])


@partial(jax.jit, static_argnums=0)
def _jacobian(head, z, chosen, X):
    def gradient(x):
        return jax.grad(lambda move: moved(head, z, chosen, x[None])(move)[0])(still(z, chosen))

    return jax.vmap(gradient)(X)
