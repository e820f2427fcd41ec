"""Heads on the vault's predictors that are taught with few hard labels, and what binds them.

`teach` draws heads from the posterior of easy and hard labels, `Taught` says what they act
like behind the screen, and `binding_members` how many members it takes until a posterior's own
P(harm) is what limits a bound.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from elkutils.reporters import BayesianLogistic
from elkutils.study import readings
from elkutils.study.scaling import z_scored
from elkutils.tasks import vault

KINDS = {  # how each decides easy cases, and hidden ones
    "translator": ("truth", "truth"),
    "simulator": ("truth", "safe"),
    "confusion": ("truth", "harm"),
    "always safe": ("safe", "safe"),
    "always harm": ("harm", "harm"),
}


@dataclass(frozen=True)
class Taught:
    """What heads drawn from a posterior answer on cases that none of them was taught with.

    Attributes
    ----------
    easy, hard : (draws, n) arrays
        P(harm) of each draw on easy cases and on hidden ones.
    easy_y, hard_y : (n,) arrays of 0 and 1
        The truth, 1 for harm.
    """

    easy: np.ndarray
    hard: np.ndarray
    easy_y: np.ndarray
    hard_y: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of hidden cases that a draw decides rightly (harm where p ≥ ½), on average."""
        return float(np.mean((self.hard >= 0.5) == self.hard_y))

    @property
    def mean_accuracy(self) -> float:
        """The same of the decisions of E[p]."""
        return float(np.mean((self.hard.mean(axis=0) >= 0.5) == self.hard_y))

    @property
    def ranked_accuracy(self) -> float:
        """The same with the threshold at the median of E[p] over hidden cases."""
        mean = self.hard.mean(axis=0)
        return float(np.mean((mean > np.median(mean)) == self.hard_y))

    @property
    def harmless(self) -> float:
        """E[p] of the median hidden case without harm."""
        return float(np.median(self.hard.mean(axis=0)[self.hard_y == 0]))

    def missed(self, limit: float) -> float:
        """Return the share of hidden cases *with* harm whose E[p] is at most `limit`."""
        return float(np.mean(self.hard.mean(axis=0)[self.hard_y == 1] <= limit))

    def floored(self, limit: float) -> float:
        """Return the share of hidden cases without harm whose E[p] is above `limit`."""
        return float(np.mean(self.hard.mean(axis=0)[self.hard_y == 0] > limit))

    def masses(self, least: float = 0.8) -> dict[str, float]:
        """Return the share of the draws that act like each of `KINDS`, and like none.

        A draw acts like a kind if it decides as that does on at least a share `least` of easy
        cases and of hidden ones, harm and no harm counted alike. So a draw that gives every
        case one answer is no simulator, though it agrees with one on all hidden cases.

        Raises
        ------
        ValueError
            Unless ¾ < least ≤ 1: below, a draw could act like two kinds.
        """
        if not 0.75 < least <= 1:
            raise ValueError(f"least is {least!r}; it has to lie above ¾ and at most at 1")
        easy = _alike(self.easy, self.easy_y, least)
        hard = _alike(self.hard, self.hard_y, least)
        found = {name: float(np.mean(easy[a] & hard[b])) for name, (a, b) in KINDS.items()}
        return found | {"other": 1.0 - sum(found.values())}


def teach(
    seed: int,
    place: str,
    k: int = 0,
    easy: int = 600,
    labels: tuple[int, ...] = (0,),
    shuffle: bool = False,
    method: str = "hmc",
    draws: int = 25,
) -> Taught:
    """Return heads drawn from the posterior of `easy` easy labels and k hard ones, all right.

    Half of the k cases are with harm, up to one, so that there are both labels from k = 2 on.
    Features are z-scored by the easy training cases (no label is used for that), and the prior
    scale is 2/√d.

    Parameters
    ----------
    seed : int
        Which predictor, and which cases.
    place : str
        Of `VAULT_PLACES`.
    k, easy : int
        How many labels of either sort, up to 1000 and 600. With no easy ones k is at least 2.
    labels : tuple of int
        Seed of the choice of the hard cases, beside `seed`. The k cases of a smaller k are
        among those of a larger.
    shuffle : bool
        Whether to shuffle the hard labels: a control.
    method : str
        Of `BayesianLogistic`.
    draws : int
        Per chain, of 16 chains.
    """
    scaled, parts = _scaled(seed, place)
    rng = np.random.default_rng((*labels, seed))
    rows = _alternating(parts["asked"].y, rng)[:k]
    said = parts["asked"].y[rows]
    if shuffle:
        said = rng.permutation(said)
    X = np.concatenate([scaled["easy"][:easy], scaled["asked"][rows]])
    y = np.concatenate([parts["easy"].y[:easy], said])
    tau = 2 / np.sqrt(X.shape[1])
    fit = BayesianLogistic(tau, method=method, draws=draws, chains=16, seed=seed).fit(X, y)
    answers = [fit.sample_proba(scaled[name]) for name in ("held out", "hard")]
    return Taught(*answers, parts["held out"].y, parts["hard"].y)


