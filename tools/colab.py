"""An environment as Colab has it, for notebooks to run in, with nothing of this checkout.

Its packages are the ones installed here, linked: they need no network, no minutes and no
room. The wheel is what a notebook's own set-up cell installs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

KERNEL = "twin"


@dataclass(frozen=True)
class Colab:
    """Colab's stand-in: its Python, and what a kernel finds in its environment."""

    python: Path
    environment: dict[str, str]


def make_colab(root: Path, wheel: Path, folder: Path) -> Colab:
    """Return the environment that a twin runs in, without the wheel.

    Parameters
    ----------
    root
        The repository's root; the packages go to its ``_build/twin-env``.
    wheel
        What the set-up cell is to install.
    folder
        Where the kernel's description and the sign of Colab are written.
    """
    python = make_python(root, wheel)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": argv, "display_name": KERNEL, "language": "python"}
    spec = folder / "kernels" / KERNEL / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps(about))
    cache = os.environ.get("ELKUTILS_CACHE", str(root / "_build" / "cache"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ELKUTILS_", "PYTHON"))}
    changed = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(make_sign(folder / "colab")),
        "ELKUTILS_SOURCE": wheel.as_uri(),
        "ELKUTILS_PROFILE": "quick",
        "ELKUTILS_CACHE": cache,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return Colab(python, kept | changed)


def build_wheel(root: Path, folder: Path) -> Path:
    """Build the wheel from the checkout, with what is installed here, and return its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*command, root], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def make_python(root: Path, wheel: Path) -> Path:
    """Return Python of an environment with what the wheel and its models extra need.

    The wheel itself is not in it. The environment is kept between runs, and made anew when the
    wheel's needs or the lock change.
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


def make_sign(folder: Path) -> Path:
    """Make a folder that, on PYTHONPATH, makes a kernel look like Colab's."""
    package = folder / "google" / "colab"  # google itself stays a namespace, as others share it
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "output.py").touch()  # JAX imports it where it finds Colab
    (folder / "sitecustomize.py").write_text("import google.colab\n")
    return folder
