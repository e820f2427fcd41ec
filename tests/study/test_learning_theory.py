"""The recorded run on learning theory: made in small, continued, and read."""

from dataclasses import replace

import numpy as np
import pytest

from elkutils.study import learning_theory as learning
from elkutils.study.learning_theory import COUNTS, LONG, PROBLEMS, SHORT, TAUGHT
from elkutils.study.regions import Training

TINY = replace(
    learning.SIZES["quick"],
    streams={"curve": 2, "valley": 1, "sensors": 1},
    members=8,
    patient=4,
    patience=20,
    particles=64,
    lessons=1,
    pupils=400,
    counted=2**17,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("parts"), []
    return learning.measure(TINY, folder, told.append), folder, told


def test_a_record_has_every_problem_training_and_lesson(measured):
    record, folder, told = measured
    assert {name for name, odds in record["odds"].items() if odds} == {*PROBLEMS, "level"}
    assert len(record["short"]) == 4 * len(SHORT)
    assert len(record["long"]) == 3 * len(LONG)
    assert list(record["lessons"]) == list(TAUGHT)
    assert np.shape(record["short"]["curve, SGD"]["share"]) == (2, 2)
    assert len(record["tasks"]["128"][0]["rows"]) == 10
    again = []
    assert learning.measure(TINY, folder, again.append) == record
    assert told
    assert not again


def planted(slope):
    log_n = np.log(COUNTS)
    odds = slope * log_n + np.log(log_n)
    record = {"odds": {"sensors": [{"odds": odds.tolist()}, {"odds": odds.tolist()}]}}
    share = learning.posterior_shares(record, "sensors", (1000, 100_000))
    record["short"] = {"sensors, gradient descent": {"share": (share - [0.4, 0.2]).tolist()}}
    record["before"] = {"sensors": record["short"]["sensors, gradient descent"]}
    record["long"] = {"sensors, Langevin": {"share": (share - [0.1, 0.1]).tolist()}}
    return record


def test_drift_gap_and_what_is_closed_are_those_planted():
    record = planted(0.6)
    np.testing.assert_allclose(learning.drift(record, "sensors"), 0.1)
    assert (learning.slopes(record, "sensors", corrected=False) > 0.65).all()
    counts = 1000, 100_000
    gaps = learning.gaps(record, "sensors", "gradient descent", counts)
    np.testing.assert_allclose(gaps, 0.4)
    np.testing.assert_allclose(learning.closed(record, "sensors", "Langevin", counts), 0.75)
    record["size"] = {"patient": 50}
    found = learning.closing(record, "sensors", "Langevin", counts)
    np.testing.assert_allclose([found.lower, found.upper], [0.7, 0.8])


def test_members_have_to_be_those_of_the_posterior_s_stream():
    with pytest.raises(ValueError, match="the last has to be"):
        learning.shares(PROBLEMS["curve"], SHORT["Adam"], range(2), 4, (10, 100))


def test_members_that_diverge_are_named():
    wild = Training("gradient descent", 1e30, 50)
    with pytest.raises(ArithmeticError, match="diverged"):
        learning.shares(PROBLEMS["curve"], wild, range(1), 4, COUNTS)


def test_lazy_members_have_the_spread_of_simulated_ones():
    """Members f₀ − A f₀(X), f₀ ~ N(0, K); with Θ = K their spread is the posterior's."""
    rng = np.random.default_rng(0)
    K, tangent = (a @ a.T + np.eye(5) for a in rng.standard_normal((2, 5, 5)))
    shown = np.array([1, 3])
    starts = rng.multivariate_normal(np.zeros(5), K, 200_000)
    ends = starts - starts[:, shown] @ np.linalg.solve(
        tangent[np.ix_(shown, shown)], tangent[shown]
    )
    np.testing.assert_allclose(
        learning.lazy_sd(tangent, K, shown), ends.std(axis=0)[[0, 2, 4]], rtol=0.01
    )
    inverse = np.linalg.inv(K)[np.ix_([0, 2, 4], [0, 2, 4])]
    exact = np.sqrt(np.diag(np.linalg.inv(inverse)))
    np.testing.assert_allclose(learning.lazy_sd(K, K, shown), exact)


def test_controls_of_lessons_have_their_power(measured):
    record = measured[0]
    rng = np.random.default_rng(0)
    lessons = {"lessons": {"Adam": 3 * record["lessons"]["Adam"]}}
    same = learning.lesson_control(lessons, "Adam")(rng)
    sharp = learning.lesson_control(lessons, "Adam", power=2.0)(rng)
    assert sharp["slope"].estimate > same["slope"].estimate + 0.3
