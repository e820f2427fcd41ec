"""Shares, votes and records of the comparison of a head with its whole network."""

from dataclasses import replace

import numpy as np
import pytest

from elkutils.evaluation import Interval
from elkutils.inference.networks.pretrained import Kernel
from elkutils.study import head_enough
from elkutils.study.head_enough import Prior


def made(n=30, m=20, d=8, seed=0):
    """A prior whose head and body are linear in random features; labels of a linear rule."""
    rng = np.random.default_rng(seed)
    heads, bodies = rng.standard_normal((2, n + m, d))
    y = (heads[:, 0] + 0.3 * rng.standard_normal(n + m) > 0).astype(int)
    kernels = [Kernel(X @ X[:n].T / d, np.sum(X**2, axis=1) / d) for X in (heads, bodies)]
    return Prior(*kernels, y, {"train": slice(0, n), "hard": slice(n, n + m)})


def test_a_frozen_body_answers_as_the_head():
    """s = 0 leaves the body's kernel out, whatever it is: the share is 1 by construction."""
    prior = made()
    other = Prior(prior.head, 7.0 * prior.body, prior.y, prior.rows)
    ours, theirs = prior.answer(0.0, draws=50), other.answer(0.0, draws=50)
    np.testing.assert_array_equal(ours.mean, theirs.mean)
    np.testing.assert_array_equal(ours.point, theirs.point)
    assert prior.body_share(0.0) == 0
    assert prior.answer(0.5, draws=50).log_evidence != ours.log_evidence


def test_the_share_of_the_prior_variance():
    prior = made()
    body, head = (part.own[prior.rows["hard"]].mean() for part in (prior.body, prior.head))
    assert prior.body_share(2.0) == pytest.approx(4 * body / (4 * body + head))


def test_answers_and_scores():
    prior = made()
    answer = prior.answer(0.5, draws=200, seed=1)
    assert answer.log_odds.shape == (800, 50)
    low, high = answer.log_odds.min(axis=0), answer.log_odds.max(axis=0)
    assert np.all((low < answer.mean) & (answer.mean < high))
    p = 1 / (1 + np.exp(-answer.mean))
    expected = np.where(prior.y == 1, np.log(p), np.log(1 - p))
    scores = prior.scores(answer.mean)
    assert scores["hard"] == pytest.approx(expected[30:].mean())
    assert scores["train"] == pytest.approx(expected[:30].mean())


def test_the_error_of_a_score_is_its_scatter_over_runs():
    """400 runs of 160 draws: the ratio of two variances, to four of its standard errors."""
    rng, y = np.random.default_rng(0), np.array([0, 1, 1])
    scores, errors = [], []
    for _ in range(400):
        draws = np.array([-1.0, 0.5, 2.0]) + rng.standard_normal((160, 3))
        scores.append(head_enough.log_scores(head_enough.mixed(draws), y).mean())
        errors.append(head_enough.score_error(draws, y))
    ratio = np.mean(np.square(errors)) / np.var(scores)
    assert ratio == pytest.approx(1, abs=4 * np.sqrt((2 + 2 / 7) / 400))


def record(own, whole, r2=1.0, body=0.5):
    def scores(before, after):
        return {
            "map": {"hard": before},
            "posterior": {"hard": after},
            "R2": r2,
            "body share": body,
        }

    return {"0": scores(-2.0, -2.0 + own), "0.2": scores(-1.9, -1.9 + whole)}


def test_advantages_are_over_ones_own_point():
    records = [record(0.9, 1.0), record(1.1, 1.0)]
    ours, whole = head_enough.advantages(records, 0.2)
    np.testing.assert_allclose(ours, [0.9, 1.1])
    np.testing.assert_allclose(whole, [1.0, 1.0])
    np.testing.assert_allclose(head_enough.gains(records, 0.2), [0.2, 0.0])
    total = head_enough.total_shares(records * 5, 0.2)
    assert total.estimate == pytest.approx(1.0 / 1.1)


def test_there_is_no_share_of_nothing():
    found = head_enough.share(np.array([0.1, -0.1, 0.05]), np.array([0.2, -0.2, 0.1]))
    assert (found.lower, found.upper) == (0.0, 2.0)
    found = head_enough.share(np.linspace(0.7, 0.8, 12), np.linspace(0.9, 1.1, 12))
    assert isinstance(found, Interval)
    assert found.lower < 0.75 < found.upper


