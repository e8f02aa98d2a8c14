"""The type checker that tests hang into neuronscope: beartype, on functions whose annotations speak of tensors.

Plain options are left to the package's own errors, which tests want to see.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

_SHAPED = re.compile(r"\b(Float|Int|Bool|UInt8|UInt16)\[")
_CONF = BeartypeConf(is_pep484_tower=True)  # an int will do for a float


def shapes(function: Any) -> Any:
    """Check arguments and results of functions with tensor annotations."""
    return beartype(conf=_CONF)(function) if _speaks_of_tensors(function) else function


def install(package: str) -> None:
    """Have jaxtyping decorate a package when it is imported, where annotations speak of tensors and nowhere else.

    Its import hook wraps every function, and the wrapper alone took a quarter of the time of all tests.
    """
    everywhere = jaxtyping.jaxtyped

    def where_it_counts(*, typechecker: Any) -> Callable[[Any], Any]:
        decorate = everywhere(typechecker=typechecker)
        return lambda thing: decorate(thing) if _speaks_of_tensors(thing) else thing

    jaxtyping.jaxtyped = where_it_counts
    install_import_hook(package, "shape_checker.shapes")


def _speaks_of_tensors(thing: Any) -> bool:
    return any(_SHAPED.search(str(hint)) for hint in getattr(thing, "__annotations__", {}).values())
