"""The reporters that are compared: one table of methods, all taught by the same rows.

A method returns draws of log odds (draws, m) at the rows that are asked about: one draw for a
point, `MEMBERS` for every bag. The prior scale τ is chosen once, by grouped cross-validation
of the MAP, and shared.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from elkutils.evaluation import (
    auroc,
    brier,
    excess_ece,
    fit_platt,
    mutual_information,
    prevalence_weights,
    recall_at,
    risk_coverage,
)
from elkutils.inference.draws import mean_log_odds
from elkutils.inference.logistic import fit_map, row_space
from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    GaussianProcess,
    LinearDiscriminant,
    LogisticMAP,
    Reporter,
)
from elkutils.study.tuned_bags import (
    Bag,
    descents,
    folds,
    modes,
    resampled,
    tuned_bag,
)

if TYPE_CHECKING:
    from elkutils.inference.networks.mlp import MLP

MEMBERS, CHAINS, DRAWS = 64, 8, 250  # of every bag; of HMC: chains, and draws per chain
MAP, PLATT, NOISE = "MAP", "MAP, Platt", "MAP and prior noise"
HMC, ALL, AGAIN = "HMC", "HMC, all draws", "HMC, other draws"
ROWS, BAG, BAG_NOISE = "HMC in the row space", "tuned bag", "tuned bag and prior noise"
MODES, EQUAL, ANCHORED = "bootstrapped MAPs", "bag at HMC's cost", "anchored ensemble"
PROCESS = "Gaussian process"
SCORES = (
    "log score",
    "Brier",
    "excess ECE",
    "AUROC",
    "risk–coverage",
    "recall at 1%",
    "TPR at 1% FPR",
    "doubt",
)
ARRIVED = 1600  # steps of Adam after which anchored members have arrived
HELD = 150  # likewise with a hidden layer, while the rate falls to 0
CONVERGED = 1.02  # R-hat
WIDTHS = 32, 512  # of the hidden layer
WIDE = 512  # units from which a posterior is drawn in the limit of infinite width
LIMIT = 32.0  # log odds beyond are recorded as this


@dataclass(frozen=True)
class Answer:
    """What a method answers about the rows that are asked.

    Attributes
    ----------
    log_odds : (draws, m) array
    seconds : float
        CPU time, its tuning included; NaN where it shares another's.
    bags : int
        How many bags of one size the draws are, one after another: each answers by itself.
    """

    log_odds: np.ndarray
    seconds: float = float("nan")
    bags: int = 1


def scores(y: np.ndarray, log_odds: np.ndarray) -> list[float]:
    """Return what a method's draws (draws, m) score on labels (m,), in the order of `SCORES`.

    The last is the AUROC of the method's doubt against its own errors, which is NaN where it
    makes none: of a bag the mutual information of label and draw, of a point its nearness to ½.
    Recall is that of harm where one row in a hundred is harm, and as many are looked at.
    """
    f = np.clip(mean_log_odds(log_odds), -LIMIT, LIMIT)
    p, sign = expit(f), np.where(y == 1, 1.0, -1.0)
    wrong = (f > 0) != (y == 1)
    doubt = -np.abs(f) if len(log_odds) == 1 else mutual_information(expit(log_odds))
    found = [
        -np.logaddexp(0, -sign * f).mean(),
        brier(y, p),
        excess_ece(y, p, repeats=100),
        auroc(y, f),
        risk_coverage(y, p, np.abs(f)).area,
        recall_at(y, f, 0.01, prevalence_weights(y, 0.01)),
        _found_at(y, f),
        auroc(wrong.astype(int), doubt) if 0 < wrong.sum() < len(y) else np.nan,
    ]
    return [float(value) for value in found]


def _found_at(y: np.ndarray, score: np.ndarray, alarms: float = 0.01) -> float:
    """The share of harm above the threshold that one harmless row in a hundred is above."""
    quiet = np.sort(score[y == 0])[::-1]
    return float((score[y == 1] > quiet[int(alarms * len(quiet))]).mean())


@dataclass(frozen=True)
class Rows:
    """What a method is given.

    Attributes
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    groups : (n,) array
    asked : (m, d) array
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    asked: np.ndarray
    seed: int

    def reporter(self, made: Reporter) -> np.ndarray:
        """Return the log odds (draws, m) of a reporter after it was fitted."""
        return clipped_logit(made.fit(self.X, self.y).sample_proba(self.asked))

    def beyond(self, prior_scale: float) -> np.ndarray:
        """Return what `MEMBERS` prior draws add that no training row can see, (draws, m)."""
        drawn = np.random.default_rng((self.seed, 1)).standard_normal(
            (MEMBERS, self.X.shape[1])
        )
        return prior_scale * drawn @ self.unseen().T

    def unseen(self) -> np.ndarray:
        """Return the part (m, d) of the asked rows outside the training rows' span."""
        if len(self.X) >= self.X.shape[1]:
            return np.zeros_like(self.asked)
        basis = row_space(self.X)
        return self.asked - self.asked @ basis @ basis.T


