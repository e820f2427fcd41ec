"""A recorded run on estimators of the learning coefficient, and what a chapter reads of it.

`measure` makes the record, piece by piece, so that an interrupted run continues;
``tests/benchmarks/learning_coefficient.py`` writes it. It has three parts. *known* are models
whose slopes are known (`KNOWN`), each by tempering and by volume. *rival* is localised SGLD on
reduced rank regression, with its settings swept, beside the same posterior by Hamiltonian
moves. *heads* are real heads, whose two slopes are read at one scale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from elkutils.evaluation import Interval
from elkutils.inference.networks.learning_coefficient import (
    Estimate,
    sgld,
    slope,
    tempered,
    volume,
)
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import FlatNetwork, flat, mean_loss
from elkutils.inference.networks.singular import Monomial, Quadratic, ReducedRank
from elkutils.ledger import recorded_run
from elkutils.study.controls import rescattered
from elkutils.study.readings import read as read_task
from elkutils.study.scaling import principal
from elkutils.study.tiny_heads import LAYER, Parts, digest_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LADDER = 1e2, 1e3, 1e4
THRESHOLDS = 1e-1, 1e-2, 1e-3
CURVATURES = tuple(np.geomspace(0.1, 10, 20).tolist())
KNOWN = {
    "regular, 4 weights": Quadratic((1.0,) * 4),
    "regular, 20 weights": Quadratic(CURVATURES),
    "w₁⁴": Monomial((2,)),
    "w₁²w₂²": Monomial((1, 1)),
    "w₁²w₂⁴": Monomial((1, 2)),
    "w₁²w₂²w₃²": Monomial((1, 1, 1)),
    "reduced rank 3, 3, 2, target 0": ReducedRank(3, 3, 2),
    "reduced rank 2, 4, 2, target 0": ReducedRank(2, 4, 2),
    "reduced rank 5, 5, 4, target 0": ReducedRank(5, 5, 4),
    "reduced rank 3, 3, 2, target 1": ReducedRank(3, 3, 2, 1),
    "reduced rank 3, 3, 2, target 2": ReducedRank(3, 3, 2, 2),
    "reduced rank 4, 3, 3, target 1": ReducedRank(4, 3, 3, 1),
    "reduced rank 5, 5, 4, target 2": ReducedRank(5, 5, 4, 2),
}
METHODS = "tempered", "volume"
MOVES = 10  # at most, of every particle at each level

RIVAL = ReducedRank(3, 3, 2, 1)
ROWS = 1000
PULLS = 1.0, 10.0, 100.0, 1000.0
STEPS = 1e-5, 1e-4, 1e-3, 1e-2
USUAL = {"draws": 100, "burn_in": 0, "batch": 32}  # devinterp's, and a common batch
CAREFUL = {"draws": 2000, "burn_in": 2000, "batch": None}
RECIPES = {"usual": USUAL, "careful": CAREFUL}

DIRECTIONS = 16
HEADS = {"linear": MLP(()), "MLP of 16 units": MLP((16,))}
NEARBY = 1.25, 1.0, 0.8  # times the mean loss: thresholds between which the slope is read


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes
    ----------
    particles, repeats : int
        Of models with twelve weights or so; those with four or fewer have twelve times as many
        particles, and those with forty half.
    chains : int
        Of SGLD.
    head_particles, head_repeats : int
        Of each real head; the linear one has eight times as many particles.
    seeds : tuple of int
        Splits on which heads are read.
    models : tuple of str
        Which of `KNOWN`.
    """

    particles: int
    repeats: int
    chains: int
    head_particles: int
    head_repeats: int
    seeds: tuple[int, ...]
    models: tuple[str, ...]


SIZES = {
    "quick": Size(100, 2, 3, 50, 2, (5,), tuple(KNOWN)[:2]),
    "book": Size(300, 16, 20, 50, 2, (5, 6, 7, 8, 9), tuple(KNOWN)),
}
SEED = 15  # the first that was not seen in trials


