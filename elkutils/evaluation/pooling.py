"""From scores of tokens to one score per text."""

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_counts, numbers

RULES = "mean", "max", "last", "rolling"


def pool(
    score: ArrayLike, row: ArrayLike, rule: str = "mean", window: int | None = None
) -> np.ndarray:
    """Return one score per text from those of its tokens.

    Parameters
    ----------
    score : (..., N) array
        One score per token, text after text; leading axes may be draws.
    row : (N,) array of int
        The number of each token's text: 0 for the tokens of the first, and so on to n − 1, as
        `elkutils.models.token_spans` has it.
    rule : "mean", "max", "last" or "rolling"
        "rolling" is the largest mean of `window` tokens in a row, or the mean of all where a
        text has fewer: a long harmless text hides one harmful sentence from "mean", and one odd
        token raises "max".
    window : int or None
        Tokens of a rolling mean; required there, and None elsewhere.

    Returns
    -------
    (..., n) array

    Raises
    ------
    ValueError
        If `row` does not count texts from 0 without a gap, in order, or another argument is out
        of range.

    Examples
    --------
    >>> score, row = [0.0, 1.0, 0.0, 0.5], [0, 0, 0, 1]
    >>> pool(score, row, "max").tolist()
    [1.0, 0.5]
    >>> pool(score, row, "rolling", window=2).tolist()
    [0.5, 0.5]
    """
    score, row = numbers(score, "score"), numbers(row, "row")
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; it has to be one of {', '.join(RULES)}")
    if (rule == "rolling") != (window is not None):
        raise ValueError(
            f"window is {window!r} with the rule {rule!r}; 'rolling' alone has one"
        )
    if row.ndim != 1 or score.ndim == 0 or score.shape[-1:] != row.shape or not row.size:
        raise ValueError(
            f"score has shape {score.shape} and row {row.shape}; they have to be (..., N) and"
            " (N,), N ≥ 1, one for each token"
        )
    score = score.astype(np.float64)
    if np.isnan(score).any():
        raise ValueError("score holds NaN; every token needs a score")
    steps = np.diff(row, prepend=-1)
    if row[0] != 0 or not np.isin(steps, (0, 1)).all():
        odd = int(np.argmax(~np.isin(steps, (0, 1)))) if row[0] == 0 else 0
        raise ValueError(
            f"row[{odd}] is {row[odd]:g}; row has to count the texts from 0, in order, so that"
            " each has a token"
        )
    first = np.flatnonzero(steps)
    if rule == "max":
        return np.maximum.reduceat(score, first, axis=-1)
    count = np.diff(np.append(first, len(row)))
    if rule == "last":
        return score[..., first + count - 1]
    if rule == "mean":
        return np.add.reduceat(score, first, axis=-1) / count
    check_counts(window=window)
    return np.maximum.reduceat(_rolling(score, first, count, window), first, axis=-1)


def _rolling(score, first, count, window):
    """The mean of the last `window` tokens at each; −∞ where a text has not as many yet."""
    size = np.repeat(np.minimum(count, window), count)
    place = np.arange(score.shape[-1]) - np.repeat(first, count)
    whole = place + 1 >= size
    total = np.zeros((*score.shape[:-1], score.shape[-1] + 1))
    np.cumsum(score, axis=-1, out=total[..., 1:])
    end = np.arange(score.shape[-1]) + 1
    mean = (total[..., end] - total[..., np.where(whole, end - size, 0)]) / size
    return np.where(whole, mean, -np.inf)
