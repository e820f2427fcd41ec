"""What several test files share: the built wheel, and the root of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Keep together, where tests run side by side, those that share what is dear to make."""
    for item in items:
        folder = item.path.parent.name
        group = folder if folder in ("site", "twins") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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
