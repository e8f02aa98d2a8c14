"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InvalidOption

_FULL = (errno.ENOSPC, errno.EDQUOT)  # a quota is a disk, too
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def output_folder(path: str | Path) -> Path:
    """Create the folder if need be and prove that it can be written to, before any long work starts.

    Raises InvalidOption when it is a file, read-only, or cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
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

    Raises InvalidOption when the path names no file, the disk is full, or the folder is missing or read-only.
    """
    target = Path(path)
    if not target.name:
        raise InvalidOption(f"output path {str(path)!r} names no file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part{target.suffix}")
    try:
        with refusing(target):
            yield temporary
            temporary.replace(target)
    finally:
        with suppress(OSError):  # gone by the rename, or never made
            temporary.unlink()


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
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
