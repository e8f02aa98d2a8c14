"""The house: an import points downwards, and there is no circle. The table of rooms is the one in CONTRIBUTING."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "neuronscope"
TABLE = re.search(r"```text\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
#: Room -> its height; the rooms of one line may not import each other.
HEIGHT = {
    room: -line
    for line, text in enumerate((TABLE[1] if TABLE else "").splitlines())
    for room in text.split("  ")[0].split()
}
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}


def imports(module: str, path: Path) -> Iterator[str]:
    """Modules of the package that a module imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            inside = [*module.split("."), *(["__init__"] if path.name == "__init__.py" else [])]
            above = inside[: len(inside) - node.level] if node.level else None
            if above is None and not (node.module or "").startswith("neuronscope"):
                continue
            base = [*(above or []), *(node.module or "").removeprefix("neuronscope").strip(".").split(".")]
            name = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{name}.{alias.name}".strip(".")
                yield inner if inner in MODULES else name


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module -> the modules that it imports."""
    return {module: set(imports(module, path)) - {module} for module, path in MODULES.items() if module != "__init__"}


def room(module: str) -> str:
    """Its folder, or the module itself where it lies beside the folders; each study is a room of its own."""
    parts = module.split(".")
    return "/".join(parts[:2]) if parts[0] == "studies" and len(parts) > 1 else parts[0]


def test_every_module_has_a_room_and_no_room_is_empty():
    assert {room(module) for module in MODULES if module != "__init__"} - {"__main__", "studies"} == set(HEIGHT)


def test_imports_point_downwards(graph: dict[str, set[str]]):
    arrows = [(a, b) for a, targets in graph.items() for b in targets if room(a) != room(b) and a != "__main__"]
    upward = [f"{a} imports {b}" for a, b in arrows if b not in ("", "__init__") and HEIGHT[room(a)] <= HEIGHT[room(b)]]
    assert not upward + [f"{a} imports the package itself" for a, b in arrows if b in ("", "__init__")]


def test_there_is_no_circle(graph: dict[str, set[str]]):
    TopologicalSorter(graph).prepare()  # raises CycleError, which names it


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_modules_are_short(module: str):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 400


def test_the_median_module_is_short():
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values())
    assert lengths[len(lengths) // 2] <= 130
