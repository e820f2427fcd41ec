"""How good probabilities are, what N draws of them prove, and how to act on them.

Scores, calibration and recalibration, with intervals; bounds on the mean of draws; rules for
acting on draws; which hypotheses the labels support; in `elkutils.evaluation.online` what can
be guaranteed of a stream, and in `elkutils.evaluation.guardrails` of the harm in one.
Everything takes plain arrays: labels ``y`` (n,) in {0, 1} and forecasts ``(..., n)`` whose
leading axes are draws, layers or methods. In scores rows can be weighted, and the weights may
have leading axes of their own, so that a bootstrap is one vectorised call.
"""

from elkutils.evaluation.abstention import coverage_threshold, risk_threshold
from elkutils.evaluation.alarms import alarm_rate, certified_threshold, rows_needed
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
from elkutils.evaluation.calibration import Reliability, ece, ece_bias, excess_ece, reliability
from elkutils.evaluation.decisions import (
    cost_threshold,
    decision_cost,
    draws_to_see,
    firing_probability,
    hypothesis_level,
    hypothesis_mass,
    hypothesis_rule,
    least_mass,
    least_mean,
    mean_rule,
    miss_probability,
    resolvable_mass,
    value_of_knowing,
    veto,
    votes_needed,
    worst_mean,
)
from elkutils.evaluation.distance import class_distance
from elkutils.evaluation.diversity import (
    BrierSplit,
    agreement,
    brier_split,
    correlations,
    disagreement,
    mutual_information,
    total_variation,
    variance_share,
)
from elkutils.evaluation.groups import by_group
from elkutils.evaluation.hypotheses import (
    Behaviour,
    behaviour,
    hypothesis_posterior,
    label_balance,
    rival_log_odds,
)
from elkutils.evaluation.intervals import (
    Interval,
    averaged,
    bootstrap,
    bootstrap_means,
    centred_bootstrap,
    difference,
    pooled_bootstrap,
    weighted_mean,
)
from elkutils.evaluation.pooling import pool
from elkutils.evaluation.power import (
    PassRate,
    attainable_margin,
    equivalence_power,
    holm,
    p_above,
    p_below,
    p_equivalent,
    pass_rate,
)
from elkutils.evaluation.recalibration import (
    Recalibration,
    fit_platt,
    fit_temperature,
    recalibration_intercept,
    recalibration_slope,
)
from elkutils.evaluation.scores import accuracy, auroc, brier, log_score
from elkutils.evaluation.selection import (
    RiskCoverage,
    error_auroc,
    prevalence_weights,
    recall_at,
    risk_coverage,
    selective_risk,
)

__all__ = [
    "Behaviour",
    "Bounds",
    "BrierSplit",
    "Interval",
    "PassRate",
    "Recalibration",
    "Reliability",
    "RiskCoverage",
    "accuracy",
    "agreement",
    "alarm_rate",
    "attainable_margin",
    "auroc",
    "averaged",
    "behaviour",
    "betting",
    "bootstrap",
    "bootstrap_means",
    "brier",
    "brier_split",
    "by_group",
    "centred_bootstrap",
    "certified_threshold",
    "class_distance",
    "clopper_pearson",
    "confidence_sequence",
    "correlations",
    "cost_threshold",
    "coverage_threshold",
    "decision_cost",
    "difference",
    "disagreement",
    "draws_to_see",
    "ece",
    "ece_bias",
    "empirical_bernstein",
    "equivalence_power",
    "error_auroc",
    "excess_ece",
    "firing_probability",
    "fit_platt",
    "fit_temperature",
    "hoeffding",
    "hoeffding_kl",
    "holm",
    "hypothesis_level",
    "hypothesis_mass",
    "hypothesis_posterior",
    "hypothesis_rule",
    "label_balance",
    "least_mass",
    "least_mean",
    "log_score",
    "mean_rule",
    "members_needed",
    "miss_probability",
    "mutual_information",
    "p_above",
    "p_below",
    "p_equivalent",
    "pass_rate",
    "pool",
    "pooled_bootstrap",
    "prevalence_weights",
    "recalibration_intercept",
    "recalibration_slope",
    "recall_at",
    "reliability",
    "resolvable_mass",
    "risk_coverage",
    "risk_threshold",
    "rival_log_odds",
    "rows_needed",
    "selective_risk",
    "total_variation",
    "value_of_knowing",
    "variance_share",
    "veto",
    "votes_needed",
    "weighted_mean",
    "worst_mean",
]
