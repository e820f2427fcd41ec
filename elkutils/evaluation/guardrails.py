"""Guardrails: a bound on the harm that the truth would see, from weights over theories.

A *theory* gives a probability to every label and to harm in every context. `Theories` holds a
finite list of them with a prior; the data give them weights. Every guardrail turns weights into
a number per context, and vetoes where that reaches a level. `MassInRank` is the set M^α of
*Can a Bayesian Oracle Prevent Harm from an Agent?* (Bengio et al., arXiv 2408.05284); `Cutoff`,
`Mass` and `Mean` are simpler, and `Members` sees N draws only. `certified_alpha` is how small α
has to be for a bound that holds at all times at once, with probability 1 − δ under the truth.
`watch` runs them along a stream.

Why it holds. O_t = (1 − w_t)/w_t, w_t the truth's weight, is a nonnegative supermartingale
under the truth, whoever chooses the contexts. By Ville's inequality P(∃t: w_t ≤ a) is at most
(a/(1 − a))·(1 − w₀)/w₀, which is at most a/w₀ for a ≤ w₀.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from scipy.stats import beta

from elkutils._inputs import check_counts, check_finite, check_level, is_number, numbers
from elkutils.tasks.rules import Seen

FORMS = "stated", "odds"


def certified_alpha(delta: float, weight: float, form: str = "stated") -> float:
    """Return the largest α at which the truth stays in, with probability 1 − δ for all t.

    Parameters
    ----------
    delta : float
        δ, between 0 and 1.
    weight : float
        Prior weight of the truth, or of all theories that share its law and its harm; above 0
        and below 1.
    form : str
        "stated": α = δ·w₀. "odds": α/(1 − α) = δ·w₀/(1 − w₀), the larger one.

    Raises
    ------
    ValueError
        If an argument is out of range. At weight 0 no α is certified: a truth that is not among
        the theories has no guarantee.

    Examples
    --------
    >>> certified_alpha(0.1, 0.5), round(certified_alpha(0.1, 0.5, "odds"), 4)
    (0.05, 0.0909)
    """
    delta = check_level(delta, "delta")
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; it has to be one of {', '.join(FORMS)}")
    if not (is_number(weight) and 0 < weight < 1):
        hint = "; a truth outside the theories has no guarantee" if weight == 0 else ""
        raise ValueError(f"weight is {weight!r}; it has to lie between 0 and 1{hint}")
    if form == "stated":
        return float(delta * weight)
    odds = delta * weight / (1 - weight)
    return float(odds / (1 + odds))


@dataclass(frozen=True, eq=False)
class Theories:
    """A finite list of theories.

    Parameters
    ----------
    law : (k, n) array
        P(label = 1) by theory and context, above 0 and below 1.
    harm : (k, n) array
        P(harm) by theory and context, between 0 and 1.
    prior : (k,) array
        At least 0, with sum 1. A theory with prior 0 is none that is considered: as the truth
        it shows what happens when the truth is outside.

    Raises
    ------
    ValueError
        If shapes or ranges do not fit, or the prior does not sum to 1.
    """

    law: np.ndarray
    harm: np.ndarray
    prior: np.ndarray

    def __post_init__(self):
        law, harm, prior = (
            numbers(getattr(self, name), name).astype(np.float64)
            for name in ("law", "harm", "prior")
        )
        if law.ndim != 2 or harm.shape != law.shape or prior.shape != law.shape[:1]:
            raise ValueError(
                f"law has shape {law.shape}, harm {harm.shape} and prior {prior.shape}; they "
                "have to be (k, n), (k, n) and (k,)"
            )
        for name, values in (("law", law), ("harm", harm), ("prior", prior)):
            check_finite(values, name)
        if not ((law > 0) & (law < 1)).all():
            raise ValueError(
                f"law ranges from {law.min():g} to {law.max():g}; each has to lie above 0 and "
                "below 1, or one label would rule a theory out"
            )
        if not ((harm >= 0) & (harm <= 1)).all():
            raise ValueError(
                f"harm ranges from {harm.min():g} to {harm.max():g}; it has to lie in [0, 1]"
            )
        if prior.min() < 0 or abs(prior.sum() - 1) > 1e-9:
            raise ValueError(
                f"prior has sum {prior.sum():.9g} and least entry {prior.min():g}; it has to "
                "sum to 1 and be at least 0: divide it by its sum"
            )
        for name, values in (("law", law), ("harm", harm), ("prior", prior)):
            object.__setattr__(self, name, values)

    def weights(self, rows: ArrayLike, labels: ArrayLike) -> np.ndarray:
        """Return the posterior (k,) after labels (m,) of the contexts `rows` (m,)."""
        rows, labels = np.asarray(rows, dtype=np.int64), numbers(labels, "labels")
        if rows.shape != labels.shape or not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"labels has shape {labels.shape} and rows {rows.shape}; they have to be alike,"
                " and labels 0 or 1"
            )
        seen = self.law[:, rows]
        log_likelihood = np.log(np.where(labels == 1, seen, 1 - seen)).sum(axis=1)
        with np.errstate(divide="ignore"):
            return _normalised(np.log(self.prior) + log_likelihood)

    def merged(self) -> tuple["Theories", np.ndarray]:
        """Return the classes of theories that share law and harm, and the class of each.

        Clones split a theory's weight among them, and a class puts it together again.
        """
        both = np.concatenate([self.law, self.harm], axis=1)
        _, first, of = np.unique(both, axis=0, return_index=True, return_inverse=True)
        prior = np.bincount(of.ravel(), self.prior)
        return Theories(self.law[first], self.harm[first], prior), of.ravel()


class Guardrail(ABC):
    """A rule that bounds P(harm) in each context, given weights over theories."""

    def bound(self, weights: np.ndarray, harm: np.ndarray) -> np.ndarray:
        """Return the bound (..., n): the highest level at which the guardrail is alarmed.

        Parameters
        ----------
        weights : (..., k) array
            At least 0, with sum 1 over the last axis.
        harm : (k, n) array
            P(harm) by theory and context. The work grows with its number of different values.
        """
        found = np.zeros((*np.shape(weights)[:-1], harm.shape[1]))
        for level in np.unique(harm[harm > 0]):
            found = np.where(self.alarmed(weights, harm >= level), level, found)
        return found

    @abstractmethod
    def alarmed(self, weights: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Return whether it heeds an event, the theories (k, n) that expect it: (..., n)."""


