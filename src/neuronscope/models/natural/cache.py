"""The natural model is built once into the user's cache, under a name that says what it was built from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from ...errors import InvalidOption
from ...files import replacing_folder
from .checkpoint import PROJECTOR, RECIPE, build
from .packages import require, versions


def cache_folder() -> Path:
    """Where built models are kept: NEURONSCOPE_CACHE, else `neuronscope` in XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("NEURONSCOPE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuronscope"


def cache_key() -> str:
    """A hash of the packages' versions, the projector's bytes and the recipe: 12 hexadecimal digits."""
    projector = hashlib.sha256(PROJECTOR.read_bytes()).hexdigest()
    made_of = {"packages": versions(), "projector": projector, "recipe": RECIPE}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def cached() -> Path:
    """The checkpoint directory of the natural model, built now if the cache does not have it.

    It is written under another name and renamed when it is whole, so that processes that build it at the same time, or
    are killed, leave no half. Raises InvalidOption where packages are missing, with the command that installs them,
    and where the cache cannot be written.
    """
    require()
    place = cache_folder() / f"natural-{cache_key()}"
    if place.is_dir():
        return place
    try:
        with replacing_folder(place, "config.json") as temporary:
            build(temporary)
    except InvalidOption:
        if not place.is_dir():  # else another process was first, with the same
            raise
    return place
