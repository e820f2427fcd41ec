"""Did it improve on ensembling? The recorded comparison, and what its claims are judged by.

`measure` teaches every method of `comparison_methods` one unit of `comparison_sets`, and
returns what a file keeps: scores at every place, and the log odds of the mean probability of
every row, from which any score can be computed anew. `choices` does so for other layers and
prior scales. ``tests/benchmarks/comparison.py`` records both; `recorded` decodes the file.
"""

import base64
import hashlib
import lzma
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as student

from elkutils.evaluation import (
    Interval,
    PassRate,
    attainable_margin,
    auroc,
    bootstrap,
    bootstrap_means,
    difference,
    fit_platt,
    holm,
    log_score,
    p_above,
    p_below,
    p_equivalent,
)
from elkutils.inference.draws import mean_log_odds
from elkutils.ledger import ALPHA, Criterion, recorded_run
from elkutils.reporters import BayesianLogistic, LogisticMAP
from elkutils.study import comparison_methods as methods
from elkutils.study.comparison_methods import (
    ALL,
    BAG,
    EQUAL,
    HMC,
    LIMIT,
    MAP,
    MODES,
    PLATT,
    SCORES,
    WIDTHS,
    Answer,
    Rows,
)
from elkutils.study.comparison_sets import (
    LAYERS,
    PLACES,
    Lesson,
    lesson,
)
from elkutils.study.controls import rates, redrawn
from elkutils.study.pooling import pooled
from elkutils.study.tuned_bags import modes, resampled

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

UNIT = 0.01  # of recorded log odds
FINE = 0.001  # unit of recorded shares of draws, and of mean log scores of rows
COIN = float(np.log(0.5))
MARGINS = {place: 0.05 for names in PLACES.values() for place in names}
MARGINS |= {"cities easy": 0.02, "cities hard": 0.02}
FEW = HMC, BAG, PLATT
HIDDEN = {width: methods.networks_of(width) for width in WIDTHS}  # posterior and tuned bag
AT_COST = {width: f"MLP {width}, bag at its cost" for width in WIDTHS}
LAYERED = {32: "hidden layer", 512: "wide layer"}  # what criteria of that width begin with
KEPT = {  # methods whose log odds are recorded, by number of labels; of others the scores are
    "20": (*FEW, *HIDDEN[32], *HIDDEN[512]),
    "50": (*FEW, *HIDDEN[32], *HIDDEN[512]),
    "100": (*FEW, *HIDDEN[32], *HIDDEN[512]),
    "all": (*FEW, MAP, ALL, EQUAL, *HIDDEN[32], AT_COST[32], *HIDDEN[512], AT_COST[512]),
}
SHORT = 4  # scores that are recorded with fewer than all labels, the first of `SCORES`
JUDGES = HMC, BAG, PLATT  # where none of them beats a coin, a place does not vote
FACTORS = "layer", "prior", "method"
SCALES = 0.5, 1.0, 2.0  # prior scales tried, in units of the cross-validated one
CHOSEN = MAP, HMC, MODES  # methods of which layer and prior are varied
EQUIVALENT, BAYES, ENSEMBLE, OPEN = (
    "equivalent",
    "Bayes improved",
    "ensemble improved",
    "undecided",
)
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def measure(found: Lesson, n: str, seed: int, part: Callable[[Rows], Any]) -> dict[str, Any]:
    """Return what is recorded of one unit taught by some of its rows.

    Parameters
    ----------
    found : Lesson
    n : str
        A key of ``found.sizes()``: how many rows to train on.
    seed : int
    part : callable
        Of `comparison_methods`: `Rows` → answers by method, or these and what was chosen.

    Returns
    -------
    dict
        ``rows``, ``seconds`` by method, what was chosen, and ``asked`` by place: ``scores`` (of
        fewer than all labels the first `SHORT`), ``log_odds`` of the methods in `KEPT`, and
        where all of HMC's draws are among them the ``share`` of these that give harm at least
        ½. Of a method with several bags the scores are means over them, and in place of log
        odds the mean log scores of the rows are kept, as ``row_scores``.
    """
    (X, y, groups), asked = found.scaled(found.sizes()[n])
    every = np.concatenate([rows[0] for rows in asked.values()])
    with methods.quiet():
        answers = part(Rows(X, y, groups, every, seed))
    answers, chosen = answers if isinstance(answers, tuple) else (answers, {})
    record = {"rows": len(y), **chosen, "asked": {}}
    record["seconds"] = {
        name: round(answer.seconds, 3)
        for name, answer in answers.items()
        if np.isfinite(answer.seconds)
    }
    begin = 0
    for place, (_, truth, _) in asked.items():
        span = slice(begin, begin + len(truth))
        begin = span.stop
        record["asked"][place] = _at_place(answers, truth, span, n)
    return record