def heads(
    seeds: Iterable[int],
    place: str,
    k: int,
    easy: int,
    picks: Sequence[tuple[int, ...]],
    floor: float,
    shuffle: bool = False,
) -> np.ndarray:
    """Return what taught heads do on hidden cases, a row per predictor.

    Parameters
    ----------
    seeds : iterable of int
        Which predictors.
    place, k, easy, shuffle
        As in `teach`.
    picks : sequence of tuples of int
        Choices of the hard labels; a row is the mean over them.
    floor : float
        A bound on P(harm) that N members can give.

    Returns
    -------
    (seeds, columns) array
        Accuracy of draws and of their mean; share of harmless cases above `floor`, and of
        harmful ones below it; log₁₀ of `binding_members` of the median harmless case; the
        mass of each kind of `KINDS` and of others; accuracy with the threshold at the median.
    """
    rows = []
    for seed in seeds:
        drawn = [teach(seed, place, k, easy, pick, shuffle) for pick in picks]
        each = [
            [
                bag.accuracy,
                bag.mean_accuracy,
                bag.floored(floor),
                bag.missed(floor),
                np.log10(binding_members(bag.harmless)),
                *bag.masses().values(),
                bag.ranked_accuracy,
            ]
            for bag in drawn
        ]
        rows.append(np.mean(each, axis=0))
    return np.array(rows)


def labelled(
    cases: vault.Cases, k: int, noise: float, seed: int | tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the hypotheses' answers (hypotheses, k) on k labelled cases, and the labels (k,).

    As `elkutils.tasks.vault.label` draws them.
    """
    rows, labels = vault.label(cases, k, noise, seed)
    return cases.take(rows).answers, labels


def binding_members(mass: ArrayLike, delta: float = 0.05) -> np.ndarray:
    """Return the N at which the floor 1 − δ^(1/N) of N members equals `mass`.

    With fewer members the floor lies above `mass`, and is what binds; with more, `mass` binds.
    N is not rounded; it is infinite at mass 0.

    Raises
    ------
    ValueError
        Unless 0 ≤ mass < 1 and 0 < δ < 1.

    Examples
    --------
    >>> round(float(binding_members(0.0295)))
    100
    """
    mass = np.asarray(mass, np.float64)
    if not ((mass >= 0) & (mass < 1)).all():
        raise ValueError(f"mass is {mass}; it has to lie in [0, 1)")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta!r}; it has to lie between 0 and 1")
    with np.errstate(divide="ignore"):
        return np.log(delta) / np.log1p(-mass)


def _alternating(y, rng) -> np.ndarray:
    """Row numbers in random order, one of either label in turn."""
    order = rng.permutation(len(y))
    harm, safe = (order[y[order] == label] for label in (1, 0))
    pairs = list(zip(harm, safe, strict=False))
    return np.array(pairs, dtype=np.int64).ravel()


@lru_cache(maxsize=64)
def _scaled(seed, place):
    parts = readings.read_vault(seed)
    rows = z_scored(*(part.X[place] for part in parts.values()))
    return dict(zip(parts, rows, strict=True)), parts


def _alike(proba, y, least) -> dict[str, np.ndarray]:
    """Whether each draw decides like the truth, and like either constant answer."""
    harm = proba >= 0.5
    on_safe, on_harm = harm[:, y == 0].mean(axis=1), harm[:, y == 1].mean(axis=1)
    shares = {
        "truth": 1 - on_safe + on_harm,
        "safe": 2 - on_safe - on_harm,
        "harm": on_safe + on_harm,
    }
    return {name: found / 2 >= least for name, found in shares.items()}
