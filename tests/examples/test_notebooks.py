"""The notebooks run on the bundled model and still say what they show; what they keep is small and of no machine."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from examples.execute import executed, notebooks  # noqa: E402

LARGEST = 300_000  # bytes
NOTEBOOKS = [pytest.param(path, id=path.stem) for path in notebooks()]
#: The others take 9 and 20 seconds: NEURONSCOPE_LONG=all runs them.
RUN = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.long] if path.stem != "locate_and_perturb" else [])
    for path in notebooks()
]
#: Folders of some machine, addresses of objects, and traces of what went wrong.
_NOT_KEPT = re.compile(
    r"/(?:home|root|tmp|work|Users|usr|opt)/|[A-Z]:\\|site-packages|0x[0-9a-f]{6,}|Warning|Traceback"
)


def said(notebook: object) -> list[tuple[str, str]]:
    """(first line of the cell, text) of every cell that answers in text alone: captions, counts and comparisons."""
    return [
        (cell.source.splitlines()[0], output.data["text/plain"])
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result" and set(output.data) == {"text/plain"}
    ]


def test_there_are_three() -> None:
    assert [path.stem for path in notebooks()] == ["edit_and_revert", "locate_and_perturb", "reproduce_a_table"]
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in listed for path in notebooks())


@pytest.mark.parametrize("path", RUN)
def test_running_it_says_what_is_shown(path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    assert said(kept)
    ran = executed(path)
    assert said(ran) == said(kept), "execute the notebooks anew: python -m examples.execute"
    assert not [output for cell in ran.cells for output in cell.get("outputs", ()) if output.output_type == "stream"]


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_what_is_kept(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"execute_result", "display_data"}, "a cell printed or failed"
    pictures = re.compile(r"(?:base64,|\"image/[a-z]+\": \")[A-Za-z0-9+/=\\n]+")
    assert not _NOT_KEPT.search(pictures.sub("", json.dumps(notebook)))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_a_cell_that_fails_is_raised_and_nothing_is_written(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    cells = [nbformat.v4.new_code_cell("1 / 0")]
    path = tmp_path / "wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(path)
    assert path.read_bytes() == before
