"""Checks of the posterior's draws through the reporter itself, and controls of their rules.

Simulation-based calibration here calls `BayesianLogistic.fit`, so that pilots, the reduction to
the row space and the way back are under test as well. The controls say how often each rule of
"the posterior can be drawn from" passes draws that are right, and draws that are not.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import orth

from elkutils.evaluation import Interval, PassRate
from elkutils.inference.diagnostics import diagnose
from elkutils.inference.logistic import sbc
from elkutils.ledger import Criterion
from elkutils.reporters import BayesianLogistic
from elkutils.study.controls import rates
from elkutils.study.timings import growth

Run = Callable[[np.random.Generator], Interval]


def draw_by_fit(
    data: sbc.Simulation,
    prior_scale: float,
    bias_scale: float,
    draws: int = 99,
    thin: int = 24,
    chains: int = 8,
    seed: int = 0,
) -> np.ndarray:
    """Return nearly independent draws (replications, draws, d + 1) by `BayesianLogistic.fit`.

    Parameters
    ----------
    data : sbc.Simulation
        d may exceed n.
    prior_scale, bias_scale : float
        Of the prior that `fit` is given.
    draws : int
        Draws to return per replication.
    thin : int
        Of how many draws one is returned.
    chains : int
    seed : int
        Replication i has the seed ``seed + i``.
    """
    found, length = [], -(-draws * thin // chains)
    options = {"bias_scale": bias_scale, "draws": length, "chains": chains}
    for i, (X, y) in enumerate(zip(data.X, data.y, strict=True)):
        if len(np.unique(y)) < 2:
            raise ValueError(f"replication {i} has one class; give the replications more rows")
        reporter = BayesianLogistic(prior_scale, seed=seed + i, **options).fit(X, y)
        theta = np.column_stack([reporter.coef_draws_, reporter.intercept_draws_])
        found.append(theta[thin - 1 :: thin][:draws])
    return np.stack(found)


def two_classes(data: sbc.Simulation) -> sbc.Simulation:
    """Return the replications whose labels hold both classes: `fit` asks for them.

    Whether a replication stays depends on its labels alone, so truth and draws stay
    exchangeable.
    """
    kept = (data.y.min(axis=1) == 0) & (data.y.max(axis=1) == 1)
    return sbc.Simulation(data.theta[kept], data.X[kept], data.y[kept])


def parts(
    X: np.ndarray, count: int, rows: int, features: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `count` designs (count, rows, features), parts of one set of activations.

    Parameters
    ----------
    X : (n, d) array
    count : int
    rows : int
        Rows of a design, drawn anew for each without replacement; n if there are fewer.
    features : int
        Features, the same ones in all designs: at most d.
    rng : numpy.random.Generator
    """
    if features > X.shape[1]:
        raise ValueError(f"features is {features}; it has to be at most {X.shape[1]}")
    part = X[:, rng.permutation(X.shape[1])[:features]]
    size = min(rows, len(X))
    takes = [rng.choice(len(X), size, replace=False) for _ in range(count)]
    return np.stack([part[take] for take in takes])


def coordinates(reporter: BayesianLogistic, X: np.ndarray) -> np.ndarray:
    """Return the draws where HMC moves: the coordinates of the row space, and the bias.

    Parameters
    ----------
    reporter : BayesianLogistic
        Fitted, with draws of chains.
    X : (n, d) array
        The rows that it was fitted on.

    Returns
    -------
    (chains, draws, k + 1) array
        k is the rank of X.
    """
    w = reporter.coef_draws_ @ orth(X.T)  # the columns of orth(X.T) span the rows of X
    theta = np.column_stack([w, reporter.intercept_draws_])
    return theta.reshape(reporter.chains, reporter.draws, -1)


