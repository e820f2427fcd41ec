"""Inputs far outside a reporter's training distribution, and an alarm set inside it.

`read` has ordinary statements to train on, to set a threshold by and to check it, and strange
inputs made from the last; `search` moves inputs to where a reporter errs, `alarm_level` sets
the threshold, and `ask` does it all. `ceiling` is taught in the strange languages. `rates` and
`failures` make what the bootstrap is given; `reviews` plants failures in streams of ordinary
rows.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from elkutils import profiles
from elkutils.evaluation import Interval, mutual_information, pooled_bootstrap
from elkutils.study import readings, shifts
from elkutils.study.languages import TEMPLATES, translated
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from elkutils.reporters.base import Reporter

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
ERRORS = ("false alarms", "misses")
MOST_LACKING = 0.02  # of resamples may hold no failure, as where four groups have them all


@dataclass(frozen=True)
class Asked:
    """What a reporter answers about rows of one kind; every field has shape (N,).

    Attributes
    ----------
    y : array of 0 and 1
        1 for harm.
    proba : array
        The mean P(harm) over the reporter's draws.
    rang : bool array
        Whether it is above the level that was set inside.
    doubt : array
        Mutual information of label and draw.
    groups, seeds : arrays
        Each fit, a seed of the statements and a division of the cities, is a seed here, counted
        from 0.
    """

    y: np.ndarray
    proba: np.ndarray
    rang: np.ndarray
    doubt: np.ndarray
    groups: np.ndarray
    seeds: np.ndarray


def ask(
    model: "TransformerBridge",
    layer: int,
    make: Callable,
    alpha: float,
    radii: Iterable[float] = (),
    repeats: int = 1,
) -> dict[tuple[str, str], Asked]:
    """Fit reporters, set their alarms inside and ask them about every kind of row.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    layer : int
    make : callable
        ``(d, seed)`` → dict of new linear reporters by name.
    alpha : float
        False alarms that are accepted, as a share of the harmless rows.
    radii : iterable of float
        Of `search`. It moves the rows ``inside``: harmless ones towards an alarm, harmful
        ones away from it.
    repeats : int
        Divisions of the cities per seed of the statements.

    Returns
    -------
    dict of (str, str) to Asked
        By reporter and kind: those of `read`, and ``"searched 0.2"`` for a radius of 0.2.
    """
    radii, parts = list(radii), defaultdict(list)
    for fit, (seed, repeat) in enumerate(product(readings.seeds(), range(repeats))):
        rows = read(model, seed, layer, repeat)
        X, y, _ = rows["train"]
        inside, harm, groups = rows["inside"]
        for name, reporter in make(X.shape[1], fit).items():
            weights = linear_draws(reporter.fit(X, y))
            kinds = dict(rows)
            for radius in radii:
                moved = search(*weights, inside, radius, 1 - 2 * harm)
                kinds[f"searched {radius:g}"] = moved, harm, groups
            held_out, truth, _ = rows["calibration"]
            level = alarm_level(reporter.predict_proba(held_out)[truth == 0, 1], alpha)
            for kind, row in kinds.items():
                parts[name, kind].append(_asked(reporter, level, *row, fit))
    return {key: _stacked(found) for key, found in parts.items()}


def ceiling(
    model: "TransformerBridge", layer: int, make: Callable, name: str, repeats: int = 1
) -> np.ndarray:
    """Return P(harm) (N,) in other languages by a reporter taught in these languages.

    Everything but the language of the lessons is as in `ask`: fits, training cities, number of
    labels, rows that are asked about, and their order. So the two differ by the shift alone.

    Parameters
    ----------
    model, layer, make, repeats
        As in `ask`.
    name : str
        Which of the reporters that `make` returns.
    """
    answers = []
    for fit, (seed, repeat) in enumerate(product(readings.seeds(), range(repeats))):
        rows = read(model, seed, layer, repeat)
        X, y, _ = rows["train, other languages"]
        X, strange = z_scored(X, rows["other languages"][0])
        reporter = make(X.shape[1], fit)[name].fit(X, y)
        answers.append(reporter.predict_proba(strange)[:, 1])
    return np.concatenate(answers)


def ask_vault(make: Callable, name: str, place: str, alpha: float) -> dict[str, Asked]:
    """Ask a reporter of the vault about cases without a screen and behind it.

    Half of the held-out cases without a screen set the level; the others are ``inside``.

    Parameters
    ----------
    make : callable
        ``(d, seed)`` → dict of new reporters by name.
    name : str
        Which of them.
    place : str
        One of `elkutils.study.VAULT_PLACES`.
    alpha : float

    Returns
    -------
    dict of str to Asked
        ``inside`` and ``behind the screen``.
    """
    parts = defaultdict(list)
    for seed in readings.vault_seeds():
        shift = shifts.read(None, "vault", seed)
        X, easy, hard = shift.at(place)
        reporter = make(X.shape[1], seed)[name].fit(X, shift.train.y)
        first = np.arange(len(easy)) % 2 == 0
        proba = reporter.predict_proba(easy[first])[:, 1]
        level = alarm_level(proba[shift.easy.y[first] == 0], alpha)
        inside = easy[~first], shift.easy.y[~first], shift.easy.groups[~first]
        hidden = hard, shift.hard.y, np.char.add(shift.hard.groups, ", hidden")
        for kind, row in {"inside": inside, "behind the screen": hidden}.items():
            parts[kind].append(_asked(reporter, level, *row, seed))
    return {kind: _stacked(found) for kind, found in parts.items()}


def rates(inside: Asked, strange: Asked, error: str) -> tuple[np.ndarray, ...]:
    """Return which rows are strange, where the reporter erred, groups and seeds, (N,) each.

    Parameters
    ----------
    inside, strange : Asked
    error : str
        "false alarms", among harmless rows, or "misses", among harmful ones.

    Raises
    ------
    ValueError
        For another error.
    """
    if error not in ERRORS:
        raise ValueError(f"error is {error!r}; it has to be one of {ERRORS}")
    columns = []
    for outside, asked in enumerate((inside, strange)):
        rows = asked.y == ERRORS.index(error)
        wrong = asked.rang[rows] != asked.y[rows]
        columns.append(
            (np.full(rows.sum(), outside), wrong, asked.groups[rows], asked.seeds[rows])
        )
    return tuple(map(np.concatenate, zip(*columns, strict=True)))


def excess(outside: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of wrong rows outside less that inside, as `bootstrap` asks for it.

    Parameters
    ----------
    outside, wrong : (n,) arrays of 0 and 1
        Of `rates`.
    weights : (B, n) array
    """
    strange = np.where(outside, weights, 0.0)
    ordinary = weights - strange
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [w @ wrong / w.sum(axis=-1) for w in (strange, ordinary)]
    return shares[0] - shares[1]


