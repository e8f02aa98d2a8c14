"""What events of the page bring from the browser: nothing of it is taken on trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidOption, InvalidSample
from ..parsing import digits
from ..types import Neuron
from .annotations import numbers_of


def point_of(data: Mapping[str, Any]) -> tuple[float, float]:
    """Where somebody clicked, {"x": x, "y": y}. Raises InvalidSample for anything else."""
    try:
        x, y = numbers_of([data["x"], data["y"]], 2)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidSample(f"the click cannot be read: {type(error).__name__}: {error}") from error
    return x, y


def picture_number(value: object) -> int:
    """A number of a picture or page. Raises InvalidOption for anything else."""
    number = digits(str(value))
    if number is None:
        raise InvalidOption(f"{value!r} is not a number of a picture")
    return number


def neuron_of(value: object) -> Neuron:
    """A neuron, "layer.unit". Raises InvalidOption for anything else."""
    layer, _, unit = str(value).partition(".")
    at, number = digits(layer), digits(unit)
    if at is None or number is None:
        raise InvalidOption(f"{value!r} is not a neuron")
    return Neuron(at, number)
