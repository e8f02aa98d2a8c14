"""Whether a verb works in this process or shares its units among the workers of a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Annotated

import typer

from ..cluster.resources import Resources, connection
from ..errors import InvalidOption
from ..options import made, words
from ..types import one_of
from .takes import Given

EngineOption = Annotated[str, typer.Option("--engine", help="local: this process; ray: a cluster.")]
_ENGINES = ("local", "ray")


def shared(engine: str, asked: Given) -> Resources | None:
    """Where the workers are; None for this process.

    Raises InvalidOption for an engine that is none, and for options of a cluster without one.
    """
    one_of("--engine", engine, list(_ENGINES))
    resources = made(Resources, asked)
    if engine == "ray":
        return resources
    if found := [word for word in words(resources) if word.startswith("--")]:
        raise InvalidOption(f"{', '.join(found)}: only --engine ray has a cluster")
    return None


@contextmanager
def sharing(engine: str, asked: Given) -> Generator[Resources | None]:
    """:func:`shared`, with the cluster connected: one that is not there is found before a model is loaded."""
    resources = shared(engine, asked)
    with (
        nullcontext() if resources is None else redirect_stdout(sys.stderr),  # Ray has its say there
        connection(resources, say),
    ):
        yield resources


def say(line: str) -> None:
    """One line on stderr, also with --quiet: what became of a worker."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
