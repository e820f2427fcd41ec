"""Models whose learning coefficient is known, and what it predicts, exactly.

A model here is an excess loss K(z) ≥ 0 of weights z with the prior N(0, I). Its *volume* at ε
is V(ε) = P(K(z) ≤ ε) under the prior and its *evidence* at t is Z(t) = E exp(−t·K(z)). As ε → 0
and t → ∞,

    V(ε) ~ c·ε^λ·(log 1/ε)^(m − 1)    and    Z(t) ~ c′·t^(−λ)·(log t)^(m − 1),

where λ is the *learning coefficient* and m its multiplicity (Watanabe 2009, *Algebraic geometry
and statistical learning theory*). Estimators are tested against these models, at the same ε and
t: `networks.learning_coefficient`.

A model is called as ``model(z)``, is differentiable by JAX, and is hashable, so that programs
are compiled once per model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.linalg import expm

from elkutils._inputs import is_number
from elkutils.inference._checks import check_counts

NODES = 24  # of the contour: about eight digits
LOGS = np.linspace(-60.0, 7.0, 3351)  # of the numbers that integrals run over


@dataclass(frozen=True)
class Quadratic:
    """K(z) = ½ Σ cᵢzᵢ², a regular model: λ = p/2 and m = 1.

    Parameters
    ----------
    curvatures : tuple of float
        cᵢ > 0, one per weight.

    Raises
    ------
    ValueError
        Unless there is one curvature or more, and all are positive.

    Examples
    --------
    >>> model = Quadratic((1.0, 1.0))
    >>> model.learning_coefficient, round(float(model.log_volume(0.5)), 6)
    (1.0, -0.932752)
    """

    curvatures: tuple[float, ...]

    def __post_init__(self):
        curvatures = tuple(self.curvatures)
        if not curvatures or not all(is_number(c) and 0 < c < np.inf for c in curvatures):
            raise ValueError(f"curvatures is {self.curvatures!r}; it needs positive numbers")
        object.__setattr__(self, "curvatures", tuple(map(float, curvatures)))

    @property
    def size(self) -> int:
        """Number of weights, p."""
        return len(self.curvatures)

    @property
    def learning_coefficient(self) -> float:
        """λ."""
        return self.size / 2

    @property
    def multiplicity(self) -> int:
        """m."""
        return 1

    def __call__(self, z: jax.Array) -> jax.Array:
        """Return K at z (p,)."""
        return 0.5 * jnp.sum(jnp.asarray(self.curvatures, z.dtype) * z**2)

    def log_evidence(self, t: ArrayLike) -> np.ndarray:
        """Return log Z at each t ≥ 0: Z(t) = Π (1 + cᵢt)^(−½)."""
        return _log_evidence(self._log_evidence, t)

    def log_volume(self, epsilon: ArrayLike) -> np.ndarray:
        """Return log V at each ε > 0."""
        return _log_volume(self._log_evidence, epsilon)

    def _log_evidence(self, t):
        return -0.5 * np.log1p(np.multiply.outer(t, np.array(self.curvatures))).sum(axis=-1)


@dataclass(frozen=True)
class Monomial:
    """K = Π wⱼ^(2kⱼ) of weights that are uniform on [−1, 1], wⱼ = 2Φ(zⱼ) − 1.

    λ is the smallest of the 1/(2kⱼ), and m how many of them are that small. −log K is a sum of
    exponential variables with the rates 1/(2kⱼ), which gives V.

    Parameters
    ----------
    powers : tuple of int
        kⱼ ≥ 1, one per weight.

    Raises
    ------
    ValueError
        Unless there is one power or more, and all are whole and ≥ 1.

    Examples
    --------
    For K = w₁²w₂² the volume is √ε·(1 + ½·log 1/ε).

    >>> model = Monomial((1, 1))
    >>> model.learning_coefficient, model.multiplicity
    (0.5, 2)
    >>> bool(np.isclose(np.exp(model.log_volume(0.01)), 0.1 * (1 + np.log(10))))
    True
    """

    powers: tuple[int, ...]

    def __post_init__(self):
        powers = tuple(self.powers)
        if not powers:
            raise ValueError("powers is empty; it needs one per weight")
        for power in powers:
            check_counts(powers=power)
        object.__setattr__(self, "powers", tuple(map(int, powers)))

    @property
    def size(self) -> int:
        """Number of weights, p."""
        return len(self.powers)

    @property
    def learning_coefficient(self) -> float:
        """λ."""
        return 1 / (2 * max(self.powers))

    @property
    def multiplicity(self) -> int:
        """m."""
        return self.powers.count(max(self.powers))

    def __call__(self, z: jax.Array) -> jax.Array:
        """Return K at z (p,)."""
        return jnp.prod(erf(z / np.sqrt(2)) ** (2 * np.array(self.powers)))

    def log_evidence(self, t: ArrayLike) -> np.ndarray:
        """Return log Z at each t ≥ 0, from Z(t) = ∫ exp(−x)·V(x/t) dx."""
        t = _positive("t", t, least=0)
        weights = np.exp(LOGS - np.exp(LOGS)) * (LOGS[1] - LOGS[0])
        with np.errstate(divide="ignore"):
            logs = LOGS - np.log(t[..., None])
        return np.log(np.exp(self._log_volume(logs)) @ weights)

    def log_volume(self, epsilon: ArrayLike) -> np.ndarray:
        """Return log V at each ε > 0."""
        return self._log_volume(np.log(_positive("epsilon", epsilon)))

    def _log_volume(self, log_epsilon: np.ndarray) -> np.ndarray:
        """P(Σ Eⱼ ≥ s), where Eⱼ has the rate rⱼ: the jump process that runs through them."""
        rates = 1 / (2 * np.array(self.powers, float))
        top = rates.max()  # taken out, so that no entry is negative and none cancels
        steps = np.diag(top - rates) + np.diag(rates[:-1], 1)
        s = np.maximum(-log_epsilon, 0.0).ravel()
        left = np.minimum(s, 600.0)
        inside = expm(left[:, None, None] * steps)[:, 0].sum(axis=-1)
        found = np.log(inside) - top * left - rates.min() * (s - left)
        return found.reshape(log_epsilon.shape)


@dataclass(frozen=True)
class ReducedRank:
    """K = ½‖BA − T‖², reduced rank regression: y = BAx + noise, white x, a target of rank r.

    A is (hidden, inputs) and B (outputs, hidden), all standard normal; T has `rank` singular
    values of 1. K is the excess of the expected squared loss ½‖y − BAx‖².

    λ and m are those of Aoyagi & Watanabe (2005), *Stochastic complexities of reduced rank
    regression in Bayesian estimation*, main theorem. At rank 0 the evidence is an expectation
    over the eigenvalues of a Wishart matrix: given A the rows of B are normal, and
    Z(t) = E det(I + t·AAᵀ)^(−outputs/2).

    Parameters
    ----------
    inputs, outputs, hidden : int
        M, N and H.
    rank : int
        r of the target, at most each of them.

    Raises
    ------
    ValueError
        For sizes below 1, or a rank that is negative or too large.

    Examples
    --------
    >>> model = ReducedRank(3, 3, 2, rank=1)
    >>> model.size, model.learning_coefficient, model.multiplicity
    (12, 3.5, 2)
    """

    inputs: int
    outputs: int
    hidden: int
    rank: int = 0

    def __post_init__(self):
        check_counts(inputs=self.inputs, outputs=self.outputs, hidden=self.hidden)
        check_counts(least=0, rank=self.rank)
        most = min(self.inputs, self.outputs, self.hidden)
        if self.rank > most:
            raise ValueError(f"rank is {self.rank}; it has to be at most {most}")

    @property
    def size(self) -> int:
        """Number of weights, p."""
        return self.hidden * (self.inputs + self.outputs)

    @property
    def learning_coefficient(self) -> float:
        """λ."""
        return self._known[0]

    @property
    def multiplicity(self) -> int:
        """m."""
        return self._known[1]

    @property
    def _known(self) -> tuple[float, int]:
        M, N, H, r = self.inputs, self.outputs, self.hidden, self.rank
        if N + r > M + H:
            return (H * M - H * r + N * r) / 2, 1
        if M + r > N + H:
            return (H * N - H * r + M * r) / 2, 1
        if H + r > M + N:
            return M * N / 2, 1
        odd = (M + N + H + r) % 2
        s = H + r
        return (2 * s * (M + N) + 2 * M * N - s**2 - M**2 - N**2 + odd) / 8, 1 + odd

    def __call__(self, z: jax.Array) -> jax.Array:
        """Return K at z (p,): A row by row, then B."""
        cut = self.hidden * self.inputs
        A = z[:cut].reshape(self.hidden, self.inputs)
        B = z[cut:].reshape(self.outputs, self.hidden)
        return 0.5 * jnp.sum((B @ A - self.target) ** 2)

    @property
    def target(self) -> np.ndarray:
        """T (outputs, inputs)."""
        ones = np.arange(self.rank)
        target = np.zeros((self.outputs, self.inputs), np.float32)
        target[ones, ones] = 1
        return target

    def log_evidence(self, t: ArrayLike) -> np.ndarray:
        """Return log Z at each t ≥ 0; rank 0 only, else raise ValueError."""
        return _log_evidence(self._log_evidence, t)

    def log_volume(self, epsilon: ArrayLike) -> np.ndarray:
        """Return log V at each ε > 0; rank 0 only, else raise ValueError."""
        return _log_volume(self._log_evidence, epsilon)

    def _log_evidence(self, t):
        if self.rank:
            raise ValueError(f"rank is {self.rank}; a closed form is known at rank 0 only")
        narrow, wide = sorted((self.inputs, self.outputs))  # either may be integrated out
        few, many = sorted((self.hidden, narrow))
        pfaffians = _pfaffians(np.r_[0, np.ravel(t)], few, (many - few - 1) / 2, wide / 2)
        logs = np.log(pfaffians[1:] / pfaffians[0])
        return logs.reshape(np.shape(t))


def _pfaffians(t: np.ndarray, k: int, a: float, b: float) -> np.ndarray:
    """∫ Π|xᵢ − xⱼ| Π w(xᵢ) dx over k positive xᵢ, w = x^a·exp(−x/2)·(1 + tx)^(−b), over k!.

    It is the Pfaffian of ∫∫ sign(y − x) x^i y^j w(x) w(y), with a border ∫ x^i w(x) where k is
    odd (de Bruijn 1955, *On some multiple integrals involving determinants*). Integrals run
    over log x.
    """
    x, width, found = np.exp(LOGS), LOGS[1] - LOGS[0], []
    powers = np.power.outer(x, np.arange(k)).T
    for each in t:
        parts = np.exp((a + 1) * LOGS - x / 2) * (1 + each * x) ** -b * powers
        scale = np.abs(parts).max(axis=1, keepdims=True)
        parts = parts / scale
        below = CubicSpline(LOGS, parts, axis=1).antiderivative()(LOGS)
        total = below[:, -1]
        pairs = width * (2 * below - total[:, None]) @ parts.T  # smooth, 0 at both ends
        pairs = (pairs - pairs.T) / 2
        if k % 2:
            pairs = np.block([[pairs, total[:, None]], [-total[None], np.zeros((1, 1))]])
        found.append(_pfaffian(pairs) * np.prod(scale))
    return np.array(found)


def _pfaffian(matrix: np.ndarray) -> complex:
    """Of a small skew-symmetric matrix of even size, along its first row."""
    if not len(matrix):
        return 1.0
    total, rest = 0.0, np.arange(1, len(matrix))
    for place, j in enumerate(rest):
        kept = np.delete(rest, place)
        total += (-1) ** place * matrix[0, j] * _pfaffian(matrix[np.ix_(kept, kept)])
    return total


def _positive(name: str, values: ArrayLike, least: float = np.nextafter(0, 1)) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not (np.isfinite(values) & (values >= least)).all():
        bound = "≥ 0" if least == 0 else "> 0"
        raise ValueError(f"{name} is {values}; every one has to be finite and {bound}")
    return values


def _log_evidence(log_evidence: Callable, t: ArrayLike) -> np.ndarray:
    return log_evidence(_positive("t", t, least=0))


def _log_volume(log_evidence: Callable, epsilon: ArrayLike) -> np.ndarray:
    """Log V from log Z, continued to complex t: V is the inverse Laplace transform of Z(t)/t.

    The contour and its weights are Talbot's (Abate & Valkó 2004, *Multi-precision Laplace
    transform inversion*).
    """
    epsilon = _positive("epsilon", epsilon)
    angles = np.arange(1, NODES) * np.pi / NODES
    cot = 1 / np.tan(angles)
    bend = angles + (angles * cot - 1) * cot
    found = []
    for each in epsilon.ravel():
        r = 2 * NODES / (5 * each)
        s = np.r_[r, r * angles * (cot + 1j)]
        logs = log_evidence(s) - np.log(s)
        weight = np.r_[0.5, 1 + 1j * bend]
        terms = weight * np.exp(logs - logs[0].real + each * s)
        found.append(logs[0].real + np.log(r / NODES * terms.real.sum()))
    return np.reshape(found, epsilon.shape)
