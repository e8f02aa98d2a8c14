"""Several sets of neurons as a folder: neurons/CONCEPT.json, one for each, by the name of its concept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from .errors import InvalidOption, RunMismatch
from .files import clear_result, named_like, output_folder
from .given import checked
from .types import Neurons

_FOLDER = "neurons"
_FILE = r".+\.json"


@checked
def save_sets(folder: str | Path, sets: Mapping[str, Neurons], *, instead_of: str = "") -> dict[str, str]:
    """Write sets of neurons by the name of their concept; concept -> path, relative to the folder.

    Args:
        folder: made if need be.
        sets: concept -> its neurons.
        instead_of: a method: its sets of other concepts that an earlier call has written there are removed.

    Raises InvalidOption for a name that is not the set's concept, or is empty, and for a folder that cannot be written
    to.
    """
    for name, neurons in sets.items():
        if not name or name != neurons.concept:
            raise InvalidOption(f"sets[{name!r}] is a set of {neurons.concept!r}: the names are the sets' concepts")
    place = output_folder(Path(folder) / _FOLDER)
    written = {name: f"{_FOLDER}/{_file_of(name)}" for name in sets}
    for name, neurons in sets.items():
        neurons.save(Path(folder) / written[name])
    for name in named_like(place, _FILE):
        if f"{_FOLDER}/{name}" not in written.values() and _is_earlier(place / name, instead_of):
            clear_result(place, name)
    return written


@checked
def load_sets(folder: str | Path) -> dict[str, Neurons]:
    """The sets of a folder, concept -> neurons, such as those of `neuronscope discover` or of a data set of the hub.

    Sets that are called otherwise than their concept are left out: those are people's own.

    Raises RunMismatch where there are none, and for a file there that is damaged.
    """
    place = Path(folder) / _FOLDER
    found = {name: Neurons.load(place / name) for name in named_like(place, _FILE)}
    sets = {neurons.concept: neurons for name, neurons in found.items() if name == _file_of(neurons.concept)}
    if not sets:
        raise RunMismatch(f"{place} holds no sets of neurons: name a folder of `neuronscope discover`, or of save_sets")
    return sets


def _is_earlier(path: Path, method: str) -> bool:
    """Whether a file is one that an earlier call wrote of a method."""
    try:
        found = Neurons.load(path)
    except RunMismatch:  # somebody else's file
        return False
    return bool(method) and found.method == method and path.name == _file_of(found.concept)


def _file_of(concept: str) -> str:
    return f"{quote(concept, safe=' ')}.json"
