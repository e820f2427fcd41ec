"""Nothing in the package imports in a circle, or against the order of its parts."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest first; a part may import from its own level and from those before it.
LEVELS = (
    ("_inputs", "files", "profiles", "checkpoint", "source"),
    ("tasks", "evaluation"),
    ("inference", "plots", "token_scores", "ledger", "argument"),
    ("models", "reporters"),
    ("study",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in (ROOT / "elkutils").rglob("*.py")}


def is_type_checking(node) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imported(tree, inside_functions: bool):
    """The package's modules that a module imports, those for type checkers aside."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside_functions or not isinstance(node, ast.FunctionDef):
            yield from imported(node, inside_functions)


def graph(inside_functions: bool) -> dict[str, set[str]]:
    """Module → the modules of the package that it imports."""
    found = {}
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {n for n in imported(tree, inside_functions) if n.startswith("elkutils")}
        # "from package import name" is an import of the module that is meant.
        names = {n if n in MODULES else n.rpartition(".")[0] for n in names}
        found[name] = names & set(MODULES) - {name, "elkutils"}
    return found


def upward(modules: dict[str, set[str]]) -> list[str]:
    """Imports from a part of a higher level."""
    level = {name: LEVEL[name.split(".")[1]] for name in modules if "." in name}
    return [
        f"{name} imports {other}"
        for name, others in modules.items()
        for other in others
        if name in level and level[other] > level[name]
    ]


def test_every_part_has_its_level():
    assert {name.split(".")[1] for name in MODULES if "." in name} == set(LEVEL)


def test_no_import_goes_upward():
    assert not upward(graph(inside_functions=True))


@pytest.mark.parametrize("inside_functions", [False, True])
def test_no_circle(inside_functions):
    """A package and its own modules do not count: that is how a package is made."""
    modules = graph(inside_functions)
    modules = {
        name: {o for o in others if not name.startswith(f"{o}.")}
        for name, others in modules.items()
    }
    tuple(TopologicalSorter(modules).static_order())


def test_inference_and_evaluation_know_no_torch():
    for name, path in MODULES.items():
        if name.split(".")[1:2] in (["inference"], ["evaluation"], ["reporters"]):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not [n for n in imported(tree, True) if n.split(".")[0] == "torch"], name


def test_the_rules_can_fail():
    source = "def f():\n    from torch import nn\n    from elkutils.models import language"
    assert list(imported(ast.parse(source), True)) == ["torch.nn", "elkutils.models.language"]
    assert list(imported(ast.parse(source), False)) == []
    assert upward({"elkutils.tasks.a": {"elkutils.models.b"}, "elkutils.models.b": set()})
    with pytest.raises(ValueError, match="cycle"):
        tuple(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
