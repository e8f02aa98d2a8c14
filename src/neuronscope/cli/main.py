"""Entry point: verbs, exit codes, and errors in the form that was asked for."""

from __future__ import annotations

import io
import json
import sys
from functools import cache
from typing import Any

import typer

from ..errors import NeuronscopeError, one_line
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
    index,
    locate,
    models,
    neuron,
    pictures,
    repair,
    report,
    reproduce,
    scenes,
    truth,
)
from .examples import shown
from .strict import strict
from .usage import Verb, Verbs

#: What typer raises for a command that it cannot read; it is not among its public names.
_USAGE: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="neuronscope",
    help="Find, test, see and edit the neurons that hold visual knowledge in multimodal LLMs.",
    epilog=shown(""),
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
#: Heading of the help -> verbs.
_VERBS = {
    "To begin with": (demo, scenes, check, models),
    "Find neurons": (locate, concept, truth, discover),
    "Look at them": (caption, decode, heatmap, pictures, index, neuron, report, explore),
    "Change what the model says": (edit, repair),
    "Evaluate": (reproduce,),
}
for heading, verbs in _VERBS.items():
    for verb in verbs:
        name = verb.__name__.rpartition(".")[2]
        register = app.command(name=name, cls=Verb, epilog=shown(name), rich_help_panel=heading)
        register(strict(verb.run))
app.add_typer(convert.app, name="convert", cls=Verbs, rich_help_panel="Other models")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"neuronscope {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version


@cache
def _commands() -> Any:
    """The verbs as typer reads them from their functions; `app` itself would read all of them anew for each command."""
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused, 2 bad usage, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a caption or a file's name may have what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _commands()(args=given, prog_name="neuronscope", standalone_mode=False)
    except NeuronscopeError as error:
        sys.exit(_fail(error, str(error), 1, "--json" in given))
    except _USAGE as error:
        usage: Any = error
        if type(error).__name__ == "NoArgsIsHelpError":
            usage.show()
            sys.exit(usage.exit_code)
        hint = f" ({usage.ctx.command_path} --help lists all)" if usage.ctx else ""
        sys.exit(_fail(error, one_line(usage.format_message().rstrip(".")) + hint, usage.exit_code, "--json" in given))
    sys.exit(code or 0)


def _fail(error: Exception, message: str, code: int, as_json: bool) -> int:
    sys.stderr.write(f"neuronscope: {_cut(message)}\n")
    if as_json:
        sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, "message": message}}) + "\n")
    return code


def _cut(message: str) -> str:
    """A message whose middle is left out where it would fill the terminal; documents have all of it."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 300]} ... {message[-300:]}"


_LONGEST = 1500  # characters
