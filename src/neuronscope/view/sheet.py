"""Pictures in rows, each row under its title: what some neurons see beside what others see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageOps

from ..samples.image import ImageSource, read_image

#: Side of a picture's place, space between places, and height of a title, in pixels.
_SIDE, _SPACE, _TITLE = 160, 8, 18


def contact_sheet(rows: Mapping[str, Sequence[ImageSource]]) -> Image.Image:
    """One picture with a row for each title, every picture whole within a square.

    Raises InvalidSample for one that cannot be read.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    step = _TITLE + _SIDE + _SPACE
    sheet = Image.new("RGB", (_SPACE + max(columns, 1) * (_SIDE + _SPACE), _SPACE + len(rows) * step), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for row, (title, pictures) in enumerate(rows.items()):
        top = _SPACE + row * step
        draw.text((_SPACE, top), title, fill=(0, 0, 0))
        for column, picture in enumerate(pictures):
            small = ImageOps.contain(read_image(picture).convert("RGB"), (_SIDE, _SIDE))
            sheet.paste(small, (_SPACE + column * (_SIDE + _SPACE), top + _TITLE))
    return sheet
