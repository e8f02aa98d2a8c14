"""`<!-- source: neuronscope.models.lens.lens -->`: the code of a function, method or class, as it is now.

Its docstring is left out, since the reference has it.
"""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

from .directive import ROOT, SOURCE, DirectiveError, DirectiveExtension, parsed


def locate(name: str) -> tuple[Path, list[str]]:
    """The file and the members' names of a dotted name. Raises DirectiveError where no module fits."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = SOURCE.joinpath(*parts[:cut])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, parts[cut:]
    raise DirectiveError(f"source: {name} is in no module of {SOURCE.name}/")


def code_of(name: str) -> tuple[Path, str]:
    """The file and the code of a dotted name. Raises DirectiveError where there is no such definition."""
    path, members = locate(name)
    lines, tree = parsed(path)
    node: ast.AST = tree
    for member in members:
        node = _member(node, member, name)
    assert isinstance(node, ast.stmt)
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    kept = [*range(first - 1, node.end_lineno or node.lineno)]
    body: list[ast.stmt] = getattr(node, "body", [])
    if len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        kept = [i for i in kept if not body[0].lineno - 1 <= i < (body[0].end_lineno or 0)]
    return path, textwrap.dedent("\n".join(lines[i] for i in kept)).strip("\n")


def _member(node: ast.AST, member: str, name: str) -> ast.AST:
    for child in getattr(node, "body", []):
        targets = [child.target] if isinstance(child, ast.AnnAssign) else getattr(child, "targets", [])
        if getattr(child, "name", None) == member or any(getattr(t, "id", None) == member for t in targets):
            return child
    raise DirectiveError(f"source: {name} does not exist; there is no {member!r}")


def expand(name: str) -> list[str]:
    """A fenced block with the code, headed by the file's name."""
    path, code = code_of(name)
    return ["", f'```python title="{path.relative_to(ROOT).as_posix()}"', *code.splitlines(), "```", ""]


def makeExtension() -> DirectiveExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return DirectiveExtension("source", expand)
