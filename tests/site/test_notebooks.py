"""The notebook twins and the site agree: links arrive, numbers are the same."""

import re
import sys
from pathlib import Path
from urllib.parse import urldefrag

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from twins import Book

WHERE = {"equation": ".eqno", "figure": ".caption-number", "exercise": ".caption-number"}


@pytest.fixture(scope="module")
def book(root):
    return Book(root)


def test_links_of_notebooks_arrive_on_the_site(root, book, soups):
    broken, seen = [], 0
    for path in (root / "book").glob("*.ipynb"):
        for link in re.findall(rf"\]\(({re.escape(book.site)}[^)]*)\)", path.read_text()):
            page, anchor = urldefrag(link.removeprefix(book.site))
            seen += 1
            if page not in soups or (anchor and not soups[page].find(id=anchor)):
                broken.append(f"{path.name}: {link}")
    assert not broken
    assert seen > 20


@pytest.mark.parametrize("kind", WHERE)
def test_numbers_of_notebooks_are_the_site_s(book, soups, kind):
    targets = {target for target in book.labels.values() if target.kind == kind}
    assert targets
    for target in targets:
        page, anchor = urldefrag(target.address.removeprefix(book.site))
        shown = soups[page].find(id=anchor).select_one(WHERE[kind]).get_text()
        assert re.search(r"[\d.]*\d", shown)[0] == target.number, target
