"""What several test files share: the built wheel, and the root of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling


class Rooms(LoadFileScheduling):
    """Files side by side, but in one row those that share what is dear to make."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        folder = Path(file).parent.name
        return folder if folder in ("site", "twins") else file


def pytest_xdist_make_scheduler(config, log):
    return Rooms(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def wheel(root, tmp_path_factory) -> Path:
    """The wheel, built from this checkout with what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*command, root], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built
