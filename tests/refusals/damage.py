"""Damaged copies of good files: every key of a document left out, or of another kind; bytes cut, changed, replaced."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .watched import below

#: What stands in the place of a value, as JSON has it or as no JSON may have it.
WRONG = (
    *("null", "true", "0", "-1", "1.5", "1e999", "NaN", "-Infinity", "100000000000000000000", '""', '"x"', '"\\ud800"'),
    *('"../../x"', "[]", "{}", "[[]]", '[1, "x"]', '{"x": 1}', "[" * 300 + "]" * 300),
)
_HOLE = "@hole@"
_LEFT_OUT = object()


def documents(text: str, wrong: tuple[str, ...] = WRONG, items: int = 1) -> Iterator[tuple[str, str]]:
    """What is damaged, and the damaged text: every place of a document, in lists the last so many items."""
    whole = json.loads(text)
    for place in _places(whole, items):
        name = ".".join(map(str, place))
        yield f"{name} left out", json.dumps(_with(whole, place, _LEFT_OUT))
        holed = json.dumps(_with(whole, place, _HOLE))
        for word in wrong:
            yield f"{name} is {word[:24]}", holed.replace(f'"{_HOLE}"', word)


def _places(value: Any, items: int, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = (
        value.items() if isinstance(value, dict) else list(enumerate(value))[-items:] if isinstance(value, list) else ()
    )
    for key, inner in pairs:
        yield (*above, key)
        yield from _places(inner, items, (*above, key))


def _with(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = json.loads(json.dumps(document))  # several times as fast as copy.deepcopy
    at = changed
    for key in place[:-1]:
        at = at[key]
    if value is _LEFT_OUT:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return changed


def _cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _flip(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * share), len(data) - 1)] ^= 0xFF
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


#: What happens to a file of any kind.
FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut at the half": lambda path: _cut(path, 0.5),
    "without its last byte": lambda path: _cut(path, 0.999999) if path.stat().st_size > 1 else path.unlink(),
    "its first byte changed": lambda path: _flip(path, 0),
    "a byte changed in the middle": lambda path: _flip(path, 0.5),
    "its last byte changed": lambda path: _flip(path, 1),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "an empty document": lambda path: path.write_text("{}", encoding="utf-8"),
    "a deep document": lambda path: path.write_text("[" * 100_000, encoding="utf-8"),
    "a folder": _folder,
    "a link to itself": lambda path: _link(path, path.name),
    "a link to nothing": lambda path: _link(path, "nothing"),
    "a link to a device": lambda path: _link(path, "/dev/zero"),
}


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder; in the place of an older one, of which files that nobody touched stay where they are."""
    if not target.is_dir():
        shutil.copytree(source, target, symlinks=True)
        return target
    there, wanted = _kinds(target), _kinds(source)
    for name, kind in sorted(there.items(), reverse=True):  # what is in a folder goes before it
        if name not in wanted or wanted[name] != kind:
            place = target / name
            place.rmdir() if kind is None else place.unlink()
    for name, kind in sorted(wanted.items()):
        place = target / name
        if kind is None:
            place.mkdir(exist_ok=True)
        elif there.get(name) != kind:
            shutil.copy2(source / name, place, follow_symlinks=False)
    return target


def _kinds(folder: Path) -> dict[str, tuple[int, ...] | None]:
    """What is below a folder: None for folders; of files their kind, size and time, which copies have, too."""
    return {
        name: None if stat.S_ISDIR(one.st_mode) else (stat.S_IFMT(one.st_mode), one.st_size, one.st_mtime_ns)
        for name, one in below(folder).items()
    }
