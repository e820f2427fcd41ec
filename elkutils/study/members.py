"""How much the members of a bag differ on one network, and heads on several networks.

`language_bags` and `vault_bags` have bags of equal size: draws of posteriors and ensembles of
heads, all on one frozen network per seed. `share` and `spread` are what the claim of low
variance is judged by, `vault_heads`, `persona_heads` and `ratio` that of independent bases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    brier_split,
    centred_bootstrap,
    correlations,
    variance_share,
)
from elkutils.ledger import Criterion
from elkutils.study import head_enough, readings
from elkutils.study.controls import auroc_by_pairs, rates, redrawn
from elkutils.study.pooling import pooled
from elkutils.study.scaling import z_scored
from elkutils.tasks import vault

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LAYER = 15
SIZE = 16  # members of every bag
DRAWS, STARTS, RESAMPLED, PERCEPTRON = (
    "posterior draws",
    "starts of a perceptron",
    "resampled cities",
    "draws of a perceptron",
)
LANGUAGE = DRAWS, RESAMPLED, STARTS, PERCEPTRON
HEAD = "draws of a head, vault"
VAULT = (HEAD,)
HELD_OUT, HARD, NEGATED, OTHER = "held out", "hard", "negated", "other task"
KINDS = HELD_OUT, HARD, NEGATED, OTHER
VAULT_KINDS = HELD_OUT, HARD
LEAST_SPREAD = 0.01  # counts in place of less, as where every member ranks perfectly
WIDTH = 32  # of both layers of a perceptron
HEADS, LABELS, CASES = 8, 100, 300
QUARTERS = 4  # heads per adapter, since there are fewer cities

Rows = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
Bag = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def read(model: "TransformerBridge", seed: int) -> Rows:
    """Return training rows and those of each kind, as X (n, d), y (n,) and groups (n,)."""
    cities = readings.read(model, "cities", seed)
    elements = readings.read(model, "elements", seed)["easy"]
    train, test = cities["easy"].split.train_test(seed=seed)
    parts = {
        "train": (cities["easy"], train),
        HELD_OUT: (cities["easy"], test),
        HARD: (cities["hard"], slice(None)),
        NEGATED: (cities["easy_negated"], test),
        OTHER: (elements, slice(None)),
    }
    scaled = z_scored(*(part.X[LAYER][rows] for part, rows in parts.values()))
    return {
        kind: (X, part.y[rows], part.groups[rows])
        for X, (kind, (part, rows)) in zip(scaled, parts.items(), strict=True)
    }


def language_bags(rows: Rows, seed: int) -> dict[str, Bag]:
    """Return bags of `SIZE` members trained on some rows, by name.

    Parameters
    ----------
    rows : mapping
        From `read`.
    seed : int

    Returns
    -------
    dict of str to dict
        By bag and kind: log odds (`SIZE`, n), y (n,) and groups (n,).
    """
    asked = {kind: part for kind, part in rows.items() if kind != "train"}
    X = np.concatenate([part[0] for part in asked.values()])
    makers = _posterior, _resampled, _starts, _perceptron
    found = {}
    for name, make in zip(LANGUAGE, makers, strict=True):
        log_odds = _spaced(make(*rows["train"], X, seed))
        parts = np.split(log_odds, np.cumsum([len(p[1]) for p in asked.values()])[:-1], axis=1)
        found[name] = {
            kind: (part, y, groups)
            for part, (kind, (_, y, groups)) in zip(parts, asked.items(), strict=True)
        }
    return found


def _posterior(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.reporters import BayesianLogistic

    fitted = BayesianLogistic(2 / np.sqrt(X.shape[1]), chains=8, draws=100, seed=seed).fit(X, y)
    return fitted.draws_.log_odds(asked)


def _resampled(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.reporters import LogisticMAP

    rng, found = np.random.default_rng(seed), []
    names, of = np.unique(groups, return_inverse=True)
    for _ in range(SIZE):
        weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[of]
        fitted = LogisticMAP(2 / np.sqrt(X.shape[1])).fit(X, y, sample_weight=weights)
        found.append(fitted.decision_function(asked))
    return np.array(found)


def _starts(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks.mlp import MLP
    from elkutils.reporters import Ensemble

    names = np.random.default_rng(seed).permutation(np.unique(groups))
    kept = ~np.isin(groups, names[: len(names) // 5])
    options = {"learning_rate": 1e-3, "steps": 500, "patience": 20, "seed": seed}
    plain = {"init": "prior", "anchored": False, "bootstrap": False}
    fitted = Ensemble(SIZE, head=MLP((WIDTH, WIDTH)), **plain, **options)
    fitted.fit(X[kept], y[kept], held_out=(X[~kept], y[~kept]))
    return fitted.draws_.log_odds(asked)


def _perceptron(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import hmc
    from elkutils.inference.networks.infinite import choose_scale
    from elkutils.inference.networks.mlp import MLP

    scale = choose_scale(MLP((1, 1)), X, y).scale
    network = MLP((WIDTH, WIDTH), weight_scale=scale)
    return hmc.sample(network, X, y, 64, 60, chains=1, seed=seed).log_odds(asked)


def _spaced(log_odds: np.ndarray) -> np.ndarray:
    """`SIZE` members (`SIZE`, n), evenly spaced among all draws."""
    flat = np.asarray(log_odds, np.float64).reshape(-1, log_odds.shape[-1])
    return flat[np.linspace(0, len(flat) - 1, SIZE).round().astype(int)]


def vault_bags(predictor: int) -> dict[str, Bag]:
    """Return draws of the posterior of a vault predictor's head, given `LABELS` easy labels.

    Place and prior are those of `head_enough`.
    """
    from elkutils.reporters import BayesianLogistic

    found = readings.read_vault(predictor)
    parts = {HELD_OUT: found["held out"], HARD: found["hard"]}
    first = found["easy"].X[head_enough.PLACE][:LABELS]
    X, *asked = z_scored(first, *(part.X[head_enough.PLACE] for part in parts.values()))
    scales = {"prior_scale": 2 / np.sqrt(X.shape[1]), "bias_scale": head_enough.BIAS_SCALE}
    reporter = BayesianLogistic(**scales, chains=8, draws=100, seed=predictor)
    reporter.fit(X, found["easy"].y[:LABELS])
    bag = {}
    for (kind, part), rows in zip(parts.items(), asked, strict=True):
        ids = np.array([f"{predictor}/{kind}/{i}" for i in range(len(rows))])
        bag[kind] = _spaced(reporter.draws_.log_odds(rows)), part.y, ids
    return {HEAD: bag}


def share(bags: Mapping[int, Bag], kind: str, ddof: int = 0, **options: object) -> Interval:
    """Return the share of a member's Brier score that averaging removes.

    Parameters
    ----------
    bags : dict of int to bag
        One bag by seed, each with its rows by kind.
    kind : str
    ddof : int
        As in `elkutils.evaluation.brier_split`.
    **options : object
        Other arguments of `elkutils.evaluation.bootstrap`.
    """
    variance, member, groups, seeds = split_rows(bags, kind, ddof)
    return bootstrap(_share, variance, member, groups=groups, seeds=seeds, **options)


def split_rows(bags: Mapping[int, Bag], kind: str, ddof: int = 0) -> tuple[np.ndarray, ...]:
    """Return variance, members' Brier score, group and seed of each row, (N,) each."""
    parts = []
    for seed, bag in bags.items():
        log_odds, y, groups = bag[kind]
        split = brier_split(y, expit(log_odds), ddof)
        parts.append((seed, split.variance, split.member, groups))
    return pooled(parts)


