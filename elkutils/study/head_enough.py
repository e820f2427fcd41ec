"""A head's posterior against that of the whole network below it.

`vault_prior` and `language_prior` give the prior covariance of a network that is linearised in
all its weights: the head's part and, for a body prior of any width s, s² times the body's.
`Prior.answer` draws the posterior, exactly, in as many numbers as there are labels. `measure`
has what the chapter records of one predictor, `by_hmc` the same over all weights of the exact
network, and the rest turns records into the quantities of the claims.

*Advantage* is the log score of a posterior less that of its own most probable parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logsumexp

from elkutils import tasks
from elkutils.evaluation import Interval, bootstrap
from elkutils.inference.draws import mean_log_odds
from elkutils.ledger import recorded_run
from elkutils.study import readings
from elkutils.study.scaling import z_scored
from elkutils.tasks import vault

if TYPE_CHECKING:
    from elkutils.inference.networks.pretrained import Kernel, Pretrained

SCALES = (0.1, 0.2, 0.4, 0.8)  # s, fixed before any run
LABELS = 100
PLACE = "MLP 2"
BIAS_SCALE = 2.0
HEADS = 4  # at which a network is linearised
LEAST_R2 = 0.95
LEAST_SHARE = 0.1  # of the prior variance
CONVERGED = 1.01  # R-hat
ROUNDS = 3  # of chains, at most
BLOCKS = 8
BAG = 5
ACTIONS, SETS, FRESH = range(9, 14), 3, 10  # of the comparison with bags; first of its labels
KINDS = {"easy": (vault.easy, 300), "hard": (vault.hard, 300), "shared": (vault.hard, 300)}
NOTHING = 0.0, 2.0  # the interval of a share of which nothing is known


@dataclass(frozen=True, eq=False)
class Answer:
    """What one posterior answers on all rows.

    Attributes
    ----------
    point, mean : (m,) arrays
        Log odds of the most probable parameters, and of the posterior's mean P.
    log_odds : (draws, m) array
        Draws, each row by itself.
    log_evidence : float
    """

    point: np.ndarray
    mean: np.ndarray
    log_odds: np.ndarray
    log_evidence: float


@dataclass(frozen=True, eq=False)
class Prior:
    """Prior covariances of a linearised network, at the training rows and at rows asked.

    Attributes
    ----------
    head, body : pretrained.Kernel
        Of all rows with the n training rows, which come first. The body's is that of s = 1.
    y : (m,) array of 0 and 1
        Labels of all rows.
    rows : dict of str to slice
        The rows of each kind; "train" among them.
    """

    head: "Kernel"
    body: "Kernel"
    y: np.ndarray
    rows: Mapping[str, slice]

    def at(self, s: float) -> "Kernel":
        """Return the covariances for a body prior of width s."""
        return self.head + s**2 * self.body

    def body_share(self, s: float, kind: str = "hard") -> float:
        """Return the body's share of the prior variance of the log odds, bias apart."""
        of = self.rows[kind]
        body = s**2 * float(np.mean(self.body.own[of]))
        return body / (body + float(np.mean(self.head.own[of])))

    def answer(self, s: float, draws: int = 500, seed: int = 0) -> Answer:
        """Return the posterior's answers; four chains of `draws` draws."""
        from elkutils.inference.networks.function_space import Process

        found, train = self.at(s), self.rows["train"]
        y = self.y[train]
        across = found.across[train]
        process = Process.of((across + across.T) / 2, BIAS_SCALE)
        design, _ = process.at(found.across, found.own)
        mode = process.mode(y)
        theta = process.sample(y, draws, 4, seed).flat
        rng = np.random.default_rng((seed, 1))
        log_odds = process.log_odds(theta, found.across, found.own, rng)
        point = design @ mode[:-1] + mode[-1]
        return Answer(point, mean_log_odds(log_odds), log_odds, process.evidence(y))

    def scores(self, log_odds: np.ndarray) -> dict[str, float]:
        """Return the mean log score of log odds (m,) on each kind of row, in nats."""
        return scores(log_odds, self.y, self.rows)


