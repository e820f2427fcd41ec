"""Training: all members of an ensemble of networks at once, as one program.

A member starts at its own draw from the prior and descends the mean loss of its rows, with
its own labels, weights or batches if it has them. `jax.vmap` lays the members side by side,
on a CPU as many at once as its cache holds, so that with shared batches the first layer of
these members is one wide matrix product. Every `Plan.every` steps control returns to Python:
members that have diverged or are done stop there, progress is shown, and a checkpoint kept.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.example_libraries import optimizers
from tqdm import tqdm

from elkutils._inputs import check_counts, check_flags, is_number, plain
from elkutils.checkpoint import Checkpoint
from elkutils.inference._checks import check_for, check_rows, check_weights, to_single
from elkutils.inference._precision import single
from elkutils.inference.draws import Draws
from elkutils.inference.logistic.rows import padded
from elkutils.inference.networks.network import Network, Parameters, flat

OPTIMISERS = {"adam": optimizers.adam, "sgd": optimizers.sgd}

CACHE = 2**23  # bytes

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Return minus the log probability of labels in [0, 1], row by row, in nats."""
    return jax.nn.softplus(log_odds) - target * log_odds


@dataclass(frozen=True)
class Squared:
    """Minus the log density of targets that are normal about the output, up to a constant."""

    noise: float = 1.0

    def __call__(self, output: jax.Array, target: jax.Array) -> jax.Array:
        return 0.5 * ((output - target) / self.noise) ** 2


