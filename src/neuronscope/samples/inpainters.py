"""What fills a region of a picture: one protocol, and a registry by name.

    telea, navier_stokes    OpenCV's, from the rim inwards
    mean_fill               the mean colour of a ring around the region
    diffusion:DIRECTORY     an inpainting pipeline of diffusers (diffusion.py)
    others                  what :func:`register_inpainter` was given in this process

Whatever an inpainter returns, pixels outside the region stay as they are (inpaint.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ..errors import InvalidOption, suggest
from ..fields import shown
from ..given import checked
from ..types import Json

Pixels: TypeAlias = UInt8[np.ndarray, "height width 3"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]
Fill: TypeAlias = Callable[[Pixels, Mask, float], Pixels]

#: What an inpainting pipeline of diffusers is called, before its directory.
DIFFUSION = "diffusion:"


@runtime_checkable
class Inpainter(Protocol):
    """What fills the masked pixels of a picture."""

    def fill(self, pixels: Pixels, mask: Mask, radius: float) -> Pixels:
        """The picture with the masked pixels filled; `radius` in pixels, for those that look that far around."""
        ...

    def told(self) -> Mapping[str, Json]:
        """Which model, with its fingerprint, and its settings; nothing where the name says it all."""
        ...


@dataclass(frozen=True)
class Filled:
    """A function as an inpainter: pixels, mask, radius -> pixels."""

    function: Fill

    def fill(self, pixels: Pixels, mask: Mask, radius: float) -> Pixels:
        """What the function makes."""
        return self.function(pixels, mask, radius)

    def told(self) -> Mapping[str, Json]:
        """Nothing."""
        return {}


def _telea(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    return np.asarray(cv2.inpaint(pixels, mask.astype(np.uint8), radius, cv2.INPAINT_TELEA), dtype=np.uint8)


def _navier_stokes(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    return np.asarray(cv2.inpaint(pixels, mask.astype(np.uint8), radius, cv2.INPAINT_NS), dtype=np.uint8)


def _mean_fill(pixels: Pixels, mask: Mask, radius: float) -> Pixels:
    """The mean colour of a ring around the region, of all other pixels where there is no ring."""
    width = 2 * max(int(radius), 1) + 1
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool) & ~mask
    filled = pixels.copy()
    filled[mask] = np.rint(pixels[ring if ring.any() else ~mask].mean(0)).astype(np.uint8)
    return filled


#: The inpainters that come along; every process has them, and they need no weights.
INPAINTERS: Mapping[str, Inpainter] = {
    "telea": Filled(_telea),
    "navier_stokes": Filled(_navier_stokes),
    "mean_fill": Filled(_mean_fill),
}
_REGISTERED: dict[str, Inpainter] = {}
#: Names that :func:`neuronscope.counterfactual` gives another meaning.
_TAKEN = ("exact", "edited")


@checked
def register_inpainter(name: str, inpainter: Inpainter | Callable[..., Pixels]) -> None:
    """Add an inpainter for this process, by name wherever an edit is named in Python.

    Args:
        name: a new one.
        inpainter: an :class:`Inpainter`, or a function of uint8 pixels [height, width, 3], a bool mask
            [height, width] and a radius that gives uint8 pixels of the same shape.

    Raises InvalidOption for a name that is taken, empty, or has a colon.
    """
    if isinstance(inpainter, type):
        raise InvalidOption(f"inpainter={inpainter!r} is a class: give an object of it, or a function")
    if name in (*INPAINTERS, *_REGISTERED, *_TAKEN) or not name.strip() or ":" in name:
        raise InvalidOption(f"name={shown(name)} cannot be given to an inpainter: it is taken, empty, or has a colon")
    _REGISTERED[name] = inpainter if isinstance(inpainter, Inpainter) else Filled(inpainter)


def known_inpainters() -> tuple[str, ...]:
    """Names of those that come along, and of those that were registered in this process."""
    return (*INPAINTERS, *_REGISTERED)


def is_inpainter(name: str) -> bool:
    """Whether a name is one of an inpainter, as far as the name says."""
    return name in INPAINTERS or name in _REGISTERED or name.startswith(DIFFUSION)


def require_edit(argument: str, name: str, *others: str) -> None:
    """Raise InvalidOption for a name that is neither an inpainter's nor one of `others`; no weights are read."""
    if is_inpainter(name):
        if name.startswith(DIFFUSION):
            from .diffusion import require_pipeline

            require_pipeline(name.removeprefix(DIFFUSION))
        return
    if name not in others:
        known = [*known_inpainters(), f"{DIFFUSION}DIRECTORY", *others]
        raise InvalidOption(f"{argument}={shown(name)} is not known.{suggest(name, known)}")


def told(name: str) -> Mapping[str, Json]:
    """What :meth:`Inpainter.told` says; no weights are loaded, but the files of a pipeline are read."""
    if name.startswith(DIFFUSION):
        from .diffusion import told_of

        return told_of(name.removeprefix(DIFFUSION))
    return inpainter(name).told() if is_inpainter(name) else {}


def recorded(name: str) -> str:
    """An edit's name as the record of a run keeps it, which tells nothing of the machine."""
    return f"{DIFFUSION}{Path(name.removeprefix(DIFFUSION)).name}" if name.startswith(DIFFUSION) else name


def is_repeatable(name: str) -> bool:
    """Whether the same picture and region give the same pixels on every machine: what comes along does."""
    return name in INPAINTERS or not is_inpainter(name)


def inpainter(name: str) -> Inpainter:
    """The inpainter of a name. Raises InvalidOption for another, UnsupportedModel for one that cannot be loaded."""
    require_edit("method", name)
    if name.startswith(DIFFUSION):
        from .diffusion import pipeline

        return pipeline(name.removeprefix(DIFFUSION))
    return INPAINTERS[name] if name in INPAINTERS else _REGISTERED[name]
