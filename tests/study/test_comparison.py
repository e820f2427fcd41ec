"""The comparison's loop, its record and what its claims are judged by, at a tiny size."""

import json
from itertools import product

import numpy as np
import pytest
from scipy.special import expit

from elkutils.evaluation import Interval, auroc, log_score
from elkutils.inference.networks.mlp import MLP
from elkutils.ledger import FAILS, HOLDS, Criterion, claims
from elkutils.study import comparison, comparison_sets
from elkutils.study import comparison_methods as methods
from elkutils.study.comparison_sets import (
    DEEPER,
    FRESH,
    LARGER,
    LATEST,
    TAUGHT,
    UNITS,
    WIDER,
    Lesson,
    fresh_lesson,
    hidden_units,
    lesson,
)
from elkutils.tasks.persona import lessons

RULE = Criterion("", "below", 0.05, "")
WIDE = "larger", "wider", "priced", "scarce"  # parts of a record


def rows(rng, count, shift=0.0):
    y = rng.integers(0, 2, count)
    X = rng.standard_normal((count, 30)) + shift
    X[:, 0] += 1.5 * (2 * y - 1)
    return X, y, np.array([f"group {row // 2}" for row in range(count)])


@pytest.fixture(scope="module")
def tiny():
    """A lesson of 40 rows and two places."""
    rng = np.random.default_rng(0)
    asked = {"cities easy": rows(rng, 60), "cities hard": rows(rng, 50, 0.5)}
    return Lesson(rows(rng, 40), asked, rng.permutation(40))


@pytest.fixture(scope="module")
def piece(tiny):
    return comparison.measure(tiny, "all", 0, methods.linear)


@pytest.fixture(scope="module")
def record(tiny, piece):
    """A record of three units, of which all are the same but for their names."""
    units = [f"{seed}.0" for seed in range(3)]
    pieces = {f"cities/{unit}/all": piece for unit in units}
    about, groups = comparison.about_rows(tiny)
    empty = {"process", "networks", "choices", "hidden", *TAUGHT, *WIDE}
    made = {part: {} for part in empty} | {"linear": pieces, "groups": groups}
    made |= {"rows": {f"cities/{unit}": about for unit in units}}
    made |= {"acting": {"cities/0.0/all": piece}}
    return comparison.decoded(json.loads(json.dumps(made)))


def test_every_method_answers_every_row(tiny, piece):
    assert piece["rows"] == 40
    for place, (_, y, _) in tiny.asked.items():
        found = piece["asked"][place]
        kept = [name for name in comparison.KEPT["all"] if not name.startswith("MLP")]
        odds = comparison.log_odds_of(found)
        assert set(kept) == set(odds)
        assert set(odds) < set(found["scores"])
        for name, f in odds.items():
            assert f.shape == y.shape, name
            score = log_score(y, expit(f))
            assert found["scores"][name][0] == pytest.approx(score, abs=5e-3)
            assert found["scores"][name][3] == pytest.approx(auroc(y, f), abs=5e-3)


def test_what_is_recorded_of_the_posteriors_draws(tiny, record):
    entry = comparison.at(record["entries"], "cities easy")[0]
    (X, y, groups), asked = tiny.scaled()
    found, _ = methods.linear(
        methods.Rows(X, y, groups, np.concatenate([rows[0] for rows in asked.values()]), 0)
    )
    draws = found[methods.ALL].log_odds[:, :60]
    np.testing.assert_allclose(entry["share"], (draws >= 0).mean(axis=0), atol=0.0006)


def test_several_bags_are_scored_one_by_one(tiny):
    drawn = np.random.default_rng(7).normal(0, 2, (4, 110))

    def answers(bags):
        cut = methods.Answer(drawn, 1.0, bags)
        made = {methods.BAG: methods.Answer(drawn), comparison.AT_COST[512]: cut}
        return comparison.measure(tiny, "all", 0, lambda rows: made)["asked"]["cities hard"]

    y = tiny.asked["cities hard"][1]
    name, each = comparison.AT_COST[512], drawn[:, 60:]
    one, two, four = (answers(bags) for bags in (1, 2, 4))
    assert one["scores"][name] == one["scores"][methods.BAG]
    assert "row_scores" not in one
    np.testing.assert_array_equal(*comparison.log_odds_of(one).values())
    for found, some in ((two, np.split(each, 2)), (four, np.split(each, 4))):
        means = np.mean([methods.scores(y, bag) for bag in some], axis=0)
        np.testing.assert_allclose(found["scores"][name], means, rtol=1e-3)
        assert list(comparison.log_odds_of(found)) == [methods.BAG]
    (rows,) = comparison.unpacked(four["row_scores"][name], 1, comparison.FINE)
    expected = np.where(y == 1, np.log(expit(each)), np.log(expit(-each))).mean(axis=0)
    np.testing.assert_allclose(rows, expected, atol=6e-4)
    entry = {"y": y, "row_scores": {name: rows}, "log_odds": comparison.log_odds_of(four)}
    np.testing.assert_array_equal(comparison.row_scores(entry, name), rows)


