"""Results as pandas data frames: one row per neuron, cell or token, and what is true of all rows in `frame.attrs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import InvalidOption
from .neuron import PLAIN_PART, Neuron, write_address

if TYPE_CHECKING:
    from pandas import DataFrame


def data_frame(columns: Mapping[str, Any], **about: Any) -> DataFrame:
    """The columns as a data frame; `about` are its attrs. Raises InvalidOption where pandas is not installed."""
    frame = the_pandas().DataFrame(dict(columns))
    frame.attrs.update(about)
    return frame


def the_pandas() -> Any:
    """The library. Raises InvalidOption where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise InvalidOption("to_dataframe() needs pandas: pip install 'neuronscope[pandas]'") from error
    return pandas


def neuron_columns(neurons: Iterable[Neuron], part: str = PLAIN_PART) -> dict[str, list[Any]]:
    """The columns that tell neurons: `neuron` (its address), `part`, `layer` and `unit`."""
    members = list(neurons)
    return {
        "neuron": [write_address(one.layer, one.unit, part) for one in members],
        "part": [part] * len(members),
        "layer": [one.layer for one in members],
        "unit": [one.unit for one in members],
    }
