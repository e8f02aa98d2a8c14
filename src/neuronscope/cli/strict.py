"""Words of the command line as values: a word that is no such value is refused with what was given.

What the parser does by itself takes 2.0 for a whole number and names no value in its errors; an empty word, which is
mostly a variable of the shell that is not set, would be the current folder as a path and nothing at all as a name.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import re
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import ArgumentInfo

from ..errors import InvalidOption
from ..fields import require_between, shown
from ..hints import is_unicode
from .steps import silenced

_WHOLE = re.compile(r"-?[0-9]{1,18}")  # what fits 64 bits
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")


def strict(run: Callable[..., None]) -> Callable[..., None]:
    """A verb whose parameters read their words as :data:`READERS` do, unless they have a parser of their own.

    It has --quiet as well, and its values have readable names in the help.
    """
    parameters = [_with_reader(one) for one in inspect.signature(run, eval_str=True).parameters.values()]
    parameters.append(Parameter("quiet", Parameter.KEYWORD_ONLY, default=False, annotation=_QUIET))

    @functools.wraps(run)
    def verb(*arguments: Any, quiet: bool = False, **options: Any) -> None:
        with silenced(quiet):
            run(*arguments, **options)

    verb.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    verb.__annotations__ = {one.name: one.annotation for one in parameters}
    return verb


def text(word: str) -> str:
    """A word that is not empty."""
    if not word:
        raise typer.BadParameter("an empty word was given; leave it out, or say what is meant")
    return any_text(word)


def any_text(word: str) -> str:
    """A word that may be empty."""
    if not is_unicode(word):
        raise typer.BadParameter(f"{shown(word)} holds bytes that are no UTF-8; a file of that name can be renamed")
    return word


def _path(word: str) -> Path:
    return Path(text(word))


def _whole(word: str) -> int:
    if not _WHOLE.fullmatch(word):
        raise typer.BadParameter(f"{shown(word)} is not a whole number of at most 18 digits")
    return int(word)


def _number(word: str) -> float:
    if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
        raise typer.BadParameter(f"{shown(word)} is not a finite number")
    return float(word)


_QUIET = Annotated[bool, typer.Option("--quiet", help="Say nothing of the progress on stderr.")]

#: Type -> what its values are called in the help.
_CALLED: dict[type, str] = {str: "TEXT", Path: "PATH", int: "INTEGER", float: "NUMBER"}

#: Type -> how a word of it is read; raises BadParameter.
READERS: dict[type, Callable[[str], Any]] = {str: text, Path: _path, int: _whole, float: _number}


def _with_reader(one: Parameter) -> Parameter:
    if get_origin(one.annotation) is not Annotated:
        return one
    kind, info = get_args(one.annotation)
    reader = READERS.get(_item(kind))
    if reader is None:
        return one
    info, (least, most) = copy.copy(info), (info.min, info.max)
    argument = isinstance(info, ArgumentInfo)
    info.metavar = info.metavar or (one.name.upper() if argument else _CALLED[_item(kind)])
    if info.parser is not None:
        return one.replace(annotation=Annotated[kind, info])

    def read(word: Any) -> Any:
        if not isinstance(word, str) or word == one.default:
            return word  # a default is no word of a person's, and may be empty
        value = reader(word)
        try:
            require_between("it", value, least, most)
        except InvalidOption as error:
            raise typer.BadParameter(str(error).removeprefix("it=")) from error
        return value

    info.parser = read
    return one.replace(annotation=Annotated[kind, info])


def _item(kind: Any) -> Any:
    """The type of one word: int of list[int] | None."""
    while parts := [part for part in get_args(kind) if part is not type(None)]:
        kind = parts[0]
    return kind