def test_few_labels_keep_the_first_scores_alone(tiny, piece):
    found = comparison.measure(tiny, "20", 0, methods.acting)["asked"]["cities easy"]
    assert {len(scores) for scores in found["scores"].values()} == {comparison.SHORT}
    assert set(comparison.log_odds_of(found)) == {methods.BAG, methods.PLATT}
    assert "share" not in found
    whole = piece["asked"]["cities easy"]["scores"]
    assert {len(scores) for scores in whole.values()} == {len(methods.SCORES)}


def test_fresh_entries_stand_apart(record):
    assert len(record["fresh"]) == 2
    assert len(record["entries"]) == 6


def test_wide_heads_are_judged_on_their_own_units(tiny, piece):
    about, groups = comparison.about_rows(tiny)
    parts = ("linear", "process", "networks", "acting", "hidden", *TAUGHT, *WIDE)
    made = {part: {} for part in parts} | {"groups": groups}
    units = [f"cities/{unit}.0" for unit in (1, 2, 3, 4)]
    made |= {"rows": dict.fromkeys([*units, "comparisons/3.0"], about)}
    made["wide"] = {"cities/1.0/all/512": piece}
    made["pool"] = {"cities/1.0/all/32": piece}
    made["larger"] = {"cities/2.0/all/32": piece, "cities/2.0/all/512": piece}
    made["wider"] = {"cities/3.0/all/512": piece, "comparisons/3.0/all/512": piece}
    made["priced"] = {"cities/4.0/all/512": piece}
    found = comparison.decoded(made)
    rules = "judged", "paid", "third", "fourth"
    units = {rule: {(each["set"], each["unit"]) for each in found[rule]} for rule in rules}
    cities = [("cities", f"{unit}.0") for unit in range(5)]
    compared = ("comparisons", "3.0")
    assert units == {
        "judged": {*cities[2:4], compared},
        "paid": {cities[4], compared},
        "third": {cities[1]},
        "fourth": {*cities[1:3]},
    }


def test_who_acts_answers_as_in_the_comparison(tiny, piece):
    again = comparison.measure(tiny, "all", 0, methods.acting)
    assert (again["tau"], again["bag"]) == (piece["tau"], piece["bag"])
    for place in again["asked"]:
        before, now = (comparison.log_odds_of(each["asked"][place]) for each in (piece, again))
        assert methods.ALL in now
        for name, f in now.items():
            np.testing.assert_array_equal(f, before[name])


def test_bags_are_of_one_size(tiny):
    (X, y, groups), asked = tiny.scaled()
    found, chosen = methods.linear(methods.Rows(X, y, groups, asked["cities easy"][0], 0))
    points = {methods.MAP, methods.PLATT, "difference in means", "shrunk discriminant"}
    for name, answer in found.items():
        expected = 1 if name in points else methods.MEMBERS
        expected = {methods.ALL: 2000, methods.EQUAL: chosen["equal"]}.get(name, expected)
        assert len(answer.log_odds) == expected, name


def test_methods_agree_where_they_have_to(tiny):
    """One posterior under several names: 64 draws are within their Monte Carlo error."""
    (X, y, groups), asked = tiny.scaled()
    found, _ = methods.linear(methods.Rows(X, y, groups, asked["cities hard"][0], 0))
    p = expit(found[methods.ALL].log_odds)
    for name in (methods.HMC, methods.AGAIN, "variational"):
        gap = expit(found[name].log_odds).mean(axis=0) - p.mean(axis=0)
        assert np.sqrt(np.mean((gap / p.std(axis=0) * 8) ** 2)) < 1.6, name  # 1 is expected
    gap = expit(found[methods.MAP].log_odds[0]) - p.mean(axis=0)
    assert np.sqrt(np.mean((gap / p.std(axis=0) * 8) ** 2)) > 1.6  # a point is another method


