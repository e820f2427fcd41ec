import re
import xml.etree.ElementTree as ET

import pytest

from elkutils import argument, ledger

SVG = r"<svg.*?</svg>"


@pytest.fixture(scope="module")
def drawn():
    return argument.show()


def test_every_claim_of_the_ledger_is_in_one_box(drawn):
    held = [id for node in argument.NODES for id in drawn.claims(node)]
    assert sorted(held) == sorted(ledger.claims())


def test_arrows_begin_at_boxes_and_never_run_in_a_circle():
    above = {node.id: set(node.rests_on) for node in argument.NODES}
    assert set().union(*above.values()) <= set(above)
    done = set()
    while ready := {id for id, needs in above.items() if id not in done and needs <= done}:
        done |= ready
    assert done == set(above)


def test_boxes_that_agree_have_their_verdict_and_others_are_in_part():
    node = argument.NODES[2]
    assert node.id == "C5"
    one = {"C5a": ledger.PROVED, "C5b": ledger.HOLDS, "C50": ledger.FAILS}
    assert argument.Map(one).claims(node) == ["C5a", "C5b"]
    assert argument.Map(one).look(node) == "good"
    assert argument.Map(one | {"C5c": ledger.FAILS}).look(node) == "part"
    assert argument.Map({"C5": ledger.UNDECIDED}).look(node) == "open"


def test_each_verdict_has_a_mark_and_none_is_told_by_colour_alone():
    assert set(argument.MARKS) == set(argument.LOOKS)
    looks = {argument.MARKS[verdict]: look for verdict, look in argument.LOOKS.items()}
    assert len(looks) == len(set(argument.MARKS.values())) >= len(argument.COLOURS)


def test_both_drawings_are_well_formed_and_name_every_verdict(drawn):
    wide, narrow = re.findall(SVG, drawn._repr_html_(), re.DOTALL)
    for svg in (wide, narrow):
        root = ET.fromstring(svg)
        boxes = [link for link in root.iter("a") if link.find("rect") is not None]
        assert len(boxes) == len(argument.NODES)
        for box, node in zip(boxes, argument.NODES, strict=True):
            for id in drawn.claims(node):
                assert f"{id} {drawn.verdicts[id]}" in box.attrib["aria-label"]
    assert wide.count('class="arrow"') == sum(len(node.rests_on) for node in argument.NODES)


def chips(svg):
    """The id and the place of each mark, and the address that it leads to."""
    for link in ET.fromstring(svg).iter("a"):
        for text in link.iter("text"):
            if "chip" in text.get("class", ""):
                id = text.find("title").text.partition(":")[0]
                yield id, (float(text.get("x")), float(text.get("y"))), link.get("href")


def test_each_claim_has_one_mark_that_leads_to_its_chapter(drawn):
    for svg in re.findall(SVG, drawn._repr_html_(), re.DOTALL):
        leads = {id: address for id, _, address in chips(svg)}
        assert sorted(id for id, *_ in chips(svg)) == sorted(drawn.verdicts)
        assert leads == {id: f"{c.chapter}.html" for id, c in ledger.claims().items()}


def test_marks_have_room(drawn):
    """Both beside each other and to the end of their box."""
    for svg in re.findall(SVG, drawn._repr_html_(), re.DOTALL):
        places = [place for _, place, _ in chips(svg)]
        for i, (x, y) in enumerate(places):
            for x2, y2 in places[:i]:
                beside = abs(x - x2) >= argument.CHIP or abs(y - y2) >= argument.LINE
                assert beside, (x, y, x2, y2)
    node = next(node for node in argument.NODES if node.id == "C6")
    for width in (argument.BOX, argument.NARROW):
        rows = argument._rows(drawn.claims(node), width)
        assert max(map(len, rows)) * argument.CHIP <= width - 20
        assert [id for row in rows for id in row] == drawn.claims(node)


@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_boxes_do_not_overlap_and_stay_inside(drawn, kind):
    [svg] = re.findall(rf'<svg class="{kind}".*?</svg>', drawn._repr_html_(), re.DOTALL)
    root = ET.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    rects = [
        [float(rect.attrib[name]) for name in ("x", "y", "width", "height")]
        for rect in root.iter("rect")
        if "class" not in rect.attrib
    ]
    assert len(rects) == len(argument.NODES)
    for i, (x, y, w, h) in enumerate(rects):
        assert min(x, y, width - x - w, height - y - h) >= 0
        for x2, y2, w2, h2 in rects[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_links_lead_to_chapters_that_exist(drawn):
    root = ledger.reference_dir().parent
    for address in re.findall(r'href="([^"]*)\.html"', drawn._repr_html_()):
        assert (root / f"{address}.md").exists()


def test_as_text_it_has_every_claim(drawn):
    for id, verdict in drawn.verdicts.items():
        assert f"{id} {verdict}" in repr(drawn)


def test_evidence_lists_verdicts_as_links_to_their_chapters():
    verdict = ledger.verdicts()["C5d"].verdict
    found = argument.evidence(C5a=ledger.PROVED, C5d=verdict)
    assert repr(found) == f"Rests on C5a ✓ proved, C5d {argument.MARKS[verdict]} {verdict}"
    text = found._repr_html_()
    assert text.count('href="ensembles.html"') == 2
    assert f"C5d {argument.MARKS[verdict]} {verdict}" in text


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [({"C5a": "fails"}, "C5a is 'proved', not 'fails'"), ({"C99": "holds"}, "C99 is no claim")],
)
def test_evidence_refuses_verdicts_that_are_not_so(verdicts, message):
    with pytest.raises(ValueError, match=message):
        argument.evidence(**verdicts)
