"""The import graph: no circle, no import of a higher layer, no private name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hmimo_fast"
FILES = sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyx")])
#: Modules and folders of the package, each of which imports from those before it alone.
LAYERS = (
    *("arguments", "geometry", "streams", "writing", "files", "plot", "surface", "channels"),
    *(
        "kernels",
        "elements",
        "objective",
        "problem",
        "nn",
        "solvers",
        "scheduling",
        "fairness",
        "hmimo_fast",
    ),
    *("benchmark", "sionna", "studies", "cli", "__main__"),
)


def name_of(file: Path) -> tuple[str, ...]:
    parts = (ROOT.name, *file.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


MODULES = {name_of(file): file for file in FILES}
SOURCES = {name: file for name, file in MODULES.items() if file.suffix == ".py"}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All there is below, in functions too, but for what type checkers alone read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


def imports(name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Modules of the package that a module imports, and the name taken from each."""
    package = name if SOURCES[name].name == "__init__.py" else name[:-1]
    for node in statements(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.Import):
            found = [(tuple(alias.name.split(".")), "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found = [
                ((*base, alias.name), "") if (*base, alias.name) in MODULES else (base, alias.name)
                for alias in node.names
            ]
        else:
            continue
        yield from (pair for pair in found if pair[0] in MODULES)


def part(name: tuple[str, ...]) -> str:
    """The module or folder right under the package; the package itself by its own name."""
    return name[1] if len(name) > 1 else name[0]


def test_every_part_has_its_layer() -> None:
    assert {part(name) for name in MODULES} == set(LAYERS)


def test_no_import_leads_back() -> None:
    graph = {name: {known for known, _ in imports(name)} - {name} for name in SOURCES}
    assert sum(map(len, graph.values())) > 300  # it sees them
    TopologicalSorter(graph).prepare()  # raises on a circle


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_knows_those_below_it(layer: str) -> None:
    below = {*LAYERS[: LAYERS.index(layer)], layer}
    for name in SOURCES:
        if part(name) == layer:
            assert {part(known) for known, _ in imports(name)} <= below, ".".join(name)


def test_no_private_name_leaves_its_module() -> None:
    for name in SOURCES:
        for known, taken in imports(name):
            private = taken.startswith("_") and not taken.startswith("__")
            assert not private, f"{'.'.join(name)} takes {taken} from {'.'.join(known)}"
