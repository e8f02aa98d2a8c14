"""Lines `<!-- NAME: ARGUMENT -->` of a page that stand for text made from the source when the site is built.

On a plain Markdown reader they are comments, so a page stays readable there. An argument that names nothing raises
DirectiveError, which stops the build: a page cannot quote what is no longer in the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
#: Before fences (25) and raw HTML (20) are taken out, after lines are normalised (30).
_PRIORITY = 28


class DirectiveError(Exception):
    """A directive names something that the source does not have."""


class Directive(Preprocessor):
    """Replaces the lines of one directive by what `expand` makes of their argument."""

    def __init__(self, name: str, expand: Callable[[str], list[str]]) -> None:
        super().__init__()
        self.line = re.compile(rf"<!-- {name}: (?P<argument>\S.*?) -->")
        self.expand = expand

    def run(self, lines: list[str]) -> list[str]:
        """The page's lines, with those of the directive replaced."""
        result: list[str] = []
        for line in lines:
            found = self.line.fullmatch(line.strip())
            result += self.expand(found["argument"]) if found else [line]
        return result


class DirectiveExtension(Extension):
    """Registers one directive."""

    def __init__(self, name: str, expand: Callable[[str], list[str]]) -> None:
        super().__init__()
        self.name, self.expand = name, expand

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (the library's name)
        """Called by Python-Markdown."""
        md.preprocessors.register(Directive(self.name, self.expand), f"neuronscope-{self.name}", _PRIORITY)


@cache
def parsed(path: Path) -> tuple[list[str], ast.Module]:
    """Lines and syntax tree of a source file."""
    text = path.read_text(encoding="utf-8")
    return text.splitlines(), ast.parse(text)
