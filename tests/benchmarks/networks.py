"""MLP heads of width 512: their sampler beside NumPyro's and BlackJAX's, SGHMC, the gradient.

    python tests/benchmarks/networks.py --patience 60 --output networks.json

*Samplers*: effective draws per second from the posterior of the MLP 576–512–512–1 on 210 city
statements at layer 14. Ours is HMC that rotates under the prior. The rivals are HMC and NUTS of
NumPyro and BlackJAX, on the same density: that of ours, in the row space of the inputs, which
spares them work too (how much, the gradient's times say). All move in z, where the prior is
standard normal, so rivals keep the unit mass matrix, and their HMC has the trajectory that
suits z, π/2. Their steps are adapted to an acceptance of .8, and the rest is their default. All
start at the same prior draws, compute in float32 and have the same seconds and the same number
of warm-up transitions. Rivals run in turn: half of their seconds before ours, half after it,
in reverse order. Compilation is not counted. ESS is ArviZ's bulk ESS of log odds of held-out
rows, projected on the row space, so that what the data do not see counts for nobody. On a CPU
seconds are the processor's, which depend less on what else it does; elsewhere the wall's.

*Moments*: the variance of SGHMC's draws from N(0, 1), ours and BlackJAX's, by step and
temperature; it should be the temperature.

*Gradient*: the time that its products of matrices alone take, as a share of its own, and the
same of a gradient within our sampler.

What is not installed is left out and named: `pip install blackjax` brings it. Without the
language model, rows are synthetic with the same singular values.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit
from timing import alternating_medians

from elkutils.inference._precision import exactly, single
from elkutils.inference.diagnostics import LEAST_DRAWS, diagnose
from elkutils.inference.networks import hmc, sgmcmc
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import FlatNetwork, flat, log_likelihood
from elkutils.inference.networks.rowspace import reduce
from elkutils.inference.networks.training import Squared

LAYER, SEED = 14, 5
WIDTH, WEIGHT_SCALE = 512, 2.0
FIRST_STEP, TARGET_ACCEPT = 1.0, 0.8  # the libraries' defaults
QUARTER = np.pi / 2
PILOT = 40  # transitions of ours that say how many the seconds allow
LEAST_KEPT = 2 * LEAST_DRAWS  # transitions after warm-up without which no ESS is given
MOST_KEPT = 2000  # draws of ours, each with all weights: bounds the memory
EACH = 30  # held-out rows of a kind
ROUNDS = 200  # of BlackJAX's SGHMC, of ten steps each
STEPS, TEMPERATURES = (0.05, 0.2, 0.5), (0.25, 1.0, 4.0)
PARTS = "samplers", "moments", "gradient"

# Singular values of the real training rows: the numbered ones, with power laws between them.
NUMBERED = 1, 2, 3, 6, 11, 21, 51, 101, 151, 201, 209
VALUES = 146.3, 117.7, 87.9, 70.1, 52.4, 35.1, 17.8, 8.0, 4.0, 1.68, 1.25


def cities() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows (n, d), labels (n,) and held-out rows (m, d) of the cities, z-scored."""
    from elkutils.models import load_model
    from elkutils.study.scaling import by_kind

    found = by_kind(load_model(), "cities", SEED, LAYER)
    X, y, _ = found.pop("train")
    kinds = "easy", "hard", "easy_negated"
    return X, y, np.concatenate([found[kind][0][:EACH] for kind in kinds])


