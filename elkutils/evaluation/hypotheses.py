"""Which hypotheses labels leave standing, and how a bag of reporters behaves.

A hypothesis gives P(harm), often 0 or 1 on each input. A label is wrong with a known
probability, its *noise* η. `hypothesis_posterior` is Bayes' rule over a list of hypotheses,
and `rival_log_odds` the same for a pair. `behaviour` sorts draws of a posterior over reporters
by the hypothesis that each of them acts like.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax, xlogy

from elkutils._inputs import numbers, plain
from elkutils.evaluation._arrays import check_draws, check_labels, check_unit, rounding

OTHER = "other"


def rival_log_odds(
    with_truth: ArrayLike, with_rival: ArrayLike, noise: ArrayLike, prior_odds: ArrayLike = 1.0
) -> np.ndarray | float:
    """Return the log posterior odds of a rival against the truth, both of them 0/1.

    ``log prior_odds + (k₊ − k₋) log(η/(1 − η))``: each label multiplies the odds by one factor
    or its inverse, and labels on which the two agree change nothing.

    Parameters
    ----------
    with_truth, with_rival : int or array
        k₊ and k₋, at least 0: how many labels agree with the truth, and how many with the
        rival, among those on which they differ.
    noise : float or array
        η, the probability that a label is wrong, between 0 and ½.
    prior_odds : float or array
        P(rival)/P(truth) before any label, above 0.

    Returns
    -------
    float64 array, broadcast over the arguments
        −∞ where noiseless labels rule the rival out.

    Raises
    ------
    ValueError
        If an argument is out of range, or noiseless labels contradict each other.

    Examples
    --------
    Two labels for the truth, each wrong one time in ten, give odds of 1 to 81.

    >>> print(f"{np.exp(-rival_log_odds(2, 0, noise=0.1)):.0f}")
    81
    """
    plus, minus = _count("with_truth", with_truth), _count("with_rival", with_rival)
    noise, prior_odds = _noise(noise), np.asarray(prior_odds, dtype=np.float64)
    if not ((prior_odds > 0) & np.isfinite(prior_odds)).all():
        raise ValueError(f"prior_odds is {prior_odds}; it has to be finite and above 0")
    if ((noise == 0) & (plus > 0) & (minus > 0)).any():
        raise ValueError("noise is 0, but labels agree with the truth and with the rival")
    # Not (k₊ − k₋) log(η/(1 − η)), which is 0 · ∞ where there are no labels and no noise.
    log_rival = xlogy(minus, 1 - noise) + xlogy(plus, noise)
    log_truth = xlogy(plus, 1 - noise) + xlogy(minus, noise)
    return np.log(prior_odds) + log_rival - log_truth


def label_balance(
    k: ArrayLike, noise: ArrayLike
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return mean and standard deviation of k₊ − k₋ over labels with noise η.

    They are k(1 − 2η) and 2√(kη(1 − η)): a rival's log odds drift down like k and spread like
    √k.

    Parameters
    ----------
    k : int or array
        Number of labels on which truth and rival differ.
    noise : float or array
        η, the probability that a label is wrong, between 0 and ½.

    Returns
    -------
    two arrays, or two floats
        Mean and standard deviation.

    Examples
    --------
    >>> mean, sd = label_balance(100, 0.1)
    >>> print(f"{mean:.0f} ± {sd:.0f}")
    80 ± 6
    """
    k, noise = _count("k", k), _noise(noise)
    return k * (1 - 2 * noise), 2 * np.sqrt(k * noise * (1 - noise))


def hypothesis_posterior(
    answers: ArrayLike, labels: ArrayLike, noise: float, prior: ArrayLike | None = None
) -> np.ndarray:
    """Return the posterior of each hypothesis given labels.

    Parameters
    ----------
    answers : (..., hypotheses, k) array
        The P(harm), between 0 and 1, that each hypothesis gives to the labelled inputs; k may
        be 0.
    labels : (..., k) array of 0 and 1
        1 for harm.
    noise : float
        η, the probability that a label is wrong, between 0 and ½.
    prior : (hypotheses,) array or None
        Numbers above 0, proportional to the prior; None for a flat one.

    Returns
    -------
    (..., hypotheses) array
        It sums to 1 over its last axis; leading axes broadcast.

    Raises
    ------
    ValueError
        If an argument does not fit, or no hypothesis allows the labels, as noiseless ones may.

    Examples
    --------
    The hypotheses differ on the second of two inputs, and its label supports the first.

    >>> hypothesis_posterior([[1, 0], [1, 1]], [1, 0], noise=0.1).round(3).tolist()
    [0.9, 0.1]
    """
    slack, answers = rounding(answers), numbers(answers, "answers").astype(np.float64)
    labels = plain(labels)
    if answers.ndim < 2:
        raise ValueError(
            f"answers has shape {answers.shape}; it has to be (..., hypotheses, k), "
            "between 0 and 1"
        )
    answers = check_unit(answers, "answers", slack)
    count, k = answers.shape[-2:]
    if labels.ndim == 0 or labels.shape[-1] != k:
        raise ValueError(f"labels has shape {labels.shape}; its last axis has to be k = {k}")
    if labels.size:
        check_labels(labels.ravel())
    prior = np.ones(count) if prior is None else np.asarray(prior, dtype=np.float64)
    if prior.shape != (count,) or not ((prior > 0) & np.isfinite(prior)).all():
        raise ValueError(
            f"prior is {prior}; it has to hold {count} finite numbers above 0, "
            "one per hypothesis"
        )
    noise = _noise(noise)
    harm = noise + (1 - 2 * noise) * answers
    seen = labels.astype(np.float64)[..., None, :]
    log_likelihood = (xlogy(seen, harm) + xlogy(1 - seen, 1 - harm)).sum(axis=-1)
    if np.isneginf(log_likelihood.max(axis=-1)).any():
        raise ValueError(f"noise is {noise}, and no hypothesis allows the labels")
    return softmax(np.log(prior) + log_likelihood, axis=-1)


