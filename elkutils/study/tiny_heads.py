"""Tiny heads: their posterior, its rivals and its checks, recorded once and judged later.

`measure` draws and trains all that takes long for one seed, one *part* after the other: a
chain, an ensemble, a mode. `Parts` keeps each on disk, so an interrupted run continues. What a
chapter needs of them is one *entry* per seed: the mean probability of every statement under
every method, and its log score by bags of equal size. `recorded` returns the entries that
``tests/benchmarks/tiny_heads.py`` wrote; `gains` and `excess` are what the claims are judged
by.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from elkutils.evaluation import Interval, PassRate, bootstrap_means
from elkutils.files import atomic_path
from elkutils.inference.diagnostics import diagnose
from elkutils.ledger import ALPHA, Criterion, recorded_run
from elkutils.study.controls import planted_scores, rates
from elkutils.study.pooling import pooled
from elkutils.study.readings import make_task
from elkutils.study.scaling import by_kind

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from elkutils.inference.networks.mlp import MLP
    from elkutils.inference.networks.transformer import Transformer

LAYER = 14
KINDS = {"easy": "easy", "hard": "hard", "negated": "easy_negated"}
HMC, LIMIT, WIDER, LINEAR = "HMC", "infinite width", "prior twice as wide", "linear posterior"
RIVALS = (
    "MAP",
    "Laplace",
    "last-layer Laplace",
    "SGHMC",
    "plain ensemble",
    "bootstrapped ensemble",
    "anchored ensemble",
    LINEAR,
)
RATE = 1e-4  # of Adam: of half a million weights, all of which move by as much in each step
USUAL = 1.0  # weight scale of starts that are not prior draws
ANCHORED = 3, 1e-3  # times as many steps, since nothing stops them, and a rate that falls to 0
BUDGET = 100_000  # gradients, warm-up included
UNITS = {"p": 1e-4, "score": 1e-4, "blocks": 1e-3, "spread": 1e-3}  # of an entry's numbers
BLOCKS = 8  # parts of a sampler's draws whose means are recorded, to see its Monte Carlo error
DRAWS = 1000  # of a Gaussian
BAGS = 100  # random bags over which a score is averaged

TRANSFORMER_SCALE = 1.3  # c: no limit chooses it; at 3 trial chains hardly moved

Sets = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Size:
    """How much a run does for each seed.

    Attributes
    ----------
    width : int
        Of both hidden layers of the MLP that the claims speak of.
    swept : tuple of int
        Narrower ones, for some seeds.
    checked : int
        The one of these at which HMC is compared with NUTS.
    sweeps : int
        Seeds at which widths are swept.
    chains, draws, warmup : int
        Of HMC: chains at most, of which each is drawn by itself, so that only one is held in
        memory.
    members : int
        Of an ensemble, and draws in a bag of any other method.
    steps : int
        Training steps of an ensemble, at most; three times as many for an anchored one.
    """

    width: int
    swept: tuple[int, ...]
    checked: int
    sweeps: int
    chains: int
    draws: int
    warmup: int
    members: int
    steps: int


SIZES = {
    "quick": Size(8, (4,), 4, 1, 2, 20, 20, 3, 30),
    "book": Size(512, (8, 32, 128), 32, 2, 6, 600, 100, 8, 150),
    "full": Size(512, (8, 32, 128), 32, 10, 6, 600, 100, 8, 150),
}


@dataclass(frozen=True)
class TransformerSize:
    """How much a run does for the transformer head, at its first seed.

    Attributes
    ----------
    width : int
        At which it is drawn.
    chains, draws, warmup : int
        As in `Size`.
    costed : int
        The width at which gradients are timed only.
    """

    width: int
    chains: int
    draws: int
    warmup: int
    costed: int


TRANSFORMERS = {
    "quick": TransformerSize(4, 2, 8, 8, 8),
    "book": TransformerSize(32, 6, 600, 80, 512),
    "full": TransformerSize(512, 6, 300, 100, 512),
}


def read(model: "TransformerBridge", seed: int) -> Sets:
    """Return the training rows and those of each kind, as X (n, d), y (n,) and groups (n,)."""
    found = by_kind(model, "cities", seed, LAYER)
    return {"train": found["train"]} | {kind: found[name] for kind, name in KINDS.items()}


def read_sequences(model: "TransformerBridge", seed: int) -> Sets:
    """Return the same rows as `read`, each with the residuals of all its tokens, scaled."""
    from elkutils.models import resid_post, sequences
    from elkutils.reporters import TokenScaler

    splits = make_task("cities", seed).splits
    train, test = splits["easy"].train_test(seed=seed)
    places = {"train": ("easy", train), "easy": ("easy", test)}
    places |= {"hard": ("hard", slice(None)), "negated": ("easy_negated", test)}
    texts = [text for name, _ in places.values() for text in splits[name].texts]
    texts = list(dict.fromkeys(texts))
    (hook,) = resid_post(model, [LAYER])
    X = sequences(model, texts, [hook])[hook]
    rows, inputs = {text: i for i, text in enumerate(texts)}, X.shape[-1]
    X = np.asarray(X).reshape(len(X), -1)
    raw = {
        kind: X[[rows[text] for text in np.asarray(splits[name].texts)[chosen]]]
        for kind, (name, chosen) in places.items()
    }
    scaler = TokenScaler(inputs).fit(raw["train"])
    return {
        kind: (
            scaler.transform(raw[kind]),
            splits[name].labels[chosen],
            splits[name].groups[chosen],
        )
        for kind, (name, chosen) in places.items()
    }


class Parts:
    """What was computed so far, one file per part, in a folder of its own for each input.

    Parameters
    ----------
    folder : path
    digest : str
        Of the inputs.
    tell : callable
        Takes a line of progress.
    """

    def __init__(self, folder: str | Path, digest: str, tell: Callable = lambda line: None):
        self.folder, self.tell = Path(folder) / digest, tell
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, compute: Callable[[], Mapping]) -> dict[str, np.ndarray]:
        """Return the arrays of a part; compute and keep it if it is not there yet.

        "seconds" and "cpu_seconds" are added: what computing it took, compilation included.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            begun = time.perf_counter(), time.process_time()
            found = {key: np.asarray(value) for key, value in compute().items()}
            found["seconds"] = np.asarray(time.perf_counter() - begun[0])
            found["cpu_seconds"] = np.asarray(time.process_time() - begun[1])
            if "log_odds" in found:
                found["log_odds"] = found["log_odds"].astype(np.float32)
            with atomic_path(path) as fresh, fresh.open("wb") as file:
                np.savez(file, **found)
            self.tell(f"{name}: {found['seconds']:.0f} s, {found['cpu_seconds']:.0f} CPU s")
        with np.load(path) as stored:
            return dict(stored)


