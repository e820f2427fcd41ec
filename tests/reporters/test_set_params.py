"""What was fitted does not depend on parameters that are set afterwards."""

import numpy as np
import pytest

from elkutils.inference.networks.mlp import MLP
from elkutils.reporters import BayesianNetwork, Ensemble, load

LEARNED = "coef_", "coef_draws_", "intercept_draws_", "parameters_", "prior_scale_", "loss_"


def answers(reporter, X):
    found = [reporter.predict(X), reporter.predict_proba(X), reporter.sample_proba(X)]
    found.append(reporter.decision_function(X))
    found += [np.asarray(getattr(reporter, name, None), float) for name in LEARNED]
    if hasattr(reporter, "diagnostics_"):
        found.append(reporter.diagnostics_.ess_bulk)
    if hasattr(reporter, "idata"):
        found += [value.values for value in reporter.idata.posterior.values()]
    return found


@pytest.mark.filterwarnings("ignore:More chains:UserWarning")
def test_parameters_set_after_the_fit_change_nothing(tmp_path, reporter, data):
    X, y = data
    reporter.fit(X, y)
    before, fitted = answers(reporter, X), reporter.get_params()
    later = dict.fromkeys(fitted, "nonsense")
    reporter.set_params(**later)
    for a, b in zip(before, answers(reporter, X), strict=True):
        np.testing.assert_array_equal(a, b)
    reporter.save(tmp_path / "reporter")
    again = load(tmp_path / "reporter")
    assert again.get_params() == later
    for a, b in zip(before, answers(again, X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("reporter", "changed"),
    [
        (Ensemble(2, steps=5), {"head": MLP((8,))}),
        (Ensemble(2, MLP((8,)), steps=5), {"head": "linear"}),
        (Ensemble(2, MLP((3,)), steps=5), {"init": 2.0}),
        (BayesianNetwork(MLP((3,)), draws=4, chains=1, warmup=2, steps=2), {"network": None}),
    ],
)
def test_another_head_is_not_that_of_the_draws(tmp_path, data, reporter, changed):
    X, y = data
    before = reporter.fit(X, y).sample_proba(X)
    reporter.set_params(**changed)
    np.testing.assert_array_equal(reporter.sample_proba(X), before)
    reporter.save(tmp_path / "once")
    again = load(tmp_path / "once").set_params(**changed)
    again.save(tmp_path / "twice")
    np.testing.assert_array_equal(load(tmp_path / "twice").sample_proba(X), before)
