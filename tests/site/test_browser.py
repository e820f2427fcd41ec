"""The built pages in a browser: from a folder without network, and under axe-core.

Each page is opened once and looked at three ways: wide, on a phone, and in the dark.
"""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

PHONE, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

# What axe finds in the theme's own markup: (rule, part of the element).
THEME = {
    ("label-content-name-mismatch", "search-button"),
    ("region", "skip-link"),
    ("region", "sidebar-primary-item"),
}
# Contrast is measured below, in both modes.
OPTIONS = {"rules": {"color-contrast": {"enabled": False}}}

# Drawn glyphs and coloured words, by the ten thousand, say nothing to axe and take it minutes.
THIN = """() => {
  for (const svg of document.querySelectorAll("mjx-container svg")) svg.replaceChildren();
  for (const pre of document.querySelectorAll("pre")) pre.textContent = pre.textContent;
}"""

TYPESET = """async () => {
  if (window.MathJax) { await MathJax.startup.promise; }
  return {
    formulas: document.querySelectorAll(".math").length,
    typeset: document.querySelectorAll("mjx-container").length,
    errors: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")]
      .map(node => node.textContent),
  };
}"""

# Elements that reach past the page's width, or are cut off there, without a box that scrolls.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const scrolls = node => {
    for (let n = node.parentElement; n; n = n.parentElement) {
      const overflow = getComputedStyle(n).overflowX;
      if (overflow !== "visible") return /auto|scroll/.test(overflow);
    }
    return false;
  };
  return [...document.querySelectorAll("article.bd-article *")]
    .filter(node => !node.closest("mjx-assistive-mml"))
    .filter(node => node.getBoundingClientRect().right > width + 1 && !scrolls(node))
    .map(node => node.outerHTML.slice(0, 120));
}"""

# Every text in the article whose contrast with what lies behind it is under WCAG's AA.
FAINT = """() => {
  const numbers = colour => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    const unit = colour.startsWith("color(") ? 255 : 1;  // color(srgb ...) counts from 0 to 1
    return [r * unit, g * unit, b * unit, a];
  };
  const behind = node => {
    for (let n = node; n; n = n.parentElement) {
      const colour = numbers(getComputedStyle(n).backgroundColor);
      if (colour[3] > 0.9) return colour;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = new Set();
  const walker = document.createTreeWalker(
    document.querySelector("article.bd-article"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest("mjx-assistive-mml, script, style, .headerlink")) continue;
    const style = getComputedStyle(node);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const pair = [light(numbers(style.color)), light(behind(node))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < (large ? 3 : 4.5))
      faint.add(`${contrast.toFixed(1)} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...faint];
}"""

DARK_FIGURES = """() => [...document.querySelectorAll("article .cell_output img")]
  .filter(image => !/^rgb\\(2[0-5]\\d, 2[0-5]\\d, 2[0-5]\\d\\)$/.test(
    getComputedStyle(image).backgroundColor))
  .map(image => image.alt)"""


def pytest_generate_tests(metafunc):
    if "page_name" in metafunc.fixturenames:
        toc = (metafunc.config.rootpath / "_toc.yml").read_text()
        metafunc.parametrize("page_name", re.findall(r"(?:root|file): (\S+)", toc))


@pytest.fixture(scope="module")
def offline(browser):
    with browser.new_context(offline=True, viewport=WIDE, color_scheme="light") as context:
        yield context


@pytest.fixture
def faults():
    """What went wrong while a page was open."""
    return []


@pytest.fixture
def page(offline, faults):
    with offline.new_page() as page:
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
        page.on("request", lambda request: note_network(request, faults))
        yield page


def note_network(request, faults):
    if not request.url.startswith(("file:", "data:", "blob:")):
        faults.append(f"asks the network: {request.url}")


def test_page_reads_from_a_folder(site, page, page_name, faults):
    page.goto((site / f"{page_name}.html").as_uri())
    maths = page.evaluate(TYPESET)
    assert not maths["errors"]
    assert maths["typeset"] >= maths["formulas"]

    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert not page.evaluate(TOO_WIDE)
    assert not page.evaluate(FAINT), "in light mode"

    page.emulate_media(color_scheme="dark")
    page.reload()
    page.evaluate(TYPESET)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not page.evaluate(FAINT), "in dark mode"
    assert not page.evaluate(DARK_FIGURES)
    assert not faults


def test_front_door_opens(site, page, faults):
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    page.locator("article h1").wait_for()
    assert not faults


def test_search_finds_a_page_from_a_folder(site, page, faults):
    page.goto((site / "book" / "index.html").as_uri())
    page.locator(".search-button-field").first.click()
    page.keyboard.type("residual stream")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    targets = results.evaluate_all("links => links.map(link => link.href)")
    assert any("glossary.html" in target for target in targets)
    results.first.click()
    page.wait_for_url("**/book/*.html*")
    assert "residual stream" in page.locator("article").inner_text().lower()
    assert not faults


def test_solutions_are_folded_and_open(site, page):
    page.goto((site / "book" / "reporter-problem.html").as_uri())
    solution = page.locator(".solution.dropdown").first
    code = solution.locator("pre").first
    assert not code.is_visible()
    solution.locator("button").first.click()
    code.wait_for(state="visible")


def test_axe_finds_nothing_of_ours(browser, server, page_name):
    with browser.new_context(viewport=WIDE, color_scheme="light") as context:
        page = context.new_page()
        page.goto(f"{server}/{page_name}.html")
        page.evaluate(TYPESET)
        page.evaluate(THIN)
        violations = Axe().run(page, options=OPTIONS).response["violations"]
    ours = [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in violations
        for node in violation["nodes"]
        if not any(violation["id"] == rule and part in node["html"] for rule, part in THEME)
    ]
    assert not ours