def digest_of(sets: Sets, *settings: object) -> str:
    """Return 16 digits of a digest of rows, labels and settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for X, y, _ in sets.values():
        digest.update(np.ascontiguousarray(X, np.float32).tobytes())
        digest.update(np.ascontiguousarray(y, np.int8).tobytes())
    return digest.hexdigest()[:16]


def measure(
    sets: Sets,
    seed: int,
    size: Size,
    folder: str | Path,
    sweep: bool = True,
    tell: Callable = lambda line: None,
) -> dict[str, Any]:
    """Return the entry of one seed, as JSON takes it: `decoded` has it as arrays.

    Parameters
    ----------
    sets : mapping of str to (X (n, d), y (n,), groups (n,))
        "train", and the kinds of statements that are asked about.
    seed : int
    size : Size
    folder : path
        Where parts are kept; a call with the same arguments continues from there.
    sweep : bool
        Whether narrower networks are drawn, too.
    tell : callable
        Takes a line of progress.
    """
    digest = digest_of(sets, seed, size)
    run = _Seed(sets, seed, size, sweep, Parts(folder, digest, tell))
    return run.entry() | {"digest": digest}


def measure_transformer(
    sets: Sets,
    seed: int,
    inputs: int,
    size: TransformerSize,
    folder: str | Path,
    tell: Callable = lambda line: None,
) -> dict[str, Any]:
    """Return diagnostics, cost and scores of a transformer head, as `measure` of an MLP.

    Parameters
    ----------
    sets : mapping
        From `read_sequences`.
    inputs : int
        Numbers per token.
    seed, size, folder, tell
        As in `measure`.
    """
    from elkutils.inference.networks.transformer import Transformer

    parts = Parts(folder, digest_of(sets, seed, size), tell)
    budget = Size(0, (), 0, 0, size.chains, size.draws, size.warmup, 0, 0)
    run = _Seed(sets, seed, budget, False, parts)
    heads = {
        width: Transformer(inputs, width, weight_scale=TRANSFORMER_SCALE)
        for width in (size.width, size.costed)
    }
    log_odds = run.converged(heads[size.width])
    X, y, _ = sets["train"]
    costs = {
        str(width): run.parts(f"gradient, width {width}", lambda head=head: _timed(head, X, y))
        for width, head in heads.items()
    }
    asked, scores = run.joined(1), {}
    own = bag_scores(log_odds.reshape(-1, log_odds.shape[-1])[:, : len(asked)], asked, DRAWS)
    for kind in run.asked:
        scores[kind] = round(float(own[of_kind({"kinds": run.sizes}, kind)].mean()), 4)
    return {
        "seed": seed,
        "width": size.width,
        "costed": size.costed,
        "c": TRANSFORMER_SCALE,
        "score": scores,
        "sampler": run.cost(hmc_at(size.width), log_odds),
        "gradients": {
            width: {key: round(float(found[key]), 4) for key in ("each", "weights")}
            for width, found in costs.items()
        },
        "digest": parts.folder.name,
    }


def _timed(network, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """CPU seconds of one gradient of the log likelihood, and the number of weights."""
    import jax

    from elkutils.inference.networks.network import draw_prior, flat, mean_loss

    theta = jax.tree.map(lambda leaf: leaf[0], draw_prior(network, 1, X.shape[1], 0))
    given = theta, np.asarray(X, np.float32), np.asarray(y, np.float32)
    slope = jax.jit(jax.grad(lambda theta, X, y: mean_loss(network, theta, X, y)))
    jax.block_until_ready(slope(*given))
    begun = time.process_time()
    jax.block_until_ready(slope(*given))
    return {"each": time.process_time() - begun, "weights": flat(network, X.shape[1]).size}


@dataclass(frozen=True)
class _Seed:
    sets: Sets
    seed: int
    size: Size
    sweep: bool
    parts: Parts

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.sets["train"]

    @property
    def asked(self) -> list[str]:
        return [kind for kind in self.sets if kind != "train"]

    @property
    def rows(self) -> np.ndarray:
        """All rows (N, d): first those that are asked about, then the training rows."""
        return np.concatenate([self.sets[kind][0] for kind in (*self.asked, "train")])

    @property
    def sizes(self) -> dict[str, int]:
        return {kind: len(self.sets[kind][1]) for kind in self.asked}

    def joined(self, part: int) -> np.ndarray:
        return np.concatenate([self.sets[kind][part] for kind in self.asked])

    def entry(self) -> dict[str, Any]:
        scales = self.parts("scale", self.scale)
        network = self.network(float(scales["c"]))
        pools = self.pools(network, float(scales["linear c"]))
        labels, members = self.joined(1), self.size.members
        asked = {name: pool[:, : len(labels)] for name, pool in pools.items()}
        samplers = [name for name in asked if _is_sampler(name)]
        chains = {name: self.chains(name) for name in samplers}
        widths = (*(self.size.swept if self.sweep else ()), self.size.width)
        return {
            "seed": self.seed,
            "kinds": self.sizes,
            "trained on": len(self.train[1]),
            "y": labels.astype(int).tolist(),
            "groups": [str(group) for group in self.joined(2)],
            "scales": np.round(scales["scales"], 6).tolist(),
            "log_evidence": np.round(scales["log_evidence"], 4).tolist(),
            "c": float(scales["c"]),
            "linear c": float(scales["linear c"]),
            "p": {name: _whole("p", expit(pool).mean(axis=0)) for name, pool in asked.items()},
            "score": {
                name: _whole("score", bag_scores(pool, labels, members))
                for name, pool in asked.items()
            },
            "blocks": {
                name: _whole("blocks", blocks(chains[name])[:, : len(labels)])
                for name in samplers
            },
            "spread": {
                name: _whole("spread", spreads(chains[name])[:, : len(labels)])
                for name in samplers
            },
            "samplers": {
                name: self.cost(name, chains[name]) for name in samplers if name not in (WIDER,)
            },
            "modes": {str(width): self.mode(network, width) for width in widths},
            "seconds": {name: self.seconds(name) for name in pools},
        }

    def seconds(self, name: str) -> float:
        """CPU seconds of all parts of a method."""
        parts = self.parts_of("Laplace" if name == "MAP" else name)
        return round(float(sum(part["cpu_seconds"] for part in parts)), 1)

    def scale(self) -> dict[str, Any]:
        """Choose the prior scale of the wide network and of the linear one by the evidence."""
        from elkutils.inference.networks.infinite import choose_scale
        from elkutils.inference.networks.mlp import MLP

        X, y, _ = self.train
        wide, linear = (choose_scale(MLP(widths), X, y) for widths in ((1, 1), ()))
        found = {"c": wide.scale, "scales": wide.scales, "log_evidence": wide.log_evidence}
        return found | {"linear c": linear.scale}

    def network(self, c: float) -> "MLP":
        from elkutils.inference.networks.mlp import MLP

        return MLP((self.size.width,) * 2, weight_scale=c)

    def pools(self, network: "MLP", linear_c: float) -> dict[str, np.ndarray]:
        """Log odds (draws, N) of all rows under each method."""
        from elkutils.inference.networks.mlp import MLP

        wider = replace(network, weight_scale=2 * network.weight_scale)
        exact = {LIMIT: network, WIDER: wider, LINEAR: MLP((), weight_scale=linear_c)}
        found = {
            name: self.parts(name, lambda head=head: self.limit(head))["log_odds"]
            for name, head in exact.items()
        }
        found[hmc_at(self.size.width)] = self.converged(network)
        makers = {
            "Laplace": lambda: self.laplace(network),
            "last-layer Laplace": lambda: self.laplace(network, last_layer=True),
            "SGHMC": lambda: self.sghmc(network),
            "plain ensemble": lambda: self.ensemble(network),
            "bootstrapped ensemble": lambda: self.ensemble(network, bootstrapped=True),
            "anchored ensemble": lambda: self.anchored(network),
        }
        found |= {name: self.parts(name, make)["log_odds"] for name, make in makers.items()}
        found["MAP"] = self.parts("Laplace", _missing)["mode"]
        if self.sweep:
            found |= self.swept(network)
        return {name: pool.reshape(-1, pool.shape[-1]) for name, pool in found.items()}

    def swept(self, network: "MLP") -> dict[str, np.ndarray]:
        """Log odds of narrower networks: two chains of each, and NUTS at one width."""
        found = {}
        for width in self.size.swept:
            head = replace(network, widths=(width, width))
            found[hmc_at(width)] = np.stack([self.chain(head, k)["log_odds"] for k in (0, 1)])
            if width == self.size.checked:
                part = self.parts(nuts_at(width), lambda head=head: self.nuts(head))
                found[nuts_at(width)] = part["log_odds"]
        return found

    def converged(self, network: "MLP | Transformer") -> np.ndarray:
        """Log odds (chains, draws, N) of as many chains as it takes, or the budget admits."""
        chains, spent = [], 0
        while (
            len(chains) < self.size.chains and spent * (1 + 1 / max(1, len(chains))) <= BUDGET
        ):
            part = self.chain(network, len(chains))
            chains.append(part["log_odds"])
            spent += int(part["gradients"])
            if len(chains) > 1 and diagnose(np.stack(chains)).converged:
                break
        return np.stack(chains)

    def chains(self, name: str) -> np.ndarray:
        """Log odds (chains, draws, N) of a sampler whose parts are there."""
        return np.concatenate([_by_chain(part["log_odds"]) for part in self.parts_of(name)])

    def parts_of(self, name: str) -> list[dict[str, np.ndarray]]:
        """All parts of a sampler."""
        if not name.startswith(HMC):
            return [self.parts(name, _missing)]
        count = len(list(self.parts.folder.glob(f"{name}, chain *.npz")))
        return [self.parts(f"{name}, chain {k}", _missing) for k in range(count)]

    def limit(self, network: "MLP") -> dict[str, Any]:
        from elkutils.inference.networks import infinite

        X, y, _ = self.train
        return {"log_odds": infinite.sample(network, X, y, seed=self.seed).log_odds(self.rows)}

    def chain(self, network: "MLP | Transformer", number: int) -> dict[str, np.ndarray]:
        """One chain of HMC, which starts at a prior draw and adapts by itself."""
        width = network.widths[0] if hasattr(network, "widths") else network.width
        name = f"{hmc_at(width)}, chain {number}"
        return self.parts(name, lambda: self.hmc(network, number))

    def hmc(self, network: "MLP | Transformer", number: int) -> dict[str, Any]:
        from elkutils.inference.networks import hmc

        X, y, _ = self.train
        seed = 100 * self.seed + number
        draws = hmc.sample(network, X, y, self.size.draws, self.size.warmup, 1, seed=seed)
        return {
            "log_odds": draws.log_odds(self.rows)[0],
            "gradients": draws.details["gradients"],
            "steps": draws.details["steps"],
            "step": float(draws.details["step_size"][0]),
            "acceptance": draws.stats["acceptance_rate"].mean(),
            "divergences": draws.stats["diverging"].sum(),
            "weights": draws.theta.shape[-1],
        }

    def nuts(self, network: "MLP") -> dict[str, Any]:
        from elkutils.inference.networks import nuts

        X, y, _ = self.train
        size = self.size
        draws = nuts.sample(network, X, y, size.draws // 2, size.warmup, 2, seed=self.seed)
        return {
            "log_odds": draws.log_odds(self.rows),
            "gradients": draws.stats["n_steps"].sum(),
            "divergences": draws.stats["diverging"].sum(),
            "weights": draws.theta.shape[-1],
        }

    def laplace(self, network: "MLP", last_layer: bool = False) -> dict[str, Any]:
        """Draws of the Gaussian about a mode, in function space, and the mode's log odds."""
        from elkutils.inference.networks import laplace

        X, y, _ = self.train
        fit = laplace.fit(network, X, y, last_layer=last_layer, seed=self.seed)
        return {
            "log_odds": fit.draw_log_odds(self.rows, DRAWS, self.seed),
            "mode": fit.base.log_odds(fit.theta[None], self.rows),
            "log_joint": fit.mode.log_joint,
            "norm": fit.mode.z @ fit.mode.z,
        }

    def sghmc(self, network: "MLP") -> dict[str, Any]:
        from elkutils.inference.networks import sgmcmc

        X, y, _ = self.train
        draws = sgmcmc.sample(network, X, y, 60, 40, 2, 16, batch=32, seed=self.seed)
        heat = draws.stats["kinetic_temperature"].mean()
        return {
            "log_odds": draws.log_odds(self.rows).reshape(-1, len(self.rows)),
            "gradients": draws.stats["n_steps"].sum(),
            "temperature": heat,
        }

    def ensemble(self, network: "MLP", **ingredients: bool) -> dict[str, Any]:
        """Members that start as networks usually do, and stop by their held-out loss."""
        from elkutils.study.small_networks import HELD_OUT, Recipe, members

        recipe = Recipe("", "Adam", learning_rate=RATE, **ingredients)
        network, count = replace(network, weight_scale=USUAL), self.size.members
        found = members(recipe, network, self.train, count, self.seed, self.size.steps)
        bag = found[HELD_OUT]
        return {"log_odds": bag.log_odds(self.rows)[0], "steps": bag.stats["n_steps"].mean()}

    def anchored(self, network: "MLP") -> dict[str, Any]:
        """Members held to their own draws of the posterior's prior, trained to the end."""
        from elkutils.inference.networks.network import draw_prior
        from elkutils.inference.networks.training import Plan, train

        X, y, _ = self.train
        times, rate = ANCHORED
        plan = Plan(times * self.size.steps, rate, decay=True, anchored=True)
        start = draw_prior(network, self.size.members, X.shape[1], self.seed)
        bag = train(network, start, X, y, plan, seed=self.seed)
        return {"log_odds": bag.log_odds(self.rows)[0], "steps": bag.stats["n_steps"].mean()}

    def mode(self, network: "MLP", width: int) -> dict[str, float]:
        """How far the best weights are from doing nothing, at one width."""
        from elkutils.inference.networks import laplace

        X, y, _ = self.train
        head = replace(network, widths=(width, width))

        def compute():
            found = laplace.find_mode(head, X, y, seed=self.seed)
            return {"log_joint": found.log_joint, "norm": found.z @ found.z}

        widest = width == self.size.width
        found = self.parts("Laplace" if widest else f"mode, width {width}", compute)
        return {name: round(float(found[name]), 3) for name in ("log_joint", "norm")}

    def cost(self, name: str, log_odds: np.ndarray) -> dict[str, float]:
        """Diagnostics of a sampler's log odds, worst and median row, and what it took."""
        parts, found = self.parts_of(name), diagnose(log_odds)
        about = {"chains": len(log_odds), "draws": log_odds.shape[1]}
        about |= {"rhat": found.worst["rhat"], "ess": found.worst["ess"]}
        about["median ess"] = float(np.median(found.ess_bulk))
        for key in ("gradients", "seconds", "cpu_seconds", "divergences"):
            if key in parts[0]:
                about[key] = float(sum(part[key] for part in parts))
        for key in ("weights", "steps", "step", "acceptance"):
            if key in parts[0]:
                about[key] = float(np.mean([part[key] for part in parts]))
        return {key: round(float(value), 4) for key, value in about.items()}


