import json
from dataclasses import replace

import pytest

from elkutils import ledger
from elkutils.evaluation import Interval, PassRate

WITHIN = ledger.Criterion("ratio", "within", [0.9, 1.1], "")
ABOVE = ledger.Criterion("gain", "above", -0.02, "")
BELOW = ledger.Criterion("loss", "below", 3, "")
HOLDS = {"slope": 1.0, "ratio": 1.0}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders of the run's and of the reference results, both empty."""
    monkeypatch.setenv("ELKUTILS_RESULTS", str(tmp_path / "run"))
    monkeypatch.setenv("ELKUTILS_PROFILE", "book")
    monkeypatch.setattr(ledger, "reference_dir", lambda: tmp_path / "reference")
    return tmp_path


def run(number=1.0, conditions=HOLDS):
    chapter = ledger.Chapter("trial")
    chapter.number("height", number, tolerance=0.1)
    chapter.decide("C1a", conditions)
    return chapter.close()


def interval(lower, upper):
    return Interval((lower + upper) / 2, lower, upper)


@pytest.mark.parametrize(
    ("criterion", "lower", "upper", "outcome"),
    [
        (WITHIN, 0.95, 1.05, "holds"),
        (WITHIN, 0.9, 1.1, "holds"),
        (WITHIN, 0.95, 1.2, "undecided here"),
        (WITHIN, 0.8, 0.95, "undecided here"),
        (WITHIN, 0.5, 2.0, "undecided here"),
        (WITHIN, 1.2, 1.3, "fails"),
        (WITHIN, 0.2, 0.3, "fails"),
        (ABOVE, -0.01, 0.1, "holds"),
        (ABOVE, -0.03, 0.1, "undecided here"),
        (ABOVE, -0.5, -0.03, "fails"),
        (BELOW, 1, 2, "holds"),
        (BELOW, 2, 4, "undecided here"),
        (BELOW, 4, 5, "fails"),
    ],
)
def test_an_interval_is_judged_by_the_side_it_lies_on(criterion, lower, upper, outcome):
    assert criterion.judge(interval(lower, upper)) == outcome


def plant(monkeypatch, quantifier="by place", id="C1a", **changes):
    """Replace a claim by one that votes, with the criteria slope and ratio."""
    claim = ledger.claims()[id]
    criteria = {
        name: replace(criterion, votes=True, **changes)
        for name, criterion in ledger.claims()["C1a"].criteria.items()
    }
    planted = replace(claim, quantifier=quantifier, criteria=criteria)
    everything = dict(ledger.claims()) | {id: planted}
    monkeypatch.setattr(ledger, "claims", lambda: everything)
    return planted


def plant_one(monkeypatch):
    """Replace C1a by a claim with the criterion slope alone, which votes."""
    claim = plant(monkeypatch)
    alone = replace(claim, criteria={"slope": claim.criteria["slope"]})
    everything = dict(ledger.claims()) | {"C1a": alone}
    monkeypatch.setattr(ledger, "claims", lambda: everything)


def decide(outcomes, **kwargs):
    """Decide on C1a at one place per outcome."""
    value = {"holds": 1.0, "fails": 3.0, "undecided here": interval(0.5, 1.5)}
    conditions = {}
    for place, outcome in enumerate(outcomes):
        conditions |= {f"slope: {place}": value[outcome], f"ratio: {place}": 1.0}
    return ledger.Chapter("trial").decide("C1a", conditions, **kwargs)


H, F, U = "holds", "fails", "undecided here"
PART = "holds in part"


@pytest.mark.parametrize(
    ("outcomes", "everywhere", "somewhere", "by_place"),
    [
        ((H, H), H, H, H),
        ((F, F), F, F, F),
        ((U, U), U, U, U),
        ((H, F), F, H, PART),
        ((H, U), U, H, PART),
        ((F, U), F, U, F),
        ((H, F, U), F, H, PART),
    ],
)
def test_the_quantifier_says_what_follows(
    monkeypatch, outcomes, everywhere, somewhere, by_place
):
    expected = {"everywhere": everywhere, "somewhere": somewhere, "by place": by_place}
    for quantifier, verdict in expected.items():
        with monkeypatch.context() as patch:
            plant(patch, quantifier)
            assert decide(outcomes).verdict == verdict


