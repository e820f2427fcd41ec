"""Write requirements.lock: every package of every extra, at the version the book is built with.

Run through ``make lock``; arguments go to pip-compile, so ``make lock ARGS=--upgrade`` moves
all versions and ``make lock ARGS="--upgrade-package=jax"`` moves one.

The lock names no index and no build of torch. Each machine gets its own: from the public
index pip brings torch's CUDA packages with it, which is why those have no line here.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
EXTRAS = ("models", "book", "test")
CUDA = re.compile(r"nvidia-|cuda-|triton\b")
HEADER = f"""\
# The exact versions the book is built with, extras {", ".join(EXTRAS)} included.
# Made by `make lock` from pyproject.toml with Python {{version}}.
"""


def compile_lock(arguments: list[str]) -> None:
    """Resolve every extra into the lock; versions already there stay where they can."""
    command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--strip-extras"]
    command += ["--no-header", "--no-emit-options", f"--output-file={LOCK}"]
    command += [f"--extra={extra}" for extra in EXTRAS]
    subprocess.run([*command, *arguments, "pyproject.toml"], cwd=ROOT, check=True)


def portable(lock: str) -> str:
    """Return the lock without local versions (``+cpu``), CUDA packages and pip's own advice."""
    lock = lock.partition("\n# The following packages are considered to be unsafe")[0]
    entries = re.split(r"\n(?=\S)", lock.strip())
    entries = [entry for entry in entries if not CUDA.match(entry)]
    return re.sub(r"(==[^\s+]+)\+\S+", r"\1", "\n".join(entries)) + "\n"


def main() -> None:
    compile_lock(sys.argv[1:])
    path = ROOT / LOCK
    version = ".".join(map(str, sys.version_info[:2]))
    path.write_text(HEADER.format(version=version) + portable(path.read_text()))


if __name__ == "__main__":
    main()
