"""How many rows are read together: what one needs, what is free, and what happens where that was not enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from ..cures import memory_cure, out_of_memory
from ..errors import NotEnoughMemory

T = TypeVar("T")
R = TypeVar("R")

#: Share of the free memory that a batch may take: the rest is for workspaces and for others.
_SHARE = 0.5
#: Assumed where the machine does not say what is free.
_UNKNOWN = 2**30


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on a device."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    table = Path("/proc/meminfo")
    lines = table.read_text(encoding="ascii").splitlines() if table.exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else _UNKNOWN


def row_bytes(*, cached: int, width: int, positions: int, vocabulary: int, predictions: int, itemsize: int) -> int:
    """Bytes that one row of a batch needs at its peak.

    Args:
        cached: numbers in the keys and values of one position, over all layers.
        width: numbers of one position that are alive while a layer runs.
        positions: prompt and new tokens.
        vocabulary: V.
        predictions: positions whose logits are alive together.
        itemsize: bytes per number.

    Keys and values are counted twice: `generate` goes on in a copy.
    """
    return (2 * cached + width) * positions * itemsize + vocabulary * predictions * (itemsize + 4)


def rows_that_fit(row: int, device: torch.device) -> int:
    """How many rows of so many bytes fit, at least 1."""
    return max(1, int(free_bytes(device) * _SHARE) // max(1, row))


class Batches:
    """Work on rows in batches of at most `size`; one for which memory fails is halved, and later ones are no larger.

    Rows must not depend on those beside them, as rows of a batch here do not.
    """

    def __init__(self, size: int) -> None:
        self.size = max(1, size)

    def run(self, rows: Sequence[T], work: Callable[[Sequence[T]], Iterable[R]], most: int | None = None) -> list[R]:
        """What `work` gives for all batches, one after another.

        Args:
            rows: what is done.
            work: does some of it; what it keeps elsewhere it changes at its end, so that it can be asked again.
            most: of this call, where that is fewer.

        Raises NotEnoughMemory where a single row is too much.
        """
        found: list[R] = []
        at = 0
        while at < len(rows):
            some = rows[at : at + min(self.size, most or self.size)]
            try:
                made = list(work(some))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(some) == 1:
                    raise NotEnoughMemory(
                        f"there is not enough memory for a single row: {memory_cure(error)}"
                    ) from error
            else:
                found += made
                at += len(some)
                continue
            # Outside the except clause: the error holds the frames, and with them the tensors, of what failed.
            self.size = (len(some) + 1) // 2
            give_back()
        return found


def give_back() -> None:
    """Let go of what the allocator keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