def test_a_card_ends_with_what_fails_the_claim():
    for claim in ledger.claims().values():
        last = repr(ledger.Cards((claim,))).splitlines()[-1]
        label = "A place fails if" if claim.quantifier == "by place" else "Fails if"
        assert last == f"  {label}: {claim.fails_if} {claim.speaks_over}"


def test_each_claim_speaks_over_what_its_words_do():
    """Fixed here as well, so that no quantifier changes without a second thought."""
    somewhere = {"C14a"}
    by_place = {"C2", "C4", "C5d", "C6c", "C6f", "C12b", "C13a", "C13b", "C13c", "C14b"}
    by_place |= {"C7b", "C7c", "C8a", "C8b", "C8c", "C9a", "C9c", "C9d", "C15c", "C15d"}
    by_place |= {"C10b", "C10c", "C10d", "C10e", "C10f"}
    by_place |= {"C16a", "C16c", "C16d", "C16e"}
    by_place |= {"C17a", "C17b", "C17c", "C17d", "C17e", "C17f"}
    for claim in ledger.claims().values():
        if claim.criteria:
            expected = "by place" if claim.id in by_place else "everywhere"
            expected = "somewhere" if claim.id in somewhere else expected
            assert claim.quantifier == expected, claim.id


@pytest.mark.parametrize("quantifier", ledger.QUANTIFIERS)
def test_the_quantifiers_sentence_says_what_the_rule_does(quantifier, monkeypatch):
    """Planted outcomes: one place that fails among two, one that holds among two, none."""
    sentence = ledger.QUANTIFIERS[quantifier]
    said = {
        "refutes": "One place where it fails refutes" in sentence,
        "shows": "One place where it holds shows" in sentence,
        "counts": "holds in part" in sentence,
    }
    assert sum(said.values()) == 1
    plant(monkeypatch, quantifier)
    mixed, failing = decide((H, F)).verdict, decide((F, U)).verdict
    assert said["refutes"] == (mixed == "fails")
    assert said["shows"] == (mixed == "holds")
    assert said["counts"] == (mixed == "holds in part")
    assert (failing == "fails") == (not said["shows"])
    assert decide((F, F)).verdict == "fails"


def test_every_criterion_has_to_hold_in_a_place(monkeypatch):
    plant(monkeypatch)
    values = {"slope: here": 1.0, "ratio: here": 9.0, "slope: there": 9.0, "ratio: there": 1.0}
    decided = ledger.Chapter("trial").decide("C1a", values)
    assert decided.verdict == "fails"
    assert decided.places == {"here": "fails", "there": "fails"}


def test_a_verdict_counts_its_places(monkeypatch):
    plant(monkeypatch)
    decided = decide((H, F, F, U))
    assert "of 4 places holds at 1 (0), fails at 2 (1; 2), undecided at 1 (3)" in str(decided)
    assert decided.told in decided._repr_html_()


@pytest.mark.parametrize(("outcomes", "folded"), [((H, F), False), ((H, F, F), True)])
def test_a_long_table_of_a_verdict_is_folded(outcomes, folded, monkeypatch):
    plant(monkeypatch)
    shown, _, table = decide(outcomes)._repr_html_().partition("<details")
    assert table.startswith(">" if folded else " open>")
    assert "fails at" in shown
    assert table.count("<tr>") == 1 + 2 * len(outcomes)


