"""The argument as a map: who says what, what rests on what, and what became of it.

`show` draws the claims of the ledger as one picture, with the verdicts of the committed
results. Each box is a link to the chapter that decides it, and each mark tells its claim.
`evidence` lists the verdicts on which a sentence rests, and refuses verdicts that are no
longer so.
"""

import html
import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from elkutils import ledger

ENSEMBLE, COMMON, POSTERIOR = "An ensemble is enough", "Common ground", "A posterior pays"

MARKS = {
    ledger.PROVED: "✓",
    ledger.HOLDS: "✓",
    ledger.PART: "◐",
    ledger.FAILS: "✗",
    ledger.UNDECIDED: "?",
    ledger.NOT_EXAMINED: "○",
}
COLOURS = {  # of the theme, and those of a notebook
    "good": ("--pst-color-success", "#2a7d3f"),
    "part": ("--pst-color-warning", "#b26a00"),
    "bad": ("--pst-color-danger", "#c2352b"),
    "open": ("--pst-color-text-muted", "#6b7280"),
}
LOOKS = {
    ledger.PROVED: "good",
    ledger.HOLDS: "good",
    ledger.PART: "part",
    ledger.FAILS: "bad",
    ledger.UNDECIDED: "open",
    ledger.NOT_EXAMINED: "open",
}


@dataclass(frozen=True)
class Node:
    """One claim of the argument, with all its lettered parts.

    Attributes
    ----------
    id : str
        "C5" has the claims C5, or C5a, C5b and so on.
    says : str
        The claim as its side would put it.
    voice : str
        Who says it: `ENSEMBLE`, `COMMON` or `POSTERIOR`.
    rests_on : tuple of str
        Ids of the nodes that it uses.
    """

    id: str
    says: str
    voice: str
    rests_on: tuple[str, ...] = ()


NODES = (
    Node("C10", "Learning theory predicts that trained members are posterior draws", ENSEMBLE),
    Node("C7", "A network is an ensemble itself, so its posterior varies little", ENSEMBLE),
    Node("C5", "Trained members are draws from the posterior", ENSEMBLE, ("C10", "C7")),
    Node("C6", "N members bound what the posterior would say, down to 1/N", ENSEMBLE, ("C5",)),
    Node("C12", "Training online gives calibration and thresholds", ENSEMBLE, ("C11",)),
    Node("C17", "A posterior does not improve on an ensemble", ENSEMBLE, ("C5", "C7")),
    Node("C0", "A reporter reads truth, and better than its rivals", COMMON),
    Node("C11", "Reporters are calibrated where they were trained", COMMON, ("C0",)),
    Node(
        "C13",
        "Ranking, probabilities and doubt carry over to hard cases",
        COMMON,
        ("C11",),
    ),
    Node("C14", "Without an assumption there is no guarantee", COMMON, ("C13",)),
    Node("C15", "Easy labels cannot tell truth from what people believe", COMMON, ("C13",)),
    Node("C1", "Difference in means is a limit of the posterior", POSTERIOR),
    Node("C2", "Difference in means works well", POSTERIOR),
    Node("C3", "Bayesian logistic regression is doable", POSTERIOR, ("C1", "C2")),
    Node("C8", "The posterior of a tiny network can be drawn, and pays", POSTERIOR, ("C3",)),
    Node("C9", "A posterior over the head alone is enough", POSTERIOR, ("C8",)),
    Node(
        "C4", "We choose how probable harm has to be before it counts", POSTERIOR, ("C3", "C8")
    ),
    Node("C16", "A learned posterior bounds harm", POSTERIOR, ("C4", "C15")),
)
VOICES = ENSEMBLE, COMMON, POSTERIOR

BOX, GUTTER, MARGIN, TOP, GAP = 190, 44, 31, 34, 24  # px of the drawing
WIDE = 3 * BOX + 2 * GUTTER + 2 * MARGIN
NARROW = 340
LINE, CHIP, CHIPS = 17, 33, 24  # px of a line, of a mark, and of a row of marks
LETTER = {BOX: 7.3, NARROW: 7.6}  # px of a letter, at the font size of each drawing