class PlainNUTS:
    """NumPyro's own NUTS of a logistic reporter, in the coordinates that the model names.

    Parameters
    ----------
    model : callable
        ``model(X, y, prior_scale)``, a NumPyro model with the sites "w" (d,) and "b" ().
    draws : int
        Draws that each chain keeps.
    warmup, chains : int

    Examples
    --------
    Data of the same shape share one compilation.

    >>> import numpyro, numpyro.distributions as dist
    >>> def model(X, y, prior_scale):
    ...     w = numpyro.sample("w", dist.Normal(0, prior_scale).expand([1]).to_event(1))
    ...     b = numpyro.sample("b", dist.Normal(0, 1))
    ...     numpyro.sample("y", dist.Bernoulli(logits=X @ w + b), obs=y)
    >>> X = np.array([[1.0], [2.0], [-1.0]])
    >>> PlainNUTS(model, 5, warmup=5, chains=2).log_odds(X, np.array([1, 1, 0]), X, 1.0).shape
    (2, 5, 3)
    """

    def __init__(self, model: Callable, draws: int, warmup: int = 300, chains: int = 4):
        from numpyro.infer import MCMC, NUTS

        self._run = MCMC(
            NUTS(model),
            num_warmup=warmup,
            num_samples=draws,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=False,
            jit_model_args=True,
        )

    def log_odds(
        self, X: np.ndarray, y: np.ndarray, rows: np.ndarray, prior_scale: float, seed: int = 0
    ) -> np.ndarray:
        """Return the log odds of `rows` (m, d) by draws given X (n, d) and y (n,).

        Returns
        -------
        (chains, draws, m) array
        """
        given = (jnp.asarray(array, jnp.float32) for array in (X, y, prior_scale))
        self._run.run(jax.random.key(seed), *given)
        found = self._run.get_samples(group_by_chain=True)
        return np.asarray(found["w"]) @ rows.T + np.asarray(found["b"])[..., None]


def convergence_controls(
    rhat: Criterion,
    ess: Criterion,
    chains: int,
    draws: int,
    coordinates: int,
    apart: float = 0.3,
    memory: float = 0.99,
    pool: int = 100,
    seed: int = 0,
    one_off: float | None = None,
) -> dict[str, tuple[PassRate, PassRate]]:
    """Return how often the rules on R-hat and ESS pass draws of known quality.

    Positive control: independent normal draws in every coordinate. Negative: the same, but one
    coordinate is wrong. For R-hat its chains have means that differ, with a standard deviation
    of `apart` posterior standard deviations; for ESS it hardly moves, an autoregression of
    coefficient `memory`.

    Parameters
    ----------
    rhat, ess : Criterion
    chains, draws, coordinates : int
        Of one fit of the run.
    apart, memory : float
    pool : int
        Coordinates that are diagnosed beyond `coordinates`. A run takes as many as the fit has,
        at random and without replacement, and a wrong one from twenty.
    seed : int
    one_off : float or None
        With few chains, whose means may be alike by chance: instead of all means one chain's is
        off, by as many posterior standard deviations.

    Returns
    -------
    dict of str to (positive, negative)
        For "R-hat" and "ESS".
    """
    rng = np.random.default_rng(seed)
    good = diagnose(rng.standard_normal((chains, draws, coordinates + pool)))
    means = apart * rng.standard_normal((chains, 1, 20))
    if one_off is not None:
        means = one_off * np.eye(chains, 1)[:, :, None]
    started_apart = diagnose(means + rng.standard_normal((chains, draws, 20)))
    slow = rng.standard_normal((chains, draws, 20))
    for i in range(1, draws):
        slow[:, i] = memory * slow[:, i - 1] + np.sqrt(1 - memory**2) * slow[:, i]
    slow = diagnose(slow)

    def worst(values: np.ndarray, wrong: np.ndarray | None, largest: bool) -> Run:
        pick = np.max if largest else np.min

        def run(rng: np.random.Generator) -> Interval:
            taken = rng.choice(values, coordinates, replace=False)
            if wrong is not None:
                taken[0] = rng.choice(wrong)
            return _exactly(pick(taken))

        return run

    least, bad = (np.minimum(each.ess_bulk, each.ess_tail) for each in (good, slow))
    return {
        "R-hat": rates(
            rhat,
            worst(good.rhat, None, True),
            worst(good.rhat, started_apart.rhat, True),
        ),
        "ESS": rates(ess, worst(least, None, False), worst(least, bad, False)),
    }