def test_what_is_judged_at_many_places_is_judged_at_once(monkeypatch):
    """An end on the margin holds by itself; among twenty such places it is undecided."""
    plant(monkeypatch, "everywhere")
    barely = Interval(1.01, 1.0, 1.02)  # the slope's margin ends at 1.02
    few = {"slope: 0": barely, "ratio: 0": 1.0}
    many = {f"slope: {i}": barely for i in range(20)} | {f"ratio: {i}": 1.0 for i in range(20)}
    assert ledger.Chapter("trial").decide("C1a", few).verdict == "holds"
    decided = ledger.Chapter("trial").decide("C1a", many)
    assert decided.verdict == "undecided here"
    for text in (repr(decided), decided._repr_html_().partition("<table")[2]):
        told, _, each = text.lower().partition("outcome by itself")
        assert "holds" in each  # where the reader is told that Holm is left out
        assert "slope: 0" not in told
    assert "by itself" not in repr(ledger.Verdict("C1a", "undecided here"))


def test_places_that_differ_by_chance_do_not_refute():
    """Twenty true nulls on the margin: Holm refutes few such claims, one by one most fall."""
    import numpy as np

    rng = np.random.default_rng(0)
    claim = ledger.claims()["C12b"]  # one criterion: excess at most 0.05
    alone = together = 0
    for _ in range(400):
        estimates = 0.05 + 0.02 * rng.standard_normal(20)
        values = {str(i): Interval(e, e - 0.0392, e + 0.0392) for i, e in enumerate(estimates)}
        alone += any(claim.criterion(n).judge(v) == "fails" for n, v in values.items())
        together += "fails" in ledger._places(claim, values, set()).values()
    assert alone > 120
    assert together <= 20  # 2.5% of 400 is 10, and three standard errors above that is 19


def test_theorems_are_proved_or_refuted_by_their_checks():
    chapter = ledger.Chapter("trial")
    assert chapter.decide("C1a", {"slope": 1.0, "ratio": 1.0}).verdict == "proved"
    assert chapter.decide("C1a", {"slope": 1.0, "ratio": 3.0}).verdict == "fails"
    assert "no vote" in repr(chapter.decide("C1a", HOLDS))
    wide = {"slope": 1.0, "ratio": 1.0, "activations": Interval(1.0, 0.85, 1.15)}
    assert chapter.decide("C1b", wide).verdict == "undecided here"


@pytest.mark.parametrize("seeds", [3, 5, 30])
def test_few_seeds_keep_the_error_of_a_family(seeds):
    """Student intervals of true nulls on the margin, at twenty places."""
    import numpy as np

    rng, claim = np.random.default_rng(seeds), ledger.claims()["C12b"]
    wrong = {"holds": 0, "fails": 0}
    for _ in range(400):
        values = {
            str(i): Interval.of_mean(0.05 + 0.02 * row)
            for i, row in enumerate(rng.standard_normal((20, seeds)))
        }
        found = set(ledger._places(claim, values, set()).values())
        for outcome in wrong:
            wrong[outcome] += outcome in found
    assert max(wrong.values()) <= 20  # as above


def test_data_without_any_width_decide_nothing():
    """A share of which no case was seen: the bootstrap returns no width, not certainty."""
    none = Interval(0.0, 0.0, 0.0)
    assert ledger.claims()["C11b"].criteria["excess ECE"].judge(none) == "undecided here"
    known = Interval(0.0, 0.0, 0.0, 1.0)
    assert ledger.claims()["C11b"].criteria["excess ECE"].judge(known) == "holds"


def test_what_does_not_vote_cannot_carry_a_claim():
    """C4's inequalities hold by proof; with no kind of statement holding, neither does C4."""
    values = {"disagreement: easy": 0.0, "price: easy": 0.0, "bounds: everywhere": 0.0}
    chapter = ledger.Chapter("trial")
    for name in ("disagreement", "price"):
        chapter.control("C4", name, PassRate(200, 200), PassRate(0, 200))
    assert chapter.decide("C4", values).verdict == "fails"


def controls(positive, negative, runs=200):
    return {"positive": PassRate(positive, runs), "negative": PassRate(negative, runs)}


WITH = {"controls": {"positive": "an identity", "negative": "noise"}}


