"""The ledger: claims with rules fixed before the run, computed verdicts, and drift.

``claims.json`` holds every claim with its estimand, its rule and what it speaks over: its
*quantifier*. A chapter opens a `Chapter`, shows the cards of its claims, records numbers, runs
the controls of a rule, decides each claim from measured values, and closes; closing writes
``<chapter>.json`` and compares it with the committed reference.

A claim is judged at *places* (a task, a method, a shift). Each holds, fails or stays undecided,
all at once by Holm's correction: 2.5% for a false "holds" anywhere in a claim, as much for a
false "fails", as far as its intervals are those of a normal or a Student's t. A criterion that
repeats a theorem, or could not fail, is shown and does not vote, though the claim fails if it
misses; a claim without a vote is a theorem, and *proved*. From a shell::

    python -m elkutils.ledger compare FOLDER   # list drift; exit status 1 if there is any
    python -m elkutils.ledger accept FOLDER    # make these results the reference
"""

import argparse
import html
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from elkutils import profiles
from elkutils.evaluation import Interval, PassRate, holm, p_above, p_below
from elkutils.evaluation.power import LEAST_RUNS
from elkutils.files import atomic_path

PROVED = "proved"
HOLDS = "holds"
PART = "holds in part"
FAILS = "fails"
UNDECIDED = "undecided here"
NOT_EXAMINED = "not yet examined"
NO_POWER = "no power"  # of a criterion that fails a control

ALPHA = 0.025  # of each of a family's one-sided tests: an interval of 95% has two ends
LEAST_POSITIVE = 0.9  # share of its runs in which a positive control has to pass
MOST_NEGATIVE = 0.1  # and in which a negative one may

EVERYWHERE, SOMEWHERE, BY_PLACE = "everywhere", "somewhere", "by place"
QUANTIFIERS = {
    EVERYWHERE: (
        "One place where it fails refutes the claim; it holds only if every place does."
    ),
    SOMEWHERE: "One place where it holds shows the claim; it fails only if every place does.",
    BY_PLACE: (
        "Places are counted: the claim holds if every place does, holds in part if only some"
        " do, fails if none does and at least one fails, and else is undecided."
    ),
}
THEOREM = (
    "A theorem, proved in the text: a check that misses makes the claim fail, whether the"
    " theorem or the code is the reason."
)
CHECKED = "A check without a vote that misses makes the claim fail, too."

