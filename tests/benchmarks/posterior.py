"""Time to 400 effective draws: split HMC against NumPyro's NUTS with its defaults, in one run.

    python tests/benchmarks/posterior.py --points 1000x64 1000x576 --output times.json

Data are z-scored features with a power-law spectrum, like activations, and labels from a
logistic reporter; the prior scale is 1 at d = 64 and 3/√d above. The clock is the wall's, and
set-up and warm-up count on both sides. Effective draws are the smaller of the smallest bulk and
tail ESS over all coefficients and the bias. Both run on all cores or the one device there is.

NUTS warms up for 500 draws. Where it does not finish within `--patience` seconds its time is
extrapolated: from its measured seconds a gradient here, and from its gradients and effective
draws at the largest n of the same d at which it did finish. It is then marked so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from elkutils.study.timings import synthetic_activations

TARGET = 400
WARMUP = 500
SEEDS = 3
ALL = [f"{n}x{d}" for d in (64, 576, 2048) for n in (1000, 10_000, 50_000)]
HERE = Path(__file__).resolve()


def ours(X, y, prior_scale, seed, draws=200, chains=32):
    """Seconds to 400 effective draws, and what they were made of."""
    from elkutils.inference.logistic import hmc, row_space

    begun = time.perf_counter()
    n, d = X.shape
    coordinates = X @ row_space(X) if d > n else X
    rotated = time.perf_counter() - begun
    precision = np.append(np.full(coordinates.shape[1], prior_scale**-2), 0.0)
    found = hmc.sample(coordinates, y, precision, draws, chains, seed)
    worst = found.diagnose_parameters().worst
    seconds, steps = found.details["seconds"], found.details["steps"]
    gradients = steps * draws
    flops = 4 * n * (coordinates.shape[1] + 1) * chains * gradients
    return {
        "seconds": rotated
        + seconds["fit"]
        + seconds["pilots"]
        + seconds["draws"] * TARGET / worst["ess"],
        "rotation": rotated,
        **seconds,
        "rhat": worst["rhat"],
        "ess_a_gradient": worst["ess"] / (gradients * chains),
        "steps": steps,
        "gigaflops": flops / seconds["draws"] / 1e9,
    }


def theirs(X, y, prior_scale, patience, block=10):
    """Seconds to 400 effective draws by NUTS, compilation apart; None for what did not end."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import NUTS

    from elkutils.inference.diagnostics import diagnose

    def model(X, y):
        prior = dist.Normal(0, prior_scale).expand([X.shape[1]]).to_event(1)
        w = numpyro.sample("w", prior)
        b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("y", dist.Bernoulli(logits=X @ w + b), obs=y)

    data = jnp.asarray(X), jnp.asarray(y)
    kernel = NUTS(model)
    begun = time.perf_counter()
    state = kernel.init(jax.random.key(0), WARMUP, None, data, {})

    def advance(state, data):
        def body(state, _):
            state = kernel.sample(state, data, {})
            return state, (state.z["w"], state.z["b"], state.num_steps)

        return jax.lax.scan(body, state, length=block)

    advance = jax.jit(advance).lower(state, data).compile()
    compiling = time.perf_counter() - begun

    clock, traces, took = time.perf_counter(), [], []
    while True:
        state, trace = advance(state, data)
        traces.append([np.asarray(part) for part in trace])
        took.append(time.perf_counter() - clock)
        done, enough = block * len(traces), False
        if done >= WARMUP + 200 and done % 100 == 0:
            w, b, _ = (np.concatenate(part)[WARMUP:] for part in zip(*traces, strict=True))
            halves = np.stack(np.array_split(np.column_stack([w, b]), 2))
            ess = diagnose(halves).worst["ess"]
            enough = ess >= TARGET / 2
        if enough or took[-1] > patience:
            break
    steps = np.concatenate([trace[2] for trace in traces])
    a_gradient = took[-1] / steps.sum()
    if not enough:
        return {"compiling": compiling, "a_gradient": a_gradient, "seconds": None}
    warm = took[WARMUP // block - 1]
    kept = steps[WARMUP:].sum()
    return {
        "compiling": compiling,
        "a_gradient": a_gradient,
        "seconds": warm + (took[-1] - warm) * TARGET / ess,
        "warmup_gradients": int(steps[:WARMUP].sum()),
        "ess_a_gradient": ess / kept,
    }


def matrix_product_rate(size=2048, repeats=20):
    """Best GFLOP/s of JAX's float32 matrix product: what a gradient could reach.

    The best and not the median, because it is a ceiling, and whatever else runs on the
    machine only lowers what is measured of it.
    """
    import jax
    import jax.numpy as jnp

    with jax.default_matmul_precision("highest"):
        a = jnp.ones((size, size), jnp.float32)
        product = jax.jit(lambda a: a @ a)
        product(a).block_until_ready()
        took = []
        for _ in range(repeats):
            begun = time.perf_counter()
            product(a).block_until_ready()
            took.append(time.perf_counter() - begun)
    return 2 * size**3 / min(took) / 1e9


def cold(point):
    """Seconds to 400 effective draws in a new process, compilation counted."""
    code = (
        "import posterior;"
        f"print(posterior.ours(*posterior.synthetic_activations{shape(point)}, 0)['seconds'])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return float(printed.split()[-1])


def shape(point):
    n, d = point.split("x")
    return int(n), int(d)


def compare(point, patience, finished):
    """All times at one point; `finished` holds NUTS' earlier ones, by d, and is added to."""
    n, d = shape(point)
    X, y, prior_scale = synthetic_activations(n, d)
    ours(X, y, prior_scale, 0)  # compiles
    times = [ours(X, y, prior_scale, seed) for seed in range(SEEDS)]
    fast = {key: float(np.median([t[key] for t in times])) for key in times[0]}
    slow = theirs(X, y, prior_scale, patience)
    slow["extrapolated"] = slow["seconds"] is None
    if not slow["extrapolated"]:
        finished[d] = slow
    elif d in finished:
        known = finished[d]
        gradients = known["warmup_gradients"] + TARGET / known["ess_a_gradient"]
        slow["seconds"] = gradients * slow["a_gradient"]
    first = cold(point)
    row = {"n": n, "d": d, "ours": fast, "nuts": slow, "cold": first}
    if slow["seconds"]:
        row["ratio"] = slow["seconds"] / fast["seconds"]
        row["cold_ratio"] = (slow["seconds"] + slow["compiling"]) / first
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", nargs="+", default=ALL, help="as 1000x64")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for one NUTS")
    parser.add_argument("--output", type=Path, help="JSON file")
    args = parser.parse_args()

    import jax

    from elkutils.study import timings

    finished = {}
    about = {
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "matrix_product_gigaflops": matrix_product_rate(),
        "rows": [],
    }
    for point in args.points:
        about["rows"].append(compare(point, args.patience, finished))
        again = max(about["matrix_product_gigaflops"], matrix_product_rate())
        about["matrix_product_gigaflops"] = again
        print(f"{point} done", file=sys.stderr, flush=True)
        if args.output:
            args.output.write_text(json.dumps(about, indent=1) + "\n")
    print("\n".join(timings.table(about)))


if __name__ == "__main__":
    main()
