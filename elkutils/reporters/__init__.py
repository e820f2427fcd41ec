"""Reporters: heads on activations that draw probabilities.

Every reporter is a scikit-learn classifier for two classes, fitted on X (n, d) and y (n,), with
one method more: `sample_proba(X)` returns draws of P(y = classes_[1] | x), shape (draws, n). A
point estimate has one draw; a posterior has as many as were asked for. Reporters never rescale
X, so a prior scale is in the units of 1/X as given; `make_pipeline` puts a scaler before one.
"""

from elkutils.inference.logistic import LogisticPath, logistic_path
from elkutils.reporters.base import DrawsReporter, Reporter
from elkutils.reporters.bayesian import BayesianLogistic
from elkutils.reporters.ensemble import Ensemble
from elkutils.reporters.gaussian_process import GaussianProcess
from elkutils.reporters.linear import DifferenceInMeans, LinearDiscriminant
from elkutils.reporters.logistic_map import LogisticMAP
from elkutils.reporters.network import BayesianNetwork
from elkutils.reporters.persist import load
from elkutils.reporters.pipeline import Pipeline, make_pipeline
from elkutils.reporters.token_scaler import TokenScaler

__all__ = [
    "BayesianLogistic",
    "BayesianNetwork",
    "DifferenceInMeans",
    "DrawsReporter",
    "Ensemble",
    "GaussianProcess",
    "LinearDiscriminant",
    "LogisticMAP",
    "LogisticPath",
    "Pipeline",
    "Reporter",
    "TokenScaler",
    "load",
    "logistic_path",
    "make_pipeline",
]
