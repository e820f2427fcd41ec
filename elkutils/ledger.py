"""The ledger: claims with rules fixed before the run, computed verdicts, and drift.

``claims.json`` holds every claim with its estimand, margin and rule. A chapter opens a
`Chapter`, shows the cards of its claims, records numbers, decides each claim from measured
values, and closes; closing writes ``<chapter>.json`` and compares it with the committed
reference. From a shell::

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
from elkutils.evaluation import Interval
from elkutils.files import atomic_path

HOLDS = "holds"
CONDITION = "holds with a condition"
FAILS = "fails"
UNDECIDED = "undecided here"
NOT_EXAMINED = "not yet examined"

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Criterion:
    """One quantity measured for a claim, and the values for which the claim holds.

    Parameters
    ----------
    estimand : str
        The quantity, in words.
    rule : "above", "below" or "within"
    margin : float, or [low, high] for "within"
        Values on the margin hold.
    reason : str
        Why the margin is where it is.

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

    def judge(self, value: Interval) -> str:
        """Return "holds", "fails" or, if the interval straddles the margin, "undecided here".

        An end exactly on the margin counts as holding.
        """
        low, high = self.bounds
        if low <= value.lower and value.upper <= high:
            return HOLDS
        if value.upper < low or value.lower > high:
            return FAILS
        return UNDECIDED

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

    def __str__(self):
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
    chapter: str
    criteria: Mapping[str, Criterion]

    def criterion(self, condition: str) -> Criterion:
        """Return the criterion that judges `condition`: the one named before its colon."""
        if len(self.criteria) == 1:
            return next(iter(self.criteria.values()))
        name = condition.split(":")[0].strip()
        if name not in self.criteria:
            raise ValueError(
                f"condition {condition!r} of {self.id} names no criterion; before its colon "
                f"there has to be one of {list(self.criteria)}"
            )
        return self.criteria[name]


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
class Verdict:
    """A verdict and the outcome of each condition that it was computed from."""

    id: str
    verdict: str
    conditions: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Interval] = field(default_factory=dict)
    note: str = ""

    def __str__(self):
        return f"{self.id}: {self.verdict}{_tail(self._named())}{_tail(self.note)}"

    def _named(self) -> str:
        """Return the places where a claim with a condition does not hold, and the criteria."""
        if self.verdict != CONDITION:
            return ""
        parts = []
        for place, outcomes in _by_place(self.conditions).items():
            outcome = _worst(outcomes.values())
            if outcome != HOLDS:
                criteria = [name for name, o in outcomes.items() if name and o == outcome]
                parts.append(f"{outcome}: {place}{_tail(', '.join(criteria))}")
        return "; ".join(parts)

    def __repr__(self):
        lines = [str(self)]
        for name, value in self.values.items():
            lines.append(f"  {name}: {_show(value)} → {self.conditions[name]}")
        return "\n".join(lines)

    def _repr_html_(self):
        claim = claims()[self.id]
        rows = [
            (name, _show(value), _rule_text(claim.criterion(name)), self.conditions[name])
            for name, value in self.values.items()
        ]
        caption = f"{self.id} · {claim.title}: {self.verdict}"
        if self.note:
            caption += f" ({self.note})"
        return _html_table(caption, ("Measured", "Value", "Holds if", "Outcome"), rows)


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
        rows = [
            (v.id, claims()[v.id].title, v.verdict, f"{v._named()} {v.note}".strip())
            for v in self.verdicts
        ]
        caption = "Verdicts of this chapter, computed from the run above"
        table = _html_table(caption, ("Claim", "In short", "Verdict", "Condition"), rows)
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
        return _html_table(caption, ("Claim", "In short", "Verdict", "Condition"), self.rows)


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

    def decide(
        self, id: str, conditions: Mapping[str, Interval | float], note: str = ""
    ) -> Verdict:
        """Compute the verdict on a claim by its rule.

        Parameters
        ----------
        id : str
            The claim.
        conditions : mapping of str to Interval or float
            The measured values, by name. Each is judged by the claim's criterion; if there are
            several, a condition is called "criterion" or "criterion: where". A number without
            an interval counts as an interval of width 0.
        note : str
            A few words to show beside the verdict.

        Returns
        -------
        Verdict
            Conditions with the same words after the colon are one place, which holds if all of
            them hold and fails if one of them fails. The verdict is "holds" if every place
            holds, "fails" if every place fails, "holds with a condition" if some hold and
            others do not, and otherwise "undecided here".

        Raises
        ------
        ValueError
            If the claim has no criteria, a condition names none of them, a criterion was left
            out, or a value is NaN.
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
        used = [claim.criterion(name) for name in values]
        missing = [name for name, c in claim.criteria.items() if c not in used]
        if missing:
            raise ValueError(f"conditions of {id} leaves out the criteria {missing}")
        outcomes = {
            name: criterion.judge(value)
            for (name, value), criterion in zip(values.items(), used, strict=True)
        }
        self._verdicts[id] = Verdict(id, _combine(outcomes), outcomes, values, note)
        return self._verdicts[id]

    def close(self) -> Closing:
        """Write the chapter's results and compare them with the committed reference.

        The file goes to the folder named by ``ELKUTILS_RESULTS``, or ``results`` in the
        current one. Drift is shown, not raised: the command line turns it into a status.
        """
        found = {
            "chapter": self.name,
            "profile": profiles.active(),
            "numbers": self._numbers,
            "verdicts": {id: _record(v) for id, v in self._verdicts.items()},
        }
        folder = Path(os.environ.get("ELKUTILS_RESULTS") or "results")
        with atomic_path(folder / f"{self.name}.json") as path:
            path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        reference = _read(reference_dir() / f"{self.name}.json")
        verdicts = tuple(self._verdicts.values())
        return Closing(self.name, verdicts, *_compare(found, reference))


def table() -> Table:
    """Return all claims with their verdicts from the committed reference results."""
    verdicts = {}
    for path in sorted(reference_dir().glob("*.json")):
        for id, record in _read(path)["verdicts"].items():
            conditions = {name: c["outcome"] for name, c in record["conditions"].items()}
            verdicts[id] = Verdict(id, record["verdict"], conditions, note=record["note"])
    rows = []
    for id, claim in claims().items():
        verdict = verdicts.get(id, Verdict(id, NOT_EXAMINED))
        told = f"{verdict._named()} {verdict.note}".strip()
        rows.append((id, claim.title, verdict.verdict, told))
    return Table(tuple(rows))


def reference_dir() -> Path:
    """Return the folder of the committed results: in the wheel, or in the repository."""
    shipped = _PACKAGE / "results"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "book" / "results"


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
        _read(path)
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


def _combine(conditions) -> str:
    outcomes = {_worst(place.values()) for place in _by_place(conditions).values()}
    if len(outcomes) == 1:
        return outcomes.pop()
    return CONDITION if HOLDS in outcomes else UNDECIDED


def _worst(outcomes) -> str:
    """Return the outcome of a place: it holds only if every criterion does."""
    outcomes = set(outcomes)
    return next(o for o in (FAILS, UNDECIDED, HOLDS) if o in outcomes)


def _by_place(conditions) -> dict[str, dict[str, str]]:
    """Group outcomes by place and criterion; a condition without a colon is its own place."""
    places = {}
    for name, outcome in conditions.items():
        criterion, colon, place = name.partition(":")
        place, criterion = (place.strip(), criterion) if colon else (name, "")
        places.setdefault(place, {})[criterion] = outcome
    return places


def _interval(name, value) -> Interval:
    if not isinstance(value, Interval):
        value = Interval(float(value), float(value), float(value))
    if any(math.isnan(v) for v in (value.estimate, value.lower, value.upper)):
        raise ValueError(f"condition {name!r} is {value}; it has to be a number")
    return value


def _record(verdict):
    conditions = {
        name: {**asdict(value), "outcome": verdict.conditions[name]}
        for name, value in verdict.values.items()
    }
    return {"verdict": verdict.verdict, "conditions": conditions, "note": verdict.note}


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
        yield f"Holds if ({name})", f"{criterion}. {criterion.reason}"
    yield "Fails if", claim.fails_if


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
    if options.action == "accept":
        for path in accept(options.folder):
            print(f"accepted {path.name}")
        return 0
    drifted = False
    for chapter, (drift, compared) in compare(options.folder).items():
        print(f"{chapter}: {compared}")
        for line in drift:
            print(f"  {line}")
        drifted = drifted or bool(drift)
    return int(drifted)


if __name__ == "__main__":
    sys.exit(main())