@pytest.mark.parametrize(
    ("positive", "negative", "verdict"),
    [
        (190, 10, "holds"),
        (180, 20, "holds"),
        (179, 10, "undecided here"),
        (190, 21, "undecided here"),
    ],
)
def test_a_criterion_without_power_does_not_judge(monkeypatch, positive, negative, verdict):
    plant(monkeypatch, **WITH)
    chapter = ledger.Chapter("trial")
    with pytest.raises(ValueError, match="controls of C1a's criteria"):
        chapter.decide("C1a", HOLDS)
    for name in HOLDS:
        told = chapter.control("C1a", name, **controls(positive, negative))
        assert ("does not judge" in str(told)) == (verdict != "holds")
    decided = chapter.decide("C1a", HOLDS)
    assert decided.verdict == verdict
    assert f"{positive / 200:.0%} of 200" in repr(decided)
    shown = decided._repr_html_()
    assert f"slope {positive / 200:.0%} of 200 and {negative / 200:.0%} of 200" in shown
    assert ("does not judge" in shown) == (verdict != "holds")


def test_too_few_runs_of_a_control_are_refused(monkeypatch):
    plant(monkeypatch, **WITH)
    with pytest.raises(ValueError, match="they need 200"):
        ledger.Chapter("trial").control("C1a", "slope", **controls(9, 0, runs=10))


def test_only_results_of_the_book_become_the_reference(places, monkeypatch, capsys):
    monkeypatch.setenv("ELKUTILS_PROFILE", "quick")
    run()
    assert ledger.main(["accept", str(places / "run")]) == 2
    assert "profile 'quick'" in capsys.readouterr().err
    assert not (places / "reference").exists()


def test_controls_that_are_not_described_are_refused():
    with pytest.raises(ValueError, match="has no controls"):
        ledger.Chapter("trial").control("C1a", "slope", **controls(200, 0))


def test_rates_of_controls_are_recorded_and_compared(places, monkeypatch):
    plant(monkeypatch, **WITH)

    def close(positive):
        chapter = ledger.Chapter("trial")
        for name in HOLDS:
            chapter.control("C1a", name, **controls(positive, 0, runs=1000))
        chapter.decide("C1a", HOLDS)
        return chapter.close()

    close(980)
    ledger.accept(places / "run")
    assert close(960).drift == ()  # 98% and 96% of 1000 differ by chance
    drift = close(910).drift
    assert drift[0] == "C1a, positive control of slope: 91%, was 98%"
    assert len(drift) == 2


def test_no_criterion_may_be_left_out():
    with pytest.raises(ValueError, match=r"leaves out the criteria .*ratio"):
        ledger.Chapter("trial").decide("C1a", {"slope": 1.0})


def test_one_criterion_takes_any_condition_name(monkeypatch):
    plant_one(monkeypatch)
    decided = ledger.Chapter("trial").decide("C1a", {"cities": 1.0, "elements": 1.01})
    assert decided.verdict == "holds"
    assert decided.places == {"cities": "holds", "elements": "holds"}


@pytest.mark.parametrize(
    ("id", "conditions", "match"),
    [
        ("C99", HOLDS, "no claim"),
        ("C1a", {}, "empty"),
        ("C1a", {"slope": float("nan"), "ratio": 1.0}, "has to be a number"),
        ("C1a", {"slope": float("inf"), "ratio": 1.0}, "has to be a number"),
        ("C1a", {"slope": Interval(1.0, 1.2, 0.8), "ratio": 1.0}, "ends in order"),
    ],
)
def test_what_cannot_be_decided_is_refused(id, conditions, match):
    with pytest.raises(ValueError, match=match):
        ledger.Chapter("trial").decide(id, conditions)


def test_a_claim_without_criteria_is_not_decided(monkeypatch):
    bare = replace(ledger.claims()["C1a"], criteria={})
    monkeypatch.setattr(ledger, "claims", lambda: {"C1a": bare})
    with pytest.raises(ValueError, match="no criteria yet"):
        ledger.Chapter("trial").decide("C1a", HOLDS)


@pytest.mark.parametrize(
    ("value", "tolerance"), [(float("nan"), 1), (1, float("inf")), (1, -1)]
)
def test_numbers_have_to_be_finite(value, tolerance):
    with pytest.raises(ValueError, match="finite"):
        ledger.Chapter("trial").number("height", value, tolerance)


