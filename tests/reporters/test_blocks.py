"""Rows are scored in blocks: the same answers, in bounded memory."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from elkutils.inference import draws
from elkutils.inference.draws import Draws, LinearHead, mean_log_odds
from elkutils.reporters import BayesianLogistic, LogisticMAP, base, make_pipeline

MEGABYTE = 2**20


@pytest.fixture
def posterior(data):
    return BayesianLogistic(method="laplace", draws=500, chains=2).fit(*data)


def test_blocks_are_the_whole(reporter, data, monkeypatch):
    X, y = data
    reporter.fit(X, y)
    whole = reporter.sample_proba(X)
    answers = reporter.predict_proba(X), reporter.decision_function(X)
    blocks = list(reporter.sample_proba_blocks(X, rows=7))
    assert [(span.start, span.stop) for span, _ in blocks][-2:] == [(28, 35), (35, 40)]
    found = np.concatenate([part for _, part in blocks], axis=1)
    np.testing.assert_allclose(found, whole, rtol=1e-9)
    monkeypatch.setattr(base, "NUMBERS", 30)
    monkeypatch.setattr(draws, "NUMBERS", 30)
    monkeypatch.setattr(draws, "CACHED", 30)
    monkeypatch.setattr(draws, "SCRATCH", 30)
    assert max(len(part.T) for _, part in reporter.sample_proba_blocks(X)) <= 10
    for once, by_blocks in zip(
        answers, (reporter.predict_proba(X), reporter.decision_function(X)), strict=True
    ):
        np.testing.assert_allclose(by_blocks, once, rtol=1e-9, atol=1e-12)


def peak(work) -> float:
    """Most megabytes that `work` holds at once."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1] / MEGABYTE
    tracemalloc.stop()
    return found


def test_memory_does_not_grow_with_draws_times_rows(posterior):
    X = np.random.default_rng(0).standard_normal((50_000, 3))  # 400 megabytes of draws
    assert peak(lambda: posterior.predict(X)) < 80
    assert peak(lambda: posterior.predict_proba(X)) < 80
    assert peak(lambda: [part.mean() for _, part in posterior.sample_proba_blocks(X)]) < 120


@pytest.mark.parametrize("scaled", [False, True])
def test_a_memory_map_is_not_read_at_once(tmp_path, scaled):
    path, shape = tmp_path / "X.npy", (400_000, 64)  # 100 megabytes, 200 in float64
    X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    X[:] = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    y = (X[:100, 0] > 0).astype(int)
    reporter = make_pipeline(StandardScaler(), LogisticMAP()) if scaled else LogisticMAP()
    reporter.fit(X[:100], y)
    table = np.load(path, mmap_mode="r")
    assert peak(lambda: reporter.predict_proba(table)) < 150
    assert peak(lambda: reporter.decision_function(table)) < 150
    assert peak(lambda: [None for _ in reporter.sample_proba_blocks(table)]) < 150


def test_what_is_wrong_in_a_late_block_is_found(posterior):
    X = np.zeros((50, 3))
    X[45, 1] = np.nan
    blocks = posterior.sample_proba_blocks(X, rows=20)
    assert next(blocks)[0] == slice(0, 20)
    with pytest.raises(ValueError, match="NaN"):
        list(blocks)
    with pytest.raises(ValueError, match="rows is 0"):
        list(posterior.sample_proba_blocks(X, rows=0))
    with pytest.raises(ValueError, match="0 sample"):
        posterior.predict_proba(X[:0])
    with pytest.raises(ValueError, match="2D"):
        posterior.decision_function(X[0])


def test_frames_and_lists(data):
    X, y = data
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    reporter = LogisticMAP().fit(frame, y)
    parts = [part for _, part in reporter.sample_proba_blocks(frame, rows=9)]
    expected = LogisticMAP().fit(X, y)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected.sample_proba(X))
    parts = [part for _, part in expected.sample_proba_blocks(X.tolist(), rows=9)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected.sample_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        reporter.predict_proba(frame[["b", "a", "c"]])


def test_progress_shows(posterior, capsys):
    posterior.predict_proba(np.zeros((30, 3)), progress=True)
    assert "scoring" in capsys.readouterr().err
    posterior.predict_proba(np.zeros((30, 3)))
    assert not capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_means_of_extreme_log_odds_are_exact():
    log_odds = np.array(
        [[-1000.0, -30.0, 0.0, 30.0, 1000.0], [-900.0, -40.0, 1.0, 40.0, 900.0]]
    )
    found = mean_log_odds(log_odds)
    expected = [-900 - np.log(2), np.log(np.exp(-30) + np.exp(-40)) - np.log(2)]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-12)
    np.testing.assert_allclose(found[3:], [-found[1], -found[0]], rtol=1e-12)
    head = Draws(LinearHead(1), np.array([[[1.0, 0.0], [1.0, 0.0]]]))
    tiny = head.mean_proba([[-300.0], [-800.0], [800.0]])
    np.testing.assert_allclose(tiny, [np.exp(-300), 0.0, 1.0], rtol=1e-12)