_SHOWN = 4  # rows of a verdict's table that are not folded
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Criterion:
    """One quantity measured for a claim, and the values for which the claim holds.

    Attributes
    ----------
    estimand : str
    rule : str
        "above" or "below" with a number as `margin`, or "within" with [low, high].
    margin : float or list of float
    reason : str
        Why the margin is what it is.
    votes : bool
        False for what repeats a theorem or could not fail: it is shown and has no vote at a
        place, but the claim fails if it misses.
    controls : dict of str to str
        "positive" and "negative": things that should pass and should not.
    partial : bool
        Whether it is measured at some places of its claim only; else a place without it raises.

    Examples
    --------
    >>> rule = Criterion("AUROC", "above", 0.7, "chance is 0.5")
    >>> print(rule)
    AUROC: at least 0.7
    >>> rule.judge(Interval(0.8, 0.75, 0.85)), rule.judge(Interval(0.8, 0.65, 0.95))
    ('holds', 'undecided here')
    """

    estimand: str
    rule: str
    margin: float | list[float]
    reason: str
    votes: bool = True
    controls: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False

    def judge(self, value: Interval, places: int = 1) -> str:
        """Return "holds", "fails" or "undecided here" for one interval, taken by itself.

        An end exactly on the margin counts as holding. With `places`, the interval has to pass
        at the level of Holm's first step over as many.
        """
        return _outcome(
            min(1.0, places * self.p_holds(value)), min(1.0, places * self.p_fails(value))
        )

    def p_holds(self, value: Interval) -> float:
        """Return the p-value against "it does not hold": small if the value is inside."""
        low, high = self.bounds
        return max(p_above(value, low), p_below(value, high))

    def p_fails(self, value: Interval) -> float:
        """Return the p-value against "it holds": small if the value is outside."""
        low, high = self.bounds
        if value.level >= 1:  # an end on the margin is inside
            return 0.0 if value.upper < low or value.lower > high else 1.0
        sides = [p_below(value, low)] if math.isfinite(low) else []
        sides += [p_above(value, high)] if math.isfinite(high) else []
        return min(1.0, len(sides) * min(sides))

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that hold.

        Examples
        --------
        >>> Criterion("ECE", "within", [0.0, 0.05], "").bounds
        (0.0, 0.05)
        """
        if self.rule == "above":
            return self.margin, math.inf
        if self.rule == "below":
            return -math.inf, self.margin
        low, high = self.margin
        return low, high

    def __str__(self) -> str:
        if self.rule == "within":
            low, high = self.margin
            return f"{self.estimand}: within {low:g} and {high:g}"
        ends = {"above": "at least", "below": "at most"}
        return f"{self.estimand}: {ends[self.rule]} {self.margin:g}"


@dataclass(frozen=True)
class Claim:
    """One claim of the argument, as fixed in ``claims.json``."""

    id: str
    title: str
    words: str
    restatement: str
    estimand: str
    fails_if: str
    quantifier: str
    chapter: str
    criteria: Mapping[str, Criterion]

    @property
    def is_theorem(self) -> bool:
        """Whether it has criteria of which none votes."""
        return bool(self.criteria) and not any(c.votes for c in self.criteria.values())

    @property
    def speaks_over(self) -> str:
        """One sentence that says how the verdict follows from the places."""
        if self.is_theorem:
            return THEOREM
        checked = not all(criterion.votes for criterion in self.criteria.values())
        return QUANTIFIERS[self.quantifier] + (f" {CHECKED}" if checked else "")

    def split(self, condition: str) -> tuple[str, str]:
        """Return the criterion and the place that a condition names.

        "criterion: place"; without a colon it is the place of a claim with one criterion, and
        else the criterion at the one place there is, "".
        """
        name, colon, place = condition.partition(":")
        if len(self.criteria) == 1:
            sole = next(iter(self.criteria))
            if condition.strip() == sole:
                return sole, ""
            return sole, place.strip() if colon and name.strip() == sole else condition
        if name.strip() not in self.criteria:
            raise ValueError(
                f"condition {condition!r} of {self.id} names no criterion; before its colon "
                f"there has to be one of {list(self.criteria)}"
            )
        return name.strip(), place.strip()

    def criterion(self, condition: str) -> Criterion:
        """Return what `condition` is judged by."""
        return self.criteria[self.split(condition)[0]]


@cache
def claims() -> Mapping[str, Claim]:
    """Return all claims by their ids, in the order of the argument.

    Examples
    --------
    >>> claims()["C0"].id
    'C0'
    """
    entries = json.loads((_PACKAGE / "claims.json").read_text(encoding="utf-8"))
    for entry in entries:
        entry["criteria"] = {k: Criterion(**v) for k, v in entry["criteria"].items()}
    return {entry["id"]: Claim(**entry) for entry in entries}


@dataclass(frozen=True)
class Controls:
    """How often a criterion passed what it should pass, and what it should not.

    Attributes
    ----------
    positive, negative : PassRate
    """

    positive: PassRate
    negative: PassRate

    @property
    def good(self) -> bool:
        """Whether the criterion has power: the one passes, the other does not."""
        passes = self.positive.rate >= LEAST_POSITIVE
        return passes and self.negative.rate <= MOST_NEGATIVE

    def __str__(self) -> str:
        told = f"positive control passes in {self.positive}, negative in {self.negative}"
        return told if self.good else f"{told}: the rule has no power and does not judge"


@dataclass(frozen=True)
class Verdict:
    """A verdict, and the outcome of each condition it was computed from.

    Attributes
    ----------
    conditions : dict of str to str
        The outcome of each condition by itself.
    values : dict of str to Interval
        What was measured, each by itself.
    controls : dict of str to Controls
        By criterion.
    places : dict of str to str
        The outcome of each place where something votes, all places at once.
    """

    id: str
    verdict: str
    conditions: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Interval] = field(default_factory=dict)
    note: str = ""
    controls: Mapping[str, Controls] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """The counts of places, where there are several, and the names of the fewest kinds."""
        total = len(self.places)
        if total < 2:
            return ""
        parts = []
        for outcome, word in ((HOLDS, "holds"), (FAILS, "fails"), (UNDECIDED, "undecided")):
            names = [place for place, found in self.places.items() if found == outcome]
            if names:
                listed = f" ({'; '.join(names)})" if len(names) <= 4 < total else ""
                listed = f" ({'; '.join(names)})" if total <= 4 else listed
                parts.append(f"{word} at {len(names)}{listed}")
        return f"of {total} places {', '.join(parts)}"

    def __str__(self) -> str:
        told = "; ".join(part for part in (self.told, self.note) if part)
        return f"{self.id}: {self.verdict}{_tail(told)}"

    def __repr__(self) -> str:
        lines = [str(self)]
        if self.values:
            lines.append("  Measured: value → outcome by itself")
        claim = claims()[self.id]
        for name, value in self.values.items():
            shown = "" if claim.criterion(name).votes else " (shown, no vote)"
            lines.append(f"  {name}: {_show(value)} → {self.conditions[name]}{shown}")
        lines += [f"  {name}: {controls}" for name, controls in self.controls.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        claim = claims()[self.id]
        rows = []
        for name, value in self.values.items():
            criterion = claim.criterion(name)
            outcome = self.conditions[name] + ("" if criterion.votes else " · shown, no vote")
            rows.append((name, _show(value), _rule_text(criterion), outcome))
        title = html.escape(f"{self.id} · {claim.title}: {self.verdict}")
        told = "; ".join(part for part in (self.told, self.note) if part)
        header = ("Measured", "Value", "Holds if", "Outcome by itself")
        table = _html_table(f"What decides {self.id}", header, rows)
        few = " open" if len(rows) <= _SHOWN else ""
        return (
            f"<p><b>{title}</b>{html.escape(_tail(told))}</p><details{few}><summary>"
            f"What was measured</summary>{table}</details>{self._controls_html()}"
        )

    def _controls_html(self) -> str:
        if not self.controls:
            return ""
        rates = "; ".join(
            f"{name} {found.positive} and {found.negative}"
            + ("" if found.good else " (no power: the rule does not judge)")
            for name, found in self.controls.items()
        )
        return f"<p>Positive and negative controls pass: {html.escape(rates)}.</p>"


@dataclass(frozen=True)
class Cards:
    """Claim cards, shown as a list in a notebook."""

    claims: tuple[Claim, ...]

    def __repr__(self):
        return "\n\n".join(_card_text(claim) for claim in self.claims)

    def _repr_html_(self):
        before = (None, *(claim.words for claim in self.claims))
        pairs = zip(self.claims, before, strict=False)
        return "".join(_card_html(claim, claim.words != words) for claim, words in pairs)


@dataclass(frozen=True)
class Closing:
    """The verdicts of a chapter, and where it drifted from the committed reference."""

    chapter: str
    verdicts: tuple[Verdict, ...]
    drift: tuple[str, ...]
    compared: str

    def __repr__(self):
        lines = [str(verdict) for verdict in self.verdicts]
        return "\n".join([*lines, self.compared, *self.drift])

    def _repr_html_(self):
        rows = [(v.id, claims()[v.id].title, v.verdict, _beside(v)) for v in self.verdicts]
        caption = "Verdicts of this chapter, computed from the run above"
        table = _html_table(caption, ("Claim", "In short", "Verdict", "Where"), rows)
        drift = "".join(f"<li>{html.escape(line)}</li>" for line in self.drift)
        return f"{table}<p>{html.escape(self.compared)}</p>" + (
            f"<ul>{drift}</ul>" if drift else ""
        )


@dataclass(frozen=True)
class Table:
    """All claims with the verdicts so far."""

    rows: tuple[tuple[str, str, str, str], ...]

    def __repr__(self):
        return "\n".join("  ".join(cell for cell in row if cell) for row in self.rows)

    def _repr_html_(self):
        caption = "The claims, with the verdicts so far"
        return _html_table(caption, ("Claim", "In short", "Verdict", "Where"), self.rows)


class Chapter:
    """The record of one chapter's run.

    Parameters
    ----------
    name : str
        The chapter's file name without its ending, such as "difference-in-means".
    """

    def __init__(self, name: str):
        self.name = name
        self._numbers = {}
        self._verdicts = {}
        self._controls = {}

    def card(self, *ids: str) -> Cards:
        """Return the cards of these claims; a notebook shows them."""
        return Cards(tuple(_claim(id) for id in ids))

    def number(self, name: str, value: float, tolerance: float) -> float:
        """Record a key number and the tolerance for another run; return the number."""
        value, tolerance = float(value), float(tolerance)
        if not (math.isfinite(value) and math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(
                f"number {name!r} is {value} with tolerance {tolerance}; both have to be "
                "finite, and the tolerance at least 0"
            )
        self._numbers[name] = {"value": value, "tolerance": tolerance}
        return value

    def control(
        self, id: str, criterion: str, positive: PassRate, negative: PassRate
    ) -> Controls:
        """Record how often a criterion's controls passed; call it before `decide`.

        Parameters
        ----------
        id, criterion : str
            Of ``claims.json``, which describes both controls.
        positive, negative : PassRate
            From `elkutils.evaluation.pass_rate`.

        Raises
        ------
        ValueError
            If the criterion is not there or describes no controls, or for too few runs.
        """
        claim = _claim(id)
        if criterion not in claim.criteria or not claim.criteria[criterion].controls:
            described = [name for name, c in claim.criteria.items() if c.controls]
            raise ValueError(
                f"criterion {criterion!r} of {id} has no controls; those with controls are"
                f" {described}"
            )
        if min(positive.runs, negative.runs) < LEAST_RUNS:
            raise ValueError(
                f"the controls have {positive.runs} and {negative.runs} runs; they need"
                f" {LEAST_RUNS}"
            )
        found = Controls(positive, negative)
        self._controls.setdefault(id, {})[criterion] = found
        return found

    def decide(
        self, id: str, conditions: Mapping[str, Interval | float], note: str = ""
    ) -> Verdict:
        """Compute the verdict on a claim by its rule.

        Parameters
        ----------
        id : str
        conditions : dict of str to Interval or float
            What was measured, by name: "criterion: place", "criterion" where there is one
            place, or "place" where there is one criterion. A number counts as known without
            error.
        note : str
            A few words to stand beside the verdict.

        Returns
        -------
        Verdict
            A place holds if all its criteria that vote do, and fails if one of them does; all
            places are judged at once, with Holm's correction. The claim's quantifier says what
            follows for the claim.

        Raises
        ------
        ValueError
            If the claim has no criteria, a condition names none of them, a criterion was left
            out, altogether or at one place, a value is NaN, or controls that ``claims.json``
            describes were not run.
        """
        claim = _claim(id)
        if not claim.criteria:
            raise ValueError(
                f"{id} has no criteria yet; fix them in claims.json before the run"
            )
        if not conditions:
            raise ValueError(
                f"conditions of {id} is empty; it has to hold at least one measured value"
            )
        values = {name: _interval(name, value) for name, value in conditions.items()}
        used = {claim.split(name)[0] for name in values}
        missing = [name for name in claim.criteria if name not in used]
        if missing:
            raise ValueError(f"conditions of {id} leaves out the criteria {missing}")
        controls = self._controls.get(id, {})
        due = [
            name for name, c in claim.criteria.items() if c.controls and name not in controls
        ]
        if due:
            raise ValueError(f"the controls of {id}'s criteria {due} have not been run")
        powerless = {name for name, found in controls.items() if not found.good}
        _check_places(claim, values)
        outcomes = _outcomes(claim, values, powerless)
        places = _places(claim, values, powerless)
        checks = _places(claim, values, powerless, votes=False)
        verdict = _combine(claim, places, checks)
        self._verdicts[id] = Verdict(id, verdict, outcomes, values, note, controls, places)
        return self._verdicts[id]

    def close(self) -> Closing:
        """Write the chapter's results and compare them with the committed reference.

        The file goes to the folder named by ``ELKUTILS_RESULTS``, or ``results`` in the
        current one; where that is the reference itself, as for a notebook that runs in
        ``book``, to ``_build/results``. Drift is shown, not raised: the command line turns it
        into a status.
        """
        found = {
            "chapter": self.name,
            "profile": profiles.active(),
            "numbers": self._numbers,
            "verdicts": {id: _record(v) for id, v in self._verdicts.items()},
        }
        folder = Path(os.environ.get("ELKUTILS_RESULTS") or "results")
        if folder.resolve() == reference_dir().resolve():
            folder = reference_dir().parents[1] / "_build" / "results"
        with atomic_path(folder / f"{self.name}.json") as path:
            path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        reference = _read(reference_dir() / f"{self.name}.json")
        verdicts = tuple(self._verdicts.values())
        return Closing(self.name, verdicts, *_compare(found, reference))


def verdicts() -> dict[str, Verdict]:
    """Return the verdict of each claim from the committed reference results.

    In the order of the argument; without conditions where no chapter has examined it. What was
    measured is in `values`; the controls stay in the files.
    """
    found = {}
    for path in sorted(reference_dir().glob("*.json")):
        for id, record in _read(path)["verdicts"].items():
            outcomes, values = {}, {}
            for name, measured in record["conditions"].items():
                outcomes[name] = measured.pop("outcome")
                values[name] = Interval(**measured)
            verdict, note = record["verdict"], record["note"]
            places = record.get("places", {})
            found[id] = Verdict(id, verdict, outcomes, values, note, places=places)
    return {id: found.get(id, Verdict(id, NOT_EXAMINED)) for id in claims()}


def table() -> Table:
    """Return all claims with their verdicts from the committed reference results."""
    return Table(
        tuple((id, claims()[id].title, v.verdict, _beside(v)) for id, v in verdicts().items())
    )


def reference_dir() -> Path:
    """Return the folder of the committed results: in the wheel, or in the repository."""
    shipped = _PACKAGE / "results"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "book" / "results"


def recorded_run(name: str) -> dict:
    """Return a recorded run: what ``book/results/recorded/<name>.json`` holds."""
    path = reference_dir() / "recorded" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def compare(folder: str | Path) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return, for each chapter's results in `folder`, the drift and what was compared."""
    outcome = {}
    for path in _results(folder):
        outcome[path.stem] = _compare(_read(path), _read(reference_dir() / path.name))
    return outcome


