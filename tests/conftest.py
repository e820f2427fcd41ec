"""What several test files share: the wheel, the executed twins, and the repository's root."""

import atexit
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from colab import build_wheel

# All processes of a run share the programs that JAX compiles. Each file, and each fit of some
# samplers, would compile the same ones again. This has to stand before anything imports JAX.
# A program that is read while another process writes it is compiled once more.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    programs = tempfile.mkdtemp(prefix="elkutils-programs-")
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


class Files(LoadFileScheduling):
    """Files side by side, but each page in a browser by itself."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return nodeid if Path(file).name == "test_browser.py" else file


def pytest_xdist_make_scheduler(config, log):
    return Files(config, log)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Programs that JAX compiled would take gigabytes by the end of a run of all files."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def wheel(root, tmp_path_factory) -> Path:
    """The wheel, built from this checkout with what is installed here."""
    return build_wheel(root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def build_once(root, request):
    """Return a function that builds the book from its twins once for all workers of a run.

    It returns the exit status and what was printed.
    """
    run = getattr(request.config, "workerinput", {}).get("testrunuid")
    folder = root / "_build" / "twins"

    def build(*options: str) -> tuple[int, str]:
        command = [sys.executable, "tools/build_book.py", "--twins", *options]
        name = "".join(["build", *options])
        folder.mkdir(parents=True, exist_ok=True)
        record, log = folder / f"{name}.json", folder / f"{name}.log"
        with FileLock(folder / "build.lock"):
            if run and record.exists():
                known = json.loads(record.read_text())
                if known["run"] == run:
                    return known["status"], log.read_text()
            with log.open("w") as file:  # to be read while it grows
                done = subprocess.run(command, cwd=root, stdout=file, stderr=subprocess.STDOUT)
            record.write_text(json.dumps({"run": run, "status": done.returncode}))
            return done.returncode, log.read_text()

    return build


@pytest.fixture(scope="session")
def executed_twins(build_once, root) -> tuple[Path, int, str]:
    """The folder of the executed twins, failed ones missing; the exit status; what was said."""
    return root / "_build" / "twins" / "executed", *build_once("--no-pages")
