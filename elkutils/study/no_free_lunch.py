"""Worlds that agree with all training labels and defeat a reporter, and one that cannot."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, logsumexp


def worst_labels(proba: ArrayLike) -> np.ndarray:
    """Return labels (n,) of both classes for which a reporter's answers are no use.

    Rows with an answer up to ½ are labelled 1 and the others 0; if that leaves one class, the
    row with the lowest answer is 1 and all others 0, or the row with the highest 0 and all
    others 1. Then the accuracy is at most ½, the AUROC is at most ½, and the mean log score at
    most that of a coin, −log 2.

    Parameters
    ----------
    proba : (n,) array
        P(y = 1) of n ≥ 2 different new inputs.

    Raises
    ------
    ValueError
        If `proba` has another shape, or a value outside [0, 1].

    Examples
    --------
    >>> worst_labels([0.9, 0.2, 0.6]).tolist()
    [0, 1, 0]
    """
    proba = np.asarray(proba, np.float64)
    if proba.ndim != 1 or len(proba) < 2 or not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError(f"proba is {proba}; it has to be (n,), n ≥ 2, between 0 and 1")
    y = (proba <= 0.5).astype(int)
    if y.all():
        y[proba.argmax()] = 0
    elif not y.any():
        y[proba.argmin()] = 1
    return y


def linear_truth(X: ArrayLike, y: ArrayLike, proba: float = 0.99) -> tuple[np.ndarray, float]:
    """Return the shortest weights (d,) and the bias that give every label this probability.

    They exist for all labels where the rows X (n, d) are affinely independent, n ≤ d + 1.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of 0 and 1
    proba : float
        Of each row's own label, above ½.

    Raises
    ------
    ValueError
        If the rows are affinely dependent, so that not every labelling is linear.
    """
    X, target = np.asarray(X, np.float64), (2 * np.asarray(y) - 1) * logit(proba)
    centre = X.mean(axis=0)
    rank = np.linalg.matrix_rank(X - centre)
    if rank < len(X) - 1:
        raise ValueError(f"X has {len(X)} rows of affine rank {rank}; it needs {len(X) - 1}")
    # The shortest solution with a free bias: w in the span of centred rows, residual constant.
    gram = (X - centre) @ (X - centre).T
    kkt = np.block([[gram, np.ones((len(X), 1))], [np.ones((1, len(X))), np.zeros((1, 1))]])
    solved = np.linalg.solve(kkt, np.append(target, 0.0))
    weights = (X - centre).T @ solved[:-1]
    return weights, float(solved[-1] - centre @ weights)


def cumulative_regret(
    log_odds: np.ndarray, y: np.ndarray, truth: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """Return how far an average of hypotheses is behind the truth's log score, (T,) in nats.

    The average is the Bayesian one, which learns each label before the next row.

    Parameters
    ----------
    log_odds : (K, T) array
        Of label 1, by each of K hypotheses for each row of the sequence.
    y : (T,) array of 0 and 1
    truth : (T,) array
        Log odds of label 1 by the truth.
    prior : (K,) array
        Prior probabilities of the hypotheses.
    """
    sign = 2 * np.asarray(y) - 1
    scores = np.cumsum(-np.logaddexp(0.0, -sign * log_odds), axis=1)
    mixture = logsumexp(scores + np.log(prior)[:, None], axis=0)
    return np.cumsum(-np.logaddexp(0.0, -sign * truth)) - mixture


def drawn_labels(log_odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return labels (T,), each 1 with the probability that its log odds (T,) give."""
    return (rng.random(len(log_odds)) < expit(log_odds)).astype(int)