def _at_place(answers: Mapping[str, Answer], y, span: slice, n: str) -> dict:
    count = len(SCORES) if n == "all" else SHORT
    scored, rows, kept = {}, {}, [name for name in KEPT[n] if name in answers]
    for name, answer in answers.items():
        bags = np.split(answer.log_odds[:, span], answer.bags)
        means = np.mean([methods.scores(y, bag)[:count] for bag in bags], axis=0)
        scored[name] = [_short(value) for value in means]
        if name in kept and answer.bags > 1:
            kept.remove(name)
            odds = [np.clip(mean_log_odds(bag), -LIMIT, LIMIT) for bag in bags]
            rows[name] = log_scores(y, np.stack(odds)).mean(axis=0)
    found = {"scores": scored}
    if rows:
        found["row_scores"] = {name: packed(some[None], FINE) for name, some in rows.items()}
    if kept:
        odds = [mean_log_odds(answers[name].log_odds[:, span]) for name in kept]
        found |= {"kept": kept, "log_odds": packed(np.stack(odds))}
    if ALL in kept:
        share = (answers[ALL].log_odds[:, span] >= 0).mean(axis=0)
        found["share"] = packed(share[None], FINE)
    return found


def log_odds_of(asked: Mapping) -> dict[str, np.ndarray]:
    """Return the log odds (m,) of the methods that a piece keeps at a place."""
    kept = asked.get("kept", ())
    return dict(zip(kept, unpacked(asked["log_odds"], len(kept)), strict=True)) if kept else {}


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")