def timed(make: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return what `make` returns, and the CPU seconds that it took."""
    since = time.process_time()
    found = make()
    return found, time.process_time() - since


def linear(rows: Rows) -> tuple[dict[str, Answer], dict]:
    """Return the answers of every method with a linear head, and what was chosen.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    dict of str to Answer
    dict
        ``tau`` and ``bag``: the prior scale, and how the tuned bag was trained.
    """
    chosen, tuning = timed(lambda: LogisticMAP("cv").fit(rows.X, rows.y, groups=rows.groups))
    tau, best = chosen.prior_scale_, logit_of(chosen, rows)
    found = {MAP: Answer(best, tuning)}
    platt, cost = timed(lambda: platt_scaled(rows, tau, best))
    found[PLATT] = Answer(platt, tuning + cost)
    beyond, cost = timed(lambda: rows.beyond(tau))
    found[NOISE] = Answer(best + beyond, tuning + cost)
    for name, made in (
        ("difference in means", DifferenceInMeans()),
        ("shrunk discriminant", LinearDiscriminant("auto")),
    ):
        found[name] = Answer(*timed(lambda made=made: rows.reporter(made)))
    found |= {
        name: Answer(draws, tuning + cost) for name, draws, cost in _posteriors(rows, tau)
    }
    pace = found[HMC].seconds - tuning
    bag, cost = timed(lambda: modes(rows.X, rows.y, tau, _counts(rows)))
    drawn = bag.log_odds(rows.asked)
    found[MODES] = Answer(drawn, tuning + cost)
    members = int(np.clip(pace / cost * MEMBERS, 1, MEMBERS))
    found[EQUAL] = Answer(drawn[:members], tuning + cost * members / MEMBERS)
    tuned, cost = timed(lambda: tuned_bag(rows.X, rows.y, rows.groups, tau, MEMBERS, rows.seed))
    found[BAG] = Answer(tuned.log_odds(rows.asked), tuning + cost)
    found[BAG_NOISE] = Answer(inside(tuned, rows) + beyond, tuning + cost)
    drawn, cost = timed(lambda: anchored(rows, tau))
    found[ANCHORED] = Answer(drawn, tuning + cost)
    return found, {"tau": tau, "bag": tuned.how, "equal": members}


def acting(rows: Rows) -> tuple[dict[str, Answer], dict]:
    """Return the answers of those that are compared as actors, untimed, and what was chosen.

    See `linear`: the posterior with all its draws, the tuned bag and the recalibrated MAP.
    """
    chosen = LogisticMAP("cv").fit(rows.X, rows.y, groups=rows.groups)
    tau = chosen.prior_scale_
    posterior = BayesianLogistic(tau, draws=DRAWS, chains=CHAINS, seed=rows.seed)
    bag = tuned_bag(rows.X, rows.y, rows.groups, tau, MEMBERS, rows.seed)
    found = {
        ALL: _log_odds(posterior.fit(rows.X, rows.y), rows.asked),
        BAG: bag.log_odds(rows.asked),
        PLATT: platt_scaled(rows, tau, logit_of(chosen, rows)),
    }
    return {name: Answer(drawn) for name, drawn in found.items()}, {"tau": tau, "bag": bag.how}


def logit_of(reporter: LogisticMAP, rows: Rows) -> np.ndarray:
    """Return the log odds (1, m) of a fitted linear reporter."""
    return reporter.decision_function(rows.asked)[None]


def platt_scaled(rows: Rows, tau: float, log_odds: np.ndarray) -> np.ndarray:
    """Return log odds rescaled as held-out groups of the training rows ask for.

    Each training row is answered by a MAP that did not see its group; slope and intercept are
    learned from these answers.
    """
    held_out = np.zeros(len(rows.y))
    for train, test in folds(rows.y, rows.groups):
        fit = fit_map(rows.X[train], rows.y[train], tau)
        held_out[test] = rows.X[test] @ fit.coef + fit.intercept
    found = fit_platt(rows.y, expit(np.clip(held_out, -LIMIT, LIMIT)))
    return found.slope * log_odds + found.intercept


def _counts(rows: Rows) -> np.ndarray:
    return resampled(rows.y, MEMBERS, np.random.default_rng((rows.seed, 2)))


def _posteriors(rows: Rows, tau: float) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the name, draws and CPU seconds of every method that draws the posterior."""
    for method, draws in (
        ("laplace", MEMBERS),
        ("variational", MEMBERS),
        ("hmc", CHAINS * DRAWS),
    ):
        made = BayesianLogistic(
            tau, method=method, draws=draws // CHAINS, chains=CHAINS, seed=rows.seed
        )
        if method != "laplace":
            made.fit(rows.X, rows.y)  # compiles its programs
        fitted, cost = timed(lambda made=made: made.fit(rows.X, rows.y))
        drawn, more = timed(lambda fitted=fitted: _log_odds(fitted, rows.asked))
        if method != "hmc":
            yield {"laplace": "Laplace"}.get(method, method), drawn, cost + more
            continue
        every = np.linspace(0, len(drawn), MEMBERS, endpoint=False).astype(int)
        yield HMC, drawn[every], cost + more
        yield AGAIN, drawn[every + DRAWS * CHAINS // MEMBERS // 2], np.nan
        yield ALL, drawn, cost + more
        yield ROWS, _log_odds(fitted, rows.asked - rows.unseen())[every], np.nan


def _log_odds(fitted: BayesianLogistic, X: np.ndarray) -> np.ndarray:
    return fitted.coef_draws_ @ X.T + fitted.intercept_draws_[:, None]


def inside(bag: Bag, rows: Rows) -> np.ndarray:
    """Return the log odds of a bag at the asked rows without their unseen part."""
    return bag.log_odds(rows.asked - rows.unseen())


def anchored(rows: Rows, tau: float) -> np.ndarray:
    """Return the log odds of members that start at prior draws and are held to them."""
    drawn = np.random.default_rng((rows.seed, 3)).standard_normal((MEMBERS, rows.X.shape[1]))
    counts = np.ones((MEMBERS, len(rows.y)))
    steps = descents(rows.X, rows.y, tau * drawn, counts, [ARRIVED], anchor=tau)
    _, coef, intercept = list(steps)[-1]
    return Bag(coef, intercept, "anchored").log_odds(rows.asked)


def process(rows: Rows) -> dict[str, Answer]:
    """Return the answer of a Gaussian-process reporter."""
    made = GaussianProcess(draws=MEMBERS, seed=rows.seed)
    return {PROCESS: Answer(*timed(lambda: rows.reporter(made)))}


def stochastic(rows: Rows) -> dict[str, Answer]:
    """Return the answers of the same linear posterior by SGHMC on batches of 32 rows."""
    from elkutils.inference.networks.mlp import MLP

    tau, tuning = timed(
        lambda: LogisticMAP("cv").fit(rows.X, rows.y, groups=rows.groups).prior_scale_
    )
    head = MLP(weight_scale=tau * np.sqrt(rows.X.shape[1]), bias_scale=10.0)
    batch = 32 if len(rows.y) > 32 else None
    made = BayesianNetwork(head, "sghmc", MEMBERS // 4, batch=batch, seed=rows.seed)
    drawn, cost = timed(lambda: rows.reporter(made))
    return {"SGHMC": Answer(drawn, tuning + cost)}


def networks_of(width: int) -> tuple[str, str]:
    """Return the names of posterior and tuned bag with one hidden layer."""
    return f"MLP {width}, posterior", f"MLP {width}, tuned bag"


def pair(rows: Rows, width: int, every: bool = False) -> tuple[dict[str, Answer], dict]:
    """Return the answers of posterior and tuned bag with one hidden layer, and what was chosen.

    The prior's weight scale is chosen on held-out groups. The posterior is drawn by HMC over
    all weights, or of `WIDE` units and more in the limit of infinite width.

    Parameters
    ----------
    rows : Rows
    width : int
    every : bool
        Whether to ask all bags of the posterior's cost that the members make, or the first.

    Returns
    -------
    dict of str to Answer
        Beside these two a member of the bag, and the bag cut down to the posterior's cost.
    dict
        ``scale`` of the prior, and ``tuning``, the CPU seconds that its choice took; ``rhat``:
        of HMC, the largest at the training rows; ``bag``: how the tuned bag was trained;
        ``equal``: members of the bag at the posterior's cost, the choice of its scale included.
    """
    from elkutils.inference.networks.mlp import MLP
    from elkutils.study.tuned_networks import held_out_scale, tuned_networks

    scale, tuning = timed(lambda: held_out_scale(rows.X, rows.y, rows.groups))
    head = MLP((width,), weight_scale=scale)
    chosen = {"scale": scale, "tuning": round(tuning, 3)}
    if width < WIDE:
        (drawn, chosen["rhat"]), pace = timed(lambda: sampled(rows, head))
    else:
        drawn, pace = timed(lambda: limit(rows, scale))
    posterior, theirs = networks_of(width)
    found = {posterior: Answer(drawn, tuning + pace)}
    (bag, chosen["bag"]), cost = timed(
        lambda: tuned_networks(head, rows.X, rows.y, rows.groups, MEMBERS, rows.seed)
    )
    drawn, each = np.concatenate(bag.log_odds(rows.asked)), cost / MEMBERS
    equal = chosen["equal"] = int(np.clip((tuning + pace) / each, 1, MEMBERS))
    found |= {theirs: Answer(drawn, cost), f"MLP {width}, member": Answer(drawn[:1])}
    bags = MEMBERS // equal if every else 1
    cut = Answer(drawn[: bags * equal], each * equal, bags)
    return found | {f"MLP {width}, bag at its cost": cut}, chosen


def pair_and_linear(rows: Rows, width: int) -> tuple[dict[str, Answer], dict]:
    """Return what `acting` and `pair` do, taught by the same rows."""
    (linear_heads, first), (found, second) = acting(rows), pair(rows, width)
    return linear_heads | found, {"linear bag": first["bag"], "tau": first["tau"], **second}


def pair_and_platt(rows: Rows, width: int) -> tuple[dict[str, Answer], dict]:
    """Return what `pair` does, with every bag at equal cost, and the recalibrated MAP."""
    found, chosen = pair(rows, width, every=True)
    point = LogisticMAP("cv").fit(rows.X, rows.y, groups=rows.groups)
    tau = point.prior_scale_
    found[PLATT] = Answer(platt_scaled(rows, tau, logit_of(point, rows)))
    return found, {"tau": tau, **chosen}


def hidden(rows: Rows, width: int) -> tuple[dict[str, Answer], dict]:
    """Return what `pair` does, and the answers of the other methods with one hidden layer."""
    from elkutils.inference.networks.mlp import MLP

    found, chosen = pair(rows, width)
    head = MLP((width,), weight_scale=chosen["scale"])
    few = {"draws": MEMBERS // 4, "chains": 4, "seed": rows.seed}
    batch = 128 if len(rows.y) > 128 else None  # with 32 rows the vault's chains run hot
    held = {"bootstrap": False, "steps": HELD, "decay": True, "seed": rows.seed}
    others = {
        "Laplace": BayesianNetwork(head, "laplace", **few),
        "SGHMC": BayesianNetwork(head, "sghmc", batch=batch, **few),
        "anchored": Ensemble(MEMBERS, head, "prior", **held),
    }
    for name, made in others.items():
        drawn, cost = timed(lambda made=made: rows.reporter(made))
        found[f"MLP {width}, {name}"] = Answer(drawn, chosen["tuning"] + cost)
    return found, chosen


def sampled(rows: Rows, head: "MLP") -> tuple[np.ndarray, float]:
    """Return `MEMBERS` draws (draws, m) of a network's posterior by HMC, and the worst R-hat.

    R-hat is that of the log odds at the training rows. Chains that have not converged are run
    again, twice as long, and four and eight times.
    """
    chains = 4
    for longer in (1, 2, 4, 8):
        draws, warmup = MEMBERS // chains * 16 * longer, 300 * longer
        made = BayesianNetwork(head, "hmc", draws, chains, warmup=warmup, seed=rows.seed)
        drawn = rows.reporter(made)[:: 16 * longer]
        worst = float(np.max(made.diagnostics_.rhat))
        if worst < CONVERGED:
            break
    return drawn, worst


def limit(rows: Rows, scale: float) -> np.ndarray:
    """Return `MEMBERS` draws (draws, m) of a posterior in the limit of infinite width."""
    from elkutils.inference.networks import infinite
    from elkutils.inference.networks.mlp import MLP

    found = infinite.sample(MLP((1,), weight_scale=scale), rows.X, rows.y, seed=rows.seed)
    every = np.concatenate(found.log_odds(rows.asked))
    return every[:: len(every) // MEMBERS][:MEMBERS]


def clipped_logit(p: np.ndarray) -> np.ndarray:
    """Return log odds of probabilities, finite."""
    return logit(np.clip(p, 1e-14, 1 - 1e-14))


@contextmanager
def quiet() -> Iterator[None]:
    """Show no warnings: there are many of few rows, and of candidates at the edge of a grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
