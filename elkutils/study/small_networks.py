"""Ensembles of small networks against their posterior: recipes, optimisers and stops.

A *recipe* says what differs between members besides their starts, which are prior draws. A
*stop* says where training ends: at a training loss of `LOSSES`, at the held-out loss, or at the
end of the plan. No stop uses the posterior. How alike a bag of members and the posterior are is
measured by `alikeness`, statement by statement, and `intervals` averages over them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from elkutils.evaluation import Interval, bootstrap_means
from elkutils.inference.draws import Draws
from elkutils.inference.networks.network import Network, draw_prior, flat
from elkutils.inference.networks.training import Plan, train_course
from elkutils.study.pooling import pooled

LOSSES = tuple(float(np.log(2) * 2 ** (-k / 2)) for k in range(1, 6))
HELD_OUT, END = "held-out", "to the end"
FLIPPED = 0.05  # share of a member's labels that are flipped
DECIDED = 0.05  # least distance of the posterior mean from ½ at which a verdict counts
MEASURES = "agreement", "total variation", "spread"

STEPS = 1000
LOOKING = 400  # most steps in which the held-out loss is looked for
OPTIMISERS = {
    "GD": Plan(STEPS, 0.2, "sgd", every=5),
    "SGD": Plan(STEPS, 0.1, "sgd", batch=16, shared_batches=False, every=5),
    "Adam": Plan(STEPS, 0.01, "adam", every=5),
}


@dataclass(frozen=True)
class Recipe:
    """What differs between members, how they are trained, and where they stop.

    Attributes
    ----------
    name : str
        Of the recipe, without the optimiser.
    optimiser : str
        A key of `OPTIMISERS`.
    losses : tuple of float
        Training losses, in nats, at which members are kept, besides the held-out stop and the
        end.
    bootstrapped, anchored, flipped : bool
        Whether each member has its own resample of the training groups, the prior's pull to
        its start, and its own labels, of which a share `FLIPPED` is flipped.
    learning_rate : float or None
        None for that of the optimiser.
    """

    name: str
    optimiser: str
    losses: tuple[float, ...] = ()
    bootstrapped: bool = False
    anchored: bool = False
    flipped: bool = False
    learning_rate: float | None = None


RECIPES = (
    *(Recipe("plain", optimiser, LOSSES) for optimiser in OPTIMISERS),
    Recipe("bootstrapped", "Adam", bootstrapped=True),
    Recipe("anchored", "Adam", anchored=True),
    Recipe("anchored, flipped", "Adam", anchored=True, flipped=True),
)


def at_loss(loss: float) -> str:
    """Return the name of the stop at a training loss."""
    return f"loss {loss:.2f}"


def members(
    recipe: Recipe,
    network: Network,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    count: int,
    seed: int,
    steps: int = STEPS,
) -> dict[str, Draws]:
    """Train an ensemble by a recipe and keep it at each stop.

    The held-out stop is a number of steps: that at which the members' mean loss on a fifth of
    the groups was least, when others were trained on the rest in the same way.

    Parameters
    ----------
    recipe : Recipe
    network : Network
    rows : (X (n, d), y (n,), groups (n,))
        Training rows. Groups are held out and resampled whole.
    count : int
        Members.
    seed : int
        Of starts, resamples, flips, batches and the fifth that is held out.
    steps : int
        At which training ends.

    Returns
    -------
    dict of str to Draws
        By the name of the stop: those of `at_loss`, `HELD_OUT` and `END`.
    """
    X, y, groups = rows
    plan = replace(OPTIMISERS[recipe.optimiser], steps=steps, anchored=recipe.anchored)
    if recipe.learning_rate is not None:
        plan = replace(plan, learning_rate=recipe.learning_rate)
    rng = np.random.default_rng((seed, 1))
    names = rng.permutation(np.unique(groups))
    outside = np.isin(groups, names[: max(1, len(names) // 5)])
    start = draw_prior(network, count, X.shape[1], seed)

    def course(kept, plan, **stops):
        labels, weights = _own(recipe, y[kept], groups[kept], count, rng)
        return train_course(
            network, start, X[kept], labels, plan, weights=weights, seed=seed, **stops
        )

    short = replace(plan, steps=min(LOOKING, steps))
    tried = course(~outside, short, held_out=(X[outside], y[outside]))
    found = course(np.ones(len(y), bool), plan, losses=recipe.losses, steps=(tried.best_steps,))
    stopped = dict(zip(map(at_loss, recipe.losses), found.at_losses, strict=True))
    return stopped | {HELD_OUT: found.at_steps[0], END: found.end}


def _own(recipe, y, groups, count, rng):
    """Each member's labels and weights, or those shared by all."""
    labels, weights = y, None
    if recipe.flipped:
        flips = rng.random((count, len(y))) < FLIPPED
        labels = np.where(flips, 1 - y, y)
    if recipe.bootstrapped:
        names, of = np.unique(groups, return_inverse=True)
        weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), count)[:, of]
    return labels, weights


def untrained(network: Network, features: int, count: int, seed: int = 0) -> Draws:
    """Return draws of the prior as one chain: members that were never trained.

    Parameters
    ----------
    network : Network
    features : int
        Features of a row.
    count : int
        Draws.
    seed : int
    """
    shape = flat(network, features)
    start = shape.flatten(draw_prior(network, count, features, seed=seed))
    return Draws(shape, np.asarray(start)[None])


