"""What a run is a run of: its settings, in one canonical spelling, and the machines and versions it was computed with.

Canonical JSON has sorted names, no spaces and ASCII only; a float that is a whole number is spelt as that number, so
that a noise level of 8 and one of 8.0 are the same unit of work. `run.json` holds the settings as they were on creation
and the list of environments seen since: other settings are another run, other versions are the same run with a note.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from ..errors import InvalidOption, RunMismatch
from ..parsing import read_json
from ..types import Json

SCHEMA = "neuronscope.run/1"

_LIBRARIES = ("neuronscope", "torch", "transformers", "numpy", "pyarrow")
_EXACT = 2**53  # above it a float64 no longer says which whole number was meant
_ABSENT = "absent"


def json_value(value: object, where: str) -> Json:
    """The value as JSON has it: tuples as lists, whole floats as integers.

    Raises InvalidOption naming `where` for what JSON cannot hold: NaN, infinities, other types, names that are no text.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidOption(f"{where} is {value}, not a finite number")
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return {_name(name, where): json_value(item, f"{where}.{name}") for name, item in entries.items()}
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [json_value(item, f"{where}[{i}]") for i, item in enumerate(items)]
    raise InvalidOption(f"{where} is {value!r} of type {type(value).__name__}, which JSON cannot hold")


def _name(name: object, where: str) -> str:
    if not isinstance(name, str):
        raise InvalidOption(f"{where} has the name {name!r} of type {type(name).__name__}, not text")
    return name


def canonical(value: object, where: str) -> str:
    """The one spelling of a value. Raises InvalidOption as :func:`json_value` does."""
    return json.dumps(json_value(value, where), sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(saved: Mapping[str, Json], asked: Mapping[str, Json]) -> list[str]:
    """One phrase for every setting that is not the same, with both values; settings within settings as `a.b`."""
    old, new = dict(_leaves(saved)), dict(_leaves(asked))
    return [
        f"{'.'.join(path)} is {old.get(path, _ABSENT)} there and {new.get(path, _ABSENT)} now"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _leaves(value: Json | Mapping[str, Json], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping) and (value or not path):
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    else:
        yield path, canonical(value, "setting")


def environment() -> dict[str, Json]:
    """Versions and machine, without the names of user or host."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
    }


@cache
def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # used from a folder, not installed
        return None


@dataclass(frozen=True)
class Record:
    """The content of run.json.

    Attributes:
        settings: everything that decides what the results are.
        environments: each set of versions and machine that opened the run, the creator's first.
    """

    settings: Mapping[str, Json]
    environments: tuple[Mapping[str, Json], ...]

    @cached_property  # asked for with every part
    def digest(self) -> str:
        """16 hexadecimal digits that differ for other settings; every part carries them."""
        return hashlib.sha256(canonical(self.settings, "settings").encode()).hexdigest()[:16]

    def seen(self, where: Mapping[str, Json]) -> bool:
        """Whether this environment is in the list."""
        return canonical(where, "environment") in {canonical(known, "environment") for known in self.environments}

    def to_bytes(self) -> bytes:
        """The file."""
        document = {"schema": SCHEMA, "settings": self.settings, "environments": self.environments}
        return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read run.json. Raises RunMismatch, naming the file, when it is missing, damaged or of another schema."""
        try:
            document = read_json(path)
        except FileNotFoundError as error:
            raise RunMismatch(f"{path.parent} is no run: it has no {path.name}") from error
        except (OSError, ValueError) as error:
            raise RunMismatch(f"{path} is damaged: {error}. {_REMEDY}") from error
        if not isinstance(document, dict):
            raise RunMismatch(f"{path} is damaged: it holds no JSON object. {_REMEDY}")
        return cls._parse(cast("dict[str, Any]", document), path)

    @classmethod
    def _parse(cls, document: Mapping[str, Any], path: Path) -> Record:
        if document.get("schema") != SCHEMA:
            raise RunMismatch(f"{path} has schema {document.get('schema')!r}; this version reads {SCHEMA!r}")
        settings, seen = document.get("settings"), document.get("environments")
        if not isinstance(settings, dict):
            raise RunMismatch(f"{path} is damaged: settings is {settings!r}, not an object. {_REMEDY}")
        if not isinstance(seen, list) or not all(isinstance(one, dict) for one in cast("list[object]", seen)):
            raise RunMismatch(f"{path} is damaged: environments is {seen!r}, not a list of objects. {_REMEDY}")
        return cls(cast("dict[str, Json]", settings), tuple(cast("list[dict[str, Json]]", seen)))


_REMEDY = "Restore it from a copy, or start the run in another folder."
