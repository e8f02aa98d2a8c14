"""`neuronscope report`: a result or a whole run as one page to share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer

from ..errors import InvalidOption
from ..files import is_file, output_folder, require_ending
from ..options import Reading
from .output import JsonOption, after, emit, lines
from .takes import flag


def run(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...",
            help="Folder of `locate`, `demo`, `truth`, `discover`, `edit` or `repair`, or run of `reproduce`; several "
            "of `truth` are pooled.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("page.html"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Runs: the data, for thumbnails; as `reproduce --data`.")
    ] = None,
    split: Annotated[str | None, flag(Reading, "split")] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="Folder of `neuronscope index`: neurons link to their pages in it.")
    ] = None,
    allow_outside: Annotated[bool, flag(Reading, "allow_outside")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML file that opens anywhere, without a network: pictures, captions, neurons, tables. No model."""
    if len(results) > 1 or is_file(results[0] / "truth.json"):
        _truth(results, out, data, as_json)
        return
    result = results[0]
    kind = next((one for one in _KINDS if all(is_file(result / name) for name in one.files)), None)
    if kind is None:
        known = "; ".join(f"{one.what} ({' and '.join(one.files)})" for one in _KINDS)
        raise InvalidOption(f"{result} is none of these: {known}; a result of `truth` (truth.json)")
    if split is not None and data is None:
        raise InvalidOption(f"--split {split}: it belongs to --data")
    if data is not None and kind.write is not _run:
        raise InvalidOption(f"--data {data}: {result}, {kind.what}, has its own pictures")
    if index is not None and not kind.links:
        raise InvalidOption(f"--index {index}: the page of {kind.what} names no neurons to link from")
    require_ending(out, (".html", ".htm"), "a page")
    page, name = kind.write(_Given(result, out, data, split, index, allow_outside))
    size = page.stat().st_size
    document = {"page": str(page.resolve()), "kind": name, "bytes": size}
    verdict = f"One file of {size / 2**20:.1f} MiB holds everything of {result}; it opens without a network."
    emit(verdict, document, as_json, lambda: lines(f"written to {page}"))


#: A page, and what kind of result it shows.
_Written: TypeAlias = tuple[Path, str]


class _Given(NamedTuple):
    """What was given on the command line."""

    result: Path
    out: Path
    data: Path | None
    split: str | None
    linked: Path | None
    allow_outside: bool


def _run(given: _Given) -> _Written:
    from ..report.page import telling_damage
    from ..studies.reproduce.page import run_page, write_run

    with telling_damage(given.result):
        page = run_page(given.result, given.data, split=given.split, allow_outside=given.allow_outside)
        output_folder(given.out.parent)
        return write_run(page, given.out), "run"


def _study(given: _Given) -> _Written:
    from ..index.file import NeuronIndex
    from ..studies.demo.page import write_page

    opened = None if given.linked is None else NeuronIndex.load(given.linked)
    output_folder(given.out.parent)
    return write_page(given.result, given.out, index=opened), "study"


def _located(given: _Given) -> _Written:
    from ..index.file import NeuronIndex
    from ..report import Evidence, write_located
    from ..report.page import telling_damage

    opened = None if given.linked is None else NeuronIndex.load(given.linked)
    output_folder(given.out.parent)
    with telling_damage(given.result):
        return write_located(Evidence.load(given.result), given.out, index=opened), "located"


def _discovery(given: _Given) -> _Written:
    from ..index.file import NeuronIndex
    from ..studies.discover.page import write_page

    opened = None if given.linked is None else NeuronIndex.load(given.linked)
    output_folder(given.out.parent)
    return write_page(given.result, given.out, index=opened), "discovery"


def _edit(given: _Given) -> _Written:
    """Edits and repairs both have tables, and an edit if there is one; the tables say which."""
    from ..report.result import read_document
    from ..studies.edit import page as edit
    from ..studies.repair import page as repair

    known = {
        edit.SCHEMA: (edit.write_page, "edit"),
        edit.WORDS_SCHEMA: (edit.write_page, "edit"),
        repair.SCHEMA: (repair.write_page, "repair"),
    }
    write, name = known[read_document(given.result / "tables.json", tuple(known))["schema"]]
    output_folder(given.out.parent)
    return write(given.result, given.out), name


class _Kind(NamedTuple):
    """A kind of result: the files by which it is known, and what makes its page."""

    what: str
    files: tuple[str, ...]
    write: Callable[[_Given], _Written]
    links: bool = False


#: In the order in which they are looked for: a folder may hold the files of several.
_KINDS = (
    _Kind("a discovery", ("run.json", "discovery.json"), _discovery, links=True),
    _Kind("a run", ("run.json",), _run),
    _Kind("a demo", ("study.json",), _study, links=True),
    _Kind("an edit or a repair", ("tables.json",), _edit),
    _Kind("a located result", ("neurons.json",), _located, links=True),
)


def _truth(results: list[Path], out: Path, data: Path | None, as_json: bool) -> None:
    """The page of one result of `truth`, or the table and page of several."""
    from ..studies.locate.judged import Judged, PooledTruth
    from ..studies.locate.truth_page import write_truth

    for folder in results:
        if not is_file(folder / "truth.json"):
            raise InvalidOption(f"{folder} is no result of `truth` (truth.json): only those are pooled")
    if data is not None:
        raise InvalidOption(f"--data {data}: {results[0]}, a result of `truth`, has its own pictures")
    require_ending(out, (".html", ".htm"), "a page")
    output_folder(out.parent)
    found = PooledTruth.of([Judged.load(folder) for folder in results])
    page = write_truth(out, results)
    size = page.stat().st_size
    document = {"page": str(page.resolve()), "kind": "truth", "bytes": size, "pooled": found.to_dict()}

    def show() -> None:
        if len(results) > 1:
            lines(after(found.sentence, found.markdown()))
        lines(f"written to {page}")

    emit(found.sentence, document, as_json, show)
