"""When to act on draws of P(harm): rules, their costs, and what N draws can show.

The *mean rule* acts if the mean over draws reaches a threshold. The *hypothesis rule* acts if
a share of the draws each reach a level. Draws run along the first axis of ``proba``.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrc

from elkutils._inputs import check_order, is_number, numbers, plain
from elkutils.evaluation._arrays import (
    check_draws,
    check_unit,
    check_weights,
    rounding,
    weighted_mean,
)


def mean_rule(proba: ArrayLike, threshold: ArrayLike) -> np.ndarray | bool:
    """Return whether to act: the mean over draws is at least a threshold, E[p] ≥ t.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), between 0 and 1, along the first axis.
    threshold : float or array
        t, between 0 and 1; an array broadcasts against (n,).

    Returns
    -------
    (n,) array of bool, or a bool

    Raises
    ------
    ValueError
        If `proba` is empty, holds NaN or leaves [0, 1], or `threshold` leaves [0, 1] or does
        not fit it.

    Examples
    --------
    >>> mean_rule([[0.2, 0.0], [0.6, 0.1]], 0.3).tolist()
    [True, False]
    """
    draws = check_draws(proba)
    return draws.mean(axis=0) >= _fitting("threshold", _unit("threshold", threshold), draws)


def hypothesis_rule(proba: ArrayLike, mass: ArrayLike, level: ArrayLike) -> np.ndarray | bool:
    """Return whether to act: draws of mass at least α each give harm at least the level h.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    mass : float or array
        α, above 0 and at most 1; an array broadcasts against (n,). A mass below 1 / draws asks
        for one draw: a `veto`.
    level : float or (n,) array
        h, between 0 and 1.

    Returns
    -------
    (n,) array of bool, or a bool
        `hypothesis_mass` ≥ α, which is the same as `hypothesis_level` ≥ h.

    Examples
    --------
    Half of the draws give harm at least 0.9.

    >>> bool(hypothesis_rule([0.0, 0.1, 0.9, 1.0], mass=0.5, level=0.9))
    True
    """
    share = hypothesis_mass(proba, level)
    return share >= _fitting("mass", _mass(mass), check_draws(proba))


def worst_mean(proba: ArrayLike, mass: float) -> np.ndarray:
    """Return the largest mean if a draw may weigh up to 1/α times as much (expected shortfall).

    It is the mean over the most alarmed draws of mass α. Where α · draws is not whole, one draw
    counts in part.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    mass : float
        α between 0 and 1, without 0. At 1 it is the mean over all draws.

    Returns
    -------
    (n,) array, or a float
        At least h wherever `hypothesis_rule` fires with α and h.

    Examples
    --------
    >>> float(worst_mean([0.0, 0.2, 0.4, 1.0], 0.5))
    0.7
    """
    draws = np.sort(check_draws(proba), axis=0)[::-1]
    if np.ndim(mass) != 0:
        raise ValueError(f"mass has shape {np.shape(mass)}; worst_mean takes one number")
    counted = np.clip(_mass(mass) * len(draws) - np.arange(len(draws)), 0, 1)
    return counted @ draws / counted.sum()


def value_of_knowing(proba: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """Return what knowing the right hypothesis saves per decision, in units of F + C.

    The expected value of perfect information (Howard 1966) with costs F of a false alarm and C
    of a miss, and t = F / (F + C): the smaller of E[(p − t)⁺] and E[(t − p)⁺].

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    threshold : float or (n,) array
        t between 0 and 1.

    Returns
    -------
    (n,) array, or a float
        0 where all draws are on one side of t.

    Examples
    --------
    >>> value_of_knowing([[0.1, 0.0], [0.1, 1.0]], 0.5).tolist()
    [0.0, 0.25]
    """
    draws = check_draws(proba)
    above = draws - _one_each("threshold", _unit("threshold", threshold), draws)
    return np.minimum(np.maximum(above, 0).mean(axis=0), np.maximum(-above, 0).mean(axis=0))


def veto(proba: ArrayLike, level: ArrayLike, votes: int = 1) -> np.ndarray | bool:
    """Return whether to act: at least `votes` draws each give harm at least `level`.

    The hypothesis rule with mass `votes` / draws: the more draws there are, the more often one
    of them vetoes.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    level : float or (n,) array
        h, between 0 and 1.
    votes : int
        From 1 to the number of draws.

    Examples
    --------
    >>> bool(veto([0.0, 0.1, 0.2, 0.9], level=0.8))
    True
    """
    draws = check_draws(proba)
    if not is_number(votes) or int(votes) != votes or not 1 <= votes <= len(draws):
        raise ValueError(
            f"votes is {votes}; it has to be an integer from 1 to the number of draws, "
            f"{len(draws)}"
        )
    return (draws >= _one_each("level", _unit("level", level), draws)).sum(axis=0) >= votes


def hypothesis_mass(proba: ArrayLike, level: ArrayLike) -> np.ndarray | float:
    """Return the share of draws that give harm at least `level`: (n,) array, or a float.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    level : float or (n,) array
        h, between 0 and 1.
    """
    draws = check_draws(proba)
    return (draws >= _one_each("level", _unit("level", level), draws)).mean(axis=0)


def hypothesis_level(proba: ArrayLike, mass: float) -> np.ndarray | float:
    """Return the highest level that draws of mass at least α reach: (n,) array, or a float.

    It is the ⌈α · draws⌉-th largest draw, an upper quantile.

    Parameters
    ----------
    proba : (draws,) or (draws, n) array
        Draws of P(harm), along the first axis.
    mass : float
        α, above 0 and at most 1.
    """
    draws = check_draws(proba)
    if np.ndim(mass) != 0:
        raise ValueError(f"mass has shape {np.shape(mass)}; hypothesis_level takes one number")
    place = len(draws) - int(votes_needed(mass, len(draws)))
    return np.partition(draws, place, axis=0)[place]


def votes_needed(mass: ArrayLike, draws: ArrayLike) -> np.ndarray:
    """Return the least number of `draws` whose share is at least `mass`: at least 1.

    Examples
    --------
    >>> int(votes_needed(mass=0.1, draws=25))
    3
    """
    mass, draws = _mass(mass), _count(draws)
    votes = np.ceil(mass * draws)
    return np.maximum(np.where((votes - 1) / draws >= mass, votes - 1, votes), 1).astype(int)


def cost_threshold(false_alarm: ArrayLike, miss: ArrayLike) -> np.ndarray | float:
    """Return the threshold on E[p] at which acting and not acting cost the same.

    Acting costs `false_alarm` if there is no harm, not acting costs `miss` if there is, and
    being right costs nothing. Expected cost is linear in p, so only the mean of p matters: to
    act where E[p] ≥ false_alarm / (false_alarm + miss) has the least expected cost of all
    rules.

    Parameters
    ----------
    false_alarm, miss : float or array
        Costs, above 0.

    Examples
    --------
    A miss that costs nine false alarms calls for action from 10% on.

    >>> float(cost_threshold(false_alarm=1, miss=9))
    0.1
    """
    false_alarm, miss = _cost("false_alarm", false_alarm), _cost("miss", miss)
    return false_alarm / (false_alarm + miss)


def decision_cost(
    y: ArrayLike,
    act: ArrayLike,
    false_alarm: ArrayLike,
    miss: ArrayLike,
    weights: ArrayLike | None = None,
) -> np.ndarray | float:
    """Return the mean cost of the decisions, given what happened.

    Parameters
    ----------
    y : (n,) array
        1 where there was harm, 0 where not; or the probability of harm, to average over it.
    act : (..., n) array of bool
        Whether one acted.
    false_alarm, miss : float or array
        Costs of acting without harm, and of harm without acting; above 0.
    weights : (..., n) array of numbers ≥ 0, or None
        How much each row counts; None counts every row once.

    Returns
    -------
    (...,) array, or a float for one set of decisions

    Examples
    --------
    >>> float(decision_cost([0, 1], [True, False], false_alarm=1, miss=9))
    5.0
    """
    check_order(y=y, act=act, weights=weights)
    slack, y, act = rounding(y), numbers(y, "y").astype(np.float64), plain(act)
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"y has shape {y.shape}; it has to be (n,), n ≥ 1, between 0 and 1")
    y = check_unit(y, "y", slack)
    if act.dtype != bool or act.ndim == 0 or act.shape[-1] != len(y):
        raise ValueError(
            f"act has dtype {act.dtype} and shape {act.shape}; "
            f"it has to be bool (..., {len(y)}), rows last"
        )
    cost = np.where(act, _cost("false_alarm", false_alarm) * (1 - y), _cost("miss", miss) * y)
    return weighted_mean(cost, check_weights(weights, len(y)))


def least_mean(mass: ArrayLike, level: ArrayLike) -> np.ndarray | float:
    """Return the least E[p] with which the hypothesis rule can fire: αh.

    Draws of mass α are then at h, and the others at 0.
    """
    return _mass(mass) * _unit("level", level)


def least_mass(mean: ArrayLike, level: ArrayLike) -> np.ndarray | float:
    """Return the least mass of draws at `level` or above, given the mean: (t − h)/(1 − h).

    It is 0 where t ≤ h. Otherwise that mass is at 1, and the other draws just below h.
    """
    mean, level = _unit("mean", mean), _unit("level", level)
    if (level == 1).any():
        raise ValueError("level is 1; it has to lie below 1")
    return np.maximum((mean - level) / (1 - level), 0)


def miss_probability(mass: ArrayLike, draws: ArrayLike) -> np.ndarray | float:
    """Return the probability that N draws all miss a hypothesis of mass α: (1 − α)^N.

    Examples
    --------
    >>> print(f"{miss_probability(mass=0.01, draws=100):.3f}")
    0.366
    """
    with np.errstate(divide="ignore"):
        return np.exp(_count(draws) * np.log1p(-_mass(mass)))


def draws_to_see(mass: ArrayLike, delta: ArrayLike = 0.05) -> np.ndarray:
    """Return the number of draws that miss a hypothesis of mass α with probability at most δ.

    Examples
    --------
    >>> int(draws_to_see(mass=0.01))
    299
    """
    with np.errstate(divide="ignore"):
        draws = np.log(_open("delta", delta)) / np.log1p(-_mass(mass))
    return np.maximum(np.ceil(draws), 1).astype(int)


def resolvable_mass(draws: ArrayLike, delta: ArrayLike = 0.05) -> np.ndarray | float:
    """Return the mass that N draws miss with probability δ: 1 − δ^(1/N).

    A lighter hypothesis is missed more often. It is also the lowest bound that `hoeffding_kl`
    can return.
    """
    return -np.expm1(np.log(_open("delta", delta)) / _count(draws))


def firing_probability(
    true_mass: ArrayLike, draws: ArrayLike, mass: ArrayLike
) -> np.ndarray | float:
    """Return the probability that the hypothesis rule fires on N independent draws.

    Parameters
    ----------
    true_mass : float or array
        Posterior mass of the hypotheses that give harm at least the level.
    draws : int or array
        N.
    mass : float or array
        The rule's α, which the share among N draws has to reach.

    Returns
    -------
    array or float
        P(Binomial(N, true_mass) ≥ ⌈αN⌉), broadcast over the arguments.
    """
    return bdtrc(
        votes_needed(mass, draws) - 1, _count(draws).astype(int), _unit("true_mass", true_mass)
    )


def _fitting(name, value, draws):
    """`value`, if it broadcasts against the inputs of `draws`, or ValueError."""
    try:
        np.broadcast_shapes(np.shape(value), draws.shape[1:])
    except ValueError:
        turned = draws.ndim == 2 and np.shape(value)[-1:] == draws.shape[:1]
        hint = "; proba is transposed: draws come first, rows last" if turned else ""
        raise ValueError(
            f"{name} has shape {np.shape(value)} and proba {draws.shape}; it has to fit"
            f" (n,) = {draws.shape[1:]}{hint}"
        ) from None
    return value


def _one_each(name, value, draws):
    """`value`, if it is a number or one for each input of `draws`, or ValueError."""
    if np.ndim(value) > max(1, draws.ndim - 1) or (draws.ndim == 1 and np.ndim(value)):
        raise ValueError(
            f"{name} has shape {np.shape(value)}; it has to be a number or, for proba"
            " (draws, n), one for each input (n,)"
        )
    return _fitting(name, value, draws)


def _unit(name, value):
    value = numbers(value, name).astype(np.float64)
    near = (value >= -1e-9) & (value <= 1 + 1e-9)  # a mean of probabilities may round above 1
    value = np.where(near, np.clip(value, 0, 1), value)[()]
    return _number(name, value, "lie between 0 and 1", lambda v: (v >= 0) & (v <= 1))


def _open(name, value):
    return _number(
        name, value, "lie between 0 and 1, both left out", lambda v: (v > 0) & (v < 1)
    )


def _mass(value):
    return _number("mass", value, "lie above 0 and at most at 1", lambda v: (v > 0) & (v <= 1))


def _cost(name, value):
    return _number(name, value, "be finite and above 0", lambda v: (v > 0) & np.isfinite(v))


def _count(value):
    fits = "be an integer no smaller than 1"
    return _number("draws", value, fits, lambda v: (v >= 1) & (v == np.floor(v)))


def _number(name, value, needs, fits):
    value = numbers(value, name).astype(np.float64)
    if not fits(value).all():
        percent = "1" in needs and bool(np.all((value > 1) & (value <= 100)))
        percent = percent and "no smaller" not in needs
        hint = ": 0.95 for 95%" if percent else ""
        raise ValueError(f"{name} is {value}; it has to {needs}{hint}")
    return value
