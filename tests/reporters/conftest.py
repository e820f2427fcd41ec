import numpy as np
import pytest

from elkutils.reporters import (
    BayesianLogistic,
    DifferenceInMeans,
    LinearDiscriminant,
    LogisticMAP,
)

NUTS = BayesianLogistic(draws=25, warmup=25, chains=2)
LAPLACE = BayesianLogistic(method="laplace", draws=25, chains=2)
POINTS = [DifferenceInMeans(), LinearDiscriminant(shrinkage="auto"), LogisticMAP()]


@pytest.fixture(params=[*POINTS, LAPLACE, NUTS], ids=lambda r: repr(r)[:40])
def reporter(request):
    """Each reporter with tiny draws, unfitted."""
    return request.param.__class__(**request.param.get_params())


@pytest.fixture
def data():
    """(X (40, 3), y (40,)): overlapping classes of unequal size."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [25, 15])
    return rng.standard_normal((40, 3)) + y[:, None] * [1.0, 0.0, -0.5], y
