"""The posterior of a network by HMC that rotates under the prior, many chains at once.

Chains move in the coordinates z = θ/s, where s are the prior's standard deviations. Under the
prior alone, z and its momentum rotate; so a trajectory alternates exact rotations with kicks by
the gradient of the likelihood (Shahbaba, Lan, Johnson & Neal 2014, *Split Hamiltonian Monte
Carlo*), and the many directions that the data do not see cost no accuracy. A quarter turn
makes them independent of where they were. Rotations are three shears each, which keep volume
in any precision; all large arrays are float32, and the energies that decide on acceptance are
summed in float64. Momentum is NumPy's, faster on a CPU than JAX's and the same everywhere.

Warm-up adapts the step to an acceptance of 0.9. Then pilots choose the number of gradients per
trajectory: a quarter turn, or half or a fourth of it where its transitions are 90% as good.
Networks that allow it are sampled in the row space of the inputs (`rowspace`). Single weights
have no meaning (units of a layer can be exchanged), so convergence is judged in predictions:
`Draws.diagnose`.

Own code, because NumPyro and BlackJAX have no HMC that rotates under a prior: their leapfrog
needs about twice the gradients on small networks and three times at width 512. NumPyro's NUTS,
in `networks.nuts`, is the check on it.
"""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils.checkpoint import Checkpoint
from elkutils.inference._checks import (
    check_counts,
    check_problems,
    check_rows,
    check_weights,
    warn_of_chains,
)
from elkutils.inference._precision import exactly
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import (
    FlatNetwork,
    Network,
    Parameters,
    flat,
    log_likelihood,
)
from elkutils.inference.networks.rowspace import ReducedNetwork, reduce

BLOCK = 20  # transitions per call of the compiled program, or fewer:
NUMBERS = 2**25  # momenta, and positions, that a call holds at most
TARGET_ACCEPT = 0.9
QUARTER = np.pi / 2
LEAST_SHARE = 0.5  # of the step; each trajectory draws its own share, so that no orbit closes
FIRST_STEP = 0.1
LOST = 1000.0  # nats of energy; a trajectory that loses as many has diverged
PILOT = 32  # least number of transitions, over all chains, that judge a trajectory
WATCHED = 64  # training rows whose log odds pilots look at
COORDINATES = 1000  # at about how many coordinates they look
PILOTS = 3
ENOUGH = 0.9  # of the effective draws per transition of the best trajectory
WRITING = 20  # times as long as the last checkpoint took has to pass before the next
MEAN_SHARE = (1 + LEAST_SHARE) / 2
PLACES, MEASURES = ("z", "energy"), ("acceptance_rate", "diverging")
SETTINGS = "block", "steps", "taken", "done", "pilots"


def sample(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    chains: int = 32,
    steps: int = 32,
    thin: int = 1,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    weights: ArrayLike | None = None,
) -> Draws:
    """Draw from the posterior of a network's parameters given X and y.

    Parameters
    ----------
    network : Network
    X : (n, d) array
    y : (n,) array of 0 and 1
        One class is enough, since the prior is proper; without rows the posterior is the prior.
    draws, warmup, chains : int
        Draws kept per chain, transitions that choose step and trajectory, and chains. Chains
        start at draws of the prior, so R-hat over many short chains shows whether they have
        come to the same place. The draws take 4·chains·draws·p bytes, where p is the number of
        parameters.
    steps : int
        Most gradients per transition. Where "angle" in the details stays far below a quarter
        turn, more steps or more draws are needed.
    thin : int
        Transitions per draw kept.
    seed : int
    checkpoint : path or None
        A safetensors file that is kept during the run, from the end of warm-up on. A call with
        the same arguments that finds one continues from there, to the same draws; at the end
        the file is removed.
    progress : bool
        Show a bar with acceptance and divergences so far.
    weights : (n,) array or None
        What each row's log likelihood is multiplied by; None for 1.

    Returns
    -------
    Draws
        Statistics "acceptance_rate" (mean since the draw before), "diverging" (whether a
        trajectory lost 1000 nats since the draw before), "energy" (the negative log posterior
        up to a constant, in nats) and "n_steps" (gradients since the draw before). Details:
        "step_size" (chains,), the longest rotation between two gradients, in radians; "steps",
        gradients per transition; "angle", their product over the mean share (a trajectory's
        mean turn, in radians); "pilots", pairs of gradients and effective draws
        per transition; "rank", the dimensions of the inputs that were sampled; "gradients",
        those of one chain with warm-up; and "seconds", including compilation and warm-up.

    Warns
    -----
    RuntimeWarning
        If chains hardly accepted any transition, or trajectories diverged.

    Raises
    ------
    ValueError
        For bad data, counts below 1, or a checkpoint that is damaged or of another call.
    ArithmeticError
        If the log likelihood of a draw of the prior is not a number.
    MemoryError
        If the draws cannot fit into the memory that is available.
    """
    X, y = check_rows(X, y, network)
    check_counts(draws=draws, warmup=warmup, chains=chains, steps=steps, thin=thin)
    check_counts(least=0, seed=seed)
    flat(network, X.shape[1]).check_memory(draws * chains)
    head, basis = reduce(network, X)
    others = (y,) if weights is None else (y, check_weights(weights, len(y)))
    data = X if basis is None else _projected(X, basis), *others
    kept = None
    if checkpoint is not None:
        settings = network, draws, warmup, chains, steps, thin, seed
        kept = Checkpoint.of(checkpoint, X, others, *settings)
    run = _Run.begin(head, data, True, chains, steps, seed)
    return _draw(run, basis, draws, warmup, thin, kept, progress)


