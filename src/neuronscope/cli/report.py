"""`neuronscope report`: a located concept or a whole run as one page to share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
            help="Folder of `locate`, `demo` or `truth`, or run of `reproduce`; several of `truth` are pooled.",
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
    from ..index.file import NeuronIndex
    from ..report import Evidence, write_located
    from ..report.page import telling_damage

    if len(results) > 1 or is_file(results[0] / "truth.json"):
        _truth(results, out, data, as_json)
        return
    result = results[0]
    is_run = is_file(result / "run.json")
    is_study = not is_run and is_file(result / "study.json")
    if not is_run and not is_study and not is_file(result / "neurons.json"):
        raise InvalidOption(
            f"{result} is neither a run (run.json) nor a located result (neurons.json) nor a demo (study.json), "
            "nor a result of truth (truth.json)"
        )
    if split is not None and data is None:
        raise InvalidOption(f"--split {split}: it belongs to --data")
    if data is not None and not is_run:
        raise InvalidOption(f"--data {data}: this result has its own pictures")
    if index is not None and is_run:
        raise InvalidOption(f"--index {index}: the page of a run names no single neurons")
    require_ending(out, (".html", ".htm"), "a page")
    opened = None if index is None else NeuronIndex.load(index)
    output_folder(out.parent)
    if is_run:
        from ..studies.reproduce.page import run_page, write_run

        with telling_damage(result):
            page = write_run(run_page(result, data, split=split, allow_outside=allow_outside), out)
    elif is_study:
        from ..studies.demo.page import write_page

        page = write_page(result, out, index=opened)
    else:
        with telling_damage(result):
            page = write_located(Evidence.load(result), out, index=opened)
    kind = "run" if is_run else "study" if is_study else "located"
    size = page.stat().st_size
    document = {"page": str(page.resolve()), "kind": kind, "bytes": size}
    verdict = f"One file of {size / 2**20:.1f} MiB holds everything of {result}; it opens without a network."
    emit(verdict, document, as_json, lambda: lines(f"written to {page}"))


def _truth(results: list[Path], out: Path, data: Path | None, as_json: bool) -> None:
    """The page of one result of `truth`, or the table and page of several."""
    from ..studies.locate.judged import Judged, Pooled
    from ..studies.locate.truth_page import write_truth

    for folder in results:
        if not is_file(folder / "truth.json"):
            raise InvalidOption(f"{folder} is no result of `truth` (truth.json): only those are pooled")
    if data is not None:
        raise InvalidOption(f"--data {data}: this result has its own pictures")
    require_ending(out, (".html", ".htm"), "a page")
    output_folder(out.parent)
    found = Pooled.of([Judged.load(folder) for folder in results])
    page = write_truth(out, results)
    size = page.stat().st_size
    document = {"page": str(page.resolve()), "kind": "truth", "bytes": size, "pooled": found.to_dict()}

    def show() -> None:
        if len(results) > 1:
            lines(after(found.sentence, found.markdown()))
        lines(f"written to {page}")

    emit(found.sentence, document, as_json, show)
