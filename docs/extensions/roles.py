"""References of docstrings, such as :meth:`Neurons.at`, as plain code."""

from __future__ import annotations

import re

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

_ROLE = re.compile(r":(?:class|data|func|meth|mod):(?=`)")


class Roles(Preprocessor):
    """Drops the role and leaves the name."""

    def run(self, lines: list[str]) -> list[str]:
        """The lines of a page or docstring."""
        return [_ROLE.sub("", line) for line in lines]


class RolesExtension(Extension):
    """Registers :class:`Roles`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (the library's name)
        """Called by Python-Markdown."""
        md.preprocessors.register(Roles(md), "neuronscope-roles", 27)


def makeExtension() -> RolesExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return RolesExtension()