def hmc_at(width: int) -> str:
    """Return the name of HMC at a width."""
    return f"{HMC}, width {width}"


def nuts_at(width: int) -> str:
    """Return the name of NUTS at a width."""
    return f"NUTS, width {width}"


def _is_sampler(name: str) -> bool:
    return name in (LIMIT, WIDER) or name.startswith((HMC, "NUTS"))


def _by_chain(log_odds: np.ndarray) -> np.ndarray:
    return log_odds if log_odds.ndim == 3 else log_odds[None]


def _missing() -> dict:
    raise ValueError("a part is missing that an earlier one should have left")


def _whole(name: str, values: np.ndarray) -> list:
    """Values as whole multiples of their unit, which take half the room in a file."""
    return np.rint(np.asarray(values) / UNITS[name]).astype(int).tolist()


def decoded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a file with its arrays as such, in probabilities and nats."""
    found = dict(entry, groups=np.asarray(entry["groups"]))
    for name, unit in UNITS.items():
        found[name] = {key: np.asarray(values) * unit for key, values in entry[name].items()}
    return found


def blocks(log_odds: np.ndarray, count: int = BLOCKS) -> np.ndarray:
    """Return the mean probability (count, n) in equal blocks of the draws (chains, draws, n).

    No block spans two chains unless there are more chains than blocks.

    Examples
    --------
    >>> blocks(np.zeros((2, 8, 3)), 4).shape
    (4, 3)
    """
    p = expit(log_odds).reshape(-1, log_odds.shape[-1])
    length = len(p) // count
    return p[: count * length].reshape(count, length, -1).mean(axis=1)


def spreads(log_odds: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the log odds (2, n) in two halves of the draws.

    Halves are of chains (chains, draws, n) where there are two or more.
    """
    flat = log_odds.reshape(-1, log_odds.shape[-1])
    return np.stack([half.std(axis=0, ddof=1) for half in np.array_split(flat, 2)])


