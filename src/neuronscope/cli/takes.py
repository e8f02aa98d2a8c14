"""The parser of a verb, made from the options of settings classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..options import Option, default, options_in
from .strict import any_text

#: What was given on the command line, by field; the rest keeps its defaults.
Given: TypeAlias = Mapping[str, Any]
_KINDS: Mapping[str, Any] = {"int": int, "float": float, "bool": bool, "Path": Path}


def takes(*settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of some classes. It is called with what was given, and its own options by keyword."""

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
        ours = [
            _parameter(field, known, _heading(each, field.name))
            for each in settings
            for field, known in options_in(each)
        ]
        context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)

        def verb(context: typer.Context, **parsed: Any) -> None:
            rest = {one.name: parsed.pop(one.name) for one in own}
            run({name: v for name, v in parsed.items() if _is_given(context, name)}, **rest)

        parameters = [context, *ours, *(one.replace(kind=Parameter.KEYWORD_ONLY) for one in own)]
        verb.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        verb.__annotations__ = {one.name: one.annotation for one in parameters}
        verb.__doc__ = run.__doc__
        return verb

    return decorate


def flag(settings: type, name: str) -> Any:
    """The parser's option of one field."""
    heading = _heading(settings, name)
    return next(_flag(known, heading) for one, known in options_in(settings) if one.name == name)


def _heading(settings: type, name: str) -> str | None:
    """Under what the help lists a field: the HEADING of the class that has it first."""
    owner = next(one for one in reversed(settings.__mro__) if name in vars(one).get("__annotations__", {}))
    return vars(owner).get("HEADING")


def _flag(known: Option, heading: str | None) -> Any:
    parser = any_text if known.blank else None
    if not known.names:
        return typer.Argument(help=known.help, metavar=known.metavar, parser=parser)
    return typer.Option(*known.names, help=known.help, metavar=known.metavar, parser=parser, rich_help_panel=heading)


def _parameter(field: Field[Any], known: Option, heading: str | None) -> Parameter:
    value = default(field)
    kind = str if known.form else _KINDS.get(str(field.type).removesuffix(" | None"), str)
    kind = list[kind] if known.repeated else kind
    if value is MISSING and not known.optional:
        return Parameter(field.name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, _flag(known, heading)])
    shown = None if known.optional or value in (None, ()) else known.texts(value)[0] if known.form else value
    return Parameter(
        field.name, Parameter.KEYWORD_ONLY, default=shown, annotation=Annotated[kind | None, _flag(known, heading)]
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