def test_prior_noise_is_what_no_training_row_sees():
    rng = np.random.default_rng(1)
    X, asked = rng.standard_normal((10, 30)), rng.standard_normal((5, 30))
    found = methods.Rows(X, np.arange(10) % 2, np.arange(10), asked, 0)
    unseen = found.unseen()
    np.testing.assert_allclose(unseen @ X.T, 0, atol=1e-9)
    np.testing.assert_allclose((asked - unseen)[0], np.linalg.pinv(X) @ X @ asked[0], atol=1e-9)
    spread = 0.3 * np.linalg.norm(unseen, axis=1)
    drawn = np.concatenate(
        [methods.Rows(X, X[:, 0], X, asked, seed).beyond(0.3) for seed in range(40)]
    )
    assert np.abs(drawn.std(axis=0) / spread - 1).max() < 0.1  # 2560 draws: 5 errors are .07
    full = methods.Rows(asked.T, np.arange(30) % 2, np.arange(30), asked[:, :5], 0)
    assert not full.beyond(1.0).any()


def test_platt_scaling_helps_a_map_that_is_too_sure():
    rng = np.random.default_rng(2)
    X, y, groups = rows(rng, 80)
    y = np.where(rng.random(80) < 0.25, 1 - y, y)
    asked, truth, _ = rows(rng, 800)
    truth = np.where(rng.random(800) < 0.25, 1 - truth, truth)
    found = methods.Rows(X, y, groups, asked, 0)
    sure = methods.logit_of(methods.LogisticMAP(10.0).fit(X, y), found)
    calmed = methods.platt_scaled(found, 10.0, sure)
    assert methods.scores(truth, calmed)[0] > methods.scores(truth, sure)[0] + 0.5
    assert methods.scores(truth, calmed)[3] == pytest.approx(methods.scores(truth, sure)[3])


def test_scores_of_known_forecasts():
    y = np.repeat([0, 1], 200)
    right = np.where(y == 1, 3.0, -3.0)[None] + np.linspace(0, 0.1, 400)
    found = dict(zip(methods.SCORES, methods.scores(y, right), strict=True))
    for name in ("AUROC", "TPR at 1% FPR", "recall at 1%"):
        assert found[name] == pytest.approx(1.0)
    assert found["risk–coverage"] == 0.0
    assert np.isnan(found["doubt"])
    wrong = methods.scores(y, -right)
    assert wrong[3] == wrong[5] == wrong[6] == 0.0
    coin = methods.scores(y, np.zeros((1, 400)))
    assert coin[0] == pytest.approx(comparison.COIN)
    assert coin[3] == 0.5


def test_heads_with_a_hidden_layer_answer_in_bags_of_one_size(tiny, monkeypatch):
    monkeypatch.setattr(methods, "MEMBERS", 8)  # of each bag: compiled and trained sooner
    (X, y, groups), asked = tiny.scaled()
    rows = methods.Rows(X, y, groups, asked["cities easy"][0], 0)
    found, chosen = methods.hidden(rows, 4)
    sizes = {name.removeprefix("MLP 4, "): len(each.log_odds) for name, each in found.items()}
    bags = "posterior", "Laplace", "SGHMC", "tuned bag", "anchored"
    expected = dict.fromkeys(bags, methods.MEMBERS)
    assert sizes == expected | {"member": 1, "bag at its cost": chosen["equal"]}
    bag, some = (found[f"MLP 4, {name}"] for name in ("tuned bag", "bag at its cost"))
    np.testing.assert_array_equal(some.log_odds, bag.log_odds[: chosen["equal"]])
    each = bag.seconds / methods.MEMBERS
    assert some.seconds == pytest.approx(each * chosen["equal"])
    paid = found["MLP 4, posterior"].seconds / each  # the choice of its scale included
    assert chosen["equal"] == int(np.clip(paid, 1, methods.MEMBERS))
    found, chosen = methods.pair_and_platt(rows, 4)
    several, size = found["MLP 4, bag at its cost"], chosen["equal"]
    assert several.bags == methods.MEMBERS // size
    assert len(several.log_odds) == several.bags * size
    bag = found["MLP 4, tuned bag"].log_odds
    np.testing.assert_array_equal(several.log_odds, bag[: several.bags * size])
    assert len(found[methods.PLATT].log_odds) == 1


