"""`<!-- hierarchy: NeuronscopeError -->`: an error and those below it, with their docstrings, linked to their pages."""

from __future__ import annotations

import ast
import re

from .directive import DirectiveError, DirectiveExtension
from .messages import error_classes


def page_of(name: str) -> str:
    """File of an error's page: ConceptNotNamed -> concept-not-named.md."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() + ".md"


def expand(name: str, depth: int = 0) -> list[str]:
    """A list entry for the class, and indented below it those derived from it."""
    known = error_classes()
    if name not in known:
        raise DirectiveError(f"hierarchy: {name} is not in errors.py, which has {', '.join(known)}")
    text = " ".join((ast.get_docstring(known[name]) or "").split())
    lines = [f"{'    ' * depth}- [{name}]({page_of(name)}): {text}"]
    for other, definition in known.items():
        if [ast.unparse(base) for base in definition.bases][:1] == [name]:
            lines += expand(other, depth + 1)
    return lines


def makeExtension() -> DirectiveExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return DirectiveExtension("hierarchy", expand)
