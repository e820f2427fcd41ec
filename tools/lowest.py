"""Run the smoke test on the lowest versions that ``pyproject.toml`` admits: ``make lowest``.

It makes `.venv-lowest` on Python 3.12, the newest that all of them have wheels for, and keeps
it until ``pyproject.toml`` changes. Packages that no bound names come in their newest version.
"""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-lowest"
VERSION = "3.12"


def main() -> int:
    """Make the environment if it is not there; return the smoke test's exit status."""
    pins = lowest(ROOT / "pyproject.toml")
    python, made_for = FOLDER / "bin" / "python", FOLDER / "made-for"
    wanted = hashlib.sha256("\n".join(pins).encode()).hexdigest()
    if not made_for.is_file() or made_for.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        subprocess.run([find_python(), "-m", "venv", FOLDER], check=True)
        install(python, *pins)
        made_for.write_text(wanted)
    install(python, "--no-deps", "--editable", str(ROOT))
    print("lowest versions:", *pins, flush=True)
    return subprocess.run([python, ROOT / "tools" / "smoke.py"], check=False).returncode


def lowest(pyproject: Path) -> list[str]:
    """Return a pin per dependency of the core: the lowest version that it admits."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    pins = []
    for line in project["dependencies"]:
        need = Requirement(line)
        bounds = [spec.version for spec in need.specifier if spec.operator == ">="]
        if len(bounds) != 1:
            raise ValueError(
                f"{line!r} in pyproject.toml needs one lower bound, as in 'name>=1.2'"
            )
        pins.append(f"{need.name}=={bounds[0]}")
    return pins


def find_python() -> str:
    """Return a Python of the version wanted, from the path or from pyenv."""
    known = sorted(Path.home().glob(f".pyenv/versions/{VERSION}.*/bin/python"))
    for candidate in (shutil.which(f"python{VERSION}"), *known):
        if candidate and version_of(candidate) == VERSION:
            return str(candidate)
    raise SystemExit(f"Python {VERSION} is needed for the lowest versions and was not found.")


def version_of(python: str | Path) -> str:
    """Return a Python's version as "3.12", or "" where it does not start."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def install(python: Path, *what: str) -> None:
    """Have a Python's pip install something."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True)


if __name__ == "__main__":
    sys.exit(main())
