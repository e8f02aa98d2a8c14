"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from .errors import InvalidOption
from .parsing import parse_json
from .processes import Owner

_FULL = (errno.ENOSPC, errno.EDQUOT)  # a quota is a disk, too
#: Endings of pictures that are written.
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf")
_LONGEST = 140  # bytes of a target's name that its temporary name keeps: file systems take 255 in all
_WITHIN = "files"  # stands in the temporary name of a folder that is made inside its target
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{16}-\d+-\d+)\.[0-9a-f]{8}\.part.*", re.DOTALL)
_MOVING = ".moving.json"  # in such a folder: the files that are being moved to their places, in that order
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there. A name that no file system takes, such as one that is too long, is none."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def is_file(path: str | Path) -> bool:
    """Whether a regular file is there; names as in :func:`is_folder`."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def output_folder(path: str | Path) -> Path:
    """Create the folder if need be and prove that it can be written to, before any long work starts.

    What killed processes of this machine were writing in it is removed, whether or not it is written again.

    Raises InvalidOption when it is a file, read-only, or cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in _left_in(folder):
            _remove(path)
        probe = _beside(folder / "probe")  # a name of ours: a killed process leaves it where the next one finds it
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidOption(f"output folder {folder} cannot be written to: {error.strerror or error}") from error
    return folder


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason} (disk full)" if error.errno in _FULL else reason


@contextmanager
def refusing(path: Path) -> Generator[None]:
    """Turn the operating system's errors into InvalidOption with the file's name; a full disk is called that."""
    try:
        yield
    except OSError as error:
        raise InvalidOption(f"{path} cannot be written: {_why(error)}") from error


