"""What the book's settings cannot say in YAML.

Addresses derived from the repository's, a key for the execution cache that sees the package
change, MathJax beside the pages, the licences in the footer, and docstrings read as prose.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from urllib.parse import urlsplit

from sphinx.domains.python import PyObject
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util.docfields import TypedField
from sphinx.util.fileutil import copy_asset

from elkutils import profiles

# What a chapter's output depends on besides its own cells.
SOURCES = (
    *("elkutils/**/*.py", "elkutils/**/*.json", "elkutils/**/*.csv"),
    *("elkutils/**/*.safetensors", "book/results/**/*.json"),
)
MATHJAX = "sphinx-mathjax-offline"

LICENCES = """
<p class="licences">Code: <a href="{blob}/LICENSE">MIT</a>.
Prose and figures: <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>.
City data: GeoNames, CC BY 4.0; element data: public domain.
Language model weights: SmolLM2, Apache-2.0.
<a href="{blob}/LICENSES.md">Details</a>.</p>
"""

NOT_FOUND = """
<h1>There is no page here</h1>
<p>The address may have changed. Go to <a href="{prefix}">the front page</a>, or
<a href="{prefix}search.html">search the book</a>.</p>
"""


def setup(app):
    app.connect("config-inited", set_addresses, priority=100)
    app.connect("config-inited", set_cache)
    app.connect("html-page-context", name_list_items)
    app.connect("build-finished", copy_mathjax)
    app.connect("autodoc-process-docstring", keep_bars, priority=400)
    read_types_as_prose()
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def site_address(repository: str) -> str:
    """Return where GitHub Pages shows the site of the repository at this address.

    >>> site_address("https://github.com/owner/name")
    'https://owner.github.io/name/'
    """
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def set_addresses(app, config):
    """Derive every address from the repository's, which stands in _config.yml alone."""
    theme = config.html_theme_options
    site = site_address(theme["repository_url"])
    prefix = urlsplit(site).path
    blob = f"{theme['repository_url']}/blob/{theme['repository_branch']}"
    config.html_baseurl = config.ogp_site_url = site
    config.notfound_urls_prefix = prefix
    config.notfound_context = {
        "title": "There is no page here",
        "body": NOT_FOUND.format(prefix=prefix),
    }
    theme["extra_footer"] = LICENCES.format(blob=blob)


def set_cache(app, config):
    """Keep executed chapters where a change of package, versions or profile is a new place."""
    cache = Path(app.outdir).parent / ".jupyter_cache" / digest(Path(app.srcdir))
    config.nb_execution_cache_path = str(cache)


def digest(root: Path) -> str:
    """Return a digest of the package, the locked versions, the results and the profile."""
    seen = hashlib.sha256(profiles.active().encode())
    paths = sorted(path for pattern in SOURCES for path in root.glob(pattern))
    for path in [*paths, root / "requirements.lock"]:
        seen.update(path.relative_to(root).as_posix().encode())
        seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def read_types_as_prose():
    """Leave "(n, d) array" in a docstring alone instead of looking for a class of that name."""
    for field in PyObject.doc_field_types:
        if isinstance(field, TypedField):
            field.typerolename = ""
        if field.name == "variable":
            field.label = "Attributes"
    # A property's docstring is a sentence; napoleon takes what precedes a colon for its type.
    NumpyDocstring._parse_attribute_docstring = NumpyDocstring._consume_to_end


def keep_bars(app, what, name, obj, options, lines):
    """Keep the bars of p(y | x) and of norms, which reStructuredText takes for its own."""
    lines[:] = [line.replace("|", r"\|") for line in lines]


def name_list_items(app, pagename, templatename, context, doctree):
    """Give references the role of a list's items, in place of one that ARIA has deprecated."""
    if doctree:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def copy_mathjax(app, exception):
    """Put MathJax where pages read from a folder find it."""
    if exception is None and app.builder.format == "html":
        (package,) = importlib.util.find_spec(MATHJAX).submodule_search_locations
        script = Path(package, "static", app.config.mathjax_path)
        copy_asset(script, os.path.join(app.outdir, "_static", "mathjax"))
