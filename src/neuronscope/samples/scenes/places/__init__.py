"""Backgrounds. Importing this package registers every place."""

from . import indoors, outdoors

__all__ = ["indoors", "outdoors"]