def accept(folder: str | Path) -> list[Path]:
    """Copy the results in `folder` over the committed reference; return the new files."""
    accepted = []
    for path in _results(folder):
        profile = _read(path)["profile"]
        if profile != "book":
            raise ValueError(
                f"{path.name} has the profile {profile!r}; a reference has to have 'book'"
            )
        with atomic_path(reference_dir() / path.name) as fresh:
            shutil.copyfile(path, fresh)
        accepted.append(reference_dir() / path.name)
    return accepted


def _compare(found, reference) -> tuple[tuple[str, ...], str]:
    if reference is None:
        return (), "There are no committed results of this chapter to compare with."
    if found["profile"] != reference["profile"]:
        return (), (
            f"Not compared: this run has the profile {found['profile']}, the committed results "
            f"the profile {reference['profile']}."
        )
    drift = [*_number_drift(found["numbers"], reference["numbers"])]
    drift += _verdict_drift(found["verdicts"], reference["verdicts"])
    if drift:
        return tuple(drift), "Drift from the committed results:"
    return (), "Every number and verdict agrees with the committed results."


def _number_drift(found, reference):
    for name in {**reference, **found}:
        if name not in found:
            yield f"{name}: in the committed results only"
        elif name not in reference:
            yield f"{name}: in this run only"
        else:
            now, then = found[name]["value"], reference[name]["value"]
            tolerance = reference[name]["tolerance"]
            if abs(now - then) > tolerance:
                yield f"{name}: {now:.6g}, was {then:.6g} (tolerance {tolerance:.2g})"


