"""Execute the notebooks of this folder and keep their outputs: `python -m examples.execute`.

Each runs in a kernel of its own and in an empty folder, so what it writes is not left behind. Nothing of the machine is
kept: no times, no versions, no name of a kernel that only one machine has. An error in a cell is raised, and the
notebook stays as it was.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

HERE = Path(__file__).parent

#: Seconds that a notebook may take; a stuck kernel should not stop for ever what runs it.
TIMEOUT = 300

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, about bars that nobody would see here
}
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """The notebooks, by name."""
    return sorted(HERE.glob("*.ipynb"))


def executed(path: Path) -> NotebookNode:
    """A notebook with the outputs of running it now. Raises CellExecutionError when a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=TIMEOUT,
            record_timing=False,
            resources={"metadata": {"path": str(work)}},
            config=Config({"KernelManager": _sockets(Path(folder) / "kernel")}),
        )
        client.execute(env={**os.environ, **_ENVIRONMENT})
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def _sockets(path: Path) -> dict[str, str]:
    """How to talk to the kernel: by files that other users cannot read, where the system has such sockets."""
    return {"transport": "ipc", "ip": str(path)} if os.name == "posix" else {}


def main() -> None:
    """Execute all and write them back."""
    for path in notebooks():
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
