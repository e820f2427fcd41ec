import numpy as np
import pytest

from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    GaussianProcess,
    LinearDiscriminant,
    LogisticMAP,
)

POSTERIORS = [
    BayesianLogistic(method=method, draws=25, warmup=25, chains=2)
    for method in ("hmc", "nuts", "variational", "laplace")
]
POINTS = [DifferenceInMeans(), LinearDiscriminant(shrinkage="auto"), LogisticMAP()]
ENSEMBLES = [
    Ensemble(4, steps=150, learning_rate=0.1, anchored=True, perturb=0.05, bootstrap=True),
    Ensemble(4, MLP((4,)), steps=150, learning_rate=0.1, batch=16),
]


SHORT = {"draws": 25, "chains": 2, "warmup": 25, "steps": 8}
# "sgld" runs the program of "sghmc" with another step; it goes through test_protocol.
# "nuts" compiles at every fit; it takes weights here, and the rest is in test_network.
NUTS = BayesianNetwork(MLP((4,)), "nuts", threshold=0.68, **SHORT)
WEIGHED, UNWEIGHED = (
    [BayesianNetwork(MLP((4,)), method, threshold=0.68, **SHORT) for method in methods]
    for methods in (
        ("hmc", "threshold"),
        ("sghmc", "laplace", "last_layer_laplace"),
    )
)
TAKE_WEIGHTS = [*POINTS, *POSTERIORS, *ENSEMBLES, *WEIGHED]


@pytest.fixture(
    params=[*TAKE_WEIGHTS, *UNWEIGHED, GaussianProcess(draws=25)], ids=lambda r: repr(r)[:60]
)
def reporter(request):
    """Each reporter with tiny draws, unfitted."""
    return request.param.__class__(**request.param.get_params())


@pytest.fixture(params=[*TAKE_WEIGHTS, *UNWEIGHED], ids=lambda r: repr(r)[:60])
def checks_weights(request):
    """Each of them whose `fit` has weights of rows, if only to refuse them."""
    return request.param.__class__(**request.param.get_params())


@pytest.fixture(params=[*TAKE_WEIGHTS, NUTS], ids=lambda r: repr(r)[:60])
def weighted(request):
    """Each of them that takes weights of rows."""
    return request.param.__class__(**request.param.get_params())


@pytest.fixture
def data():
    """(X (40, 3), y (40,)): overlapping classes of unequal size."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [25, 15])
    return rng.standard_normal((40, 3)) + y[:, None] * [1.0, 0.0, -0.5], y
