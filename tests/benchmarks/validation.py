"""The long checks of the posterior engine: every layer, and a thousand replications.

    python tests/benchmarks/validation.py

*Layers*: on the real activations of each layer, HMC, NUTS and the importance-weighted normal
give E[p] of the held-out statements. The table counts their differences in Monte Carlo standard
errors. The root mean square over statements is about 1 where two methods draw from one
posterior. Where the weights' Pareto k̂ exceeds .7 the last is no check.

*Calibration*: simulation-based calibration of every method that claims exactness, and of
Laplace's normal, which does not and is to be caught.
"""

import argparse
import warnings

import arviz
import numpy as np

from elkutils import study
from elkutils.inference.diagnostics import diagnose
from elkutils.inference.logistic import sbc
from elkutils.inference.logistic.samplers import SAMPLERS
from elkutils.models import load_model
from elkutils.reporters import BayesianLogistic, LogisticMAP


def held_out(found, layer, seed):
    """Training rows, their labels, and held-out rows of the easy cities, all z-scored."""
    easy = found["easy"]
    train, test = easy.split.train_test(seed=seed)
    raw = easy.X[layer][train].astype(np.float64)
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    return (raw - centre) / spread, easy.y[train], (easy.X[layer][test] - centre) / spread


def estimate(reporter, rows):
    """E[p] of each row (n,), its standard error (n,), and the diagnostics of the worst row."""
    proba = reporter.sample_proba(rows)
    by_chain = proba.reshape(reporter.chains, -1, proba.shape[1])
    error = arviz.mcse({"p": by_chain})["p"].to_numpy()
    return proba.mean(axis=0), error, diagnose(by_chain).worst


def layers(draws, chains, seed):
    """Print how far apart the three methods are in each layer."""
    found = study.read(load_model(), "cities", seed)
    print(f"seed {seed}: differences of E[p] in standard errors, root mean square and largest")
    print("layer     HMC − NUTS   HMC − weighted     k̂    R-hat and ESS: HMC, NUTS", flush=True)
    for layer in range(len(found["easy"].X)):
        X, y, rows = held_out(found, layer, seed)
        tau = LogisticMAP("evidence").fit(X, y).prior_scale_
        answers = {}
        for method in (name for name, sampler in SAMPLERS.items() if sampler.exact):
            reporter = BayesianLogistic(
                tau, method=method, draws=draws, chains=chains, seed=seed + 1
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # k̂ is printed
                answers[method] = estimate(reporter.fit(X, y), rows)
        p, error, _ = answers["hmc"]
        worst = [answers[method][2] for method in ("hmc", "nuts")]
        diagnostics = ", ".join(f"{w['rhat']:.3f} {w['ess']:5.0f}" for w in worst)
        told = []
        for method in ("nuts", "variational"):
            q, other, _ = answers[method]
            z = (p - q) / np.hypot(error, other)
            told.append(f"{np.sqrt(np.mean(z**2)):7.2f} {np.abs(z).max():5.1f}")
        print(
            f"{layer:5d} {told[0]:>14s} {told[1]:>16s} {reporter.pareto_k_:6.2f}"
            f"    {diagnostics}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=500, help="of each chain")
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    for seed in args.seeds:
        layers(args.draws, args.chains, seed)
    for method in SAMPLERS:
        for seed in args.seeds:
            found = sbc.calibrate(method, args.replications, seed=100 * seed)
            print(f"{method}, seed {seed}: {found}", flush=True)


if __name__ == "__main__":
    main()
