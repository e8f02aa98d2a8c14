"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InvalidOption


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
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise InvalidOption(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # gone by the rename, or never made
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
