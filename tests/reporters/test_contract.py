"""Every reporter keeps scikit-learn's contract for classifiers."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
    GaussianProcess,
    LinearDiscriminant,
    LogisticMAP,
)


@pytest.mark.parametrize(
    "reporter",
    [
        DifferenceInMeans(),
        LinearDiscriminant(),
        LinearDiscriminant(shrinkage="auto"),
        LogisticMAP(),
        LogisticMAP(prior_scale="evidence", prior_scales=[0.1, 1.0]),
        BayesianLogistic(method="laplace", draws=20),
        Ensemble(members=3, steps=60, learning_rate=0.1),
        GaussianProcess(draws=20),
    ],
    ids=repr,
)
def test_scikit_learn_contract(reporter):
    check_estimator(reporter)


@pytest.mark.filterwarnings("ignore:the Pareto k:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*drawing by NUTS:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*draws of the Gaussian at the mode:RuntimeWarning")
@pytest.mark.parametrize(("method", "draws"), [("hmc", 4), ("nuts", 30), ("variational", 4)])
def test_scikit_learn_contract_of_samplers(method, draws):
    check_estimator(BayesianLogistic(method=method, draws=draws, warmup=2 * draws, chains=1))


def test_scikit_learn_contract_of_networks():
    check_estimator(BayesianNetwork(draws=40, chains=2, warmup=40, steps=8))