def bag_scores(
    log_odds: np.ndarray, y: np.ndarray, count: int, bags: int = BAGS, seed: int = 0
) -> np.ndarray:
    """Return the log score (n,) of each row by a bag's mean probability, averaged over bags.

    Bags hold `count` of the draws, at random without replacement; where there are no more
    draws than that, all of them are the one bag.

    Parameters
    ----------
    log_odds : (draws, n) array
    y : (n,) array of 0 and 1
    count, bags, seed : int

    Examples
    --------
    >>> bag_scores(np.zeros((4, 2)), np.array([0, 1]), 2).round(3).tolist()
    [-0.693, -0.693]
    """
    right = expit(np.where(np.asarray(y) == 1, 1.0, -1.0) * np.asarray(log_odds, np.float64))
    if len(right) <= count:
        return np.log(right.mean(axis=0))
    rng = np.random.default_rng(seed)
    chosen = (rng.choice(len(right), count, replace=False) for _ in range(bags))
    return np.mean([np.log(right[some].mean(axis=0)) for some in chosen], axis=0)


def recorded() -> dict[str, Any]:
    """Return the recorded run, its entries decoded: see ``tests/benchmarks/tiny_heads.py``."""
    found = recorded_run("tiny-heads")
    return found | {"entries": [decoded(entry) for entry in found["entries"]]}


