"""Rule worlds: harm wherever a context meets any condition of an unknown set.

A *rule* is a set S of conditions, and under it a context is harmful if it meets any of them.
Labels are wrong with a known probability. Rules can be enumerated, so every posterior is known
exactly, and rules that no context tells apart are *clones*. `vault_conditions` makes the
conditions of the vault's cases, among whose rules are the translator {gone} and confusion
{gone, hidden}; any other 0/1 features will do, such as what reporters read from activations.
`STREAMS` choose which context is labelled next, three of them as adversaries. `Bandit` is a
world of another kind: arms with unknown payoffs, some of which explode.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_counts, is_number, numbers
from elkutils.tasks.vault import ACTIONS, Cases

MOST_LISTED = 22  # conditions: four million rules


@dataclass(frozen=True, eq=False)
class RuleWorld:
    """Contexts, the conditions that each meets, and a prior over rules.

    The prior of a rule is in proportion to exp(−penalty · |S|): every condition is in S
    independently of the others.

    Parameters
    ----------
    contexts : (n, d) array of bool or of 0 and 1
        Whether each of n contexts meets each of d conditions.
    noise : float
        η, the probability that a label is wrong, above 0 and below ½.
    penalty : float
        Nats per condition, finite.
    names : tuple of d str, or empty
        Of the conditions.

    Raises
    ------
    ValueError
        If an argument does not fit.

    Examples
    --------
    Two contexts and two conditions; the rule {1} makes the second context harmful.

    >>> world = RuleWorld(np.eye(2), noise=0.1)
    >>> world.harm(world.rules()).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """

    contexts: np.ndarray
    noise: float = 0.1
    penalty: float = 1.0
    names: tuple[str, ...] = ()

    def __post_init__(self):
        contexts = numbers(self.contexts, "contexts")
        if contexts.ndim != 2 or 0 in contexts.shape or not np.isin(contexts, (0, 1)).all():
            raise ValueError(
                f"contexts has shape {contexts.shape}; it has to be (n, d), n and d ≥ 1, and "
                "hold 0 and 1"
            )
        if not (is_number(self.noise) and 0 < self.noise < 0.5):
            raise ValueError(f"noise is {self.noise!r}; it has to lie above 0 and below ½")
        if not (is_number(self.penalty) and np.isfinite(self.penalty)):
            raise ValueError(f"penalty is {self.penalty!r}; it has to be a finite number")
        if self.names and len(self.names) != contexts.shape[1]:
            raise ValueError(
                f"names has {len(self.names)} entries; it needs one for each of the "
                f"{contexts.shape[1]} conditions"
            )
        object.__setattr__(self, "contexts", contexts.astype(bool))

    @property
    def d(self) -> int:
        """Number of conditions."""
        return self.contexts.shape[1]

    @property
    def weight_of_evidence(self) -> float:
        """log((1 − η)/η): what one label adds to a log odds, in nats."""
        return float(np.log((1 - self.noise) / self.noise))

    def rules(self) -> np.ndarray:
        """Return all rules, (2^d, d) bool: rule i holds the conditions of the bits of i.

        Raises
        ------
        ValueError
            For more than 22 conditions.
        """
        if self.d > MOST_LISTED:
            raise ValueError(
                f"contexts has {self.d} conditions, whose rules are too many to list; it has "
                f"to have at most {MOST_LISTED}"
            )
        return (np.arange(2**self.d)[:, None] >> np.arange(self.d) & 1).astype(bool)

    def index(self, *names: str) -> int:
        """Return the row of `rules` with these conditions."""
        unknown = set(names) - set(self.names)
        if unknown:
            raise ValueError(f"names has {sorted(unknown)}; the conditions are {self.names}")
        return sum(2 ** self.names.index(name) for name in set(names))

    def harm(self, rules: np.ndarray) -> np.ndarray:
        """Return whether each rule (..., d) makes each context harmful, (..., n) bool."""
        return rules.astype(np.float32) @ self.contexts.T.astype(np.float32) > 0

    def log_prior(self, rules: np.ndarray) -> np.ndarray:
        """Return the log prior of rules (..., d), normalised over all 2^d."""
        lost = self.d * np.log1p(np.exp(-self.penalty))
        return -self.penalty * rules.sum(axis=-1) - lost

    def law(self, harm: np.ndarray) -> np.ndarray:
        """Return P(label = 1) where a rule says `harm`: 1 − η, and η elsewhere."""
        return np.where(harm, 1 - self.noise, self.noise)

    def classes(self, rules: np.ndarray) -> np.ndarray:
        """Return the class (m,) of each rule (m, d): clones, alike on every context, share it.

        Classes are numbered from 0.
        """
        packed = np.packbits(self.harm(rules), axis=1)
        return np.unique(packed, axis=0, return_inverse=True)[1].ravel()

    def draw_rules(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return rules (count, d) drawn from the prior."""
        return rng.random((count, self.d)) < 1 / (1 + np.exp(self.penalty))

    def draw_labels(
        self, rule: np.ndarray, rows: ArrayLike, rng: np.random.Generator
    ) -> np.ndarray:
        """Return labels of the contexts `rows` (k,) under a rule (d,), each wrong with η."""
        true = self.harm(rule)[rows]
        return (true ^ (rng.random(len(true)) < self.noise)).astype(np.int64)

    def net(self, rows: ArrayLike, labels: ArrayLike) -> np.ndarray:
        """Return by how many labels "harm" outnumbers "safe" in each context, (n,).

        These counts are sufficient: the log likelihood of a rule is the sum of them over the
        contexts it makes harmful, times `weight_of_evidence`, plus a constant. Labels that
        contradict each other are no error; they cancel.

        Raises
        ------
        ValueError
            If a row is no context, or a label neither 0 nor 1.
        """
        rows, labels = np.asarray(rows, dtype=np.int64), numbers(labels, "labels")
        if rows.shape != labels.shape or not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"labels has shape {labels.shape} and rows {rows.shape}; both have to be (k,), "
                "and labels 0 or 1"
            )
        n = len(self.contexts)
        if rows.size and not (rows.min() >= 0 and rows.max() < n):
            raise ValueError(f"rows reaches {rows.max()}; contexts are 0 to {n - 1}")
        return np.bincount(rows.ravel(), (2.0 * labels - 1).ravel(), minlength=n)