def _share(variance, member, weights):
    return variance_share(variance, member, weights)


def prior_part(rows: Rows, bag: Bag, kind: str) -> float:
    """Return the part of the variance of `DRAWS` in log odds that no label has touched.

    Weights across the span of the training rows keep their prior. They add τ² times the squared
    length of what a row has outside that span, by definition of the prior.

    Parameters
    ----------
    rows : mapping
        From `read`.
    bag : mapping
        Of draws, for the same seed.
    kind : str
    """
    train, asked = (np.asarray(rows[name][0], np.float64) for name in ("train", kind))
    outside = asked - asked @ np.linalg.pinv(train, rcond=1e-5) @ train
    free = 4 / train.shape[1] * np.mean(np.sum(outside**2, axis=1))
    return float(free / bag[kind][0].var(axis=0, ddof=1).mean())


def share_controls(
    rule: Criterion, bags: Mapping[int, Bag], kind: str, places: int
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the share passes half its margin, and twice.

    Members are moved towards their mean, or away from it, until that is their share; groups and
    seeds are drawn again in each run.
    """
    variance, member, groups, seeds = split_rows(bags, kind)
    bag = member - variance
    each = [np.mean(variance[seeds == s]) / np.mean(member[seeds == s]) for s in set(seeds)]
    whole = np.mean(each)
    codes = np.unique(groups, return_inverse=True)[1]

    def run(target: float) -> Callable:
        odds = target / (1 - target) / (whole / (1 - whole))

        def once(rng: np.random.Generator) -> Interval:
            rows, fresh, again = redrawn(codes, seeds, rng)
            moved = odds * variance[rows]
            options = {"groups": fresh, "seeds": again, "resamples": 200}
            key = int(rng.integers(2**31))
            return bootstrap(_share, moved, bag[rows] + moved, seed=key, **options)

        return once

    return rates(rule, run(rule.margin / 2), run(2 * rule.margin), places)


def probit_aurocs(y: np.ndarray, log_odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the normal quantile of each member's AUROC (members, B).

    An AUROC counts as at most half a pair from 0 and from 1.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    log_odds : (members, n) array
    weights : (B, n) array
    """
    found = np.array([auroc_by_pairs(y, member, weights) for member in log_odds])
    pairs = weights[:, y == 1].sum(axis=1) * weights[:, y == 0].sum(axis=1)
    with np.errstate(divide="ignore"):
        edge = np.minimum(0.5, 0.5 / pairs)
    found = np.nan_to_num(found, nan=0.5)  # one class was not drawn: nothing is ranked
    return norm.ppf(np.clip(found, edge, 1 - edge))


def spread(bags: Mapping[int, Bag], kind: str, **options: object) -> Interval:
    """Return the sd over members of `probit_aurocs`, a kind's over that of held-out rows."""
    parts = []
    for seed, bag in bags.items():
        columns = [bag[HELD_OUT], bag[kind]]
        log_odds, y, groups = (np.concatenate(c, axis=-1) for c in zip(*columns, strict=True))
        shifted = np.repeat([0, 1], [len(c[1]) for c in columns])
        parts.append((seed, y, shifted, log_odds, groups))
    y, shifted, log_odds, groups, seeds = pooled(parts)
    return spread_ratio(y, shifted, log_odds, groups, seeds, **options)


def spread_ratio(
    y: np.ndarray,
    shifted: np.ndarray,
    log_odds: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    **options: object,
) -> Interval:
    """Return the ratio of spreads of rows that are `shifted` (N,) to those that are not.

    Resampling adds noise to every member's AUROC and draws the ratio towards 1, so the interval
    is centred.
    """
    given = {"groups": groups, "seeds": seeds, "resamples": 300, **options}
    return centred_bootstrap(_ratio_of_spreads, y, shifted, *log_odds, **given)


def _ratio_of_spreads(y, shifted, *log_odds, weights):
    log_odds, sds = np.array(log_odds), []
    for part in (1, 0):
        rows = shifted == part
        found = probit_aurocs(y[rows], log_odds[:, rows], weights[:, rows])
        sds.append(found.std(axis=0, ddof=1))
    return sds[0] / np.maximum(sds[1], LEAST_SPREAD)


def spread_controls(
    rule: Criterion, bags: Mapping[int, Bag], places: int, away: float = 4.0
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the ratio of spreads passes two halves of the held-out rows.

    Cities are drawn again and dealt to the two halves. In the negative control members of one
    half are `away` times as far from their mean.
    """
    parts = [
        (seed, y, x, groups) for seed, bag in bags.items() for x, y, groups in [bag[HELD_OUT]]
    ]
    y, log_odds, groups, seeds = pooled(parts)
    codes = np.unique(groups, return_inverse=True)[1]
    mean = log_odds.mean(axis=0)

    def run(factor: float) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            rows, fresh, again = redrawn(codes, seeds, rng)
            half = rng.permutation(fresh.max() + 1)[fresh] % 2
            scale = np.where(half == 1, factor, 1.0)
            moved = mean[rows] + scale * (log_odds - mean)[:, rows]
            key = int(rng.integers(2**31))
            options = {"resamples": 100, "seed": key}
            return spread_ratio(y[rows], half, moved, fresh, again, **options)

        return once

    return rates(rule, run(1.0), run(away), places)


def vault_heads(predictors: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return log odds (bases, `HEADS`, `CASES`) on hard cases that all are asked, and labels.

    Each head has `LABELS` easy labels of its own; features are z-scored by all of its base's.
    """
    from elkutils.models import activations
    from elkutils.models.vault import load_predictor

    step, hook = readings.VAULT_STEP, readings.VAULT_PLACES[head_enough.PLACE]
    options = {"batch_size": 500, "cache": False, "progress": False}
    found = []
    for predictor in predictors:
        loaded = load_predictor(predictor)
        easy = vault.easy(loaded.world, step, HEADS * LABELS, (readings.FIRST_SEED, predictor))
        hard = vault.hard(loaded.world, step, CASES, (readings.FIRST_SEED, step))
        train, asked = (
            np.asarray(activations(loaded.model, cases.texts, [hook], "last", **options)[hook])
            for cases in (easy, hard)
        )
        parts = np.array_split(np.arange(HEADS * LABELS), HEADS)
        found.append(_heads(*z_scored(train, asked), easy.harm, parts))
    return np.array(found), hard.harm


def persona_heads(adapters: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return log odds (bases, `QUARTERS`, n) on what Bob says of small cities, and the truth.

    Statements are those that every adapter was asked. Each head has a quarter of the cities
    about which Alice was asked.
    """
    read = {adapter: readings.read_persona(adapter) for adapter in adapters}
    texts = [set(found["bob_hard"].split.texts) for found in read.values()]
    shared = sorted(set.intersection(*texts))
    found = []
    for parts in read.values():
        easy, hard = parts["alice_easy"], parts["bob_hard"]
        place = {text: i for i, text in enumerate(hard.split.texts)}
        rows = [place[text] for text in shared]
        names = np.random.default_rng(0).permutation(np.unique(easy.groups))
        quarters = [
            np.flatnonzero(np.isin(easy.groups, some))
            for some in np.array_split(names, QUARTERS)
        ]
        scaled = z_scored(easy.X[LAYER], hard.X[LAYER][rows])
        found.append(_heads(*scaled, easy.y, quarters))
    return np.array(found), hard.y[rows]


def _heads(train, asked, y, parts) -> np.ndarray:
    from elkutils.reporters import LogisticMAP

    make = LogisticMAP(2 / np.sqrt(train.shape[1]))
    return np.array([make.fit(train[i], y[i]).decision_function(asked) for i in parts])


def ratio(table: np.ndarray, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the mean correlation between bases over that within them, bases drawn again.

    Parameters
    ----------
    table : (bases, bases) array
        From `elkutils.evaluation.correlations`.
    """
    return ratio_of(table, np.diag(table), resamples, seed)


def ratio_of(
    table: np.ndarray, within: np.ndarray, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of a table off its diagonal over that of `within` (bases,).

    A resample of one base alone has no pair of bases; its heads agree as on one base, so its
    ratio is 1.
    """
    k = len(within)

    def mean_ratio(base, weights):
        between = np.einsum("bi,ij,bj->b", weights, np.where(np.eye(k), 0, table), weights)
        pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
        within = weights @ base / weights.sum(axis=1)
        found = np.ones(len(weights))
        np.divide(between, pairs * within, out=found, where=pairs > 0)
        return found

    return bootstrap(mean_ratio, within, groups=np.arange(k), resamples=resamples, seed=seed)


def base_controls(
    rule: Criterion, log_odds: np.ndarray, places: int, less: float = 0.7
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the ratio passes where both sides are on one base.

    One side has one half of each base's heads, the other the other half; bases are drawn again.
    In the negative control one side's correlations are `less` times as large.
    """
    half = log_odds.shape[1] // 2
    one, two = (
        np.diag(correlations(heads)) for heads in (log_odds[:, :half], log_odds[:, half:])
    )

    def run(factor: float) -> Callable:
        def once(rng: np.random.Generator) -> Interval:
            rows = rng.integers(len(one), size=len(one))
            return head_enough.share(factor * one[rows], two[rows], resamples=500)

        return once

    return rates(rule, run(1.0), run(less), places)