def check_targets(
    X: np.ndarray, y: np.ndarray, loss: Loss, network: Network | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,) in float32, or raise ValueError.

    Under `cross_entropy` y has to hold 0 and 1; under other losses, finite numbers.
    """
    if loss is cross_entropy:
        return check_rows(X, y, network)
    X, _ = check_rows(X, np.zeros(np.shape(y)), network)
    with np.errstate(over="ignore"):
        y = np.asarray(y, np.float32)
    if not np.isfinite(y).all():
        raise ValueError("y holds NaN or numbers beyond float32's range; rescale it")
    return X, y


@dataclass(frozen=True)
class Plan:
    """How members are trained.

    Parameters
    ----------
    steps : int
        Largest number of steps.
    learning_rate : float
        For the mean loss per row.
    optimiser : "adam" or "sgd"
        "sgd" is plain gradient descent.
    decay : bool
        Let the learning rate fall to 0 linearly.
    batch : int or None
        Rows per step, drawn with replacement; None for all of them.
    shared_batches : bool
        Whether all members see the same rows in a step, which is faster, or each its own.
    anchored : bool
        Add minus the log prior of the distance from the member's start, over the rows: each
        member is held to its own prior draw (Pearce, Leibfried & Brintrup 2020, *Uncertainty in
        neural networks: approximately Bayesian ensembling*).
    patience : int or None
        Stop a member after this number of looks without a better loss on held-out rows, and
        return to its best.
    target_loss : float or None
        Stop a member once its mean loss on all training rows is below this, in nats.
    every : int
        Steps between two looks.

    Raises
    ------
    ValueError
        For numbers out of range or an unknown optimiser.
    """

    steps: int = 1000
    learning_rate: float = 1e-2
    optimiser: str = "adam"
    decay: bool = False
    batch: int | None = None
    shared_batches: bool = True
    anchored: bool = False
    patience: int | None = None
    target_loss: float | None = None
    every: int = 50

    def __post_init__(self):
        if self.optimiser not in OPTIMISERS:
            raise ValueError(
                f"optimiser is {self.optimiser!r}; it has to be one of {list(OPTIMISERS)}"
            )
        rate = self.learning_rate
        if not (is_number(rate) and 0 < rate < np.inf):
            raise ValueError(f"learning_rate is {rate!r}; it has to be positive")
        for name in ("steps", "batch", "patience", "every"):
            value = getattr(self, name)
            if not (name in ("batch", "patience") and value is None):
                check_counts(**{name: value})
        for name in ("decay", "shared_batches", "anchored"):
            check_flags(**{name: getattr(self, name)})

    @property
    def each_step(self) -> "Plan":
        """The settings of a single step, so that plans that share them share a program."""
        steps = self.steps if self.decay else 1
        free = {"learning_rate": 1.0, "patience": None, "target_loss": None, "every": 1}
        return replace(self, steps=steps, **free)

    def optimiser_at(self, learning_rate: jax.typing.ArrayLike) -> optimizers.Optimizer:
        """Return the optimiser with another learning rate at the start."""

        def rate(step):
            return learning_rate * (1 - step / self.steps if self.decay else 1.0)

        return OPTIMISERS[self.optimiser](rate)


@single()
def train(
    network: Network,
    start: Parameters | Draws,
    X: np.ndarray,
    y: np.ndarray,
    plan: Plan,
    *,
    loss: Loss = cross_entropy,
    weights: np.ndarray | None = None,
    held_out: tuple[np.ndarray, ...] | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Draws:
    """Train members from their starts.

    Parameters
    ----------
    network : Network
    start : Parameters or Draws
        One draw per member, stacked, as from `draw_prior`; or members trained before.
    X : (n, d) array
    y : (n,) or (members, n) array
        Targets, shared or per member.
    plan : Plan
    loss : callable
        A function of outputs and targets, row by row; hashable, because it is compiled once.
    weights : (n,) or (members, n) array or None
        How often a row counts, as in a bootstrap; None for once. Means are over these counts.
        Batches hold a row in proportion to its weight if all members share the weights;
        otherwise rows alike, each multiplied by its weight.
    held_out : (X (k, d), y (k,)), also with weights (k,), or None
        Rows for `plan.patience`.
    seed : int
        Seed of the batches.
    checkpoint : path or None
        A safetensors file that is kept during training. A call with the same arguments that
        finds one continues from there, to the same members; at the end the file is removed.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Draws
        The members, as one chain (1, members). A diverged member has its last finite
        parameters. Statistics: "loss", the mean over all training rows at the end, in nats,
        without the anchor; "n_steps", steps taken; "diverging", whether its loss or parameters
        ceased to be finite. Details: "trace" (members, looks), the mean loss of the batches
        since the last look, NaN after a member has stopped; "seconds", including compilation.

    Raises
    ------
    ValueError
        If shapes do not match, patience lacks held-out rows, or the checkpoint is damaged or
        was made by a call with other arguments.
    """
    begun = time.perf_counter()
    if isinstance(start, Draws):
        start = start.head.parameters(start.flat)
    members = len(jax.tree.leaves(start)[0])
    X, y, weights = _check(network, X, y, weights, members)
    if (plan.patience is None) != (held_out is None):
        raise ValueError(
            f"held_out is {'missing' if held_out is None else 'given'} and patience is"
            f" {plan.patience}; one needs the other"
        )
    data = _Rows.of(X, y, weights)
    look = None
    if held_out is not None:
        X_look, y_look, *w_look = held_out
        w_look = w_look[0] if w_look else None
        look = _Rows.of(*_check(network, X_look, y_look, w_look, members))
    run = _Members(network, start, data, look, plan, loss, seed)
    kept = None
    if checkpoint is not None:
        arrays = y, weights, *(held_out or ()), *jax.tree.leaves(start)
        named = getattr(loss, "__name__", loss)
        kept = Checkpoint.of(checkpoint, X, arrays, network, plan, named, seed)
        kept.resume(run)
    run.finish(kept, progress)
    drawn = run.drawn(run.parameters, run.taken)
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    details = {"trace": np.stack(run.trace, axis=1), "seconds": time.perf_counter() - begun}
    return replace(drawn, details=details)


@dataclass(frozen=True)
class Course:
    """Members at several stops of one training.

    Attributes
    ----------
    at_losses : tuple of Draws
        For each loss asked for, every member at the first look at which its mean loss on all
        its training rows was not above it. A member that never came there is as it was at the
        end; the statistic "reached" is False for it.
    at_steps : tuple of Draws
        For each number of steps asked for.
    end : Draws
        After the last step.
    looks : (looks,) int array
        Steps taken at each look.
    held_out : (members, looks) array or None
        Mean loss on the held-out rows at each look.
    """

    at_losses: tuple[Draws, ...]
    at_steps: tuple[Draws, ...]
    end: Draws
    looks: np.ndarray
    held_out: np.ndarray | None

    @property
    def best_steps(self) -> int:
        """Steps at which the held-out loss, averaged over members, was least."""
        if self.held_out is None:
            raise ValueError("there were no held-out rows; give some to train_course")
        return int(self.looks[np.argmin(self.held_out.mean(axis=0))])


@single()
def train_course(
    network: Network,
    start: Parameters | Draws,
    X: np.ndarray,
    y: np.ndarray,
    plan: Plan,
    *,
    losses: Sequence[float] = (),
    steps: Sequence[int] = (),
    loss: Loss = cross_entropy,
    weights: np.ndarray | None = None,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> Course:
    """Train members once and keep them at several stops: training losses, steps and the end.

    Members do not return to an earlier stop, so one run serves all of them. They are looked at
    every `plan.every` steps, and at the numbers of steps that are asked for.

    Parameters
    ----------
    losses : sequence of float
        Training losses in nats, in any order.
    steps : sequence of int
        Numbers of steps, each from 1 to `plan.steps`.
    held_out : (X (k, d), y (k,)) or None
        Rows whose loss is recorded at each look; they stop nobody.
    network, start, X, y, plan, loss, weights, seed
        As in `train`; the plan has neither patience nor a target.

    Returns
    -------
    Course

    Raises
    ------
    ValueError
        If shapes do not match, the plan has a stop of its own, or a number of steps is out of
        range.
    """
    if plan.patience is not None or plan.target_loss is not None:
        raise ValueError(
            f"plan has patience {plan.patience} and target_loss {plan.target_loss}; here"
            " both have to be None"
        )
    if isinstance(start, Draws):
        start = start.head.parameters(start.flat)
    members = len(jax.tree.leaves(start)[0])
    for count in steps:
        if count not in range(1, plan.steps + 1):
            raise ValueError(
                f"steps holds {count}; it has to hold whole numbers from 1 to {plan.steps}"
            )
    looks = np.unique([*range(plan.every, plan.steps, plan.every), *steps, plan.steps])
    data = _Rows.of(*_check(network, X, y, weights, members))
    look = None if held_out is None else _Rows.of(*_check(network, *held_out, None, members))
    run = _Members(network, start, data, None, plan, loss, seed)
    stops = [_Stop(bar, start, members) for bar in losses]
    at_steps, curve = {}, []
    for until in looks:
        if not run.active.any():
            break
        run.advance(int(until) - run.step)
        now = run.parameters
        ahead = [stop for stop in stops if not stop.reached.all()]
        if ahead:
            found = np.asarray(_mean_loss(network, loss, now, data))
        for stop in ahead:
            stop.keep(now, run.active & (found <= stop.bar), run.step)
        if run.step in steps:
            at_steps[run.step] = run.drawn(now, run.taken)
        if look is not None:
            curve.append(np.asarray(_mean_loss(network, loss, now, look)))
    end = run.drawn(run.parameters, run.taken)
    return Course(
        tuple(stop.drawn(run) for stop in stops),
        tuple(at_steps.get(count, end) for count in steps),
        end,
        looks[: len(run.trace)],
        np.stack(curve, axis=1) if curve else None,
    )


class _Stop:
    """Members at the first look at which their loss was not above a bar."""

    def __init__(self, bar: float, start: Parameters, members: int):
        self.bar, self.kept = bar, start
        self.reached, self.taken = np.zeros(members, bool), np.zeros(members, int)

    def keep(self, now: Parameters, under: np.ndarray, step: int) -> None:
        new = under & ~self.reached
        if new.any():
            self.kept = _choose(new, now, self.kept)
            self.taken[new] = step
            self.reached |= new

    def drawn(self, run: "_Members") -> Draws:
        kept = _choose(self.reached, self.kept, run.parameters)
        found = run.drawn(kept, np.where(self.reached, self.taken, run.taken))
        return replace(found, stats={**found.stats, "reached": self.reached[None]})


def _check(network, X, y, weights, members: int) -> tuple[np.ndarray, ...]:
    X, y = to_single(plain(X)), np.asarray(plain(y), np.float32)
    check_for(network, X)
    weights = np.ones(len(X), X.dtype) if weights is None else np.asarray(weights, np.float32)
    for name, value in (("y", y), ("weights", weights)):
        if value.shape not in ((len(X),), (members, len(X))):
            raise ValueError(
                f"{name} has shape {value.shape}; it has to be ({len(X)},) or"
                f" ({members}, {len(X)}), one row for each member"
            )
    for each in np.atleast_2d(weights):
        if not check_weights(each, len(X)).any():
            raise ValueError("weights is zero in every row; a mean loss needs one that counts")
    return X, y, weights


class _Rows(NamedTuple):
    """Rows as JAX has them, with others of weight 0 so that programs can be used again."""

    X: jax.Array  # (rows, d)
    y: jax.Array  # (rows,) or (members, rows)
    weights: jax.Array  # likewise
    total: jax.Array  # () or (members,), sum of the weights
    n: int  # rows that are not padding

    @classmethod
    def of(cls, X, y, weights) -> "_Rows":
        n = len(X)
        total = weights.sum(axis=-1, dtype=np.float64).astype(np.float32)
        more = 0, padded(n) - n
        y, weights = (
            np.pad(part, [(0, 0)] * (part.ndim - 1) + [more]) for part in (y, weights)
        )
        return cls(*map(jnp.asarray, (np.pad(X, (more, (0, 0))), y, weights, total)), n)

    @property
    def own(self) -> tuple:
        """Labels, and weights and their sum, where each member has its own, else None."""
        weights, total = (self.weights, self.total) if self.total.ndim else (None, None)
        return self.y if self.y.ndim == 2 else None, weights, total

    @property
    def chances(self) -> np.ndarray | None:
        """Sums of the rows' chances to be in a batch, (n,); None where all are the same."""
        weights = np.asarray(self.weights, np.float64)[..., : self.n]
        if weights.ndim == 2 or np.all(weights == weights[0]):
            return None
        return np.cumsum(weights) / weights.sum()

    def drawn(self) -> "_Rows":
        """The same rows with their mean weight, for batches that draw rows by their weight."""
        mean = self.total / self.n
        return self._replace(weights=jnp.where(self.weights > 0, mean, 0.0))

    def of_member(self, own: tuple) -> "_Rows":
        """The rows as the member sees them to whom `own` belongs."""
        y, weights, total = (
            shared if mine is None else mine
            for shared, mine in zip((self.y, self.weights, self.total), own, strict=True)
        )
        return self._replace(y=y, weights=weights, total=total)