def scores(log_odds: np.ndarray, y: np.ndarray, rows: Mapping[str, slice]) -> dict[str, float]:
    """Return the mean log score of log odds (m,) on each kind of row, in nats."""
    row = log_scores(log_odds, y)
    return {kind: float(row[of].mean()) for kind, of in rows.items()}


def log_scores(log_odds: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the log probability of each label (n,), exact near probabilities 0 and 1."""
    return -np.logaddexp(0.0, np.where(y == 1, -log_odds, log_odds))


def score_error(log_odds: np.ndarray, y: np.ndarray) -> float:
    """Return the standard error, in nats, of a posterior's mean log score.

    It is that of the mean over `BLOCKS` blocks of draws. Each block has fewer draws than the
    whole, and its score is lower for that; the error does not hold this.

    Parameters
    ----------
    log_odds : (draws, n) array
        In the order in which they were drawn; their number is a multiple of `BLOCKS`.
    y : (n,) array of 0 and 1
    """
    parts = np.split(log_odds, BLOCKS)
    found = [log_scores(mean_log_odds(part), y).mean() for part in parts]
    return float(np.std(found, ddof=1) / np.sqrt(BLOCKS))


@dataclass(frozen=True, eq=False)
class Setting:
    """One predictor, its labels, and the rows that it is asked about.

    Attributes
    ----------
    network : pretrained.Pretrained
        With s = 1.
    heads : (h, k) array
        Draws of the head's posterior given other labels than those in `y`.
    X : (m, tokens) array
    y : (m,) array of 0 and 1
    rows : dict of str to slice
    """

    network: "Pretrained"
    heads: np.ndarray
    X: np.ndarray
    y: np.ndarray
    rows: Mapping[str, slice]

    def only(self, *kinds: str, most: int | None = None) -> "Setting":
        """Return the setting with the rows of these kinds; "train" has to be the first.

        With `most`, so many rows of each, drawn at random: cases come sorted.

        Raises
        ------
        ValueError
            If it is not, or there is no such kind.
        """
        if kinds[:1] != ("train",) or not set(kinds) <= set(self.rows):
            raise ValueError(
                f"kinds is {kinds}; it has to begin with 'train' and be of {list(self.rows)}"
            )
        parts = {
            kind: (self.X[rows], self.y[rows])
            for kind, rows in ((kind, _drawn(self.rows[kind], most)) for kind in kinds)
        }
        X, y, rows = _stacked(parts)
        return replace(self, X=X, y=y, rows=rows)


def _drawn(rows: slice, most: int | None) -> np.ndarray:
    """Rows in their order: all of them, or `most` at random."""
    every = np.arange(rows.start, rows.stop)
    if most is None or most >= len(every):
        return every
    return np.sort(np.random.default_rng(0).choice(every, most, replace=False))


def vault_setting(
    seed: int,
    labels: int = 0,
    count: int = LABELS,
    trained: bool = True,
    step: int = readings.VAULT_STEP,
    place: str = PLACE,
    heads: int = HEADS,
) -> Setting:
    """Return a predictor with fresh easy labels, and as many others for the heads.

    Features are z-scored by the easy cases of both, and the prior scale is 2/√d, as everywhere
    in the vault. Cases are drawn anew: no other chapter, and no trial, saw them.

    Parameters
    ----------
    seed : int
        Which predictor.
    labels : int
        Which cases. Rows "shared" are the same for every predictor, the others its own.
    count : int
        Labels.
    trained : bool
        False for a predictor with the weights that training begins with: a control.
    step : int
        The action at which to answer.
    place : str
        One of `readings.VAULT_PLACES`.
    heads : int
        Heads to draw; 0 where the body stays frozen.
    """
    from elkutils.models.vault import build, load_predictor
    from elkutils.models.vault_body import body_of

    predictor = load_predictor(seed)
    if not trained:
        predictor = _untrained(predictor, build)
    world = predictor.world
    key = readings.FIRST_SEED, labels, step
    cases = {"train": vault.easy(world, step, 2 * count, (*key, seed, 0))}
    for i, (kind, (make, n)) in enumerate(KINDS.items()):
        cases[kind] = make(
            world, step, n, (*key, -1 % 2**32 if kind == "shared" else seed, i + 1)
        )
    tokens = {kind: part.tokens.astype(np.float64) for kind, part in cases.items()}
    body, weights = body_of(predictor, readings.VAULT_PLACES[place], tokens["train"].shape[1])
    network, ours = _network(body, weights, tokens["train"])
    y = cases["train"].harm
    drawn = np.zeros((0, body.width))
    if heads:
        drawn = head_draws(ours[count:], y[count:], network.weight_scale, heads, seed)
    parts = {"train": (tokens["train"][:count], y[:count])}
    parts |= {kind: (tokens[kind], cases[kind].harm) for kind in KINDS}
    return Setting(network, drawn, *_stacked(parts))


def _untrained(predictor, build):
    model = build(predictor.world, predictor.plan, predictor.seed)
    return replace(predictor, model=model)


def _network(body, weights, tokens):
    """The body with a head on its features, z-scored by these rows; and those features."""
    from elkutils.inference.networks.pretrained import Pretrained, features

    width = body.width
    raw = Pretrained(body, weights, np.zeros(width), np.ones(width), 1.0, 1.0, BIAS_SCALE)
    seen = features(raw, tokens)
    centre, spread = seen.mean(axis=0), seen.std(axis=0)
    spread[spread == 0] = 1.0
    network = Pretrained(body, weights, centre, spread, 1.0, 2 / np.sqrt(width), BIAS_SCALE)
    return network, z_scored(seen)[0]


def _stacked(parts: Mapping[str, tuple]) -> tuple:
    """Rows of all parts one after another, their labels, and where each part lies."""
    X, y = (np.concatenate([part[i] for part in parts.values()]) for i in (0, 1))
    ends = np.cumsum([len(part[1]) for part in parts.values()])
    rows = {
        kind: slice(int(end - len(part[1])), int(end))
        for (kind, part), end in zip(parts.items(), ends, strict=True)
    }
    return X, y, rows


def head_draws(
    X: np.ndarray, y: np.ndarray, prior_scale: float, count: int, seed: int
) -> np.ndarray:
    """Return `count` spread-out draws (count, d) of the weights of a head's posterior."""
    from elkutils.inference.logistic.samplers import SAMPLERS, Posterior

    posterior = Posterior(X, y, prior_scale, BIAS_SCALE)
    found = SAMPLERS["hmc"].draw(posterior, 50 * count, 1, 300, seed, False)
    return found.flat[::50, :-1]


def vault_prior(setting: Setting, progress: bool = False) -> Prior:
    """Return the prior covariances of one predictor's linearised network."""
    from elkutils.inference.networks.pretrained import body_kernel

    train = setting.X[setting.rows["train"]]
    body = body_kernel(setting.network, setting.heads, setting.X, train, progress=progress)
    return replace(head_prior(setting), body=body)


def head_prior(setting: Setting) -> Prior:
    """Return the prior covariances with a frozen body: without gradients, in a second."""
    from elkutils.inference.networks.pretrained import head_kernel

    head = head_kernel(setting.network, setting.X, setting.X[setting.rows["train"]])
    return Prior(head, 0.0 * head, setting.y, setting.rows)


def measure(setting: Setting, prior: Prior, seed: int = 0) -> dict:
    """Return what is recorded of one predictor: scores by s, 0 among them, and answers.

    Returns
    -------
    dict
        By s: "R2" (1 at s = 0), "body share", "log evidence", and "map" and "posterior", the
        log scores by kind of row. For s = 0 "shared" has P(harm) of the posterior on the
        shared rows, and "shared map" that of the most probable head.
    """
    from elkutils.inference.networks.pretrained import linearity

    hard = setting.X[setting.rows["hard"]]
    r2 = linearity(setting.network, setting.heads, hard, SCALES, 4, seed)
    found = {}
    for s, near in zip((0.0, *SCALES), (1.0, *r2), strict=True):
        answer = prior.answer(s, seed=seed)
        found[f"{s:g}"] = {
            "R2": float(near),
            "body share": prior.body_share(s),
            "log evidence": float(answer.log_evidence),
            "map": prior.scores(answer.point),
            "posterior": prior.scores(answer.mean),
        }
        if not s:
            of = prior.rows["shared"]
            found["0"]["shared"] = np.round(answer.mean[of], 3).tolist()
            found["0"]["shared map"] = np.round(answer.point[of], 3).tolist()
    return found


def by_hmc(
    setting: Setting,
    s: float,
    prior: Prior | None = None,
    draws: int = 400,
    chains: int = 4,
    warmup: int = 100,
    steps: int = 16,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> dict:
    """Return the posterior over all weights of the exact network, beside the linearised one.

    As many chains again are added, at most twice, until the log odds of all rows "hard" have an
    R-hat below 1.01. With 300 draws per chain even four independent ones have about 1.005 in
    the worst of 300 rows.

    Returns
    -------
    dict
        "rhat" (largest over the rows "hard"), "ess" (smallest), "posterior", "map" and
        "other map" (log scores by kind, the latter of `exact_mode` from two starts), "error"
        (standard error of the posterior's log score on "hard", from blocks of draws),
        "gradients" of a chain, "seconds", the settings, and where `prior` is given, with its
        own rows "hard", "tv", the mean total variation to the linearised posterior there.
    """
    from elkutils.inference.diagnostics import diagnose
    from elkutils.inference.networks import hmc

    network = replace(setting.network, body_scale=s)
    train, hard = setting.rows["train"], setting.rows["hard"]
    data = setting.X[train], setting.y[train]
    options = {"draws": draws, "warmup": warmup, "steps": steps}
    running = {"checkpoint": checkpoint, "progress": progress}
    parts, spent = [], {"gradients": 0, "seconds": 0.0}
    for seed in range(ROUNDS):
        found = hmc.sample(network, *data, chains=chains, seed=seed, **options, **running)
        parts.append(found.log_odds(setting.X))
        spent = {name: spent[name] + found.details[name] for name in spent}
        log_odds = np.concatenate(parts)
        worst = diagnose(log_odds[..., hard]).worst
        if worst["rhat"] < CONVERGED:
            break
    together = log_odds.reshape(-1, len(setting.X))
    mean = mean_log_odds(together)
    if prior:
        linear = prior.answer(s).mean[prior.rows["hard"]]
        spent["tv"] = float(np.mean(np.abs(expit(mean[hard]) - expit(linear))))
    modes = [exact_mode(setting, s, start) for start in (0, 1)]
    return {
        "rhat": worst["rhat"],
        "ess": worst["ess"],
        "posterior": scores(mean, setting.y, setting.rows),
        "map": scores(modes[0], setting.y, setting.rows),
        "other map": scores(modes[1], setting.y, setting.rows),
        "error": score_error(together[:, hard], setting.y[hard]),
        "chains": len(log_odds),
        **spent,
        **options,
    }


def exact_mode(setting: Setting, s: float, seed: int = 0) -> np.ndarray:
    """Return the log odds (m,) of the exact network's most probable weights, head and body.

    L-BFGS begins at a draw of the prior; other seeds may find another mode.
    """
    from elkutils.inference.networks.laplace import find_mode
    from elkutils.inference.networks.network import flat

    network, train = replace(setting.network, body_scale=s), setting.rows["train"]
    mode = find_mode(network, setting.X[train], setting.y[train], seed=seed)
    whole = flat(network, setting.X.shape[1])
    return whole.log_odds((mode.z * whole.scales)[None], setting.X)[0]


LAYER, NEAR = 15, 0.002  # NEAR: of rms, where the network is linear
SMALL_CITIES, ASKED_BEFORE = 300, 100  # of the table; by the run that decided nothing
MEMORY = 3 * 2**30  # bytes for the tokens of a few hundred statements


@dataclass(frozen=True, eq=False)
class LanguagePrior:
    """Prior covariances of the linearised language model, and what they were made of.

    Attributes
    ----------
    prior : Prior
        Of the rows "train", "easy" and "hard".
    rms : float
        What s = 1 is, in root mean squares of the weights.
    groups : (m,) array of str
        The city of each row.
    ids : list of m lists of int
        Tokens of each row.
    heads : (h, d) array
        Heads on the raw residual stream at which the model is linearised.
    """

    prior: Prior
    rms: float
    groups: np.ndarray
    ids: list
    heads: np.ndarray


def language(seed: int, heads: int = 2, progress: bool = False) -> dict:
    """Return what is recorded of the linearised language model.

    Half of the training cities give the labels, the other half the heads at which the model is
    linearised. At s = 1 the centred trace of the body's prior covariance at the labelled rows
    equals that of the head's.

    Parameters
    ----------
    seed : int
        One of `study.seeds`.
    heads : int
        Heads at which it is linearised.
    progress : bool

    Returns
    -------
    dict
        "rms", what s = 1 is in root mean squares of the weights; "labels", "y", "groups" and
        "kinds" (by kind, the rows' first and last) of all rows; and by s "R2", "body share",
        "log evidence", and "map" and "posterior", the log odds of each row.
    """
    from elkutils.models import gradients

    made = language_prior(seed, heads, progress)
    prior, rms, rows = made.prior, made.rms, made.prior.rows
    near = [NEAR / rms, -NEAR / rms]
    asked = made.ids[rows["hard"]][::9]  # true and false ones by turns
    network, moves = gradients.load_network(), rms * np.array([*SCALES, *near])
    moved = gradients.perturbed(network, asked, LAYER, made.heads, moves, 3, seed, progress)
    r2 = _linear_r2(moved, SCALES, near)
    found = {"rms": rms, "y": prior.y.tolist(), "groups": made.groups.tolist()}
    found["kinds"] = {kind: [of.start, of.stop] for kind, of in rows.items()}
    for s, close in zip((0.0, *SCALES), (1.0, *r2), strict=True):
        answer = prior.answer(s, seed=seed)
        found[f"{s:g}"] = {
            "R2": float(close),
            "body share": prior.body_share(s),
            "log evidence": float(answer.log_evidence),
            "map": np.round(answer.point, 4).tolist(),
            "posterior": np.round(answer.mean, 4).tolist(),
        }
    return found


def language_prior(seed: int, heads: int = 2, progress: bool = False) -> LanguagePrior:
    """Return the prior of the linearised language model: some CPU minutes.

    Parameters and rows are those of `language`.
    """
    from elkutils.inference.networks.pretrained import Kernel
    from elkutils.models import gradients, load_model
    from elkutils.models.tokens import encode_all

    model = load_model()
    parts, scaled, spread = _cities(model, seed)
    tau = 2 / np.sqrt(scaled["train"].shape[1])
    drawn = head_draws(scaled["heads"], parts["heads"][1], tau, heads, seed)
    kinds = "train", "easy", "hard"
    texts, y, rows = _stacked({kind: parts[kind][:2] for kind in kinds})
    groups = np.concatenate([parts[kind][2] for kind in kinds])
    X = np.concatenate([scaled[kind] for kind in kinds])
    ids = [tokens.ids for tokens in encode_all(model, "texts", list(texts))]
    del model
    raw = drawn / spread
    n = rows["train"].stop
    options = {"columns": n, "memory": MEMORY, "progress": progress}
    network = gradients.load_network()
    body = Kernel(*gradients.gradient_kernel(network, ids, LAYER, raw, **options))
    head = Kernel(tau**2 * X @ X[:n].T, tau**2 * np.sum(X**2, axis=1))
    prior, rms = _unit_prior(head, body, y, rows)
    return LanguagePrior(prior, rms, groups, ids, raw)


def _cities(model, seed):
    """Texts, labels and groups by kind, features z-scored by all training rows, their sd."""
    from elkutils.models import activations, resid_post

    splits = {name: tasks.cities(seed, hard=SMALL_CITIES)[name] for name in ("easy", "hard")}
    (hook,) = resid_post(model, [LAYER])
    read = {name: activations(model, s.texts, [hook])[hook] for name, s in splits.items()}
    easy, hard = splits.values()
    train, test = easy.train_test(seed=seed)
    names = np.random.default_rng(seed).permutation(np.unique(easy.groups[train]))
    first = np.isin(easy.groups[train], names[::2])
    rows = {
        "train": ("easy", train[first]),
        "heads": ("easy", train[~first]),
        "easy": ("easy", test),
        "hard": ("hard", np.flatnonzero(~np.isin(hard.groups, _asked_before()))),
    }
    parts = {
        kind: tuple(np.array(c)[of] for c in _columns(splits[name]))
        for kind, (name, of) in rows.items()
    }
    raw = read["easy"][train]
    scaled = z_scored(raw, *(read[name][of] for name, of in rows.values()))[1:]
    return parts, dict(zip(rows, scaled, strict=True)), np.asarray(raw, np.float64).std(axis=0)


def _columns(split):
    return split.texts, split.labels, split.groups


def _asked_before() -> np.ndarray:
    """The small cities of the run that decided nothing, a hundred of the book's 150."""
    return np.unique(tasks.cities()["hard"].groups)[:ASKED_BEFORE]


def _unit_prior(head, body, y, rows) -> tuple[Prior, float]:
    """The prior with the body in units of the head, and that unit in rms of the weights."""
    train = rows["train"]

    def centred_trace(kernel):
        block = kernel.across[train]
        return np.trace(block) - block.sum() / len(block)

    unit = centred_trace(head) / centred_trace(body)
    return Prior(head, unit * body, y, rows), float(np.sqrt(unit))


def _linear_r2(moved: np.ndarray, scales: Sequence[float], near: Sequence[float]) -> np.ndarray:
    """R² at each scale, from moves (draws, c + 2, h, n) whose last two are a small step."""
    slope = (moved[:, -2] - moved[:, -1]) / (near[0] - near[1])
    found = []
    for i, s in enumerate(scales):
        away = moved[:, i] - moved[:, i].mean(axis=0)
        found.append(1 - np.sum((moved[:, i] - s * slope) ** 2) / np.sum(away**2))
    return np.array(found)


def recorded() -> dict:
    """Return the recorded runs: ``tests/benchmarks/head.py`` made them."""
    return recorded_run("head")


def advantages(
    records: Sequence[Mapping], s: float, kind: str = "hard"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the own advantage of each predictor's head (k,), and of its whole network at s."""
    ours, whole = (
        np.array([r[f"{at:g}"]["posterior"][kind] - r[f"{at:g}"]["map"][kind] for r in records])
        for at in (0.0, s)
    )
    return ours, whole


def gains(records: Sequence[Mapping], s: float, kind: str = "hard") -> np.ndarray:
    """Return the log score of each whole posterior at s less that of the head's, (k,)."""
    return np.array(
        [r[f"{s:g}"]["posterior"][kind] - r["0"]["posterior"][kind] for r in records]
    )


def total_shares(records: Sequence[Mapping], s: float, kind: str = "hard") -> Interval:
    """Return the head's part of what lies between its own MAP and the whole posterior."""
    ours, _ = advantages(records, s, kind)
    return share(ours, ours + gains(records, s, kind))


def share(part: np.ndarray, whole: np.ndarray, resamples: int = 2000) -> Interval:
    """Return the ratio of the means of two columns (k,), by a bootstrap over its k units.

    Where the interval of the mean of `whole` holds 0 there is nothing to share, and nothing is
    known of the ratio.

    Examples
    --------
    >>> print(share(np.full(10, 0.9), np.full(10, 1.0)))
    0.900 [0.900, 0.900]
    """
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    if Interval.of_mean(whole).lower <= 0:
        return unknown(part.mean() / whole.mean())
    return bootstrap(_ratio, part, whole, groups=np.arange(len(part)), resamples=resamples)


def _ratio(part, whole, weights) -> np.ndarray:
    return (weights @ part) / (weights @ whole)


def planted(
    part: np.ndarray, whole: np.ndarray, ratio: float
) -> Callable[[np.random.Generator], Interval]:
    """Return a control for `controls.rates`: a share whose true value is 1/`ratio`.

    Units are drawn again with replacement. Each whole has `ratio` times the mean of the parts,
    plus the unit's measured difference from its part about its mean.
    """
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    gap = whole - part
    made = part + (ratio - 1) * part.mean() + gap - gap.mean()

    def run(rng: np.random.Generator) -> Interval:
        rows = rng.integers(len(part), size=len(part))
        return share(part[rows], made[rows], resamples=500)

    return run


def unknown(estimate: float, low: float = NOTHING[0], high: float = NOTHING[1]) -> Interval:
    """Return the interval of a quantity of which a run says nothing: from `low` to `high`.

    Examples
    --------
    >>> print(unknown(0.98))
    0.980 [0.000, 2.000]
    """
    estimate = float(estimate)
    return Interval(estimate, min(low, estimate), max(high, estimate))


def votes(records: Sequence[Mapping], s: float) -> str:
    """Return "" where a width votes, or why it does not.

    It votes where the records are of the exact network, or of a linearised one with an R² of at
    least 0.95 to it, in the mean over predictors, and where the body has at least a tenth of
    the prior variance.

    Parameters
    ----------
    records : sequence of records
        By predictor; for the vault those of `whole_networks`.
    s : float
    """
    r2 = np.mean([r[f"{s:g}"]["R2"] for r in records])
    body = np.mean([r[f"{s:g}"]["body share"] for r in records])
    if r2 < LEAST_R2:
        return "not known to be near the exact network"
    return "" if body >= LEAST_SHARE else "the body hardly moves the prior"


def whole_networks(record: Mapping) -> list[Mapping]:
    """Return the vault's records by predictor, of exact networks where all are known.

    Where HMC over all weights has converged on every predictor, a width has its posterior, the
    exact network's most probable weights, and an R² of 1. Other widths are the linearised
    networks'.
    """
    found = {seed: dict(each) for seed, each in record["vault"].items()}
    for s in SCALES:
        runs = hmc_at(record, s)
        if not all(int(p) in runs and runs[int(p)]["rhat"] < CONVERGED for p in found):
            continue
        for p, each in found.items():
            exact = {name: runs[int(p)][name] for name in ("posterior", "map")}
            each[f"{s:g}"] = each[f"{s:g}"] | exact | {"R2": 1.0}
    return [*found.values()]


def bags(
    records: Sequence[Mapping], y: np.ndarray, size: int = BAG
) -> tuple[np.ndarray, np.ndarray]:
    """Return each predictor's gain by its head's posterior, and its part in that of bags, (k,).

    Gains are over a head's most probable weights, on the shared rows. A bag is `size` bases
    with a head posterior each, and answers with their mean P(harm). The second column holds the
    jackknife's pseudo-values of the mean gain of all bags over a single head's start, so that
    its mean is that gain.

    Parameters
    ----------
    records : sequence of k records
        More than `size`.
    y : (n,) array of 0 and 1
        Labels of the shared rows.
    size : int
    """
    k = len(records)
    single, points = (
        np.array([r["0"][name] for r in records]) for name in ("shared", "shared map")
    )
    start = log_scores(points, y).mean(axis=1)
    together = {
        bag: log_scores(mixed(single[list(bag)]), y).mean()
        for bag in combinations(range(k), size)
    }

    def gain(left_out=None):
        kept = [i for i in range(k) if i != left_out]
        bagged = [value for bag, value in together.items() if left_out not in bag]
        return np.mean(bagged) - start[kept].mean()

    pseudo = k * gain() - (k - 1) * np.array([gain(i) for i in range(k)])
    return log_scores(single, y).mean(axis=1) - start, pseudo


def many_settings() -> list[tuple[int, int, str]]:
    """Return (labels, action, place) of the settings in which a head is compared with bags.

    Every place at every action, three times, each with labels and cases of its own.
    """
    where = product(ACTIONS, readings.VAULT_PLACES, range(SETS))
    return [(FRESH + i, step, place) for i, (step, place, _) in enumerate(where)]


def against_bags(
    labels: int, step: int, place: str, predictors: int = 10, seed: int = 0
) -> dict[str, list[float]]:
    """Return `bags` of one setting, of heads drawn anew: "own" and "bagged", by predictor."""
    records = []
    for i in range(predictors):
        whole = vault_setting(i, labels, step=step, place=place, heads=0)
        setting = whole.only("train", "shared")
        answer, of = head_prior(setting).answer(0.0, seed=seed), setting.rows["shared"]
        records.append({"0": {"shared": answer.mean[of], "shared map": answer.point[of]}})
    own, bagged = bags(records, setting.y[of])
    return {"own": own.tolist(), "bagged": bagged.tolist()}


def scatter(gaps: np.ndarray) -> tuple[float, float]:
    """Return the variance of gaps (settings, predictors) between predictors, and the rest.

    A gap is taken as a setting's mean, plus a part of the predictor, plus a rest. The first
    number is the variance of the predictors' parts, without what the rest adds to their means
    (0 where that would be negative); the second is the variance of the rest.

    Examples
    --------
    >>> scatter(np.array([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0]]))
    (1.0, 0.0)
    """
    count, k = np.shape(gaps)
    parts = np.mean(gaps, axis=0)
    rest = gaps - parts - np.mean(gaps, axis=1, keepdims=True) + np.mean(gaps)
    noise = float(np.sum(rest**2) / ((count - 1) * (k - 1)))
    return max(0.0, float(np.var(parts, ddof=1)) - noise / count), noise


def mixed(log_odds: np.ndarray) -> np.ndarray:
    """Return the log odds (n,) of the mean P of members (k, n), given by their log odds."""
    ones, zeros = (-np.logaddexp(0.0, sign * log_odds) for sign in (-1, 1))
    return logsumexp(ones, axis=0) - logsumexp(zeros, axis=0)


def by_city(records: Sequence[Mapping], s: float, kind: str = "hard") -> dict[str, np.ndarray]:
    """Return what is measured of the language model, the mean of each city over seeds, (k,).

    Returns
    -------
    dict
        "head" and "whole", own advantages; "gain", the log score of the whole posterior less
        the head's; "total", that less the head's most probable weights'.
    """
    found, names = [], []
    for record in records:
        start, head = (row_scores(record, 0.0, name, kind) for name in ("map", "posterior"))
        point, whole = (row_scores(record, s, name, kind) for name in ("map", "posterior"))
        found.append([head - start, whole - point, whole - head, whole - start])
        names += record["groups"][slice(*record["kinds"][kind])]
    _, of = np.unique(names, return_inverse=True)
    columns = np.concatenate(found, axis=1)
    counts = np.bincount(of)
    means = [np.bincount(of, column) / counts for column in columns]
    return dict(zip(("head", "whole", "gain", "total"), means, strict=True))


def row_scores(record: Mapping, s: float, name: str, kind: str = "hard") -> np.ndarray:
    """Return the log score (m,) of each statement of a kind, of the language model at s.

    `name` is "map" or "posterior".
    """
    of = slice(*record["kinds"][kind])
    return log_scores(np.array(record[f"{s:g}"][name][of]), np.array(record["y"][of]))


def hmc_at(record: Mapping, s: float) -> dict[int, Mapping]:
    """Return what is recorded of HMC over all weights at a width, by predictor."""
    pieces = {tuple(name.split("/")): run for name, run in record["hmc"].items()}
    return {int(seed): run for (seed, at), run in pieces.items() if float(at) == s}


@lru_cache(maxsize=4)
def shared_labels(labels: int = 0) -> np.ndarray:
    """Return the labels of the rows that every predictor is asked about."""
    return vault_setting(0, labels, count=10).y[-KINDS["shared"][1] :]