def synthetic(n: int = 210, d: int = 576) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with the spectrum of the cities and the labels of a linear reporter."""
    rng = np.random.default_rng(SEED)
    rank = min(n - 1, d, NUMBERED[-1])
    places = np.log(np.arange(1, rank + 1))
    values = np.exp(np.interp(places, np.log(NUMBERED), np.log(VALUES)))
    columns = np.linalg.qr(rng.standard_normal((d, rank)))[0]
    rows = np.linalg.qr(rng.standard_normal((n, rank)))[0]
    X = rows * values @ columns.T
    log_odds = X @ rng.standard_normal(d)
    y = rng.random(n) < expit(4 * log_odds / log_odds.std())
    held_out = rng.standard_normal((3 * EACH, rank)) * values / np.sqrt(n)
    return X, y.astype(np.float64), held_out @ columns.T


def activations(source: str) -> tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What the rows are, and the rows: with "auto" real ones where the model is installed."""
    if source != "synthetic":
        try:
            return f"cities, layer {LAYER}", cities()
        except (ImportError, FileNotFoundError) as error:
            if source == "cities":
                raise
            print(f"synthetic rows, since {error}", file=sys.stderr)
    return "synthetic, with the spectrum of the cities", synthetic()


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior in z: its head, its rows in the coordinates of that head, and test rows."""

    head: FlatNetwork
    X: np.ndarray
    y: np.ndarray
    rows: np.ndarray

    def parameters(self, z):
        scales = self.head.network.scales(self.head.features)
        return jax.tree.map(lambda part, scale: part * scale, self.head.parameters(z), scales)

    def loss(self, z):
        """Minus the log likelihood, in nats."""
        return -log_likelihood(self.head.network(self.parameters(z), self.X), self.y)

    def potential(self, z):
        return 0.5 * jnp.sum(z * z) + self.loss(z)

    def log_odds(self, z):
        return self.head.network(self.parameters(z), self.rows)


def targets(network: MLP, X, y, rows) -> dict[str, Target]:
    """The posterior in the row space and that of the whole network; test rows projected."""
    reduced, basis = reduce(network, X)
    if basis is None:
        raise ValueError(f"X has shape {X.shape} and full rank; its rows need fewer dimensions")
    seen, y = rows @ basis, y.astype(np.float32)
    single_ = partial(np.asarray, dtype=np.float32)
    return {
        "row space": Target(reduced, single_(X @ basis), y, single_(seen)),
        "whole": Target(flat(network, X.shape[1]), single_(X), y, single_(seen @ basis.T)),
    }


@dataclass(frozen=True)
class Kernel:
    """A library's sampler of one chain.

    `begin(key, z)` returns a state, and `move(key, state)` the next state, its z and the number
    of gradients that it took.
    """

    begin: Callable[[jax.Array, jax.Array], Any]
    move: Callable[[jax.Array, Any], tuple[Any, jax.Array, jax.Array]]


def numpyro_kernel(algorithm: str, target: Target, warmup: int) -> Kernel:
    from numpyro.infer import HMC, NUTS

    make = {"HMC": partial(HMC, trajectory_length=QUARTER), "NUTS": NUTS}[algorithm]
    kernel = make(
        potential_fn=target.potential,
        step_size=FIRST_STEP,
        adapt_mass_matrix=False,
        target_accept_prob=TARGET_ACCEPT,
    )

    def begin(key, z):
        return kernel.init(key, warmup, z, (), {})

    def move(key, state):
        state = kernel.sample(state, (), {})
        return state, state.z, state.num_steps

    return Kernel(begin, move)


def blackjax_kernel(algorithm: str, target: Target, warmup: int) -> Kernel:
    """Its window adaptation cannot be stopped in time, so its parts are put together here."""
    import blackjax
    from blackjax.adaptation.step_size import dual_averaging_adaptation

    kernel = {"HMC": blackjax.hmc, "NUTS": blackjax.nuts}[algorithm].build_kernel()
    start, update, final = dual_averaging_adaptation(TARGET_ACCEPT)

    def log_density(z):
        return -target.potential(z)

    def begin(key, z):
        return blackjax.hmc.init(z, log_density), start(FIRST_STEP), 0

    def move(key, state):
        chain, adaptation, done = state
        now = jnp.exp(adaptation.log_step_size)
        step = jnp.where(done < warmup, now, final(adaptation))
        steps = (jnp.ceil(QUARTER / step).astype(int),) if algorithm == "HMC" else ()
        mass = jnp.ones(target.head.size)
        chain, info = kernel(key, chain, log_density, step, mass, *steps)
        adaptation = jax.lax.cond(
            done < warmup, update, lambda same, _: same, adaptation, info.acceptance_rate
        )
        return (chain, adaptation, done + 1), chain.position, info.num_integration_steps

    return Kernel(begin, move)


LIBRARIES = {"NumPyro": numpyro_kernel, "BlackJAX": blackjax_kernel}


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def clock() -> float:
    """Seconds: the processor's on a CPU, the wall's elsewhere."""
    return time.process_time() if on_cpu() else time.perf_counter()


def over_chains(each):
    """Map chains side by side on an accelerator, and one after another on a CPU.

    There trees of NUTS would all last as long as the longest, and batches gain nothing.
    """
    if not on_cpu():
        return jax.vmap(each)
    return lambda *parts: jax.lax.map(lambda part: each(*part), parts)


class Chains:
    """Chains of a rival on their way, a transition of all at a time."""

    def __init__(self, kernel: Kernel, target: Target, chains: int):
        z = first(chains, target)
        self.keys = partial(jax.random.split, num=chains)
        begin, move, look = map(over_chains, (kernel.begin, kernel.move, target.log_odds))

        def advance(keys, states):
            states, z, gradients = move(keys, states)
            return _strong(states), look(z), gradients

        self.states = jax.jit(lambda *start: _strong(begin(*start)))(self._now(0), z)
        self.advance = jax.jit(advance).lower(self._now(1), self.states).compile()
        self.log_odds, self.gradients, self.took = [], [], []

    def _now(self, number):
        return self.keys(jax.random.fold_in(jax.random.key(SEED), number))

    def run(self, until: float) -> None:
        """Go on until they have had so many seconds in all."""
        while sum(self.took) < until:
            begun = clock()
            keys = self._now(1 + len(self.took))
            self.states, log_odds, gradients = self.advance(keys, self.states)
            self.log_odds.append(np.asarray(log_odds))
            self.took.append(clock() - begun)
            self.gradients.append(np.asarray(gradients))

    def record(self, warmup: int) -> dict:
        gradients, took = np.sum(self.gradients, axis=1), np.array(self.took)
        return {
            "transitions": len(took),
            "gradients": int(gradients.sum()),
            "seconds": took.sum(),
            "warmup_seconds": took[:warmup].sum(),
            "gradients_per_transition": float(np.mean(self.gradients[-len(took) // 2 :])),
        } | efficiency(np.stack(self.log_odds, axis=1)[:, warmup:])


def first(chains: int, target: Target) -> np.ndarray:
    """Prior draws (chains, size) at which chains start."""
    shape = chains, target.head.size
    return np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)


def _strong(state):
    """The same with types that are not weak, so that one program takes all states."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=jnp.result_type(x)), state)


