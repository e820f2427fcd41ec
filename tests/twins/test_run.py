"""Each twin runs as Colab runs it: by itself, in an empty folder, with the wheel alone."""

import json
import re
import subprocess
import zipfile
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from twins import Book

ROOT = Path(__file__).resolve().parents[2]
PAGES = [Path(page).name for page in Book(ROOT).twins]

pytestmark = pytest.mark.twin


@pytest.fixture(scope="module")
def setup_code() -> str:
    return nbformat.read(ROOT / "book" / f"{PAGES[0]}.ipynb", as_version=4).cells[1].source


@pytest.fixture
def environment(colab, root):
    """What a kernel finds in its environment; no other test changes its packages meanwhile."""
    with FileLock(root / "_build" / "twin-env.lock"):
        yield colab.environment


@pytest.fixture
def twin_python(colab):
    return colab.python


@pytest.mark.parametrize("name", PAGES)
def test_twin_runs_by_itself(name, executed_twins, root):
    folder, status, said = executed_twins
    path = folder / f"{name}.ipynb"
    assert status in (0, 1), said[-3000:]
    assert path.is_file(), said[-3000:]
    outputs = nbformat.read(path, as_version=4).cells[-1].outputs  # may come in several parts
    package, cwd, files, paths = json.loads("".join(output.text for output in outputs))
    assert Path(package).is_relative_to(root / "_build" / "twin-env")
    assert not Path(cwd).is_relative_to(root)
    assert str(root) not in paths
    assert "kept.txt" in files, "the set-up cell did not act"


def run_setup(code, python, environment, folder, **changes):
    command = [python, "-c", code]
    given = environment | changes
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)


def versions(python) -> str:
    code = (
        "from importlib.metadata import version as v\nprint(*map(v, ('numpy', 'torch', 'jax')))"
    )
    command = [python, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_set_up_fails_loudly_without_the_package(
    setup_code, twin_python, environment, tmp_path
):
    nowhere = (tmp_path / "elkutils-0.1.0-py3-none-any.whl").as_uri()
    done = run_setup(setup_code, twin_python, environment, tmp_path, ELKUTILS_SOURCE=nowhere)
    assert done.returncode != 0
    assert "RuntimeError: no elkutils[models]" in done.stderr
    assert "No such file" in done.stderr


def test_set_up_leaves_preinstalled_versions_alone(
    setup_code, twin_python, environment, tmp_path, wheel
):
    """A package that wants another numpy is refused, and numpy stays."""
    before = versions(twin_python)
    greedy = demanding(wheel, tmp_path, "numpy<2")
    done = run_setup(setup_code, twin_python, environment, tmp_path, ELKUTILS_SOURCE=greedy)
    assert done.returncode != 0
    assert "RuntimeError: no elkutils[models]" in done.stderr
    assert re.search("conflict", done.stderr, re.I)
    assert versions(twin_python) == before


def demanding(wheel, folder, requirement) -> str:
    """Return the address of the same wheel in a later version with one more requirement."""
    version = wheel.name.split("-")[1]
    made = folder / wheel.name.replace(version, "99.0")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/METADATA"):
                text = data.decode().replace(f"Version: {version}", "Version: 99.0", 1)
                more = f"Requires-Dist: {requirement}\nRequires-Dist:"
                data = text.replace("Requires-Dist:", more, 1).encode()
            new.writestr(name.replace(f"-{version}.", "-99.0."), data)
    return made.as_uri()


def test_set_up_does_nothing_outside_colab(setup_code, twin_python, environment, tmp_path):
    command = "import sys\n" + setup_code + "\nassert 'elkutils' not in sys.modules"
    done = run_setup(command, twin_python, environment, tmp_path, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_no_twin_needs_a_file_of_the_repository(root):
    for name in PAGES:
        text = (root / "book" / f"{name}.ipynb").read_text()
        assert not re.search(r"open\(\W*book/|\.\./", text), name