@pytest.mark.parametrize(
    ("r2", "body", "told"),
    [(0.96, 0.2, ""), (0.96, 0.05, "hardly moves"), (0.9, 0.2, "not known")],
)
def test_which_widths_vote(r2, body, told):
    found = head_enough.votes([record(1, 1, r2, body)] * 3, 0.2)
    assert (told in found) if told else found == ""


def run(rhat=1.005):
    return {"rhat": rhat, "posterior": {"hard": -1.0}, "map": {"hard": -1.5}}


def test_exact_networks_take_the_place_of_linearised_ones(monkeypatch):
    monkeypatch.setattr(head_enough, "SCALES", (0.2,))
    before = {"3": record(0.4, 1.0, r2=0.5), "4": record(0.4, 1.0, r2=0.5)}
    all_of = {"vault": before, "hmc": {"3/0.2": run(), "4/0.2": run(), "3/0.4": {}}}
    assert head_enough.hmc_at(all_of, 0.2) == {3: run(), 4: run()}
    exact = head_enough.whole_networks(all_of)
    ours, whole = head_enough.advantages(exact, 0.2)
    np.testing.assert_allclose([ours, whole], [[0.4, 0.4], [0.5, 0.5]])
    assert head_enough.votes(exact, 0.2) == ""
    assert before["3"]["0.2"]["R2"] == 0.5  # the record stays as it is


@pytest.mark.parametrize("hmc", [{"3/0.2": run()}, {"3/0.2": run(), "4/0.2": run(1.02)}])
def test_all_predictors_have_to_converge(monkeypatch, hmc):
    monkeypatch.setattr(head_enough, "SCALES", (0.2,))
    before = {"3": record(0.4, 1.0), "4": record(0.4, 1.0)}
    found = head_enough.whole_networks({"vault": before, "hmc": hmc})
    assert found == [*before.values()]


def test_bags_of_one_network_gain_what_it_gains():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    answers = rng.standard_normal(40)
    same = {"0": {"shared": answers, "shared map": 3 * answers}}
    own, bagged = head_enough.bags([same] * 7, y, 5)
    np.testing.assert_allclose(own, bagged)
    several = [
        {"0": {"shared": rng.standard_normal(40), "shared map": 3 * answers}} for _ in range(7)
    ]
    own, bagged = head_enough.bags(several, y, 5)
    members = [r["0"]["shared"] for r in several]
    start = head_enough.log_scores(3 * answers, y).mean()
    all_bags = [
        head_enough.log_scores(head_enough.mixed(np.delete(members, out, axis=0)), y).mean()
        for out in ([i, j] for i in range(7) for j in range(i))
    ]
    assert bagged.mean() == pytest.approx(np.mean(all_bags) - start)
    assert own.mean() == pytest.approx(
        np.mean([head_enough.log_scores(m, y).mean() for m in members]) - start
    )


def test_a_mixture_averages_probabilities():
    odds = np.array([[-40.0, 2.0], [0.0, -1.0]])
    p = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(1 / (1 + np.exp(-head_enough.mixed(odds))), p.mean(axis=0))


def test_controls_of_a_share():
    """The planted ratio is found in the mean over runs, to its standard error."""
    rng = np.random.default_rng(1)
    part = 1 + 0.1 * rng.standard_normal(10)
    whole = 1.3 * part + 0.05 * rng.standard_normal(10)
    for ratio in (1.0, 2.0):
        run = head_enough.planted(part, whole, ratio)
        found = [run(np.random.default_rng(i)).estimate for i in range(100)]
        assert np.mean(found) == pytest.approx(1 / ratio, abs=5 * np.std(found) / 10 + 0.005)


