"""What it costs to come near a posterior's log score: CPU seconds, rung by rung.

A method climbs a *ladder*: at each rung it has spent so many CPU seconds, the choice of its
settings included, and has some log score on held-out rows. It has *arrived* where the score
stays within a margin of the posterior's. `linear` and `wide` climb for one seed, and
``tests/benchmarks/comparison_costs.py`` records them; `log_ratio` is what a claim is judged by.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from elkutils.evaluation import Interval, log_score
from elkutils.ledger import recorded_run
from elkutils.study.tiny_heads import LAYER, RATE, Sets

KINDS = "easy", "hard"
MARGIN = 0.02  # nats; C17a's on cities
NEVER = float(np.log(10))  # log ratio of an ensemble that never arrives
POSTERIOR, LIMIT, ENSEMBLE = "posterior", "infinite width", "tuned ensemble"
PLACES = ("linear", POSTERIOR), ("wide", POSTERIOR), ("wide", LIMIT)
FOLDS = 5
__all__ = ["LAYER", "Size", "arrival", "linear", "log_ratio", "mean_ladder", "recorded", "wide"]


@dataclass(frozen=True)
class Size:
    """How far the ladders reach.

    Attributes
    ----------
    draws : tuple of int
        Of each of four chains, at the rungs of HMC of a Gaussian process.
    bags : tuple of int
        Linear members at the rungs of their bag.
    trial : int
        Members of a bag in each part that is left out.
    width : int
        Of both hidden layers of the wide head.
    warmup : int
        Transitions of its one chain of HMC.
    kept : tuple of int
        Draws of that chain at its rungs.
    members : tuple of int
        Wide members at the rungs of their ensemble.
    starts : tuple of float
        Weight scales of their starts, among which the left-out loss chooses.
    steps : int
        Of their training, at most.
    """

    draws: tuple[int, ...] = (25, 100, 500)
    bags: tuple[int, ...] = (4, 8, 16, 32, 64)
    trial: int = 8
    width: int = 512
    warmup: int = 100
    kept: tuple[int, ...] = (5, 10, 20, 40, 70, 100)
    members: tuple[int, ...] = (2, 4, 8)
    starts: tuple[float, ...] = (0.5, 1.0, 2.0)
    steps: int = 150


SIZES = {
    "quick": Size((10, 20), (2, 3), 2, 8, 10, (2, 10), (2,), (1.0, 2.0), 20),
    "book": Size(),
    "full": Size(),
}


def linear(sets: Sets, seed: int, size: Size) -> dict[str, np.ndarray]:
    """Return the ladders of the linear head, each (rungs, 1 + kinds).

    The first column holds CPU seconds, the others the log score on each of `KINDS`.

    Parameters
    ----------
    sets : mapping of str to (X (n, d), y (n,), groups (n,))
        "train" and `KINDS`, as `elkutils.study.tiny_heads.read` returns them.
    seed : int
    size : Size
    """
    from elkutils.inference.networks.mlp import MLP

    return {
        POSTERIOR: _process_ladder(MLP(()), sets, seed, size.draws),
        ENSEMBLE: _bag_ladder(sets, seed, size),
    }


def wide(sets: Sets, seed: int, size: Size) -> dict[str, np.ndarray]:
    """Return the ladders of the wide head, like `linear`; "posterior" is HMC over weights."""
    from elkutils.inference.networks.infinite import choose_scale
    from elkutils.inference.networks.mlp import MLP

    X, y, _ = sets["train"]
    watch = _Watch()
    scale = choose_scale(MLP((1, 1)), X, y).scale
    chosen = watch.seconds
    network = MLP((size.width, size.width), weight_scale=scale)
    return {
        POSTERIOR: _chain_ladder(network, sets, seed, size, chosen),
        LIMIT: _process_ladder(MLP((1, 1)), sets, seed, size.draws),
        ENSEMBLE: np.array([_trained(network, sets, seed, size, k) for k in size.members]),
    }


class _Watch:
    """CPU seconds since it was made."""

    def __init__(self):
        self.begun = time.process_time()

    @property
    def seconds(self) -> float:
        return time.process_time() - self.begun


def _rung(sets: Sets, seconds: float, answer: Callable) -> list[float]:
    """Seconds and scores of a bag; `answer` returns log odds (draws, n) of rows."""
    scores = []
    for kind in KINDS:
        X, y, _ = sets[kind]
        scores.append(float(log_score(y, expit(answer(X)).mean(axis=0))))
    return [seconds, *scores]


def _process_ladder(network, sets, seed, draws) -> np.ndarray:
    """HMC of a Gaussian process, the scale of its prior chosen by evidence."""
    from elkutils.inference.networks import infinite

    X, y, _ = sets["train"]
    watch = _Watch()
    network = infinite.choose_scale(network, X, y).network
    chosen, rungs = watch.seconds, []
    for count in draws:
        watch = _Watch()
        found = infinite.sample(network, X, y, count, seed=seed)
        rungs.append(_rung(sets, chosen + watch.seconds, _flat(found)))
    return np.array(rungs)


def _chain_ladder(network, sets, seed, size, chosen) -> np.ndarray:
    """One chain of HMC over all weights; its transitions take equally long."""
    from elkutils.inference.networks import hmc

    X, y, _ = sets["train"]
    watch, most = _Watch(), max(size.kept)
    found = hmc.sample(network, X, y, most, size.warmup, chains=1, seed=seed)
    each = watch.seconds / (size.warmup + most)
    answers = {id(sets[kind][0]): _flat(found)(sets[kind][0]) for kind in KINDS}
    return np.array(
        [
            _rung(sets, chosen + each * (size.warmup + k), lambda X, k=k: answers[id(X)][:k])
            for k in size.kept
        ]
    )


def _flat(draws) -> Callable:
    """Log odds (draws, n) of rows by the draws of all chains."""
    return lambda X: np.concatenate(draws.log_odds(X))


def _bag_ladder(sets, seed, size) -> np.ndarray:
    """MAPs on their own resamples of the groups; their prior scale by the groups left out."""
    from elkutils.inference.logistic import row_space
    from elkutils.inference.networks.infinite import SCALES

    X, y, groups = sets["train"]
    rng, watch = np.random.default_rng(seed), _Watch()
    basis = row_space(X)
    rows, scales = X @ basis, np.asarray(SCALES) / np.sqrt(X.shape[1])
    total = np.zeros(len(scales))
    for kept, out in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(X, y, groups):
        resamples = _resamples(groups[kept], size.trial, rng)
        for i, scale in enumerate(scales):
            told = _maps(rows[kept], y[kept], scale, resamples)(rows[out])
            total[i] += len(out) * log_score(y[out], expit(told).mean(axis=0))
    best, chosen, rungs = scales[total.argmax()], watch.seconds, []
    for count in size.bags:
        watch = _Watch()
        bag = _maps(rows, y, best, _resamples(groups, count, rng))
        rungs.append(_rung(sets, chosen + watch.seconds, lambda X, bag=bag: bag(X @ basis)))
    return np.array(rungs)


def _resamples(groups, count, rng) -> np.ndarray:
    """How often each row stands in each of `count` resamples of the groups (count, n)."""
    names, of = np.unique(groups, return_inverse=True)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), count)[:, of]


def _maps(X, y, scale, resamples) -> Callable:
    """Log odds (members, n) of rows by one MAP per resample."""
    from elkutils.inference.logistic import fit_map

    members, start = [], None
    for weights in resamples:
        fit = fit_map(X, y, scale, start=start, weights=weights)
        start = fit.coef, fit.intercept
        members.append(start)
    coefs, biases = (np.array(part) for part in zip(*members, strict=True))
    return lambda X: coefs @ X.T + biases[:, None]


def _trained(network, sets, seed, size, members) -> list[float]:
    """Wide members: the scale of their starts and their stop by a fifth left out."""
    from elkutils.inference.networks.network import draw_prior
    from elkutils.inference.networks.training import Plan, train_course

    X, y, groups = sets["train"]
    watch, plan = _Watch(), Plan(size.steps, RATE, "adam", every=5)
    names = np.random.default_rng((seed, 1)).permutation(np.unique(groups))
    out = np.isin(groups, names[: max(1, len(names) // FOLDS)])

    def course(scale, rows, plan, **options):
        head = replace(network, weight_scale=scale)
        start = draw_prior(head, members, X.shape[1], seed)
        return train_course(head, start, X[rows], y[rows], plan, seed=seed, **options)

    tried = {}
    for scale in size.starts:
        found = course(scale, ~out, plan, held_out=(X[out], y[out]))
        tried[float(found.held_out.mean(axis=0).min())] = scale, found.best_steps
    scale, steps = tried[min(tried)]
    bag = course(scale, np.ones(len(y), bool), replace(plan, steps=steps)).end
    return _rung(sets, watch.seconds, _flat(bag))


def recorded() -> dict[str, Any]:
    """Return the recorded run, with ladders as arrays: "entries" has one mapping per seed."""
    found = recorded_run("comparison-costs")
    for entry in found["entries"]:
        for head in {"linear", "wide"} & set(entry):
            entry[head] = {name: np.array(rungs) for name, rungs in entry[head].items()}
    return found


def mean_ladder(entries: Iterable[Mapping], head: str, method: str) -> np.ndarray:
    """Return a method's ladder (rungs, 1 + kinds), averaged over the seeds that have it."""
    return np.mean([entry[head][method] for entry in entries if head in entry], axis=0)