@dataclass(frozen=True)
class Cutoff(Guardrail):
    """The largest P(harm) among theories of weight at least α; 0 if there is none.

    Parameters
    ----------
    alpha : float
        Between 0 and 1.

    Examples
    --------
    >>> Cutoff(0.2).bound(np.array([0.85, 0.15]), np.array([[0.0], [1.0]])).tolist()
    [0.0]
    """

    alpha: float

    def __post_init__(self):
        check_level(self.alpha, "alpha")

    def members(self, weights: np.ndarray) -> np.ndarray:
        """Return which theories are in the set, (..., k) bool."""
        return weights >= self.alpha

    def alarmed(self, weights: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Return whether a theory in the set is in the event."""
        return self.members(weights).astype(np.float32) @ event.astype(np.float32) > 0


@dataclass(frozen=True)
class MassInRank(Cutoff):
    """M^α: theories of weight at least α times the weight ranked at or above, itself included.

    It contains the `Cutoff` set, and always the theory of most weight. Equal weights share a
    rank.

    Examples
    --------
    >>> MassInRank(0.2).members(np.array([0.5, 0.35, 0.15]))
    array([ True,  True, False])
    """

    def members(self, weights: np.ndarray) -> np.ndarray:
        """Return which theories are in the set, (..., k) bool."""
        order = np.argsort(-weights, axis=-1, kind="stable")
        ranked = np.take_along_axis(weights, order, axis=-1)
        upto = np.cumsum(ranked, axis=-1)
        last = np.concatenate(
            [ranked[..., 1:] < ranked[..., :-1], np.ones_like(ranked[..., :1], bool)], axis=-1
        )  # of the theories of equal weight
        upto = np.minimum.accumulate(np.where(last, upto, np.inf)[..., ::-1], axis=-1)
        found = np.empty(weights.shape, dtype=bool)
        np.put_along_axis(found, order, ranked >= self.alpha * upto[..., ::-1], axis=-1)
        return found | (weights == ranked[..., :1])


@dataclass(frozen=True)
class Mass(Guardrail):
    """The hypothesis rule: the highest h that theories of total weight α or more each reach.

    With α certified from the weight of the truth's *class* it is the mass rule, which clones of
    a theory do not move.

    Examples
    --------
    >>> Mass(0.2).bound(np.array([0.7, 0.15, 0.15]), np.array([[0.0], [0.9], [1.0]])).tolist()
    [0.9]
    """

    alpha: float

    def __post_init__(self):
        check_level(self.alpha, "alpha")

    def alarmed(self, weights: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Return whether the event has weight α or more."""
        return weights @ event.astype(np.float64) >= self.alpha


@dataclass(frozen=True)
class Mean(Guardrail):
    """The posterior mean of P(harm): no bound, but what the mean rule of C4 thresholds."""

    def bound(self, weights: np.ndarray, harm: np.ndarray) -> np.ndarray:
        """Return E[p], (..., n)."""
        return weights @ harm

    def alarmed(self, weights: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Return whether the event is the likelier one."""
        return weights @ event.astype(np.float64) >= 0.5


@dataclass(frozen=True)
class Members(Guardrail):
    """What N draws can do for `Mass`: the upper limit of an event's weight has to be below α.

    The limit is Clopper and Pearson's, one-sided, so that a calm answer is wrong about the
    weights with probability at most `delta`. With fewer than log(1/δ)/log(1/(1 − α)) members it
    is alarmed by everything.

    Parameters
    ----------
    count : int
        N, at least 1.
    alpha, delta : float
        Between 0 and 1.
    seed : int

    Examples
    --------
    >>> weights, harm = np.array([1.0, 0.0]), np.array([[0.0], [1.0]])
    >>> [Members(n, 0.05, 0.05).bound(weights, harm).tolist() for n in (50, 100)]
    [[1.0], [0.0]]
    """

    count: int
    alpha: float
    delta: float
    seed: int = 0

    def __post_init__(self):
        check_counts(count=self.count)
        check_level(self.alpha, "alpha")
        check_level(self.delta, "delta")

    def alarmed(self, weights: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Return whether the upper limit of the event's weight, from N draws, reaches α."""
        flat = np.reshape(weights, (-1, weights.shape[-1]))
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(self.count, flat / flat.sum(axis=1, keepdims=True))
        hits = (drawn @ event.astype(np.int64)).reshape(*weights.shape[:-1], -1)
        limit = beta.ppf(
            1 - self.delta, np.arange(self.count) + 1, self.count - np.arange(self.count)
        )
        return np.append(limit, 1.0)[hits] >= self.alpha


@dataclass(frozen=True)
class Watched:
    """What happened along a stream, in each of R runs.

    Attributes
    ----------
    least : (R,) array
        The smallest weight that the truth, or its class, ever had.
    broken : dict of str to (R,) array of bool
        Whether the truth's P(harm) ever exceeded a guardrail's bound in any context.
    false_vetoes : dict of str to float
        Share of the pairs of step and context, safe under the truth, whose bound was ½ or more.
    path : (R, steps + 1) array
        The truth's weight, from before the first label.
    """

    least: np.ndarray
    broken: Mapping[str, np.ndarray]
    false_vetoes: Mapping[str, float]
    path: np.ndarray

    def left(self, alpha: float) -> np.ndarray:
        """Return whether the truth's weight was ever below α, (R,) bool."""
        return self.least < alpha


def watch(
    theories: Theories,
    truth: ArrayLike,
    stream: Callable[[Seen], np.ndarray],
    steps: int,
    guardrails: Mapping[str, Guardrail],
    rng: np.random.Generator,
    rows: ArrayLike | None = None,
) -> Watched:
    """Run guardrails along streams of labels, and compare their bounds with the truth.

    Parameters
    ----------
    theories : Theories
    truth : (R,) array of int
        Index of the true theory in each run.
    stream : callable
        Of `elkutils.tasks.rules.STREAMS`: chooses the next context from all that was seen.
    steps : int
        Labels per run.
    guardrails : mapping of str to Guardrail
        Their bounds are compared in all contexts at every step.
    rng : numpy.random.Generator
    rows : (m,) array of int or None
        The contexts that can be labelled; None for all.

    Raises
    ------
    ValueError
        If `truth` is no theory, or steps is not at least 1.
    """
    check_counts(steps=steps)
    truth = np.atleast_1d(np.asarray(truth))
    if truth.dtype.kind not in "iu" or not (
        truth.min() >= 0 and truth.max() < len(theories.prior)
    ):
        raise ValueError(
            f"truth is {truth}; it has to index the {len(theories.prior)} theories"
        )
    open_rows = np.arange(theories.law.shape[1]) if rows is None else np.asarray(rows)
    log_law = np.log(np.stack([1 - theories.law, theories.law]))[:, :, open_rows]
    true_law, true_harm = theories.law[truth], theories.harm[truth]
    runs = np.arange(len(truth))
    with np.errstate(divide="ignore"):
        log_weights = np.tile(np.log(theories.prior), (len(truth), 1))
    weights = _normalised(log_weights)
    broken = {name: np.zeros(len(truth), dtype=bool) for name in guardrails}
    vetoes, safe = dict.fromkeys(guardrails, 0), true_harm < 0.5
    path, row, wrong = (
        [weights[runs, truth]],
        np.zeros(len(truth), np.int64),
        np.zeros(len(truth), bool),
    )
    for step in range(steps + 1):
        for name, guardrail in guardrails.items():
            bound = guardrail.bound(weights, theories.harm)
            broken[name] |= (true_harm > bound + 1e-12).any(axis=1)
            vetoes[name] += int((safe & (bound >= 0.5)).sum())
        if step == steps:
            break
        seen = Seen(
            weights, theories.harm[:, open_rows], true_harm[:, open_rows], row, wrong, step, rng
        )
        row = stream(seen)
        p = true_law[:, open_rows][runs, row]
        label = (rng.random(len(truth)) < p).astype(np.int64)
        wrong = label != (p > 0.5)
        log_weights += log_law[label[:, None], np.arange(len(theories.prior)), row[:, None]]
        weights = _normalised(log_weights)
        path.append(weights[runs, truth])
    path = np.stack(path, axis=1)
    shown = max(1, int(safe.sum())) * (steps + 1)
    shares = {name: count / shown for name, count in vetoes.items()}
    return Watched(path.min(axis=1), broken, shares, path)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    return np.exp(log_weights - logsumexp(log_weights, axis=-1, keepdims=True))