def _verdict_drift(found, reference):
    for id in {**reference, **found}:
        now = found.get(id, {}).get("verdict", "nothing")
        then = reference.get(id, {}).get("verdict", "nothing")
        if now != then:
            yield f"{id}: {now}, was {then}"
        yield from _place_drift(
            id, found.get(id, {}).get("places", {}), reference.get(id, {}).get("places", {})
        )
        yield from _control_drift(
            id, found.get(id, {}).get("controls", {}), reference.get(id, {}).get("controls", {})
        )


def _place_drift(id, found, reference):
    """A place that comes, goes or turns round; one that becomes undecided is no drift."""
    for place in {**reference, **found}:
        if place not in found or place not in reference:
            where = "this run" if place in found else "the committed results"
            yield f"{id}, {place or 'its place'}: in {where} only"
        elif {found[place], reference[place]} == {HOLDS, FAILS}:
            yield f"{id}, {place}: {found[place]}, was {reference[place]}"


def _control_drift(id, found, reference):
    """A rate may differ by four standard errors of the difference of two such shares."""
    for name in {**reference, **found}:
        if name not in found or name not in reference:
            where = "this run" if name in found else "the committed results"
            yield f"{id}, controls of {name}: in {where} only"
            continue
        for sign, now in found[name].items():
            then = reference[name][sign]
            rates = [each["passes"] / each["runs"] for each in (now, then)]
            share = sum(rates) / 2
            error = math.sqrt(
                max(share * (1 - share), 0.01) * (1 / now["runs"] + 1 / then["runs"])
            )
            if abs(rates[0] - rates[1]) > 4 * error:
                yield f"{id}, {sign} control of {name}: {rates[0]:.0%}, was {rates[1]:.0%}"


