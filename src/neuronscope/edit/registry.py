"""All editors by name, one line each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import InvalidOption
from ..given import checked
from ..types import one_of
from .closed_form import Embed, Swap
from .editor import Editor
from .graft import Graft
from .learned import Learned
from .simple import Ablate, Amplify, RowNoise

_TABLE: dict[str, Callable[..., Editor]] = {
    "swap": Swap,
    "embed": Embed,
    "graft": Graft,
    "learned": Learned,
    "ablate": Ablate,
    "amplify": Amplify,
    "row-noise": RowNoise,
}

#: name -> what makes the editor from its options, read-only; :func:`register_editor` adds to it.
EDITORS: Mapping[str, Callable[..., Editor]] = MappingProxyType(_TABLE)


@checked
def editor(name: str, **options: Any) -> Editor:
    """An editor by name: ``editor("swap", source="bear", target="dog")``, ``editor("amplify", factor=3.0)``.

    Raises InvalidOption for a name, an option or a value that is not among the choices, and for a missing option.
    """
    known = editor_options(name)
    for option in options:
        one_of(f"option of editor {name!r}", option, list(known))
    if missing := [option for option, needed in known.items() if needed and option not in options]:
        raise InvalidOption(f"editor {name!r} needs {', '.join(missing)}")
    return EDITORS[name](**options)


def editor_options(name: str) -> dict[str, bool]:
    """An editor's options, in order, and whether each has to be given. Raises InvalidOption for an unknown name."""
    one_of("editor", name, list(EDITORS))
    parameters = inspect.signature(EDITORS[name]).parameters
    return {option: one.default is one.empty for option, one in parameters.items()}


@checked
def register_editor(name: str, factory: Callable[..., Editor]) -> None:
    """Add an editor of your own: a frozen dataclass of its options, or a function with these as parameters.

    Raises InvalidOption for a name that is taken or empty.
    """
    if not name or name in _TABLE:
        raise InvalidOption(f"name={name!r} is {'taken' if name else 'empty'}; editors: {', '.join(_TABLE)}")
    _TABLE[name] = factory
