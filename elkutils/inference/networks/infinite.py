"""The limit of a multilayer perceptron as its hidden layers grow wide: a Gaussian process.

With weights N(0, c²/inputs) the prior of the log odds tends to a Gaussian process whose
covariance is known layer by layer (Neal 1996, *Bayesian learning for neural networks*, ch. 2;
Lee, Bahri, Novak, Schoenholz, Pennington & Sohl-Dickstein 2018, *Deep neural networks as
Gaussian processes*, eq. 5). Its posterior given n labels lives in n dimensions, so it is drawn
in seconds by methods that share nothing with chains of weights: an independent check of those
at large widths. Its evidence takes under a second per prior scale for some hundred rows, which
makes it the way to choose one.

Posterior and evidence are those of `networks.function_space`, and only the kernel is new here.
It is own code: one recursion, for which SiLU and tanh have no closed form in any library.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from elkutils.inference._checks import check_counts, check_data, check_scale
from elkutils.inference.draws import Draws, check_inputs
from elkutils.inference.networks.function_space import Process
from elkutils.inference.networks.mlp import MLP

NODES, REACH = 4001, 12.0  # of the trapezoidal rule for averages over N(0, 1)
TERMS = 1000  # of the series in Hermite polynomials, at most
ENOUGH = 1e-8  # share of the variance that the terms left out may have
TOGETHER = 512  # new rows whose log odds are drawn together
SCALES = tuple(2.0 ** (np.arange(-4, 9) / 2))

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "silu": lambda u: u * expit(u),
    "tanh": np.tanh,
}


def infinite_width_kernel(network: MLP, X: ArrayLike, Z: ArrayLike | None = None) -> np.ndarray:
    """Return the prior covariance of the log odds at X and Z in the limit of wide layers.

    Only the number of hidden layers matters, not their widths; without any it is exact.

    Parameters
    ----------
    network : MLP
    X : (n, d) array
    Z : (m, d) array or None
        None for X itself.

    Returns
    -------
    (n, m) array

    Raises
    ------
    ValueError
        If the network is not an MLP, whose limit alone is known here, or the inputs are not
        finite tables of as many columns.

    Notes
    -----
    Layer by layer K ← c²E[φ(u)φ(v)] + b², for (u, v) normal with the covariance K. For ReLU the
    expectation is the arc-cosine kernel (Cho & Saul 2009, *Kernel methods for deep learning*,
    eq. 6). For other φ it is Σₖ aₖ(s)aₖ(t)ρᵏ (Mehler's formula), where s and t are the standard
    deviations of u and v, ρ their correlation and aₖ(s) = E[φ(sg)hₖ(g)], g ~ N(0, 1), with
    Hermite polynomials hₖ of unit norm; averages are by the trapezoidal rule, with
    1000 terms or as many as have all but 10⁻⁸ of the variance. The rest, which is little unless
    tanh is nearly a step, is put on pairs with ρ = 1.

    Examples
    --------
    Without hidden layers it is c²xz/d + b².

    >>> infinite_width_kernel(MLP(weight_scale=2.0), [[1.0, 3.0]], [[1.0, 1.0]]).tolist()
    [[9.0]]
    """
    _check_network(network)
    X = np.asarray(X, np.float64)
    X = check_inputs(X, X.shape[-1] if X.ndim == 2 else 0, np.float64)
    Z = X if Z is None else check_inputs(Z, X.shape[1], np.float64)
    c, b = network.weight_scale**2, network.bias_scale**2
    d = max(1, X.shape[1])
    cross = c * (X @ Z.T) / d + b
    first, second = (c * np.sum(part**2, axis=1) / d + b for part in (X, Z))
    for _ in network.widths:
        cross = c * _expectation(network.activation, cross, first, second) + b
        first, second = (c * _squares(network.activation, v) + b for v in (first, second))
    return cross


def evidence(network: MLP, X: ArrayLike, y: ArrayLike) -> float:
    """Return the log evidence of the labels in the limit of wide layers, in nats, by Laplace.

    The approximation is made in function space, in the n log odds at the training rows
    (Rasmussen & Williams 2006, *Gaussian processes for machine learning*, eq. 3.32).

    Parameters
    ----------
    network : MLP
    X : (n, d) array
    y : (n,) array of 0 and 1

    Raises
    ------
    ValueError
        As `infinite_width_kernel`, and for bad labels.
    """
    X, y = _check(network, X, y)
    return _process(network, X).evidence(y)


@dataclass(frozen=True)
class Choice:
    """The prior scale of most evidence.

    Attributes
    ----------
    network : MLP
        With the scale chosen.
    scale : float
        c, its `weight_scale`.
    scales, log_evidence : (k,) arrays
        What was tried, and the log evidence of each, in nats.
    """

    network: MLP
    scale: float
    scales: np.ndarray
    log_evidence: np.ndarray


def choose_scale(
    network: MLP, X: ArrayLike, y: ArrayLike, scales: ArrayLike = SCALES
) -> Choice:
    """Return the weight scale c under which the labels have most evidence at infinite width.

    Parameters
    ----------
    network : MLP
        Its own weight scale is not looked at.
    X : (n, d) array
    y : (n,) array of 0 and 1
    scales : (k,) array
        From ¼ to 16 in steps of √2 by default.

    Raises
    ------
    ValueError
        As `evidence`, and for no scales or scales that are not positive.

    Warns
    -----
    UserWarning
        If the best of three scales or more is the smallest or the largest.
    """
    _check_network(network)
    scales = np.asarray(scales, np.float64)
    if scales.ndim != 1 or not len(scales):
        raise ValueError(f"scales has shape {scales.shape}; it has to be (k,), k ≥ 1")
    tried = [replace(network, weight_scale=check_scale("scales", c)) for c in scales.tolist()]
    found = np.array([evidence(each, X, y) for each in tried])
    best = int(np.argmax(found))
    if len(scales) > 2 and scales[best] in (scales.min(), scales.max()):
        small = scales[best] == scales.min()
        warnings.warn(
            f"scales goes from {scales.min():.3g} to {scales.max():.3g}, and the "
            f"{'smallest' if small else 'largest'} has the most evidence: the labels ask for "
            f"{'smaller' if small else 'larger'} ones, give some",
            UserWarning,
            stacklevel=2,
        )
    return Choice(tried[best], float(scales[best]), scales, found)


def sample(
    network: MLP,
    X: ArrayLike,
    y: ArrayLike,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
    progress: bool = False,
) -> Draws:
    """Draw from the posterior of the log odds in the limit of wide layers.

    Parameters
    ----------
    network : MLP
    X : (n, d) array
    y : (n,) array of 0 and 1
    draws, chains : int
        Draws per chain, and chains, of `logistic.hmc`: it rotates under the nearest Gaussian.
    seed : int
    progress : bool

    Returns
    -------
    Draws
        θ holds the coordinates w of the log odds at the training rows, and the last bias; the
        head is a `LatentHead`, which answers new rows. Details and statistics are those of the
        sampler of logistic regression.

    Raises
    ------
    ValueError
        As `evidence`, and for counts below 1.
    """
    check_counts(draws=draws, chains=chains)
    X, y = _check(network, X, y)
    process = _process(network, X)
    found = process.sample(y, draws, chains, seed, progress)
    return replace(found, head=LatentHead(network, X, process, seed))


@dataclass(frozen=True, eq=False)
class LatentHead:
    """Log odds of new rows given coordinates (w, bias) of those at the training rows.

    They are normal given these, and drawn: rows asked together, up to 512 of them, are drawn
    together. The same rows get the same answers whenever they are asked together again; asked
    otherwise, they get others of the same distribution.

    Attributes
    ----------
    network : MLP
    X : (n, d) array
        The training rows.
    process : Process
    seed : int
    """

    network: MLP
    X: np.ndarray
    process: Process
    seed: int = 0

    @property
    def units(self) -> int:
        """How many numbers it holds per row and draw: the log odds."""
        return 1

    def check(self, X: ArrayLike) -> np.ndarray:
        """Return X (n, d) in float64, or raise ValueError."""
        return check_inputs(X, self.X.shape[1], np.float64)

    def log_odds(self, theta: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the log odds (k, n) of coordinates (k, r + 1) at X (n, d)."""
        rng, found = np.random.default_rng((self.seed, 1)), np.empty((len(theta), len(X)))
        for begin in range(0, len(X), TOGETHER):
            rows = slice(begin, begin + TOGETHER)
            found[:, rows] = self._together(theta, X[rows], rng)
        return found

    def _together(self, theta, X, rng) -> np.ndarray:
        bias = self.network.bias_scale**2
        across = infinite_width_kernel(self.network, X, self.X) - bias
        own = infinite_width_kernel(self.network, X) - bias
        return self.process.log_odds(theta, across, own, rng)

    def parameters(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return "latent" (…, r) and "bias" (…) of coordinates (…, r + 1)."""
        return {"latent": theta[..., :-1], "bias": theta[..., -1]}


def _check_network(network: object) -> None:
    if not isinstance(network, MLP):
        raise ValueError(f"network is {network!r}; the limit is known for an MLP only")


def _check(network, X, y) -> tuple[np.ndarray, np.ndarray]:
    _check_network(network)
    return check_data(X, y, one_class=True)


def _process(network: MLP, X: np.ndarray) -> Process:
    """The prior of the log odds at X, the last bias apart."""
    bias = network.bias_scale
    return Process.of(infinite_width_kernel(network, X) - bias**2, bias)


def _expectation(activation: str, cross, first, second) -> np.ndarray:
    """E[φ(u)φ(v)] for variances (n,) and (m,) and covariances (n, m)."""
    size = np.sqrt(np.outer(first, second))
    rho = np.clip(cross / size, -1.0, 1.0)
    if activation == "relu":
        angle = np.arccos(rho)
        return size * (np.sin(angle) + (np.pi - angle) * rho) / (2 * np.pi)
    squares = [_squares(activation, v) for v in (first, second)]
    ours, theirs = (_coefficients(activation, v) for v in (first, second))
    terms = max(_needed(*pair) for pair in zip((ours, theirs), squares, strict=True))
    found, power = np.zeros_like(rho), np.ones_like(rho)
    for a, b in zip(ours.T[:terms], theirs.T[:terms], strict=True):
        found += np.outer(a, b) * power
        power *= rho
    left = [
        np.maximum(square - np.sum(part[:, :terms] ** 2, axis=1), 0.0)
        for square, part in zip(squares, (ours, theirs), strict=True)
    ]
    return found + np.where(rho > 1 - 1e-12, np.sqrt(np.outer(*left)), 0.0)


def _needed(coefficients: np.ndarray, squares: np.ndarray) -> int:
    """How many terms have nearly all of the variance of every row."""
    left = squares[:, None] - np.cumsum(coefficients**2, axis=1)
    short = np.any(left > ENOUGH * squares[:, None], axis=0)
    return int(min(TERMS, 1 + np.sum(short)))


def _squares(activation: str, variances: np.ndarray) -> np.ndarray:
    """E[φ(u)²] for normal u of these variances."""
    if activation == "relu":
        return variances / 2
    nodes, weights = _rule()[:2]
    values = ACTIVATIONS[activation](np.sqrt(variances)[:, None] * nodes)
    return values**2 @ weights


def _coefficients(activation: str, variances: np.ndarray) -> np.ndarray:
    """aₖ of each variance, (n, terms)."""
    nodes, weights, hermite = _rule()
    values = ACTIVATIONS[activation](np.sqrt(variances)[:, None] * nodes)
    return (values * weights) @ hermite.T


@lru_cache(maxsize=1)
def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weights (which sum to 1) and Hermite polynomials (terms, nodes) of unit norm."""
    nodes = np.linspace(-REACH, REACH, NODES)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    hermite = np.empty((TERMS, NODES))
    hermite[0], hermite[1] = 1.0, nodes
    for k in range(1, TERMS - 1):
        hermite[k + 1] = (nodes * hermite[k] - np.sqrt(k) * hermite[k - 1]) / np.sqrt(k + 1)
    return nodes, weights, hermite