def failures(
    inside: Asked, strange: Asked, repeats: int = 1, right: bool = False
) -> tuple[np.ndarray, ...]:
    """Return which rows are missed harm of a strange kind, doubts, groups and seeds, (N,) each.

    The others are all rows inside. A doubt is the share of its fit's rows inside whose doubt is
    smaller, so that fits can be pooled.

    Parameters
    ----------
    inside, strange : Asked
    repeats : int
        Fits per seed of the statements; they are pooled, because a single one may miss nothing.
    right : bool
        Plant instead the rows of the strange kind about which the alarm is right. Where a
        review finds as many of them, it finds the kind and not its failures.
    """
    chosen = strange.rang == strange.y if right else (strange.y == 1) & ~strange.rang
    planted = np.repeat([0, 1], [len(inside.y), chosen.sum()])
    raw, groups, fits = (
        np.concatenate([getattr(inside, name), getattr(strange, name)[chosen]])
        for name in ("doubt", "groups", "seeds")
    )
    doubt = np.empty(len(raw))
    for fit in np.unique(fits):
        own = fits == fit
        ordinary = np.sort(raw[own & (planted == 0)])
        doubt[own] = np.searchsorted(ordinary, raw[own]) / len(ordinary)
    return planted, doubt, groups, fits // repeats


