"""A pretrained network with a linear head: a posterior about weights that mean something.

The prior of a body's weight is normal about its *pretrained* value, with a share of its
tensor's root mean square for a standard deviation; the head's is normal about 0, as that of any
head. Samplers of networks take priors about 0, so the parameters of `Pretrained` are the
*differences* from the pretrained values, and those of the head.

**Linearised.** Given a head's weights w₀, log odds are taken as linear in the differences δ
about the pretrained values: f(x) = w·h(x) + b + w₀ᵀJ(x)δ, where h are the body's features and J
their Jacobian. Under the prior this is a Gaussian process with the covariance τ²h(x)h(x′) +
s²·B(x, x′), and a bias apart. `body_kernel` has B at s = 1, averaged over several w₀: at w₀ = 0
the body has no part in the log odds. `function_space` draws the posterior. How far from the
pretrained values the network is linear, `linearity` measures.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import ArrayLike
from tqdm import tqdm

from elkutils._inputs import check_finite
from elkutils.inference._checks import check_counts, check_scale
from elkutils.inference._precision import exactly
from elkutils.inference.networks.jacobian import MEMORY, products
from elkutils.inference.networks.laplace import Linearised
from elkutils.inference.networks.network import FlatNetwork, flat

Weights = Mapping[str, Any]


class Body(Hashable, Protocol):
    """What turns inputs into the features that a head reads."""

    def __call__(self, weights: Weights, X: jax.Array) -> jax.Array:
        """Return the features (n, k) of X (n, d)."""

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A body about its pretrained weights, with a linear head: a `network.Network`.

    Its parameters are {"body": differences by name, "head": {"bias": (), "weights": (k,)}}.
    The head reads features that are moved and scaled: (h − centre)/spread.

    Attributes
    ----------
    body : Body
    weights : dict of str to array
        The pretrained values of all that the body reads.
    centre, spread : (k,) arrays
    body_scale : float
        s ≥ 0: prior standard deviation of a body's weight, in root mean squares of its tensor.
        At 0 the body is frozen.
    weight_scale, bias_scale : float
        Prior standard deviations of the head's weights, τ, and of its bias.

    Raises
    ------
    ValueError
        For scales that are not positive (s may be 0), weights that are not finite, or a centre
        and a spread that are not vectors of as many features.
    """

    body: Body
    weights: Weights
    centre: np.ndarray
    spread: np.ndarray
    body_scale: float
    weight_scale: float
    bias_scale: float = 1.0

    def __post_init__(self):
        for name in ("weight_scale", "bias_scale"):
            check_scale(name, getattr(self, name))
        if not 0 <= self.body_scale < np.inf:
            raise ValueError(
                f"body_scale is {self.body_scale}; it has to be finite and at least 0"
            )
        for name, value in self.weights.items():
            check_finite(np.asarray(value), f"weights[{name!r}]")
        if np.ndim(self.centre) != 1 or np.shape(self.centre) != np.shape(self.spread):
            raise ValueError(
                f"centre has shape {np.shape(self.centre)} and spread {np.shape(self.spread)};"
                " both need (k,), k features"
            )
        if not (np.asarray(self.spread) > 0).all():
            raise ValueError("spread has entries that are not positive; every one has to be")

    def __repr__(self) -> str:
        total = sum(float(np.sum(np.abs(value))) for value in self.weights.values())
        scales = self.body_scale, self.weight_scale, self.bias_scale
        return f"Pretrained({self.body!r}, Σ|w| = {total!r}, scales {scales})"

    @property
    def head_size(self) -> int:
        """k + 1, the number of the head's parameters: the last ones of θ, its bias first."""
        return len(self.centre) + 1

    def init(self, key: jax.Array, d: int) -> Any:
        """Return parameters, drawn from the prior; the body fixes the number d of inputs."""
        leaves, tree = jax.tree.flatten(self._forms())
        scales = jax.tree.leaves(self.scales(d))
        keys = jax.random.split(key, len(leaves))
        drawn = [
            scale * jax.random.normal(each, shape.shape)
            for each, shape, scale in zip(keys, leaves, scales, strict=True)
        ]
        return tree.unflatten(drawn)

    def __call__(self, parameters: Any, X: jax.Array) -> jax.Array:
        """Return the log odds (n,) of X (n, d)."""
        head = parameters["head"]
        features = self.body(self.moved(parameters["body"]), X)
        scaled = (features - self.centre.astype(features.dtype)) / self.spread.astype(
            features.dtype
        )
        return scaled @ head["weights"] + head["bias"]

    def moved(self, differences: Weights) -> Weights:
        """Return the body's weights at these differences from the pretrained ones."""
        return {
            name: jnp.asarray(self.weights[name], change.dtype) + change
            for name, change in differences.items()
        }

    def log_prior(self, parameters: Any) -> jax.Array:
        """Return the log density of the prior at these parameters, frozen ones left out."""
        scales = jax.tree.leaves(self.scales(0))
        pairs = zip(jax.tree.leaves(parameters), scales, strict=True)
        return sum(norm.logpdf(leaf, 0, scale).sum() for leaf, scale in pairs if scale > 0)

    def scales(self, d: int) -> Any:
        """Return the prior's standard deviations: s·rms of each tensor, τ, and the bias's."""
        roots = {name: float(np.sqrt(np.mean(w**2))) for name, w in self._double.items()}
        return {
            "body": {name: self.body_scale * root for name, root in roots.items()},
            "head": {"bias": float(self.bias_scale), "weights": float(self.weight_scale)},
        }

    def units(self, d: int) -> int:
        """Return how many numbers a forward pass holds per row."""
        return self.body.units(d) + self.head_size

    @cached_property
    def _double(self) -> Weights:
        return {name: np.asarray(w, np.float64) for name, w in self.weights.items()}

    def _forms(self) -> Any:
        def form(shape):
            return jax.ShapeDtypeStruct(shape, jnp.float32)

        body = {name: form(np.shape(w)) for name, w in self.weights.items()}
        return {
            "body": body,
            "head": {"bias": form(()), "weights": form(np.shape(self.centre))},
        }