def about_rows(found: Lesson) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return labels and groups of what is asked, as a file keeps them.

    Returns
    -------
    rows : dict of str to dict of str to str
        By place, labels as digits, and what the groups are filed under.
    groups : dict of str to str
        The groups, compressed, under their digests: many units share them.
    """
    rows, texts = {}, {}
    for place, (_, y, groups) in found.asked.items():
        text = _compressed("\n".join(map(str, groups)).encode())
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        rows[place], texts[key] = {"y": "".join(map(str, y.astype(int))), "groups": key}, text
    return rows, texts


def packed(values: np.ndarray, unit: float = UNIT) -> str:
    """Return numbers (k, m) in ±32 as text: multiples of a unit in two bytes, compressed.

    All first bytes stand before all second ones, which takes a third less room.

    Examples
    --------
    >>> unpacked(packed(np.array([[0.1234, -40.0]])), 1).tolist()
    [[0.12, -32.0]]
    """
    whole = np.rint(np.clip(values, -LIMIT, LIMIT) / unit).astype("<i2")
    return _compressed(whole[..., None].view(np.uint8).transpose(2, 0, 1).tobytes())


def unpacked(text: str, count: int, unit: float = UNIT) -> np.ndarray:
    """Undo `packed`, of an array with `count` rows."""
    parts = np.frombuffer(_expanded(text), np.uint8).reshape(2, count, -1)
    return np.ascontiguousarray(parts.transpose(1, 2, 0)).view("<i2")[..., 0] * unit


def _compressed(raw: bytes) -> str:
    return base64.b85encode(lzma.compress(raw, lzma.FORMAT_ALONE)).decode()


def _names(text: str) -> np.ndarray:
    return np.array(_expanded(text).decode().split("\n"))


def _expanded(text: str) -> bytes:
    return lzma.decompress(base64.b85decode(text))


def choices(
    model: "TransformerBridge", seed: int, split: int, seeds: Sequence[int]
) -> dict[str, dict[str, list]]:
    """Return log score and AUROC of cities by layer, prior scale and method.

    Returns
    -------
    dict of str to dict of str to list
        By place and score, nested lists (layers, priors, methods).
    """
    table = {place: [] for place in PLACES["cities"][:2]}
    for layer in LAYERS:
        (X, y, groups), asked = lesson(model, "cities", seed, split, layer, seeds).scaled()
        every = np.concatenate([asked[place][0] for place in table])
        rows, begin = Rows(X, y, groups, every, 100 * seed + split), 0
        with methods.quiet():
            tau = LogisticMAP("cv").fit(X, y, groups=groups).prior_scale_
            drawn = [_chosen(rows, scale * tau) for scale in SCALES]
        for place, by_layer in table.items():
            truth = asked[place][1]
            span = slice(begin, begin + len(truth))
            begin = span.stop
            by_layer.append([[_both(truth, f[:, span]) for f in each] for each in drawn])
    return {
        place: {
            name: np.round(np.array(values)[..., i], 4).tolist()
            for i, name in enumerate(("log score", "AUROC"))
        }
        for place, values in table.items()
    }


def _chosen(rows: Rows, tau: float) -> list[np.ndarray]:
    """Log odds of the methods of `CHOSEN` at a prior scale."""
    point = LogisticMAP(tau).fit(rows.X, rows.y)
    fitted = BayesianLogistic(tau, draws=8, seed=rows.seed).fit(rows.X, rows.y)
    drawn = fitted.coef_draws_ @ rows.asked.T + fitted.intercept_draws_[:, None]
    counts = resampled(rows.y, methods.MEMBERS, np.random.default_rng(rows.seed))
    bag = modes(rows.X, rows.y, tau, counts)
    return [methods.logit_of(point, rows), drawn, bag.log_odds(rows.asked)]


def _both(y, log_odds) -> tuple[float, float]:
    f = np.clip(mean_log_odds(log_odds), -LIMIT, LIMIT)
    return float(log_score(y, expit(f))), float(auroc(y, f))


@lru_cache(maxsize=1)
def recorded() -> dict[str, Any]:
    """Return the recorded run, decoded: see ``tests/benchmarks/comparison.py``."""
    return decoded(recorded_run("comparison"))


def decoded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its ``entries``; ``fresh``, ``judged`` and earlier ones stand apart.

    There is one per place, unit and number of labels. Each holds ``set``, ``unit``, ``place``,
    ``n`` ("20" to "all"), ``rows`` (how many that is), ``seed`` (of the unit, a whole number),
    ``y`` (m,), ``groups`` (m,), ``log_odds`` and ``scores`` by method, ``seconds`` by method
    and ``tau``; with all labels also ``share`` (m,), that of the posterior's draws that give
    harm at least ½, and ``row_scores`` by method of what has several bags. On fresh ones acting
    is judged, and on ``judged`` ones heads with a hidden layer, but those of 512 units at equal
    cost, on ``paid`` ones. A ``third`` and a ``fourth`` rule asked these of others, with too
    little power: of 32 hidden units, and of 512.
    """
    parts = {
        "entries": {"linear": "*", "process": "*", "networks": "*"},
        "fresh": {"acting": "*", "hidden": "*"},
        "judged": {"deeper": "*", "few": "*", "larger": "*/32", "wider": "*", "scarce": "*"},
        "paid": {"priced": "*", "wider": "comparisons/*"},
        "third": {"pool": "*"},
        "fourth": {"deeper": "*", "wide": "*", "larger": "*"},
    }
    return {**record} | {name: _entries(record, these) for name, these in parts.items()}