def sample_each(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 100,
    warmup: int = 300,
    steps: int = 32,
    thin: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> Draws:
    """Draw one chain from each of many posteriors of the same shape, as one program.

    Parameters are those of `sample`, except X (problems, n, d) and y (problems, n), without
    weights. Each chain has its own step; there are no pilots. The "chains" of the result are
    the problems; R-hat between them has no meaning.
    """
    X, y = check_problems(X, y, network)
    check_counts(draws=draws, warmup=warmup, steps=steps, thin=thin)
    check_counts(least=0, seed=seed)
    flat(network, X.shape[2]).check_memory(draws * len(X))
    run = _Run.begin(flat(network, X.shape[2]), (X, y), False, len(X), steps, seed)
    return _draw(run, None, draws, warmup, thin, None, progress)


@exactly()
def _draw(run: "_Run", basis, draws, warmup, thin, kept, progress) -> Draws:
    begun, total = time.perf_counter(), warmup + draws * thin
    with tqdm(total=total, disable=not progress, desc="HMC", unit="transition") as bar:
        if kept is None or not kept.resume(run):
            run.settle(warmup, bar)
        run.fill(draws, thin, kept, bar)
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    stats = run.joined(thin)
    z, whole = stats.pop("z"), flat(run.head.network, run.head.features)
    theta = np.empty((*z.shape[:2], whole.size), np.float32)
    for i, part in enumerate(z):
        theta[i] = run.parameters(part, basis, i)
    stats["n_steps"] = np.full(theta.shape[:2], run.steps * thin)
    warn_of_chains(stats["acceptance_rate"], stats["diverging"], stacklevel=4)
    return Draws(
        head=whole,
        theta=theta,
        stats=stats,
        details=run.record() | {"seconds": time.perf_counter() - begun},
    )


def _projected(X: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """X in the coordinates of the basis, in float32."""
    with np.errstate(over="ignore"):
        found = (X.astype(np.float64) @ basis).astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError("X holds rows beyond float32's range; rescale it, as by z-scoring")
    return found


def _check_start(energy: np.ndarray) -> None:
    """Raise where a chain stands at no number: it never leaves."""
    lost = np.isnan(energy[-1])
    if lost.any():
        raise ArithmeticError(
            f"the log likelihood is not a number where {lost.sum()} of {len(lost)} chains"
            " start; rescale X, as by z-scoring, or take a smaller prior scale"
        )


@dataclass
class _Run:
    """Chains, their settings, and their draws so far: see `checkpoint.Resumable`."""

    head: FlatNetwork
    data: tuple[np.ndarray, ...]  # inputs, labels, and weights where rows have them
    shared: bool  # whether the chains draw from one posterior
    z: np.ndarray  # (chains, size)
    log_step: np.ndarray  # (chains,)
    most: int
    steps: int
    seed: int
    block: int = 0  # calls so far: the number of the next block of noise
    taken: int = 0  # gradients so far, of each chain
    done: int = 0  # transitions after warm-up
    pilots: list[list[float]] = field(default_factory=list)
    trace: list[dict[str, np.ndarray]] = field(default_factory=list)
    lost: int = 0  # divergences shown

    @classmethod
    def begin(cls, head, data, shared, chains, most, seed) -> "_Run":
        shape = chains, head.size
        z = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return cls(head, data, shared, z, np.full(chains, np.log(FIRST_STEP)), most, 1, seed)

    @property
    def size(self) -> int:
        """Transitions in a full block."""
        return int(np.clip(NUMBERS // max(1, self.z.size), 1, BLOCK))

    def advance(self, length: int, gains: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Take `length` transitions, at most `size`; gains say how fast the step adapts."""
        rng = np.random.default_rng((self.seed, self.block))
        each = self.size, len(self.z)
        momentum = rng.standard_normal((*each, self.z.shape[1]), dtype=np.float32)
        noise = momentum, rng.uniform(LEAST_SHARE, 1, each), rng.random(each)
        gain = np.zeros(self.size)
        if gains is not None:
            gain[:length] = gains
        self.block += 1
        self.taken += length * self.steps
        advance = _program(self.head, self.shared)
        self.z, self.log_step, trace = advance(
            self.z, self.log_step, noise, gain, self.data, self.steps, length
        )
        return {name: np.asarray(part[:length]) for name, part in trace.items()}

    def settle(self, warmup: int, bar: tqdm) -> None:
        """Adapt the step, choose the trajectory, and use up what is left of warm-up."""
        adapting, seen, late = warmup - warmup // 2, 0, []
        while seen < adapting:
            self.steps = self._quarter_turn()
            length = min(self.size, adapting - seen, 5 if seen < 20 else BLOCK)
            gains = 2.0 / np.sqrt(1.0 + seen + np.arange(length))
            trace = self.advance(length, gains)
            _check_start(trace["energy"])
            late.append(trace["log_step"])
            seen += length
            self._show(bar, length, trace)
        late = np.concatenate(late)[adapting // 2 :].mean(axis=0)
        self.log_step = np.full_like(late, late.mean()) if self.shared else late
        self.steps = self._quarter_turn()
        left = warmup - adapting
        left -= self._choose(left // PILOTS, bar)
        while left > 0:
            length = min(self.size, left)
            self._show(bar, length, self.advance(length))
            left -= length

    def _quarter_turn(self) -> int:
        """Gradients of a mean turn of a quarter, by the chains' typical step."""
        step = np.exp(np.median(self.log_step)) * MEAN_SHARE
        return int(np.clip(np.ceil(QUARTER / step - 1e-9), 1, self.most))

    def _choose(self, each: int, bar: tqdm) -> int:
        """Choose the gradients per transition by pilots; return the transitions they took."""
        rows = self.data[0].shape[-2]
        if not self.shared or not rows or each * len(self.z) < PILOT:
            return 0
        while len(self.pilots) < PILOTS and (not self.pilots or self.steps > 1):
            if self.pilots:
                self.steps = -(-self.steps // 2)
            log_odds, positions, done = [], [], 0
            while done < each:
                length = min(self.size, each - done)
                trace = self.advance(length)
                log_odds.append(trace["log_odds"])
                positions.append(trace["z"][..., :: max(1, self.head.size // COORDINATES)])
                self._show(bar, length, trace)
                done += length
            found = efficiency(np.concatenate(log_odds), np.concatenate(positions))
            self.pilots.append([self.steps, found])
        enough = ENOUGH * max(found for _, found in self.pilots)
        self.steps = min(steps for steps, found in self.pilots if found >= enough)
        return each * len(self.pilots)

    def fill(self, draws: int, thin: int, kept: Checkpoint | None, bar: tqdm) -> None:
        """Continue to `draws` draws, `thin` transitions each."""
        bar.update(bar.total - draws * thin + self.done - bar.n)
        saved, cost = -np.inf, 0.0
        while self.done < draws * thin:
            length = min(self.size, draws * thin - self.done)
            trace = self.advance(length)
            first = -(self.done + 1) % thin  # the next draw's place in the block
            rows = {name: trace[name][first::thin] for name in PLACES}
            self.trace.append(rows | {name: trace[name] for name in MEASURES})
            self.done += length
            now = time.perf_counter()
            if kept is not None and now - saved >= WRITING * cost:
                kept.save(self)
                saved = time.perf_counter()
                cost = saved - now
            self._show(bar, length, trace)

    def _show(self, bar: tqdm, length: int, trace: dict[str, np.ndarray]) -> None:
        bar.update(length)
        if not bar.disable:
            self.lost += int(trace["diverging"].sum())
            bar.set_postfix(
                acceptance=f"{trace['acceptance_rate'].mean():.2f}",
                gradients=self.steps,
                divergences=self.lost,
            )

    def joined(self, thin: int) -> dict[str, np.ndarray]:
        """Positions, energy and measures of the draws, (chains, draws, …); the run ends."""
        found = self._joined()
        self.trace.clear()  # so that no third copy of the positions is held
        rates, lost = (
            found[name].reshape(-1, thin, len(self.z))
            for name in ("acceptance_rate", "diverging")
        )
        found |= {"acceptance_rate": rates.mean(axis=1), "diverging": lost.any(axis=1)}
        return {name: part.swapaxes(0, 1) for name, part in found.items()}

    def _joined(self) -> dict[str, np.ndarray]:
        return {
            name: np.concatenate([block[name] for block in self.trace])
            for name in PLACES + MEASURES
        }

    def parameters(self, z: np.ndarray, basis: np.ndarray | None, chain: int) -> np.ndarray:
        """θ (draws, p) of the whole network at the positions (draws, size) of one chain."""
        theta = z * self.head.scales
        if basis is None:
            return theta
        rng = np.random.default_rng((self.seed, chain, 1))
        return self.head.lift(theta, basis, rng)

    def record(self) -> dict:
        """What the details of the draws say of the run."""
        step = np.minimum(np.exp(self.log_step), _longest(self.steps))
        reduced = isinstance(self.head, ReducedNetwork)
        return {
            "step_size": step,
            "steps": self.steps,
            "angle": float(step.mean() * self.steps * MEAN_SHARE),
            "pilots": self.pilots,
            "rank": self.head.rank if reduced else self.head.features,
            "gradients": self.taken,
        }

    def pack(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return the draws so far and the state of the chains; see `checkpoint.Resumable`."""
        arrays = self._joined() | {"now": np.asarray(self.z), "log_step": self.log_step}
        return arrays, {name: getattr(self, name) for name in SETTINGS}

    def unpack(self, arrays: dict[str, np.ndarray], about: dict) -> None:
        """Continue from where other chains were when they were packed."""
        self.z, self.log_step = arrays["now"], arrays["log_step"]
        self.trace = [{name: arrays[name] for name in PLACES + MEASURES}]
        for name in SETTINGS:
            setattr(self, name, about[name])


def efficiency(log_odds: np.ndarray, positions: np.ndarray) -> float:
    """Return effective draws per transition, from traces (transitions, chains, …) of both.

    It is (1 − ρ)/(1 + ρ) for the correlation ρ of a transition's two ends, over all chains: the
    largest of those of the log odds, of their squared distance from the mean (of both, of the
    rows the tenth with most correlation), and of all positions together, but at least 0.
    Positions tell of the slow directions, which those that the data do not see are.
    """
    away = _centred(log_odds)
    rows = np.maximum(_lagged(away), _lagged(_centred(away**2)))
    rho = max(
        0.0, np.quantile(rows, 0.9), float(_lagged(_centred(positions), all_of_them=True))
    )
    return float((1 - rho) / (1 + rho))


def _centred(traces: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # log odds of chains that lost their way
        return traces.astype(np.float64) - traces.mean(axis=(0, 1), dtype=np.float64)


def _lagged(away: np.ndarray, all_of_them: bool = False) -> np.ndarray:
    """Correlation of transitions' two ends, of each of the last axis or of all of them."""
    axes = (0, 1, 2) if all_of_them else (0, 1)
    size, lag = (away**2).sum(axis=axes), (away[1:] * away[:-1]).sum(axis=axes)
    lag = lag * len(away) / max(1, len(away) - 1)
    return np.minimum(np.divide(lag, size, out=np.zeros_like(lag), where=size > 0), 0.999)


def _longest(steps):
    """The step at which a mean trajectory makes a quarter turn."""
    return QUARTER / (MEAN_SHARE * steps)


@lru_cache(maxsize=16)
def _program(head: FlatNetwork, shared: bool):
    """Compile what takes all chains through a block of transitions."""

    def loss(z, X, y, *weights):
        log_odds = head.network(_from_white(head, z), X)
        return -log_likelihood(log_odds.astype(jnp.float64), y, *weights), log_odds

    def look(z, data):
        (value, log_odds), slope = jax.value_and_grad(loss, has_aux=True)(z, *data)
        every = max(1, len(log_odds) // WATCHED)
        return _State(z, value, slope, log_odds[::every])

    def move(state, momentum, angle, luck, data, steps):
        """One trajectory of one chain, in `steps` rotations by `angle`."""
        shear = jnp.tan(angle / 2).astype(momentum.dtype)
        across = jnp.sin(angle).astype(momentum.dtype)
        kick = angle.astype(momentum.dtype)

        def step(i, carry):
            at, momentum = carry
            momentum = momentum - shear * at.z
            z = at.z + across * momentum
            momentum = momentum - shear * z
            at = look(z, data)
            last = jnp.where(i == steps - 1, 0.5, 1.0).astype(kick.dtype)
            return at, momentum - last * kick * at.slope

        start = state, momentum - 0.5 * kick * state.slope
        proposed, final = jax.lax.fori_loop(0, steps, step, start)
        change = (proposed.z - state.z) * (proposed.z + state.z)
        change += (final - momentum) * (final + momentum)
        lost = proposed.value - state.value + 0.5 * jnp.sum(change, dtype=jnp.float64)
        acceptance = jnp.nan_to_num(jnp.minimum(1.0, jnp.exp(-lost)), nan=0.0)
        taken = luck < acceptance
        after = jax.tree.map(lambda new, old: jnp.where(taken, new, old), proposed, state)
        return after, acceptance, ~(lost < LOST)

    of_data = None if shared else 0
    each_look = jax.vmap(look, in_axes=(0, of_data))
    each_move = jax.vmap(move, in_axes=(0, 0, 0, 0, of_data, None))

    def advance(z, log_step, noise, gain, data, steps, length):
        def body(i, carry):
            state, log_step, trace = carry
            momentum, share, luck = (part[i] for part in noise)
            step = jnp.minimum(jnp.exp(log_step), _longest(steps))
            state, accepted, lost = each_move(state, momentum, step * share, luck, data, steps)
            log_step = log_step + gain[i] * (accepted - TARGET_ACCEPT)
            log_step = jnp.minimum(log_step, np.log(_longest(1)))
            row = _Row(state, accepted, lost, log_step).named()
            return state, log_step, {k: trace[k].at[i].set(row[k]) for k in trace}

        state = each_look(z, data)
        row = jax.eval_shape(lambda s: _Row(s, log_step, log_step > 0, log_step).named(), state)
        trace = {k: jnp.zeros((len(gain), *v.shape), v.dtype) for k, v in row.items()}
        state, log_step, trace = jax.lax.fori_loop(0, length, body, (state, log_step, trace))
        return state.z, log_step, trace

    return jax.jit(advance)


def _from_white(head: FlatNetwork, z: jax.Array) -> Parameters:
    """`head.from_white(z)` from one scale per leaf, so that programs hold no vector of them."""
    return jax.tree.map(
        lambda part, scale: part * np.float32(scale),
        head.parameters(z),
        head.network.scales(head.features),
    )


class _State(NamedTuple):
    """Where a chain is, and the likelihood there."""

    z: jax.Array  # (size,)
    value: jax.Array  # the negative log likelihood, float64
    slope: jax.Array  # its gradient
    log_odds: jax.Array  # of the rows that pilots watch


class _Row(NamedTuple):
    """What is recorded of a transition of all chains."""

    state: _State
    acceptance: jax.Array
    diverging: jax.Array
    log_step: jax.Array

    def named(self) -> dict[str, jax.Array]:
        z, value, _, log_odds = self.state
        return {
            "z": z,
            "energy": value + 0.5 * jnp.sum(z * z, axis=-1, dtype=jnp.float64),
            "log_odds": log_odds,
            "acceptance_rate": self.acceptance,
            "diverging": self.diverging,
            "log_step": self.log_step,
        }
