"""Guardrails on the vault's rules: coverage, vetoes before and after hard labels, a bandit.

`two_theories` and `exit_weights` are the case in which the bound is nearly tight; `theories_of`
makes theories of the rules of a world. `vault_worlds` has the same cases twice, with conditions
that are known and with conditions that reporters read from the predictor's activations, and
`after_labels` what a guardrail does there. `play` is the bandit whose arms explode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from elkutils.evaluation.guardrails import (
    Cutoff,
    Guardrail,
    Mass,
    MassInRank,
    Theories,
    Watched,
    certified_alpha,
    watch,
)
from elkutils.reporters import LogisticMAP
from elkutils.study import readings
from elkutils.study.amortised import vault_world
from elkutils.study.scaling import z_scored
from elkutils.tasks.rules import STREAMS, Bandit, RuleWorld, vault_conditions

NEVER = "no data can tell"


def two_theories(ratio: float = 1.0, noise: float = 0.1, tells: bool = True) -> Theories:
    """Return the truth, which says safe, and a rival of prior odds `ratio`, which says harm.

    There is one context. With `tells` its labels follow what a theory says, up to `noise`; else
    both theories have the law of the truth, as confusion and the truth have where people label.
    """
    harm = np.array([[0.0], [1.0]])
    says = harm if tells else np.zeros((2, 1))
    law = np.where(says > 0, 1 - noise, noise)
    return Theories(law, harm, np.array([1.0, ratio]) / (1 + ratio))


def exit_weights(runs: int, steps: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return the least weight that the truth of `two_theories`, ratio 1, has in each run.

    The log odds of the rival move by ±log((1 − η)/η) per label, up with probability η.
    """
    nats = np.log((1 - noise) / noise)
    now, most = np.zeros(runs), np.zeros(runs)
    for _ in range(0, steps, 500):
        up = rng.random((runs, min(500, steps))) < noise
        walk = now[:, None] + np.cumsum(np.where(up, nats, -nats), axis=1)
        most, now = np.maximum(most, walk.max(axis=1)), walk[:, -1]
    return 1 / (1 + np.exp(most))


def theories_of(world: RuleWorld) -> Theories:
    """Return all rules of a world as theories."""
    rules = world.rules()
    harm = world.harm(rules)
    return Theories(world.law(harm), harm.astype(np.float64), np.exp(world.log_prior(rules)))


def last_ratio(delta: float, form: str) -> float:
    """Return the prior odds of confusion from which on M^α vetoes, by bisection.

    `form` is one of `elkutils.evaluation.guardrails.FORMS`, or `NEVER`: nothing that is ever
    seen moves the weights, so every α below 1 is certified while the truth leads.
    """

    def vetoes(log_ratio):
        theories = two_theories(np.exp(log_ratio), tells=False)
        truth = float(theories.prior[0])
        alpha = 1 - 1e-12 if form == NEVER else certified_alpha(delta, truth, form)
        found = MassInRank(alpha).bound(theories.weights([0], [0]), theories.harm)
        return 1.0 if found[0] == 1 else -1.0

    return float(np.exp(brentq(vetoes, -12.0, 3.0, xtol=1e-10)))


def rule_world(seed: int) -> RuleWorld:
    """Return the 256 rules of the vault's first eight conditions, on contexts that differ."""
    return vault_world(seed, d=8)


def watch_rules(
    world: RuleWorld, guardrails: dict[str, Guardrail], runs: int, steps: int, seed: int
) -> dict[str, Watched]:
    """Return what guardrails do on every stream where the rule {gone} is the truth."""
    theories = theories_of(world)
    truth = np.full(runs, world.index("gone"))
    return {
        name: watch(
            theories, truth, stream, steps, guardrails, np.random.default_rng((seed, i))
        )
        for i, (name, stream) in enumerate(STREAMS.items())
    }


@dataclass(frozen=True, eq=False)
class VaultWorld:
    """Rules over the cases of one predictor.

    Attributes
    ----------
    world : RuleWorld
        Of the first conditions of `vault_conditions`.
    hidden : (n,) array of bool
        Whether a context is one that no sensor shows.
    robbed : (n,) array of bool
        Whether the diamond is gone: the vault's truth, whatever the world's conditions are.
    agreement : dict of str to float
        Share of the contexts in which each condition is what it is in the vault.
    """

    world: RuleWorld
    hidden: np.ndarray
    robbed: np.ndarray
    agreement: dict[str, float]

    @property
    def truth(self) -> np.ndarray:
        """Harm under the rule {gone}, (n,) bool, with the condition as the world has it."""
        return self.world.contexts[:, self.world.names.index("gone")]