def efficiency(log_odds: np.ndarray) -> dict:
    """R-hat, and ESS over the rows, of log odds (chains, draws, rows); None for too few."""
    if log_odds.shape[1] < LEAST_KEPT:
        return {"draws": 0, "rhat": None, "ess": None}
    found = diagnose(log_odds)
    ess = {"median": float(np.median(found.ess_bulk)), "least": float(found.ess_bulk.min())}
    draws = log_odds.shape[0] * log_odds.shape[1]
    return {"draws": draws, "rhat": found.worst["rhat"], "ess": ess}


def ours(network: MLP, X, y, rows, chains: int, warmup: int, patience: float) -> dict:
    """The record of our sampler, with as many draws as the seconds allow."""

    def run(draws, warmup, thin=1):
        begun = clock()
        counts = {"draws": draws, "warmup": warmup, "chains": chains, "thin": thin}
        return hmc.sample(network, X, y, **counts, seed=SEED), clock() - begun

    run(2, 4)  # compiles
    tried, seconds = run(2, PILOT)
    each = seconds / tried.details["gradients"] * tried.details["steps"]
    transitions = max(LEAST_KEPT, round(patience / each) - warmup)
    thin = -(-transitions * chains // MOST_KEPT)
    draws = max(LEAST_KEPT, transitions // thin)
    found, seconds = run(draws, warmup, thin)
    steps, gradients = found.details["steps"], found.details["gradients"]
    return {
        "transitions": warmup + draws * thin,
        "gradients": gradients * chains,
        "seconds": seconds,
        "warmup_seconds": seconds * (1 - draws * thin * steps / gradients),
        "gradients_per_transition": steps,
    } | efficiency(found.log_odds(rows))


def samplers(
    network: MLP, X, y, rows, chains: int, warmup: int, patience: float
) -> Iterator[dict]:
    """A record of each sampler, ours first, and what is left out, with the reason.

    They come when half of the rivals' seconds are over, and again when a rival has had all.
    """
    both, running, left_out = targets(network, X, y, rows), {}, {}
    target, projected = both["row space"], both["whole"].rows.astype(np.float64)
    with single(), jax.default_matmul_precision("highest"):
        for library, make in LIBRARIES.items():
            for algorithm in ("HMC", "NUTS"):
                try:
                    kernel = make(algorithm, target, warmup)
                except ImportError as error:
                    left_out[library] = str(error)
                    continue
                name = f"{library} {algorithm}"
                running[name] = Chains(kernel, target, chains)
                running[name].run(patience / 2)
                progress(name)
    mine = ours(network, X, y, projected, chains, warmup, patience)
    progress("ours")
    for name in (None, *reversed(running)):
        if name is not None:
            with single():
                running[name].run(patience)
            progress(name)
        rivals = [{"name": key, **found.record(warmup)} for key, found in running.items()]
        yield {"samplers": [{"name": "ours", **mine}, *rivals], "left_out": left_out}


def our_variance(step: float, temperature: float, chains: int, friction: float) -> np.ndarray:
    """z (chains,) of our SGHMC on N(0, 1), half of whose precision is the likelihood's.

    Its step is in units of the prior's standard deviation, √2.
    """
    network, X = MLP(weight_scale=np.sqrt(2)), np.array([[0.5], [-0.5]])
    options = {"temperature": temperature, "friction": friction}
    options["step_size"] = step / np.sqrt(2)
    found = sgmcmc.sample(
        network, X, np.zeros(2), 1, 40, chains, loss=Squared(), seed=SEED, **options
    )
    ((weights, _),) = found.parameters
    return weights[:, 0, 0, 0]


def blackjax_variance(
    step: float, temperature: float, chains: int, friction: float
) -> np.ndarray:
    """The same by BlackJAX's SGHMC, of ten steps as its default has it."""
    run = _blackjax_sghmc(friction)
    with single():
        keys = jax.random.split(jax.random.key(SEED), (ROUNDS, chains))
        return np.asarray(run(keys, jnp.zeros(chains), step, temperature))


@cache
def _blackjax_sghmc(friction: float):
    import blackjax

    sghmc = blackjax.sghmc(lambda z, _: -z, alpha=friction)
    move = jax.vmap(sghmc.step, (0, 0, None, None, None))

    @jax.jit
    def run(keys, z, step, temperature):
        def body(z, keys):
            return move(keys, z, None, step, temperature), None

        return jax.lax.scan(body, z, keys)[0]

    return run


def moments(chains: int = 8192) -> list[dict]:
    """Variances of SGHMC on N(0, 1), in units of the temperature: 1 is right."""
    rows = []
    ways = ("ours", our_variance, 1.0), ("BlackJAX", blackjax_variance, 1.0)
    for name, sample, friction in (*ways, ("BlackJAX", blackjax_variance, 0.01)):
        for step in STEPS:
            for temperature in TEMPERATURES:
                try:
                    z = sample(step, temperature, chains, friction)
                except ImportError:
                    continue
                squares = z.astype(np.float64) ** 2 / temperature
                rows.append(
                    {
                        "name": name,
                        "friction": friction,
                        "step": step,
                        "temperature": temperature,
                        "variance": squares.mean(),
                        "error": squares.std() / np.sqrt(chains),
                    }
                )
    progress("moments")
    return rows


def flops(target: Target) -> int:
    """Of the products of a gradient, forwards and backwards, of one chain."""
    width = target.head.network.widths
    n, r = target.X.shape
    within = sum(a * b for a, b in zip(width, (*width[1:], 1), strict=True))
    return 2 * n * (2 * r * width[0] + 3 * within)


def gradients(target: Target, chains: int) -> dict[str, Callable]:
    """Compiled gradients of all chains, side by side and one after another."""
    z = jnp.asarray(first(chains, target))
    slope = jax.value_and_grad(target.loss)
    ways = {"vmap": jax.vmap(slope), "in turn": partial(jax.lax.map, slope)}
    return {name: _timed(way, z) for name, way in ways.items()}


def products(target: Target, chains: int) -> dict[str, Callable]:
    """The products of matrices in the gradient, and nothing else."""
    rng, X, (a, b) = np.random.default_rng(0), target.X, target.head.network.widths
    (n, r) = X.shape
    shapes = (r, a), (n, a), (a, b), (n, b), (n, a)
    parts = [jnp.asarray(rng.standard_normal((chains, *s), np.float32)) for s in shapes]

    def multiply(first, hidden, second, slope, lower):
        forwards = X @ first, hidden @ second
        return *forwards, hidden.T @ slope, slope @ second.T, X.T @ lower

    ways = {
        "vmap": jax.vmap(multiply),
        "in turn": lambda *parts: jax.lax.map(lambda part: multiply(*part), parts),
    }
    return {name: _timed(way, *parts) for name, way in ways.items()}


def _timed(way, *parts):
    compiled = jax.jit(way)
    jax.block_until_ready(compiled(*parts))
    return lambda: jax.block_until_ready(compiled(*parts))


def gradient(target: Target, chains: int, rounds: int = 15) -> list[dict]:
    """Speed of a gradient, and its share of that of its products in the faster of two ways."""
    with exactly():
        found, bare = gradients(target, chains), products(target, chains)
        tasks = *found.values(), *bare.values()
        seconds = alternating_medians(*tasks, rounds=rounds, clock=clock)
    least = seconds[len(found) :].min() / chains
    return [
        {
            "inputs": target.X.shape[1],
            "chains": chains,
            "way": way,
            "ms": 1e3 * taken / chains,
            "products_ms": 1e3 * least,
            "share": least * chains / taken,
            "gigaflops": flops(target) * chains / taken / 1e9,
        }
        for way, taken in zip(found, seconds, strict=False)
    ]


def progress(done: str) -> None:
    print(done, "done", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for a sampler")
    parser.add_argument("--warmup", type=int, default=60, help="transitions")
    parser.add_argument("--chains", type=int, help="by default 2 on a CPU and 16 elsewhere")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--data", choices=("auto", "cities", "synthetic"), default="auto")
    parser.add_argument("--output", type=Path, help="JSON file")
    args = parser.parse_args()
    from elkutils.study import timings

    chains = args.chains or (2 if on_cpu() else 16)
    source, (X, y, rows) = activations(args.data)
    network = MLP((args.width, args.width), weight_scale=WEIGHT_SCALE)
    both = targets(network, X, y, rows)
    libraries = "numpyro", "arviz", "blackjax"
    about = timings.provenance("python tests/benchmarks/networks.py", *libraries) | {
        "protocol": f"{args.patience:g} s and {args.warmup} warm-up transitions per sampler,"
        f" {chains} chains, rivals in two halves around ours",
        "clock": "CPU" if on_cpu() else "wall",
        "data": source,
        "n": len(y),
        "width": args.width,
        "seed": SEED,
        "parameters": {where: target.head.size for where, target in both.items()},
    }

    def keep(**more):
        about.update(more)
        if args.output:
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(about, indent=1) + "\n")

    if "gradient" in args.parts:
        counts = sorted({1, chains})
        speeds = [row for t in both.values() for c in counts for row in gradient(t, c)]
        keep(gradient=speeds)
        progress("gradient")
    if "moments" in args.parts:
        keep(moments=moments())
    if "samplers" in args.parts:
        options = chains, args.warmup, args.patience
        for found in samplers(network, X, y, rows, *options):
            keep(**found)
    print("\n".join(timings.network_tables(about)))


if __name__ == "__main__":
    main()
