"""The committed notebooks are the chapters', and hold nothing that Colab cannot show."""

import re

import nbformat
import pytest
from twins import Book, make_twin

MYST = {
    "directive": r"^ *(`{3,}|:{3,})\{",
    "colon fence": r"^ *:{3,}",
    "role": r"\{[a-z][\w:]*\}`",
    "label": r"^\([\w-]+\)=$",
    "link to a source": r"\]\([^):]*\.md",
    "link within the book": r"\]\(#",
}


@pytest.fixture(scope="module")
def book(root):
    return Book(root)


@pytest.fixture(scope="module")
def twins(root) -> dict[str, nbformat.NotebookNode]:
    paths = (root / "book").glob("*.ipynb")
    return {path.stem: nbformat.read(path, as_version=4) for path in sorted(paths)}


def test_every_executed_page_has_a_twin(book, twins):
    assert {f"book/{name}" for name in twins} == set(book.twins)
    assert len(twins) >= 4


def test_twins_are_up_to_date(root, book):
    stale = [
        page
        for page in book.twins
        if (root / f"{page}.ipynb").read_text("utf-8") != make_twin(book, page)
    ]
    assert not stale, "run `make notebooks` and commit the result"


def test_twins_hold_no_outputs(twins):
    for name, notebook in twins.items():
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert not cell.outputs, name
                assert cell.execution_count is None, name


def test_no_syntax_of_the_book_remains(twins):
    for name, notebook in twins.items():
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                text = re.sub(r"^```\w*\n.*?^```$", "", cell.source, flags=re.S | re.M)
                for what, pattern in MYST.items():
                    assert not re.search(pattern, text, re.M), f"{name}: {what} in {text!r}"


def test_formulas_are_closed(twins):
    for name, notebook in twins.items():
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                assert cell.source.count("$$") % 2 == 0, f"{name}: {cell.source}"


def test_set_up_cell_is_short(twins):
    for notebook in twins.values():
        lines = notebook.cells[1].source.split("\n")
        assert len(lines) <= 25
        assert max(map(len, lines)) <= 88
