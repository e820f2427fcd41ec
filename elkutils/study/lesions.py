"""Lesions of a language model beside two controls: recorded once, judged later.

`measure` bypasses sublayers of three networks on the same statements of one seed: SmolLM2; a
true ensemble of 16 small networks; and a chain of 32 sublayers without skip connections. The
two learn, from SmolLM2's stream after `LAYER`, the next token of the training statements, and
after the full stop whether the statement is true. A reporter is fitted to what each has written
after 32 sublayers, and asked again when some are bypassed. `recorded` returns the entries that
``tests/benchmarks/lesions.py`` wrote.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elkutils.evaluation import Interval, PassRate, bootstrap, pooled_bootstrap
from elkutils.inference.draws import mean_log_odds
from elkutils.ledger import Criterion, recorded_run
from elkutils.reporters import BayesianLogistic
from elkutils.study import readings
from elkutils.study.controls import auroc_by_pairs, rates, redrawn
from elkutils.study.pooling import pooled
from elkutils.study.scaling import z_scored
from elkutils.study.tiny_heads import Parts, digest_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LAYER = 15
SUBLAYERS = 2 * (LAYER + 1)  # that have written when the reporter reads
QUARTER = SUBLAYERS // 4
MODEL, ENSEMBLE, CHAIN = "SmolLM2", "ensemble", "chain"
NETWORKS = MODEL, ENSEMBLE, CHAIN
TRUTH = 2  # classes that stand for "false" and "true", after the full stop


@dataclass(frozen=True)
class Size:
    """How much a run does for each seed.

    Attributes
    ----------
    statements : int
        On which losses are measured, whole cities.
    counts : tuple of int
        How many sublayers are bypassed at once.
    orders : int
        Random orders in which they are.
    steps : int
        Training steps of the controls.
    """

    statements: int
    counts: tuple[int, ...]
    orders: int
    steps: int


SIZES = {
    "quick": Size(4, (QUARTER,), 1, 60),
    "book": Size(16, (1, 2, 4, QUARTER, 16), 3, 300),
}


@dataclass(frozen=True, eq=False)
class Statements:
    """Statements of one seed: those to train on, and held-out ones.

    Attributes
    ----------
    texts : dict of str to list of str
        "train" and "held out".
    y, groups : dict of str to (n,) array
    X : dict of str to (n, d) array
        SmolLM2's stream after `LAYER` at the full stop, intact.
    """

    texts: Mapping[str, list[str]]
    y: Mapping[str, np.ndarray]
    groups: Mapping[str, np.ndarray]
    X: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, model: "TransformerBridge", seed: int) -> "Statements":
        """Return statements about big cities, split by city as in every chapter."""
        read = readings.read(model, "cities", seed)["easy"]
        parts = dict(zip(("train", "held out"), read.split.train_test(seed=seed), strict=True))
        return cls(
            {kind: [read.split.texts[i] for i in rows] for kind, rows in parts.items()},
            {kind: read.y[rows] for kind, rows in parts.items()},
            {kind: read.groups[rows] for kind, rows in parts.items()},
            {kind: np.asarray(read.X[LAYER][rows]) for kind, rows in parts.items()},
        )

    def few(self, count: int) -> np.ndarray:
        """Return the rows of the first held-out cities with `count` statements together."""
        groups = self.groups["held out"]
        names = np.unique(groups)[: max(1, count // 2)]
        return np.flatnonzero(np.isin(groups, names))


def measure(
    model: "TransformerBridge",
    seed: int,
    size: Size,
    folder: str | Path,
    tell: Callable = lambda line: None,
) -> dict[str, Any]:
    """Return the entry of one seed, as JSON takes it: `decoded` has it as arrays.

    Parameters
    ----------
    model : TransformerBridge
        SmolLM2.
    seed : int
    size : Size
    folder : path
        Where parts are kept; a call with the same arguments continues from there.
    tell : callable
        Takes a line of progress.

    Returns
    -------
    dict
        "loss": by network, (1 + sublayers, statements) in nats per token, the intact network
        first. "score": by network, (1 + orders · counts, held out), log odds of the reporter,
        the intact network first, then the orders, each with its counts.
    """
    asked = Statements.of(model, seed)
    rows = asked.few(size.statements)
    subjects = {MODEL: _Language(model, asked)}
    for name, make in (("ensemble", ensemble_plan), ("chain", chain_plan)):
        subjects[name] = _Small(model, asked, make(size.steps), seed)
    key = digest_of({}, seed, size, asked.texts, LAYER)
    parts = Parts(folder, key, tell)
    found: dict[str, Any] = {"loss": {}, "score": {}}
    for name, subject in subjects.items():
        losses = parts(f"losses, {name}", lambda s=subject: {"x": s.losses(rows)})["x"]
        found["loss"][name] = np.round(losses, 4).tolist()
        every = [(), *subsets(size, seed)]
        scores = [
            parts(f"{name}, subset {i}", lambda s=subject, b=some: {"x": s.scores(b)})["x"]
            for i, some in enumerate(every)
        ]
        found["score"][name] = np.round(scores, 3).tolist()
    y, groups = asked.y["held out"], asked.groups["held out"]
    about = {"seed": seed, "digest": key, "y": y.tolist(), "groups": groups.tolist()}
    return about | {"rows": rows.tolist()} | found


def subsets(size: Size, seed: int) -> list[list[int]]:
    """Return which of the 32 sublayers are bypassed at once: nested, order after order."""
    rng = np.random.default_rng((seed, SUBLAYERS))
    orders = [rng.permutation(SUBLAYERS) for _ in range(size.orders)]
    return [order[:count].tolist() for order in orders for count in size.counts]


def ensemble_plan(steps: int) -> "Any":
    """Return the plan of 16 networks of two sublayers each."""
    from elkutils.models.stacks import StackPlan

    return StackPlan(members=16, depth=SUBLAYERS // 16, width=64, steps=steps)


def chain_plan(steps: int) -> "Any":
    """Return the plan of one network of 32 sublayers."""
    from elkutils.models.stacks import StackPlan

    return StackPlan(members=1, depth=SUBLAYERS, width=128, steps=steps)


def bypassed_at(record: Mapping, entry: Mapping, count: int) -> list[list[int]]:
    """Return which sublayers an entry of a record bypassed, by order, `count` at once."""
    size = Size(**record["size"])
    at = list(size.counts).index(count)
    return subsets(size, entry["seed"])[at :: len(size.counts)]


class Reporters:
    """One reporter per member of a network, which answer with their mean probability.

    Parameters
    ----------
    X : (n, members · d) array
        What the intact members have written, side by side; it also scales what is asked.
    y : (n,) array of 0 and 1
    members : int
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, members: int = 1):
        self.raw, d = X, X.shape[1] // members
        options = {"prior_scale": 2 / np.sqrt(d), "chains": 8, "draws": 100, "seed": 0}
        self.each = [
            BayesianLogistic(**options).fit(part, y)
            for part in np.split(z_scored(X)[0], members, axis=1)
        ]

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        """Return the log odds (m,) of the mean probability at X (m, members · d)."""
        parts = np.split(z_scored(self.raw, X)[1], len(self.each), axis=1)
        found = [
            one.decision_function(part) for one, part in zip(self.each, parts, strict=True)
        ]
        return mean_log_odds(np.array(found))

    @property
    def direction(self) -> np.ndarray:
        """The first member's mean weights on what it has written, unscaled (d,)."""
        coef = self.each[0].coef_[0]
        spread = np.asarray(self.raw[:, : len(coef)], np.float64).std(axis=0)
        return coef / np.where(spread == 0, 1.0, spread)