def measure(
    model: "TransformerBridge",
    size: Size,
    folder: str | Path,
    tell: Callable = lambda line: None,
) -> dict[str, Any]:
    """Return the record, as JSON takes it.

    Parameters
    ----------
    model : TransformerBridge
        Whose activations the real heads read.
    size : Size
    folder : path
        Where parts are kept; a call with the same arguments continues from there.
    tell : callable
        Takes a line of progress.
    """
    settings = size.particles, size.repeats, size.chains, SEED
    parts = Parts(folder, digest_of({}, *settings), tell)
    known, rival, heads = {}, {}, {}
    for name in size.models:
        for method in METHODS:
            found = parts(
                f"{method}, {name}", lambda n=name, m=method: known_slopes(n, m, size)
            )
            known.setdefault(name, {})[method] = _plain(found)
    for pull in PULLS:
        found = parts(f"reference, {pull:g}", lambda g=pull: reference(g, size))
        rival[f"reference, {pull:g}"] = _plain(found)
    for recipe in RECIPES:
        for step in STEPS:
            found = parts(f"{recipe}, {step:g}", lambda r=recipe, h=step: walk(r, h, size))
            rival[f"{recipe}, {step:g}"] = _plain(found)
    for seed in size.seeds:
        X, y = read(model, seed)
        for name in HEADS:
            settings = size.head_particles, size.head_repeats
            own = Parts(folder, digest_of({"train": (X, y, y)}, *settings), tell)
            label = f"{name}, seed {seed}"
            found = own(label, lambda n=name, X=X, y=y, s=seed: head_slopes(n, X, y, s, size))
            heads[label] = _plain(found)
    return {"known": known, "rival": rival, "heads": heads}


def recorded() -> dict[str, Any]:
    """Return the record that the book keeps, lists as arrays."""
    found = recorded_run("learning-coefficient")
    for model in found["known"].values():
        for method, entry in model.items():
            model[method] = _arrays(entry)
    for part in ("rival", "heads"):
        found[part] = {name: _arrays(entry) for name, entry in found[part].items()}
    return found


def known_slopes(name: str, method: str, size: Size) -> dict[str, Any]:
    """Estimate the coefficient of one known model by one method."""
    model = KNOWN[name]
    share = 12 if model.size <= 4 else 0.5 if model.size >= 40 else 1
    particles = int(share * size.particles)
    return _entry(estimate(model, method, particles=particles, repeats=size.repeats, seed=SEED))


def estimate(model: Any, method: str, **options: Any) -> Estimate:
    """Estimate the coefficient of a model of `singular`, corrected for its multiplicity."""
    run, points = {"tempered": (tempered, LADDER), "volume": (volume, THRESHOLDS)}[method]
    return run(model, model.size, points, multiplicity=model.multiplicity, **options)


def exact_slope(model: Any, method: str) -> float:
    """The slope that an estimator would have without error, corrected for m as it is.

    It is λ itself where no closed form of the volume is known.
    """
    if getattr(model, "rank", 0):
        return model.learning_coefficient
    heights, points = {
        "tempered": (model.log_evidence, LADDER),
        "volume": (model.log_volume, THRESHOLDS),
    }[method]
    return float(slope(points, heights(np.array(points)), model.multiplicity))


def ratios(record: Mapping, name: str, method: str) -> np.ndarray:
    """Each repeat's estimate over the exact slope, (repeats,)."""
    return record["known"][name][method]["values"] / exact_slope(KNOWN[name], method)


def places(record: Mapping) -> dict[str, Interval]:
    """What C10a is judged on: estimate over the exact slope, by criterion, model and method."""
    return {
        f"{criterion(name)}: {name}, {method}": Interval.of_mean(ratios(record, name, method))
        for name, methods in record["known"].items()
        for method in methods
    }