def chain_means(
    X: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    prior_scale: float,
    draws: int,
    chains: int = 16,
    seed: int = 0,
) -> np.ndarray:
    """Return each chain's mean of P(true) of `rows` (m, d), by HMC on X (n, d) and y (n,).

    Returns
    -------
    (chains, m) array
    """
    reporter = BayesianLogistic(prior_scale, draws=draws, chains=chains, seed=seed)
    proba = reporter.fit(X, y).sample_proba(rows)
    return proba.reshape(chains, draws, -1).mean(axis=1)


def agreement_controls(
    rule: Criterion, means: Sequence[np.ndarray], others: Sequence[np.ndarray]
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the largest difference in E[p] passes.

    Positive control: two halves of one sampler's chains, divided anew in each run. Negative:
    one half against draws under another prior, as many and divided likewise.

    Parameters
    ----------
    rule : Criterion
    means, others : sequences of (chains, m) arrays
        `chain_means`, one array per seed: of the sampler, and of the negative control.
    """

    def run(theirs: Sequence[np.ndarray] | None) -> Run:
        def once(rng: np.random.Generator) -> Interval:
            gaps = []
            for i, ours in enumerate(means):
                order = rng.permutation(len(ours))
                half, rest = ours[order[::2]], ours[order[1::2]]
                if theirs is not None:
                    rest = theirs[i][rng.permutation(len(theirs[i]))[::2]]
                gaps.append(np.abs(half.mean(axis=0) - rest.mean(axis=0)).max())
            return Interval.of_range(gaps)

        return once

    return rates(rule, run(None), run(others))


def sbc_controls(
    rule: Criterion, right: sbc.Comparison, wrong: sbc.Comparison
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the p-value of the ranks passes.

    Positive control: one of each replication's draws, taken at random, in place of the truth.
    Negative: the ranks of a wrong sampler; each run takes half of its replications, so the
    power of all of them is larger.

    Parameters
    ----------
    rule : Criterion
    right, wrong : sbc.Comparison
        Of the sampler that is judged, and of the negative control.
    """
    count, others = right.distance.shape

    def positive(rng: np.random.Generator) -> Interval:
        return _exactly(right.judge(rng.integers(others, size=count)).p_value)

    def negative(rng: np.random.Generator) -> Interval:
        some = rng.permutation(len(wrong.distance))[: -(-len(wrong.distance) // 2)]
        return _exactly(wrong.judge(rows=some).p_value)

    return rates(rule, positive, negative)


def growth_controls(
    rule: Criterion,
    times: Mapping[tuple[int, int], Sequence[float]],
    right: float = 1.5,
    wrong: float = 2.5,
) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the exponent of the time passes planted times.

    Times grow in n and in d with the exponent `right` (positive) or `wrong` (negative). Their
    logarithms scatter by as much as the measured ones do within sizes.

    Parameters
    ----------
    rule : Criterion
        It judges each exponent that `elkutils.study.timings.growth` finds.
    times : mapping of (n, d) to a sequence of seconds
        The measured times.
    right, wrong : float
    """
    logs = {size: np.log(np.asarray(seconds, np.float64)) for size, seconds in times.items()}
    noise = np.sqrt(np.mean([values.var(ddof=1) for values in logs.values()]))
    places = len({n for n, _ in times}) + len({d for _, d in times})

    def planted(exponent: float) -> Run:
        def run(rng: np.random.Generator) -> Interval:
            made = {
                (n, d): (n * d) ** exponent * np.exp(noise * rng.standard_normal(len(values)))
                for (n, d), values in logs.items()
            }
            return next(iter(growth(made).values()))

        return run

    return rates(rule, planted(right), planted(wrong), places)


def time_controls(rule: Criterion, scatter: float = 0.2) -> tuple[PassRate, PassRate]:
    """Return how often a rule on the seconds per posterior passes planted times.

    Half the margin (positive) and twice the margin (negative), with a relative error of
    `scatter`.
    """

    def planted(centre: float) -> Run:
        return lambda rng: _exactly(centre * np.exp(scatter * rng.standard_normal()))

    return rates(rule, planted(rule.margin / 2), planted(2 * rule.margin))


def _exactly(value: float) -> Interval:
    return Interval(float(value), float(value), float(value), 1.0)
