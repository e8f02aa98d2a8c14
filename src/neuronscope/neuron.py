"""One neuron, and how its address is written and read: one spelling is printed, its relatives are read too.

    L12.U405            unit 405 of the FFN of the decoder's layer 12, both counted from 0
    vision.L3.U17       of another part of the model

Letters make it a word: a spreadsheet would take 12.410 for a number, and write it back as 12.41, another neuron.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias, cast

from .errors import InvalidOption
from .fields import check_fields, shown

#: The part whose name is left out.
PLAIN_PART = "text"

_ADDRESS = re.compile(r"(?:([A-Za-z]+)\.)?[Ll]?([0-9]{1,18})\.[Uu]?([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, order=True)
class Neuron:
    """Unit `unit` of the FFN of layer `layer`, both counted from 0. Which part's layer, the set says."""

    layer: int
    unit: int

    def __post_init__(self) -> None:
        plain = type(self.layer) is type(self.unit) is int and self.layer >= 0 and self.unit >= 0
        if not plain:  # many are made: the quick question first
            check_fields(self)

    def __str__(self) -> str:
        return write_address(self.layer, self.unit)


#: What a neuron of a set can be given as: the pair (layer, unit), itself, or its address.
OneNeuron: TypeAlias = tuple[int, int] | Neuron | str


def write_address(layer: int, unit: int, part: str = PLAIN_PART) -> str:
    """The address of a neuron."""
    return f"{'' if part == PLAIN_PART else f'{part}.'}L{layer}.U{unit}"


def read_address(text: str) -> tuple[str | None, int, int]:
    """Part, layer and unit: of L12.U405, 12.405, text.12.405, vision.L3.U17 or vision.3.17; no part where none is said.

    Raises InvalidOption for any other text.
    """
    found = _ADDRESS.fullmatch(text.strip(" \t\n,"))  # as it is copied from a line or a list
    if found is None:
        raise InvalidOption(
            f"address {shown(text)} is not of the form PART.LAYER.UNIT, such as L12.U405 or vision.L3.U17"
        )
    return found[1], int(found[2]), int(found[3])


def read_neuron(named: str, one: object) -> tuple[str | None, Neuron]:
    """The part that is said, if any, and the neuron. Raises InvalidOption, with `named`, for what is no neuron."""
    if isinstance(one, Neuron):
        return None, one
    if isinstance(one, str):
        part, layer, unit = read_address(one)
        return part, Neuron(layer, unit)
    try:
        layer, unit = cast("tuple[int, int]", one)
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"{named}: {shown(one)} is no pair (layer, unit), Neuron or address") from error
    return None, Neuron(layer, unit)