def test_heads_with_a_hidden_layer_are_judged_where_they_know_something():
    rng, entries = np.random.default_rng(1), []
    ours, theirs = comparison.HIDDEN[32]
    units = DEEPER["cities"][:3]
    for (seed, split), place in product(units, ("cities easy", "Bob hard")):
        y = rng.integers(0, 2, 80)
        f = np.where(y == 1, 2.0, -2.0) * (place != "Bob hard") + rng.standard_normal(80)
        about = {"set": "cities", "unit": f"{seed}.{split}", "seed": 100 * seed + split}
        about |= {"place": place, "n": "all", "y": y, "groups": np.arange(80)}
        entries.append(about | {"log_odds": {methods.PLATT: f, ours: f + 0.1, theirs: f}})
    entries.append(entries[-1] | {"place": "cities easy", "log_odds": {methods.PLATT: f}})
    found = comparison.hidden_gains(entries, 32)
    assert list(found) == ["cities easy"]
    values, _, seeds = found["cities easy"]
    assert len(values) == 80 * len(units)
    assert set(seeds) == {100 * seed + split for seed, split in units}
    first = comparison.at(comparison.hidden_entries(entries, 32), "cities easy")[0]
    gap = [comparison.row_scores(first, name) for name in (ours, theirs)]
    np.testing.assert_allclose(values[:80], gap[0] - gap[1])
    few = [entry | {"n": "20"} for entry in entries]
    found = comparison.hidden_conditions(
        [*entries, *few], 32, methods.PLATT, sizes=("all", "20")
    )
    names = "cities: width 32, cities easy", "gain: width 32, n = 20, cities easy"
    assert list(found) == [f"{comparison.LAYERED[32]}, {name}" for name in names]
    (alone,) = comparison.hidden_conditions(entries, 32, methods.PLATT, by_set=True)
    assert alone == "hidden layer, cities: width 32, cities easy"
    gap = comparison.row_scores(first, ours) - comparison.row_scores(first, methods.PLATT)
    for values, _, _ in found.values():
        np.testing.assert_allclose(values[:80], gap)


def test_doubt_is_no_gain_in_hindsight():
    """Halved log odds are another's with more doubt; other log odds tell another thing."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 4000)
    f = np.where(y == 1, 2.0, -2.0) + 2 * rng.standard_normal(4000)  # calibrated
    told = {"right": f, "timid": f / 2, "coin": rng.standard_normal(4000)}
    entries = [{"place": "cities easy", "n": "all", "y": y, "log_odds": told}]
    found = comparison.gain_in_hindsight(entries, "right", "timid", "cities easy")
    assert abs(found) < 1e-3
    found = comparison.gain_in_hindsight(entries, "right", "coin", "cities easy")
    assert found == pytest.approx(log_score(y, expit(f)) - comparison.COIN, abs=5e-3)


def test_a_hidden_layers_posterior_answers_twice_alike(tiny):
    """HMC over a wide layer's weights and the limit of infinite width are near each other."""
    (X, y, groups), asked = tiny.scaled()
    rows = methods.Rows(X, y, groups, asked["cities easy"][0], 0)
    ours, rhat = methods.sampled(rows, MLP((64,), weight_scale=2.0))
    theirs = methods.limit(rows, 2.0)
    assert ours.shape == theirs.shape == (methods.MEMBERS, 60)
    assert rhat < 1.05
    gap = expit(ours).mean(axis=0) - expit(theirs).mean(axis=0)
    assert np.abs(gap).mean() < 0.05  # 64 draws are some .03 off, a single one .2
    assert np.abs(expit(ours[0]) - expit(theirs).mean(axis=0)).mean() > 0.1


def test_fresh_units_are_none_of_the_others():
    for name, units in FRESH.items():
        both, narrow = hidden_units(name)
        assert (len(both), len(narrow)) == (10, 30)
        assert len({*both, *narrow} & {*units}) == 40
        judged = [*DEEPER[name], *LARGER.get(name, []), *WIDER[name], *LATEST[name]]
        every = [*UNITS[name], *units, *judged]
        assert len(set(every)) == len(every)
        splits = [split for _, split in judged]
        assert len(set(splits)) == len(splits) > 1
        assert not set(splits) & {split for _, split in (*UNITS[name], *units)}
    found = fresh_lesson(None, "vault", 0, 22)
    assert list(found.asked) == ["vault easy"]
    before = {row.tobytes() for row in lesson(None, "vault", 0, 10).asked["vault easy"][0]}
    assert len(before & {row.tobytes() for row in found.asked["vault easy"][0]}) < 4


