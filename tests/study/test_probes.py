"""The compared probes have the names and the prior scales that figures and text give them."""

import numpy as np

from elkutils.study.checks import clouds
from elkutils.study.directions import ClassMoments, angle
from elkutils.study.probes import METHODS, five_of_one_prior, five_reporters, linear_probes


def test_probes_are_what_they_are_called():
    X, y = clouds(0, 0.4)
    probes = linear_probes(X, y)
    assert [*probes] == [
        "difference in means",
        "shrunk discriminant",
        "logistic, evidence",
        "logistic, loose end",
    ]
    assert angle(probes["difference in means"].coef_[0], ClassMoments.of(X, y).delta) < 1e-6
    path = probes["logistic, evidence"].path_
    best, widest = path.prior_scales[path.best], path.prior_scales.max()
    assert probes["logistic, evidence"].prior_scale_ == best
    assert probes["logistic, loose end"].prior_scale_ == widest
    assert np.allclose(probes["logistic, loose end"].coef_[0], path.coefs[-1], rtol=1e-3)


def test_the_five_reporters_are_not_fitted_and_take_their_sizes():
    X, y = clouds(0, 0.4)
    found = five_reporters("hmc", 12, 5, seed=3)
    assert [*found][-2:] == ["posterior", "ensemble"]
    assert not any(hasattr(reporter, "classes_") for reporter in found.values())
    posterior, ensemble = (found[name].fit(X, y) for name in ("posterior", "ensemble"))
    assert len(posterior.coef_draws_) == 16 * 12
    assert ensemble.sample_proba(X[:2]).shape == (5, 2)


def test_reporters_of_one_prior_share_it():
    found = five_of_one_prior(100, seed=2, draws=7)
    assert list(found) == list(METHODS)
    assert found["MAP"].prior_scale == found["Bayes"].prior_scale == 0.2
    assert (found["ensemble"].init, found["ensemble"].members) == (0.2, 16)
    assert list(five_of_one_prior(4, 0, ["LDA", "MAP"])) == ["LDA", "MAP"]
