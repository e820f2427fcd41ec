"""The embedded model, loaded once for all tests of `elkutils.models`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tiny_models


@pytest.fixture(scope="session")
def model():
    from elkutils.models import load_model

    return load_model(device="cpu")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache for activations, so that a test sees only what it wrote."""
    monkeypatch.setenv("ELKUTILS_CACHE", str(tmp_path))
    return tmp_path
