"""Each of the package's ways to a posterior beside its rivals in other libraries, in one run.

    python tests/benchmarks/rivals.py --points 1000x64 1000x576

Exact draws: seconds to 400 effective draws of every coefficient, set-up and warm-up in,
compilation out, by split HMC, NumPyro's NUTS and BlackJAX's NUTS. Mode: scikit-learn's lbfgs
at the tolerance that leaves an error of about 1e-5. Laplace: laplace-torch with the full
generalised Gauss-Newton matrix, which here is the Hessian; it is given the mode, and ours
finds it. What is not installed is left out and named: `pip install blackjax laplace-torch`
brings both. Data are those of `posterior.py`; times are the wall's.
"""

import argparse
import time
from functools import partial

import numpy as np
import posterior
from timing import alternating_medians

ROUNDS = 3


def blackjax_nuts(X, y, prior_scale, draws=400):
    """Seconds to 400 effective draws by BlackJAX's NUTS with its own warm-up."""
    import blackjax
    import jax
    import jax.numpy as jnp
    from jax.scipy.stats import norm

    from elkutils.inference.diagnostics import diagnose

    X, y = jnp.asarray(X), jnp.asarray(y)

    def log_density(theta):
        w, b = theta
        log_odds = X @ w + b
        likelihood = -jax.nn.softplus(jnp.where(y == 1, -log_odds, log_odds)).sum()
        return norm.logpdf(w, 0, prior_scale).sum() + likelihood

    @jax.jit
    def warm_up(key):
        adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)
        start = jnp.zeros(X.shape[1]), jnp.zeros(())
        return adaptation.run(key, start, posterior.WARMUP)[0]

    @jax.jit
    def run(key, adapted):
        kernel = blackjax.nuts(log_density, **adapted.parameters)
        keys = jax.random.split(key, draws)

        def step(state, key):
            state, _ = kernel.step(key, state)
            return state, state.position

        return jax.lax.scan(step, adapted.state, keys)[1]

    def both():
        begun = time.perf_counter()
        adapted = jax.block_until_ready(warm_up(jax.random.key(0)))
        warm = time.perf_counter() - begun
        w, b = jax.block_until_ready(run(jax.random.key(1), adapted))
        return warm, time.perf_counter() - begun - warm, np.column_stack([w, b])

    both()  # compiles
    warm, drawing, theta = both()
    ess = diagnose(np.stack(np.array_split(theta, 2))).worst["ess"]
    return warm + drawing * posterior.TARGET / ess


def numpyro_nuts(X, y, prior_scale, patience):
    """Seconds to 400 effective draws by NumPyro's NUTS; NaN if it did not end in time."""
    return posterior.theirs(X, y, prior_scale, patience)["seconds"] or np.nan


def split_hmc(X, y, prior_scale):
    """Seconds to 400 effective draws by ours, the median over seeds."""
    posterior.ours(X, y, prior_scale, 0)  # compiles
    return np.median([posterior.ours(X, y, prior_scale, s)["seconds"] for s in range(ROUNDS)])


def torch_laplace(X, y, prior_scale):
    """A function that fits laplace-torch about the mode of logistic regression."""
    import torch
    from laplace import Laplace
    from torch.utils.data import DataLoader, TensorDataset

    from elkutils.reporters import LogisticMAP

    mode = LogisticMAP(prior_scale).fit(X, y)

    class TwoLogits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(X.shape[1], 1)
            self.linear.weight.data = torch.tensor(mode.coef_, dtype=torch.float32)
            self.linear.bias.data = torch.tensor(mode.intercept_, dtype=torch.float32)

        def forward(self, x):
            log_odds = self.linear(x)
            return torch.cat([torch.zeros_like(log_odds), log_odds], dim=1)

    rows = TensorDataset(torch.tensor(X), torch.tensor(y).long())
    loader = DataLoader(rows, batch_size=len(y))
    precision = torch.full((X.shape[1] + 1,), float(prior_scale) ** -2)
    precision[-1] = 1e-6  # laplace-torch has no flat prior

    def fit():
        approximation = Laplace(
            TwoLogits(), "classification", "all", "full", prior_precision=precision
        )
        approximation.fit(loader)
        return approximation.posterior_covariance

    return fit


seconds = partial(alternating_medians, rounds=5, clock=time.perf_counter)


def compare(n, d, patience):
    """Print one table: of each rival its seconds, and how many times ours that is."""
    from sklearn.linear_model import LogisticRegression

    from elkutils.inference.logistic import laplace
    from elkutils.reporters import LogisticMAP

    X, y, prior_scale = posterior.synthetic_activations(n, d)
    print(f"\n{n} × {d}, τ = {prior_scale:.3f}")
    ours = split_hmc(X, y, prior_scale)
    print(f"  {'400 effective draws, split HMC':40s} {ours:9.3f} s")
    show("NumPyro NUTS", ours, partial(numpyro_nuts, X, y, prior_scale, patience))
    show("BlackJAX NUTS", ours, partial(blackjax_nuts, X, y, prior_scale))

    lbfgs = LogisticRegression(C=prior_scale**2, tol=1e-8, max_iter=10_000)
    ours, theirs = seconds(lambda: LogisticMAP(prior_scale).fit(X, y), lambda: lbfgs.fit(X, y))
    print(f"  {'mode, LogisticMAP':40s} {ours:9.3f} s")
    show("scikit-learn, lbfgs", ours, lambda: theirs)

    try:
        fit = torch_laplace(X, y, prior_scale)
    except ImportError as error:
        print(f"    laplace-torch is left out: {error}")
        return
    ours, theirs = seconds(lambda: laplace(X, y, prior_scale).factor, fit)
    print(f"  {'Laplace, mode included':40s} {ours:9.3f} s")
    show("laplace-torch, mode given", ours, lambda: theirs)


def show(name, ours, measure):
    """Print what `measure` says of a rival, or that it is not installed."""
    try:
        theirs = measure()
    except ImportError as error:
        print(f"    {name} is left out: {error}")
        return
    print(f"    {name:38s} {theirs:9.3f} s  {theirs / ours:7.1f} × ours", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", nargs="+", default=["1000x64", "1000x576"])
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for NUTS")
    args = parser.parse_args()
    for point in args.points:
        compare(*posterior.shape(point), args.patience)


if __name__ == "__main__":
    main()
