"""What can be said of the built pages without a browser."""

import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

MOST_BYTES = 3_000_000
HASH = re.compile(r"[0-9a-f]{16,}")


def local_addresses(soup):
    """Yield every address on the page that leads into the site."""
    for tag in soup.find_all(["a", "link", "script", "img"]):
        for name in ("href", "src"):
            address = tag.get(name)
            if address and not urlsplit(address).scheme and tag.get("rel") != ["canonical"]:
                yield address


def anchors(soup) -> set[str]:
    return {tag["id"] for tag in soup.find_all(id=True)} | {
        tag["name"] for tag in soup.find_all("a", attrs={"name": True})
    }


def article(soup):
    return soup.select_one("article.bd-article")


def test_every_page_of_the_contents_is_built(site, root):
    pages = re.findall(r"(?:root|file): (\S+)", (root / "_toc.yml").read_text())
    assert len(pages) > 5
    missing = [page for page in pages if not (site / f"{page}.html").is_file()]
    assert not missing


def test_front_door_leads_to_the_front_page(site):
    assert "url=book/index.html" in (site / "index.html").read_text().replace("'", "")


def test_every_internal_link_and_anchor_resolves(site, soups):
    known = {page: anchors(soup) for page, soup in soups.items()}
    broken = []
    for page, soup in soups.items():
        for address in local_addresses(soup):
            path, anchor = urlsplit(urljoin(page, address))[2::2]
            path = unquote(path)
            missing = anchor and path in known and unquote(anchor) not in known[path]
            if missing or not (site / path).is_file():
                broken.append(f"{page}: {address}")
    assert not broken


def test_every_figure_says_what_it_shows(soups):
    poor, seen = [], 0
    for page, soup in soups.items():
        for image in article(soup).find_all("img"):
            seen += 1
            alt = image.get("alt", "").strip()
            if len(alt) <= 20 or " " not in alt or HASH.search(alt):
                poor.append(f"{page}: {alt!r}")
    assert not poor
    assert seen


def test_every_figure_has_a_caption(soups):
    bare = [
        f"{page}: {image.get('alt')}"
        for page, soup in soups.items()
        for image in article(soup).find_all("img")
        if not image.find_parent("figure") or not image.find_parent("figure").figcaption
    ]
    assert not bare


def test_colab_opens_notebooks_that_exist(root, soups, config):
    repository = urlsplit(config["repository"]["url"]).path
    start = f"https://colab.research.google.com/github{repository}/blob/"
    start += config["repository"]["branch"] + "/"
    opened = {}
    for page, soup in soups.items():
        links = [a["href"] for a in soup.find_all("a", href=True) if "colab." in a["href"]]
        for link in links:
            assert link.startswith(start), f"{page}: {link}"
            opened[link.removeprefix(start)] = page
    missing = [path for path in opened if not (root / path).is_file()]
    assert not missing
    twins = {path.relative_to(root).as_posix() for path in (root / "book").glob("*.ipynb")}
    assert twins == set(opened)


def test_no_page_is_heavy(site, soups):
    heavy = {}
    for page, soup in soups.items():
        images = {urljoin(page, tag["src"]) for tag in soup.find_all("img", src=True)}
        files = [site / unquote(image) for image in images if not urlsplit(image).scheme]
        size = (site / page).stat().st_size + sum(file.stat().st_size for file in files)
        if size > MOST_BYTES:
            heavy[page] = size
    assert not heavy


def test_social_cards_are_complete(site, soups):
    for page, soup in soups.items():
        meta = {tag["property"]: tag["content"] for tag in soup.find_all("meta", property=True)}
        home = meta["og:url"].removesuffix(page)
        assert home.startswith("https://"), page
        assert meta["og:url"] == home + page
        assert meta["og:title"], page
        assert len(meta["og:description"]) > 20, page
        assert meta["og:image"].startswith(home), page
        assert (site / meta["og:image"].removeprefix(home)).is_file(), page
        assert soup.find("link", rel="canonical")["href"] == home + page


def test_page_for_wrong_addresses_leads_back(site, config):
    """It is shown at any depth, so its links start at the root of the site."""
    soup = BeautifulSoup((site / "404.html").read_text(), "html.parser")
    prefix = urlsplit(config["repository"]["url"]).path.rpartition("/")[2].join("//")
    addresses = [a for a in local_addresses(soup) if not a.startswith("#")]
    assert len(addresses) > 10
    for address in addresses:
        assert address.startswith(prefix), address
        path = urlsplit(address).path.removeprefix(prefix) or "index.html"
        assert (site / path).is_file(), address


def test_pages_ask_the_network_for_nothing(soups):
    asked = []
    for page, soup in soups.items():
        tags = soup.find_all(["script", "img", "iframe", "source"], src=True)
        tags += soup.select("link[rel=stylesheet], link[rel=icon], link[rel=preload]")
        addresses = [tag.get("src") or tag["href"] for tag in tags]
        asked += [f"{page}: {a}" for a in addresses if urlsplit(a).scheme not in ("", "data")]
    assert not asked


def test_every_page_states_the_licences(soups):
    for page, soup in soups.items():
        text = soup.select_one("footer .licences").get_text()
        assert all(name in text for name in ("MIT", "CC BY 4.0", "Apache-2.0")), page


def test_executed_pages_say_what_made_them(soups, root):
    for page, soup in soups.items():
        if "kernelspec" in (root / page).with_suffix(".md").read_text():
            assert re.search(r"profile \w+ · device \w+ · seed", soup.get_text()), page


@pytest.mark.parametrize("word", ["Traceback (most recent call last)", "UserWarning", "NaN"])
def test_no_output_shows_a_fault(soups, word):
    showing = [
        page
        for page, soup in soups.items()
        if any(word in output.get_text() for output in soup.select(".cell_output"))
    ]
    assert not showing


def test_stray_notebooks_are_not_built(site):
    assert not list(Path(site).rglob("*_ext*"))
    assert not [path for path in site.rglob("*.html") if "tests" in path.parts]


def test_no_dollar_is_left_outside_code(soups):
    """A dollar in running text is mathematics that was not recognised as such."""
    left = []
    for page, soup in soups.items():
        for text in article(soup).find_all(string=re.compile(r"\$")):
            if not text.find_parent(
                ["code", "pre", "script", "style"]
            ) and not text.find_parent(class_=["math", "output"]):
                left.append(f"{page}: {text.strip()[:80]}")
    assert not left