def arrival(
    entries: Sequence[Mapping], head: str, method: str, kind: str, margin: float = MARGIN
) -> int | None:
    """Return the first rung from which a method's mean score stays near the posterior's.

    The posterior's is the last rung of the Gaussian process: the linear head's own, or the
    infinite-width limit of the wide one.

    Parameters
    ----------
    entries : sequence of mappings
        One per seed, as `recorded` returns them.
    head : "linear" or "wide"
    method : str
    kind : one of `KINDS`
    margin : float
        In nats.

    Returns
    -------
    int or None
        None if it never arrives.

    Examples
    --------
    >>> rungs = {POSTERIOR: np.array([[1.0, -0.3, -0.6]])}
    >>> rungs[ENSEMBLE] = np.array([[1.0, -0.4, -0.7], [2.0, -0.3, -0.7]])
    >>> found = [{"linear": rungs}]
    >>> arrival(found, "linear", ENSEMBLE, "easy"), arrival(found, "linear", ENSEMBLE, "hard")
    (1, None)
    """
    column = 1 + KINDS.index(kind)
    judge = POSTERIOR if head == "linear" else LIMIT
    aim = mean_ladder(entries, head, judge)[-1, column] - margin
    short = mean_ladder(entries, head, method)[:, column] < aim
    if short[-1]:
        return None
    return int(np.flatnonzero(short)[-1] + 1) if short.any() else 0


