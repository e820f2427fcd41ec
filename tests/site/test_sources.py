"""What every chapter's source has to have: its anatomy, short cells, no typed results."""

import ast
import re

import jupytext
import pytest
import yaml

CHAPTERS = (
    "reporter-problem",
    "difference-in-means",
    "bayesian-logistic-regression",
    "thresholds",
    "ensembles",
    "member-bounds",
    "tiny-heads",
    "head-enough",
    "network-as-ensemble",
    "learning-theory",
    "calibrated-online",
    "easy-to-hard",
    "no-guarantees",
    "confused-human",
    "learned-posterior",
    "improve-on-ensembling",
)
MOST_LINES, MOST_COLUMNS = 25, 88
MOST_PROSE, MOST_CODE = 3200, 150  # words, lines: what is visible unfolded
MOST_FUNCTIONS = 6  # of a chapter's own; more is machinery, which belongs into elkutils.study
FOLDED = r"(?ms)^(:{3,}|`{3,})\{(?:admonition\}[^\n]*\n:class: dropdown|dropdown\}).*?^\1\s*$"
SOLUTION = r"(?s)```\{solution-start\}.*?\{solution-end\}"
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


@pytest.fixture(scope="module")
def texts(root) -> dict[str, str]:
    return {name: (root / "book" / f"{name}.md").read_text() for name in CHAPTERS}


@pytest.fixture(scope="module")
def executed(root) -> dict[str, str]:
    paths = (root / "book").glob("*.md")
    return {path.stem: text for path in paths if "kernelspec" in (text := path.read_text())}


def code_cells(text):
    return [c for c in jupytext.reads(text, fmt="md:myst").cells if c.cell_type == "code"]


def test_contents_number_these_chapters(root):
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    numbered = [part for part in toc["parts"] if part.get("numbered")]
    files = [chapter["file"] for part in numbered for chapter in part["chapters"]]
    assert files == [f"book/{name}" for name in CHAPTERS]


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_is_visible_unfolded_is_short(texts, name):
    """Solutions and dropdowns are folded; blank lines of code do not count."""
    body = re.split(r"^## References", re.sub(SOLUTION, "", texts[name]), flags=re.M)[0]
    cells = jupytext.reads(body, fmt="md:myst").cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    shown = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and not HIDDEN & set(cell.metadata.get("tags", ()))
    ]
    assert len(re.findall(r"\S*\w\S*", re.sub(FOLDED, "", prose))) <= MOST_PROSE
    assert sum(bool(line.strip()) for code in shown for line in code.split("\n")) <= MOST_CODE


def test_functions_of_a_chapters_own_are_few(executed):
    """In hidden cells as well, and inside other functions; solutions may have more."""
    many = {}
    for name, text in executed.items():
        cells = code_cells(re.sub(SOLUTION, "", text))
        parts = ast.walk(ast.parse("\n".join(cell.source for cell in cells)))
        own = [part.name for part in parts if isinstance(part, ast.FunctionDef)]
        if len(own) > MOST_FUNCTIONS:
            many[name] = own
    assert not many


def test_cells_are_short_and_narrow(executed):
    long = []
    for name, text in executed.items():
        for number, cell in enumerate(code_cells(text)):
            lines = cell.source.split("\n")
            if len(lines) > MOST_LINES or max(map(len, lines)) > MOST_COLUMNS:
                long.append(
                    f"{name}, cell {number}: {len(lines)} lines, {max(map(len, lines))}"
                )
    assert not long


def test_chapter_headers_make_jupytext_execute_them(executed):
    for name, text in executed.items():
        header = yaml.safe_load(text.split("---")[1])
        assert header["jupytext"]["text_representation"]["format_name"] == "myst", name


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_has_its_anatomy(texts, name):
    text = texts[name]
    code = "\n".join(cell.source for cell in code_cells(text))
    title = re.search(r"^# (.+)$", text, re.M)[1]
    assert title.endswith("?"), title
    assert ".card(" in code
    assert re.search(r"you will learn", text, re.I)
    assert re.search(r"to read", text, re.I)
    assert re.search(r"to run", text, re.I)
    assert re.search(r"CPU", text)
    assert re.search(r"GPU", text)
    assert ".decide(" in code
    assert ".close()" in code
    assert "profiles.stamp(" in code
    headings = " | ".join(re.findall(r"^##+ (.+)$", text, re.M)).lower()
    for wanted in ("verdict", "take", "references"):
        assert wanted in headings, headings
    assert re.search(
        r"\blimits?\b", re.split(r"^##+ .*take", text, flags=re.M | re.I)[-1], re.I
    ), "no word on limits"


@pytest.mark.parametrize("name", CHAPTERS)
def test_exercises_have_checked_solutions(texts, name):
    text = texts[name]
    exercises = re.findall(r"\{exercise(?:-start)?\}", text)
    assert 2 <= len(exercises) <= 3
    solutions = re.findall(r"\{solution-start\}(.*?)\{solution-end\}", text, re.S)
    assert len(solutions) == len(exercises)
    for solution in solutions:
        assert "dropdown" in solution
        assert re.search(r"^\s*assert |\.testing\.assert_", solution, re.M), solution


def test_numbers_of_a_run_stand_in_outputs_alone(executed):
    glued = [name for name, text in executed.items() if re.search(r"\{glue|\{eval\}", text)]
    assert not glued


def test_every_figure_is_described_where_it_is_made(executed):
    for name, text in executed.items():
        for cell in code_cells(text):
            shown = cell.metadata.get("mystnb", {})
            if "figure" in shown:
                assert len(shown["image"]["alt"]) > 20, f"{name}: {shown['figure']}"
                assert len(shown["figure"]["caption"]) > 20, name
