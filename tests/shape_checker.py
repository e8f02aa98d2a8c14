"""The type checker that tests hang into neuronscope: beartype, on functions whose annotations speak of tensors.

Plain options are left to the package's own errors, which tests want to see.
"""

from __future__ import annotations

from typing import Any

from beartype import BeartypeConf, beartype

_CONF = BeartypeConf(is_pep484_tower=True)  # an int will do for a float


def shapes(function: Any) -> Any:
    """Check arguments and results of functions with tensor annotations."""
    hints = getattr(function, "__annotations__", {}).values()
    return beartype(conf=_CONF)(function) if any("Tensor" in str(h) or "ndarray" in str(h) for h in hints) else function
