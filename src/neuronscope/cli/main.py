"""Entry point: verbs, exit codes, and errors in the form that was asked for."""

from __future__ import annotations

import json
import sys

import typer

from ..errors import NeuronscopeError
from ..version import __version__
from . import (
    caption,
    check,
    concept,
    convert,
    decode,
    demo,
    discover,
    edit,
    explore,
    heatmap,
    locate,
    models,
    pictures,
    repair,
    report,
    reproduce,
    scenes,
)

app = typer.Typer(
    name="neuronscope",
    help="Find, test, see and edit the neurons that hold visual knowledge in multimodal LLMs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    demo,
    scenes,
    check,
    models,
    locate,
    concept,
    caption,
    decode,
    heatmap,
    pictures,
    discover,
    edit,
    repair,
    reproduce,
    report,
    explore,
):
    app.command(name=verb.__name__.rpartition(".")[2])(verb.run)
app.add_typer(convert.app, name="convert")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"neuronscope {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused, 2 bad usage, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=given, prog_name="neuronscope")
    except NeuronscopeError as error:
        sys.exit(_fail(error, "--json" in given))


def _fail(error: NeuronscopeError, as_json: bool) -> int:
    sys.stderr.write(f"neuronscope: {error}\n")
    if as_json:
        sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}) + "\n")
    return 1
