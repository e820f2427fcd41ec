"""Which hypothesis do labels leave standing, and how does a bag of reporters behave?

Hypotheses give P(harm), often 0 or 1 on each input, and a label is wrong with a known
probability, its *noise* η. `hypothesis_posterior` is Bayes' rule over a list of them and
`rival_log_odds` the same for a pair; `behaviour` sorts draws of a posterior over reporters by
which hypothesis each of them acts like.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax, xlogy

from elkutils.evaluation._arrays import check_draws, check_labels

OTHER = "other"


def rival_log_odds(with_truth, with_rival, noise, prior_odds=1.0):
    """Return the log posterior odds of a rival against the truth, both of them 0/1.

    ``log prior_odds + (k₊ − k₋) log(η/(1 − η))``: each label multiplies the odds by one factor
    or its inverse, and labels on which the two agree do nothing.

    Parameters
    ----------
    with_truth, with_rival : k₊ and k₋, whole numbers ≥ 0, or arrays of them.
        Labels that agree with the truth, and with the rival, among those on which they differ.
    noise : η between 0 and ½, or an array.
    prior_odds : P(rival)/P(truth) before any label, above 0, or an array.

    Returns
    -------
    float64, broadcast over the arguments; −∞ where noiseless labels rule the rival out.

    Raises
    ------
    ValueError
        If an argument is out of range, or noiseless labels contradict each other.
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


def label_balance(k, noise):
    """Return mean and standard deviation of k₊ − k₋ over labels with noise η.

    k(1 − 2η) and 2√(kη(1 − η)): a rival's log odds drift down like k and spread like √k.

    Parameters
    ----------
    k : number of labels on which truth and rival differ, or an array of numbers.
    noise : η between 0 and ½, or an array.
    """
    k, noise = _count("k", k), _noise(noise)
    return k * (1 - 2 * noise), 2 * np.sqrt(k * noise * (1 - noise))


def hypothesis_posterior(answers, labels, noise, prior=None):
    """Return the posterior of each hypothesis given labels.

    Parameters
    ----------
    answers : (..., hypotheses, k) array of P(harm), between 0 and 1.
        What each hypothesis says of the inputs that were labelled; k may be 0.
    labels : (..., k) array of 0 and 1.
    noise : η between 0 and ½: the probability that a label is wrong.
    prior : (hypotheses,) array of numbers above 0, proportional to the prior; None for a flat
        one.

    Returns
    -------
    (..., hypotheses) array that sums to 1 over its last axis; leading axes broadcast.

    Raises
    ------
    ValueError
        If an argument does not fit, or no hypothesis allows the labels, as noiseless ones may.
    """
    answers, labels = np.asarray(answers, dtype=np.float64), np.asarray(labels)
    if answers.ndim < 2 or not ((answers >= 0) & (answers <= 1)).all():
        raise ValueError(
            f"answers has shape {answers.shape}; it has to be (..., hypotheses, k), "
            "between 0 and 1"
        )
    count, k = answers.shape[-2:]
    if labels.ndim == 0 or labels.shape[-1] != k:
        raise ValueError(f"labels has shape {labels.shape}; its last axis has to be k = {k}")
    if labels.size:
        check_labels(labels.ravel())
    prior = np.ones(count) if prior is None else np.asarray(prior, dtype=np.float64)
    if prior.shape != (count,) or not ((prior > 0) & np.isfinite(prior)).all():
        raise ValueError(
            f"prior is {prior}; it has to hold {count} finite numbers above 0, one a hypothesis"
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


def behaviour(proba, hypotheses: Mapping[str, np.ndarray], least=0.9) -> Behaviour:
    """Sort draws of P(harm) by the hypothesis that they act like.

    A draw acts like a hypothesis if its decisions, harm where p ≥ ½, are that hypothesis's on a
    share of at least `least` of the inputs; if there is none it is "other".

    Parameters
    ----------
    proba : (draws, n) array of draws of P(harm).
    hypotheses : for each name the (n,) array of 0 and 1 that it says.
    least : above ½ and at most 1.

    Raises
    ------
    ValueError
        If shapes differ, a hypothesis is not 0/1, or two agree on so many of the inputs, a
        share of 2 · least − 1 or more, that a draw could act like both.
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
            f"hypotheses say something of {answers.shape[1]} inputs, proba of {proba.shape[1]}"
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
        raise ValueError(f"{name} is {value}; it has to be a whole number of at least 0")
    return value
