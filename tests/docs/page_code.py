"""Python blocks: run in the variables of their page, or compiled and looked up."""

from __future__ import annotations

import ast
import io
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import import_module
from typing import Any
from unittest import mock

from page_blocks import BadPage, Block

import neuronscope as ns
from neuronscope.locate import registry
from neuronscope.models import families


def compiled(block: Block) -> ast.Module:
    """The syntax tree, with the line numbers of the page. Raises SyntaxError."""
    tree = ast.parse(block.code, filename=str(block.page))
    return ast.increment_lineno(tree, block.line - 1)


def run(block: Block, variables: dict[str, Any]) -> str:
    """Run a block and compare what it prints with what the page says.

    Edits of weights that it leaves in force are taken back, the last first.

    Returns what it prints.

    Raises BadPage for another output, and whatever the code raises.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            exec(compile(compiled(block), str(block.page), "exec"), variables)
    finally:
        for edit in reversed([value for value in variables.values() if isinstance(value, ns.Edit)]):
            if edit.applied:
                edit.revert()
    if block.prints is not None and _lines(block.prints) != _lines(printed.getvalue()):
        raise BadPage(f"prints\n{printed.getvalue()}and the page says\n{block.prints}")
    return printed.getvalue()


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


@contextmanager
def registries_kept() -> Generator[None]:
    """Forget the families and methods that are registered inside the block."""
    tables = [families._TABLE, registry._TABLE]  # pyright: ignore[reportPrivateUsage]
    with ExitStack() as stack:
        for table in tables:
            stack.enter_context(mock.patch.dict(table))
        yield


def look_up(block: Block) -> None:
    """Find every name of neuronscope that a block imports or reads as `ns.NAME`. Raises BadPage for a missing one."""
    for node in ast.walk(compiled(block)):
        for module, name in _names(node):
            if module.partition(".")[0] == "neuronscope" and not _there(module, name):
                raise BadPage(f"{block}: there is no {module}.{name}")


def _names(node: ast.AST) -> list[tuple[str, str]]:
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [(node.module, alias.name) for alias in node.names]
    if isinstance(node, ast.Import):
        return [alias.name.rpartition(".")[::2] for alias in node.names if "." in alias.name]  # pyright: ignore
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ns":
        return [("neuronscope", node.attr)]
    return []


def _there(module: str, name: str) -> bool:
    if hasattr(import_module(module), name):
        return True
    try:
        import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True