def of_kind(entry: Mapping, kind: str) -> slice:
    """Return where the rows of a kind stand among an entry's."""
    sizes = entry["kinds"]
    begin = sum(list(sizes.values())[: list(sizes).index(kind)])
    return slice(begin, begin + sizes[kind])


def mean_scores(
    entries: Sequence[Mapping], name: str, all_draws: bool = False
) -> dict[str, float]:
    """Return a method's mean log score over rows and seeds, by kind of row.

    Parameters
    ----------
    entries : sequence of mappings
    name : str
    all_draws : bool
        Score the mean over all draws instead of bags.
    """
    found: dict[str, list[float]] = {kind: [] for kind in entries[0]["kinds"]}
    for entry in entries:
        p = np.clip(entry["p"][name], UNITS["p"] / 2, 1 - UNITS["p"] / 2)
        whole = np.log(np.where(np.asarray(entry["y"]) == 1, p, 1 - p))
        score = whole if all_draws else entry["score"][name]
        for kind, scores in found.items():
            scores.append(np.mean(score[of_kind(entry, kind)]))
    return {kind: float(np.mean(scores)) for kind, scores in found.items()}


def gains(entries: Iterable[Mapping], first: str, second: str, kind: str) -> tuple:
    """Return the log score of one method less that of another, with groups and seeds, (N,)."""
    parts = []
    for entry in entries:
        rows = of_kind(entry, kind)
        ours, theirs = (entry["score"][name][rows] for name in (first, second))
        parts.append((entry["seed"], ours - theirs, entry["groups"][rows]))
    return pooled(parts)


