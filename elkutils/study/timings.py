"""Times: of a task here, and of the posterior engine as recorded, by method and by size.

`tests/benchmarks/posterior.py` writes one JSON file per kind of device; those kept in
`times/` ship with the package, and the book shows them. Those of `growth.py` and `networks.py`
are in `book/results/recorded/`.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from elkutils.evaluation import Interval
from elkutils.ledger import recorded_run, reference_dir

AIM = 10  # times the ESS per second of other libraries, on wide networks


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


def provenance(command: str, *packages: str) -> dict[str, Any]:
    """Return what a recorded run says of itself: its command, the machine and the versions.

    Parameters
    ----------
    command : str
    *packages : str
        Whose versions are told beside those of numpy and jax; None for one that is missing.

    Examples
    --------
    >>> provenance("python run.py", "no-such-package")["no-such-package"] is None
    True
    """
    import jax

    return {
        "command": command,
        "device": jax.devices()[0].device_kind,
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "python": platform.python_version(),
    } | {name: _version(name) for name in ("numpy", "jax", *packages)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def recorded() -> dict[str, dict]:
    """Return the recorded benchmarks, by the name of their file."""
    found = files("elkutils.study").joinpath("times")
    names = sorted(item.name for item in found.iterdir() if item.name.endswith(".json"))
    return {
        name[: -len(".json")]: json.loads(found.joinpath(name).read_text()) for name in names
    }


def table(benchmark: dict) -> Iterator[str]:
    """Yield the lines of a table of one benchmark, narrow enough for a telephone.

    The ratio is NUTS' seconds over HMC's; a star marks times of NUTS that are extrapolated, and
    their ratios stay out of the mean.
    """
    yield "    n    d  HMC, s  NUTS, s  ratio  R-hat"
    ratios = []
    for row in benchmark["rows"]:
        fast, slow = row["ours"], row["nuts"]
        if slow["seconds"] is None:
            continue
        mark = "*" if slow["extrapolated"] else " "
        ratios += [] if slow["extrapolated"] else [row["ratio"]]
        yield (
            f"{row['n']:5d} {row['d']:4d} {fast['seconds']:7.2f} {slow['seconds']:8.1f}{mark}"
            f"{row['ratio']:6.0f} {fast['rhat']:6.3f}"
        )
    mean = np.exp(np.mean(np.log(ratios)))
    yield f"geometric mean of the {len(ratios)} measured ratios: {mean:.0f}"


def synthetic_activations(
    n: int, d: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return X (n, d), y (n,) and a prior scale: data as the benchmarks time them.

    Features are z-scored and correlated, with a power-law spectrum like that of activations.
    Labels come from a logistic reporter; the prior scale is 1 at d = 64 and 3/√d elsewhere.
    """
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = (rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.5) @ turn
    X = (X - X.mean(0)) / X.std(0)
    y = rng.random(n) < expit(X @ rng.standard_normal(d) * 3 / np.sqrt(d))
    return X.astype(np.float32), y.astype(np.float32), 1.0 if d == 64 else 3 / np.sqrt(d)


def recorded_growth() -> dict:
    """Return the recorded times by size: ``tests/benchmarks/growth.py`` made them."""
    return recorded_run("growth")


def recorded_networks() -> dict[str, dict]:
    """Return the recorded times of wide networks, by kind of device: "cpu" and others.

    ``tests/benchmarks/networks.py`` made them.
    """
    paths = sorted((reference_dir() / "recorded").glob("networks-*.json"))
    return {
        path.stem.partition("-")[2]: json.loads(path.read_text(encoding="utf-8"))
        for path in paths
    }


def ess_per_second(record: dict, warmed_up: bool = True) -> dict[str, float]:
    """Return the "median" and "least" ESS per second of a sampler's record.

    Parameters
    ----------
    record : dict
        One of "samplers" in `recorded_networks`.
    warmed_up : bool
        Whether the seconds of the warm-up are left out. NaN where there are too few draws.
    """
    if record["ess"] is None:
        return {"median": np.nan, "least": np.nan}
    seconds = record["seconds"] - (record["warmup_seconds"] if warmed_up else 0.0)
    return {name: ess / seconds for name, ess in record["ess"].items()}


def sampler_table(benchmark: dict) -> Iterator[str]:
    """Yield the lines of a table of the samplers of wide networks.

    *All* is the least with the warm-up in its seconds; *times* is our median over theirs, which
    is steadier than the least.
    """
    yield "                ESS per second"
    yield "sampler        median   least     all  R-hat  times"
    mine, times = ess_per_second(benchmark["samplers"][0])["median"], []
    for record in benchmark["samplers"]:
        name = f"{record['name']:13s}"
        if record["ess"] is None:
            yield f"{name}  no draws: {record['transitions']} transitions of warm-up"
            continue
        after, whole = ess_per_second(record), ess_per_second(record, warmed_up=False)
        times.append(mine / after["median"])
        yield (
            f"{name}{after['median']:8.2f} {after['least']:7.2f} {whole['least']:7.2f}"
            f" {record['rhat']:6.2f} {times[-1]:6.1f}"
        )
    if len(times) > 1:
        yield f"ours is {min(times[1:]):.1f} times the best rival; the aim was {AIM}"
    for library, reason in benchmark["left_out"].items():
        yield f"{library} is left out: {reason}"