@pytest.mark.parametrize(
    ("name", "units", "rows"),
    [
        ("comparisons", FRESH, 160),
        ("comparisons", DEEPER, 300),
        ("cities", FRESH, 600),
        ("cities", DEEPER, 600),
        ("cities", LARGER, 1200),
        ("comparisons", WIDER, 300),
        ("cities", WIDER, 1200),
        ("comparisons", LATEST, 300),
        ("cities", LATEST, 1200),
    ],
)
def test_as_many_teach_however_many_are_asked(monkeypatch, name, units, rows):
    monkeypatch.setenv("ELKUTILS_PROFILE", "book")  # quick has half as many comparisons
    unit = units[name][0]
    easy = comparison_sets._fresh_task(name, unit[0])["easy"]
    read = {unit[0]: [(easy, np.zeros((len(easy), 3)))]}
    monkeypatch.setattr(comparison_sets, "_read_fresh", lambda *_: read)
    found = fresh_lesson(None, name, *unit)
    asked = found.asked[f"{name} easy"]
    assert len(easy) == len(found.train[1]) + len(asked[1]) == rows
    assert len(set(found.train[2])) == comparison_sets.TEACH[name]
    assert not set(found.train[2]) & set(asked[2])


@pytest.mark.parametrize(
    ("units", "cities"), [(FRESH, 150), (DEEPER, 150), (WIDER, 450), (LATEST, 450)]
)
def test_alice_teaches_as_much_however_many_are_asked(monkeypatch, units, cities):
    from elkutils.models import cache

    def blank(kind, about, compute):
        return {"X": np.zeros((len(about["texts"]), 3))}

    monkeypatch.setattr(cache, "keep", blank)
    unit = units["persona"][0]
    some = {unit[0]: comparison_sets._read_persona(unit[0])}
    monkeypatch.setattr(comparison_sets, "_read_fresh", lambda *_: some)
    found = fresh_lesson(None, "persona", *unit)
    groups = set(found.train[2])
    assert (len(groups), len(found.train[1])) == (105, 210)
    alice, bob = found.asked.values()
    assert (len(alice[1]), len(bob[1])) == (2 * (cities - 105), 2 * cities)
    assert not groups & set(alice[2])
    taught = {city for part in lessons(0).splits.values() for city in part.groups}
    assert not taught & {*groups, *alice[2], *bob[2]}


def test_lessons_hold_groups_apart_and_label_in_one_order():
    found = lesson(None, "vault", 0, 3)
    fewer, more = (set(map(tuple, found.scaled(n)[0][0])) for n in (20, 50))
    assert fewer < more
    assert found.sizes() == {"20": 20, "50": 50, "100": 100, "all": None}
    assert not set(found.train[2]) & set(found.asked["vault easy"][2])
    with pytest.raises(ValueError, match="name is 'moon'"):
        lesson(None, "moon", 0, 0)


def test_choices_are_of_layer_prior_and_method(tiny, monkeypatch):
    layers = []
    monkeypatch.setattr(comparison, "lesson", lambda *given: layers.append(given[4]) or tiny)
    found = comparison.choices(None, 5, 10, [5])
    assert layers == [12, 14, 16, 18]
    for place in ("cities easy", "cities hard"):
        table = np.array(found[place]["log score"])
        assert table.shape == (4, 3, 3)
        np.testing.assert_array_equal(table[0], table[1])  # the same rows under every layer
        assert (table < 0).all()
        assert (np.array(found[place]["AUROC"]) > 0.5).all()
        assert table[0, :, 0].std() > 0.01  # the MAP's prior matters


def test_a_gain_is_the_difference_of_the_recorded_scores(record):
    entries = record["entries"]
    assert len(comparison.at(entries, "cities hard")) == 3
    values, groups, seeds = comparison.gains(entries, methods.HMC, methods.BAG, "cities hard")
    ours, theirs = (
        entries[1]["scores"][name]["log score"] for name in (methods.HMC, methods.BAG)
    )
    assert values.mean() == pytest.approx(ours - theirs, abs=5e-3)
    assert len(groups) == len(seeds) == 150
    assert sorted(set(seeds)) == [0, 100, 200]


