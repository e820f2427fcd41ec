"""How much the members of a bag differ on one network, and heads on several networks.

`language_bags` and `vault_bags` have bags of equal size: draws of posteriors and ensembles of
heads, all on one frozen network per seed, and draws of all weights of the vault's predictors;
`linearised_bags` has such draws of the language model.
Heads that are wide, or read all tokens, are dear and have seeds of their own.
``tests/benchmarks/members.py`` records them; `columns` has what is recorded of a bag, and
`share` and `spread` are what the claim of low variance is judged by. `vault_heads`,
`persona_heads` and `ratio` serve that of independent bases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from elkutils import tasks
from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    brier_split,
    centred_bootstrap,
    correlations,
    variance_share,
)
from elkutils.ledger import Criterion, claims, recorded_run
from elkutils.study import head_enough, readings
from elkutils.study.controls import auroc_by_pairs, rates, redrawn
from elkutils.study.pooling import pooled
from elkutils.study.scaling import z_scored
from elkutils.study.tiny_heads import RATE, TRANSFORMER_SCALE, USUAL, Parts, digest_of
from elkutils.tasks import vault

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from elkutils.inference.draws import Draws
    from elkutils.inference.networks.mlp import MLP
    from elkutils.inference.networks.transformer import Transformer

LAYER = 15
SIZE = 16  # members of every bag
DRAWS, RESAMPLED = "posterior draws", "resampled cities"
INFINITE = "draws at infinite width"
HEAD, WHOLE = "draws of a head, vault", "draws of all weights, vault"
VAULT = {HEAD: 0.0, WHOLE: 0.2}  # width of the body's prior, as in the chapter on heads
LINEARISED = {"draws of a head, SmolLM2": 0.0, "draws of all weights, SmolLM2": 0.2}
HELD_OUT, HARD, NEGATED, OTHER = "held out", "hard", "negated", "other task"
KINDS = HELD_OUT, HARD, NEGATED, OTHER
EASY_AND_HARD = {HELD_OUT: "easy", HARD: "hard"}  # what the chapter on heads calls them
FRESH = 8  # cases of the vault that no other chapter, and no trial, saw
UNIT = 1e-4  # of the numbers that are recorded
LEAST_SPREAD = 0.01  # counts in place of less, as where every member ranks perfectly
WIDTH, WIDE = 32, 512  # of both layers of a perceptron
TOKENS_WIDTH = 32  # of a transformer, at which C8 could draw one
LOSS = float(np.log(2)) / 4  # a threshold on the mean training loss, in nats
ROUNDS = 1000  # of stochastic variational inference
HEADS, LABELS, CASES = 8, 100, 300
QUARTERS = 4  # heads per adapter, since there are fewer cities

Rows = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
Bag = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Size:
    """How much a recorded run reads.

    Attributes
    ----------
    seeds, large, linearised : tuples of int
        Of splits and false statements; none was seen in a trial or in another chapter. `large`
        are those of `WIDE_ONES` and of `OF_TOKENS`, `linearised` of `LINEARISED`.
    cities : int
        Big ones, and as many small ones.
    trained : int
        Of the big ones, for training; the rest is held out.
    predictors : int
        Of the vault.
    """

    seeds: tuple[int, ...]
    large: tuple[int, ...]
    linearised: tuple[int, ...]
    cities: int
    trained: int
    predictors: int


SIZES = {
    "quick": Size((10, 11), (30, 31), (40,), 40, 20, 2),
    "book": Size(tuple(range(10, 20)), (30, 31, 32), (40, 41), 300, 105, 10),
}


def read(
    model: "TransformerBridge", seeds: Iterable[int], size: Size, few: int | None = None
) -> dict[int, Rows]:
    """Return, by seed, training rows and those of each kind: X (n, d), y (n,), groups (n,).

    Parameters
    ----------
    model : TransformerBridge
    seeds : iterable of int
        Texts that several seeds share are read once.
    size : Size
    few : int or None
        Cities (or elements) of each kind that are asked about, the first by name; None for all.
    """
    from elkutils.models import activations

    parts, raw = _read(activations, model, seeds, size, few)
    return _scaled(parts, raw, z_scored)


def read_tokens(
    model: "TransformerBridge", seeds: Iterable[int], size: Size, few: int | None = None
) -> tuple[dict[int, Rows], dict[int, Rows]]:
    """Return what `read` returns, and the same with all tokens of each row, (n, tokens, d).

    Tokens are scaled together, and places before a text's first one hold 0.
    """
    from elkutils.models import sequences

    parts, raw = _read(sequences, model, seeds, size, few)
    last = {seed: [X[:, -1] for X in each] for seed, each in raw.items()}
    return _scaled(parts, last, z_scored), _scaled(parts, raw, _tokens_scaled)


def _read(extract, model, seeds, size, few):
    """The statements of each seed and kind, and what is read of them."""
    from elkutils.models import resid_post

    parts = {seed: _parts(seed, size, few) for seed in seeds}
    every = [part for kinds in parts.values() for part in kinds.values()]
    texts = list(dict.fromkeys(split.texts[i] for split, rows in every for i in rows))
    (hook,) = resid_post(model, [LAYER])
    X = np.asarray(extract(model, texts, [hook])[hook])
    place = {text: i for i, text in enumerate(texts)}
    raw = {
        seed: [X[[place[split.texts[i]] for i in rows]] for split, rows in kinds.values()]
        for seed, kinds in parts.items()
    }
    return parts, raw


def _scaled(parts, raw, scale) -> dict[int, Rows]:
    return {
        seed: {
            kind: (X, split.labels[rows], split.groups[rows])
            for X, (kind, (split, rows)) in zip(scale(*raw[seed]), kinds.items(), strict=True)
        }
        for seed, kinds in parts.items()
    }


def _tokens_scaled(*raw: np.ndarray) -> list[np.ndarray]:
    """Tokens (n, tokens, d) in units of those of the training rows."""
    from elkutils.reporters import TokenScaler

    scaler = TokenScaler(raw[0].shape[-1]).fit(_flat(raw[0]))
    return [scaler.transform(_flat(X)).reshape(X.shape).astype(np.float32) for X in raw]


def _flat(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def _parts(seed: int, size: Size, few: int | None) -> dict[str, tuple[tasks.Split, np.ndarray]]:
    """The statements of each kind: a split and which of its rows."""
    cities = tasks.cities(seed, easy=size.cities, hard=size.cities)
    elements = tasks.elements(seed)["easy"]
    train, test = cities["easy"].train_test(1 - size.trained / size.cities, seed)
    asked = {
        HELD_OUT: (cities["easy"], test),
        HARD: (cities["hard"], np.arange(len(cities["hard"]))),
        NEGATED: (cities["easy_negated"], test),
        OTHER: (elements, np.arange(len(elements))),
    }
    return {"train": (cities["easy"], train)} | {
        kind: (split, rows[np.isin(split.groups[rows], np.unique(split.groups[rows])[:few])])
        for kind, (split, rows) in asked.items()
    }


def _at_once(name: str, compute: Callable[[], dict]) -> dict:
    return compute()


def language_bags(
    rows: Rows, seed: int, names: Iterable[str] | None = None, parts: Callable = _at_once
) -> dict[str, Bag]:
    """Return bags of `SIZE` members trained on some rows, by name.

    Parameters
    ----------
    rows : mapping
        Of one seed, from `read`; for bags of `OF_TOKENS` the second of `read_tokens`.
    seed : int
    names : iterable of str or None
        Which of `MAKERS`; None for all of `LANGUAGE`.
    parts : callable
        ``(name, compute)`` → what `compute` returns, which `tiny_heads.Parts` keeps.

    Returns
    -------
    dict of str to dict
        By bag and kind: log odds (`SIZE`, n), y (n,) and groups (n,).
    """
    asked = {kind: part for kind, part in rows.items() if kind != "train"}
    X = np.concatenate([part[0] for part in asked.values()])
    ends = np.cumsum([len(part[1]) for part in asked.values()])[:-1]
    found = {}
    for name in LANGUAGE if names is None else names:

        def compute(name=name):
            return {"log_odds": _spaced(MAKERS[name](*rows["train"], X, seed))}

        split = np.split(parts(name, compute)["log_odds"], ends, axis=1)
        found[name] = {
            kind: (log_odds, y, groups)
            for log_odds, (kind, (_, y, groups)) in zip(split, asked.items(), strict=True)
        }
    return found


def _posterior(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.reporters import BayesianLogistic

    fitted = BayesianLogistic(2 / np.sqrt(X.shape[1]), chains=8, draws=100, seed=seed).fit(X, y)
    return fitted.draws_.log_odds(asked)


def _mean_field(X, y, groups, asked, seed) -> np.ndarray:
    """Draws of the normal with independent weights that is nearest to the same posterior."""
    import jax
    import numpyro
    from numpyro.distributions import Bernoulli, ImproperUniform, Normal, constraints
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal
    from numpyro.optim import ClippedAdam

    def model():
        scale = 2 / np.sqrt(X.shape[1])
        w = numpyro.sample("w", Normal(0.0, scale).expand([X.shape[1]]).to_event(1))
        b = numpyro.sample("b", ImproperUniform(constraints.real, (), ()))
        numpyro.sample("y", Bernoulli(logits=X @ w + b), obs=y)

    guide = AutoNormal(model, init_scale=0.05)
    rate = jax.numpy.geomspace(0.02, 0.0002, ROUNDS)
    svi = SVI(model, guide, ClippedAdam(lambda i: rate[i]), Trace_ELBO(num_particles=4))
    first, last = jax.random.split(jax.random.key(seed))
    found = svi.run(first, ROUNDS, progress_bar=False)
    drawn = guide.sample_posterior(last, found.params, sample_shape=(SIZE,))
    return np.asarray(drawn["w"] @ asked.T + drawn["b"][:, None])


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


def _resampled_perceptrons(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks.mlp import MLP
    from elkutils.study import small_networks

    recipe = small_networks.Recipe("", "Adam", learning_rate=1e-3, bootstrapped=True)
    given = MLP((WIDTH, WIDTH)), (X, y, groups), SIZE, seed
    found = small_networks.members(recipe, *given, steps=500)
    return found[small_networks.HELD_OUT].log_odds(asked)


def _anchored(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.reporters import Ensemble

    recipe = {"init": "prior", "anchored": True, "bootstrap": False}
    options = {"steps": 800, "learning_rate": 1e-2, "decay": True, "seed": seed}
    fitted = Ensemble(SIZE, head=_network(X, y), **recipe, **options).fit(X, y)
    return fitted.draws_.log_odds(asked)


def _perceptron(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import hmc

    found = hmc.sample(_network(X, y), X, y, 64, 60, chains=1, seed=seed)
    return found.log_odds(asked)


def _sghmc(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import sgmcmc

    options = {"method": "sghmc", "batch": 32, "seed": seed}
    return sgmcmc.sample(_network(X, y), X, y, 16, 40, 4, 16, **options).log_odds(asked)


def _sgld(X, y, groups, asked, seed) -> np.ndarray:
    """All rows in each step: batches of 32 had not converged after twice as many steps."""
    from elkutils.inference.networks import sgmcmc

    options = {"method": "sgld", "seed": seed}
    return sgmcmc.sample(_network(X, y), X, y, 16, 40, 4, 64, **options).log_odds(asked)


def _laplace(X, y, groups, asked, seed, last_layer=False) -> np.ndarray:
    from elkutils.inference.networks import laplace

    options = {"last_layer": last_layer, "seed": seed}
    return laplace.sample(_network(X, y), X, y, SIZE, **options).log_odds(asked)


def _wide_draws(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import hmc

    return hmc.sample(_wide(X, y), X, y, 64, 60, chains=1, seed=seed).log_odds(asked)


def _wide_last_layer(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import laplace

    options = {"last_layer": True, "seed": seed}
    return laplace.sample(_wide(X, y), X, y, SIZE, **options).log_odds(asked)


def _wide_starts(X, y, groups, asked, seed) -> np.ndarray:
    return _usual_starts(_wide(X, y), (X, y, groups), seed, RATE, 150).log_odds(asked)


def _transformer_draws(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import hmc

    found = hmc.sample(_transformer(X), _flat(X), y, 64, 60, chains=1, seed=seed)
    return found.log_odds(_flat(asked))


def _usual_starts(network, rows, seed, rate, steps) -> "Draws":
    """Members that start as networks usually do, and stop by their held-out loss, as in C8."""
    from elkutils.study import small_networks

    recipe = small_networks.Recipe("", "Adam", learning_rate=rate)
    network = replace(network, weight_scale=USUAL)
    found = small_networks.members(recipe, network, rows, SIZE, seed, steps)
    return found[small_networks.HELD_OUT]


def _wide(X: np.ndarray, y: np.ndarray) -> "MLP":
    return replace(_network(X, y), widths=(WIDE, WIDE))


def _transformer(X: np.ndarray) -> "Transformer":
    """A head on rows (n, tokens, d), with the prior that C8 gives it."""
    from elkutils.inference.networks.transformer import Transformer

    return Transformer(X.shape[-1], TOKENS_WIDTH, weight_scale=TRANSFORMER_SCALE)


def _thresholded(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import threshold
    from elkutils.inference.networks.mlp import MLP

    head = MLP((), weight_scale=2.0)  # the prior of the linear posterior
    return threshold.descend(head, X, y, LOSS, 64, seed=seed).log_odds(asked)


def _infinitely_wide(X, y, groups, asked, seed) -> np.ndarray:
    from elkutils.inference.networks import infinite

    return infinite.sample(_network(X, y), X, y, seed=seed).log_odds(asked)


def _network(X: np.ndarray, y: np.ndarray) -> "MLP":
    """A perceptron whose prior scale has most evidence at infinite width."""
    return _chosen(X.shape, np.float64(X).tobytes(), np.float64(y).tobytes())


@lru_cache(maxsize=1)  # several bags of one seed ask
def _chosen(shape: tuple[int, int], X: bytes, y: bytes) -> "MLP":
    from elkutils.inference.networks.infinite import choose_scale
    from elkutils.inference.networks.mlp import MLP

    rows = np.frombuffer(X).reshape(shape), np.frombuffer(y)
    return choose_scale(MLP((WIDTH, WIDTH)), *rows).network


MAKERS: Mapping[str, Callable[..., np.ndarray]] = {
    DRAWS: _posterior,
    "mean-field draws": _mean_field,
    "draws of a perceptron": _perceptron,
    "SGHMC of a perceptron": _sghmc,
    "SGLD of a perceptron": _sgld,
    "Laplace of a perceptron": _laplace,
    "Laplace of its last layer": partial(_laplace, last_layer=True),
    "draws, wide perceptron": _wide_draws,
    "last layer, wide perceptron": _wide_last_layer,
    INFINITE: _infinitely_wide,
    "draws, transformer": _transformer_draws,
    "prior under a threshold": _thresholded,
    "anchored perceptrons": _anchored,
    RESAMPLED: _resampled,
    "starts of a perceptron": _starts,
    "starts, wide perceptron": _wide_starts,
    "resampled perceptrons": _resampled_perceptrons,
}
WIDE_ONES = "draws, wide perceptron", "last layer, wide perceptron", "starts, wide perceptron"
OF_TOKENS = ("draws, transformer",)  # reads all tokens of a statement
LANGUAGE = tuple(name for name in MAKERS if name not in (*WIDE_ONES, *OF_TOKENS))
# rows of these are not drawn together, so that ranks say nothing
BY_ROW = {*VAULT, *LINEARISED, INFINITE}


def _spaced(log_odds: np.ndarray) -> np.ndarray:
    """`SIZE` members (`SIZE`, n), evenly spaced among all draws."""
    flat = np.asarray(log_odds, np.float64).reshape(-1, log_odds.shape[-1])
    return flat[np.linspace(0, len(flat) - 1, SIZE).round().astype(int)]


def vault_bags(
    predictor: int, parts: Callable = _at_once, cases: int = LABELS
) -> dict[str, Bag]:
    """Return draws of the posterior of a vault predictor's head, and of all of its weights.

    Labels, place and priors are those of `head_enough`, and the network is linearised as there;
    the cases are `FRESH`.

    Parameters
    ----------
    predictor : int
    parts : callable
        As in `language_bags`.
    cases : int
        Labels, and cases of each kind that are asked about.
    """
    setting = head_enough.vault_setting(predictor, FRESH).only(
        "train", "easy", "hard", most=cases
    )
    whole = []

    def compute(s):
        if s and not whole:
            whole.append(head_enough.vault_prior(setting))
        prior = whole[0] if s else head_enough.head_prior(setting)
        return {"log_odds": _spaced(prior.answer(s, draws=100, seed=predictor).log_odds)}

    found = {}
    for name, s in VAULT.items():
        log_odds = parts(name, lambda s=s: compute(s))["log_odds"]
        found[name] = {}
        for kind, of in EASY_AND_HARD.items():
            rows = setting.rows[of]
            ids = np.array([f"{predictor}/{kind}/{i}" for i in range(len(setting.y[rows]))])
            found[name][kind] = log_odds[:, rows], setting.y[rows], ids
    return found


def linearised_bags(seed: int, parts: Callable = _at_once) -> dict[str, Bag]:
    """Return draws of the posterior of a head on SmolLM2, and of all weights below it.

    Labels, rows, place and priors are those of `head_enough.language`, and so is the linearised
    network.

    Parameters
    ----------
    seed : int
    parts : callable
        As in `language_bags`.
    """
    prior = lru_cache(head_enough.language_prior)  # dear, and the same for both

    def compute(s):
        made = prior(seed, progress=True)
        kept = {of: [rows.start, rows.stop] for of, rows in made.prior.rows.items()}
        log_odds = made.prior.answer(s, draws=100, seed=seed).log_odds
        return {"log_odds": _spaced(log_odds), "y": made.prior.y, "groups": made.groups} | kept

    found = {}
    for name, s in LINEARISED.items():
        part = parts(name, lambda s=s: compute(s))
        found[name] = {
            kind: tuple(part[key][..., slice(*part[of])] for key in ("log_odds", "y", "groups"))
            for kind, of in EASY_AND_HARD.items()
        }
    return found


def entry(seed: int, bags: Mapping[str, Bag]) -> dict[str, Any]:
    """Return what is recorded of the bags of one seed (or predictor), as JSON takes it.

    Returns
    -------
    dict
        "seed"; "groups", by kind the k names of cities (elements, cases); and "bags", by bag
        and kind: "variance" of the members' probabilities, "member", the Brier score of a
        member, both as means over the rows of each group and in units of `UNIT`, and "safe",
        the share of answers below one half.
    """
    groups, found = {}, {}
    for name, bag in bags.items():
        found[name] = {}
        for kind, (log_odds, y, names) in bag.items():
            unique, of = np.unique(names, return_inverse=True)
            groups[kind] = unique.tolist()
            split = brier_split(y, expit(log_odds))
            means = {
                key: np.bincount(of, getattr(split, key)) / np.bincount(of) / UNIT
                for key in ("variance", "member")
            }
            found[name][kind] = {k: np.rint(v).astype(int).tolist() for k, v in means.items()}
            found[name][kind]["safe"] = round(float(np.mean(log_odds < 0)), 4)
    return {"seed": seed, "groups": groups, "bags": found}


def measure(
    rows: Rows,
    seed: int,
    folder: str | Path,
    tell: Callable = lambda line: None,
    names: Iterable[str] | None = None,
) -> tuple[dict[str, Any], dict[str, Bag]]:
    """Return the entry of one seed, and its bags.

    Parameters
    ----------
    rows : mapping
        Of this seed, from `read`.
    seed : int
    folder : path
        Where bags are kept; a call with the same rows continues from there.
    tell : callable
        Takes a line of progress.
    names : iterable of str or None
        As in `language_bags`.
    """
    key = digest_of(rows, seed)
    parts = Parts(folder, key, lambda line: tell(f"seed {seed}, {line}"))
    bags = language_bags(rows, seed, names, parts)
    found = entry(seed, bags) | {"digest": key}
    if DRAWS in bags:
        free = {kind: round(prior_part(rows, bags[DRAWS], kind), 4) for kind in KINDS}
        found["prior part"] = free
    return found, bags


def measure_vault(
    predictor: int, folder: str | Path, tell: Callable = lambda line: None, cases: int = LABELS
) -> dict[str, Any]:
    """Return the entry of one predictor; parameters are those of `measure` and `vault_bags`."""
    key = f"vault-{predictor}-{FRESH}-{cases}"
    parts = Parts(folder, key, lambda line: tell(f"predictor {predictor}, {line}"))
    bags = vault_bags(predictor, parts, cases)
    harm = {kind: float(np.mean(bags[HEAD][kind][1])) for kind in EASY_AND_HARD}
    return entry(predictor, bags) | {"harm": harm}


def measure_linearised(
    seed: int, folder: str | Path, tell: Callable = lambda line: None
) -> dict[str, Any]:
    """Return the entry of one seed of `LINEARISED`; parameters are those of `measure`."""
    parts = Parts(folder, f"linearised-{seed}", lambda line: tell(f"seed {seed}, {line}"))
    return entry(seed, linearised_bags(seed, parts))


def measure_spreads(
    bags: Mapping[int, Mapping[str, Bag]], tell: Callable = lambda line: None
) -> dict[str, dict[str, list[float]]]:
    """Return the estimate and both ends of each spread, by bag and shifted kind.

    `bags` are by seed and name, and each seed may have others.
    """
    found = {}
    for name, kind in places():
        if kind == HELD_OUT or name in BY_ROW:
            continue
        own = {seed: every[name] for seed, every in bags.items() if name in every}
        value = spread(own, kind)
        tell(f"spread: {name}, {kind}: {value}")
        ends = [round(x, 4) for x in (value.estimate, value.lower, value.upper)]
        found.setdefault(name, {})[kind] = ends
    return found


def measure_spread_controls(bags: Mapping[int, Mapping[str, Bag]]) -> list[list[int]]:
    """Return passes and runs of both controls of the rule on the spread."""
    rule = claims()["C7b"].criteria["AUROC spread"]
    drawn = {seed: every[DRAWS] for seed, every in bags.items() if DRAWS in every}
    return [[rate.passes, rate.runs] for rate in spread_controls(rule, drawn, len(places()))]


def recorded() -> dict[str, Any]:
    """Return the recorded run: ``tests/benchmarks/members.py`` made it."""
    return recorded_run("members")


def places() -> list[tuple[str, str]]:
    """Return the claim's places: each bag with each kind of row that it is asked about."""
    return [
        *((name, kind) for name in MAKERS for kind in KINDS),
        *((name, kind) for name in (*VAULT, *LINEARISED) for kind in EASY_AND_HARD),
    ]


