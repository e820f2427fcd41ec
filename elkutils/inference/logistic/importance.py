"""Importance sampling from the variational Gaussian, with a check of its reliability.

The weight of a draw is the ratio of the posterior to the Gaussian, so it costs half a
gradient. The shape k̂ of Pareto smoothing shows whether the weights have a mean and a variance
(Vehtari, Simpson, Gelman, Yao & Gabry 2024, *Pareto smoothed importance sampling*).
"""

import jax
import numpy as np

from elkutils.inference.logistic.rows import exactly
from elkutils.inference.logistic.variational import Target

RELIABLE = 0.7  # of k̂: above it more draws do not help


def resample(
    target: Target, draws: int, seed: int, pool: int = 8, batch: int = 64
) -> tuple[np.ndarray, float]:
    """Return draws z (draws, p) about the fit behind `target`, and k̂.

    Parameters
    ----------
    target : Target
    draws : int
    seed : int
    pool : int
        Draws of the Gaussian per draw kept. Where k̂ is above 0.7 the first `draws` of them are
        returned unchanged: draws of the Gaussian, not of the posterior.
    batch : int
        Draws evaluated at once.
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((pool * draws, len(target.tilt)), dtype=np.float32)
    with exactly():
        parts = np.array_split(z, max(1, len(z) // batch))
        remainders = np.concatenate([np.asarray(target(part.T)[0]) for part in parts])
    chosen, k = _choose(remainders, draws, rng)
    return z[chosen], k


def resample_each(
    target: Target, draws: int, seed: int, pool: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same for many stacked targets: z (problems, draws, p) and k̂ (problems,)."""
    rng = np.random.default_rng(seed)
    problems, p = target.tilt.shape
    z = rng.standard_normal((problems, pool * draws, p), dtype=np.float32)
    with exactly():
        remainders = np.asarray(jax.jit(jax.vmap(lambda target, z: target(z.T)[0]))(target, z))
    chosen, k = zip(*(_choose(row, draws, rng) for row in remainders), strict=True)
    return np.take_along_axis(z, np.stack(chosen)[..., None], axis=1), np.array(k)


def _choose(remainders: np.ndarray, draws: int, rng: np.random.Generator):
    """Which of the Gaussian's draws to keep, and k̂."""
    import arviz

    smoothed, k = arviz.psislw(-remainders)
    if not k < RELIABLE:
        return np.arange(draws), float(k)
    weights = np.exp(smoothed - smoothed.max())
    return rng.choice(len(remainders), draws, p=weights / weights.sum()), float(k)
