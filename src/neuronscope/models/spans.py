"""Which spans a family has: where a decoder meets the image."""

from __future__ import annotations

from ..errors import NoImagePositions
from ..types import Span
from .families import Family


def picture_span(row: Family) -> Span:
    """At image tokens, or where the decoder's text attends to the image."""
    return "media" if row.media is not None else "image"


def require_span(row: Family, span: Span) -> None:
    """Raise NoImagePositions for image tokens, or text that attends to the image, that a family's decoder has not."""
    if span == "image" and row.no_image:
        remedy = "" if row.media is None else '; span="media" is where its text attends to it'
        raise NoImagePositions(f"{row.title} has no neurons at image positions: {row.no_image}{remedy}")
    if span == "media" and row.media is None:
        why = row.no_image or 'its decoder holds image tokens, span="image"'
        raise NoImagePositions(f"{row.title} has no text positions that attend to the image by cross-attention: {why}")
