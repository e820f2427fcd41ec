"""Controls of the book's rules: what should pass a rule, and what should not."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import norm

from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    ece,
    ece_bias,
    pass_rate,
)
from elkutils.evaluation.power import LEAST_RUNS
from elkutils.ledger import HOLDS, Criterion


def excess_interval(
    y: np.ndarray,
    proba: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    resamples: int = 2000,
    bias: float | None = None,
) -> Interval:
    """Return the excess ECE, averaged over seeds, with its bootstrap interval.

    The excess is the ECE less that of a perfectly calibrated forecaster of the same forecasts.

    Parameters
    ----------
    y, proba, groups, seeds : (N,) arrays
        In long format, as `elkutils.evaluation.bootstrap` takes them.
    resamples : int
    bias : float or None
        What to subtract, from `mean_bias`; None computes it.
    """
    found = bootstrap(ece, y, proba, groups=groups, seeds=seeds, resamples=resamples)
    bias = mean_bias(proba, seeds) if bias is None else bias
    ends = (found.estimate - bias, found.lower - bias, found.upper - bias)
    return Interval(*ends, found.level)


def mean_bias(proba: np.ndarray, seeds: np.ndarray) -> float:
    """Return the ECE of a perfectly calibrated forecaster, averaged over seeds."""
    return float(np.mean([ece_bias(proba[seeds == seed]) for seed in np.unique(seeds)]))


def calibration_controls(
    criterion: Criterion,
    proba: np.ndarray,
    groups: np.ndarray,
    seeds: np.ndarray,
    off: float = 0.1,
    runs: int = 200,
    resamples: int = 200,
) -> tuple[PassRate, PassRate]:
    """Return how often the excess ECE of two made-up reporters passes a criterion.

    Both make the forecasts `proba`. The positive control is calibrated by construction: each of
    its labels is drawn from its forecast. The labels of the negative control are drawn from
    probabilities that are `off` nearer to one half, or beyond it, so its ECE is about `off`.

    Parameters
    ----------
    criterion : Criterion
        Of the ledger; `excess_interval` is what it judges.
    proba, groups, seeds : (N,) arrays
        Forecasts, groups and seeds of the run whose labels the criterion judges.
    off : float
    runs, resamples : int
        Runs of each control, and bootstrap resamples in each run.

    Returns
    -------
    positive, negative : PassRate
    """
    bias = mean_bias(proba, seeds)
    nearer = np.clip(proba - off * np.sign(proba - 0.5), 0.0, 1.0)

    def passes(truth: np.ndarray):
        def run(rng: np.random.Generator) -> bool:
            y = (rng.random(len(truth)) < truth).astype(int)
            found = excess_interval(y, proba, groups, seeds, resamples, bias)
            return criterion.judge(found) == HOLDS

        return run

    return pass_rate(passes(proba), runs), pass_rate(passes(nearer), runs)


def rates(
    criterion: Criterion,
    positive: Callable[[np.random.Generator], Interval],
    negative: Callable[[np.random.Generator], Interval],
    places: int = 1,
    runs: int = LEAST_RUNS,
    seed: int = 0,
) -> tuple[PassRate, PassRate]:
    """Return how often a criterion passes its two controls: see `Chapter.control`.

    Parameters
    ----------
    criterion : Criterion
    positive, negative : callable
        ``(rng)`` → the interval of one resampled run of a control, made as the run's own
        intervals are.
    places : int
        Number of places of the claim: a control is judged as one of that many.
    runs : int
        Runs of each control, at least 200.
    seed : int

    Returns
    -------
    positive, negative : PassRate
    """

    def passes(control):
        return lambda rng: criterion.judge(control(rng), places) == HOLDS

    return pass_rate(passes(positive), runs, seed), pass_rate(passes(negative), runs, seed + 1)


def planted_scores(
    y: np.ndarray,
    auroc: float,
    groups: np.ndarray,
    rng: np.random.Generator,
    shared: float = 0.5,
) -> np.ndarray:
    """Return the scores (N,) of a made-up reporter whose AUROC is known.

    Scores are normal with unit variance about Φ⁻¹(AUROC)·√2 for label 1 and 0 for label 0. The
    share `shared` of the variance is common to rows of one group and label, in every seed: a
    city that is hard once is hard again.

    Parameters
    ----------
    y : (N,) array of 0 and 1
    auroc : float
        Between 0 and 1, ends excluded.
    groups : (N,) array
    rng : numpy.random.Generator
    shared : float
        Between 0 and 1.
    """
    keys = np.array([f"{group}/{label}" for group, label in zip(groups, y, strict=True)])
    _, of = np.unique(keys, return_inverse=True)
    common = rng.standard_normal(of.max() + 1)[of]
    own = rng.standard_normal(len(y))
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return np.sqrt(2) * norm.ppf(auroc) * y + noise


def shared(
    run: Callable[[np.random.Generator], Mapping[str, Interval]],
) -> Callable[[str], Callable[[np.random.Generator], Interval]]:
    """Return a control of several criteria of which each resampled run is computed once.

    `rates` draws the same runs for every criterion, so that criteria can share them.

    Parameters
    ----------
    run : callable
        ``(rng)`` → the intervals of one resampled run, by name.

    Returns
    -------
    callable
        The name of a criterion → ``(rng)`` → the interval of that name, for `rates`.
    """
    found = {}

    def at(rng: np.random.Generator) -> Mapping[str, Interval]:
        key = int(rng.integers(2**62))
        if key not in found:
            found[key] = run(rng)
        return found[key]

    return lambda name: lambda rng: at(rng)[name]
