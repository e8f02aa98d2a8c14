"""Where the curves of a run go: TensorBoard files, or Weights & Biases."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..errors import InvalidOption, first_line
from ..files import output_folder

#: Before the project, in the place of a folder.
WANDB = "wandb:"


class Writer(Protocol):
    """What is used of a TensorBoard `SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of a curve."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def open_writer(place: str | Path) -> Writer:
    """A writer of TensorBoard files into a folder, which is made if need be; of "wandb:PROJECT", of a run there.

    Raises InvalidOption where what it takes is not installed, for a folder that cannot be written to, and where
    Weights & Biases does not begin a run, as without a key.
    """
    if str(place).startswith(WANDB):
        return _WandbWriter(str(place).removeprefix(WANDB))
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidOption("--log needs TensorBoard: pip install 'neuronscope[log]'") from error
    writer: Any = SummaryWriter
    return writer(str(output_folder(place)))


class _WandbWriter:
    """A run of a project: curves, and no code, output or repository; the client adds what it knows of the machine."""

    def __init__(self, project: str) -> None:
        if not project:
            raise InvalidOption(f"--log {WANDB} names no project: {WANDB}PROJECT")
        try:
            client: Any = import_module("wandb")
        except ImportError as error:
            raise InvalidOption(f"--log {WANDB}{project} needs wandb: pip install 'neuronscope[wandb]'") from error
        settings = client.Settings(save_code=False, disable_git=True, console="off")
        try:
            self._run = client.init(project=project, settings=settings)
        except client.Error as error:
            raise InvalidOption(
                f"--log {WANDB}{project}: {first_line(error)}; `wandb login` keeps a key, and WANDB_MODE=offline "
                "writes a folder for `wandb sync`"
            ) from error

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self._run.log({tag: scalar_value}, step=global_step)

    def close(self) -> None:
        self._run.finish()