def log_ratio(entries: Sequence[Mapping], head: str, judge: str, kind: str) -> Interval:
    """Return the log of the ensemble's CPU seconds to arrive over a posterior's, over seeds.

    An ensemble that never arrives counts as `NEVER`, without error; so does a posterior that
    never does, as the other way round. A head that was climbed with one seed only is left open:
    its interval reaches as far beyond 0 as the ratio is from it.

    Parameters
    ----------
    entries : sequence of mappings
    head : "linear" or "wide"
    judge : str
        How the posterior is drawn: `POSTERIOR` or `LIMIT`.
    kind : one of `KINDS`
    """
    found = log_ratios(entries, head, judge, kind)
    if sum(head in entry for entry in entries) < 2:
        one = float(np.mean(found))
        return Interval(one, -abs(one), abs(one))
    if np.ndim(found) == 0:
        return Interval(float(found), float(found), float(found), 1.0)
    return Interval.of_mean(found)


def log_ratios(entries: Sequence[Mapping], head: str, judge: str, kind: str) -> np.ndarray:
    """Return `log_ratio` of each seed (seeds,), or one number where one side never arrives."""
    rungs = {name: arrival(entries, head, name, kind) for name in (ENSEMBLE, judge)}
    if rungs[ENSEMBLE] is None:
        return np.float64(NEVER)
    if rungs[judge] is None:
        return np.float64(-NEVER)
    theirs, ours = (
        np.array([entry[head][name][rung, 0] for entry in entries if head in entry])
        for name, rung in rungs.items()
    )
    return np.log(theirs / ours)
