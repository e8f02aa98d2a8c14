"""Files that a list names: they lie in the folder that is meant, or are refused.

A list that somebody else wrote could otherwise bring any picture of the reader's disk into results and pages.
"""

from __future__ import annotations

from pathlib import Path, PurePath, PureWindowsPath

from ..errors import InvalidSample
from ..hints import is_unicode

#: What helps, for errors.
ALLOW = "--allow-outside (allow_outside=True) reads it nevertheless"


def leaves(name: str) -> bool:
    """Whether a name, as it is written, leads out of any folder: an absolute path, or more ".." than folders."""
    if PurePath(name).is_absolute() or PureWindowsPath(name).is_absolute():
        return True
    depth = 0
    for part in PurePath(name).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def place(folder: Path, name: str, *, allow_outside: bool = False) -> Path:
    """The path of a file of a folder, which need not exist.

    Raises InvalidSample for a name that is no path, and for one that leads out of the folder as it is written or by a
    link, unless that is allowed. The folder may itself be a link.
    """
    path = folder / name
    if not is_unicode(name):
        raise InvalidSample(f"{name!r:.100} cannot be a file of {folder}: bytes of it are no UTF-8; rename it")
    try:
        real, root = path.resolve(), folder.resolve()
        path.exists()  # says what a name itself is not
    except (OSError, ValueError, RuntimeError) as error:  # NUL, too long, or links in a circle
        raise InvalidSample(f"{name!r:.100} cannot be a file of {folder}: {error}") from error
    if not allow_outside and (leaves(name) or not real.is_relative_to(root)):
        raise InvalidSample(f"{name!r} leads out of {folder}{'' if leaves(name) else f', to {real}'}; {ALLOW}")
    return path