def test_scatter_between_predictors_and_within():
    """Planted variances are found in the mean over repetitions, to four standard errors."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        parts, shifts = 2 * rng.standard_normal(10), rng.standard_normal((6, 1))
        found.append(head_enough.scatter(parts + shifts + 3 * rng.standard_normal((6, 10))))
    error = np.std(found, axis=0) / 20
    assert np.all(np.abs(np.mean(found, axis=0) - [4, 9]) < 4 * error)


def test_many_settings_share_no_labels():
    found = head_enough.many_settings()
    labels, steps, places = zip(*found, strict=True)
    assert len(set(labels)) == len(found) == 60
    assert set(labels) == set(range(10, 70))
    assert {found.count(each) for each in found} == {1}
    pairs = [*zip(steps, places, strict=True)]
    assert {pairs.count(pair) for pair in pairs} == {3}
    assert len(set(pairs)) == 20


def test_a_setting_against_bags_is_that_of_its_heads():
    """Gains of the heads by themselves; the record holds the same numbers."""
    found = head_enough.against_bags(69, 13, "MLP 2", predictors=6)
    setting = head_enough.vault_setting(2, 69, step=13, place="MLP 2", heads=0)
    answer, of = head_enough.head_prior(setting).answer(0.0), setting.rows["shared"]
    gain = np.subtract(
        *(
            head_enough.log_scores(each[of], setting.y[of]).mean()
            for each in (answer.mean, answer.point)
        )
    )
    assert found["own"][2] == pytest.approx(gain, abs=1e-6)
    kept = head_enough.recorded()["bags"]["69/13/MLP 2"]["own"]
    np.testing.assert_allclose(found["own"], kept[:6], atol=0.1)  # other draws: up to 0.05
    assert np.mean(found["bagged"]) > np.mean(found["own"])


def test_cities_that_had_been_asked_are_left_out():
    before = head_enough._asked_before()
    assert len(before) == 100
    for record in head_enough.recorded()["language"].values():
        asked = set(record["groups"][slice(*record["kinds"]["hard"])])
        assert len(asked) == 200
        assert not asked & set(before)


def test_cities_are_means_over_their_statements_in_all_seeds():
    y, groups = [1, 0, 1, 0], ["a", "a", "b", "b"]
    base = {"y": y, "groups": groups, "kinds": {"hard": [0, 4]}}

    def at(point, mean):
        return {"map": [point] * 4, "posterior": [mean] * 4}

    one = base | {"0": at(2.0, 1.0), "0.2": at(3.0, 1.0)}
    two = base | {"0": at(2.0, 1.0), "0.2": at(3.0, 0.0)}
    found = head_enough.by_city([one, two], 0.2)
    score = [np.mean(head_enough.log_scores(np.full(2, v), np.array([1, 0]))) for v in range(4)]
    np.testing.assert_allclose(found["head"], score[1] - score[2])
    np.testing.assert_allclose(found["whole"], (score[1] + score[0]) / 2 - score[3])
    np.testing.assert_allclose(found["gain"], (score[0] - score[1]) / 2)
    np.testing.assert_allclose(found["total"], (score[1] + score[0]) / 2 - score[2])


def test_r2_of_what_is_linear_and_what_is_not():
    rng = np.random.default_rng(0)
    slope, near = rng.standard_normal((3, 2, 10)), (0.01, -0.01)

    def moved(bend):
        return np.stack([s * slope + bend * s**2 * slope**2 for s in (0.5, 1.0, *near)], axis=1)

    np.testing.assert_allclose(head_enough._linear_r2(moved(0), (0.5, 1.0), near), 1)
    half, whole = head_enough._linear_r2(moved(0.3), (0.5, 1.0), near)
    assert whole < half < 1


@pytest.fixture(scope="module")
def predictors():
    """Two predictors with ten labels each."""
    return [head_enough.vault_setting(seed, count=10) for seed in (0, 1)]


def test_a_predictor_with_few_labels(predictors):
    """The run of the chapter at a tiny size; the shared rows are those of every predictor."""
    one, two = predictors
    shared = one.rows["shared"]
    np.testing.assert_array_equal(one.X[shared], two.X[shared])
    np.testing.assert_array_equal(one.y[shared], head_enough.shared_labels())
    assert not np.array_equal(one.X[one.rows["hard"]], two.X[two.rows["hard"]])
    assert one.y[one.rows["hard"]].mean() == 0.5
    few = {"train": slice(0, 10), "hard": slice(10, 14), "shared": slice(14, 16)}
    keep = [*range(10), *range(one.rows["hard"].start, one.rows["hard"].start + 4), 0, 1]
    small = head_enough.Setting(one.network, one.heads[:1], one.X[keep], one.y[keep], few)
    prior = head_enough.vault_prior(small)
    found = head_enough.measure(small, prior)
    assert list(found) == ["0", "0.1", "0.2", "0.4", "0.8"]
    shares = [found[s]["body share"] for s in found]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert len(found["0"]["shared"]) == 2
    np.testing.assert_allclose(prior.body.own[:10], np.diag(prior.body.across[:10]), rtol=1e-9)


def test_the_unit_of_the_language_models_width():
    """At s = 1 both parts have the same centred trace at the labelled rows."""
    rng = np.random.default_rng(0)
    full = [X @ X.T for X in rng.standard_normal((2, 12, 4))]
    head, body = (Kernel(K[:, :7], np.diag(K)) for K in full)
    rows = {"train": slice(0, 7), "hard": slice(7, 12)}
    prior, rms = head_enough._unit_prior(head, 9.0 * body, np.zeros(12, int), rows)
    centring = np.eye(7) - 1 / 7
    ours, theirs = (np.trace(centring @ part.across[:7]) for part in (prior.head, prior.body))
    assert ours == pytest.approx(theirs)
    np.testing.assert_allclose(prior.body.across, rms**2 * 9.0 * body.across)
    np.testing.assert_allclose(prior.body.own, rms**2 * 9.0 * body.own)


def test_the_language_models_prior_is_that_of_the_record(monkeypatch):
    """Its rows, labels, cities and head; gradients take minutes, and s = 0 needs none."""
    from elkutils.models import gradients

    seen = {}

    def kernel(network, ids, layer, heads, columns, **options):
        seen.update(ids=ids, heads=heads)
        across = np.random.default_rng(0).standard_normal((len(ids), columns))
        across[:columns] = np.eye(columns)
        return across, np.ones(len(ids))

    monkeypatch.setattr(gradients, "gradient_kernel", kernel)
    made, then = head_enough.language_prior(5), head_enough.recorded()["language"]["5"]
    assert made.prior.y.tolist() == then["y"]
    assert made.groups.tolist() == then["groups"]
    bounds = {kind: [of.start, of.stop] for kind, of in made.prior.rows.items()}
    assert bounds == then["kinds"]
    answer = made.prior.answer(0.0, draws=5)
    np.testing.assert_allclose(answer.point, then["0"]["map"], atol=1e-3)  # float32
    assert made.ids is seen["ids"]
    assert made.heads is seen["heads"]
    assert made.heads.shape == (2, 576)
    np.testing.assert_allclose(made.prior.body.own, made.rms**2)


def test_rows_of_some_kinds():
    made = head_enough.Setting(
        None,
        np.zeros((1, 2)),
        np.arange(12.0).reshape(6, 2),
        np.array([0, 1, 0, 1, 1, 0]),
        {"train": slice(0, 2), "easy": slice(2, 3), "hard": slice(3, 6)},
    )
    few = made.only("train", "hard")
    np.testing.assert_array_equal(few.X, made.X[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(few.y, [0, 1, 1, 1, 0])
    assert few.rows == {"train": slice(0, 2), "hard": slice(2, 5)}
    fewer = made.only("train", "hard", most=1)
    assert fewer.rows == {"train": slice(0, 1), "hard": slice(1, 2)}
    assert fewer.X[0] in made.X[:2]
    assert fewer.X[1] in made.X[3:]
    y = np.repeat([0, 1, 0, 1], [1, 1, 100, 100])
    at = {"train": slice(0, 2), "hard": slice(2, 202)}
    rare = replace(made, X=np.arange(202.0)[:, None], y=y, rows=at)
    drawn = rare.only("train", "hard", most=60)
    assert 0.3 < drawn.y[drawn.rows["hard"]].mean() < 0.7  # the first 60 have no harm
    for kinds in ((), ("hard",), ("train", "other")):
        with pytest.raises(ValueError, match="begin with 'train'"):
            made.only(*kinds)


def test_hmc_over_all_weights_of_a_predictor(predictors):
    """What is recorded of it, at a tiny size; the head alone is the linearised network."""
    whole = predictors[0]
    keep = [*range(10), *range(whole.rows["hard"].start, whole.rows["hard"].start + 5)]
    rows = {"train": slice(0, 10), "hard": slice(10, 15)}
    few = head_enough.Setting(
        whole.network, whole.heads[:1], whole.X[keep], whole.y[keep], rows
    )
    prior = head_enough.head_prior(few)
    assert not prior.body.across.any()
    found = head_enough.by_hmc(few, 0.0, prior, draws=200, warmup=50)
    assert set(found["posterior"]) == set(rows)
    assert found["tv"] < 0.05
    assert found["rhat"] < 1.1
    assert found["draws"] == 200
    assert found["chains"] in (4, 8, 12)
    assert found["chains"] == 12 or found["rhat"] < head_enough.CONVERGED
    assert 0 < found["error"] < 0.1
    point = prior.answer(0.0).point
    np.testing.assert_allclose(head_enough.exact_mode(few, 0.0), point, atol=1e-3)
    for name in ("map", "other map"):
        assert found[name] == pytest.approx(prior.scores(point), abs=1e-3)


def test_the_score_of_a_statement():
    record = {"kinds": {"hard": [1, 3]}, "y": [0, 1, 0], "0.2": {"map": [9.0, 0.0, 2.0]}}
    expected = np.log([0.5, 1 / (1 + np.exp(2.0))])
    np.testing.assert_allclose(head_enough.row_scores(record, 0.2, "map"), expected)
