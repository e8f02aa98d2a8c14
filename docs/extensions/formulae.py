"""LaTeX between `$` or `$$` as MathML, written when the site is built: no script and no request when it is read."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from pymdownx.arithmatex import ArithmatexExtension

_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
_MARKS = {"span": (r"\(", r"\)", "inline"), "div": (r"\[", r"\]", "block")}


class Formulae(Treeprocessor):
    """Replaces what Arithmatex has found by MathML."""

    def run(self, root: ET.Element) -> None:
        """Walk the page."""
        for element in root.iter():
            if element.tag in _MARKS and element.get("class") == "arithmatex":
                begin, end, display = _MARKS[element.tag]
                given = html.unescape(element.text or "").strip()  # Arithmatex escapes for HTML
                latex = given.removeprefix(begin).removesuffix(end).strip()
                element.text = None
                element.append(mathml(latex, display))


def mathml(latex: str, display: str) -> ET.Element:
    """The formula as an element `math` that keeps its LaTeX for readers that show no MathML."""
    tree = ET.fromstring(convert(latex, display=display))
    for element in tree.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
    tree.set("aria-label", latex)
    return tree


class FormulaeExtension(Extension):
    """Arithmatex finds the formulae; :class:`Formulae` writes them."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (the library's name)
        """Called by Python-Markdown."""
        ArithmatexExtension(generic=True).extendMarkdown(md)
        md.treeprocessors.register(Formulae(md), "neuronscope-formulae", 5)  # after inline text (20)


def makeExtension() -> FormulaeExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return FormulaeExtension()