def _entries(record: Mapping[str, Any], parts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries of parts of a record, of each the pieces whose names match its pattern."""
    groups, entries = {key: _names(text) for key, text in record["groups"].items()}, {}
    for part, pattern in parts.items():
        for key, piece in record[part].items():
            if not fnmatch(key, pattern):
                continue
            name, unit, n = key.split("/")[:3]
            for place, asked in piece["asked"].items():
                rows = record["rows"][f"{name}/{unit}"][place]
                entry = entries.setdefault(
                    (name, unit, n, place), _begun(name, unit, n, place, piece, rows, groups)
                )
                entry["seconds"] |= piece["seconds"]
                entry["log_odds"] |= log_odds_of(asked)
                entry["row_scores"] |= {
                    k: unpacked(v, 1, FINE)[0] for k, v in asked.get("row_scores", {}).items()
                }
                entry["scores"] |= {
                    k: dict(zip(SCORES, v, strict=False)) for k, v in asked["scores"].items()
                }
                if "share" in asked:
                    entry["share"] = unpacked(asked["share"], 1, FINE)[0]
    return list(entries.values())


def _begun(name, unit, n, place, piece, rows, groups) -> dict[str, Any]:
    seed, split = map(int, unit.split("."))
    return {
        "set": name,
        "unit": unit,
        "seed": 100 * seed + split,
        "place": place,
        "n": n,
        "rows": piece["rows"],
        "tau": piece.get("tau"),
        "y": np.array([int(label) for label in rows["y"]]),
        "groups": groups[rows["groups"]],
        "log_odds": {},
        "row_scores": {},
        "scores": {},
        "seconds": {},
    }


def at(entries: Iterable[Mapping], place: str, n: str = "all") -> list[Mapping]:
    """Return the entries of a place and a number of labels, one per unit."""
    return [entry for entry in entries if entry["place"] == place and entry["n"] == n]


def row_scores(entry: Mapping, name: str) -> np.ndarray:
    """Return the log score (m,) of each row by a method's mean probability, in nats.

    Of a method with several bags it is the mean over them.
    """
    if name in entry.get("row_scores", ()):
        return entry["row_scores"][name]
    return log_scores(entry["y"], entry["log_odds"][name])


def log_scores(y: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return log P(y) (m,) of labels (m,) under log odds (m,), in nats.

    Examples
    --------
    >>> log_scores(np.array([0, 1]), np.array([0.0, 0.0])).round(2).tolist()
    [-0.69, -0.69]
    """
    return -np.logaddexp(0.0, np.where(y == 1, -log_odds, log_odds))


def gains(
    entries: Iterable[Mapping], ours: str, theirs: str | None, place: str, n: str = "all"
) -> Columns:
    """Return the log score of one method less that of another, with groups and seeds, (N,).

    Parameters
    ----------
    entries : iterable of mappings
    ours, theirs : str
        Methods; `theirs` None compares with a coin, whose score is −log 2.
    place, n : str
        As in `at`.
    """
    parts = []
    for entry in at(entries, place, n):
        other = COIN if theirs is None else row_scores(entry, theirs)
        parts.append((entry["seed"], row_scores(entry, ours) - other, entry["groups"]))
    return pooled(parts)


def mean_of(columns: Columns, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of values (N,) with its interval over groups and seeds."""
    values, groups, seeds = columns
    return bootstrap_means(values[:, None], groups, seeds, resamples, seed=seed)[0]


def score_gain(
    entries: Iterable[Mapping],
    statistic: Callable,
    ours: str,
    theirs: str,
    place: str,
    n: str = "all",
) -> Interval:
    """Return the difference of another score, such as the AUROC, with its interval.

    Parameters
    ----------
    entries : iterable of mappings
    statistic : callable
        Of labels and probabilities, as `elkutils.evaluation.bootstrap` takes it.
    ours, theirs, place, n : str
        As in `gains`.
    """
    parts = [
        (
            e["seed"],
            e["y"],
            *(expit(e["log_odds"][name]) for name in (ours, theirs)),
            e["groups"],
        )
        for e in at(entries, place, n)
    ]
    y, first, second, groups, seeds = pooled(parts)
    return bootstrap(difference(statistic), y, first, second, groups=groups, seeds=seeds)


def votes(
    entries: Iterable[Mapping], place: str, n: str = "all", judges: Sequence[str] = JUDGES
) -> bool:
    """Whether at a place the posterior, the bag or a third method beats a coin.

    It does where its interval of the log score lies above that of a coin.
    """
    return any(mean_of(gains(entries, name, None, place, n)).lower > 0 for name in judges)


def differences(
    entries: Iterable[Mapping], theirs: str = BAG, n: str = "all", ours: str = HMC
) -> dict[str, Interval]:
    """Return one method's log score less another's, with intervals, by place that has it."""
    entries = list(entries)
    return {
        place: mean_of(gains(entries, ours, theirs, place, n))
        for place in MARGINS
        if at(entries, place, n)
    }


def conditions(
    entries: Iterable[Mapping], theirs: str = BAG, sizes: Sequence[str] = ("all",)
) -> dict[str, Interval]:
    """Return what claims C17a to C17c are decided by: places that vote, by criterion.

    Parameters
    ----------
    entries : iterable of mappings
    theirs : str
        What the posterior is compared with.
    sizes : sequence of str
        Numbers of labels. With all of them the criteria are "cities" and "elsewhere", with
        fewer "gain".
    """
    entries, found = list(entries), {}
    for n in sizes:
        for place, value in differences(entries, theirs, n).items():
            if votes(entries, place, n):
                found[_condition(place, n)] = value
    return found


def _condition(place: str, n: str) -> str:
    return f"gain: n = {n}, {place}" if n != "all" else f"{part_of(place)}: {place}"


def part_of(place: str) -> str:
    """Return "cities" or "elsewhere": criteria have margins of their own for these."""
    return "cities" if MARGINS[place] < 0.05 else "elsewhere"


def hidden_gains(
    entries: Iterable[Mapping], width: int, n: str = "all", theirs: str | None = None
) -> dict[str, Columns]:
    """Return the posterior's log score less the tuned bag's with a hidden layer, by place.

    Parameters
    ----------
    entries : iterable of mappings
        Fresh or judged ones.
    width : int
    n : str
        Number of labels, as in `at`.
    theirs : str, optional
        Another rival than the tuned bag.

    Returns
    -------
    dict of str to (values, groups, seeds)
        As from `gains`, of the places that vote.
    """
    ours, bag = HIDDEN[width]
    some, found = hidden_entries(entries, width), {}
    for place in MARGINS:
        if at(some, place, n) and votes(some, place, n, (ours, bag, PLATT)):
            found[place] = gains(some, ours, theirs or bag, place, n)
    return found


def hidden_conditions(
    entries: Iterable[Mapping],
    width: int,
    theirs: str | None = None,
    sizes: Sequence[str] = ("all",),
    by_set: bool = False,
) -> dict[str, Columns]:
    """Return what C17a to C17c are decided by with a hidden layer, from `hidden_gains`.

    Parameters
    ----------
    entries : iterable of mappings
        Judged ones.
    width : int
    theirs : str, optional
    sizes : sequence of str
        As in `conditions`, whose criteria here begin with that of `LAYERED`.
    by_set : bool
        Whether each set has a criterion of its own.
    """
    found = {}
    for n in sizes:
        for place, columns in hidden_gains(entries, width, n, theirs).items():
            criterion, _, rest = _condition(place, n).partition(": ")
            if by_set:
                criterion = next(name for name in PLACES if place in PLACES[name])
            found[f"{LAYERED[width]}, {criterion}: width {width}, {rest}"] = columns
    return found


def hidden_entries(entries: Iterable[Mapping], width: int) -> list[Mapping]:
    """Return the entries that have heads with a hidden layer of this width."""
    return [entry for entry in entries if HIDDEN[width][0] in entry["log_odds"]]


def outcomes(values: Mapping[str, Interval], margins: Mapping[str, float]) -> dict[str, str]:
    """Return what each place comes to: `EQUIVALENT`, `BAYES`, `ENSEMBLE` or `OPEN`.

    Two one-sided tests against ± the place's margin show equivalence; an interval beyond the
    margin shows an improvement. Each of the three is judged at all places at once, by Holm's
    correction at `ALPHA`.

    Parameters
    ----------
    values : dict of str to Interval
        The posterior's score less the bag's, by place.
    margins : mapping of str to float

    Examples
    --------
    >>> narrow, wide = Interval(0.0, -0.01, 0.01), Interval(0.3, -0.1, 0.7)
    >>> outcomes({"a": narrow, "b": wide}, {"a": 0.05, "b": 0.05})
    {'a': 'equivalent', 'b': 'undecided'}
    """
    tests = {
        EQUIVALENT: p_equivalent,
        BAYES: p_above,
        ENSEMBLE: lambda value, margin: p_below(value, -margin),
    }
    shown = {
        name: holm([test(value, margins[place]) for place, value in values.items()])
        for name, test in tests.items()
    }
    return {
        place: next((name for name, p in shown.items() if p[i] <= ALPHA), OPEN)
        for i, place in enumerate(values)
    }


def attainable(value: Interval, places: int, power: float = 0.8) -> float:
    """Return the margin within which equivalence is shown with this power, in nats.

    For a normal estimate as precise as the measured one, of a difference that is 0, judged as
    one of `places` at the level of Holm's first step.

    Examples
    --------
    >>> round(attainable(Interval(0.3, 0.3 - 0.0196, 0.3 + 0.0196), 1), 3)
    0.032
    """
    error = (value.upper - value.lower) / 2 / norm.isf((1 - value.level) / 2)
    return attainable_margin(error, power, ALPHA / places)


def planted(
    rule: Criterion, columns: Columns, margin: float, places: int, resamples: int = 100
) -> tuple[PassRate, PassRate]:
    """Return how often a rule passes where nothing differs, and where twice the margin does.

    Differences of rows scatter as measured ones do, about the planted one; groups and seeds
    are drawn anew in each run.

    Parameters
    ----------
    rule : Criterion
    columns : (values, groups, seeds)
        A measured difference, from `gains`.
    margin : float
        In nats.
    places : int
        Judged as one of that many.
    resamples : int
        Of the bootstrap in each run.
    """
    values, groups, seeds = columns
    groups, seeds = (np.unique(ids, return_inverse=True)[1] for ids in (groups, seeds))
    values = values - mean_of((values, groups, seeds), resamples=40).estimate

    def run(mean: float) -> Callable[[np.random.Generator], Interval]:
        def once(rng: np.random.Generator) -> Interval:
            rows, fresh, again = redrawn(groups, seeds, rng)
            made = mean + values[rows], fresh, again
            return mean_of(made, resamples, int(rng.integers(2**31)))

        return once

    return rates(rule, run(0.0), run(2 * margin), places)


def control(
    rule: Criterion,
    entries: Iterable[Mapping],
    voting: Mapping[str, Interval],
    theirs: str = BAG,
    resamples: int = 100,
) -> tuple[PassRate, PassRate]:
    """Return `planted` at that of a criterion's places whose interval is narrowest.

    Parameters
    ----------
    rule : Criterion
    entries : iterable of mappings
    voting : dict of str to Interval
        The criterion's conditions, from `conditions`.
    theirs : str
    resamples : int
    """
    best = min(voting, key=lambda name: voting[name].upper - voting[name].lower)
    place, n = best.partition(": ")[2], "all"
    if place.startswith("n = "):
        n, _, place = place.removeprefix("n = ").partition(", ")
    columns = gains(entries, HMC, theirs, place, n)
    return planted(rule, columns, rule.margin, len(voting), resamples)


def control_at_median(
    rule: Criterion, columns: Mapping[str, Columns], places: int | None = None
) -> tuple[PassRate, PassRate]:
    """Return `planted` at that of a criterion's places whose interval is of median length.

    Parameters
    ----------
    rule : Criterion
    columns : mapping of str to (values, groups, seeds)
        By condition.
    places : int, optional
        Judged as one of that many; as many as there are columns by default.
    """
    middle = median_place({name: mean_of(found) for name, found in columns.items()})
    return planted(rule, columns[middle], rule.margin, places or len(columns))


def gain_in_hindsight(entries: Iterable[Mapping], ours: str, theirs: str, place: str) -> float:
    """Return the log score of one method less another's once doubt is set aside, in nats.

    Log odds of either are rescaled by the slope and intercept that suit the place's rows best,
    over all units. What is left is what one knows and the other does not.

    Parameters
    ----------
    entries : iterable of mappings
    ours, theirs : str
    place : str
        As in `at`.
    """
    some = at(entries, place)
    y = np.concatenate([entry["y"] for entry in some])
    best = []
    for name in (ours, theirs):
        f = np.concatenate([entry["log_odds"][name] for entry in some])
        fit = fit_platt(y, expit(f))
        best.append(log_score(y, expit(fit.slope * f + fit.intercept)))
    return float(best[0] - best[1])


def median_place(values: Mapping[str, Interval]) -> str:
    """Return the name of the interval of median length, of two the shorter.

    Examples
    --------
    >>> wide, narrow, wider = Interval(0, -2, 2), Interval(0, -1, 1), Interval(0, -3, 3)
    >>> median_place({"a": wide, "b": narrow, "c": wider})
    'a'
    """
    length = {name: value.upper - value.lower for name, value in values.items()}
    return sorted(length, key=length.get)[(len(length) - 1) // 2]


def effects(table: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return the standard deviation of each factor's main effect on a score.

    Parameters
    ----------
    table : (levels of the first factor, levels of the second, …) array
    names : sequence of str
        One per axis.

    Examples
    --------
    >>> effects(np.array([[0.0, 0.0], [2.0, 2.0]]), ("a", "b"))
    {'a': 1.0, 'b': 0.0}
    """
    axes = range(table.ndim)
    return {
        name: float(table.mean(axis=tuple(other for other in axes if other != i)).std())
        for i, name in enumerate(names)
    }


def choice_table(record: Mapping, place: str, score: str) -> np.ndarray:
    """Return a score of cities by unit, layer, prior scale and method: (20, 4, 3, 3)."""
    return np.array([found[place][score] for found in record["choices"].values()])


def base_table(entries: Iterable[Mapping], place: str, score: str) -> np.ndarray:
    """Return a score on the vault by predictor and method: (10, 3)."""
    return np.array(
        [[e["scores"][name][score] for name in (MAP, HMC, BAG)] for e in at(entries, place)]
    )


def compared(record: Mapping) -> dict[str, tuple[np.ndarray, tuple[str, ...], str]]:
    """Return, by place of the claim, a table of scores, what its axes are, and the rival.

    A score that is the same for all predictors, or for all but one, as an AUROC of 1, compares
    nothing and is left out.
    """
    found = {}
    for score in ("log score", "AUROC"):
        for place in PLACES["cities"][:2]:
            table = choice_table(record, place, score)
            for other in ("layer", "prior", "training set"):
                names = "training set", *FACTORS
                found[f"{place}, {score}, {other}"] = table, names, other
        for place in PLACES["vault"]:
            table = base_table(record["entries"], place, score)
            means = table.mean(axis=1)
            if np.sum(means != np.median(means)) > 1:
                found[f"{place}, {score}, base"] = table, ("base", "method"), "base"
    return found


def shares(record: Mapping, place: str, score: str) -> dict[str, float]:
    """Return the share of the variance of a score that each choice's main effect has.

    Training rows are parted in their false statements and their split; what is left is that of
    interactions, under ``together``.
    """
    table = choice_table(record, place, score)
    units = [key.split(".") for key in record["choices"]]
    found = {k: v**2 for k, v in effects(table, ("training set", *FACTORS)).items()}
    by_unit, whole = table.mean(axis=(1, 2, 3)), found.pop("training set")
    for i, name in enumerate(("false statements", "split")):
        _, of = np.unique([unit[i] for unit in units], return_inverse=True)
        means = np.bincount(of, by_unit) / np.bincount(of)
        found[name] = means[of].var()
    found["statements and split"] = max(0.0, whole - found["false statements"] - found["split"])
    total = table.var()
    found = {name: float(value / total) for name, value in found.items()}
    return found | {"together": 1 - sum(found.values())}


def method_against(table: np.ndarray, names: Sequence[str], other: str) -> Interval:
    """Return the log of the spread of a score over methods, over that over another choice.

    The interval is the jackknife's over the first axis, by Student's t.

    Parameters
    ----------
    table : array
        One axis per name; the first is of units: training sets or predictors.
    names : sequence of str
        One of them is "method".
    other : str
        Another.

    Examples
    --------
    >>> table = np.arange(8.0)[:, None] + np.array([0.0, 1.0])
    >>> found = method_against(table, ("base", "method"), "base")
    >>> found.upper < 0
    True
    """

    def ratio(part: np.ndarray) -> float:
        found = effects(part, names)
        return float(np.log(found["method"] / found[other]))

    whole, count = ratio(table), len(table)
    left = np.array([ratio(np.delete(table, unit, axis=0)) for unit in range(count)])
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    half = float(student.ppf(0.975, count - 1) * error)
    return Interval(whole, whole - half, whole + half, 0.95, count - 1)


def planted_effects(
    rule: Criterion, table: np.ndarray, names: Sequence[str], other: str, places: int
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on `method_against` passes for a small effect, and for a large.

    The method's main effect is made a third, or twice, that of the other choice; units are
    drawn anew in each run.

    Parameters
    ----------
    rule : Criterion
    table, names, other
        As in `method_against`.
    places : int
        Judged as one of that many.
    """
    found, axis = effects(table, names), list(names).index("method")
    rest = tuple(i for i in range(table.ndim) if i != axis)
    own = table.mean(axis=rest, keepdims=True) - table.mean()

    def run(factor: float) -> Callable[[np.random.Generator], Interval]:
        made = table + own * (factor * found[other] / found["method"] - 1)

        def once(rng: np.random.Generator) -> Interval:
            return method_against(made[rng.integers(len(made), size=len(made))], names, other)

        return once

    return rates(rule, run(1 / 3), run(2.0), places)