def test_closing_writes_what_was_found(places):
    run()
    found = json.loads((places / "run" / "trial.json").read_text())
    assert found["profile"] == "book"
    assert found["numbers"] == {"height": {"value": 1.0, "tolerance": 0.1}}
    assert found["verdicts"]["C1a"]["verdict"] == "proved"
    assert found["verdicts"]["C1a"]["conditions"]["slope"]["outcome"] == "holds"
    assert [path.name for path in (places / "run").iterdir()] == ["trial.json"]


def test_without_a_reference_nothing_is_compared(places):
    assert "no committed results" in run().compared


def test_drift_is_listed(places):
    run()
    ledger.accept(places / "run")
    assert run().drift == ()
    assert run(number=1.05).drift == ()
    assert run(number=1.2).drift == ("height: 1.2, was 1 (tolerance 0.1)",)
    changed = run(conditions={"slope": 2.0, "ratio": 2.0})
    assert changed.drift == ("C1a: fails, was proved",)


def test_a_run_in_the_book_does_not_overwrite_the_reference(tmp_path, monkeypatch):
    """A notebook's kernel runs in its folder, where the committed results are."""
    reference = tmp_path / "book" / "results"
    monkeypatch.setattr(ledger, "reference_dir", lambda: reference)
    monkeypatch.setenv("ELKUTILS_PROFILE", "book")
    monkeypatch.setenv("ELKUTILS_RESULTS", str(tmp_path / "run"))
    run()
    ledger.accept(tmp_path / "run")
    monkeypatch.delenv("ELKUTILS_RESULTS")
    monkeypatch.chdir(tmp_path / "book")
    assert run(number=1.2).drift == ("height: 1.2, was 1 (tolerance 0.1)",)
    assert json.loads((reference / "trial.json").read_text())["numbers"]["height"]["value"] == 1
    assert (tmp_path / "_build" / "results" / "trial.json").exists()


def test_numbers_and_verdicts_that_come_or_go_are_drift(places):
    run()
    ledger.accept(places / "run")
    chapter = ledger.Chapter("trial")
    chapter.number("width", 1, 0.1)
    assert chapter.close().drift == (
        "height: in the committed results only",
        "width: in this run only",
        "C1a: nothing, was proved",
    )


def test_another_profile_is_not_compared(places, monkeypatch):
    run()
    ledger.accept(places / "run")
    monkeypatch.setenv("ELKUTILS_PROFILE", "quick")
    closing = run(number=9)
    assert closing.drift == ()
    assert "quick" in closing.compared


def test_the_command_line_compares_and_accepts(places, capsys):
    folder = str(places / "run")
    run()
    assert ledger.main(["accept", folder]) == 0
    assert ledger.main(["compare", folder]) == 0
    run(number=5)
    assert ledger.main(["compare", folder]) == 1
    assert "height: 5, was 1" in capsys.readouterr().out
    assert ledger.main(["accept", folder]) == 0
    assert ledger.main(["compare", folder]) == 0


def test_a_folder_without_results_is_refused(places):
    with pytest.raises(ValueError, match="no results"):
        ledger.compare(places)


def test_the_table_holds_every_claim_and_the_verdicts_so_far(places):
    run(conditions={"slope": 1.0, "ratio": 5.0})
    ledger.accept(places / "run")
    verdicts = {row[0]: row[2] for row in ledger.table().rows}
    assert list(verdicts) == list(ledger.claims())
    assert verdicts.pop("C1a") == "fails"
    assert set(verdicts.values()) == {"not yet examined"}


def test_every_claim_of_the_argument_is_there():
    expected = ["C0"] + [f"C1{part}" for part in "abcde"] + ["C2", "C3", "C4"]
    expected += [f"C5{part}" for part in "abcd"] + [f"C6{part}" for part in "abcdefg"]
    expected += [f"C7{part}" for part in "abc"] + [f"C8{part}" for part in "abc"]
    expected += [f"C9{part}" for part in "abcd"] + [f"C10{part}" for part in "abcdef"]
    expected += [f"C11{part}" for part in "abc"]
    expected += [f"C12{part}" for part in "abcde"] + [f"C13{part}" for part in "abc"]
    expected += [f"C14{part}" for part in "abc"] + [f"C15{part}" for part in "abcd"]
    expected += [f"C16{part}" for part in "abcde"]
    expected += [f"C17{part}" for part in "abcdef"]
    assert list(ledger.claims()) == expected