@dataclass(frozen=True)
class Behaviour:
    """Draws sorted by what they act like.

    Attributes
    ----------
    names : tuple of str
        The hypotheses, and "other" at the end.
    agreement : (draws, hypotheses) array
        Share of the inputs on which a draw decides as a hypothesis does.
    kind : (draws,) array of int
        Index into `names`.
    """

    names: tuple[str, ...]
    agreement: np.ndarray
    kind: np.ndarray

    @property
    def mass(self) -> dict[str, float]:
        """Share of the draws of each kind: the bag's own posterior over behaviours."""
        share = np.bincount(self.kind, minlength=len(self.names)) / len(self.kind)
        return dict(zip(self.names, share.tolist(), strict=True))


def behaviour(
    proba: ArrayLike, hypotheses: Mapping[str, np.ndarray], least: float = 0.9
) -> Behaviour:
    """Sort draws of P(harm) by the hypothesis that they act like.

    A draw acts like a hypothesis if both decide alike, harm where p ≥ ½, on at least a share
    `least` of the inputs. A draw that acts like none is "other".

    Parameters
    ----------
    proba : (draws, n) array
        Draws of P(harm), along the first axis.
    hypotheses : mapping of str to (n,) array of 0 and 1
        The answers of each hypothesis, by its name.
    least : float
        Share of the inputs, above ½ and at most 1.

    Raises
    ------
    ValueError
        If shapes differ, a hypothesis is not 0/1, or two agree on a share of 2 · least − 1 or
        more of the inputs, so that a draw could act like both.

    Examples
    --------
    >>> rivals = {"truth": [1, 0, 0, 1], "human": [0, 0, 1, 1]}
    >>> behaviour([[0.9, 0.1, 0.2, 0.8], [0.5, 0.5, 0.5, 0.5]], rivals).mass
    {'truth': 0.5, 'human': 0.0, 'other': 0.5}
    """
    proba = check_draws(proba)
    if proba.ndim != 2:
        raise ValueError(f"proba has shape {proba.shape}; it has to be (draws, n)")
    if not 0.5 < least <= 1:
        raise ValueError(f"least is {least!r}; it has to lie above ½ and at most at 1")
    if not hypotheses or OTHER in hypotheses:
        raise ValueError(
            f"hypotheses is {list(hypotheses)}; it needs one, none named {OTHER!r}"
        )
    answers = np.stack([check_labels(answer) for answer in hypotheses.values()])
    if answers.shape[1] != proba.shape[1]:
        raise ValueError(
            f"hypotheses answer for {answers.shape[1]} inputs, proba for {proba.shape[1]};"
            " it has to be (draws, n), draws along the first axis"
        )
    names = (*hypotheses, OTHER)
    _check_distinct(names, answers, least)
    decisions = (proba >= 0.5).astype(np.float64)
    agreement = (decisions @ answers.T + (1 - decisions) @ (1 - answers).T) / answers.shape[1]
    like = agreement >= least
    kind = np.where(like.any(axis=1), like.argmax(axis=1), len(answers))
    return Behaviour(names, agreement, kind)


def _check_distinct(names, answers, least) -> None:
    for i in range(len(answers)):
        for j in range(i):
            both = (answers[i] == answers[j]).mean()
            if both >= 2 * least - 1:
                raise ValueError(
                    f"{names[j]} and {names[i]} agree on a share of {both:.2f} of the inputs; "
                    f"for least = {least} it has to be below {2 * least - 1:.2f}, or a draw "
                    "could act like both"
                )


def _noise(noise):
    noise = np.asarray(noise, dtype=np.float64)
    if not ((noise >= 0) & (noise <= 0.5)).all():
        raise ValueError(f"noise is {noise}; it has to lie between 0 and ½")
    return noise


def _count(name, value):
    value = np.asarray(value, dtype=np.float64)
    if not ((value >= 0) & (value == np.floor(value)) & np.isfinite(value)).all():
        raise ValueError(f"{name} is {value}; it has to be an integer no smaller than 0")
    return value
