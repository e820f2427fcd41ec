"""Controls of the book's rules: what should pass a rule, and what should not."""

import numpy as np

from elkutils.evaluation import (
    Interval,
    PassRate,
    bootstrap,
    ece,
    ece_bias,
    pass_rate,
)
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