def _check_places(claim: Claim, values) -> None:
    """Raise if a place lacks a criterion that votes and is not partial."""
    found = {}
    for name in values:
        criterion, place = claim.split(name)
        if claim.criteria[criterion].votes:
            found.setdefault(place, set()).add(criterion)
    due = {name for name, c in claim.criteria.items() if c.votes and not c.partial}
    lacking = {place: sorted(due - there) for place, there in found.items() if due - there}
    if lacking:
        raise ValueError(
            f"conditions of {claim.id} lack criteria at some places, {lacking}; measure them"
            ' there, or mark the criterion "partial" in claims.json'
        )


def _outcomes(claim: Claim, values, powerless) -> dict[str, str]:
    """The outcome of each condition by itself."""
    return {
        name: NO_POWER
        if claim.split(name)[0] in powerless
        else claim.criterion(name).judge(value)
        for name, value in values.items()
    }


def _outcome(p_holds: float, p_fails: float) -> str:
    """What two p-values come to; an end exactly on the margin counts as on the right side."""
    if p_holds <= ALPHA * (1 + 1e-9):
        return HOLDS
    return FAILS if p_fails < ALPHA * (1 - 1e-9) else UNDECIDED


def _places(claim: Claim, values, powerless, votes: bool = True) -> dict[str, str]:
    """The outcome of each place, all at once, by what votes or by what does not.

    A place holds if all its criteria do, so its p-value is their largest; it fails if one does,
    so its p-value is their smallest, times their number. Holm's correction runs over places.
    """
    places = {}
    for name, value in values.items():
        criterion, place = claim.split(name)
        rule = claim.criteria[criterion]
        if rule.votes != votes:
            continue
        holds, fails = places.setdefault(place, ([], []))
        if criterion in powerless:
            holds.append(1.0)
        else:
            holds.append(rule.p_holds(value))
            fails.append(rule.p_fails(value))
    held = holm([max(holds) for holds, _ in places.values()])
    failed = holm(
        [min(1.0, len(fails) * min(fails)) if fails else 1.0 for _, fails in places.values()]
    )
    pairs = zip(held, failed, strict=True)
    return {place: _outcome(*pair) for place, pair in zip(places, pairs, strict=True)}


