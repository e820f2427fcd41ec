"""Public code is annotated, documented in one dialect, and its examples run."""

import ast
import doctest
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = (
    "Parameters",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "Attributes",
    "Notes",
    "Examples",
)
ENTRY = re.compile(r"\*{0,2}\w+(, \*{0,2}\w+)* : (?P<type>\S.*)")
NAMES = re.compile(r"\w+(, \w+)*")  # documented elsewhere
EXCEPTION = re.compile(r"[A-Z]\w+")
OTHER_DIALECTS = re.compile(
    r"^\s*(:(param|returns?|raises|rtype)\b|(Args|Returns|Raises):\s*$)"
)
LONGEST_TYPE = 72
LEAST_EXAMPLES = 40

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Documented(NamedTuple):
    """A module, class or function whose name is public."""

    name: str
    node: ast.Module | ast.ClassDef | FUNCTIONS

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_documented(name: str) -> bool:
    return is_public(name) or name in ("__init__", "__call__")


def inside(name: str, node) -> Iterator[Documented]:
    """Public classes and functions of a module, and public methods of its public classes."""
    for child in node.body:
        if isinstance(child, FUNCTIONS) and is_documented(child.name):
            yield Documented(f"{name}.{child.name}", child)
        elif isinstance(child, ast.ClassDef) and is_public(child.name):
            yield Documented(f"{name}.{child.name}", child)
            yield from inside(f"{name}.{child.name}", child)


def module_names() -> dict[str, Path]:
    names = {}
    for path in sorted((ROOT / "elkutils").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if all(map(is_public, parts)):
            names[".".join(parts)] = path
    return names


MODULES = module_names()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
PUBLIC = [
    found
    for name, tree in TREES.items()
    for found in (Documented(name, tree), *inside(name, tree))
]
CALLABLE = [found for found in PUBLIC if isinstance(found.node, FUNCTIONS)]
DOCUMENTED = [found for found in PUBLIC if not found.name.endswith("__")]
WITH_EXAMPLES = [
    name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")
]


def unannotated(node) -> list[str]:
    """Parameters without an annotation, and "return" if that is missing."""
    listed = node.args
    named = [*listed.posonlyargs, *listed.args, *listed.kwonlyargs]
    starred = [arg for arg in (listed.vararg, listed.kwarg) if arg]
    bare = [arg.arg for arg in (*named, *starred) if arg.annotation is None]
    missing = [name for name in bare if name not in ("self", "cls")]
    needs_return = node.name != "__init__" and node.returns is None
    return missing + ["return"] * needs_return


def sections(docstring: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each section of a cleaned docstring: header, underline and lines."""
    lines = inspect.cleandoc(docstring).split("\n")
    marks = [i for i in range(1, len(lines)) if re.fullmatch(r"-{3,}", lines[i])]
    ends = [mark - 1 for mark in [*marks, len(lines) + 1]][1:]
    for mark, end in zip(marks, ends, strict=True):
        yield lines[mark - 1], lines[mark], lines[mark + 1 : end]


def entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each entry of a section: its line, and the first line of its description."""
    for i, line in enumerate(lines):
        if line and not line.startswith(" "):
            after = lines[i + 1] if i + 1 < len(lines) else ""
            yield line, after.strip() if after.startswith(" ") else ""


def is_type(text: str) -> bool:
    """Whether a line names a type, rather than telling what the argument is for."""
    return (
        len(text) <= LONGEST_TYPE
        and not text.endswith((".", ",", ";", ":"))
        and (". " not in text and "; " not in text)
    )


def begins_a_sentence(text: str) -> bool:
    """Whether text begins one; a symbol such as η or d may be its first word."""
    return not re.match(r"[a-z]{2,}(?![\w(.=])", text)


def faults(docstring: str) -> list[str]:
    """What in a docstring departs from NumPy's dialect."""
    found = [line for line in docstring.split("\n") if OTHER_DIALECTS.match(line)]
    for header, underline, lines in sections(docstring):
        if header not in SECTIONS or len(underline) != len(header):
            found.append(f"header {header!r}")
        if header in ("Notes", "Examples"):
            continue
        if not any(lines):
            found.append(f"{header} is empty")
        for line, description in entries(lines):
            if header in ("Raises", "Warns"):
                right = EXCEPTION.fullmatch(line) and description
            elif header in ("Returns", "Yields"):
                right = is_type(line)
            else:
                entry = ENTRY.fullmatch(line)
                right = entry and is_type(entry["type"])
                right = right or (NAMES.fullmatch(line) and description.startswith("As in "))
            if not right or not begins_a_sentence(description):
                found.append(f"{header}: {line!r}, {description!r}")
    return found


@pytest.mark.parametrize("found", CALLABLE, ids=lambda found: found.name)
def test_public_functions_are_annotated(found):
    assert not unannotated(found.node)


@pytest.mark.parametrize("found", DOCUMENTED, ids=lambda found: found.name)
def test_everything_public_has_a_docstring_in_numpy_style(found):
    assert found.docstring, f"{found.name} has no docstring"
    summary = found.docstring.split("\n\n")[0]
    assert summary.endswith((".", ":")), f"{found.name} opens with {summary!r}"
    assert not faults(found.docstring)


def test_every_module_is_on_a_page_of_the_api():
    """Those of a package that lists its names are there under the package's name."""
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "book" / "api").glob("*.md"))
    shown = set(re.findall(r"^\.\. automodule:: (\S+)$", pages, re.M))
    listed = {name for name in shown if "__all__" in MODULES[name].read_text(encoding="utf-8")}
    missing = {
        name
        for name in set(MODULES) - shown - {"elkutils"}
        if name.rpartition(".")[0] not in listed
    }
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_named_for_contributors_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:elkutils|book|tests|tools|docs)/[\w./-]*)`", text))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_recipes_open_the_guide_and_have_five_lines():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    recipes = dict(zip(parts[1:15:2], parts[2:16:2], strict=True))
    wanted = ("reporter", "sampler", "shift", "bound", "model", "claim", "chapter")
    assert list(recipes) == [f"A {name}" for name in wanted]
    for name, recipe in recipes.items():
        assert len(re.findall(r"^\d\. ", recipe, re.M)) == 5, name


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name):
    """They give what is shown, and none is an example of a fit that has not arrived."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


def test_there_are_examples():
    parser = doctest.DocTestParser()
    texts = (found.docstring for found in PUBLIC)
    assert sum(len(parser.get_examples(text)) for text in texts) >= LEAST_EXAMPLES


@pytest.mark.parametrize(
    ("entry", "right"),
    [
        ("y : (n,) array of 0 and 1", True),
        ("y : (n,) array of 0 and 1\n    Labels.", True),
        ("y, proba : (n,) arrays\n    η is the noise.", True),
        ("y : labels of rows that were held out.", False),
        ("y : (n,) array of 0 and 1, which\n    were held out.", False),
        ("y", False),
    ],
)
def test_the_check_of_the_dialect_can_fail(entry, right):
    assert (not faults(f"Fit.\n\nParameters\n----------\n{entry}\n")) == right


def test_the_check_of_annotations_can_fail():
    source = "def f(a, b: int, *args, **kwargs) -> None: ...\ndef g(self) : ..."
    assert [unannotated(node) for node in ast.parse(source).body] == [
        ["a", "args", "kwargs"],
        ["return"],
    ]