def columns(record: Mapping[str, Any], name: str, kind: str) -> tuple[np.ndarray, ...]:
    """Return variance, members' Brier score, group and seed (N,) of a recorded bag.

    One row per group and seed. Each city has as many rows as another, so the share of its rows
    is that of its means.
    """
    return pooled(
        (
            e["seed"],
            *(UNIT * np.array(e["bags"][name][kind][key]) for key in ("variance", "member")),
            np.array(e["groups"][kind]),
        )
        for e in record[_part(name)]
    )


def _part(name: str) -> str:
    """Where a record has a bag."""
    named = {
        "predictors": VAULT,
        "linearised": LINEARISED,
        "wide": WIDE_ONES,
        "tokens": OF_TOKENS,
    }
    return next((part for part, names in named.items() if name in names), "seeds")


def spreads(record: Mapping[str, Any]) -> dict[tuple[str, str], Interval]:
    """Return the recorded spreads by place: see `measure_spreads`."""
    return {
        (name, kind): Interval(*ends)
        for name, kinds in record["spreads"].items()
        for kind, ends in kinds.items()
    }


def share(columns: tuple[np.ndarray, ...], **options: object) -> Interval:
    """Return the share of a member's Brier score that averaging the bag removes.

    Parameters
    ----------
    columns : tuple
        From `columns`.
    **options : object
        Other arguments of `elkutils.evaluation.bootstrap`.
    """
    variance, member, groups, seeds = columns
    return bootstrap(_share, variance, member, groups=groups, seeds=seeds, **options)


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
    rule: Criterion, columns: tuple[np.ndarray, ...], places: int
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the share passes half its margin, and twice.

    Members are moved towards their mean, or away from it, until that is their share; groups and
    seeds are drawn again in each run. `columns` are those of one bag on one kind of row.
    """
    variance, member, groups, seeds = columns
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
    """Return the sd over members of `probit_aurocs`, a kind's over that of held-out rows.

    An AUROC of few rows scatters more, so both are taken on as many cities (or elements): the
    side with more is dealt into blocks of the other's number, at random, and the mean of their
    standard deviations counts.
    """
    parts = []
    for seed, bag in bags.items():
        columns = [bag[HELD_OUT], bag[kind]]
        log_odds, y, groups = (np.concatenate(c, axis=-1) for c in zip(*columns, strict=True))
        shifted = np.repeat([0, 1], [len(c[1]) for c in columns])
        least = min(len(np.unique(c[2])) for c in columns)
        block = np.concatenate([_dealt(c[2], least, seed) for c in columns])
        parts.append((seed, y, shifted, block, log_odds, groups))
    y, shifted, block, log_odds, groups, seeds = pooled(parts)
    return spread_ratio(y, shifted, block, log_odds, groups, seeds, **options)


def _dealt(groups: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Which block of `size` groups each row is in; -1 for rows in none."""
    names, of = np.unique(groups, return_inverse=True)
    block = np.random.default_rng(seed).permutation(len(names)) // size
    return np.where(block < len(names) // size, block, -1)[of]


def spread_ratio(
    y: np.ndarray,
    shifted: np.ndarray,
    block: np.ndarray,
    log_odds: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    **options: object,
) -> Interval:
    """Return the ratio of spreads of rows that are `shifted` (N,) to those that are not.

    A side's spread is the mean of those of its blocks; rows with the `block` -1 count for
    nothing. Resampling adds noise to every member's AUROC and draws the ratio towards 1, so
    the interval is centred.
    """
    given = {"groups": groups, "seeds": seeds, "resamples": 300, **options}
    return centred_bootstrap(_ratio_of_spreads, y, shifted, block, *log_odds, **given)


def _ratio_of_spreads(y, shifted, block, *log_odds, weights):
    log_odds, sds = np.array(log_odds), []
    for part in (1, 0):
        each = []
        for one in np.unique(block[(shifted == part) & (block >= 0)]):
            rows = (shifted == part) & (block == one)
            found = probit_aurocs(y[rows], log_odds[:, rows], weights[:, rows])
            each.append(found.std(axis=0, ddof=1))
        sds.append(np.mean(each, axis=0))
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
            whole = np.zeros_like(half)
            return spread_ratio(y[rows], half, whole, moved, fresh, again, **options)

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
