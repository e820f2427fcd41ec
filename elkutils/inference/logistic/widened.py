"""A target seen from a wider Gaussian, where the nearest one is too narrow.

The variational Gaussian of separable rows is much narrower than the posterior along a few
directions, and a quarter turn under it is a short move there. With z = μ + Tz′, T wide along
those directions, the negative log posterior is ‖z′‖²/2 plus

    R′(z′) = R(μ + Tz′) + (‖μ + Tz′‖² − ‖z′‖²)/2,

exactly, so that the same trajectories draw from the same posterior in better coordinates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elkutils.inference.logistic.variational import Target

WIDE = 1.5  # variance of the draws of z, 1 under the Gaussian, from which a direction is wide
MOST = 16  # wide directions
NAMES = "wide.shift", "wide.directions", "wide.excess"


class Widened(NamedTuple):
    """R′ and its slope, of z′ with z = μ + Tz′ and T = I + U diag(excess) Uᵀ.

    Attributes
    ----------
    base : Target
    shift : (p,) array
        μ, in the span of U.
    directions : (p, k) array
        U, orthonormal.
    excess : (k,) array
        Standard deviation of the draws along each, less 1.
    """

    base: Target
    shift: jax.Array
    directions: jax.Array
    excess: jax.Array

    @classmethod
    def of(cls, base: Target, z: np.ndarray, share: float = 1.0) -> "Widened":
        """Return the target widened to draws z (draws, p) of the base's coordinates.

        Standard deviations are raised to the power `share`: a skewed posterior is followed
        more easily from a Gaussian that is not quite as wide.
        """
        z = z.astype(np.float64)
        mean = z.mean(axis=0)
        _, sizes, turned = np.linalg.svd(z - mean, full_matrices=False)
        variance = sizes[:MOST] ** 2 / len(z)
        wide = variance > WIDE
        directions = turned[:MOST][wide].T
        shift = directions @ (directions.T @ mean)
        found = shift, directions, variance[wide] ** (share / 2) - 1
        return cls(base, *(part.astype(np.float32) for part in found))

    @classmethod
    def restored(cls, base: Target, arrays: dict[str, np.ndarray]) -> "Widened":
        """Undo `arrays`."""
        return cls(base, *(arrays[name] for name in NAMES))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint keeps."""
        return dict(zip(NAMES, map(np.asarray, self[1:]), strict=True))

    @property
    def spread(self) -> jax.Array | None:
        """As of the base: None where the rows are in memory."""
        return self.base.spread

    def forward(self, z: np.ndarray) -> np.ndarray:
        """Return μ + Tz′ of positions z′ (p, ...)."""
        return self._scaled(z, self.excess) + self.shift.reshape(-1, *[1] * (z.ndim - 1))

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Return z′ of positions z (p, ...)."""
        moved = z - self.shift.reshape(-1, *[1] * (z.ndim - 1))
        return self._scaled(moved, -self.excess / (1 + self.excess))

    def __call__(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return R′(z′), (chains,), and ∇R′(z′), (p, chains), at z′ (p, chains)."""
        wide = self.forward(z)
        value, slope = self.base(wide)
        more = 0.5 * jnp.sum(wide**2 - z**2, axis=0, dtype=jnp.float64)
        return value + more, self._scaled(slope + wide, self.excess) - z

    def _scaled(self, z, excess):
        along = (self.directions.T @ z.reshape(len(z), -1)) * excess[:, None]
        return z + (self.directions @ along).reshape(z.shape)
