"""Whether chains have converged: rank-normalised R-hat, bulk and tail ESS, through ArviZ."""

import warnings
from dataclasses import dataclass

import numpy as np

from elkutils._inputs import check_finite, plain

MOST_RHAT = 1.01
LEAST_ESS = 400
MOST_CHAINS_A_DRAW = 20  # chains for each draw of one, from which the axes look transposed
LEAST_DRAWS = 4  # per chain, which is what ArviZ needs
LEAST_SHARE = 0.25  # of the draws that count as effective, where these are fewer than LEAST_ESS
LONG = 100  # draws per chain, below which R-hat is above its mark by its own noise


@dataclass(frozen=True)
class Diagnostics:
    """Convergence of every parameter, each measure (parameters,).

    R-hat is the rank-normalised split R-hat and ESS the bulk and tail effective sample sizes of
    Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), *Rank-normalization, folding, and
    localization*. Good chains have R-hat below 1.01 and both ESS above 400 in total, which is
    what that paper asks of four chains: the Monte Carlo error of a mean is then a twentieth of
    the standard deviation, however many chains share the draws. R-hat of chains of fewer than
    about a hundred draws is above 1.01 by its own noise; draw fewer and longer ones.

    Attributes
    ----------
    rhat, ess_bulk, ess_tail : (parameters,) arrays
        Of logistic regression the coefficients in order, then the bias. NaN where there are
        fewer than four draws per chain; R-hat is NaN with one chain too.
    draws, chains : int
        Draws in each chain, and chains.
    divergences : int or None
        Draws whose trajectory lost the energy; any at all casts doubt. None where the sampler
        measures none.
    of : str
        What the measures are of, such as "parameters" or "log odds".
    """

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    draws: int
    chains: int
    divergences: int | None = None
    of: str = "parameters"

    @property
    def worst(self) -> dict[str, float]:
        """Largest R-hat, smallest bulk and tail ESS, and the smaller of the two as "ess".

        Constant parameters have no R-hat and do not count; NaN where nothing counts.
        """
        bulk, tail = _least(self.ess_bulk), _least(self.ess_tail)
        return {
            "rhat": -_least(-self.rhat),
            "ess_bulk": bulk,
            "ess_tail": tail,
            "ess": min(bulk, tail),
        }

    @property
    def converged(self) -> bool:
        """Every R-hat below 1.01, every ESS above 400 in total, and no divergence."""
        worst = self.worst
        return worst["rhat"] < MOST_RHAT and worst["ess"] > LEAST_ESS and not self.divergences

    def __str__(self) -> str:
        worst = self.worst
        rows = [
            ("largest R-hat", worst["rhat"], ".3f", f"< {MOST_RHAT}"),
            ("smallest bulk ESS", worst["ess_bulk"], ".0f", f"> {LEAST_ESS}"),
            ("smallest tail ESS", worst["ess_tail"], ".0f", f"> {LEAST_ESS}"),
            ("divergences", self.divergences, "d", "0"),
        ]
        lines = [f"{len(self.rhat)} {self.of}, {self.chains} chains of {self.draws} draws"]
        for name, value, form, want in rows:
            if value is None or np.isnan(value):
                lines.append(f"{name:18s}  not applicable")
            else:
                lines.append(f"{name:18s} {value:10{form}}   (want {want})")
        return "\n".join(lines)


def _least(values: np.ndarray) -> float:
    """The smallest of the values that are numbers; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else np.nan


def warn_unless_converged(found: Diagnostics, remedy: str, stacklevel: int = 3) -> None:
    """Warn where chains have not converged, or are too few effective draws of what they took.

    A run that is short on purpose is not blamed for that: of fewer than 1,600 draws a quarter
    have to be effective, and R-hat, which then has noise beyond its mark, is not judged; nor
    is it in chains of fewer than 100 draws.

    Parameters
    ----------
    found : Diagnostics
    remedy : str
        What helps: the end of the message.
    stacklevel : int
        As in `warnings.warn`: 3 is the caller of the function that calls this one.

    Warns
    -----
    RuntimeWarning
        With R-hat, effective draws and divergences, whichever are at fault.
    """
    worst, total = found.worst, found.chains * found.draws
    needed = min(LEAST_ESS, LEAST_SHARE * total)
    faults = []
    if found.divergences:
        faults.append(f"{found.divergences} of {total} draws diverged")
    long = found.draws >= LONG and needed == LEAST_ESS
    if long and worst["rhat"] >= MOST_RHAT:
        faults.append(f"the largest R-hat is {worst['rhat']:.3f} and needs < {MOST_RHAT}")
    if worst["ess"] < needed:
        faults.append(
            f"the slowest of {len(found.rhat)} {found.of} has {worst['ess']:.0f} effective"
            f" draws of {total} and needs {needed:.0f}"
        )
    if faults:
        warnings.warn(
            f"the chains have not converged: {'; '.join(faults)}: see the diagnostics;"
            f" {remedy}",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def diagnose(
    draws: np.ndarray, diverging: np.ndarray | None = None, of: str = "parameters"
) -> Diagnostics:
    """Return the diagnostics of `draws` (chains, draws, parameters).

    Parameters
    ----------
    draws : (chains, draws, parameters) array
        With fewer than 4 draws per chain every measure is NaN, with one chain R-hat is.
    diverging : (chains, draws) bool array or None
        None where the sampler measures no divergences.
    of : str
        What the last axis of `draws` holds.

    Raises
    ------
    ValueError
        If `draws` has another shape, or an entry is not finite.

    Warns
    -----
    UserWarning
        If there are so many more chains than draws that the two look exchanged.
    """
    import arviz

    draws = np.asarray(plain(draws), dtype=np.float64)
    if draws.ndim != 3:
        raise ValueError(f"draws has shape {draws.shape}; it needs (chains, draws, parameters)")
    check_finite(draws, "draws")
    if len(draws) > MOST_CHAINS_A_DRAW * draws.shape[1] and draws.shape[1] >= LEAST_DRAWS:
        warnings.warn(
            f"draws has shape {draws.shape}, {len(draws)} chains of {draws.shape[1]} draws; "
            "are these two axes the wrong way round? It needs (chains, draws, parameters)",
            UserWarning,
            stacklevel=2,
        )
    chains, length, parameters = draws.shape
    missing = np.full(parameters, np.nan)
    if length < LEAST_DRAWS:
        rhat = ess_bulk = ess_tail = missing
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "More chains")  # ArviZ doubts the order of axes
            data = arviz.convert_to_dataset({"x": draws})
        with np.errstate(divide="ignore", invalid="ignore"):  # chains that never move
            rhat = arviz.rhat(data, method="rank")["x"].values if chains > 1 else missing
        ess_bulk = arviz.ess(data, method="bulk")["x"].values
        ess_tail = arviz.ess(data, method="tail")["x"].values
    return Diagnostics(
        rhat=rhat,
        ess_bulk=ess_bulk,
        ess_tail=ess_tail,
        draws=length,
        chains=chains,
        divergences=None if diverging is None else int(np.sum(diverging)),
        of=of,
    )
