"""Acting under costs that vary by context: what a reporter's answers cost whoever acts on them.

In a context a miss costs r false alarms. Whoever believes the log odds ℓ of harm acts where
r ≥ e^−ℓ, which has the least expected cost (`elkutils.evaluation.cost_threshold`). Contexts are
spread evenly over log r, from 1 to 1000 unless told otherwise, and the mean cost over them has
a closed form. *Regret* is that cost over the cost of always acting, so that 1 is the regret of
whoever needs no reporter; to know the truth has regret 0.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from elkutils._inputs import check_order, numbers
from elkutils.study.pooling import pooled

RATIOS = 1.0, 1000.0  # costs of a miss, in false alarms
JUDGED = 1.0, 10.0  # those of the contexts in which acting is judged
BANDS = (1.0, 10.0), (10.0, 100.0), (100.0, 1000.0)
POSTERIOR, BAG, PLATT = "HMC, all draws", "tuned bag", "MAP, Platt"
MEAN, MASS = "mean", "hypothesis rule"  # the posterior's two rules
RIVALS = BAG, PLATT
SHARES = 1000  # shares of draws are recorded to this resolution


def cost(
    harm: ArrayLike, log_odds: ArrayLike, ratios: tuple[float, float] = RATIOS
) -> np.ndarray:
    """Return the mean cost (..., n) of acting on each row, over contexts, in false alarms.

    With r* = e^−ℓ, moved into [a, b], a row without harm costs a false alarm in the share
    log(b/r*)/log(b/a) of the contexts. A row with harm is missed in those below r*, where it
    costs r: (r* − a)/log(b/a) on average.

    Parameters
    ----------
    harm : (n,) array of 0 and 1
    log_odds : (..., n) array
        ℓ of harm, as believed; −∞ and ∞ are allowed. To act on another number than a
        probability, such as the share of draws that are alarmed, give its log odds.
    ratios : (float, float)
        a and b, the least and the largest cost of a miss, 0 < a < b.

    Raises
    ------
    ValueError
        If `harm` is not (n,) of 0 and 1, `log_odds` holds NaN or does not fit, or `ratios` are
        not in order.

    Examples
    --------
    Always acting costs a false alarm per row without harm, never acting the mean of r per row
    with harm.

    >>> never, always = cost([0, 1], [[-np.inf, -np.inf], [np.inf, np.inf]]).round(1)
    >>> never.tolist(), always.tolist()
    ([0.0, 144.6], [1.0, 0.0])
    """
    check_order(harm=harm, log_odds=log_odds)
    harm, told = numbers(harm, "harm"), np.asarray(log_odds, np.float64)
    if harm.ndim != 1 or not np.isin(harm, (0, 1)).all():
        raise ValueError(f"harm has shape {harm.shape}; it has to be (n,), of 0 and 1")
    if told.shape[-1:] != harm.shape or np.isnan(told).any():
        raise ValueError(
            f"log_odds has shape {told.shape}; it has to be (..., {len(harm)}), without NaN"
        )
    least, most = ratios
    if not 0 < least < most < np.inf:
        raise ValueError(f"ratios is {ratios}; it has to be two numbers, 0 < least < most")
    width = np.log(most / least)
    turn = np.clip(-told, np.log(least), np.log(most))  # log r*
    return np.where(harm == 1, np.exp(turn) - least, np.log(most) - turn) / width


def regret(
    harm: ArrayLike, log_odds: ArrayLike, ratios: tuple[float, float] = RATIOS
) -> np.ndarray | float:
    """Return the mean cost over rows and contexts over that of always acting.

    Parameters
    ----------
    harm, log_odds, ratios
        As in `cost`.

    Returns
    -------
    (...,) array, or a float

    Examples
    --------
    Even odds are enough to act on every row: a miss never costs less than a false alarm.

    >>> float(regret([0, 1], [0.0, 0.0]))
    1.0
    """
    found = cost(harm, log_odds, ratios)
    return found.mean(axis=-1) / _always(harm)


def savings(parts: Iterable[tuple], ratios: tuple[float, float] = RATIOS) -> tuple:
    """Return what each row saves by one reporter beside another, with groups and seeds, (N,).

    Parameters
    ----------
    parts : iterable of tuples ``(seed, harm, ours, theirs, groups)``
        One per seed; `ours` and `theirs` are log odds of harm, (n,) each.
    ratios : (float, float)
        As in `cost`.

    Returns
    -------
    values, groups, seeds : (N,) arrays
        The mean of the values is their regret less ours, over all seeds' rows.
    """
    harm, ours, theirs, groups, seeds = pooled(parts)
    less = cost(harm, theirs, ratios) - cost(harm, ours, ratios)
    return less / _always(harm), groups, seeds


def counted(share: ArrayLike, draws: int) -> np.ndarray:
    """Return the log odds of a share of draws, with half a draw added to either side.

    Among N draws a share of 0 or 1 does not mean that no hypothesis, or every one, is alarmed:
    this is Jeffreys' estimate (k + ½)/(N + 1).

    Parameters
    ----------
    share : (..., n) array
        Between 0 and 1.
    draws : int
        N.

    Examples
    --------
    >>> counted([0.5, 0.0], 99).round(2).tolist()
    [0.0, -5.29]
    """
    share = np.asarray(share, np.float64)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"share is {share}; it has to lie between 0 and 1")
    return logit((share * draws + 0.5) / (draws + 1))


def told(entry: Mapping, name: str) -> np.ndarray:
    """Return the log odds (n,) of harm that a method of a recorded entry acts on.

    Parameters
    ----------
    entry : mapping
        One of those of `elkutils.study.comparison.recorded`.
    name : str
        A method, or `MEAN` or `MASS` for the posterior's two rules: log odds of the mean, and
        of the share of draws that give harm at least one half.
    """
    if name == MASS:
        return counted(np.round(entry["share"] * SHARES) / SHARES, SHARES)
    return entry["log_odds"][POSTERIOR if name == MEAN else name]


def mean_regret(
    entries: Sequence[Mapping], name: str, ratios: tuple[float, float] = RATIOS
) -> float:
    """Return a method's regret over the rows of all entries, which are those of one place."""
    harm = np.concatenate([entry["y"] for entry in entries])
    log_odds = np.concatenate([told(entry, name) for entry in entries])
    return float(regret(harm, log_odds, ratios))


def saved(
    entries: Sequence[Mapping], rule: str, rival: str, ratios: tuple[float, float] = JUDGED
) -> tuple:
    """Return what a rule saves beside a rival on the entries of one place: see `savings`."""
    parts = [
        (each["seed"], each["y"], told(each, rule), told(each, rival), each["groups"])
        for each in entries
    ]
    return savings(parts, ratios)


def _always(harm: ArrayLike) -> float:
    """The cost per row of always acting, or ValueError where it is 0."""
    harmless = 1 - np.mean(harm)
    if harmless == 0:
        raise ValueError("harm is 1 in every row; regret needs rows without harm")
    return float(harmless)
