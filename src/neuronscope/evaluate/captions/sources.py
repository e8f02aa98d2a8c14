"""Libraries that caption metrics need, imported when the first pair is scored."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

from ...errors import InvalidOption

INSTALL = "pip install 'neuronscope[metrics]'"


def library(module: str, distribution: str) -> Any:
    """Import a module of an optional package. Raises InvalidOption saying how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InvalidOption(
            f"this metric needs the package {distribution}, which cannot be imported ({error}): {INSTALL}"
        ) from error


def version(distribution: str) -> str:
    """Installed version of a package. Raises InvalidOption saying how to install it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise InvalidOption(f"this metric needs the package {distribution}: {INSTALL}") from error


def positive(argument: str, value: int) -> None:
    """Raise InvalidOption unless a count is at least 1."""
    if value < 1:
        raise InvalidOption(f"{argument}={value} must be at least 1")
