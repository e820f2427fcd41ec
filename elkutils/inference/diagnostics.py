"""Whether chains have converged: rank-normalised R-hat, bulk and tail ESS, through ArviZ."""

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Diagnostics:
    """Convergence of every coefficient and the bias, each measure (parameters,).

    R-hat is the rank-normalised split R-hat and ESS the bulk and tail effective sample sizes of
    Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), *Rank-normalization, folding, and
    localization*. Good chains have R-hat below 1.01 and both ESS above 100 per chain.

    Attributes
    ----------
    rhat, ess_bulk, ess_tail : (parameters,) arrays
        The coefficients in order, then the bias.
    draws, chains : int
        Draws in each chain, and chains.
    divergences : int
        Draws whose trajectory lost the energy; a single one casts doubt on the run.
    """

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    draws: int
    chains: int
    divergences: int

    @property
    def worst(self) -> dict[str, float]:
        """Largest R-hat, smallest bulk and tail ESS, and the smaller of the two as "ess"."""
        bulk, tail = float(self.ess_bulk.min()), float(self.ess_tail.min())
        return {
            "rhat": float(self.rhat.max()),
            "ess_bulk": bulk,
            "ess_tail": tail,
            "ess": min(bulk, tail),
        }

    @property
    def converged(self) -> bool:
        """Every R-hat below 1.01, every ESS above 100 per chain, and no divergence."""
        worst, enough = self.worst, 100 * self.chains
        return worst["rhat"] < 1.01 and worst["ess"] > enough and self.divergences == 0

    def __str__(self) -> str:
        worst = self.worst
        return "\n".join(
            [
                f"{len(self.rhat)} parameters, {self.chains} chains of {self.draws} draws",
                f"largest R-hat        {worst['rhat']:8.3f}   (want < 1.01)",
                f"smallest bulk ESS    {worst['ess_bulk']:8.0f}   (want > {100 * self.chains})",
                f"smallest tail ESS    {worst['ess_tail']:8.0f}   (want > {100 * self.chains})",
                f"divergences          {self.divergences:8d}   (want 0)",
            ]
        )


def diagnose(draws: np.ndarray, diverging: np.ndarray | None = None) -> Diagnostics:
    """Return the diagnostics of `draws` (chains, draws, parameters).

    Parameters
    ----------
    draws : (chains, draws, parameters) array
        At least 4 draws per chain, as ArviZ needs; with fewer every measure is NaN.
    diverging : (chains, draws) bool array or None
        Which draws diverged.
    """
    import arviz

    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim != 3:
        raise ValueError(f"draws has shape {draws.shape}; it needs (chains, draws, parameters)")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "More chains")  # ArviZ doubts the order of the axes
        data = arviz.convert_to_dataset({"x": draws})
    return Diagnostics(
        rhat=arviz.rhat(data, method="rank")["x"].values,
        ess_bulk=arviz.ess(data, method="bulk")["x"].values,
        ess_tail=arviz.ess(data, method="tail")["x"].values,
        draws=draws.shape[1],
        chains=draws.shape[0],
        divergences=0 if diverging is None else int(np.sum(diverging)),
    )