def read(model: "TransformerBridge", seed: int, layer: int, repeat: int = 0) -> dict[str, Rows]:
    """Return ordinary statements about big cities, and strange inputs, at one layer.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    seed : int
        One of `elkutils.study.seeds`: which false statements.
    layer : int
        Layer whose residual stream is read at the full stop.
    repeat : int
        Which division of the cities, and which random directions.

    Returns
    -------
    dict of str to (X (n, d), y (n,), groups (n,))
        Features are z-scored by ``train``; a label of 1 means harm, a false statement; a group
        is a city. ``train`` has two cities in five, ``calibration`` and ``inside`` half of the
        others each. Strange versions of ``inside``: ``other languages`` (each city in one of
        three); ``shuffled``, the words of its true statements in another order; and ``random``,
        a random direction from the training mean, as long as a true statement's. The last two
        state nothing, so none of their rows is harm. ``train, other languages`` has the
        statements of ``train`` in these languages, for `ceiling`.
    """
    found = readings.read(model, "cities", seed)["easy"]
    split, raw, harm = found.split, found.X[layer], 1 - found.y
    train, rest = split.train_test(0.6, 1000 * seed + repeat)
    rng = np.random.default_rng((seed, repeat, 1))
    cities = rng.permutation(np.unique(split.groups[rest]))
    inside = rest[np.isin(split.groups[rest], cities[::2])]
    calibration = rest[np.isin(split.groups[rest], cities[1::2])]
    true = inside[harm[inside] == 0]
    shuffled, foreign = _strange(model, seed, layer, profiles.active())
    centre = raw[train].mean(axis=0)
    nothing = np.zeros_like(true)
    parts = {
        "train": (raw[train], harm[train], train),
        "calibration": (raw[calibration], harm[calibration], calibration),
        "inside": (raw[inside], harm[inside], inside),
        "shuffled": (shuffled[true], nothing, true),
        "random": (centre + _turned(raw[true] - centre, rng), nothing, true),
        "other languages": (foreign[inside], harm[inside], inside),
        "train, other languages": (foreign[train], harm[train], train),
    }
    scaled = z_scored(*(X for X, _, _ in parts.values()))
    return {
        kind: (X, y, split.groups[rows])
        for X, (kind, (_, y, rows)) in zip(scaled, parts.items(), strict=True)
    }


def linear_draws(reporter: "Reporter") -> tuple[np.ndarray, np.ndarray]:
    """Return weights (draws, d) and biases (draws,) of a fitted linear reporter.

    A point estimate has one draw.
    """
    if hasattr(reporter, "draws_"):
        flat = reporter.draws_.flat
        return flat[:, :-1], flat[:, -1]
    return reporter.coef_, reporter.intercept_


def search(
    weights: np.ndarray,
    bias: np.ndarray,
    X: np.ndarray,
    radius: float,
    towards: np.ndarray,
    steps: int = 8,
) -> np.ndarray:
    """Move inputs inside a ball to where the mean answer is as wrong as gradients make it.

    Parameters
    ----------
    weights, bias : (draws, d) and (draws,) arrays
        Of `linear_draws`.
    X : (n, d) array
        The centres of the balls.
    radius : float
        Of the balls, as a share of each row's distance from the origin, the training mean.
    towards : (n,) array
        1 to raise the mean probability of a row, −1 to lower it.
    steps : int
        Projected gradient steps, each of half the radius.

    Returns
    -------
    (n, d) array
        For one draw the worst point of the ball, exactly.
    """
    size = radius * np.linalg.norm(X, axis=1, keepdims=True)
    moved = X.copy()
    for _ in range(steps if len(weights) > 1 else 2):
        p = expit(moved @ weights.T + bias)
        slope = (p * (1 - p) + 1e-12) @ weights
        slope *= np.asarray(towards)[:, None] / np.linalg.norm(slope, axis=1, keepdims=True)
        away = moved + size / 2 * slope - X
        length = np.linalg.norm(away, axis=1, keepdims=True)
        moved = X + away * np.minimum(1.0, size / np.maximum(length, 1e-300))
    return moved


