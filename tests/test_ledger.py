import json
from dataclasses import replace

import pytest

from elkutils import ledger
from elkutils.evaluation import Interval

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


@pytest.mark.parametrize(
    ("slope", "ratio", "verdict"),
    [
        (1.0, 1.0, "holds"),
        (2.0, 3.0, "fails"),
        (1.0, 3.0, "holds with a condition"),
        (1.0, interval(0.5, 1.5), "holds with a condition"),
        (2.0, interval(0.5, 1.5), "undecided here"),
        (interval(0.5, 1.5), interval(0.5, 1.5), "undecided here"),
    ],
)
def test_conditions_combine_into_a_verdict(slope, ratio, verdict):
    decided = ledger.Chapter("trial").decide("C1a", {"slope": slope, "ratio": ratio})
    assert decided.verdict == verdict


@pytest.mark.parametrize(
    ("here", "there", "verdict"),
    [
        ((1.0, 1.0), (1.0, 1.0), "holds"),
        ((1.0, 1.0), (1.0, 9.0), "holds with a condition"),
        ((1.0, 9.0), (9.0, 1.0), "fails"),
        ((1.0, 9.0), (1.0, interval(0, 2)), "undecided here"),
        ((1.0, interval(0, 2)), (1.0, interval(0, 2)), "undecided here"),
        ((interval(0, 2), 9.0), (9.0, 1.0), "fails"),
    ],
)
def test_every_criterion_has_to_hold_in_a_place(here, there, verdict):
    conditions = {}
    for place, (slope, ratio) in (("here", here), ("there", there)):
        conditions |= {f"slope: {place}": slope, f"ratio: {place}": ratio}
    assert ledger.Chapter("trial").decide("C1a", conditions).verdict == verdict


def test_a_condition_names_its_criterion_before_the_colon():
    chapter = ledger.Chapter("trial")
    decided = chapter.decide("C1a", {"slope: here": 1.0, "slope: there": 2.0, "ratio": 1.0})
    assert decided.verdict == "holds with a condition"
    assert "fails: there (slope)" in str(decided)
    with pytest.raises(ValueError, match="names no criterion"):
        chapter.decide("C1a", {"speed": 1.0})


def test_no_criterion_may_be_left_out():
    with pytest.raises(ValueError, match=r"leaves out the criteria .*ratio"):
        ledger.Chapter("trial").decide("C1a", {"slope": 1.0})


def test_one_criterion_takes_any_condition_name():
    decided = ledger.Chapter("trial").decide("C11a", {"cities": 0.0, "elements": 0.01})
    assert decided.verdict == "holds"


@pytest.mark.parametrize(
    ("id", "conditions", "match"),
    [
        ("C99", HOLDS, "no claim"),
        ("C1a", {}, "empty"),
        ("C1a", {"slope": float("nan"), "ratio": 1.0}, "has to be a number"),
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
    assert found["verdicts"]["C1a"]["verdict"] == "holds"
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
    assert changed.drift == ("C1a: fails, was holds",)


def test_numbers_and_verdicts_that_come_or_go_are_drift(places):
    run()
    ledger.accept(places / "run")
    chapter = ledger.Chapter("trial")
    chapter.number("width", 1, 0.1)
    assert chapter.close().drift == (
        "height: in the committed results only",
        "width: in this run only",
        "C1a: nothing, was holds",
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
    assert verdicts.pop("C1a") == "holds with a condition"
    assert set(verdicts.values()) == {"not yet examined"}


def test_every_claim_of_the_argument_is_there():
    expected = ["C0"] + [f"C1{part}" for part in "abcde"] + ["C2", "C3", "C4"]
    expected += [f"C5{part}" for part in "abcd"] + [f"C6{part}" for part in "abcdefg"]
    expected += ["C7", "C8", "C9", "C10"] + [f"C11{part}" for part in "abc"]
    expected += [f"C12{part}" for part in "abcde"] + [f"C13{part}" for part in "abc"]
    expected += ["C14", "C15a", "C15b", "C15c", "C16", "C17"]
    assert list(ledger.claims()) == expected


@pytest.mark.parametrize("claim", ledger.claims().values(), ids=lambda claim: claim.id)
def test_a_claim_says_what_decides_it(claim):
    for text in (claim.title, claim.words, claim.restatement, claim.estimand, claim.fails_if):
        assert text
    assert bool(claim.criteria) == bool(claim.chapter)
    for criterion in claim.criteria.values():
        low, high = criterion.bounds
        assert low < high
        assert criterion.reason


def test_what_is_shown_is_escaped(places):
    decided = ledger.Chapter("trial").decide("C11a", {"a<b": 0.0})
    assert "a&lt;b" in decided._repr_html_()
    assert "a<b" not in decided._repr_html_()
    assert "a<b" in repr(decided)


@pytest.mark.parametrize("words", [("C1a", "C1b"), ("C1a", "C2")])
def test_cards_show_the_words_and_the_margin(words):
    cards = ledger.Chapter("trial").card(*words)
    for text in (cards._repr_html_(), repr(cards)):
        assert all(ledger.claims()[id].words in text for id in words)
        assert "within 0.98 and 1.02" in text


def test_the_closing_table_names_the_condition(places):
    closing = run(conditions={"slope": 1.0, "ratio": 5.0})
    for text in (closing._repr_html_(), repr(closing)):
        assert "holds with a condition" in text
        assert "fails: ratio" in text


def test_a_reference_is_found_in_the_repository_or_the_package():
    assert ledger.reference_dir().name == "results"
