"""What forecasts promised along streams, and what came: over all steps, or over one context.

A forecast promises how often it will be mistaken: a conformal set in a share α of the steps, a
probability p with probability min(p, 1 − p), if the likelier label is guessed. `surplus` is
what came beyond that, step by step. `Steps` averages it over streams of several seeds, with
intervals over groups and seeds, and `drawn` makes labels that keep the promises, for controls.
"""

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_ids
from elkutils.evaluation import Interval


def given_to_label(y: ArrayLike, proba: ArrayLike) -> np.ndarray:
    """Return the probability (n,) that forecasts gave to the label that came.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    proba : (n,) array
        P(y = 1).

    Examples
    --------
    >>> given_to_label([1, 0], [0.75, 0.75]).tolist()
    [0.75, 0.25]
    """
    proba = np.asarray(proba, np.float64)
    return np.where(np.asarray(y) == 1, proba, 1 - proba)


def surplus(y: ArrayLike, forecast: ArrayLike, alpha: float | None = None) -> np.ndarray:
    """Return the mistakes (n,) of each step, 0 or 1, less those that were promised.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    forecast : (n,) array, or (n, 2) array of bool
        P(y = 1); or whether 0 and 1 are in a set that promises a share `alpha` of misses.
    alpha : float or None
        For sets only.

    Raises
    ------
    ValueError
        If sets come without `alpha`, or probabilities with it.

    Examples
    --------
    >>> surplus([1, 0, 1], [0.75, 0.75, 0.5]).tolist()
    [-0.25, 0.75, 0.5]
    """
    y, forecast = np.asarray(y), np.asarray(forecast)
    if (forecast.ndim == 2) != (alpha is not None):
        raise ValueError(
            f"forecast has shape {forecast.shape} and alpha is {alpha}; sets (n, 2) need alpha,"
            " probabilities (n,) take none"
        )
    if forecast.ndim == 2:
        return ~forecast[np.arange(len(y)), y] - alpha
    return ((forecast > 0.5) != (y == 1)) - np.minimum(forecast, 1 - forecast)


class Steps:
    """The steps of streams of several seeds, put end to end, for intervals of 95%.

    A resample draws groups and, independently, seeds with replacement, as
    `elkutils.evaluation.bootstrap` does; here a statistic is one of all seeds' steps together.
    Resamples that draw no step of a context are left out.

    Parameters
    ----------
    groups, seeds : (N,) arrays
        The group and the seed of the statement at each step.
    resamples : int

    Examples
    --------
    >>> steps = Steps(["a", "a", "b", "b"], [0, 1, 0, 1], resamples=50)
    >>> steps.mean(np.array([1.0, 1.0, 1.0, 1.0])).estimate
    1.0
    """

    def __init__(self, groups: ArrayLike, seeds: ArrayLike, resamples: int = 600):
        ids = {"groups": groups, "seeds": seeds}.items()
        checked = [check_ids(of, name, len(groups)) for name, of in ids]
        codes = [np.unique(of, return_inverse=True) for of in checked]
        self._shape = tuple(len(names) for names, _ in codes)
        self._cell = codes[0][1] * self._shape[1] + codes[1][1]
        rng = np.random.default_rng(0)
        counts = (
            rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
            for n in self._shape
        )
        ones = (np.ones((1, n)) for n in self._shape)
        self._weights = [np.concatenate(pair) for pair in zip(ones, counts, strict=True)]

    def mean(self, values: np.ndarray, inside: np.ndarray | None = None) -> Interval:
        """Return the mean of `values` (N,), over the steps `inside` (N,) if it is given."""
        return _percentiles(self._mean(values, inside))

    def gap(self, values: np.ndarray, inside: np.ndarray) -> Interval:
        """Return the mean of `values` (N,) over the steps `inside` less that over all steps."""
        return _percentiles(self._mean(values, inside) - self._mean(values, None))

    def excess(
        self, y: np.ndarray, proba: np.ndarray, bias: float | None = None, bins: int = 10
    ) -> Interval:
        """Return the calibration error less that of a perfectly calibrated forecaster.

        It is Σ_bins abs(Σ_i (y_i − p_i)) / N over the steps of all seeds. The interval is
        moved until the median of the resamples is the estimate, because resampling adds noise
        to an error that cannot be negative.

        Parameters
        ----------
        y : (N,) array of 0 and 1
        proba : (N,) array
            P(y = 1).
        bias : float or None
            The perfect forecaster's error, from `perfect_error`; None computes it.
        bins : int
            Number of bins of equal width.
        """
        place = np.minimum((proba * bins).astype(int), bins - 1)
        gaps = [self._total((y - proba) * (place == b)) for b in range(bins)]
        errors = np.abs(gaps).sum(axis=0) / self._total(np.ones(len(y)))
        found = _percentiles(errors)
        shift = np.median(errors[1:]) - errors[0]
        off = perfect_error(proba, bins) if bias is None else bias
        ends = found.lower - shift - off, found.upper - shift - off
        return Interval(found.estimate - off, *ends)

    def _mean(self, values, inside):
        inside = np.ones(len(values)) if inside is None else inside.astype(float)
        with np.errstate(invalid="ignore"):
            return self._total(values * inside) / self._total(inside)

    def _total(self, values):
        """The sum of `values`: of the data first, then of each resample."""
        sums = np.bincount(self._cell, values, np.prod(self._shape)).reshape(self._shape)
        of_groups, of_seeds = self._weights
        return ((of_groups @ sums) * of_seeds).sum(axis=1)