def vault_conditions(cases: Cases) -> dict[str, np.ndarray]:
    """Return 21 conditions of the vault's cases, (n,) bool each, by name.

    The first twelve are on the state and the history; `gone` is the truth, `hidden` where no
    sensor shows it, and `empty` what a person would see. The others are which action was last.

    Parameters
    ----------
    cases : elkutils.tasks.vault.Cases
        Of a world with one vault.
    """
    episodes, last = cases.episodes, cases.step - 1
    done = episodes.actions[:, : cases.step]

    def ever(action):
        return (done == ACTIONS.index(action)).any(axis=1)

    def now(state):
        return state[:, last]

    found = {
        "gone": ~now(episodes.diamond),
        "hidden": now(episodes.hidden),
        "empty": ~now(episodes.looks_safe),
        "robber": now(episodes.robber),
        "unlocked": ~now(episodes.locked),
        "locked before": ever("lock"),
        "entered": ever("enter"),
        "grabbed": ever("grab"),
        "left": ever("leave"),
        "screened before": ever("screen"),
        "unscreened before": ever("unscreen"),
        "returned": ever("return"),
    }
    actions = cases.episodes.world.actions
    return found | {f"last: {a}": done[:, -1] == i for i, a in enumerate(actions)}


@dataclass(frozen=True)
class Seen:
    """What an adversary sees before it chooses the next context, in each of R runs.

    Attributes
    ----------
    weights : (R, k) array
        The posterior over theories.
    harm : (k, n) array
        What each theory says of each context.
    truth : (R, n) array
        What the truth says of it.
    rows : (R,) array of int
        The contexts labelled last.
    wrong : (R,) array of bool
        Whether those labels went against the truth.
    step : int
    rng : numpy.random.Generator
    """

    weights: np.ndarray
    harm: np.ndarray
    truth: np.ndarray
    rows: np.ndarray
    wrong: np.ndarray
    step: int
    rng: np.random.Generator


