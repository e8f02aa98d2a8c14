"""How many captions are written together: what one row needs, what is free, and what a failed allocation looks like."""

from __future__ import annotations

from pathlib import Path

import torch

#: Share of the free memory that a batch may take: the rest is for workspaces and for others.
_SHARE = 0.5
#: What failed allocations say on the CPU, where torch has no error class of its own for them.
_CPU_MESSAGES = ("can't allocate memory", "not enough memory")
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


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)
