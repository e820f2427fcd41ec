"""Z-scores of tokens in rows that hold a sequence, where tokens that are all 0 are absent."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from elkutils.inference._checks import check_counts, count_tokens


class TokenScaler(TransformerMixin, BaseEstimator):
    """Standardise each of a token's numbers by its mean and scale over all tokens present.

    Rows are (tokens · inputs,), the vectors of a text's tokens one after another, as
    ``elkutils.models.sequences(…)[hook].reshape(n, -1)`` has them. A token whose numbers are
    all 0 is absent: it counts for nothing, and stays 0. scikit-learn's `StandardScaler` would
    give each place in the row its own scale, and absent tokens numbers.

    Parameters
    ----------
    inputs : int
        Numbers per token.

    Attributes
    ----------
    mean_, scale_ : (inputs,) array
        Of the tokens in the rows it was fitted on; the scale is the standard deviation, or 1
        where that is 0.

    Examples
    --------
    >>> X = [[0.0, 0.0, 1.0, 4.0], [3.0, 4.0, 5.0, 7.0]]  # a text of one token, one of two
    >>> TokenScaler(inputs=2).fit_transform(X).round(1).tolist()
    [[0.0, 0.0, -1.2, -0.7], [0.0, -0.7, 1.2, 1.4]]
    """

    def __init__(self, inputs: int):
        self.inputs = inputs

    def fit(self, X: ArrayLike, y: object = None) -> "TokenScaler":
        """Learn the means and scales of the tokens in X (n, tokens · inputs); y is not used.

        Raises
        ------
        ValueError
            If X is no finite table, its columns are no multiple of `inputs`, or no row has a
            token.
        """
        X = validate_data(self, X, dtype=np.float64)
        tokens, present = self._tokens(X)
        if not present.any():
            raise ValueError("X holds no token: all its numbers are 0")
        found = tokens[present]
        self.mean_, scale = found.mean(axis=0), found.std(axis=0)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, tokens · inputs) with the tokens that are present standardised.

        Raises
        ------
        ValueError
            As `fit` does, or if a token is the mean in each of its numbers, and would become
            absent.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        tokens, present = self._tokens(X)
        found = np.where(present[..., None], (tokens - self.mean_) / self.scale_, 0.0)
        lost = np.argwhere(present & ~found.any(axis=-1))
        if len(lost):
            raise ValueError(
                f"X has the mean of the tokens in `fit` as token {lost[0, 1]} of row"
                f" {lost[0, 0]}; standardised it would be all 0, and so absent"
            )
        return found.reshape(X.shape)

    def _tokens(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_counts(inputs=self.inputs)
        tokens = X.reshape(len(X), count_tokens(X.shape[1], self.inputs), self.inputs)
        return tokens, tokens.any(axis=-1)