@partial(jax.jit, static_argnums=(0, 1))
def _mean_loss(network, loss, parameters, data: _Rows):
    """Mean loss of each member, (members,), one member at a time for the memory's sake."""

    def one(each):
        member, own = each
        X, y, weights, total, _ = data.of_member(own)
        return jnp.sum(weights * loss(network(member, X), y)) / total

    return jax.lax.map(one, (parameters, data.own))


@lru_cache(maxsize=16)
def _advance(network: Network, plan: Plan, loss: Loss):
    """Compile what takes all members from one look to the next."""

    def objective(parameters, anchor, rows, data):
        X, y, weights, total, n = data
        count = total
        if rows is not None:
            X, y, weights, count = X[rows], y[rows], weights[rows], len(rows) * (total / n)
        fit = jnp.sum(weights * loss(network(parameters, X), y)) / count
        if not plan.anchored:
            return fit, fit
        moved = jax.tree.map(jnp.subtract, parameters, anchor)
        return fit - network.log_prior(moved) / total, fit

    slope_and_fit = jax.grad(objective, has_aux=True)

    def alone(state, anchor, learning_rate, begun, length, rows, data):
        """Train one member; return its mean fit and whether all is finite."""
        _, update, parameters_of = plan.optimiser_at(learning_rate)

        def step(i, carry):
            state, total = carry
            now = None if rows is None else rows[i]
            slope, fit = slope_and_fit(parameters_of(state), anchor, now, data)
            return update(begun + i, slope, state), total + fit

        after, total = jax.lax.fori_loop(0, length, step, (state, jnp.zeros((), data.X.dtype)))
        leaves = [total, *jax.tree.leaves(parameters_of(after))]
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
        return after, total / length, finite

    @jax.jit
    def advance(state, active, anchors, learning_rate, begun, length, rows, data):
        def one(each):
            state, anchor, batches, own = each
            batches = rows if batches is None else batches
            data_of_it = data.of_member(own)
            return alone(state, anchor, learning_rate, begun, length, batches, data_of_it)

        batches = None if plan.shared_batches else rows
        size = _side_by_side(anchors)
        after, fit, finite = jax.lax.map(
            one, (state, anchors, batches, data.own), batch_size=size
        )
        return _choose(active & finite, after, state), fit, finite

    return advance


