"""How many threads PyTorch takes for a model on the CPU.

A small model's operations are over before several threads have met: on a busy machine they mostly wait for each other,
each at full speed (the demo took 238 seconds of CPU with two threads, 57 with one). Whoever sets OMP_NUM_THREADS or
MKL_NUM_THREADS, or has called `torch.set_num_threads` with fewer, keeps what was set.
"""

from __future__ import annotations

import os

#: Bytes of weights that are worth a thread.
PER_THREAD = 2**27
_SET_BY_USERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def bytes_at(model: str) -> int:
    """Bytes of the weights of a model whose directory is here; 0 for others."""
    from ..loading.load import checkpoint_directory

    try:
        place = checkpoint_directory(model)
    except OSError:  # no name of a file; loading says what is wrong with it
        return 0
    return 0 if place is None else sum(file.stat().st_size for file in place.glob("*.safetensors"))


def use_few_threads(weights: int) -> bool:
    """Give PyTorch a thread for each :data:`PER_THREAD` bytes of weights, and not more than it has.

    Returns False, and changes nothing, where nothing is known of the weights.
    """
    import torch

    if not weights:
        return False
    if not any(os.environ.get(name) for name in _SET_BY_USERS):
        torch.set_num_threads(min(torch.get_num_threads(), 1 + weights // PER_THREAD))
    return True
