"""A recorded run on what learning theory predicts: odds of regions, members, functions.

`measure` makes the record from `elkutils.study.regions` and
`elkutils.study.boolean_functions`, piece by piece, so that an interrupted run continues;
``tests/benchmarks/learning_theory.py`` writes it. `drift`, `gaps`, `closed` and `agreements`
turn a record into what the claims are judged on, one value per stream or lesson.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import expit

from elkutils.evaluation import Interval
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.training import Plan
from elkutils.ledger import recorded_run
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
    "gradient descent": Training("gradient descent", 0.05, 1000),
    "Adam": Training("Adam", 0.01, 1000),
    "SGD": Training("SGD", 0.05, 1000),
}
LONG = {
    "gradient descent": Training("gradient descent", 0.05, 100_000),
    "SGD, step 0.05": Training("SGD", 0.05, 100_000),
    "SGD, step 0.2": Training("SGD", 0.2, 100_000),
    "Langevin": Training("Langevin", 0.01, 100_000),
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
    patience: int = 100_000
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
    problem: Problem, plan: Training, streams: range, members: int, counts: tuple[int, ...]
) -> dict:
    """Return which share of members end in the first region, (streams, len(counts)).

    "unfinished" is the share whose loss on noise-free labels is above 0.02 nats per row.

    Raises
    ------
    ValueError
        Unless the last count is that of `COUNTS`: the rows would be those of another stream.
    ArithmeticError
        If a member diverges.
    """
    if counts[-1] != COUNTS[-1]:
        raise ValueError(f"counts is {counts}; the last has to be {COUNTS[-1]}")
    told = [stream(problem, counts, s) for s in streams]
    sums = [each for found, _, _ in told for each in found]
    rows = [(X, y) for _, X, y in told for _ in counts]
    start = [prior_draws(problem, members, s) for s in streams for _ in counts]
    ends = train(problem, plan, sums, rows, np.array(start), streams[0])
    if not np.isfinite(ends).all():
        raise ArithmeticError(f"members of {problem.name} diverged: {plan}")
    flat = ends.reshape(-1, problem.size)
    first = np.asarray(jax.vmap(problem.side)(flat)) > 0
    away = np.asarray(jax.vmap(problem.features)(flat)) - np.array(problem.truth)
    loss = 0.5 * np.einsum("ij,jk,ik->i", away, sums[-1].gram / sums[-1].n, away)
    form = len(streams), len(counts), members
    return {
        "share": first.reshape(form).mean(axis=-1),
        "unfinished": (loss > 0.02).reshape(form).mean(axis=-1),
    }


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
    task = _task(seed, counts)
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

    def run(name, compute, *given):
        return _told(parts(name, partial(compute, *given)))

    found: dict[str, Any] = {
        "odds": {},
        "short": {},
        "before": {},
        "long": {},
        "lessons": {},
        "tasks": {},
    }
    seeds = range(FIRST, FIRST + size.trained)
    for name, problem in (PROBLEMS | {LEVEL.name: LEVEL}).items():
        found["odds"][name] = [
            run(f"odds-{name}-{s}", posterior_odds, problem, s, size.particles)
            for s in range(FIRST, FIRST + size.streams.get(name, size.trained))
        ]
        for label, plan in SHORT.items():
            given = size.members, size.counts
            found["short"][f"{name}, {label}"] = run(
                f"short-{name}-{label}", shares, problem, plan, seeds, *given
            )
    given = size.patient, (size.counts[0], size.counts[-1])
    for name, problem in PROBLEMS.items():
        before = SHORT["gradient descent"]
        found["before"][name] = run(f"before-{name}", shares, problem, before, seeds, *given)
        for label, plan in LONG.items():
            plan = Training(plan.optimiser, plan.rate, size.patience)
            found["long"][f"{name}, {label}"] = run(
                f"long-{name}-{label}", shares, problem, plan, seeds, *given
            )
    for network, draws in ((functions.NETWORK, size.counted), (WIDE, size.counted // 4)):
        width = network.widths[0]
        counts = np.array(
            [run(f"prior-{width}-{i}", _counted, draws, i, network)["counts"] for i in range(4)]
        )
        tasks = [_task(s, counts) for s in range(10, 10 + size.lessons)]
        found["tasks"][str(width)] = [
            {"rows": task.rows.tolist(), "labels": task.labels.tolist()} for task in tasks
        ]
        for name in (key for key, (taught, _) in TAUGHT.items() if taught == network):
            found["lessons"][name] = [
                run(f"lesson-{name}-{s}", lesson, s, name, counts, size.pupils)
                for s in range(10, 10 + size.lessons)
            ]
    return found


def _task(seed, counts) -> functions.Lesson:
    return functions.lesson(seed, counts.sum(axis=0), 200)


def _counted(draws, seed, network) -> dict:
    return {"counts": functions.prior_counts(draws, seed, network)}


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
    return recorded_run("learning-theory")


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


def away(record: Mapping, shares: Mapping, name: str, counts: tuple) -> np.ndarray:
    """Return the share of members less that of the posterior, (streams, len(counts)).

    Parameters
    ----------
    record : mapping
    shares : mapping
        What the record has of one training.
    name : str
        Of the problem.
    counts : tuple of int
        At which members were trained.
    """
    found = np.array(shares["share"])
    return found - posterior_shares(record, name, counts)[: len(found)]


def gaps(record: Mapping, name: str, label: str, counts: tuple) -> np.ndarray:
    """Return the largest distance of the two shares over n, (streams,), short training."""
    found = away(record, record["short"][f"{name}, {label}"], name, counts)
    return np.abs(found).max(axis=1)


def closed(record: Mapping, name: str, label: str, ends: tuple[int, int]) -> np.ndarray:
    """Return which part of gradient descent's gap the long training closes, (streams,).

    Both are gaps of the same members, from the same starts.

    Parameters
    ----------
    ends : (int, int)
        The numbers of rows at which they were trained.
    """
    before = away(record, record["before"][name], name, ends)
    after = away(record, record["long"][f"{name}, {label}"], name, ends)
    return 1 - np.abs(after).max(axis=1) / np.abs(before).max(axis=1)


def closing(record: Mapping, name: str, label: str, ends: tuple[int, int]) -> Interval:
    """Return Student's interval of `closed` over streams, wide enough for one member's move.

    Where no member of any stream moved, nothing scatters, though a larger ensemble might have
    one that does.
    """
    found = Interval.of_mean(closed(record, name, label, ends))
    gap = np.abs(away(record, record["before"][name], name, ends)).max(axis=1).mean()
    least = 1 / (record["size"]["patient"] * gap)
    return replace(
        found,
        lower=min(found.lower, found.estimate - least),
        upper=max(found.upper, found.estimate + least),
    )


def agreements(record: Mapping, name: str) -> list[Agreement]:
    """Return how alike training and prior are in each lesson."""
    return [
        functions.agreement(
            tuple(np.array(each["members"])), tuple(np.array(each["prior"])[:3])
        )
        for each in record["lessons"][name]
    ]


def lesson_control(
    record: Mapping, name: str, power: float = 1.0, noise: float = 0.0
) -> Callable[[np.random.Generator], dict[str, Interval]]:
    """Return a control for `elkutils.study.controls.shared`: made-up members in each lesson.

    They are drawn with the fourth count of the prior as their probabilities, to a power and
    times exp(noise · N(0, 1)).

    Parameters
    ----------
    record : mapping
    name : str
        Whose lessons are used.
    power, noise : float
    """
    lessons = [np.array(each["prior"]) for each in record["lessons"][name]]
    members = int(np.array(record["lessons"][name][0]["members"]).sum())

    def run(rng):
        found = []
        for one, other, choice, planted in lessons:
            proba = planted**power * np.exp(noise * rng.standard_normal(len(planted)))
            halves = functions.drawn(proba, members, rng)
            found.append(functions.agreement(halves, (one, other, choice)))
        return means(found)

    return run


def means(found: list[Agreement]) -> dict[str, Interval]:
    """Return the mean rank correlation and the mean slope of some lessons."""
    return {
        name: Interval.of_mean([getattr(each, name) for each in found])
        for name in ("rank", "slope")
    }


def lazy_sd(tangent: np.ndarray, prior: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the sd of trained members on the other rows, in the lazy limit.

    Members are f₀ − Θ(·, X)Θ(X, X)⁻¹(f₀(X) − y) with f₀ ~ N(0, K) (Lee, Xiao, Schoenholz et
    al. 2019, *Wide neural networks of any depth evolve as linear models under gradient
    descent*). With Θ = K that is the noise-free posterior of K.

    Parameters
    ----------
    tangent : (N, N) array
        Θ, the kernel of the gradients of what is trained.
    prior : (N, N) array
        K, the covariance of the starts.
    shown : (n,) int array
        Rows with labels.

    Returns
    -------
    (N − n,) array
    """
    rest = np.setdiff1d(np.arange(len(prior)), shown)
    back = np.zeros((len(rest), len(prior)))
    back[:, rest], back[:, shown] = np.eye(len(rest)), -lazy_weights(tangent, shown)
    return np.sqrt(np.einsum("ij,jk,ik->i", back, prior, back))


def lazy_weights(tangent: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return Θ(·, X)Θ(X, X)⁻¹, (N − n, n): what the labels add to the mean of the other rows.

    Parameters
    ----------
    tangent : (N, N) array
        Θ.
    shown : (n,) int array
        Rows with labels.
    """
    rest = np.setdiff1d(np.arange(len(tangent)), shown)
    return np.linalg.solve(tangent[np.ix_(shown, shown)], tangent[np.ix_(shown, rest)]).T