@pytest.mark.parametrize("claim", ledger.claims().values(), ids=lambda claim: claim.id)
def test_a_claim_says_what_decides_it(claim):
    for text in (claim.title, claim.words, claim.restatement, claim.estimand, claim.fails_if):
        assert text
    assert claim.quantifier in ledger.QUANTIFIERS
    assert claim.criteria or not claim.chapter  # rules may be fixed before a chapter runs them
    for criterion in claim.criteria.values():
        low, high = criterion.bounds
        assert low < high
        assert criterion.reason
        assert set(criterion.controls) in (set(), {"positive", "negative"})


def test_what_is_shown_is_escaped(places, monkeypatch):
    plant_one(monkeypatch)
    decided = ledger.Chapter("trial").decide("C1a", {"a<b": 1.0})
    assert "a&lt;b" in decided._repr_html_()
    assert "a<b" not in decided._repr_html_()
    assert "a<b" in repr(decided)


@pytest.mark.parametrize("words", [("C1a", "C1b"), ("C1a", "C2")])
def test_cards_show_the_words_and_the_margin(words):
    cards = ledger.Chapter("trial").card(*words)
    for text in (cards._repr_html_(), repr(cards)):
        assert all(ledger.claims()[id].words in text for id in words)
        assert "within 0.98 and 1.02" in text


def test_the_closing_table_counts_the_places(places, monkeypatch):
    plant(monkeypatch)
    conditions = {"slope: a": 1.0, "ratio: a": 1.0, "slope: b": 1.0, "ratio: b": 5.0}
    closing = run(conditions=conditions)
    for text in (closing._repr_html_(), repr(closing)):
        assert "holds in part" in text
        assert "fails at 1 (b)" in text


def test_a_reference_is_found_in_the_repository_or_the_package():
    assert (ledger.reference_dir() / "difference-in-means.json").is_file()
    for path in ledger.reference_dir().glob("*.json"):
        assert json.loads(path.read_text())["profile"] == "book", path


def test_a_control_is_judged_as_one_of_its_places():
    borderline = Interval(0.0, -0.02, 0.02)
    assert ABOVE.judge(borderline) == "holds"
    assert ABOVE.judge(borderline, places=10) == "undecided here"


def test_a_place_that_lacks_a_criterion_raises_unless_it_is_partial(places, monkeypatch):
    conditions = {"slope: here": 1.0, "slope: there": 1.0, "ratio: here": 1.0}
    plant(monkeypatch)
    with pytest.raises(ValueError, match=r"'there': \['ratio'\]"):
        ledger.Chapter("trial").decide("C1a", conditions)
    claim = ledger.claims()["C1a"]
    criteria = {**claim.criteria, "ratio": replace(claim.criteria["ratio"], partial=True)}
    monkeypatch.setitem(ledger.claims(), "C1a", replace(claim, criteria=criteria))
    assert ledger.Chapter("trial").decide("C1a", conditions).places == {
        "here": "holds",
        "there": "holds",
    }


def test_a_place_that_turns_round_is_drift_and_one_that_wavers_is_not():
    then = {"C2": {"verdict": "holds", "places": {"a": "holds", "b": "holds"}}}
    now = {"C2": {"verdict": "holds", "places": {"a": "undecided here", "b": "fails"}}}
    assert list(ledger._verdict_drift(now, then)) == ["C2, b: fails, was holds"]


def test_every_criterion_that_votes_describes_both_controls():
    lacking = [
        f"{claim.id}, {name}"
        for claim in ledger.claims().values()
        for name, criterion in claim.criteria.items()
        if criterion.votes and set(criterion.controls) != {"positive", "negative"}
    ]
    assert lacking == []