def _combine(claim: Claim, places, checks) -> str:
    """The verdict that follows from the places, and from the checks that do not vote."""
    checked, outcomes = set(checks.values()), set(places.values())
    if FAILS in checked:
        return FAILS
    if claim.is_theorem:
        return PROVED if checked == {HOLDS} else UNDECIDED
    held, failed = HOLDS in outcomes, FAILS in outcomes
    if outcomes == {HOLDS}:
        return HOLDS
    if claim.quantifier == SOMEWHERE:
        return HOLDS if held else FAILS if outcomes == {FAILS} else UNDECIDED
    if claim.quantifier == EVERYWHERE:
        return FAILS if failed else UNDECIDED
    return PART if held else FAILS if failed else UNDECIDED


def _beside(verdict: Verdict) -> str:
    return "; ".join(part for part in (verdict.told, verdict.note) if part)


def _interval(name, value) -> Interval:
    if not isinstance(value, Interval):
        value = Interval(float(value), float(value), float(value), 1.0)
    ends = float(value.estimate), float(value.lower), float(value.upper)
    if not (all(map(math.isfinite, ends)) and ends[1] <= ends[2] and 0 < value.level <= 1):
        raise ValueError(
            f"condition {name!r} is {value} at level {value.level}; it has to be a number, or"
            " finite ends in order at a level in (0, 1]"
        )
    return Interval(*ends, float(value.level), float(value.df))


