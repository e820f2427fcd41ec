"""Mean and scale of the features that a reporter was fitted on, and X that is absurdly unlike.

Features in other units, of another layer or position, or scaled before the fit and not after,
give answers without an error. `warn_if_far` sees them where they lie far outside; where they do
not, only their source tells, see `elkutils.source`.
"""

import warnings

import numpy as np

FAR = 20.0  # standard deviations, of the median feature of the median row; real shifts reach 6
LOOKED_AT = 16  # rows of each block that are compared, evenly spaced
EXACTLY = 1e-3  # of a standard deviation: means that near to 0 are of centred features
CONSTANT = 1e-7  # of its mean: a feature that varies less counts as constant
BLOCK = 2**20  # numbers squared at once


def moments(X: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation (2, d) of the features of X (n, d)."""
    mean, squares = X.mean(axis=0), np.zeros(X.shape[1])
    rows = max(1, BLOCK // max(1, X.shape[1]))
    for begin in range(0, len(X), rows):
        squares += ((X[begin : begin + rows] - mean) ** 2).sum(axis=0)
    return np.stack([mean, np.sqrt(squares / len(X))])


def is_centred(known: np.ndarray) -> bool:
    """Whether every feature that varies has mean 0, as after z-scoring and never by chance.

    Parameters
    ----------
    known : (2, d) array
        Of `moments`.
    """
    mean, spread = known[:, _varying(known)]
    return bool(len(mean) and (np.abs(mean) <= EXACTLY * spread).all())


def warn_if_far(X: np.ndarray, known: np.ndarray, first: int = 0) -> bool:
    """Warn if X lies far outside of what a reporter was fitted on; return whether it did.

    Parameters
    ----------
    X : (n, d) array
    known : (2, d) array
        Of `moments`, of the training rows.
    first : int
        The number of the first row, for the message.

    Warns
    -----
    UserWarning
        If the median row lies more than 20 standard deviations from the training mean in its
        median feature. Rows of the book's shifts lie up to 4 away, and odd texts up to 6.
    """
    kept = _varying(known)
    if not (len(X) and kept.any()):
        return False
    rows = np.unique(np.linspace(0, len(X) - 1, min(len(X), LOOKED_AT)).astype(int))
    mean, spread = known[:, kept]
    away = np.median(np.abs(X[np.ix_(rows, kept)] - mean) / spread, axis=1)
    if not np.median(away) > FAR:
        return False
    row = rows[np.argmax(away)]
    warnings.warn(
        f"X lies far outside of what this reporter was fitted on: half of its rows are more "
        f"than {FAR:.0f} standard deviations from the training mean in their median feature, "
        f"row {first + row} {away.max():.3g}. Are its units, layer and position those of the "
        "fit, and was it scaled as X was there? `carry` and `make_pipeline` keep a scaling "
        "with the reporter",
        UserWarning,
        stacklevel=5,
    )
    return True


def _varying(known: np.ndarray) -> np.ndarray:
    mean, spread = known
    return np.isfinite(spread) & (spread > CONSTANT * np.abs(mean)) & (spread > 0)
