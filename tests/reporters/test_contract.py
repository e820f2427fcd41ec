"""Every reporter keeps scikit-learn's contract for classifiers."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from elkutils.reporters import (
    BayesianLogistic,
    BayesianNetwork,
    DifferenceInMeans,
    Ensemble,
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
    ],
    ids=repr,
)
def test_scikit_learn_contract(reporter):
    check_estimator(reporter)


@pytest.mark.filterwarnings("ignore:the Pareto k:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*drawing by NUTS:RuntimeWarning")
@pytest.mark.parametrize("method", ["hmc", "nuts", "variational"])
def test_scikit_learn_contract_of_samplers(method):
    check_estimator(BayesianLogistic(method=method, draws=4, warmup=4, chains=1))


def test_scikit_learn_contract_of_networks():
    check_estimator(BayesianNetwork(draws=40, chains=2, warmup=40, steps=8))
