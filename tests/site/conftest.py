"""The built site: the one `ELKUTILS_SITE` names, else the one made of the executed twins."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("site")


@pytest.fixture(scope="session")
def site(root, request) -> Path:
    """The folder of the built pages."""
    if given := os.environ.get("ELKUTILS_SITE"):
        built = Path(given)
    else:
        _, status, said = request.getfixturevalue("executed_twins")
        assert status == 0, said[-3000:]
        status, said = request.getfixturevalue("build_once")()
        assert status == 0, said[-3000:]
        built = root / "_build" / "twins" / "html"
    assert (built / "index.html").is_file(), f"no site in {built}"
    return built


@pytest.fixture(scope="session")
def config(root) -> dict:
    return yaml.safe_load((root / "_config.yml").read_text())


@pytest.fixture(scope="session")
def soups(site) -> dict[str, BeautifulSoup]:
    """Every page of the book, parsed, by its path in the site."""
    paths = sorted((site / "book").rglob("*.html"))
    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text(), "html.parser")
        for path in paths
    }


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; where there is none the test skips, in CI it fails."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("NO BROWSER TEST RAN: there is no Chromium (apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def server(site):
    """The address at which the site is served on this machine."""
    handler = partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
