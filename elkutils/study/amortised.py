"""A posterior over rules that a network learned, beside enumeration and SMC.

`vault_world` is a rule world on the vault's cases. `measure` compares, for one seed, networks
that were trained over label sets, a network trained for one label set alone, and SMC with the
exact posterior; `silent_misses` trains many networks on a posterior with a rare mode in which
harm hides. `tests/benchmarks/amortised.py` records both, `recorded` reads the file.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from elkutils.files import atomic_path
from elkutils.inference.amortised import (
    BALANCE,
    LIKELIHOOD,
    LabelSets,
    Learned,
    train,
    train_each,
)
from elkutils.inference.sets import SetTarget, WeightedSets, smc
from elkutils.ledger import recorded_run
from elkutils.tasks import vault
from elkutils.tasks.rules import RuleWorld, vault_conditions

STEP = 11  # where the vault's cases stop, as in all chapters
OBJECTIVES = {BALANCE: 32, LIKELIHOOD: 128}  # label sets per step
RECIPES = {  # how networks look for the rare mode: share of annealing, exploration
    "neither": (0.0, 0.0),
    "annealed": (0.5, 0.0),
    "annealed, exploring": (0.5, 0.02),
}
ALONE = "one label set"
CONFIDENCE = 0.01  # a bound from draws is false at most this often if they are independent


@dataclass(frozen=True)
class Size:
    """How much a recorded run does.

    Parameters
    ----------
    steps, alone_steps, miss_steps : int
        Of training: over label sets, for one, and of each network that may miss a mode.
    tests, alone : int
        Label sets compared, and how many of them have a network of their own.
    draws : int
    ladder : tuple of int
        Particles of SMC.
    networks : int
        Trained per recipe on the planted mode.
    """

    steps: int = 3000
    alone_steps: int = 1000
    miss_steps: int = 500
    tests: int = 60
    alone: int = 3
    draws: int = 1000
    ladder: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000)
    networks: int = 240


SIZES = {
    "quick": Size(100, 100, 50, 4, 1, 50, (10, 30), 4),
    "book": Size(),
    "full": Size(30_000, 3000, 500, 200, 10, 1000, (10, 100, 1000, 10_000), 400),
}
LAW = LabelSets(noise=0.1, fewest=5, most=40)


def vault_world(seed: int, d: int = 12, n: int = 48, noise: float = 0.1) -> RuleWorld:
    """Return the world of the first d conditions, on n contexts that differ in them.

    Contexts come up as often in the list as in the vault, but no two are alike.
    """
    cases = vault.Cases(vault.simulate(vault.World(), 4000, (seed, 16)), STEP)
    conditions = vault_conditions(cases)
    names = tuple(conditions)[:d]
    contexts = np.stack([conditions[name] for name in names], axis=1)
    first = np.sort(np.unique(contexts, axis=0, return_index=True)[1])
    return RuleWorld(contexts[first[:n]], noise, 1.0, names)


def planted_mode(noise: float = 0.15) -> tuple[SetTarget, np.ndarray]:
    """Return a target with a rare mode, and the evidence of its labels.

    Twelve conditions. Either the first explains what was seen as harmful, or the next four
    together; a network that adds one of these four to the rest makes things worse at first. The
    last context meets one of the four, and is harmful in the rare mode only.
    """
    nats = np.log((1 - noise) / noise)
    rows, labels = np.zeros((7, 12)), np.array([5, 5, 5, 5, -13, -12, 0])
    rows[:4, 0] = rows[5, 0] = 1
    rows[np.arange(4), np.arange(1, 5)] = 1
    rows[4, 1:5] = rows[6, 1] = 1
    return SetTarget(rows), labels * nats


def label_sets(seed: int, count: int) -> tuple[SetTarget, np.ndarray]:
    """Return the target of one seed's world, and the evidence (count, n) of label sets."""
    world = vault_world(seed)
    target = SetTarget(world.contexts, world.penalty)
    return target, LAW.draw(target, count, seed=1000 + seed)[1]