def moment_table(benchmark: dict) -> Iterator[str]:
    """Yield the lines of a table of SGHMC's variances over the temperature: 1 is right."""
    rows = benchmark["moments"]
    temperatures = sorted({row["temperature"] for row in rows})
    yield "variance / temperature     at" + "".join(f"{T:>8g}" for T in temperatures)
    found = {}
    for row in rows:
        place = row["name"], row["friction"], row["step"]
        found.setdefault(place, {})[row["temperature"]] = row["variance"]
    for (name, friction, step), by in found.items():
        values = "".join(f"{by[T]:8.2f}" for T in temperatures)
        yield f"{name:8s} friction {friction:4g} step {step:4g}{values}"


def gradient_table(benchmark: dict) -> Iterator[str]:
    """Yield the lines of a table of the speed of gradients of wide networks."""
    yield "inputs chains  way         ms  GFLOP/s  of its products"
    for row in benchmark["gradient"]:
        yield (
            f"{row['inputs']:6d} {row['chains']:6d}  {row['way']:8s}{row['ms']:6.2f}"
            f" {row['gigaflops']:8.0f} {row['share']:15.0%}"
        )


def network_tables(benchmark: dict) -> Iterator[str]:
    """Yield the lines of the tables of those parts that a benchmark of networks has."""
    tables = {"samplers": sampler_table, "moments": moment_table, "gradient": gradient_table}
    for part, made in tables.items():
        if part in benchmark:
            yield from made(benchmark)


def cpu_seconds(
    X: np.ndarray,
    y: np.ndarray,
    prior_scale: float,
    repeats: int = 3,
    draws: int = 50,
    chains: int = 16,
    seed: int = 0,
) -> list[float]:
    """Return the CPU seconds of one posterior with 400 effective draws, once per repeat.

    `BayesianLogistic` fits X (n, d) and y (n,) once to compile, which is not counted. Of each
    repeat the share that goes to draws is scaled to 400 effective ones of the worst coordinate
    that is sampled: the row space's where d > n. CPU time counts all cores and depends little
    on what else the machine does.
    """
    from elkutils.inference.diagnostics import diagnose
    from elkutils.inference.logistic import row_space
    from elkutils.reporters import BayesianLogistic

    found = []
    options = {"draws": draws, "chains": chains}
    for repeat in range(repeats + 1):
        reporter = BayesianLogistic(prior_scale, seed=seed + repeat, **options)
        begun = time.process_time()
        reporter.fit(X, y)
        taken = time.process_time() - begun
        weights = reporter.coef_draws_
        weights = weights @ row_space(X) if X.shape[1] > len(X) else weights
        theta = np.column_stack([weights, reporter.intercept_draws_])
        ess = diagnose(theta.reshape(chains, draws, -1)).worst["ess"]
        wall = reporter.draws_.details["seconds"]
        whole = sum(wall.values())
        drawn = wall["draws"] / whole
        found.append(taken * (1 - drawn + drawn * 400 / ess))
    return found[1:]


def growth(times: Mapping[tuple[int, int], Sequence[float]]) -> dict[str, Interval]:
    """Return the exponents of the time in n and in d, from the smallest size to the largest.

    Parameters
    ----------
    times : mapping of (n, d) to a sequence of seconds
        Every n with every d, each timed equally often, at least twice.

    Returns
    -------
    dict of str to Interval
        "in n, d = …" for each d, then "in d, n = …" for each n: log of the ratio of the mean
        times (geometric) over log of the ratio of the sizes. Student's intervals, from the
        scatter of the log times within sizes, pooled over all of them.

    Examples
    --------
    >>> found = growth({(1, 1): [1, 1], (1, 2): [2, 2], (4, 1): [16, 16], (4, 2): [32, 32]})
    >>> print(found["in n, d = 1"], found["in d, n = 4"])
    2.000 [2.000, 2.000] 1.000 [1.000, 1.000]
    """
    logs = {size: np.log(np.asarray(seconds, np.float64)) for size, seconds in times.items()}
    ns, ds = (sorted({size[i] for size in logs}) for i in range(2))
    scatter, df = _scatter(logs.values())
    centre = {size: values.mean() for size, values in logs.items()}
    pairs = {f"in n, d = {d}": ((ns[0], d), (ns[-1], d), ns[-1] / ns[0]) for d in ds}
    pairs |= {f"in d, n = {n}": ((n, ds[0]), (n, ds[-1]), ds[-1] / ds[0]) for n in ns}
    found = {}
    for name, (low, high, ratio) in pairs.items():
        exponent = float((centre[high] - centre[low]) / np.log(ratio))
        error = scatter * np.sqrt(1 / len(logs[low]) + 1 / len(logs[high])) / np.log(ratio)
        half = float(student.ppf(0.975, df) * error)
        found[name] = Interval(exponent, exponent - half, exponent + half, 0.95, df)
    return found


def _scatter(logs: Iterable[np.ndarray]) -> tuple[float, int]:
    """Standard deviation within sizes, and its degrees of freedom."""
    left = [values - values.mean() for values in logs]
    df = sum(len(values) - 1 for values in left)
    return float(np.sqrt(sum(values @ values for values in left) / df)), df
