"""The natural model is built once into the user's cache, under a name that says what it was built from.

What could change under it: the packages, of which the name has versions and a hash of the weights; and the files in the
cache, beside which lies a list of their hashes. Reading all of that takes 0.1 s; a model that is not as it was built is
built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path

from xxhash import xxh3_128

from ...errors import InvalidOption, UnsupportedModel
from ...files import refusing, replacing_folder
from ...parsing import read_json
from .checkpoint import PROJECTOR, RECIPE, build
from .packages import WEIGHTS, require, versions, weights_file

#: In the folder: file name -> hash of its bytes.
BUILT = "built.json"


def cache_folder() -> Path:
    """Where built models are kept: NEURONSCOPE_CACHE, else `neuronscope` in XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("NEURONSCOPE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuronscope"


def cache_key() -> str:
    """A hash of the packages' versions, the projector's bytes and the recipe: 12 hexadecimal digits."""
    projector = hashlib.sha256(PROJECTOR.read_bytes()).hexdigest()
    made_of = {"packages": versions(), "weights": weights(), "projector": projector, "recipe": RECIPE}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def weights() -> dict[str, str]:
    """Distribution -> a hash of its file of weights; empty for one that has none, which building it says."""
    return {name: _hash(file) for name, pattern in WEIGHTS.items() if (file := _found(name, pattern)) is not None}


def changed(place: Path) -> bool:
    """Whether a built model is not as it was built: files that are cut, exchanged, added or missing."""
    try:
        return bool(read_json(place / BUILT) != _hashes(place))
    except (OSError, ValueError):
        return True


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.name != BUILT and not path.is_dir())
    return {str(path.relative_to(folder)): _hash(path) for path in files}


def _hash(file: Path) -> str:
    whole = xxh3_128()
    with file.open("rb") as stream:
        while piece := stream.read(2**24):
            whole.update(piece)
    return whole.hexdigest()


def _found(name: str, pattern: str) -> Path | None:
    try:
        return weights_file(name, pattern)
    except UnsupportedModel:
        return None


def cached() -> Path:
    """The checkpoint directory of the natural model, built now if the cache does not have it as it was built.

    It is written under another name and renamed when it is whole, so that processes that build it at the same time, or
    are killed, leave no half. Raises InvalidOption where packages are missing, with the command that installs them,
    and where the cache cannot be written.
    """
    require()
    place = cache_folder() / f"natural-{cache_key()}"
    if place.is_dir():
        if not changed(place):
            return place
        with refusing(place):
            aside = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
            place.rename(aside)  # another process may be reading it
            shutil.rmtree(aside)
    try:
        with replacing_folder(place, "config.json") as temporary:
            build(temporary)
            (temporary / BUILT).write_text(json.dumps(_hashes(temporary)), encoding="utf-8")
    except InvalidOption:
        if not place.is_dir():  # else another process was first, with the same
            raise
    return place