def measure(seed: int, size: Size, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Return what `recorded` holds of one seed."""
    target, evidence = label_sets(seed, size.tests)
    truth = _Truth(target, evidence)
    entry = {"seed": seed, "draws": size.draws, "learned": {}, "smc": [], "alone": []}
    rng = np.random.default_rng(seed)
    for objective, batch in OBJECTIVES.items():
        found = train(target, LAW, objective, size.steps, batch, seed=seed)
        entry["learned"][objective] = _about(found, truth, size, seed, rng)
        tell(f"{objective}, {found.seconds:.0f} CPU s")
    for particles in size.ladder:
        drawn, seconds = _timed(lambda m=particles: smc(target, evidence, m, seed=seed))
        row = {"particles": particles, "seconds": seconds / size.tests}
        entry["smc"].append(row | truth.errors(drawn))
    tell(f"SMC with {size.ladder} particles")
    entry["alone"] = _alone(truth, size, seed, tell)
    return entry


def again(entry: dict, size: Size) -> dict[str, tuple[float, float]]:
    """Return numbers of a recorded entry, each with its value when computed anew.

    Of the first label set alone, the total variation of a network trained for it; and the
    errors of SMC on all of them, on the third rung of its ladder.
    """
    seed, particles = entry["seed"], entry["smc"][2]["particles"]
    target, evidence = label_sets(seed, size.tests)
    truth = _Truth(target, evidence)
    found = train(target, truth.evidence[0], BALANCE, size.alone_steps, seed=seed)
    drawn = truth.errors(smc(target, truth.evidence, particles, seed=seed))
    both = {name: (entry["smc"][2][name], drawn[name]) for name in MEASURES}
    fresh = _distance(found, truth.evidence[0])
    return {"total variation": (entry["alone"][0]["tv"], fresh)} | both


def silent_misses(
    recipe: str, seeds: range, size: Size, confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """Return what became of networks trained on the planted mode, one per seed.

    Of each the ESS of its draws as a share, the upper Clopper–Pearson limit at level
    1 − `confidence` of P(harm in the last context) from these draws without their weights, and
    what q itself gives that harm.
    """
    target, evidence = planted_mode()
    truth = _Truth(target, evidence[None])
    anneal, explore = RECIPES[recipe]
    found = train_each(
        target, evidence, seeds, size.miss_steps, 32, 32, anneal=anneal, explore=explore
    )
    entry = {"recipe": recipe, "harm": float(truth.harm[0, -1]), "draws": size.draws}
    columns = {"ess": [], "bound": [], "q": []}
    for seed, learned in zip(seeds, found, strict=True):
        drawn = learned.draw(evidence, size.draws, seed)
        hits = int(target.covered(drawn.sets[0])[:, -1].sum())
        columns["ess"].append(float(drawn.ess[0]))
        columns["bound"].append(upper_limit(hits, size.draws, confidence))
        columns["q"].append(float(np.exp(learned.exact(evidence)) @ truth.covered[:, -1]))
    return entry | columns


def upper_limit(hits: int, draws: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper–Pearson limit of a share at level 1 − `confidence`."""
    return 1.0 if hits == draws else float(beta.ppf(1 - confidence, hits + 1, draws - hits))


def recorded() -> dict[str, Any]:
    """Return the recorded run of `tests/benchmarks/amortised.py`."""
    return recorded_run("amortised")


def kept(path: Path, key: dict, compute: Callable[[], dict]) -> dict:
    """Return the piece in `path` if made with `key`; else compute it and write it there."""
    key = json.loads(json.dumps(key))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["key"] == key:
            return found["piece"]
    piece = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as fresh:
        fresh.write_text(json.dumps({"key": key, "piece": piece}), "utf-8")
    return piece


def log_ratio(
    entry: dict,
    name: str,
    label_sets: int,
    measure: str,
    drawing: float = 0.0,
    average: bool = False,
) -> float:
    """Return the log of a learned posterior's error over that of SMC at equal compute.

    Training is shared among the label sets; SMC has as many CPU seconds per label set.
    More draws of the network than were recorded lower its error as one over their root.

    Parameters
    ----------
    entry : dict
        Of one seed.
    name : str
        An objective, or `ALONE` for networks that are trained for one label set each.
    label_sets : int
    measure : str
        "log Z" or "harm".
    drawing : float
        Least CPU seconds that go into draws, over those of training per label set. 0: the
        recorded draws and no more.
    average : bool
        Whether SMC averages runs as far as its compute goes, or is run once.
    """
    row = alone(entry) if name == ALONE else entry["learned"][name]
    training = row["train seconds"] / label_sets
    seconds = max(row["seconds"], drawing * training)
    error = row[measure] / np.sqrt(seconds / row["seconds"])
    return float(np.log(error / within(entry, training + seconds, average)[measure]))


def log_ratios(
    entries: Iterable[dict], name: str, label_sets: int, measure: str, **options: float
) -> np.ndarray:
    """Return `log_ratio` of each entry, (entries,), with the options it takes."""
    return np.array(
        [log_ratio(entry, name, label_sets, measure, **options) for entry in entries]
    )


def within(entry: dict, budget: float, average: bool = False) -> dict:
    """Return what SMC reaches within `budget` CPU seconds per label set.

    It is the dearest rung of the ladder that costs no more (the cheapest, if none does), run
    once. With `average` it is run as often as the budget allows: the error of an average is
    that of one run over the root of their number.
    """
    ladder = entry["smc"]
    rung = max(
        (row for row in ladder if row["seconds"] <= budget),
        key=lambda row: row["particles"],
        default=ladder[0],
    )
    runs = max(1.0, budget / rung["seconds"]) if average else 1.0
    return rung | {"runs": runs} | {name: rung[name] / np.sqrt(runs) for name in MEASURES}


def alone(entry: dict) -> dict:
    """Return the errors and mean costs of the networks that have one label set each."""
    rows = entry["alone"]
    found = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    squares = {key: np.sqrt(np.mean([row[key] ** 2 for row in rows])) for key in MEASURES}
    return found | {key: float(value) for key, value in squares.items()}


MEASURES = "log Z", "harm"


class _Truth:
    """The exact posterior of several label sets, and how far draws are from it."""

    def __init__(self, target: SetTarget, evidence: np.ndarray):
        self.target, self.evidence = target, evidence
        self.sets = target.all_sets()
        self.covered = target.covered(self.sets)
        weights = np.stack([target.log_weight(self.sets, each) for each in evidence])
        largest = weights.max(axis=1, keepdims=True)
        self.log_z = (largest + np.log(np.exp(weights - largest).sum(1, keepdims=True)))[:, 0]
        self.log_p = weights - self.log_z[:, None]
        self.harm = np.exp(self.log_p) @ self.covered

    def errors(self, drawn: WeightedSets, rows=slice(None)) -> dict[str, float]:
        """Root mean square errors of log Z and of P(harm), over label sets and contexts."""
        gaps = drawn.log_z - self.log_z[rows], drawn.harm(self.target) - self.harm[rows]
        rms = (float(np.sqrt(np.mean(gap**2))) for gap in gaps)
        return dict(zip(MEASURES, rms, strict=True))

    def exact_draws(self, count: int, rng: np.random.Generator) -> float:
        """Root mean square error of P(harm) from `count` exact draws."""
        gaps = []
        for log_p, harm in zip(self.log_p, self.harm, strict=True):
            p = np.exp(log_p)
            rows = rng.choice(len(p), size=count, p=p / p.sum())
            gaps.append(self.covered[rows].mean(axis=0) - harm)
        return float(np.sqrt(np.mean(np.square(gaps))))


def _about(found: Learned, truth: _Truth, size: Size, seed: int, rng) -> dict[str, Any]:
    tv, missed, residuals = [], [], []
    for evidence, log_p in zip(truth.evidence, truth.log_p, strict=True):
        log_q = found.exact(evidence)
        p = np.exp(log_p)
        tv.append(float(0.5 * np.abs(np.exp(log_q) - p).sum()))
        missed.append(float(p @ (log_q < log_p - np.log(100))))
        residuals.append(np.abs(log_q - log_p))
    drawn, seconds = _timed(lambda: found.draw(truth.evidence, size.draws, seed))
    residuals, log_p = np.concatenate(residuals), truth.log_p.ravel()
    bins = {"above 1e-2": log_p > np.log(1e-2), "below 1e-6": log_p < np.log(1e-6)}
    far = LabelSets(LAW.noise, 200, 200).draw(found.target, 20, seed=2000 + seed)[1]
    outside = [_distance(found, each) for each in far]
    return {
        "tv": tv,
        "missed": missed,
        "ess": [float(each) for each in drawn.ess],
        "residual": {k: float(np.quantile(residuals[rows], 0.9)) for k, rows in bins.items()},
        "exact draws": truth.exact_draws(size.draws, rng),
        "outside": outside,
        "train seconds": found.seconds,
        "seconds": seconds / size.tests,
    } | truth.errors(drawn)


def _alone(truth: _Truth, size: Size, seed: int, tell) -> list[dict]:
    rows = []
    for i in range(size.alone):
        found = train(truth.target, truth.evidence[i], BALANCE, size.alone_steps, seed=seed)
        drawn, seconds = _timed(lambda f=found, i=i: f.draw(truth.evidence[i], size.draws, i))
        row = {"train seconds": found.seconds, "seconds": seconds}
        row["tv"] = _distance(found, truth.evidence[i])
        rows.append(row | truth.errors(drawn, slice(i, i + 1)))
        tell(f"label set {i} alone, {found.seconds:.0f} CPU s")
    return rows


def _distance(found: Learned, evidence: np.ndarray) -> float:
    exact = np.exp(found.target.posterior(evidence))
    return float(0.5 * np.abs(np.exp(found.exact(evidence)) - exact).sum())


def _timed(task: Callable[[], WeightedSets]) -> tuple[WeightedSets, float]:
    """The result of a task and its CPU seconds the second time, when nothing is compiled."""
    task()
    begun = time.process_time()
    found = task()
    return found, time.process_time() - begun
