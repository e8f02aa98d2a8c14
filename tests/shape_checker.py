"""The type checker that tests hang into neuronscope: beartype, on functions whose annotations speak of tensors.

Plain options are left to the package's own errors, which tests want to see.
"""

from __future__ import annotations

import re
from typing import Any

from beartype import BeartypeConf, beartype

_SHAPED = re.compile(r"\b(Float|Int|Bool|UInt8)\[")
_CONF = BeartypeConf(is_pep484_tower=True)  # an int will do for a float


def shapes(function: Any) -> Any:
    """Check arguments and results of functions with tensor annotations."""
    hints = getattr(function, "__annotations__", {}).values()
    return beartype(conf=_CONF)(function) if any(_SHAPED.search(str(h)) for h in hints) else function
