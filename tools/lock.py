"""Write requirements.lock: every package of every extra, at the version the book is built with.

Run through ``make lock``; arguments go to pip-compile, so ``make lock ARGS=--upgrade`` moves
all versions and ``make lock ARGS="--upgrade-package=jax"`` moves one.

The lock names no index and no build of torch. Each machine gets its own: from the public
index pip brings torch's CUDA packages with it, which is why those have no line here.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from elkutils.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
EXTRAS = ("models", "book", "test")
CUDA = re.compile(r"nvidia-|cuda-|triton\b")
HEADER = f"""\
# The exact versions the book is built with, extras {", ".join(EXTRAS)} included.
# Made by `make lock` from pyproject.toml with Python {{version}}.
"""


def compile_lock(arguments: list[str], known: str) -> str | None:
    """Resolve every extra, `known` versions kept where they can; None if nothing came out."""
    command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--strip-extras"]
    command += ["--no-header", "--no-emit-options"]
    command += [f"--extra={extra}" for extra in EXTRAS]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / LOCK
        output.write_text(known)  # pip-compile takes the versions from where it will write
        command += [f"--output-file={output}", *arguments, "pyproject.toml"]
        subprocess.run(command, cwd=ROOT, check=True)
        made = output.read_text()
    return None if made == known else made


def portable(lock: str) -> str:
    """Return the lock without header, builds (``+cpu``), CUDA packages and pip's advice."""
    lock = re.sub(r"\A(?:#.*\n)+", "", lock)
    lock = lock.partition("\n# The following packages are considered to be unsafe")[0]
    entries = re.split(r"\n(?=\S)", lock.strip())
    entries = [entry for entry in entries if not CUDA.match(entry)]
    return re.sub(r"(==[^\s+]+)\+\S+", r"\1", "\n".join(entries)) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="All other arguments go to pip-compile, such as --upgrade-package=jax.",
        allow_abbrev=False,
    )
    _, others = parser.parse_known_args(arguments)
    path = ROOT / LOCK
    made = compile_lock(others, path.read_text() if path.exists() else "")
    if made is None:
        print(f"pip-compile wrote nothing, and {LOCK} stays as it was")
        return
    version = ".".join(map(str, sys.version_info[:2]))
    with atomic_path(path) as fresh:
        fresh.write_text(HEADER.format(version=version) + portable(made))


if __name__ == "__main__":
    main()