def test_places_below_a_coin_do_not_vote(record):
    entries = record["entries"]
    assert comparison.votes(entries, "cities easy")
    turned = [dict(entry, y=1 - entry["y"]) for entry in entries]
    assert not comparison.votes(turned, "cities easy")
    assert set(comparison.conditions(entries)) <= {"cities: cities easy", "cities: cities hard"}
    assert "cities: cities easy" not in comparison.conditions(turned)


def test_another_score_is_compared_too(record):
    found = comparison.score_gain(
        record["entries"], auroc, methods.HMC, methods.HMC, "cities easy"
    )
    assert (found.estimate, found.lower, found.upper) == (0, 0, 0)


def test_outcomes_are_told_apart():
    def about(value, half=0.01):
        return Interval(value, value - half, value + half)

    values = {"same": about(0.0), "more": about(0.2), "less": about(-0.2), "wide": about(0, 1)}
    found = comparison.outcomes(values, dict.fromkeys(values, 0.05))
    assert list(found.values()) == [
        comparison.EQUIVALENT,
        comparison.BAYES,
        comparison.ENSEMBLE,
        comparison.OPEN,
    ]


def planted_columns(mean, spread, rng, groups=100, seeds=10):
    of, which = (part.ravel() for part in np.indices((groups, seeds)))
    values = mean + spread * (rng.standard_normal(groups)[of] + rng.standard_normal(len(of)))
    return values, of, which


def test_controls_tell_a_rule_with_power_from_one_without():
    rng = np.random.default_rng(3)
    precise, vague = (planted_columns(0.3, spread, rng) for spread in (0.05, 2.0))
    positive, negative = comparison.planted(RULE, precise, 0.05, 3)
    assert positive.rate > 0.9 > 0.1 > negative.rate  # whatever was measured, here .3
    positive, negative = comparison.planted(RULE, vague, 0.05, 3)
    assert positive.rate < 0.5
    assert negative.rate < 0.1


def test_a_control_at_the_median_place_speaks_of_several(monkeypatch):
    seen, rng = [], np.random.default_rng(5)
    monkeypatch.setattr(comparison, "planted", lambda *given: seen.append(given))
    columns = {s: planted_columns(0.0, s, rng, groups=20) for s in (2.0, 0.1, 1.0)}
    comparison.control_at_median(RULE, columns)
    comparison.control_at_median(RULE, columns, places=7)
    assert seen == [(RULE, columns[1.0], RULE.margin, places) for places in (3, 7)]


def test_a_criterion_is_controlled_where_it_is_most_precise(record, monkeypatch):
    seen = []
    monkeypatch.setattr(comparison, "planted", lambda *given: seen.append(given))
    voting = {
        "cities: cities easy": Interval(0, -1, 1),
        "cities: cities hard": Interval(0, -2, 2),
    }
    comparison.control(RULE, record["entries"], voting)
    assert len(seen[0][1][0]) == 3 * 60
    assert seen[0][2:] == (0.05, 2, 100)


@pytest.mark.parametrize(("effect", "outcome"), [(0.2, HOLDS), (5.0, FAILS)])
def test_a_small_effect_of_the_method_is_told_from_a_large_one(effect, outcome):
    rng = np.random.default_rng(4)
    table = 0.1 * rng.standard_normal((20, 4, 3, 3))
    table += np.arange(4.0)[:, None, None] + effect * np.arange(3.0)
    rule = claims()["C17d"].criteria["ratio"]
    names = ("training set", *comparison.FACTORS)
    assert rule.judge(comparison.method_against(table, names, "layer")) == outcome
    positive, negative = comparison.planted_effects(rule, table, names, "layer", 16)
    assert positive.rate > 0.9 > 0.1 > negative.rate


def test_shares_of_variance_are_those_that_were_planted():
    seeds, splits, layers = np.arange(4.0), np.arange(5.0), np.arange(4.0)
    choices = {}
    for seed in range(4):
        for split in range(5):
            made = seeds[seed] + 2 * splits[split] + 3 * layers[:, None, None]
            table = np.broadcast_to(made, (4, 3, 3)).tolist()
            choices[f"{seed}.{split}"] = {"cities easy": {"AUROC": table}}
    found = comparison.shares({"choices": choices}, "cities easy", "AUROC")
    parts = {
        "false statements": seeds.var(),
        "split": 4 * splits.var(),
        "layer": 9 * layers.var(),
    }
    total = sum(parts.values())
    for name, value in found.items():
        assert value == pytest.approx(parts.get(name, 0.0) / total, abs=1e-9), name