def said(
    draws: Draws, sets: Mapping[str, tuple], kinds: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return the log odds (draws, n) that draws of all chains give to each kind of statement.

    Parameters
    ----------
    draws : Draws
    sets : mapping of str to tuple
        By kind, rows (n, d) first.
    kinds : iterable of str
    """
    return {kind: np.concatenate(draws.log_odds(sets[kind][0])) for kind in kinds}


@dataclass(frozen=True)
class Target:
    """What a posterior says of some statements.

    Attributes
    ----------
    mean : (n,) array
        Its predictive P(y = 1).
    sd : (n,) array
        Standard deviation of its log odds.
    noise : (n,) array
        Mean total variation between it and a bag of its own draws: Monte Carlo error alone.
    """

    mean: np.ndarray
    sd: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(
        cls, log_odds: np.ndarray, again: np.ndarray, count: int, bags: int = 50, seed: int = 0
    ) -> "Target":
        """Summarise draws of log odds (draws, n).

        Parameters
        ----------
        log_odds : (draws, n) array
        again : (others, n) array
            Draws of a second, independent run of the sampler.
        count : int
            Size of the bags that are to be compared with the posterior.
        bags : int
            Random bags of `again` from which the noise is computed.
        seed : int
        """
        mean, rng, p = expit(log_odds).mean(axis=0), np.random.default_rng(seed), expit(again)
        apart = [
            np.abs(p[rng.choice(len(p), min(count, len(p)), replace=False)].mean(axis=0) - mean)
            for _ in range(bags)
        ]
        return cls(mean, log_odds.std(axis=0, ddof=1), np.mean(apart, axis=0))


def alikeness(log_odds: np.ndarray, target: Target) -> np.ndarray:
    """Return how like a posterior a bag is, statement by statement: (n, 3), as `MEASURES`.

    Parameters
    ----------
    log_odds : (draws, n) array
        Of the bag, two draws or more.
    target : Target

    Returns
    -------
    (n, 3) array
        *Agreement*: 1 where the two predictives are on the same side of ½, else 0, and NaN
        where the target's is within `DECIDED` of ½. *Total variation*: the distance of the two
        predictives, less the target's `noise`. *Spread*: the standard deviation of the bag's
        log odds over the target's.

    Examples
    --------
    >>> bag = np.array([[1.0, 3.0], [3.0, 1.0]])
    >>> target = Target(mean=np.array([0.9, 0.5]), sd=np.full(2, 2.0), noise=np.zeros(2))
    >>> alikeness(bag, target).round(2).tolist()
    [[1.0, 0.06, 0.71], [nan, 0.34, 0.71]]
    """
    mean = expit(log_odds).mean(axis=0)
    same = np.where((mean > 0.5) == (target.mean > 0.5), 1.0, 0.0)
    same[np.abs(target.mean - 0.5) <= DECIDED] = np.nan
    spread = log_odds.std(axis=0, ddof=1) / target.sd
    return np.column_stack([same, np.abs(mean - target.mean) - target.noise, spread])


def intervals(parts: Iterable[tuple], resamples: int = 400) -> dict[str, Interval]:
    """Return the mean of each measure over statements, groups and seeds.

    Parameters
    ----------
    parts : iterable of tuples ``(seed, alike (n, 3), groups (n,))``
    resamples : int

    Returns
    -------
    dict of str to Interval
        By the names of `MEASURES`. Where every verdict agrees no resample differs; the interval
        is then that of as many groups, all of which agree.
    """
    values, groups, seeds = pooled((s, alike.T, named) for s, alike, named in parts)
    agreement, *others = bootstrap_means(values.T, groups, seeds, resamples)
    if agreement.lower == agreement.upper == 1:
        count = len(np.unique(groups[np.isfinite(values[0])]))
        agreement = Interval.of_share(count, count)
    found = agreement, *others
    return dict(zip(MEASURES, found, strict=True))


def compare(
    bag: Mapping[int, Mapping[str, np.ndarray]],
    targets: Mapping[tuple[int, str], Target],
    sets: Mapping[int, Mapping[str, tuple]],
) -> dict[str, dict[str, Interval]]:
    """Return `intervals` for each kind of statement.

    Parameters
    ----------
    bag : mapping of seed to mapping of kind to (draws, n) array
        Log odds, as `said` returns them.
    targets : mapping of (seed, kind) to Target
    sets : mapping of seed to mapping of kind to tuple
        The groups (n,) of the statements last.
    """
    kinds = dict.fromkeys(kind for _, kind in targets)
    return {
        kind: intervals(
            (s, alikeness(bag[s][kind], targets[s, kind]), sets[s][kind][-1]) for s in bag
        )
        for kind in kinds
    }


def resampled(
    pools: Mapping[int, np.ndarray],
    targets: Mapping[int, Target],
    groups: Mapping[int, np.ndarray],
    count: int,
    rng: np.random.Generator,
    resamples: int = 400,
) -> dict[str, Interval]:
    """Return `intervals` of one resampled run: seeds, groups and members are drawn anew.

    Parameters
    ----------
    pools : mapping of seed to (draws, n) array
        Log odds from which a bag of `count` is drawn: without replacement where there are more.
    targets : mapping of seed to Target
    groups : mapping of seed to (n,) array
    count : int
        Size of each bag.
    rng : numpy.random.Generator
    resamples : int
        Of the run's own bootstrap.
    """
    seeds = list(pools)
    names = np.unique(np.concatenate([groups[s] for s in seeds]))
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
    parts = []
    for new, s in enumerate(rng.choice(seeds, len(seeds))):
        pool = pools[s]
        chosen = rng.choice(len(pool), count, replace=len(pool) <= count)
        alike = alikeness(pool[chosen], targets[s])
        copies = times[np.searchsorted(names, groups[s])]
        rows = np.repeat(np.arange(len(copies)), copies)
        copy = np.concatenate([np.arange(c) for c in copies]).astype(int)
        labels = np.searchsorted(names, groups[s])[rows] + len(names) * copy
        parts.append((new, alike[rows], labels))
    return intervals(parts, resamples)
