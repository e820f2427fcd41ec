"""Scores of tokens, shown in the text: in a notebook as shaded words, elsewhere as lines."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elkutils._inputs import check_finite, numbers

SHADE = "0, 114, 178"  # the figures' blue


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Texts with a score on each piece, shown when it is the result of a cell.

    Attributes
    ----------
    texts : tuple of str
    pieces : tuple of list of (int, int, float)
        For each text, pieces that do not overlap: start, stop and score.
    low, high : float
        Scores without shade, and with the darkest.
    """

    texts: tuple[str, ...]
    pieces: tuple[list[tuple[int, int, float]], ...]
    low: float
    high: float

    def __repr__(self) -> str:
        lines = []
        for text, pieces in zip(self.texts, self.pieces, strict=True):
            words = (f"{text[start:stop].strip()} {score:.2f}" for start, stop, score in pieces)
            lines.append(" | ".join(words))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<p>{self._marked(text, pieces)}</p>"
            for text, pieces in zip(self.texts, self.pieces, strict=True)
        )
        scale = f"From no shade at {self.low:.3g} to the darkest at {self.high:.3g}."
        return f'<div class="token-scores" style="line-height: 1.9">{rows}<p>{scale}</p></div>'

    def _marked(self, text, pieces) -> str:
        parts, done = [], 0
        for start, stop, score in pieces:
            share = np.clip((score - self.low) / (self.high - self.low), 0, 1)
            parts.append(html.escape(text[done:start]))
            parts.append(
                f'<span title="{score:.3g}" style="background: rgba({SHADE}, '
                f"{0.55 * share:.2f}); border-bottom: {4 * share:.1f}px solid"
                f' rgb({SHADE})">'
                f"{html.escape(text[start:stop])}</span>"
            )
            done = stop
        return "".join([*parts, html.escape(text[done:])])


def show(
    texts: Sequence[str],
    spans: tuple[ArrayLike, ArrayLike, ArrayLike],
    score: ArrayLike,
    low: float | None = None,
    high: float | None = None,
) -> TokenScores:
    """Return texts with the score of each token, to be shown.

    Parameters
    ----------
    texts : sequence of n str
    spans : three (N,) arrays
        Text, first character and end of each token, as `elkutils.models.token_spans` returns
        them. Tokens that share a character, as the bytes of one do, are shown as one piece with
        the mean of their scores.
    score : (N,) array
        One number per token, higher for darker.
    low, high : float or None
        Scores without shade, and with the darkest; None for the smallest and the largest.

    Raises
    ------
    ValueError
        If the shapes do not fit, a score is not finite, a token lies outside its text, or `low`
        is not below `high`.

    Examples
    --------
    >>> show(["It is."], ([0, 0], [0, 3], [2, 6]), [0.1, 0.9])
    It 0.10 | is. 0.90
    """
    texts, score = tuple(texts), numbers(score, "score").astype(np.float64)
    row, start, stop = (np.asarray(part) for part in spans)
    if score.ndim != 1 or not score.shape == row.shape == start.shape == stop.shape:
        raise ValueError(
            f"score has shape {score.shape} and spans {row.shape}; both need one entry for each"
            " token: of draws give the mean, .mean(axis=0)"
        )
    check_finite(score, "score")
    length = np.array([len(text) for text in texts])
    if ((row < 0) | (row >= len(texts))).any() or (stop > length[row]).any():
        raise ValueError("spans has a token outside its text; it has to come from these texts")
    low = float(score.min()) if low is None else low
    high = float(score.max()) if high is None else high
    if not low < high:
        if low == high and len(set(score)) == 1:
            high = low + 1  # all alike: no shade
        else:
            raise ValueError(f"low is {low} and high {high}; low has to be below high")
    pieces = tuple(
        _merged(start[row == i], stop[row == i], score[row == i]) for i in range(len(texts))
    )
    return TokenScores(texts, pieces, low, high)


def _merged(start, stop, score) -> list[tuple[int, int, float]]:
    """Pieces from tokens (k,) in order; those that overlap become one, with the mean score."""
    groups: list[list[int]] = []
    end = -1
    for i, (begin, last) in enumerate(zip(start, stop, strict=True)):
        if groups and begin < end:
            groups[-1].append(i)
        else:
            groups.append([i])
        end = max(end, last)
    return [(int(start[g].min()), int(stop[g].max()), float(score[g].mean())) for g in groups]