def _side_by_side(parameters: Parameters) -> int:
    """Return how many members to train at once: all, or on a CPU those that fit its cache."""
    leaves = jax.tree.leaves(parameters)
    members = len(leaves[0])
    if jax.default_backend() != "cpu":
        return members
    floats = sum(leaf.size for leaf in leaves) // members
    return int(np.clip(CACHE // (16 * floats), 2, members))  # weights, slope, Adam's moments


@jax.jit
def _choose(mask, these, those):
    """Take `these` for the members in `mask` and `those` for the others."""
    return jax.tree.map(
        lambda a, b: jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), these, those
    )


class _Members:
    """Members during training: see `checkpoint.Resumable`."""

    def __init__(self, network, start, data, held_out, plan, loss, seed):
        init, _, self._parameters_of = plan.optimiser_at(plan.learning_rate)
        self.network, self.start, self.all, self.plan = network, start, data, plan
        self.chances = None if plan.batch is None else data.chances
        self.data = data if self.chances is None else data.drawn()  # to descend on
        self.held_out, self.loss, self.seed = held_out, loss, seed
        self.program = _advance(network, plan.each_step, loss)
        self.state, self.best = init(start), start
        members = len(jax.tree.leaves(start)[0])
        self.step, self.trace = 0, []
        self.taken, self.since = np.zeros((2, members), int)
        self.score = np.full(members, np.inf)
        self.active, self.diverged = np.ones(members, bool), np.zeros(members, bool)

    @property
    def parameters(self) -> Parameters:
        return self._parameters_of(self.state) if self.held_out is None else self.best

    def drawn(self, parameters: Parameters, taken: np.ndarray) -> Draws:
        """Return members as draws, with their loss on all training rows."""
        found = np.asarray(_mean_loss(self.network, self.loss, parameters, self.data))
        head = flat(self.network, self.data.X.shape[1])
        theta = head.flatten(jax.tree.map(np.asarray, parameters))
        stats = {"loss": found, "n_steps": taken, "diverging": self.diverged}
        stats = {name: each.copy()[None] for name, each in stats.items()}
        return Draws(head, theta[None], stats)

    def finish(self, kept: Checkpoint | None, progress: bool) -> None:
        plan = self.plan
        bar = tqdm(total=plan.steps, initial=self.step, disable=not progress, unit="step")
        with bar:
            while self.step < plan.steps and self.active.any():
                length = min(plan.every, plan.steps - self.step)
                self.advance(length)
                if kept is not None:
                    kept.save(self)
                bar.update(length)
                if self.active.any():
                    bar.set_postfix(
                        loss=f"{self.trace[-1][self.active].mean():.3f}",
                        training=int(self.active.sum()),
                        diverged=int(self.diverged.sum()),
                    )

    def advance(self, length: int) -> None:
        """Take `length` steps and look."""
        rows = self._rows()
        now = self.start, self.plan.learning_rate, self.step, length, rows, self.data
        self.state, fit, finite = self.program(self.state, self.active, *now)
        moved = self.active & np.asarray(finite)
        self.trace.append(np.where(moved, fit, np.nan))
        self.diverged |= self.active & ~moved
        self.active = moved
        self.step += length
        self.taken += length * moved
        if self.held_out is not None:
            self._compare(moved)
        if self.plan.target_loss is not None:
            found = _mean_loss(self.network, self.loss, self.parameters, self.all)
            self.active = self.active & (np.asarray(found) > self.plan.target_loss)

    def _compare(self, moved) -> None:
        now = self._parameters_of(self.state)
        score = np.asarray(_mean_loss(self.network, self.loss, now, self.held_out))
        better = moved & (score < self.score)
        self.best = _choose(better, now, self.best)
        self.score = np.where(better, score, self.score)
        self.since = np.where(better, 0, self.since + 1)
        self.active = self.active & (self.since < self.plan.patience)

    def _rows(self) -> np.ndarray | None:
        """Return the rows of the next steps, a function of the seed and the step."""
        plan = self.plan
        if plan.batch is None:
            return None
        rng = np.random.default_rng((self.seed, self.step))
        each = () if plan.shared_batches else (len(self.active),)
        shape = *each, plan.every, plan.batch
        if self.chances is not None:
            found = np.searchsorted(self.chances, rng.random(shape), side="right")
            return np.minimum(found, self.data.n - 1).astype(np.int32)
        return rng.integers(0, self.data.n, shape, dtype=np.int32)

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for name in ("state", "best"):
            leaves = jax.tree.leaves(getattr(self, name))
            arrays |= {f"{name}.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        return arrays | {"trace": np.stack(self.trace)}, {"step": self.step}

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        for name in _ARRAYS:
            setattr(self, name, arrays[name])
        for name in ("state", "best"):
            leaves, form = jax.tree.flatten(getattr(self, name))
            leaves = [jnp.asarray(arrays[f"{name}.{i}"]) for i in range(len(leaves))]
            setattr(self, name, form.unflatten(leaves))
        self.step, self.trace = about["step"], list(arrays["trace"])


_ARRAYS = "taken", "since", "score", "active", "diverged"