def features(network: Pretrained, X: ArrayLike) -> np.ndarray:
    """Return what the head reads at the pretrained weights, (n, k) in float64."""
    with exactly():
        weights = {name: jnp.asarray(w) for name, w in network._double.items()}
        found = np.asarray(network.body(weights, jnp.asarray(X, jnp.float64)))
    return (found - network.centre) / network.spread


@dataclass(frozen=True, eq=False)
class Kernel:
    """Prior covariance of log odds with those at the n training rows, the bias apart.

    Attributes
    ----------
    across : (m, n) array
    own : (m,) array
        Variance of each row.
    """

    across: np.ndarray
    own: np.ndarray

    def __add__(self, other: "Kernel") -> "Kernel":
        return Kernel(self.across + other.across, self.own + other.own)

    def __rmul__(self, factor: float) -> "Kernel":
        return Kernel(factor * self.across, factor * self.own)


def head_kernel(network: Pretrained, X: ArrayLike, train: ArrayLike) -> Kernel:
    """Return the part of the head's weights in the prior covariance: τ²h(x)·h(x′).

    Parameters
    ----------
    network : Pretrained
    X : (m, d) array
    train : (n, d) array
    """
    ours, theirs = features(network, X), features(network, train)
    tau = network.weight_scale**2
    return Kernel(tau * ours @ theirs.T, tau * np.sum(ours**2, axis=1))