@contextmanager
def replacing(path: str | Path) -> Generator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends well and removed when it does not.

    What killed processes of this machine left of earlier attempts at the same file is removed.

    Raises InvalidOption when the path names no file, the disk is full, or the folder is missing or read-only.
    """
    target = Path(path)
    if not target.name:
        raise InvalidOption(f"output path {str(path)!r} names no file")
    _clear(target)
    temporary = _beside(target)
    try:
        with refusing(target):
            yield temporary
            temporary.replace(target)
    finally:
        _remove(temporary)  # gone by the rename, or never made


@contextmanager
def replacing_folder(path: str | Path, last: str) -> Generator[Path]:
    """A new folder for files that belong together, which get their places when the block ends well.

    A folder that is not there yet appears whole. In one that is there, files of the same names are replaced: `last` is
    taken away first and comes last, so that a folder with that file is whole, or was not touched. What killed processes
    of this machine left of earlier attempts is removed.

    Args:
        path: the folder.
        last: the file in it, as a path relative to it, without which nobody takes the folder for what it is.

    Raises InvalidOption when it is a file, the disk is full, or it cannot be written to.
    """
    target = Path(path)
    there = is_folder(target)
    output_folder(target if there else target.parent)
    temporary = _beside(target / _WITHIN if there else target)
    _clear(target)
    _clear(target / _WITHIN)
    try:
        with refusing(target):
            temporary.mkdir()
            yield temporary
            if there:
                _merge(temporary, target, last)
            else:
                temporary.rename(target)
    finally:
        _remove(temporary)


def _merge(source: Path, target: Path, last: str) -> None:
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == last)
    (source / _MOVING).write_text(json.dumps(names), encoding="utf-8")
    (target / last).unlink(missing_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(target / name)


def require_picture(path: str | Path) -> None:
    """Raise InvalidOption unless a path ends as one of the pictures that are written does."""
    require_ending(path, PICTURES, "a picture")


def require_ending(path: str | Path, endings: Sequence[str], what: str) -> None:
    """Raise InvalidOption unless a path ends in one of several suffixes."""
    suffix = Path(path).suffix.lower()
    if suffix not in endings:
        raise InvalidOption(f"{path} ends in {suffix!r}; {what} that is written ends in {', '.join(endings)}")


def require_space(path: Path, needed: int) -> None:
    """Raise InvalidOption, with both amounts, unless so many bytes are free where a path is or will be."""
    there = next(place for place in (path, *path.absolute().parents) if is_folder(place))
    free = shutil.disk_usage(there).free
    if free < needed:
        raise InvalidOption(f"{path} needs {needed / 1e6:,.1f} MB and has {free / 1e6:,.1f} MB free")


def require_absent(path: str | Path) -> None:
    """Raise InvalidOption unless nothing is at the path, or an empty folder.

    What writers that began with an empty folder and were killed left in it is removed.
    """
    target = Path(path)
    with refusing(target):
        if target.is_symlink() or target.exists():
            if target.is_dir():
                _empty_again(target)
                if not any(target.iterdir()):
                    return
            raise InvalidOption(f"output folder {target} exists and is not empty")


def _empty_again(folder: Path) -> None:
    """Take back what killed writers have put into a folder, where it holds nothing else."""
    left = _left_in(folder)
    moved = {folder / name for path in left for name in _unfinished(path)}
    others = [path for path in folder.rglob("*") if path.is_file() and not any(one in path.parents for one in left)]
    if left and moved.issuperset(others):
        for path in others:
            path.unlink()
        for path in sorted(folder.iterdir()):
            if path not in left and path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    for path in left:
        _remove(path)


def _unfinished(temporary: Path) -> list[str]:
    """What a killed writer was moving out of its temporary folder; none where it has moved all or had not begun."""
    try:
        names: Any = parse_json((temporary / _MOVING).read_bytes())
    except (OSError, ValueError):
        return []
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in cast("list[Any]", names)):
        return []  # not written by us
    return cast("list[str]", names) if (temporary / str(names[-1])).exists() else []


def clear_result(folder: str | Path, last: str, *others: str) -> None:
    """Take away what says that the result of an earlier command in a folder is whole, before a new one is written.

    Until `last` is written again, which has to come after all else, nobody takes old and new files for one result.

    Args:
        folder: where they are.
        last: the file, as a path relative to it, without which nobody takes the result for whole.
        others: files of an earlier result that the new one does not have; a folder of theirs goes when it is empty.

    Raises InvalidOption where they cannot be removed.
    """
    for name in (last, *others):
        path = Path(folder) / name
        with refusing(path):
            path.unlink(missing_ok=True)
            place = path.parent
            if name != last and place != Path(folder) and place.is_dir() and not any(place.iterdir()):
                place.rmdir()


def named_like(folder: str | Path, pattern: str) -> list[str]:
    """What in a folder is called wholly as a regular expression says, by name; nothing where there is no folder.

    For results that are written by content or number, of which an earlier one may have had more.
    """
    return sorted(path.name for path in _entries(Path(folder)) if re.fullmatch(pattern, path.name))


def temporary_folder(name: str) -> tempfile.TemporaryDirectory[str]:
    """A folder for files that outlive no process; those of killed processes of this machine are removed first."""
    place = Path(tempfile.gettempdir())
    for path in place.glob(f"{name}-*"):
        if _is_left(path.name.removeprefix(f"{name}-")):
            shutil.rmtree(path, ignore_errors=True)  # another user's cannot be
    return tempfile.TemporaryDirectory(prefix=f"{name}-{Owner.here()}.")


def _beside(target: Path) -> Path:
    return target.with_name(f".{_short(target)}.{Owner.here()}.{uuid.uuid4().hex[:8]}.part{target.suffix}")


def _short(target: Path) -> str:
    return os.fsdecode(os.fsencode(target.name)[:_LONGEST])


def _clear(target: Path) -> None:
    """Remove the temporary files and folders of a target whose writers were killed."""
    for path in _left(target):
        _remove(path)


def _left(target: Path) -> list[Path]:
    """Those temporary files and folders."""
    start = f".{_short(target)}."
    names = [path for path in _entries(target.parent) if path.name.startswith(start)]
    return [path for path in names if _is_left(path.name.removeprefix(start))]


def _left_in(folder: Path) -> list[Path]:
    """Those of all targets in a folder."""
    made = ((path, _TEMPORARY.fullmatch(path.name)) for path in _entries(folder))
    return [path for path, found in made if found and _is_left(found[1])]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # a missing or unreadable folder is refused by whoever writes into it
        return []


def _is_left(name: str) -> bool:
    owner = Owner.parse(name.partition(".")[0])
    return owner is not None and owner.is_dead


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def create_once(path: str | Path, data: bytes, temporary: Path, *, durable: bool = False) -> bool:
    """Write a file that is not there yet, whole or not at all; False, with nothing changed, where it is.

    Of processes that race for one name exactly one gets True. Where the file system has no hard links two may, and the
    later file stays, still whole.

    Args:
        path: the file to make.
        data: all of its content.
        temporary: a name on the same file system that no other process uses; gone afterwards.
        durable: wait until the content is on the disk, so that it outlives a power cut.

    Raises InvalidOption as :func:`replacing` does.
    """
    target = Path(path)
    try:
        with refusing(target):
            with temporary.open("xb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            return _give_name(temporary, target)
    finally:
        with suppress(OSError):  # gone by the rename, or never made
            temporary.unlink()


def _give_name(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            return False
        temporary.replace(target)
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
