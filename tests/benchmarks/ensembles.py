"""Ensembles as one program against a plain loop in torch, in one run, in turn.

    python tests/benchmarks/ensembles.py --threads 2

Each trains the same number of members of the same MLP on the same kind of data (576 features,
batches of 128 that all members share, Adam, float32). The clock is the wall's, medians over
rounds; CPU seconds stand beside it, because a busy machine has less wall for everyone. Peak is
the faster of the two libraries' product of 2048 × 2048 matrices, and the share of it is that
of the products a step cannot do without.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

D, BATCH, ROWS = 576, 128, 2048
SETTINGS = {"32 of 512": (32, 512, 10, 1.1), "256 of 32": (256, 32, 50, 5.0)}


def flops(width):
    """Of a member's step: products forwards, for the weights and for the hidden units."""
    return BATCH * (4 * D * width + 6 * width * width + 6 * width)


def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, D)).astype(np.float32)
    return X, rng.integers(0, 2, ROWS).astype(np.float32)


def ours(members, width, steps):
    """A function that trains the members for so many steps, compiled."""
    from elkutils.inference.ensembles import Plan, draw, train
    from elkutils.inference.heads import MLP

    X, y = data()
    head = MLP((width, width), "relu")
    start = draw(head, members, D, seed=0)
    plan = Plan(steps, 1e-3, batch=BATCH, every=steps)
    train(head, start, X, y, plan)
    return lambda: train(head, start, X, y, plan)


def theirs(members, width, steps):
    """The same by a loop over modules and their optimisers."""
    import torch
    from torch import nn

    X, y = map(torch.from_numpy, data())
    heads = [
        nn.Sequential(
            nn.Linear(D, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )
        for _ in range(members)
    ]
    optimisers = [torch.optim.Adam(head.parameters(), 1e-3) for head in heads]
    loss = nn.BCEWithLogitsLoss()

    def run():
        for _ in range(steps):
            rows = torch.randint(0, ROWS, (BATCH,))
            inputs, labels = X[rows], y[rows]
            for head, optimiser in zip(heads, optimisers, strict=True):
                optimiser.zero_grad()
                loss(head(inputs)[:, 0], labels).backward()
                optimiser.step()

    run()
    return run


def products():
    """Two functions that multiply 2048 × 2048 matrices: JAX's and torch's."""
    import jax
    import jax.numpy as jnp
    import torch

    a, b = jnp.ones((2048, 2048)), torch.ones(2048, 2048)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    return lambda: product(a).block_until_ready(), lambda: b @ b


def alternating(tasks, rounds):
    """Median wall and CPU seconds of each task, (2, tasks), timed in turn."""
    times = np.empty((rounds, 2, len(tasks)))
    for i in range(rounds):
        for j, task in enumerate(tasks):
            begun = time.perf_counter(), time.process_time()
            task()
            times[i, :, j] = np.subtract((time.perf_counter(), time.process_time()), begun)
    return np.median(times, axis=0)


def compare(name, rounds):
    """Milliseconds a step a member, their ratio, and the share of the peak."""
    members, width, steps, goal = SETTINGS[name]
    tasks = ours(members, width, steps), theirs(members, width, steps), *products()
    wall, cpu = alternating(tasks, rounds)
    each = 1e3 / (steps * members)
    peak = 2 * 2048**3 / min(wall[2:]) / 1e9
    return {
        "members": name,
        "ours_ms": wall[0] * each,
        "torch_ms": wall[1] * each,
        "ratio": wall[1] / wall[0],
        "goal": goal,
        "cpu_ratio": cpu[1] / cpu[0],
        "peak_gigaflops": peak,
        "ours_of_peak": flops(width) * steps * members / wall[0] / 1e9 / peak,
        "torch_of_peak": flops(width) * steps * members / wall[1] / 1e9 / peak,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="JSON file")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

    import torch

    torch.set_num_threads(args.threads)
    rows = [compare(name, args.rounds) for name in SETTINGS]
    print("members     ms a step a member     ratio  (goal)  of CPU time   share of peak")
    print("            here      torch                                    here  torch")
    for row in rows:
        print(
            f"{row['members']:10s}{row['ours_ms']:6.3f}{row['torch_ms']:11.3f}"
            f"{row['ratio']:11.2f}{row['goal']:8.1f}{row['cpu_ratio']:13.2f}"
            f"{row['ours_of_peak']:11.0%}{row['torch_of_peak']:7.0%}"
        )
    print(f"peak {rows[0]['peak_gigaflops']:.0f} GFLOP/s on {args.threads} threads")
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
