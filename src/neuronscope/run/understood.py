"""What is made of rows of parts: a part can be whole, stamped for this run, and hold what no part of ours holds.

with understood(run, "located", key):
...                             # read the part, parse its document, use its values
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import InvalidOption, RunMismatch, first_line
from .directory import Run


@contextmanager
def understood(run: Run, kind: str = "", key: Mapping[str, Any] | None = None) -> Generator[None]:
    """Whatever does not fit in the block is a RunMismatch that names the part, or the folder of its kind, or of all.

    Documents that other programs wrote may lack anything; a number that is a text is only found by what uses it.
    """
    parts = run.folder / "parts"
    place = parts if not kind else parts / kind if key is None else run.part(kind, key)
    try:
        yield
    except RunMismatch as error:
        if str(run.folder) in str(error):
            raise
        raise RunMismatch(f"{place}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, InvalidOption) as error:
        raise RunMismatch(
            f"{place} is whole, but does not hold what this program writes ({type(error).__name__}: "
            f"{first_line(error)}): take it away to have it computed again"
        ) from error


def only_row(run: Run, kind: str, key: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a part that holds one. Raises RunMismatch for another number, and as :meth:`Run.read` does."""
    with understood(run, kind, key):
        (row,) = run.read(kind, key).to_pylist()
    return row
