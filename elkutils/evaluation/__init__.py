"""How good the probabilities are: scores, calibration, and intervals around both.

Everything here takes plain arrays: labels ``y`` (n,) in {0, 1} and forecasts ``(..., n)``
whose leading axes are draws, layers or methods. Rows can be weighted, and the weights may
have leading axes of their own, so that a bootstrap is one vectorised call.
"""

from elkutils.evaluation.calibration import Reliability, ece, ece_bias, reliability
from elkutils.evaluation.diversity import (
    disagreement,
    mutual_information,
    total_variation,
)
from elkutils.evaluation.intervals import Interval, bootstrap, difference
from elkutils.evaluation.scores import accuracy, auroc, brier, log_score

__all__ = [
    "Interval",
    "Reliability",
    "accuracy",
    "auroc",
    "bootstrap",
    "brier",
    "difference",
    "disagreement",
    "ece",
    "ece_bias",
    "log_score",
    "mutual_information",
    "reliability",
    "total_variation",
]
