"""A network that learns to draw sets from their posterior, for any evidence (a GFlowNet).

The network decides one condition after another, in a fixed order: in or out. So a set is built
in one way only, and q(S | evidence), the product of these decisions, is exact; with trees of
actions in which a set can be built in many ways it would not be. What the network sees is the
evidence that is not covered yet and which condition is next: the posterior of the rest of the
set depends on nothing else.

Two ways to train. *Trajectory balance* (Malkin et al. 2022) needs the weight w(S), no draws of
the posterior: log w(S) − log q(S) has to be the same number, log Z, for all sets, so its
variance over drawn sets is made small, for each evidence by itself (Richter et al. 2020).
*Maximum likelihood* needs pairs of a set and evidence simulated from it, and no w. Trajectory
balance is *annealed*: evidence is multiplied by β, which rises to 1 during training.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.example_libraries import optimizers
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils._inputs import is_number
from elkutils.inference._checks import check_choice, check_counts, check_scale
from elkutils.inference.sets import SetTarget, WeightedSets

BALANCE, LIKELIHOOD = "trajectory balance", "maximum likelihood"
OBJECTIVES = BALANCE, LIKELIHOOD
_SCALE = 4.0  # nats of evidence that count as one unit of input
_CHUNK = 50  # steps between two looks of Python


@dataclass(frozen=True)
class LabelSets:
    """The law of the label sets that a network is trained for.

    A set is drawn from the prior, the number of labels evenly from `fewest` to `most`, the
    contexts evenly, and each label is wrong with probability `noise`.

    Parameters
    ----------
    noise : float
        η, above 0 and below ½.
    fewest, most : int
        1 ≤ fewest ≤ most.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    noise: float = 0.1
    fewest: int = 5
    most: int = 40

    def __post_init__(self):
        if not (is_number(self.noise) and 0 < self.noise < 0.5):
            raise ValueError(f"noise is {self.noise!r}; it has to lie above 0 and below ½")
        check_counts(fewest=self.fewest, most=self.most)
        if self.fewest > self.most:
            raise ValueError(f"fewest is {self.fewest}; it may be at most most, {self.most}")

    @property
    def nats(self) -> float:
        """log((1 − η)/η), the evidence of one label."""
        return float(np.log((1 - self.noise) / self.noise))

    def draw(self, target: SetTarget, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sets (count, d) and the evidence (count, n) of labels drawn under them."""
        simulate = _simulator(self, target)
        sets, evidence = jax.vmap(simulate)(jax.random.split(jax.random.key(seed), count))
        return np.asarray(sets), np.asarray(evidence)


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained network for one target.

    Attributes
    ----------
    target : SetTarget
    parameters : list of arrays
    losses : (looks,) array
        Mean loss between two looks; neither it nor ESS sees a mode that was never drawn.
    seconds : float
        CPU seconds that training took, without compilation; NaN where it was not counted.
    """

    target: SetTarget
    parameters: list
    losses: np.ndarray
    seconds: float = np.nan

    def draw(self, evidence: ArrayLike, count: int, seed: int = 0) -> WeightedSets:
        """Return `count` sets drawn from q for each evidence (B, n), with weights w/q.

        Without their weights they are draws of q; with them they estimate the posterior, where
        q has not missed a part of it.
        """
        check_counts(count=count)
        evidence = np.atleast_2d(self.target.check(evidence)).astype(np.float32)
        keys = jax.random.split(jax.random.key(seed), len(evidence))
        found = _draws(keys, evidence, self.parameters, *_fixed(self.target), count)
        sets, log_q, log_w = (np.asarray(part, np.float64) for part in found)
        return WeightedSets(sets.astype(np.int8), log_w - log_q)

    def log_q(self, sets: ArrayLike, evidence: ArrayLike) -> np.ndarray:
        """Return log q of named sets (m, d) given evidence (n,)."""
        evidence = self.target.check(evidence).astype(np.float32)
        sets = jnp.asarray(np.atleast_2d(sets), jnp.float32)
        fixed = _fixed(self.target)
        found = jax.vmap(lambda s: _log_q(self.parameters, s, evidence, *fixed))(sets)
        return np.asarray(found, np.float64)

    def residual(self, sets: ArrayLike, evidence: ArrayLike, log_z: float) -> np.ndarray:
        """Return log q(S) less log(w(S)/Z) of named sets (m, d): 0 where q is right, in nats.

        `log_z` may come from anywhere. For a set that is *named* w(S)/Z needs no q at all.
        """
        exact = self.target.log_weight(np.atleast_2d(sets), evidence) - log_z
        return self.log_q(sets, evidence) - exact

    def exact(self, evidence: ArrayLike) -> np.ndarray:
        """Return log q of all 2^d sets given evidence (n,), in the order of `all_sets`."""
        evidence = self.target.check(evidence).astype(np.float32)
        found = _tree(self.parameters, evidence, *_fixed(self.target), self.target.d)
        return np.asarray(found, np.float64)


def train(
    target: SetTarget,
    data: LabelSets | ArrayLike,
    objective: str = BALANCE,
    steps: int = 1000,
    batch: int = 64,
    per_set: int = 8,
    width: int = 64,
    learning_rate: float = 3e-3,
    anneal: float = 0.5,
    explore: float = 0.02,
    seed: int = 0,
    progress: bool = False,
) -> Learned:
    """Train a network to draw sets given evidence.

    Parameters
    ----------
    target : SetTarget
    data : LabelSets or (n,) array
        The law of the label sets, anew in every step; or one evidence, for which the network
        is then trained alone.
    objective : str
        "trajectory balance" or "maximum likelihood", which needs `LabelSets`.
    steps : int
        Of Adam, whose rate falls to 0 along a cosine; rounded up to a multiple of 50.
    batch : int
        Label sets per step; with one evidence, sets drawn per step.
    per_set : int
        Sets drawn per evidence, at least 2; for trajectory balance.
    width : int
        Units of each of two hidden layers.
    learning_rate : float
    anneal : float
        Share of the steps in which β rises from 0 to 1, from 0 (none) to 1. Maximum likelihood
        does not anneal.
    explore : float
        Probability with which a decision is turned round while drawing, from 0 to below ½.
    seed : int
    progress : bool
        Show the steps done.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_choice("objective", objective, OBJECTIVES)
    check_counts(steps=steps, batch=batch, width=width)
    check_counts(least=2, per_set=per_set)
    rate = check_scale("learning_rate", learning_rate)
    for name, value, most in (("anneal", anneal, 1.0), ("explore", explore, 0.49)):
        if not (is_number(value) and 0 <= value <= most):
            raise ValueError(f"{name} is {value!r}; it has to lie in [0, {most}]")
    one = not isinstance(data, LabelSets)
    if one and objective == LIKELIHOOD:
        raise ValueError("data is one evidence; maximum likelihood has to have LabelSets")
    if one:
        batch, per_set = 1, batch
        source = _always(target, jnp.asarray(target.check(data), jnp.float32))
    else:
        source = _simulator(data, target)
    plan = Plan(objective, steps, batch, per_set, rate, anneal, explore)
    advance = jax.jit(_advance(target, source, plan))
    key = jax.random.key(seed)
    state = _adam(rate, steps)[0](_init(key, target, width))
    losses, clock = [], []
    for begun in tqdm(range(0, steps, _CHUNK), disable=not progress, desc=objective):
        state, loss = advance(state, jax.random.fold_in(key, begun + 1), begun)
        losses.append(float(loss))
        clock.append(time.process_time())
    seconds = np.nan  # the first look compiled
    if len(clock) > 1:
        seconds = (clock[-1] - clock[0]) * len(clock) / (len(clock) - 1)
    parameters = _adam(rate, steps)[2](state)
    return Learned(target, parameters, np.array(losses), seconds)


def train_each(
    target: SetTarget,
    evidence: ArrayLike,
    seeds: ArrayLike,
    steps: int = 1000,
    batch: int = 64,
    width: int = 64,
    learning_rate: float = 3e-3,
    anneal: float = 0.5,
    explore: float = 0.02,
) -> list[Learned]:
    """Train one network per seed for one evidence by trajectory balance, side by side.

    Parameters are those of `train`.
    """
    check_counts(steps=steps, batch=batch, width=width)
    evidence = jnp.asarray(target.check(evidence), jnp.float32)
    rate = check_scale("learning_rate", learning_rate)
    plan = Plan(BALANCE, steps, 1, batch, rate, anneal, explore)
    advance = jax.jit(
        jax.vmap(_advance(target, _always(target, evidence), plan), in_axes=(0, 0, None))
    )
    keys = jnp.stack([jax.random.key(int(seed)) for seed in np.asarray(seeds)])
    opened, _, get = _adam(rate, steps)
    states, losses = jax.vmap(lambda key: opened(_init(key, target, width)))(keys), []
    for begun in range(0, steps, _CHUNK):
        turn = jax.vmap(lambda key, begun=begun: jax.random.fold_in(key, begun + 1))(keys)
        states, loss = advance(states, turn, begun)
        losses.append(np.asarray(loss))
    parameters, losses = get(states), np.stack(losses, axis=1)
    return [
        Learned(target, jax.tree.map(lambda part, i=i: part[i], parameters), losses[i])
        for i in range(len(keys))
    ]


@dataclass(frozen=True)
class Plan:
    """What `train` was asked for."""

    objective: str
    steps: int
    batch: int
    per_set: int
    rate: float
    anneal: float
    explore: float


def _always(target, evidence):
    """A source that gives the same evidence each time, and no set."""
    return lambda key: (jnp.zeros(target.d), evidence)


def _fixed(target):
    return jnp.asarray(target.contexts), jnp.float32(target.penalty)


def _init(key, target, width):
    n, d = target.contexts.shape
    first, second, third = jax.random.split(key, 3)
    return [
        jax.random.normal(first, (n + d, width)) / np.sqrt(n + d),
        jax.random.normal(second, (d, width)),
        jax.random.normal(third, (width, width)) / np.sqrt(width),
        jnp.zeros(width),
        jnp.zeros((d, width)),
        jnp.zeros(d),
    ]


def _logits(parameters, rest, j, contexts, penalty):
    """Log odds that condition j is in, given the evidence not yet covered, rest (..., n).

    At first they are those of the last condition, for which no later one can step in.
    """
    inner, of, middle, bias, outer, shift = parameters
    gains = rest @ contexts
    seen = jnp.concatenate([rest, gains], axis=-1) / _SCALE
    hidden = jax.nn.silu(seen @ inner + of[j])
    hidden = jax.nn.silu(hidden @ middle + bias)
    own = jnp.take_along_axis(gains, jnp.broadcast_to(j, gains.shape[:-1])[..., None], -1)
    return own[..., 0] - penalty + (hidden * outer[j]).sum(axis=-1) + shift[j]


def _log_q(parameters, chosen, evidence, contexts, penalty):
    met = jnp.cumsum(chosen[:, None] * contexts.T, axis=0)  # (d, n)
    before = jnp.concatenate([jnp.zeros_like(met[:1]), met[:-1]])
    rest = jnp.where(before > 0, 0.0, evidence)
    logits = _logits(parameters, rest, jnp.arange(len(chosen)), contexts, penalty)
    return (chosen * logits - jax.nn.softplus(logits)).sum()


def _draw(key, evidence, parameters, contexts, penalty, count, explore=0.0):
    """Sets (count, d) from the network, each decision turned round with `explore`."""
    d = contexts.shape[1]
    uniform = jax.random.uniform(key, (d, count))

    def decide(j, state):
        sets, covered = state
        rest = jnp.where(covered > 0, 0.0, evidence)
        p = jax.nn.sigmoid(_logits(parameters, rest, j, contexts, penalty))
        bit = (uniform[j] < p + explore * (1 - 2 * p)).astype(jnp.float32)
        return sets.at[:, j].set(bit), covered + bit[:, None] * contexts[:, j]

    begun = jnp.zeros((count, d)), jnp.zeros((count, len(contexts)))
    return jax.lax.fori_loop(0, d, decide, begun)[0]


def _log_weight(sets, evidence, contexts, penalty):
    d = contexts.shape[1]
    prior = -d * jax.nn.softplus(-penalty) - penalty * sets.sum(axis=-1)
    return prior + (sets @ contexts.T > 0) @ evidence


@partial(jax.jit, static_argnums=5)
def _draws(keys, evidence, parameters, contexts, penalty, count):
    def one(each):
        key, evidence = each
        sets = _draw(key, evidence, parameters, contexts, penalty, count)
        log_q = jax.vmap(lambda s: _log_q(parameters, s, evidence, contexts, penalty))(sets)
        return sets.astype(jnp.int8), log_q, _log_weight(sets, evidence, contexts, penalty)

    return jax.lax.map(one, (keys, evidence))


@partial(jax.jit, static_argnums=4)
def _tree(parameters, evidence, contexts, penalty, d):
    log_q, covered = jnp.zeros(1), jnp.zeros((1, len(contexts)))
    for j in range(d):
        rest = jnp.where(covered > 0, 0.0, evidence)
        logits = _logits(parameters, rest, j, contexts, penalty)
        log_q = jnp.concatenate(
            [log_q - jax.nn.softplus(logits), log_q - jax.nn.softplus(-logits)]
        )
        covered = jnp.concatenate([covered, covered + contexts[:, j]])
    return log_q


def _simulator(law: LabelSets, target: SetTarget) -> Callable:
    contexts, penalty = _fixed(target)
    n, d = contexts.shape

    def simulate(key):
        key, first, second, third, fourth = jax.random.split(key, 5)
        chosen = jax.random.bernoulli(first, jax.nn.sigmoid(-penalty), (d,))
        chosen = chosen.astype(jnp.float32)
        size = jax.random.randint(second, (), law.fewest, law.most + 1)
        rows = jax.random.randint(third, (law.most,), 0, n)
        wrong = jax.random.bernoulli(fourth, law.noise, (law.most,))
        harm = (contexts[rows] @ chosen > 0) ^ wrong
        each = jnp.where(harm, law.nats, -law.nats) * (jnp.arange(law.most) < size)
        return chosen, jnp.zeros(n).at[rows].add(each)

    return simulate


def _adam(rate, steps):
    return optimizers.adam(
        lambda i: rate / 2 * (1 + jnp.cos(jnp.pi * jnp.minimum(i / steps, 1)))
    )


def _advance(target, source, plan: Plan):
    """``(state, key, begun)`` → the state after a few more steps, and their mean loss."""
    fixed = _fixed(target)
    _, update, get = _adam(plan.rate, plan.steps)

    def balance(parameters, key, beta):
        def one(key):
            first, second = jax.random.split(key)
            evidence = beta * source(first)[1]
            sets = _draw(second, evidence, parameters, *fixed, plan.per_set, plan.explore)
            sets = jax.lax.stop_gradient(sets)
            log_q = jax.vmap(lambda s: _log_q(parameters, s, evidence, *fixed))(sets)
            return (_log_weight(sets, evidence, *fixed) - log_q).var()

        return jax.vmap(one)(jax.random.split(key, plan.batch)).mean()

    def likelihood(parameters, key, _):
        def one(key):
            chosen, evidence = source(key)
            return -_log_q(parameters, chosen, evidence, *fixed)

        return jax.vmap(one)(jax.random.split(key, plan.batch)).mean()

    loss = balance if plan.objective == BALANCE else likelihood

    def advance(state, key, begun):
        def step(state, i):
            beta = jnp.minimum(1.0, (i + 1) / max(plan.anneal * plan.steps, 1))
            found, slope = jax.value_and_grad(loss)(
                get(state), jax.random.fold_in(key, i), beta
            )
            return update(i, optimizers.clip_grads(slope, 10.0), state), found

        state, found = jax.lax.scan(step, state, begun + jnp.arange(_CHUNK))
        return state, found.mean()

    return advance