@dataclass(frozen=True, eq=False)
class _Language:
    model: Any
    asked: Statements

    def losses(self, rows: np.ndarray, some: Sequence[str] | None = None) -> np.ndarray:
        from elkutils.models import lesions

        every = lesions.sublayers(self.model) if some is None else some
        texts = [self.asked.texts["held out"][i] for i in rows]
        wanted = [[], *([name] for name in every)]
        return lesions.losses(self.model, texts, wanted, progress=False)

    def scores(self, bypassed: Sequence[int]) -> np.ndarray:
        from elkutils.models import lesions

        names = lesions.sublayers(self.model, range(LAYER + 1))
        with lesions.bypassed(self.model, [names[j] for j in bypassed]):
            X = _at_full_stop(self.model, self.asked.texts["held out"])
        return self._reporters.log_odds(X)

    @cached_property
    def _reporters(self) -> Reporters:
        return Reporters(self.asked.X["train"], self.asked.y["train"])


def _at_full_stop(model, texts) -> np.ndarray:
    from elkutils.models import activations, resid_post

    (hook,) = resid_post(model, [LAYER])
    return np.asarray(activations(model, texts, [hook], progress=False)[hook])


class _Small:
    """An ensemble or a chain on SmolLM2's stream."""

    def __init__(self, model, asked, plan, seed):
        self.model, self.asked, self.plan, self.seed = model, asked, plan, seed

    @cached_property
    def _tokens(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """By kind of statement: stream, class of what follows, text, whether at its end."""
        from elkutils.models import resid_post, sequences
        from elkutils.models.tokens import encode_all

        (hook,) = resid_post(self.model, [LAYER])
        found, known = {}, {}
        for kind, texts in self.asked.texts.items():
            X = np.asarray(sequences(self.model, texts, [hook], progress=False)[hook])
            ids = [part.ids[1:] for part in encode_all(self.model, "texts", texts)]
            if kind == "train":
                seen = sorted({token for row in ids for token in row})
                known = {token: TRUTH + i for i, token in enumerate(seen)}
            y = self.asked.y[kind]
            ends = [
                [*(known.get(t, -1) for t in row[1:]), int(y[i])] for i, row in enumerate(ids)
            ]
            states = np.concatenate(
                [x[len(x) - len(row) :] for x, row in zip(X, ids, strict=True)]
            )
            text = np.repeat(np.arange(len(ids)), [len(row) for row in ids])
            last = np.concatenate([np.arange(len(row)) == len(row) - 1 for row in ids])
            found[kind] = np.concatenate(states), np.concatenate(ends), text, last
        self._classes = TRUTH + len(known)
        scaled = z_scored(found["train"][0], found["held out"][0])
        return {
            kind: (X.astype(np.float32), *found[kind][1:])
            for kind, X in zip(("train", "held out"), scaled, strict=True)
        }

    @cached_property
    def stack(self):
        from elkutils.models.stacks import Stack

        X, classes, _, _ = self._tokens["train"]
        made = Stack(self.plan, X.shape[1], self._classes, self.seed)
        return made.fit(X, classes)

    def losses(self, rows: np.ndarray) -> np.ndarray:
        X, classes, text, _ = self._tokens["held out"]
        kept = np.isin(text, rows) & (classes >= 0)
        place = np.searchsorted(rows, text[kept])
        counts = np.bincount(place, minlength=len(rows))
        found = []
        for bypassed in [(), *([j] for j in range(self.plan.sublayers))]:
            log_p = self.stack.log_proba(X[kept], bypassed)
            each = -log_p[np.arange(len(log_p)), classes[kept]]
            found.append(np.bincount(place, each, len(rows)) / counts)
        return np.array(found)

    def scores(self, bypassed: Sequence[int]) -> np.ndarray:
        X, _, _, last = self._tokens["held out"]
        return self._reporters.log_odds(self.stack.stream(X[last], bypassed))

    @cached_property
    def _reporters(self) -> Reporters:
        X, _, _, last = self._tokens["train"]
        return Reporters(self.stack.stream(X[last]), self.asked.y["train"], self.plan.members)


def recorded() -> dict[str, Any]:
    """Return the recorded run, its entries decoded: see ``tests/benchmarks/lesions.py``."""
    found = recorded_run("lesions")
    return found | {"entries": [decoded(entry) for entry in found["entries"]]}


def decoded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a file with its lists as arrays."""
    found = dict(entry) | {key: np.asarray(entry[key]) for key in ("y", "groups", "rows")}
    for name in ("loss", "score"):
        found[name] = {key: np.asarray(values) for key, values in entry[name].items()}
    return found


def rises(entries: Sequence[Mapping], network: str) -> np.ndarray:
    """Return how much the loss rises by each single lesion (sublayers,), in nats per token."""
    return np.mean(
        [(e["loss"][network][1:] - e["loss"][network][0]).mean(1) for e in entries], 0
    )


def loss_columns(entries: Sequence[Mapping], network: str) -> tuple[np.ndarray, ...]:
    """Return the rise by each lesion (sublayers, N), with groups and seeds (N,)."""
    return pooled(
        (e["seed"], e["loss"][network][1:] - e["loss"][network][0], e["groups"][e["rows"]])
        for e in entries
    )


def score_columns(
    entries: Sequence[Mapping], network: str, counts: Sequence[int], count: int
) -> tuple[np.ndarray, ...]:
    """Return labels (N,), scores (orders, N), groups and seeds, `count` sublayers bypassed.

    `counts` are those of the run's size; 0 is the intact network.
    """
    at = [0] if count == 0 else slice(1 + list(counts).index(count), None, len(counts))
    return pooled((e["seed"], e["y"], e["score"][network][at], e["groups"]) for e in entries)


def worst_rise(columns: tuple[np.ndarray, ...], **options: object) -> Interval:
    """Return the largest mean rise by one lesion, over the statements of all seeds."""
    rise, groups, seeds = columns
    options = {"groups": groups, "seeds": seeds, "centre": False, **options}
    return pooled_bootstrap(_largest, *rise, **options)


def _largest(*rise, weights):
    with np.errstate(invalid="ignore", divide="ignore"):  # no row was drawn: NaN
        return np.max(weights @ np.array(rise).T / weights.sum(axis=1, keepdims=True), axis=1)


def mean_auroc(columns: tuple[np.ndarray, ...], **options: object) -> Interval:
    """Return the AUROC, averaged over orders and seeds, with its interval."""
    y, scores, groups, seeds = columns
    return bootstrap(_mean_auroc, y, *scores, groups=groups, seeds=seeds, **options)


def _mean_auroc(y, *scores, weights):
    return np.mean([auroc_by_pairs(y, score, weights) for score in scores], axis=0)


def lesion_controls(
    rule: Criterion, interval: Callable, passing: tuple, failing: tuple
) -> tuple[PassRate, PassRate]:
    """Return how often a rule passes an ensemble and a chain, cities and seeds drawn again.

    Parameters
    ----------
    rule : Criterion
    interval : callable
        `worst_rise` or `mean_auroc`.
    passing, failing : tuples
        What it takes, of the ensemble and of the chain.
    """

    def run(columns: tuple) -> Callable:
        *values, groups, seeds = columns
        codes = np.unique(groups, return_inverse=True)[1]

        def once(rng: np.random.Generator) -> Interval:
            rows, fresh, again = redrawn(codes, seeds, rng)
            drawn = (*(value[..., rows] for value in values), fresh, again)
            return interval(drawn, resamples=200, seed=int(rng.integers(2**31)))

        return once

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "groups holds")  # a run may draw few cities
        return rates(rule, run(passing), run(failing))


def path_lengths(
    model: "TransformerBridge", texts: Sequence[str], direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of the gradient by path length (texts, 33), and of the whole (texts,).

    The gradient is that of direction · stream after `LAYER` at the last token, by the stream
    that enters the first block; its size is the norm over all tokens but the first.
    """
    from elkutils.models.lesions import path_gradients

    found, whole = [], []
    for text in texts:
        parts = path_gradients(model, text, LAYER, direction)[:, 1:]
        found.append(np.sqrt((parts**2).sum(axis=(1, 2))))
        whole.append(np.linalg.norm(parts.sum(axis=0)))
    return np.array(found), np.array(whole)
