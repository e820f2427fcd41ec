"""How good the probabilities are, what N draws of them prove, and what to do about them.

Scores and calibration, with intervals around both; bounds on the mean of draws; rules for
acting on draws. Everything takes plain arrays: labels ``y`` (n,) in {0, 1} and forecasts
``(..., n)`` whose leading axes are draws, layers or methods. In scores rows can be weighted,
and the weights may have leading axes of their own, so that a bootstrap is one vectorised call.
"""

from elkutils.evaluation.bounds import (
    Bounds,
    betting,
    clopper_pearson,
    confidence_sequence,
    empirical_bernstein,
    hoeffding,
    hoeffding_kl,
    members_needed,
)
from elkutils.evaluation.calibration import Reliability, ece, ece_bias, reliability
from elkutils.evaluation.intervals import Interval, bootstrap, difference
from elkutils.evaluation.scores import accuracy, auroc, brier, log_score

__all__ = [
    "Bounds",
    "Interval",
    "Reliability",
    "accuracy",
    "auroc",
    "betting",
    "bootstrap",
    "brier",
    "clopper_pearson",
    "confidence_sequence",
    "difference",
    "ece",
    "ece_bias",
    "empirical_bernstein",
    "hoeffding",
    "hoeffding_kl",
    "log_score",
    "members_needed",
    "reliability",
]