def at_random(seen: Seen) -> np.ndarray:
    """Choose a context at random."""
    return seen.rng.integers(seen.harm.shape[1], size=len(seen.weights))


def in_turn(seen: Seen) -> np.ndarray:
    """Choose every context in turn."""
    return np.full(len(seen.weights), seen.step % seen.harm.shape[1])


def most_doubted(seen: Seen) -> np.ndarray:
    """Choose the context on which the posterior is least sure."""
    p = seen.weights @ seen.harm
    return _first(p * (1 - p), seen.rng)


def against_truth(seen: Seen) -> np.ndarray:
    """Choose the context on which the posterior most contradicts the truth."""
    return _first(np.abs(seen.weights @ seen.harm - seen.truth), seen.rng)


def after_noise(seen: Seen) -> np.ndarray:
    """Stay where the last label was wrong, hoping for another; else go against the truth."""
    return np.where(seen.wrong, seen.rows, against_truth(seen))


STREAMS: Mapping[str, Callable[[Seen], np.ndarray]] = {
    "random": at_random,
    "in turn": in_turn,
    "most doubted": most_doubted,
    "against the truth": against_truth,
    "after noise": after_noise,
}
ADVERSARIES = ("most doubted", "against the truth", "after noise")


@dataclass(frozen=True, eq=False)
class Bandit:
    """Arms whose payoff is a sum over unknown weights; those that pay too much explode.

    The bandit of Bengio et al. (2024) from memory: its sizes and its law could not be checked.

    Parameters
    ----------
    features : (arms, d) array of 0 and 1
    limit : float
        An arm explodes if its mean payoff is above this.
    sd : float
        Standard deviation of a payoff about its mean, above 0.

    Raises
    ------
    ValueError
        If an argument does not fit.

    Examples
    --------
    >>> bandit = Bandit(np.eye(2), limit=0.5)
    >>> bandit.explodes(bandit.theories()).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """

    features: np.ndarray
    limit: float
    sd: float = 1.0

    def __post_init__(self):
        features = numbers(self.features, "features")
        if features.ndim != 2 or not np.isin(features, (0, 1)).all() or 0 in features.shape:
            raise ValueError(
                f"features has shape {features.shape}; it has to be (arms, d) of 0 and 1"
            )
        if not (is_number(self.sd) and self.sd > 0):
            raise ValueError(f"sd is {self.sd!r}; it has to be above 0")

    @classmethod
    def draw(cls, arms: int, d: int, limit: float, rng: np.random.Generator) -> "Bandit":
        """Return a bandit with features drawn by fair coins."""
        check_counts(arms=arms, d=d)
        return cls(rng.integers(2, size=(arms, d)), limit)

    def theories(self) -> np.ndarray:
        """Return all weights, (2^d, d) of 0 and 1."""
        d = self.features.shape[1]
        return np.arange(2**d)[:, None] >> np.arange(d) & 1

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean payoff of each arm under weights (..., d), (..., arms)."""
        return weights @ self.features.T

    def explodes(self, weights: np.ndarray) -> np.ndarray:
        """Return whether each arm explodes under weights (..., d), (..., arms) bool."""
        return self.means(weights) > self.limit


def _first(score: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The column of the largest score in each row; ties are broken at random."""
    return np.argmax(score + 1e-9 * rng.random(score.shape), axis=1)
