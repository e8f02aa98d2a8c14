"""Links from a page to those of single neurons, as far as an index has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from ..errors import RunMismatch
from ..files import is_file
from ..index.file import NeuronIndex
from ..types import Neuron, Neurons
from .neurons import page_of

#: A neuron's page, from where the linking page is; empty where it has none.
Links: TypeAlias = Callable[[Neuron], str]


def links_from(page: Path, index: NeuronIndex) -> Links:
    """Relative links, so that both can be moved together."""
    there = Path(os.path.relpath(index.path.parent.resolve(), page.parent.resolve())).as_posix()

    def link(neuron: Neuron) -> str:
        place = page_of(neuron)
        return f"{quote(there)}/{place}" if is_file(index.path.parent / place) else ""

    return link


def require_same(index: NeuronIndex, neurons: Neurons) -> None:
    """Raise RunMismatch for neurons of other weights than those of an index."""
    here, there = neurons.model.get("fingerprint", ""), index.model["fingerprint"]
    if here and here != there:
        raise RunMismatch(
            f"{index.path} was made with weights of fingerprint {there}, and the neurons were found in {here}: its "
            "pages are of other neurons"
        )
