"""What the recorded run on learning coefficients is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from elkutils import ledger
from elkutils.inference._precision import exactly
from elkutils.study import learning_coefficients as coefficients
from elkutils.study.controls import rates
from elkutils.study.learning_coefficients import RIVAL, ROWS

RNG = np.random.default_rng(0)


def test_the_excess_from_moments_is_that_from_rows():
    X, Y = coefficients.regression(0)
    moments = X.T @ X / ROWS, X.T @ Y / ROWS, np.sum(Y**2) / ROWS
    for pull in (1.0, 100.0):
        z = RNG.standard_normal(RIVAL.size).astype(np.float32)
        w = coefficients.truth() + z / np.sqrt(pull)
        direct = coefficients.squared(jnp.asarray(w, jnp.float32), X, Y)
        found = coefficients._near(z, coefficients.truth(), np.float32(pull), moments, 0.0)
        assert float(found) == pytest.approx(float(direct), rel=1e-4)


def test_the_truth_computes_the_target_and_the_least_loss_lies_just_below():
    X, Y = coefficients.regression(1)
    w = coefficients.truth()
    assert float(RIVAL(w)) == 0
    at_truth = float(coefficients.squared(jnp.asarray(w), X, Y))
    least = coefficients.least_loss(X, Y)
    with exactly():
        look = jax.jit(jax.value_and_grad(lambda w: coefficients.squared(w, X, Y)))
        found = minimize(look, w + 0.1 * RNG.standard_normal(len(w)), jac=True, tol=1e-10)
    assert least <= at_truth
    assert found.fun == pytest.approx(least, abs=1e-5)
    assert at_truth - least < RIVAL.size / ROWS


def test_the_infimum_of_a_linear_heads_loss():
    X = RNG.standard_normal((200, 3))
    y = (X[:, 0] > 0).astype(float)
    assert coefficients.least_logistic(X, y) < 1e-3
    y[:20] = 1 - y[:20]
    assert 0.1 < coefficients.least_logistic(X, y) < np.log(2)
    balanced = np.concatenate([X, X])
    same = np.repeat([0.0, 1.0], 200)
    assert coefficients.least_logistic(balanced, same) == pytest.approx(np.log(2))


def test_exact_slopes_and_criteria():
    """Of four weights λ = 2, less what is left of the prior at t = 100."""
    assert coefficients.exact_slope(
        coefficients.KNOWN["regular, 4 weights"], "tempered"
    ) == pytest.approx(2, rel=0.01)
    target = coefficients.KNOWN["reduced rank 3, 3, 2, target 1"]
    for method in coefficients.METHODS:
        assert coefficients.exact_slope(target, method) == target.learning_coefficient
    found = {coefficients.criterion(name) for name in coefficients.KNOWN}
    assert found == {"slope", "coefficient"}


def test_a_head_is_read_at_two_scales():
    size = coefficients.Size(20, 2, 2, 30, 2, (5,), ())
    X = RNG.standard_normal((40, coefficients.DIRECTIONS))
    y = (X[:, 0] + RNG.standard_normal(40) > 0).astype(float)
    found = coefficients.head_slopes("linear", X, y, 0, size)
    assert found["t"] == pytest.approx([40 / np.log(40), 40])
    assert found["tempered"].shape == found["volume"].shape == (2, 2)
    assert (found["losses"] > 0).all()
    assert found["losses"][0] > found["losses"][1]
    assert found["weights"] == 17


def planted(scatter):
    """A record in which every estimate is right but for its scatter."""
    known = {
        name: {
            method: {"values": coefficients.exact_slope(model, method) * scatter}
            for method in coefficients.METHODS
        }
        for name, model in coefficients.KNOWN.items()
    }
    rival = {"usual, 1e-05": {"values": scatter}, "reference, 1": {"values": 3 * scatter}}
    return {"known": known, "rival": rival}


def test_controls_pass_and_fail_where_estimates_are_right():
    record = planted(1 + 0.01 * np.array([-1, 1, -2, 2, 0, 0, 1, -1]))
    found = coefficients.places(record)
    assert len(found) == 2 * len(coefficients.KNOWN)
    for condition, value in found.items():
        name = ledger.claims()["C10a"].split(condition)[0]
        rule = ledger.claims()["C10a"].criteria[name]
        assert rule.judge(value, len(found)) == ledger.HOLDS
    for name, rule in ledger.claims()["C10a"].criteria.items():
        both = rates(rule, *coefficients.controls(record, name), len(found))
        assert both[0].rate > 0.9
        assert both[1].rate < 0.1


def test_readings_of_a_head_average_repeats():
    entry = {"tempered": np.array([[1.0, 3.0], [3.0, 5.0]]), "t": np.array([9.0, 40.0])}
    entry |= {"volume": 2 * entry["tempered"]}
    record = {"heads": {"linear, seed 5": entry}, "size": {"seeds": [5]}}
    found = coefficients.readings(record, "linear")
    assert found["tempered"].tolist() == [[2.0, 4.0]]
    assert found["volume"].tolist() == [[4.0, 8.0]]
    assert found["t"].tolist() == [[9.0, 40.0]]


def test_what_json_cannot_hold_comes_back_as_nan():
    told = coefficients._plain({"values": np.array([1.0, np.inf]), "step": 2.0})
    assert told == {"values": [1.0, None], "step": 2.0}
    back = coefficients._arrays(told)
    assert np.isnan(back["values"][1])
    assert back["step"] == 2.0
