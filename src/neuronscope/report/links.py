"""Links from a page to those of single neurons, as far as an index has them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from markupsafe import Markup, escape

from ..errors import RunMismatch
from ..files import is_file
from ..index.file import NeuronIndex
from ..neuron import read_neuron
from ..types import Neuron
from .neurons import page_of

#: An address in a text, of the part that answers: not the end of "vision.L3.U17".
_ADDRESS = re.compile(r"(?<![\w.])L\d+\.U\d+(?!\w)")
#: A neuron's page, from where the linking page is; empty where it has none.
Links: TypeAlias = Callable[[Neuron], str]


def links_from(page: Path, index: NeuronIndex) -> Links:
    """Relative links, so that both can be moved together."""
    there = Path(os.path.relpath(index.path.parent.resolve(), page.parent.resolve())).as_posix()

    def link(neuron: Neuron) -> str:
        place = page_of(neuron)
        return f"{quote(there)}/{place}" if is_file(index.path.parent / place) else ""

    return link


def linked(text: str, link: Links) -> Markup:
    """A text in which addresses such as L12.U405 lead to pages, as far as there are any; all else is escaped."""
    found, at = Markup(""), 0
    for one in _ADDRESS.finditer(text):
        place = link(read_neuron("neuron", one[0])[1])
        shown = Markup('<a href="{}">{}</a>').format(place, one[0]) if place else escape(one[0])
        found += escape(text[at : one.start()]) + shown
        at = one.end()
    return found + escape(text[at:])


def require_same(index: NeuronIndex, model: Mapping[str, Any]) -> None:
    """Raise RunMismatch for neurons of a model with other weights than those of an index."""
    here, there = model.get("fingerprint", ""), index.model["fingerprint"]
    if here and here != there:
        raise RunMismatch(
            f"{index.path} was made with weights of fingerprint {there}, and the neurons were found in {here}: its "
            "pages are of other neurons"
        )