@lru_cache(maxsize=32)
def vault_worlds(
    seed: int, place: str = "MLP 2", d: int = 8, easy: int = 40, hard: int = 60
) -> dict[str, VaultWorld]:
    """Return the worlds of one predictor: "known" conditions, and those "read" from it.

    Contexts are `easy` cases that nothing hides and `hard` hidden ones, half of them robbed. A
    read condition is the answer of a logistic reporter that was trained on 1600 other cases,
    hidden ones among them, with the condition as their label.
    """
    parts = readings.read_vault(seed)
    train = [parts["easy"], parts["asked"]]
    X = np.concatenate([part.X[place] for part in train])
    rows = np.random.default_rng((seed, 16)).permutation(1000)[:hard]
    cases = parts["held out"].cases.take(np.arange(easy)), parts["hard"].cases.take(rows)
    fresh = parts["held out"].X[place][:easy], parts["hard"].X[place][rows]
    X, fresh = z_scored(X, np.concatenate(fresh))
    labels = [vault_conditions(part.cases) for part in train]
    true = [vault_conditions(part) for part in cases]
    names = tuple(true[0])[:d]
    known, read = [], []
    for name in names:
        y = np.concatenate([found[name] for found in labels]).astype(int)
        known.append(np.concatenate([found[name] for found in true]))
        read.append(LogisticMAP(2 / np.sqrt(X.shape[1])).fit(X, y).predict(fresh) == 1)
    hidden = np.arange(easy + hard) >= easy
    robbed = np.concatenate([part.harm for part in cases]) == 1
    found = {}
    for kind, columns in (("known", known), ("read", read)):
        same = {
            name: float(np.mean(one == other))
            for name, one, other in zip(names, known, columns, strict=True)
        }
        world = RuleWorld(np.stack(columns, axis=1), names=names)
        found[kind] = VaultWorld(world, hidden, robbed, same)
    return found


@dataclass(frozen=True)
class Decisions:
    """What a guardrail does in the hidden contexts, averaged over runs.

    Attributes
    ----------
    vetoed : float
        Share of the contexts without harm that are vetoed.
    missed : float
        Share of the contexts with harm that are not.
    broken : float
        Share of the runs in which a context with harm is not.
    """

    vetoed: float
    missed: float
    broken: float


def after_labels(
    found: VaultWorld,
    hard: int,
    guardrails: dict[str, Guardrail],
    runs: int = 40,
    easy: int = 200,
    of_vault: bool = False,
    seed: int = 0,
) -> dict[str, Decisions]:
    """Return what guardrails do after labels of cases in the open and of hidden ones.

    Parameters
    ----------
    found : VaultWorld
    hard, easy : int
        Labels of hidden cases, and of others, drawn with replacement.
    guardrails : dict of str to Guardrail
    runs : int
        Sets of labels.
    of_vault : bool
        Whether labels and harm follow the diamond, or the rule {gone} of the world. The vault's
        truth is no rule where the conditions are read and not always right.
    seed : int
    """
    world, rng = found.world, np.random.default_rng((seed, hard))
    truth = found.robbed if of_vault else found.truth
    theories = theories_of(world)
    open_rows, hidden_rows = np.flatnonzero(~found.hidden), np.flatnonzero(found.hidden)
    net = np.zeros((runs, len(truth)))
    for count, rows in ((easy, open_rows), (hard, hidden_rows)):
        chosen = rng.choice(rows, size=(runs, count))
        wrong = rng.random((runs, count)) < world.noise
        for each, which, flipped in zip(net, chosen, wrong, strict=True):
            each += world.net(which, truth[which] ^ flipped)
    log_weights = np.log(theories.prior) + world.weight_of_evidence * net @ theories.harm.T
    weights, harm = softmax(log_weights, axis=1), theories.harm[:, hidden_rows]
    harmful, outcome = truth[hidden_rows], {}
    for name, guardrail in guardrails.items():
        vetoes = guardrail.bound(weights, harm) >= 0.5
        calm = ~vetoes[:, harmful]
        outcome[name] = Decisions(
            float(vetoes[:, ~harmful].mean()), float(calm.mean()), float(calm.any(1).mean())
        )
    return outcome


def certified(found: VaultWorld, delta: float) -> dict[str, Guardrail]:
    """Return M^α, the cutoff and the mass rule, certified for the rule {gone}, stated form."""
    theories, truth = theories_of(found.world), found.world.index("gone")
    merged, of = theories.merged()
    alpha = certified_alpha(delta, float(theories.prior[truth]))
    return {
        "M^alpha": MassInRank(alpha),
        "cutoff": Cutoff(alpha),
        "mass rule": Mass(certified_alpha(delta, float(merged.prior[of[truth]]))),
    }


def play(
    bandit: Bandit,
    choose: Callable[[np.ndarray, np.ndarray, float], np.ndarray] | None,
    rounds: int,
    runs: int,
    rng: np.random.Generator,
    delta: float = 0.05,
) -> tuple[float, float]:
    """Return the share of runs that end in an explosion, and the mean total payoff.

    In each round the agent pulls the arm of the largest posterior mean payoff among those that
    the guardrail allows, or rests, for nothing; an explosion ends the run. The true weights are
    drawn from the flat prior.

    Parameters
    ----------
    bandit : Bandit
    choose : callable or None
        ``(weights (k,), explodes (k, arms), alpha)`` → the arms that are vetoed; None for no
        guardrail. `alpha` is the certified one of a flat prior, stated form.
    rounds, runs : int
    rng : numpy.random.Generator
    delta : float
    """
    theories = bandit.theories()
    means, explodes = bandit.means(theories), bandit.explodes(theories).astype(np.float64)
    alpha = certified_alpha(delta, 1 / len(theories))
    deaths, total = 0, 0.0
    for _ in range(runs):
        truth, log_weights = rng.integers(len(theories)), np.zeros(len(theories))
        for _ in range(rounds):
            weights = softmax(log_weights)
            allowed = np.ones(means.shape[1], dtype=bool)
            if choose is not None:
                allowed = ~choose(weights, explodes, alpha)
            if not allowed.any():
                continue
            arm = np.argmax(np.where(allowed, weights @ means, -np.inf))
            payoff = means[truth, arm] + bandit.sd * rng.standard_normal()
            total += payoff
            if explodes[truth, arm]:
                deaths += 1
                break
            log_weights -= 0.5 * ((payoff - means[:, arm]) / bandit.sd) ** 2
    return deaths / runs, total / runs
