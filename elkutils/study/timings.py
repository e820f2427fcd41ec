"""Times: of a task here, and of the posterior engine against other samplers, as recorded.

`tests/benchmarks/posterior.py` writes one JSON file per kind of device; those kept in
`times/` ship with the package, and the book shows them.
"""

import json
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import numpy as np


def median_seconds(task: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median wall-clock time of a task in seconds.

    The first of ``repeats + 1`` runs compiles and is not counted. Arrays of JAX that the task
    returns are waited for.
    """
    import jax

    jax.block_until_ready(task())
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(task())
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def recorded() -> dict[str, dict]:
    """Return the recorded benchmarks, by the name of their file."""
    found = files("elkutils.study").joinpath("times")
    names = sorted(item.name for item in found.iterdir() if item.name.endswith(".json"))
    return {
        name[: -len(".json")]: json.loads(found.joinpath(name).read_text()) for name in names
    }


def table(benchmark: dict) -> Iterator[str]:
    """Yield the lines of a table of one benchmark: times, their ratios and R-hat and ESS."""
    yield (
        "     n     d   HMC, s    NUTS, s   ratio  cold  R-hat  ESS/gradient"
        f"  GFLOP/s of {benchmark['matrix_product_gigaflops']:.0f}"
    )
    ratios = []
    for row in benchmark["rows"]:
        fast, slow = row["ours"], row["nuts"]
        if slow["seconds"] is None:
            continue
        ratios.append(row["ratio"])
        mark = "*" if slow["extrapolated"] else " "
        yield (
            f"{row['n']:6d} {row['d']:5d} {fast['seconds']:8.3f} {slow['seconds']:9.1f}{mark}"
            f" {row['ratio']:7.0f} {row['cold_ratio']:5.0f} {fast['rhat']:6.3f}"
            f" {fast['ess_a_gradient']:13.2f} {fast['gigaflops']:8.0f}"
        )
    yield f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.0f}"
