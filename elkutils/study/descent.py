"""Plain gradient descent of linear reporters, stopped at several places on one path.

`elkutils.reporters.Ensemble` with ``optimiser="sgd"`` takes the same steps. Here they are taken
in the space that the training rows span, where alone the loss has a slope, and members are kept
at every stop, so that thousands of steps are cheap and one path serves all stops.
"""

from collections.abc import Iterable

import numpy as np

LOOK = 10  # steps between two looks at the loss


def descend(
    X: np.ndarray,
    y: np.ndarray,
    start: np.ndarray,
    rate: float,
    stops: Iterable[int],
    loss: float | None = None,
) -> dict[int | str, np.ndarray]:
    """Return the members at each stop of gradient descent on the mean logistic loss.

    Parameters
    ----------
    X, y : (n, d) and (n,) arrays
        y in {0, 1}.
    start : (members, d + 1) array
        Weights, and the bias last.
    rate : float
    stops : iterable of int
        Numbers of steps at which members are kept; the largest ends the descent.
    loss : float or None
        If given, each member is also kept where its own loss has fallen to this, under the key
        "loss": at the first of every ten steps that finds it there, or at the last step.

    Returns
    -------
    dict of int (and "loss") to (members, d + 1) array

    Raises
    ------
    ValueError
        If shapes do not match, or there is no stop.
    """
    X, y, start = (np.asarray(a, np.float64) for a in (X, y, start))
    stops = sorted(set(stops))
    if X.shape[:1] != y.shape or start.shape[1:] != (X.shape[1] + 1,):
        raise ValueError(
            f"X has shape {X.shape}, y {y.shape} and start {start.shape}; they have to be"
            " (n, d), (n,) and (members, d + 1)"
        )
    if not stops or stops[0] < 1:
        raise ValueError(f"stops is {stops}; it has to hold numbers of steps from 1 on")
    rows = np.column_stack([X, np.ones(len(X))])
    scores, basis = _in_row_space(rows)
    inside = start @ basis.T
    here, scaled = inside.astype(np.float32), (scores * (rate / len(y))).astype(np.float32)
    scores, y = scores.astype(np.float32), y.astype(np.float32)
    kept, arrived = {}, np.full(here.shape, np.nan, np.float32)
    for step in range(1, stops[-1] + 1):
        log_odds = here @ scores.T
        if loss is not None and (step - 1) % LOOK == 0:
            found = (np.logaddexp(0, log_odds) - y * log_odds).mean(axis=1)
            there = (found <= loss) & np.isnan(arrived[:, 0])
            arrived[there] = here[there]
        here = here - (_expit(log_odds) - y) @ scaled
        if step in stops:
            kept[step] = start + (here - inside) @ basis
    if loss is not None:
        arrived = np.where(np.isnan(arrived), here, arrived)
        kept["loss"] = start + (arrived - inside) @ basis
    return kept


def _in_row_space(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows in an orthonormal basis of the space that they span, and that basis."""
    left, values, basis = np.linalg.svd(rows, full_matrices=False)
    held = values > values[0] * 1e-10
    return left[:, held] * values[held], basis[held]


def _expit(x: np.ndarray) -> np.ndarray:
    """In float32 several times as fast as SciPy's."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))
