"""A recorded run on what learning theory predicts: odds of regions, members, functions.

`measure` makes the record from `elkutils.study.regions` and
`elkutils.study.boolean_functions`, piece by piece, so that an interrupted run continues;
``tests/benchmarks/learning_theory.py`` writes it. `drift`, `gaps`, `closed` and `agreements`
turn a record into what the claims are judged on, one value per stream or lesson.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import expit

from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.training import Plan
from elkutils.ledger import reference_dir
from elkutils.study import boolean_functions as functions
from elkutils.study.boolean_functions import Agreement
from elkutils.study.regions import (
    CURVE,
    LEVEL,
    SENSORS,
    VALLEY,
    Problem,
    Training,
    curve_odds,
    prior_draws,
    region_odds,
    stream,
    train,
)
from elkutils.study.tiny_heads import Parts, digest_of

PROBLEMS = {problem.name: problem for problem in (CURVE, VALLEY, SENSORS)}
COUNTS = 1000, 3162, 10_000, 31_623, 100_000
SHORT = {
    "gradient descent": Training("gradient descent", 0.05, 2000),
    "Adam": Training("Adam", 0.01, 2000),
    "SGD": Training("SGD", 0.05, 2000),
}
LONG = {
    "gradient descent": Training("gradient descent", 0.05, 200_000),
    "SGD, step 0.05": Training("SGD", 0.05, 200_000),
    "SGD, step 0.2": Training("SGD", 0.2, 200_000),
    "Langevin": Training("Langevin", 0.01, 200_000),
}
FIRST = 5  # the first stream that was not seen in trials

STOP = float(np.log(2) / functions.SHOWN)  # mean loss at which no error is left
WIDE = MLP((128,), "relu", functions.NETWORK.weight_scale, functions.NETWORK.bias_scale)
TAUGHT = {
    "gradient descent": (functions.NETWORK, Plan(4000, 0.1, "sgd", target_loss=STOP, every=20)),
    "Adam": (functions.NETWORK, Plan(4000, 0.01, "adam", target_loss=STOP, every=20)),
    "SGD": (
        functions.NETWORK,
        Plan(4000, 0.1, "sgd", False, 2, False, target_loss=STOP, every=20),
    ),
    "Adam, to loss 0.001": (
        functions.NETWORK,
        Plan(4000, 0.01, "adam", target_loss=0.001, every=20),
    ),
    "Adam, width 128": (WIDE, Plan(4000, 0.01, "adam", target_loss=STOP, every=20)),
}


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes
    ----------
    streams : dict of str to int
        Streams whose odds are computed, by problem.
    trained : int
        Of those, streams on which members are trained.
    members, patient : int
        Members of the short and of the long training.
    counts : tuple of int
        Numbers of rows at which members are trained; the long training has the first and the
        last.
    patience : int
        Steps of the long training.
    particles : int
        In each region.
    lessons, pupils : int
        Lessons, and members in each.
    counted : int
        Prior draws of each of four counts of functions; a quarter of them at width 128.
    """

    streams: Mapping[str, int]
    trained: int = 6
    members: int = 500
    patient: int = 64
    counts: tuple[int, ...] = (1000, 10_000, 100_000)
    patience: int = 200_000
    particles: int = 2048
    lessons: int = 10
    pupils: int = 2000
    counted: int = 2**21


SIZES = {
    "quick": Size(
        {"curve": 3, "valley": 2, "sensors": 2},
        2,
        40,
        16,
        (1000, 100_000),
        2000,
        256,
        2,
        500,
        2**18,
    ),
    "book": Size({"curve": 200, "valley": 100, "sensors": 48}),
}


def posterior_odds(problem: Problem, seed: int, particles: int, noisy: bool = True) -> dict:
    """Return a stream's log odds of the first region at `COUNTS`, and their errors."""
    sums, _, _ = stream(problem, COUNTS, seed, noisy)
    if problem.size == 1:
        found = curve_odds(problem, sums)
        return {"odds": found, "error": np.zeros(len(found))}
    found = region_odds(problem, sums, particles, 10, seed)
    return {"odds": found.log_odds, "error": found.error}