def body_kernel(
    network: Pretrained,
    heads: ArrayLike,
    X: ArrayLike,
    train: ArrayLike,
    *,
    memory: int = MEMORY,
    progress: bool = False,
) -> Kernel:
    """Return the part of the body in the prior covariance of linearised log odds, at s = 1.

    Parameters
    ----------
    network : Pretrained
        Its own s is not looked at.
    heads : (h, k) array
        Heads' weights w₀ at which log odds are linearised; the kernel is the mean over them.
    X : (m, d) array
    train : (n, d) array
    memory : int
        Bytes for gradients; see `jacobian.kernel`.
    progress : bool
        Show a bar over the heads.

    Raises
    ------
    ValueError
        If `heads` is not a finite table of k columns, or as `jacobian.kernel`.
    """
    base = flat(_at(network, 1.0), np.shape(X)[1])
    heads = _check_heads(network, heads)
    options = {"chosen": np.arange(base.size - network.head_size), "memory": memory}
    total = Kernel(0.0, 0.0)
    for weights in tqdm(heads, disable=not progress, desc="body kernel", unit="head"):
        z = centre(base, weights) / base.scales.clip(np.finfo(np.float32).tiny)
        total = total + Kernel(*products(base, z, X, train, **options))
    return (1 / len(heads)) * total


def centre(base: FlatNetwork, weights: np.ndarray, bias: float = 0.0) -> np.ndarray:
    """Return θ (p,) of the pretrained body with a head's weights (k,) and bias."""
    theta = np.zeros(base.size)
    theta[-base.network.head_size :] = np.append(bias, weights)
    return theta


def linearity(
    network: Pretrained,
    heads: ArrayLike,
    X: ArrayLike,
    scales: ArrayLike,
    draws: int = 8,
    seed: int = 0,
) -> np.ndarray:
    """Return R² of the linearised network against the exact one, over prior draws of the body.

    Bodies are drawn from their prior, and each head's log odds at X change by some amount from
    those of the pretrained body. R² is one less the mean squared error of the linear change
    over the variance of the exact one about its mean over bodies, row by row and head by head.

    Parameters
    ----------
    network : Pretrained
        Its own s is not looked at.
    heads : (h, k) array
    X : (n, d) array
    scales : (c,) array
        Widths s of the body's prior, positive. The same directions are drawn for each.
    draws : int
        Bodies for each head, at least 2.
    seed : int

    Returns
    -------
    (c,) array

    Examples
    --------
    A body that is linear in its weights, here x ↦ xW, has R² = 1.

    >>> class Linear:
    ...     def __call__(self, weights, X):
    ...         return X @ weights["W"]
    ...     def units(self, d):
    ...         return 2
    >>> network = Pretrained(Linear(), {"W": np.eye(2)}, np.zeros(2), np.ones(2), 0.5, 1.0)
    >>> linearity(network, [[1.0, 2.0]], np.eye(2), [0.1, 1.0]).round(6).tolist()
    [1.0, 1.0]
    """
    scales = np.asarray(scales, np.float64)
    if scales.ndim != 1 or not (scales > 0).all():
        raise ValueError(f"scales is {scales}; it needs (c,), every entry positive")
    check_counts(least=2, draws=draws)
    base, X = flat(_at(network, 1.0), np.shape(X)[1]), np.asarray(X, np.float64)
    rng, lost, spread = (
        np.random.default_rng(seed),
        np.zeros(len(scales)),
        np.zeros(len(scales)),
    )
    for weights in _check_heads(network, heads):
        middle = centre(base, weights)
        change = base.scales * rng.standard_normal((draws, base.size))
        change[:, -network.head_size :] = 0.0
        for i, s in enumerate(scales):
            exact = base.log_odds(middle + s * change, X)
            straight = Linearised(base, middle).log_odds(middle + s * change, X)
            lost[i] += np.sum((exact - straight) ** 2)
            spread[i] += np.sum((exact - exact.mean(axis=0)) ** 2)
    return 1 - lost / spread


def _at(network: Pretrained, body_scale: float) -> Pretrained:
    return replace(network, body_scale=body_scale)


def _check_heads(network: Pretrained, heads: ArrayLike) -> np.ndarray:
    heads = np.asarray(heads, np.float64)
    if heads.ndim != 2 or not len(heads) or heads.shape[1] != network.head_size - 1:
        raise ValueError(
            f"heads has shape {heads.shape}; it needs (h, {network.head_size - 1}), h ≥ 1"
        )
    check_finite(heads, "heads")
    return heads
