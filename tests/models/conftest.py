"""The embedded model, loaded once for all tests of `elkutils.models`."""

import pytest


@pytest.fixture(scope="session")
def model():
    from elkutils.models import load_model

    return load_model(device="cpu")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache for activations, so that a test sees only what it wrote."""
    monkeypatch.setenv("ELKUTILS_CACHE", str(tmp_path))
    return tmp_path