@dataclass(frozen=True)
class Map:
    """The argument with verdicts, shown as a picture in a notebook and as lines elsewhere.

    Attributes
    ----------
    verdicts : mapping of str to str
        The verdict of each claim of the ledger.
    """

    verdicts: Mapping[str, str]

    def claims(self, node: Node) -> list[str]:
        """Return the ids of the claims of a node."""
        return [id for id in self.verdicts if re.fullmatch(rf"{node.id}[a-z]?", id)]

    def look(self, node: Node) -> str:
        """Return "good", "bad" or "open" where a node's verdicts agree, else "part"."""
        looks = {LOOKS[self.verdicts[id]] for id in self.claims(node)}
        return looks.pop() if len(looks) == 1 else "part"

    def told(self, node: Node) -> str:
        """Return a node's verdicts in words.

        Examples
        --------
        >>> Map({"C5a": "proved", "C5b": "fails"}).told(NODES[2])
        'C5a proved, C5b fails'
        """
        return ", ".join(f"{id} {self.verdicts[id]}" for id in self.claims(node))

    def __repr__(self) -> str:
        lines = []
        for voice in VOICES:
            lines.append(voice)
            for node in (node for node in NODES if node.voice == voice):
                lines.append(f"  {node.id} {node.says}{_rests(node)}: {self.told(node)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        drawn = f"{_wide(self)}{_narrow(self)}{_legend(self)}"
        return f'<div class="argument">{_STYLE}{drawn}</div>'


def show() -> Map:
    """Return the map of the argument, with the verdicts of the committed results."""
    return Map({id: verdict.verdict for id, verdict in ledger.verdicts().items()})


@dataclass(frozen=True)
class Evidence:
    """Verdicts on which a sentence rests, shown as links in a notebook.

    Attributes
    ----------
    verdicts : mapping of str to str
        The verdict of each claim, by its id.
    """

    verdicts: Mapping[str, str]

    def __repr__(self) -> str:
        told = (f"{id} {MARKS[verdict]} {verdict}" for id, verdict in self.verdicts.items())
        return f"Rests on {', '.join(told)}"

    def _repr_html_(self) -> str:
        items = []
        for id, verdict in self.verdicts.items():
            claim = ledger.claims()[id]
            items.append(
                f'<a class="{LOOKS[verdict]}" href="{claim.chapter}.html"'
                f' title="{html.escape(claim.title)}">{id} {MARKS[verdict]} {verdict}</a>'
            )
        style = f"<style>{_EVIDENCE_STYLE}</style>"
        return f'{style}<p class="argument evidence">Rests on {" · ".join(items)}</p>'


def evidence(**verdicts: str) -> Evidence:
    """Return the verdicts that a sentence rests on, if they are what it takes them for.

    Parameters
    ----------
    **verdicts : str
        Maps the id of a claim to the verdict that the sentence takes it to have.

    Raises
    ------
    ValueError
        If there is no such claim, or if its verdict in the committed results is another.

    Examples
    --------
    >>> evidence(C5a="proved")
    Rests on C5a ✓ proved
    """
    found = ledger.verdicts()
    for id, verdict in verdicts.items():
        if id not in found:
            raise ValueError(f"{id} is no claim of the ledger; it has {', '.join(found)}")
        if found[id].verdict != verdict:
            raise ValueError(
                f"{id} is {found[id].verdict!r}, not {verdict!r}:"
                " what rests on it has to be read and written again"
            )
    return Evidence(verdicts)


def _rests(node) -> str:
    return f" (rests on {', '.join(node.rests_on)})" if node.rests_on else ""


def _wide(found: Map) -> str:
    places, bottom = _places(found)
    ends = {node.id: node for node in NODES}
    arrows = "".join(_arrow(ends[one], node, places) for node in NODES for one in node.rests_on)
    heads = "".join(
        f'<text class="voice" x="{_left(voice) + BOX / 2}" y="18" text-anchor="middle">{voice}'
        "</text>"
        for voice in VOICES
    )
    boxes = "".join(_box(found, node, *places[node.id], BOX) for node in NODES)
    return _svg("wide", WIDE, bottom, heads + arrows + boxes)


def _narrow(found: Map) -> str:
    parts, y = [], 0
    for voice in VOICES:
        parts.append(f'<text class="voice" x="0" y="{y + 22}">{voice}</text>')
        y += TOP
        for node in (node for node in NODES if node.voice == voice):
            height = _height(found, node, NARROW, rests=True)
            parts.append(_box(found, node, 1, y, height, NARROW, rests=True))
            y += height + 10
    return _svg("narrow", NARROW + 2, y, "".join(parts))


def _svg(kind, width, height, inside) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="group" aria-label="Map of'
        " the argument. Boxes are claims, in three groups: what speaks for an ensemble, common"
        ' ground, and what speaks for a posterior. Each is a link to its chapter.">'
        '<defs><marker id="argument-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker>'
        f"</defs>{inside}</svg>"
    )


