"""A small book to convert, and an environment as Colab has it for notebooks to run in."""

import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from colab import Colab, make_colab  # noqa: E402

HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""

FILES = {
    "_config.yml": """
repository: {url: "https://github.com/owner/name", branch: main}
bibtex_bibfiles: [book/references.bib]
""",
    "_toc.yml": """
root: book/index
parts:
  - numbered: 1
    chapters: [{file: book/one}, {file: book/two}]
  - chapters:
      - {file: book/glossary}
      - {file: book/api/index, sections: [{file: book/api/all}, {file: book/api/part}]}
""",
    "pyproject.toml": '[project]\nversion = "1.2.3"\n',
    "book/references.bib": r"""
@misc{alone1999, author = {Alone, Ann}, title = {One}, year = {1999}}
@misc{pair2001, author = {B{\"u}rger, Bea and van Dyk, Cas}, title = {Two}, year = {2001}}
@misc{many2002, author = {Many, A. and More, B. and Most, C.}, title = {T}, year = {2002}}
""",
    "book/index.md": "# The book\n\nWords.\n",
    "book/glossary.md": """
# Words

```{glossary}
R-hat
  A number.

prior scale
  τ.
```
""",
    "book/api/index.md": "# API\n",
    "book/api/all.md": "# All\n\n```{eval-rst}\n.. automodule:: elkutils\n```\n",
    "book/api/part.md": "# Part\n\n```{eval-rst}\n.. automodule:: elkutils.part\n```\n",
    "book/two.md": HEADER
    + """
# Is this two?

(there)=
## A section

$$ a = b $$ (two-eq)
""",
}


@pytest.fixture
def convert(tmp_path):
    """Return the notebook of a book whose first chapter is the given text."""
    from twins import Book, Converter

    def run(text):
        files = FILES | {"book/one.md": f"{HEADER}\n# Is this one?\n\n{text}\n"}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return Converter(Book(tmp_path), "book/one").notebook()

    return run


@pytest.fixture
def plain(convert):
    """Return the Markdown that the given text becomes, title and set-up left out."""

    def run(text):
        cells = convert(text).cells[2:]
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")

    return run


@pytest.fixture(scope="session")
def colab(root, wheel, tmp_path_factory) -> Colab:
    """An environment as Colab has it; the wheel is in it once a set-up cell has run."""
    with FileLock(root / "_build" / "twin-env.lock"):
        return make_colab(root, wheel, tmp_path_factory.mktemp("colab"))