def controls(record: Mapping, name: str) -> tuple[Callable, Callable]:
    """The positive and the negative control of a criterion of C10a, for `controls.rates`."""
    rival = record["rival"]
    noisy, wrong = {
        "slope": (
            ratios(record, "w₁²w₂⁴", "volume"),
            rival["usual, 1e-05"]["values"] / rival["reference, 1"]["values"].mean(),
        ),
        "coefficient": (
            ratios(record, "reduced rank 5, 5, 4, target 2", "volume"),
            1.25 * ratios(record, "reduced rank 3, 3, 2, target 1", "tempered"),
        ),
    }[name]
    return (
        lambda rng: rescattered(1.0, noisy, rng),
        lambda rng: Interval.of_mean(rng.choice(wrong, len(wrong))),
    )


def criterion(name: str) -> str:
    """Which of C10a's criteria judges a model: "slope" where a closed form is known."""
    return "coefficient" if getattr(KNOWN[name], "rank", 0) else "slope"


def regression(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows X (n, 3) and answers Y (n, 3) of reduced rank regression with unit noise."""
    rng = np.random.default_rng((seed, 7))
    X = rng.standard_normal((ROWS, RIVAL.inputs)).astype(np.float32)
    noise = rng.standard_normal((ROWS, RIVAL.outputs)).astype(np.float32)
    return X, X @ RIVAL.target.T + noise


def squared(w: Any, X: Any, Y: Any) -> Any:
    """The mean of ½‖y − BAx‖² over rows."""
    cut = RIVAL.hidden * RIVAL.inputs
    A, B = w[:cut].reshape(RIVAL.hidden, -1), w[cut:].reshape(RIVAL.outputs, -1)
    return 0.5 * jnp.mean(jnp.sum((Y - X @ A.T @ B.T) ** 2, axis=1))


def truth() -> np.ndarray:
    """Weights (p,) that make BA the target: w₀."""
    A, B = np.zeros((RIVAL.hidden, RIVAL.inputs)), np.zeros((RIVAL.outputs, RIVAL.hidden))
    A[0, 0] = B[0, 0] = 1
    return np.concatenate([A.ravel(), B.ravel()]).astype(np.float32)


def least_loss(X: np.ndarray, Y: np.ndarray) -> float:
    """The smallest mean loss that weights reach: least squares, cut to the rank by an SVD."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    full = np.linalg.lstsq(X, Y, rcond=None)[0]
    directions = np.linalg.svd(X @ full, full_matrices=False)[2][: RIVAL.hidden]
    best = full @ directions.T @ directions
    return float(0.5 * np.mean(np.sum((Y - X @ best) ** 2, axis=1)))


def _near(z, centre, pull, moments, floor):
    """The excess of `squared` about a centre, from the rows' second moments."""
    w, (of_x, of_xy, of_y) = centre + z / jnp.sqrt(pull), moments
    cut = RIVAL.hidden * RIVAL.inputs
    map_ = w[cut:].reshape(RIVAL.outputs, -1) @ w[:cut].reshape(RIVAL.hidden, -1)
    return 0.5 * (jnp.sum(map_ @ of_x * map_) - 2 * jnp.sum(map_ * of_xy.T) + of_y) - floor


def reference(pull: float, size: Size) -> dict[str, Any]:
    """t·E_t[L − L(w₀)] at t = n/log n under the pull γ, by Hamiltonian moves."""
    X, Y = regression(SEED)
    t, floor, centre = ROWS / np.log(ROWS), least_loss(X, Y), truth()
    moments = X.T @ X / ROWS, X.T @ Y / ROWS, np.sum(Y**2) / ROWS
    data = centre, np.float32(pull), moments, np.float32(floor)
    some = {"particles": size.particles, "repeats": size.repeats, "seed": SEED}
    found = tempered(_near, RIVAL.size, (t / 4, t), data, **some)
    above = t * (float(squared(jnp.asarray(centre), X, Y)) - floor)
    return {"values": found.local[:, -1] - above, "above": above, "t": t}


def walk(recipe: str, step: float, size: Size) -> dict[str, Any]:
    """The same at γ = 1 by SGLD, one value per chain."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is what is measured
        found = sgld(
            squared,
            truth(),
            regression(SEED),
            chains=size.chains,
            step_size=step,
            seed=SEED,
            **RECIPES[recipe],
        )
    return {"values": found.values, "step": step}


def read(model: "TransformerBridge", seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training statements of the cities along 16 principal directions: X (n, 16), y (n,)."""
    found = read_task(model, "cities", seed)["easy"]
    train, _ = found.split.train_test(seed=seed)
    return principal(DIRECTIONS, found.X[LAYER][train])[0], found.y[train]


@lru_cache(maxsize=8)
def _excess_of(head: FlatNetwork) -> Callable:
    def excess(z, X, y, floor):
        return mean_loss(head.network, head.from_white(z), X, y) - floor

    return excess


def least_logistic(X: np.ndarray, y: np.ndarray) -> float:
    """The infimum of the mean loss of linear log odds: 0 if the labels can be separated."""
    from scipy.optimize import minimize

    A, sign = np.column_stack([X, np.ones(len(X))]), np.where(y == 1, 1.0, -1.0)

    def look(w):
        margin = sign * (A @ w)
        slopes = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        return np.mean(np.logaddexp(0, -margin)), A.T @ slopes / len(A)

    found = minimize(look, np.zeros(A.shape[1]), jac=True, method="BFGS", tol=1e-10)
    return float(found.fun)


def head_slopes(name: str, X: np.ndarray, y: np.ndarray, seed: int, size: Size) -> dict:
    """Read the two slopes of a real head at t = n/log n and at t = n."""
    head, n = flat(HEADS[name], X.shape[1]), len(y)
    floor = least_logistic(X, y) if not HEADS[name].widths else 0.0
    ladder = n / np.log(n), float(n)
    data = X.astype(np.float32), y.astype(np.float32), np.float32(floor)
    particles = size.head_particles * (8 if head.size < 40 else 1)
    some = {"particles": particles, "repeats": size.head_repeats}
    some |= {"most_moves": MOVES, "seed": seed}
    hot = tempered(_excess_of(head), head.size, ladder, data, **some)
    mean_losses = hot.local.mean(axis=0) / hot.points
    thresholds = np.multiply.outer(mean_losses, NEARBY)
    falling, place = np.unique(-thresholds, return_inverse=True)
    cold = volume(_excess_of(head), head.size, -falling, data, **some)
    near = cold.heights[:, place.reshape(thresholds.shape)]
    slopes = (near[..., 0] - near[..., -1]) / np.log(NEARBY[0] / NEARBY[-1])
    return {
        "t": np.array(ladder),
        "losses": mean_losses,
        "tempered": hot.local,
        "volume": slopes,
        "floor": floor,
        "weights": head.size,
    }


def readings(record: Mapping, head: str) -> dict[str, np.ndarray]:
    """What was read of a head: each entry of `head_slopes`, by split, repeats averaged."""
    entries = [record["heads"][f"{head}, seed {seed}"] for seed in record["size"]["seeds"]]
    found = {name: np.array([entry[name] for entry in entries]) for name in entries[0]}
    return found | {name: found[name].mean(axis=1) for name in ("tempered", "volume")}


def _entry(found: Estimate) -> dict[str, Any]:
    return {"values": found.values, "heights": found.heights, "local": found.local}


def _plain(part: Mapping) -> dict[str, Any]:
    """Arrays as lists of six digits, numbers as numbers; NaN and infinity as None."""

    def told(value):
        if isinstance(value, list):
            return [told(each) for each in value]
        return float(f"{value:.6g}") if np.isfinite(value) else None

    return {name: told(np.asarray(value, float).tolist()) for name, value in part.items()}


def _arrays(entry: Mapping) -> dict[str, Any]:
    found = {name: np.array(value, float) for name, value in entry.items()}
    return {name: value if value.ndim else float(value) for name, value in found.items()}