def excess(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the total variation between two samplers beyond Monte Carlo error, by row (n,).

    Each is given as the mean probability in blocks of its draws, (2k, n). It is the mean
    distance of a half of one to a half of the other, less that of two halves of the same one:
    about 0 for two samplers of one distribution.

    Examples
    --------
    >>> excess(np.array([[0.4], [0.6]]), np.array([[0.4], [0.6]])).round(3).tolist()
    [-0.1]
    """
    halves = [np.split(np.asarray(part, np.float64), 2) for part in (ours, theirs)]
    (a, b), (c, d) = ([half.mean(axis=0) for half in pair] for pair in halves)
    across = np.mean([np.abs(one - other) for one in (a, b) for other in (c, d)], axis=0)
    return across - (np.abs(a - b) + np.abs(c - d)) / 2


def distances(entries: Iterable[Mapping], first: str, second: str, kind: str) -> tuple:
    """Return `excess` of two methods of the entries, with groups and seeds, (N,) each."""
    parts = []
    for entry in entries:
        rows = of_kind(entry, kind)
        ours, theirs = (_blocks_of(entry, name)[:, rows] for name in (first, second))
        parts.append((entry["seed"], excess(ours, theirs), entry["groups"][rows]))
    return pooled(parts)


def _blocks_of(entry: Mapping, name: str) -> np.ndarray:
    """Mean probabilities in blocks (blocks, n); those of a point estimate are all the same."""
    if name in entry["blocks"]:
        return entry["blocks"][name]
    return np.tile(entry["p"][name], (BLOCKS, 1))


def spread_ratios(entries: Iterable[Mapping], first: str, second: str, kind: str) -> tuple:
    """Return the sd of one sampler's log odds over another's, with groups and seeds, (N,)."""
    parts = []
    for entry in entries:
        rows = of_kind(entry, kind)
        ours, theirs = (entry["spread"][name][:, rows] for name in (first, second))
        ratio = ours.mean(axis=0) / theirs.mean(axis=0)
        parts.append((entry["seed"], ratio, entry["groups"][rows]))
    return pooled(parts)


def left_open(criterion: Criterion, measured: float | None = None) -> Interval:
    """Return an interval that leaves a criterion open, for what was not measured to the end.

    It reaches as far to either side of the margin as `measured` is from it; from 0 where
    nothing was measured.

    Examples
    --------
    >>> print(left_open(Criterion("ESS", "above", 400, ""), 150))
    150.000 [150.000, 650.000]
    """
    margin = criterion.margin
    half = margin if measured is None else abs(measured - margin)
    return Interval(margin if measured is None else measured, margin - half, margin + half)


def mean_of(columns: tuple, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of values (N,) with its interval over groups and seeds."""
    values, groups, seeds = columns
    return bootstrap_means(values[:, None], groups, seeds, resamples, seed=seed)[0]


def agreement_controls(
    rule: Criterion,
    entries: Sequence[Mapping],
    ours: str,
    wrong: str,
    kind: str,
    places: int,
    resamples: int = 200,
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on `excess` passes.

    Positive control: blocks of one sampler's draws, dealt anew in each run to two samplers.
    Negative: the sampler against `wrong`, whose blocks stand in a new order each time.
    """

    def run(other: str | None) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            parts = []
            for entry in entries:
                rows = of_kind(entry, kind)
                mine = rng.permutation(_blocks_of(entry, ours)[:, rows])
                if other is None:
                    mine, theirs = np.split(mine, 2)
                else:
                    theirs = rng.permutation(_blocks_of(entry, other)[:, rows])
                parts.append((entry["seed"], excess(mine, theirs), entry["groups"][rows]))
            return mean_of(pooled(parts), resamples, int(rng.integers(2**31)))

        return once

    return rates(rule, run(None), run(wrong), places)


def spread_controls(
    rule: Criterion,
    entries: Sequence[Mapping],
    ours: str,
    wrong: str,
    kind: str,
    places: int,
    resamples: int = 200,
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on `spread_ratios` passes.

    Positive control: one half of a sampler's draws against the other, in either order by
    chance. Negative: a half of `wrong` against a half of the sampler. Cities are drawn anew.
    """

    groups = [entry["groups"][of_kind(entry, kind)] for entry in entries]
    names = np.unique(np.concatenate(groups))

    def run(other: str | None) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
            parts = []
            for entry, of in zip(entries, groups, strict=True):
                rows = of_kind(entry, kind)
                mine, rest = rng.permutation(entry["spread"][ours][:, rows])
                if other is not None:
                    mine = rng.permutation(entry["spread"][other][:, rows])[0]
                copies = times[np.searchsorted(names, of)]
                same = np.repeat(np.searchsorted(names, of), copies)
                copy = np.concatenate([np.arange(count) for count in copies])
                ratios = np.repeat(mine / rest, copies)
                parts.append((entry["seed"], ratios, same + len(names) * copy))
            return mean_of(pooled(parts), resamples, int(rng.integers(2**31)))

        return once

    return rates(rule, run(None), run(wrong), places)


def gain_controls(
    rule: Criterion, columns: tuple, planted: float, places: int, resamples: int = 200
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on a gain passes a planted one, and none at all.

    Gains of rows scatter as measured ones do, half of their variance in common to the rows of
    one group and label.

    Parameters
    ----------
    columns : (values, groups, seeds)
        A measured gain, from `gains`.
    planted : float
        In nats.
    """
    values, groups, seeds = columns
    groups, seeds = (np.unique(ids, return_inverse=True)[1] for ids in (groups, seeds))
    spread, none = values.std(), np.zeros(len(values), int)

    def run(mean: float) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            made = mean + spread * planted_scores(none, 0.5, groups, rng)
            return mean_of((made, groups, seeds), resamples, int(rng.integers(2**31)))

        return once

    return rates(rule, run(planted), run(0.0), places)


def redrawn_controls(
    rule: Criterion, columns: tuple, planted: float, places: int, resamples: int = 200
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on a gain passes a planted one, and none at all.

    Unlike those of `gain_controls`, rows scatter just as the measured ones do: these, less
    their mean, with the groups drawn anew in each run.

    Parameters
    ----------
    columns : (values, groups, seeds)
        A measured gain, from `gains`.
    planted : float
        In nats.
    """
    values, groups, seeds = columns
    values = values - values.mean()
    names, of = np.unique(groups, return_inverse=True)

    def run(mean: float) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[of]
            rows = np.repeat(np.arange(len(values)), times)
            copies = np.concatenate([np.arange(count) for count in times])
            made = mean + values[rows], of[rows] + len(names) * copies, seeds[rows]
            return mean_of(made, resamples, int(rng.integers(2**31)))

        return once

    return rates(rule, run(planted), run(0.0), places)


def attainable_gain(
    rule: Criterion, measured: Interval, places: int, power: float = 0.9
) -> float:
    """Return the gain that a rule "above" a margin finds with probability `power`, in nats.

    For a normal estimate as precise as the measured one, judged as one of `places` at the level
    of Holm's first step: the margin and (z₁ + z₂) standard errors, where z₁ is the normal
    quantile of that level and z₂ that of `power`. The lower half of the interval tells the
    standard error, since the rule judges by it.

    Parameters
    ----------
    rule : Criterion
    measured : Interval
        Of 95%, in nats.
    places : int
    power : float
        Between 0 and 1.

    Examples
    --------
    >>> round(attainable_gain(Criterion("", "above", 0.01, ""), Interval(0, -0.2, 0.2), 1), 2)
    0.34
    """
    error = (measured.estimate - measured.lower) / norm.isf((1 - measured.level) / 2)
    errors = norm.isf(ALPHA / places) + norm.isf(1 - power)
    return float(rule.margin + errors * error)
