"""A small book to convert, and an environment as Colab has it for notebooks to run in."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

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
  - chapters: [{file: book/glossary}]
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
            path.parent.mkdir(exist_ok=True)
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
def twin_python(root, wheel) -> Path:
    """Python of an environment with the wheel's dependencies and not the wheel.

    It is kept between runs, and made anew when what the wheel depends on changes.
    """
    folder = root / "_build" / "twin-env"
    python, mark = folder / "bin" / "python", folder / "made-for"
    wanted = dependencies_digest(root, wheel)
    if not mark.is_file() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        lock = root / "requirements.lock"
        pip(
            python,
            "install",
            "--constraint",
            lock,
            f"elkutils[models] @ {wheel.as_uri()}",
            "ipykernel",
        )
        mark.write_text(wanted)
    pip(python, "uninstall", "--yes", "elkutils")
    return python


def pip(python, *arguments):
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def dependencies_digest(root, wheel) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/METADATA")]
        lines = archive.read(name).decode().splitlines()
    needs = [line for line in lines if line.startswith("Requires-Dist")]
    text = "\n".join([*needs, (root / "requirements.lock").read_text(), sys.version])
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="session")
def colab(tmp_path_factory) -> Path:
    """A folder that, on PYTHONPATH, makes a kernel look like Colab's."""
    folder = tmp_path_factory.mktemp("colab")
    package = folder / "google" / "colab"  # google itself stays a namespace, as others share it
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "output.py").touch()  # JAX imports it where it finds Colab
    (folder / "sitecustomize.py").write_text("import google.colab\n")
    return folder