def alarm_level(proba: np.ndarray, alpha: float) -> float:
    """Return the level above which a harmless row rings the alarm with probability ≤ α.

    It is the ⌈(n + 1)(1 − α)⌉-th smallest of `proba` (n,), the answers on harmless rows that
    the reporter was not trained on, or infinity where n is too small. The promise is for a new
    row that is exchangeable with these, over their draw and its own (split conformal
    prediction; Vovk, Gammerman & Shafer 2005), and for no other.

    Examples
    --------
    >>> alarm_level(np.arange(19) / 20, 0.1)
    0.85
    """
    place = int(np.ceil((len(proba) + 1) * (1 - alpha) - 1e-9))
    return float(np.sort(proba)[place - 1]) if place <= len(proba) else np.inf


def found_in_review(
    planted: np.ndarray,
    doubt: np.ndarray,
    weights: np.ndarray | None = None,
    budget: float = 0.1,
) -> np.ndarray:
    """Return the share of planted failures more doubtful than all but the budget of the others.

    That is the share that a review of the most doubtful rows finds where failures are rare. A
    tie counts as found.

    Parameters
    ----------
    planted : (n,) array of bool
        Which rows are failures; the others are ordinary.
    doubt : (n,) array
    weights : (..., n) array or None
        How much each row counts, as `bootstrap` gives them.
    budget : float
        Share of the ordinary rows that is looked at.
    """
    order = np.argsort(-np.asarray(doubt), kind="stable")
    failed = np.asarray(planted, bool)[order]
    weights = np.ones((1, len(order))) if weights is None else weights
    weights = np.asarray(weights, np.float64)[..., order]
    ordinary = np.where(failed, 0.0, weights)
    above = np.cumsum(ordinary, axis=-1) <= budget * ordinary.sum(axis=-1, keepdims=True)
    of_failures = np.where(failed, weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (of_failures * above).sum(axis=-1) / of_failures.sum(axis=-1)


def found_interval(
    planted: np.ndarray,
    doubt: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return `found_in_review` of all rows together, with its bootstrap interval.

    It is that of `pooled_bootstrap`, because a seed may have few failures or none. Where all
    failures are found, or none, no resample differs, and where few groups or few seeds hold
    them more than 2% of the resamples lack them; then Clopper and Pearson's interval over
    groups with failures takes its place.

    Parameters
    ----------
    planted, doubt, groups, seeds : (N,) arrays
        Of `failures`.
    resamples, level, seed
        As in `bootstrap`.

    Raises
    ------
    ValueError
        If there is no failure, and as `pooled_bootstrap`.
    """
    failed = np.asarray(planted) == 1
    if not failed.any():
        raise ValueError("planted holds no failure; a review needs something to find")
    options = {"groups": groups, "seeds": seeds, "resamples": resamples, "seed": seed}
    if _lacking(failed, groups, seeds) <= MOST_LACKING:
        found = pooled_bootstrap(
            found_in_review, planted, doubt, **options, level=level, centre=False
        )
        if found.lower < found.upper:
            return found
    estimate = float(found_in_review(planted, doubt)[0])
    count = len(np.unique(np.asarray(groups)[failed]))
    return Interval.of_share(round(estimate * count), count, level)


def _lacking(failed, groups, seeds, resamples=1000) -> float:
    """The share of resamples of groups and seeds that draw no failure."""
    rng, drawn = np.random.default_rng(0), 1
    for ids in (groups, seeds):
        names, of = np.unique(np.asarray(ids), return_inverse=True)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        drawn = drawn * times[:, of[failed]]
    return float((drawn == 0).all(axis=1).mean())


def reviews(
    ordinary: np.ndarray,
    failures: np.ndarray,
    rate: float,
    budget: float,
    rng: np.random.Generator,
    size: int = 1000,
    runs: int = 200,
) -> np.ndarray:
    """Return how many failures a review of the most doubtful finds, in each of many streams.

    Parameters
    ----------
    ordinary, failures : arrays
        Doubts to draw from, with replacement.
    rate : float
        Share of the stream that is failures: round(rate · size) rows.
    budget : float
        Share of the stream that is looked at, the most doubtful first; ties in random order.
    rng : numpy.random.Generator
    size, runs : int
        Rows of a stream, and number of streams.

    Returns
    -------
    (runs,) int array
    """
    bad = round(rate * size)
    doubt = np.concatenate(
        [rng.choice(failures, (runs, bad)), rng.choice(ordinary, (runs, size - bad))], axis=1
    )
    tie = rng.random(doubt.shape)
    first = np.lexsort((tie, -doubt), axis=-1)[:, : round(budget * size)]
    return (first < bad).sum(axis=1)


def _asked(reporter, level, X, y, groups, seed) -> Asked:
    draws = reporter.sample_proba(X)
    proba = draws.mean(axis=0)
    seeds = np.full(len(y), seed)
    return Asked(y, proba, proba > level, mutual_information(draws), groups, seeds)


def _stacked(parts) -> Asked:
    names = [field.name for field in fields(Asked)]
    return Asked(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@lru_cache(maxsize=2)
def _texts(profile: str) -> dict[int, list[str]]:
    """Texts of each seed: every easy statement with its words shuffled, then translated.

    A statement is shuffled in the same way, and a city has the same language, for all seeds.
    """
    texts = {}
    for seed in readings.seeds():
        split = readings.make_task("cities", seed).splits["easy"]
        translations = {language: translated(split, language) for language in TEMPLATES}
        names, cities = list(TEMPLATES), np.unique(split.groups)
        chosen = np.random.default_rng(0).permutation(len(cities)) % len(names)
        language = dict(zip(cities, chosen, strict=True))
        foreign = [
            translations[names[language[city]]][row] for row, city in enumerate(split.groups)
        ]
        texts[seed] = [*map(_shuffled, split.texts), *foreign]
    return texts


@lru_cache(maxsize=32)
def _strange(model, seed: int, layer: int, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations of shuffled and of translated statements, (n, d) each.

    Only true statements are shuffled; the rows of the others hold NaN.
    """
    rows, X = _read_all(model, layer, profile)
    shuffled, foreign = np.split(np.array(_texts(profile)[seed], object), 2)
    missing = np.full(X.shape[1], np.nan)
    found = [X[rows[text]] if text in rows else missing for text in shuffled]
    return np.stack(found), np.stack([X[rows[text]] for text in foreign])


@lru_cache(maxsize=2)
def _read_all(model, layer: int, profile: str) -> tuple[dict[str, int], np.ndarray]:
    """The texts of all seeds are read in one go, because true statements are the same."""
    from elkutils.models import activations, resid_post

    wanted = {}
    for texts in _texts(profile).values():
        half = len(texts) // 2
        wanted |= dict.fromkeys([*texts[:half:2], *texts[half:]])  # even rows are true
    (hook,) = resid_post(model, [layer])
    X = activations(model, list(wanted), [hook])[hook]
    return {text: row for row, text in enumerate(wanted)}, X


def _shuffled(text: str) -> str:
    """Return a text with its words in another order, always the same; the full stop is last."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return " ".join(rng.permutation(text.rstrip(".").split())) + "."


def _turned(away: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return random directions (n, d), each as long as a row of `away`."""
    drawn = rng.standard_normal(away.shape)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * length
