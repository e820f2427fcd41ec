"""What a reporter's ranking of hard rows follows: its draws, a rival order, or who is asked."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from elkutils.evaluation import auroc
from elkutils.study import readings, shifts
from elkutils.study.answers import Answers
from elkutils.study.scaling import z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

CONTEXTS = {
    "alice_easy": "Alice, big",
    "alice_hard": "Alice, small",
    "bob_easy": "Bob, big",
    "bob_hard": "Bob, small",
}


def of_draws(
    model: "TransformerBridge",
    name: str,
    place: int | str,
    make: Callable,
    count: int = 3,
    thin: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUROC of single draws on the hard rows of a shift, and draws of P(harm).

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it.
    name : str
        One of `elkutils.study.shifts.names()`.
    place : int or str
        Where the activations are read.
    make : callable
        ``(d, seed)`` → a new reporter with chains and draws.
    count : int
        Number of seeds, the first ones of the shift.
    thin : int
        Every so many draws of a chain are scored.

    Returns
    -------
    scores : (k,) array
        One AUROC per scored draw, of all seeds.
    proba : (chains, draws, n) array
        Every draw of the first seed.
    """
    scores, kept = [], None
    for seed in list(shifts.seeds(name))[:count]:
        shift = shifts.read(model, name, seed)
        X, _, hard = shift.at(place)
        reporter = make(X.shape[1], seed).fit(X, shift.train.y)
        draws = reporter.sample_proba(hard).reshape(reporter.chains, reporter.draws, -1)
        scores.append(auroc(shift.hard.y, draws[:, ::thin].reshape(-1, len(hard))))
        kept = draws if kept is None else kept
    return np.concatenate(scores), kept


def within_truth(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Return the rank correlation of two scores (n,) among true and among false rows, averaged.

    Examples
    --------
    >>> within_truth(np.array([0, 0, 1, 1]), np.array([1, 2, 0, 3]), np.array([5, 6, 9, 8]))
    0.0
    """
    each = [spearmanr(first[y == k], second[y == k]).statistic for k in (0, 1)]
    return float(np.mean(each))


def of_negated(
    model: "TransformerBridge", asked: Answers, place: int, method: str, seed: int
) -> tuple[float, float]:
    """Return how far the order of negated statements is that of their twins, and of the PMI.

    Parameters
    ----------
    model : TransformerBridge
    asked : Answers
        With the shift "negation".
    place : int
        Layer whose activations were read.
    method : str
        Which reporter.
    seed : int
        One of `elkutils.study.rival_seeds`.

    Returns
    -------
    twin, pmi : float
        `within_truth` of P(harm) with that of the affirmative statement about the same city and
        country, and with minus the pointwise mutual information of the two.
    """
    index = list(shifts.seeds("negation")).index(seed)
    where = "negation", place, method
    twin, mine = (asked.answers[*where, kind][index][0] for kind in ("easy", "hard"))
    y = asked.rows["negation", "hard"][index].y
    _, test = readings.read(model, "cities", seed)["easy"].split.train_test(seed=seed)
    pmi = readings.rivals(model, seed)["easy"]["PMI"][test]
    return within_truth(y, mine, twin), within_truth(y, mine, -pmi)


def in_contexts(adapter: int, place: int, seed: int, make: Callable) -> list[float]:
    """Return the AUROC in each of `CONTEXTS` of a reporter taught by Alice about big cities.

    Big cities are those that it was not trained on.

    Parameters
    ----------
    adapter : int
        One of `elkutils.study.persona_seeds`.
    place : int
        Layer whose activations are read.
    seed : int
        Seed of the split.
    make : callable
        ``(d, seed)`` → a new reporter.
    """
    read = readings.read_persona(adapter)
    first, rows = read["alice_easy"], {}
    train, test = first.split.train_test(seed=seed)
    for context in CONTEXTS:  # row i of Bob's is the statement of row i of Alice's
        rows[context] = test if context.endswith("easy") else slice(None)
    X, *others = z_scored(
        first.X[place][train], *(read[c].X[place][some] for c, some in rows.items())
    )
    reporter = make(X.shape[1], seed).fit(X, 1 - first.y[train])
    return [
        auroc(1 - read[c].y[some], reporter.predict_proba(Z)[:, 1])
        for Z, (c, some) in zip(others, rows.items(), strict=True)
    ]


def largest_steady(asked: Answers, names: Iterable[str]) -> str:
    """Return the shift with the most hard rows, of those whose seeds share their groups.

    Raises
    ------
    ValueError
        If there is none.
    """
    steady = [
        name
        for name in names
        if len({tuple(np.unique(part.groups)) for part in asked.rows[name, "hard"]}) == 1
    ]
    if not steady:
        raise ValueError(f"names is {list(names)}; no shift asks about one set of groups")
    return max(steady, key=lambda name: len(asked.rows[name, "hard"][0].y))