def _record(verdict):
    conditions = {
        name: {**_plain(value), "outcome": verdict.conditions[name]}
        for name, value in verdict.values.items()
    }
    controls = {name: asdict(found) for name, found in verdict.controls.items()}
    return {
        "verdict": verdict.verdict,
        "conditions": conditions,
        "note": verdict.note,
        "controls": controls,
        "places": dict(verdict.places),
    }


def _plain(value: Interval) -> dict[str, float]:
    """An interval as JSON has it: without degrees of freedom where it has none."""
    return {k: v for k, v in asdict(value).items() if math.isfinite(v)}


def _claim(id) -> Claim:
    if id not in claims():
        raise ValueError(f"there is no claim {id!r}; the claims are {', '.join(claims())}")
    return claims()[id]


def _read(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _results(folder):
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise ValueError(f"the folder {str(folder)!r} holds no results (*.json)")
    return paths


def _tail(text):
    return f" ({text})" if text else ""


def _show(value: Interval) -> str:
    if value.lower == value.upper:
        return f"{value.estimate:.4g}"
    return f"{value.estimate:.4g} [{value.lower:.4g}, {value.upper:.4g}]"


def _rule_text(criterion) -> str:
    return str(criterion).removeprefix(f"{criterion.estimand}: ")


def _card_text(claim) -> str:
    lines = [f"{claim.id} · {claim.title}", f"  The words: “{claim.words}”"]
    lines.append(f"  Restated: {claim.restatement}")
    lines += [f"  {name}: {text}" for name, text in _card_rules(claim)]
    return "\n".join(lines)


def _card_rules(claim):
    yield "Measured", claim.estimand
    for name, criterion in claim.criteria.items():
        shown = "Holds if" if criterion.votes else "Shown, without a vote"
        where = " It is measured at some places only." if criterion.partial else ""
        yield f"{shown} ({name})", f"{criterion}. {criterion.reason}{where}"
        for sign, text in criterion.controls.items():
            yield f"{sign.capitalize()} control ({name})", text
    label = "A place fails if" if claim.quantifier == BY_PLACE else "Fails if"
    yield label, f"{claim.fails_if} {claim.speaks_over}"


def _card_html(claim, with_words):
    words = f"<p>The words: “{html.escape(claim.words)}”</p>" if with_words else ""
    title, restated = html.escape(f"{claim.id} · {claim.title}"), html.escape(claim.restatement)
    rules = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in _card_rules(claim)
    )
    return (
        f"{words}<p><b>{title}.</b> {restated}</p>"
        f"<details><summary>How {claim.id} is decided</summary><dl>{rules}</dl></details>"
    )


def _html_table(caption, header, rows) -> str:
    label = html.escape(caption)
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div style="overflow-x: auto" role="region" tabindex="0" aria-label="{label}">'
        f'<table class="ledger"><caption style="caption-side: top">{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m elkutils.ledger")
    parser.add_argument("action", choices=("compare", "accept"))
    parser.add_argument("folder", help="the results of a run, one JSON file per chapter")
    options = parser.parse_args(arguments)
    try:
        if options.action == "accept":
            for path in accept(options.folder):
                print(f"accepted {path.name}")
            return 0
        compared_by_chapter = compare(options.folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    drifted = False
    for chapter, (drift, compared) in compared_by_chapter.items():
        print(f"{chapter}: {compared}")
        for line in drift:
            print(f"  {line}")
        drifted = drifted or bool(drift)
    return int(drifted)


if __name__ == "__main__":
    sys.exit(main())