def _left(voice) -> float:
    return MARGIN + VOICES.index(voice) * (BOX + GUTTER)


def _places(found):
    """Left, top and height of each node's box, rows aligned, and the drawing's height."""
    columns = [[node for node in NODES if node.voice == voice] for voice in VOICES]
    places, y = {}, TOP
    for i in range(max(map(len, columns))):
        row = [column[i] for column in columns if i < len(column)]
        height = max(_height(found, node, BOX) for node in row)
        for node in row:
            places[node.id] = _left(node.voice), y, height
        y += height + GAP
    return places, y - GAP + 4


def _lines(node, width) -> list[str]:
    return textwrap.wrap(node.says, int((width - 20) / LETTER[width]))


def _height(found, node, width, rests=False) -> int:
    lines = len(_lines(node, width)) + (1 if rests and node.rests_on else 0)
    return 30 + LINE * lines + CHIPS * len(_rows(found.claims(node), width)) + 8


def _arrow(start: Node, end: Node, places) -> str:
    """A path from what is used to what rests on it, along a gutter if boxes stand between."""
    (x0, y0, h0), (x1, y1, h1) = places[start.id], places[end.id]
    same = start.voice == end.voice
    between = [
        node
        for node in NODES
        if node.voice == start.voice and y0 < places[node.id][1] < y1 and same
    ]
    if same and not between:
        middle = x0 + BOX / 2
        path = f"M{middle} {y0 + h0} V{y1 - 2}"
    elif same:
        side, away = (x0 + BOX, 1) if start.voice == POSTERIOR else (x0, -1)
        bend = side + away * (10 + 7 * len(between))
        tip = side + 2 * away
        path = f"M{side} {y0 + h0 - 14} C{bend} {y0 + h0} {bend} {y1} {tip} {y1 + 14}"
    else:
        side, tip = (x0 + BOX, x1 - 2) if x1 > x0 else (x0, x1 + BOX + 2)
        bend, begin, stop = (side + tip) / 2, y0 + h0 / 2, y1 + h1 / 2
        path = f"M{side} {begin} C{bend} {begin} {bend} {stop} {tip} {stop}"
    return f'<path class="arrow" d="{path}" marker-end="url(#argument-head)"/>'


def _box(found: Map, node: Node, x, y, height, width, rests=False) -> str:
    look = found.look(node)
    lines = _lines(node, width)
    text = [f'<text class="id" x="{x + 12}" y="{y + 20}">{node.id}</text>']
    for i, line in enumerate(lines):
        text.append(f'<text x="{x + 12}" y="{y + 38 + i * LINE}">{html.escape(line)}</text>')
    below = y + 30 + LINE * len(lines)
    if rests and node.rests_on:
        told = f"rests on {', '.join(node.rests_on)}"
        text.append(f'<text class="rests" x="{x + 12}" y="{below + 8}">{told}</text>')
        below += LINE
    chips, elsewhere = _chips(found, node, x + 12, below + 17, width)
    label = html.escape(f"{node.id}: {node.says}. {found.told(node)}.{_rests(node)}")
    return (
        f'<a {_link(node)} aria-label="{label}" class="{look}"><title>{label}</title>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        f'<rect class="stripe" x="{x}" y="{y}" width="5" height="{height}" rx="2"/>'
        f"{''.join(text)}{chips}</a>{elsewhere}"
    )


