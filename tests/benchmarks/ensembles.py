"""Ensembles as one program against a plain loop in torch, in one run, in turn.

    python tests/benchmarks/ensembles.py --threads 2

Each trains the same number of members of the same MLP on the same kind of data (576 features,
batches of 128 that all members share, Adam, float32). The clock is the wall's, medians over
rounds, a step of a member at a time; the loop runs with one thread and with all, since small
products are faster with one, and the faster counts. Peak is the faster of the two libraries'
products of 2048 × 2048 matrices, and the share of it is that of the products a step cannot do
without.
"""

import argparse
import json
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from timing import alternating_medians

D, BATCH, ROWS = 576, 128, 2048
STEPS, LOOP_STEPS = 100, 5
SETTINGS = {"32 of 512": (32, 512, 1.1), "256 of 32": (256, 32, 5.0)}


def flops(width):
    """Of a member's step: products forwards, for the weights and for the hidden units."""
    return BATCH * (4 * D * width + 6 * width * width + 6 * width)


def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, D)).astype(np.float32)
    return X, rng.integers(0, 2, ROWS).astype(np.float32)


def ours(members, width):
    """A function that trains the members, compiled."""
    from elkutils.inference.networks.mlp import MLP
    from elkutils.inference.networks.network import draw_prior
    from elkutils.inference.networks.training import Plan, train

    X, y = data()
    head = MLP((width, width), "relu")
    start = draw_prior(head, members, D, seed=0)
    plan = Plan(STEPS, 1e-3, batch=BATCH)
    train(head, start, X, y, plan)
    return lambda: train(head, start, X, y, plan)


def theirs(members, width, threads):
    """The same for a few steps, by a loop over modules and their optimisers."""
    import torch
    from torch import nn

    X, y = map(torch.from_numpy, data())

    def head():
        first, second, last = (nn.Linear(*pair) for pair in pairwise((D, width, width, 1)))
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)

    heads = [head() for _ in range(members)]
    optimisers = [torch.optim.Adam(head.parameters(), 1e-3) for head in heads]
    loss = nn.BCEWithLogitsLoss()

    def run():
        torch.set_num_threads(threads)
        for _ in range(LOOP_STEPS):
            rows = torch.randint(0, ROWS, (BATCH,))
            inputs, labels = X[rows], y[rows]
            for head, optimiser in zip(heads, optimisers, strict=True):
                optimiser.zero_grad()
                loss(head(inputs)[:, 0], labels).backward()
                optimiser.step()

    run()
    return run


def products(threads):
    """Two functions that multiply 2048 × 2048 matrices: JAX's and torch's."""
    import jax
    import jax.numpy as jnp
    import torch

    a, b = jnp.ones((2048, 2048)), torch.ones(2048, 2048)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()

    def torchs():
        torch.set_num_threads(threads)
        return b @ b

    return lambda: product(a).block_until_ready(), torchs


def compare(name, rounds, threads):
    """Milliseconds a step a member, their ratio, and the share of the peak."""
    members, width, goal = SETTINGS[name]
    loops = [theirs(members, width, k) for k in sorted({1, threads})]
    tasks = ours(members, width), *loops, *products(threads)
    wall = alternating_medians(*tasks, rounds=rounds, clock=time.perf_counter)
    here = wall[0] / (STEPS * members)
    loop = wall[1:-2] / (LOOP_STEPS * members)
    peak = 2 * 2048**3 / wall[-2:].min()
    return {
        "members": name,
        "here_ms": 1e3 * here,
        "loop_ms": list(1e3 * loop),
        "ratio": loop.min() / here,
        "goal": goal,
        "peak_gigaflops": peak / 1e9,
        "here_of_peak": flops(width) / here / peak,
        "loop_of_peak": flops(width) / loop.min() / peak,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="JSON file")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    rows = [compare(name, args.rounds, args.threads) for name in SETTINGS]
    print("members     ms a step a member: here, loop with 1 and all threads   ratio  (goal)")
    for row in rows:
        loop = "".join(f"{each:12.3f}" for each in row["loop_ms"])
        print(
            f"{row['members']:10s}{row['here_ms']:14.3f}{loop}{row['ratio']:20.2f}"
            f"{row['goal']:8.1f}"
        )
    for row in rows:
        print(
            f"{row['members']}: {row['here_of_peak']:.0%} of the peak of"
            f" {row['peak_gigaflops']:.0f} GFLOP/s, the loop {row['loop_of_peak']:.0%}"
        )
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
