"""A small book to convert, and an environment as Colab has it for notebooks to run in."""

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
def twin_python(root, wheel) -> Path:
    """Python of an environment with what the wheel's models extra needs, and not the wheel.

    Its packages are the ones installed here, linked: they need no network, no minutes and no
    room. It is kept between runs, and made anew when the wheel's needs or the lock change.
    """
    folder = root / "_build" / "twin-env"
    python, mark = folder / "bin" / "python", folder / "made-for"
    (wheel_itself,) = distributions(path=[str(wheel)])
    wanted = [*wheel_itself.requires, (root / "requirements.lock").read_text(), sys.version]
    wanted = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    if not mark.is_file() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        )
        needs = needed_by(wheel_itself, {"models"}) | needed_by(
            distribution("ipykernel"), set()
        )
        for name in needs | {"ipykernel"}:
            link(distribution(name), Path(packages.stdout.strip()))
        mark.write_text(wanted)
    command = [python, "-m", "pip", "--quiet", "uninstall", "--yes", "elkutils"]
    subprocess.run(command, check=True, capture_output=True)
    return python


def needed_by(package, extras) -> set[str]:
    """Return the names of everything that a distribution with these extras needs."""
    found, waiting = set(), [(package, frozenset(extras))]
    seen = set()
    while waiting:
        package, extras = waiting.pop()
        for line in package.requires or ():
            need = Requirement(line)
            wants = [{"extra": extra} for extra in extras or {""}]
            key = canonicalize_name(need.name), frozenset(need.extras)
            if key not in seen and (not need.marker or any(map(need.marker.evaluate, wants))):
                seen.add(key)
                found.add(key[0])
                waiting.append((distribution(need.name), key[1]))
    return found


def link(package, folder):
    """Put an installed distribution's files into another environment's folder of packages."""
    for file in package.files:
        if ".." not in file.parts and (source := Path(package.locate_file(file))).is_file():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(source)
            except OSError:  # another file system
                shutil.copy2(source, target)


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