def perfect_error(proba: np.ndarray, bins: int = 10, repeats: int = 200) -> float:
    """Return the mean calibration error of a calibrated forecaster of `proba` (N,)."""
    proba = np.asarray(proba, np.float64)
    place = np.minimum((proba * bins).astype(int), bins - 1)
    drawn = np.random.default_rng(0).random((repeats, len(proba))) < proba
    sums = (drawn - proba) @ (place[:, None] == np.arange(bins)).astype(float)
    return float(np.abs(sums).sum(axis=1).mean() / len(proba))


def drawn(
    proba: np.ndarray,
    rng: np.random.Generator,
    off: float = 0.0,
    where: np.ndarray | None = None,
    shared: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return labels (N,) of a world in which the forecasts `proba` (N,) are right, or nearly.

    Parameters
    ----------
    proba : (N,) array
    rng : numpy.random.Generator
    off : float
        Labels are drawn from probabilities so much nearer to one half, or beyond it: a shift
        that the forecaster never learns.
    where : (N,) array of bool, or None
        The steps that shift; None for all.
    shared : (rows (N,), y (N,)) or None
        From `counterparts`, and the real labels: steps of one row share one random number u,
        and get the label 1 where u < p if the real label is 1, where 1 − u < p if it is 0. So
        labels depend on each other as much as real ones can. None draws each step for itself.

    Examples
    --------
    >>> drawn(np.array([1.0, 0.0]), np.random.default_rng(0)).tolist()
    [1, 0]
    """
    moved = off if where is None else off * where
    truth = np.clip(proba - moved * np.sign(proba - 0.5), 0.0, 1.0)
    if shared is None:
        return (rng.random(len(proba)) < truth).astype(int)
    rows, y = shared
    u = rng.random(rows.max() + 1)[rows]
    return (np.where(y == 1, u, 1 - u) < truth).astype(int)


def counterparts(groups: np.ndarray, negated: np.ndarray) -> np.ndarray:
    """Return a number (N,) for each group, another for its negated statements.

    A group's two statements are one true and one false, in every seed; they are counterparts,
    and so are the two negated ones.

    Examples
    --------
    >>> counterparts(np.array(["a", "a", "b"]), np.array([False, True, False])).tolist()
    [0, 1, 2]
    """
    of_group = np.unique(groups, return_inverse=True)[1]
    return np.unique(2 * of_group + negated, return_inverse=True)[1]


def _percentiles(values):
    ends = np.nanquantile(values[1:], (0.025, 0.975))
    return Interval(float(values[0]), float(ends[0]), float(ends[1]))