def _rows(ids, width) -> list[list[str]]:
    """The claims of a box in as few rows of marks as have room, of about equal lengths."""
    most = (width - 20) // CHIP
    count = -(-len(ids) // most)
    length = -(-len(ids) // count)
    return [ids[start : start + length] for start in range(0, len(ids), length)]


def _chips(found, node, x, y, width) -> tuple[str, str]:
    """A mark per claim: those the box's chapter decides, and links to where others are."""
    here, elsewhere = "", ""
    for row, ids in enumerate(_rows(found.claims(node), width)):
        for i, id in enumerate(ids):
            chip = _chip(id, node, found.verdicts[id], x + i * CHIP, y + row * CHIPS)
            address = ledger.claims()[id].chapter
            if address in (None, _chapter(node)):
                here += chip
            else:
                label = html.escape(_told(id, found.verdicts[id]))
                elsewhere += f'<a href="{address}.html" aria-label="{label}">{chip}</a>'
    return here, elsewhere


def _chip(id, node, verdict, x, y) -> str:
    letter = id.removeprefix(node.id)
    word = f"{letter} {MARKS[verdict]}" if letter else f"{MARKS[verdict]} {verdict}"
    return (
        f'<text class="chip {LOOKS[verdict]}" x="{x}" y="{y}">'
        f"<title>{html.escape(_told(id, verdict))}</title>{word}</text>"
    )


def _told(id, verdict) -> str:
    return f"{id}: {ledger.claims()[id].title}. {verdict.capitalize()}."


def _chapter(node) -> str | None:
    """The chapter that decides most of a node's claims, if there is one."""
    of = [
        claim.chapter
        for id, claim in ledger.claims().items()
        if claim.chapter and re.fullmatch(rf"{node.id}[a-z]?", id)
    ]
    return Counter(of).most_common(1)[0][0] if of else None


def _link(node) -> str:
    chapter = _chapter(node)
    return f'href="{chapter}.html"' if chapter else 'role="img"'


def _legend(found) -> str:
    shown = {}
    for verdict, mark in MARKS.items():
        if verdict in found.verdicts.values():
            shown.setdefault((mark, LOOKS[verdict]), []).append(verdict)
    items = "; ".join(
        f'<span class="{look}">{mark}</span> {" or ".join(names)}'
        for (mark, look), names in shown.items()
    )
    told = "An arrow runs from a claim to what rests on it"
    stripe = "A box whose marks differ has the stripe of what holds in part"
    return f"<p>{told}. {items}. {stripe}.</p>"


def _colours() -> str:
    return "".join(
        f".argument .{look} {{ --look: var({name}, {value}); }}\n"
        for look, (name, value) in COLOURS.items()
    )


_EVIDENCE_STYLE = """
.evidence { font-size: 0.9em; }
.evidence a { color: var(--look); font-weight: 600; text-decoration: none; }
.evidence a { white-space: nowrap; }
.evidence a:hover, .evidence a:focus-visible { text-decoration: underline; }
""" + _colours()
_STYLE = (
    """<style>
.argument svg { width: 100%; height: auto; font-size: 13.5px; }
.argument a { text-decoration: none; }
.argument svg.narrow { display: none; }
@media (max-width: 700px) {
  .argument svg.wide { display: none; }
  .argument svg.narrow { display: block; font-size: 14px; }
}
.argument text { fill: var(--pst-color-text-base, currentColor); stroke: none; }
.argument .voice, .argument .id { font-weight: 700; }
.argument .rests { fill: var(--pst-color-text-muted, #6b7280); }
.argument rect {
  fill: var(--pst-color-surface, transparent); stroke: var(--pst-color-border, #9ca3af);
}
.argument rect.stripe { fill: var(--look); stroke: none; }
.argument text.chip { font-size: 0.92em; }
.argument text.chip, .argument span { fill: var(--look); color: var(--look); font-weight: 700; }
.argument a:hover rect, .argument a:focus-visible rect { stroke: var(--look); stroke-width: 2; }
.argument a:focus-visible { outline: 2px solid var(--pst-color-link, #1d4ed8); }
.argument .arrow { fill: none; stroke: var(--pst-color-text-muted, #6b7280); }
.argument .head { fill: var(--pst-color-text-muted, #6b7280); }
"""
    + _colours()
    + "</style>"
)
