"""What learning a temperature costs a forecaster that is calibrated already: a control.

A temperature is learned from some dozens of labels, so it is wrong by chance, and costs
something. `Trials` draws labels from the forecasts, learns, and measures the price.
"""

from collections.abc import Iterable

import numpy as np
from scipy.special import log_expit, logit

from elkutils.evaluation import Interval
from elkutils.study.promises import Steps

GRID = np.geomspace(0.05, 20.0, 241)  # slopes, 1/T: neighbours are 2.5% apart


class Trials:
    """Forecasts of several splits, each with rows to learn a temperature and rows to test it.

    Parameters
    ----------
    parts : iterable of tuples ``(seed, learning (m,), testing (n,), groups (n,))``
        The forecasts P(y = 1) on either kind of row, and the groups of the rows to test.
    resamples : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> parts = [(s, rng.random(50), rng.random(90), np.arange(90)) for s in range(3)]
    >>> Trials(parts).gain(rng).estimate < 0.01
    True
    """

    def __init__(self, parts: Iterable[tuple], resamples: int = 600):
        parts = list(parts)
        self._learning = [np.asarray(p) for _, p, _, _ in parts]
        self._testing = [np.asarray(p) for _, _, p, _ in parts]
        self._losses = [_losses(p) for p in self._learning]
        self._after = [_losses(p) for p in self._testing]
        groups = np.concatenate([groups for *_, groups in parts])
        seeds = np.repeat([s for s, *_ in parts], [len(p) for p in self._testing])
        self._steps = Steps(groups, seeds, resamples)

    def gain(self, rng: np.random.Generator, times: float = 1.0) -> Interval:
        """Return the gain in log score of one trial, in nats, with its interval.

        All labels are drawn from the forecasts, so no temperature can truly help.

        Parameters
        ----------
        rng : numpy.random.Generator
        times : float
            What the learned temperature is multiplied by: 1, or a mistake that is planted.
        """
        gains = []
        for learning, losses, testing, after in zip(
            self._learning, self._losses, self._testing, self._after, strict=True
        ):
            y, told = (rng.random(len(p)) < p for p in (testing, learning))
            ones = told.sum()
            targets = np.where(told, (ones + 1) / (ones + 2), 1 / (len(told) - ones + 2))
            slope = GRID[np.argmin(targets @ losses[1] + (1 - targets) @ losses[0])] / times
            chosen, before = (np.argmin(np.abs(np.log(GRID / a))) for a in (slope, 1.0))
            loss = np.where(y[:, None], after[1], after[0])
            gains.append(loss[:, before] - loss[:, chosen])
        return self._steps.mean(np.concatenate(gains))


def _losses(proba) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each row (n, k) at each slope of the grid, for label 0 and for label 1."""
    log_odds = np.outer(np.clip(logit(np.clip(proba, 1e-13, 1 - 1e-13)), -30, 30), GRID)
    return -log_expit(-log_odds), -log_expit(log_odds)