def shares(
    problem: Problem, plan: Training, seed: int, members: int, counts: tuple[int, ...]
) -> dict:
    """Return which share of a stream's members end in the first region, at each n.

    "unfinished" is the share whose loss on noise-free labels is above 0.02 nats per row.
    """
    sums, *rows = stream(problem, counts, seed)
    start = prior_draws(problem, members, seed)
    first, unfinished = [], []
    for each in sums:
        ends = train(problem, plan, each, rows, start, seed)
        if not np.isfinite(ends).all():
            raise ArithmeticError(f"members of {problem.name} diverged: {plan}")
        first.append(np.mean(np.asarray(jax.vmap(problem.side)(ends)) > 0))
        away = np.asarray(jax.vmap(problem.features)(ends)) - np.array(problem.truth)
        loss = 0.5 * np.einsum("ij,jk,ik->i", away, sums[-1].gram / sums[-1].n, away)
        unfinished.append(np.mean(loss > 0.02))
    return {"share": np.array(first), "unfinished": np.array(unfinished)}


def lesson(seed: int, name: str, counts: np.ndarray, pupils: int) -> dict:
    """Return the counts of one lesson: halves of the members (2, 64), the prior's (4, 64).

    Parameters
    ----------
    seed : int
    name : str
        A key of `TAUGHT`.
    counts : (4, 65536) array
        Of prior draws, for its network.
    pupils : int
    """
    network, plan = TAUGHT[name]
    task = functions.lesson(seed, counts.sum(axis=0), 200)
    halves = [
        functions.trained_counts(task, plan, pupils // 2, 1000 * seed + half, network)
        for half in (0, 1)
    ]
    prior = [functions.given(each, task) for each in counts]
    return {"members": np.array(halves), "prior": np.array(prior)}


def measure(
    size: Size, folder: str | Path, tell: Callable = lambda line: None
) -> dict[str, Any]:
    """Return the record, as JSON takes it.

    Parameters
    ----------
    size : Size
    folder : path
        Of the pieces.
    tell : callable
        Takes a line of progress.
    """
    settings = size, COUNTS, SHORT, LONG, TAUGHT, FIRST, tuple(PROBLEMS.values())
    parts = Parts(folder, digest_of({}, *map(_plain, settings)), tell)
    found: dict[str, Any] = {"odds": {}, "short": {}, "long": {}, "lessons": {}}
    ends = size.counts[0], size.counts[-1]
    for name, problem in (PROBLEMS | {LEVEL.name: LEVEL}).items():
        count = size.streams.get(name, size.trained)
        seeds = range(FIRST, FIRST + count)
        found["odds"][name] = [
            _told(parts(f"odds-{name}-{s}", lambda: posterior_odds(problem, s, size.particles)))
            for s in seeds
        ]
        for label, plan in SHORT.items():
            found["short"][f"{name}, {label}"] = [
                _told(
                    parts(
                        f"short-{name}-{label}-{s}",
                        lambda: shares(problem, plan, s, size.members, size.counts),
                    )
                )
                for s in seeds[: size.trained]
            ]
    for name, problem in PROBLEMS.items():
        for label, plan in LONG.items():
            plan = Training(plan.optimiser, plan.rate, size.patience)
            found["long"][f"{name}, {label}"] = [
                _told(
                    parts(
                        f"long-{name}-{label}-{s}",
                        lambda: shares(problem, plan, s, size.patient, ends),
                    )
                )
                for s in range(FIRST, FIRST + size.trained)
            ]
    for network, count in ((functions.NETWORK, size.counted), (WIDE, size.counted // 4)):
        counts = [
            parts(
                f"prior-{network.widths[0]}-{i}",
                lambda: {"counts": functions.prior_counts(count, i, network)},
            )["counts"]
            for i in range(4)
        ]
        for name in (key for key, (taught, _) in TAUGHT.items() if taught == network):
            found["lessons"][name] = [
                _told(
                    parts(
                        f"lesson-{name}-{s}",
                        lambda: lesson(s, name, np.array(counts), size.pupils),
                    )
                )
                for s in range(10, 10 + size.lessons)
            ]
    return found


def _told(part: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A part as JSON takes it: without its seconds, which are the machine's."""
    kept = {key: value for key, value in part.items() if "seconds" not in key}
    return {key: np.round(value, 5).tolist() for key, value in kept.items()}


def _plain(setting: object) -> str:
    """A setting's text, without the addresses of functions."""
    if isinstance(setting, tuple) and setting and isinstance(setting[0], Problem):
        return repr([(p.name, p.size, p.prior_scale, p.truth, p.exponents) for p in setting])
    return repr(setting)


def recorded() -> dict[str, Any]:
    """Return the recorded run: see ``tests/benchmarks/learning_theory.py``."""
    path = reference_dir() / "recorded" / "learning-theory.json"
    return json.loads(path.read_text(encoding="utf-8"))


def slopes(record: Mapping, name: str, corrected: bool = True) -> np.ndarray:
    """Return the slope of log odds on log n in each stream, (streams,).

    Parameters
    ----------
    record : mapping
        Of `measure`.
    name : str
        Of the problem.
    corrected : bool
        Whether Δm·log log n is taken off first.
    """
    problem, log_n = PROBLEMS[name], np.log(COUNTS)
    odds = np.array([each["odds"] for each in record["odds"][name]])
    if corrected:
        first, second = problem.multiplicities
        odds = odds - (first - second) * np.log(log_n)
    return np.polyfit(log_n, odds.T, 1)[0]


def drift(record: Mapping, name: str) -> np.ndarray:
    """Return how far the slope of each stream is from the predicted one, (streams,)."""
    first, second = PROBLEMS[name].exponents
    return slopes(record, name) - (second - first)


def posterior_shares(record: Mapping, name: str, counts: tuple[int, ...]) -> np.ndarray:
    """Return the posterior's share of the first region, (streams, len(counts))."""
    at = [COUNTS.index(n) for n in counts]
    return expit(np.array([each["odds"] for each in record["odds"][name]])[:, at])


def away(record: Mapping, kind: str, name: str, label: str, counts: tuple) -> np.ndarray:
    """Return the share of members less that of the posterior, (streams, len(counts)).

    Parameters
    ----------
    record : mapping
    kind : "short" or "long"
    name, label : str
        Of the problem and of the training.
    counts : tuple of int
        At which members were trained.
    """
    found = np.array([each["share"] for each in record[kind][f"{name}, {label}"]])
    return found - posterior_shares(record, name, counts)[: len(found)]


def gaps(record: Mapping, name: str, label: str, counts: tuple) -> np.ndarray:
    """Return the largest distance of the two shares over n, (streams,), short training."""
    return np.abs(away(record, "short", name, label, counts)).max(axis=1)


def closed(record: Mapping, name: str, label: str, counts: tuple) -> np.ndarray:
    """Return which part of gradient descent's gap the long training closes, (streams,).

    Parameters
    ----------
    counts : tuple of int
        At which the short training was measured; the gaps are those at its ends.
    """
    before = away(record, "short", name, "gradient descent", counts)[:, [0, -1]]
    after = away(record, "long", name, label, (counts[0], counts[-1]))
    return 1 - np.abs(after).max(axis=1) / np.abs(before).max(axis=1)


def agreements(record: Mapping, name: str) -> list[Agreement]:
    """Return how alike training and prior are in each lesson."""
    return [
        functions.agreement(
            tuple(np.array(each["members"])), tuple(np.array(each["prior"])[:3])
        )
        for each in record["lessons"][name]
    ]
