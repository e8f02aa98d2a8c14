"""`<!-- messages: ConceptNotNamed -->`: where an error is raised, and with which words, read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .directive import SOURCE, DirectiveError, DirectiveExtension, parsed

ERRORS = SOURCE / "neuronscope" / "errors.py"


@cache
def error_classes() -> dict[str, ast.ClassDef]:
    """Name -> definition, in the order of errors.py."""
    _, tree = parsed(ERRORS)
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def raised() -> dict[str, dict[str, list[str]]]:
    """Error class -> module -> the messages that are raised there, with … for what is filled in."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in error_classes()}
    for path in sorted((SOURCE / "neuronscope").rglob("*.py")):
        for error, message in _raised_in(path):
            texts = found[error].setdefault(_module(path), [])
            if message not in texts:
                texts.append(message)
    return found


def _raised_in(path: Path) -> Iterator[tuple[str, str]]:
    for node in _raises(parsed(path)[1]):
        made = node.exc
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id in error_classes():
            yield made.func.id, template(made.args[0])


def _raises(node: ast.AST) -> Iterator[ast.Raise]:
    """In the order of the source: statements only, as going through every expression of the package takes seconds."""
    if isinstance(node, ast.Raise):
        yield node
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, part, None)
        for inner in below if isinstance(below, list) else ():  # a lambda's body is an expression
            yield from _raises(inner)


def template(message: ast.expr) -> str:
    """The constant words of a message; … stands for the rest."""
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return message.value
    if isinstance(message, ast.JoinedStr):
        text = "".join(template(part) if isinstance(part, ast.Constant) else "…" for part in message.values)
    elif isinstance(message, ast.BinOp) and isinstance(message.op, ast.Add):
        text = template(message.left) + template(message.right)
    else:
        text = "…"
    return re.sub("…+", "…", text)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def expand(name: str) -> list[str]:
    """One list entry for each module, and below it the messages."""
    if name not in error_classes():
        raise DirectiveError(f"messages: {name} is not in errors.py, which has {', '.join(error_classes())}")
    lines = [""]
    for module, texts in raised()[name].items():
        lines += [f"- `{module}`", *(f"    - {_code(text)}" for text in texts)]
    return [*lines, ""]


def _code(text: str) -> str:
    flat = " ".join(text.split())
    return f"`` {flat} ``" if "`" in flat else f"`{flat}`"


def makeExtension() -> DirectiveExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return DirectiveExtension("messages", expand)
