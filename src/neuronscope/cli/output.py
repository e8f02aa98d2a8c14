"""What every verb shares: one JSON document on stdout or a table for people, and everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption, one_line
from ..options import Loading
from ..types import one_of
from .takes import flag

if TYPE_CHECKING:
    from PIL import Image

    from ..loading import VLM

DeviceOption = Annotated[str | None, flag(Loading, "device")]
DtypeOption = Annotated[str, flag(Loading, "dtype")]
AnyModelOption = Annotated[
    bool,
    typer.Option(
        "--any-model", help="Take neurons of other weights at their addresses.", rich_help_panel=Loading.HEADING
    ),
]
#: Of --log, for help.
LOG = "Folder for TensorBoard files, or wandb:PROJECT: units done and running scores."
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def open_model(asked: Loading) -> VLM:
    """Load a model for a verb. Raises InvalidOption for an unknown dtype or device."""
    import torch

    from ..loading import load
    from ..loading.load import DTYPES
    from .threads import bytes_at, use_few_threads

    name, device = asked.model, asked.device
    one_of("--dtype", asked.dtype, DTYPES)

    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise InvalidOption(f"--device {device!r} is not a device: {error}") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise InvalidOption(f"--device {device!r}: this PyTorch sees no CUDA device")
    few = use_few_threads(bytes_at(name))
    vlm = load(name, **asked.loading)
    if not few and vlm.device.type == "cpu":
        use_few_threads(sum(value.nbytes for value in vlm.model.parameters()))
    return vlm


def tell_notice(vlm: VLM, image: Image.Image, name: str) -> str:
    """Say on stderr, before anything else is done, that a picture is none that the model was made for; returns that."""
    from ..loading.world import notice

    if told := notice(vlm, image):
        sys.stderr.write(f"neuronscope: {one_line(name)}: {told}\n")
    return told


def emit(verdict: str, document: dict[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    """End a verb: the document on stdout, or the view for people. Both begin with what it comes to, in a sentence."""
    if as_json:
        sys.stdout.write(json.dumps({"verdict": verdict, **document}, allow_nan=False) + "\n")
    else:
        lines(verdict)
        show()


def after(verdict: str, page: str) -> str:
    """A page without the verdict in it, which :func:`emit` has printed."""
    return page.replace(f"{verdict}\n", "", 1).strip("\n")


def counted(number: int, what: str) -> str:
    """A number and what it counts: "1 picture", "3 pictures"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, cut: Sequence[str] = ()) -> None:
    """A table on stdout; every word as it is: tokens, file names and prompts may look like rich's markup.

    Args:
        title: above it.
        columns: headings; what the first one has is never broken over lines, so that it can be copied.
        rows: cells.
        cut: columns of long texts that end in an ellipsis where a terminal is narrow, so that every row is one line.

    A file or another program gets a line for each row, whole.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=Text(title, style="table.title"), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        grid.add_column(column, overflow="fold", no_wrap=not number or (bool(cut) and column not in cut))
    for row in rows:
        cells = zip(columns, row, strict=True)
        grid.add_row(
            *(
                Text(str(cell), no_wrap=True, overflow="ellipsis") if name in cut else Text(str(cell))
                for name, cell in cells
            )
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=console.measure(grid, options=console.options.update(max_width=10_000)).maximum)
    console.print(grid)


def written_to(folder: Path) -> str:
    """Where a result is, and its page."""
    return f"written to {folder}; open {folder / 'page.html'}"


def lines(*texts: str) -> None:
    """Plain lines on stdout."""
    sys.stdout.write("\n".join(texts) + "\n")
