"""The call of a processor, and what it cannot do with a picture.

Processors belong to others: what they raise about one picture, in whatever class, becomes an InvalidSample that names
it. Whether it is about the picture is tried, with plain pictures in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from ..errors import ImageTokenMismatch, InvalidOption, InvalidSample, NeuronscopeError, UnsupportedModel
from ..samples.image import name_of

#: Of a picture that a processor has scaled and not yet cropped: more are 3/4 GiB of floats, several times over.
MAX_SCALED = 64_000_000

#: A picture that every processor takes.
_PLAIN = (336, 336)


def processed(
    processor: Any, shown: Sequence[Image.Image], text: str, *, id: str, nested: bool, mixed: bool = False
) -> Mapping[str, Any]:
    """What a processor makes of one prompt.

    Args:
        processor: of the model.
        shown: the prompt's pictures, RGB.
        text: the prompt.
        id: what errors call the model.
        nested: it takes a list of pictures for each prompt.
        mixed: it takes pictures as parts of a prompt, and puts several that are given beside it behind the text.

    Raises InvalidSample for a picture that it does not take, InvalidOption where it does not take so many in a prompt,
    UnsupportedModel where it takes none.
    """

    def call(pictures: Sequence[Image.Image]) -> Mapping[str, Any]:
        if mixed and len(pictures) > 1:
            return processor(text=[[*pictures, text]], return_tensors="pt")
        images: Any = [list(pictures)] if nested and len(pictures) > 1 else list(pictures)
        return processor(text=[text], images=images, return_tensors="pt")

    for picture in shown:
        _require_scalable(processor, picture, id)
    try:
        return call(shown)
    except NeuronscopeError:
        raise
    except Exception as error:  # processors are others' code, and what they raise is of any class
        plain = [Image.new("RGB", _PLAIN, (90, 120, 60)) for _ in shown]
        if (fault := _refused(call, plain)) is not None:  # then it is not about these pictures
            if len(shown) > 1:
                told = str(error).partition("\n")[0] or type(error).__name__
                raise InvalidOption(
                    f"the processor of {id} does not take {len(shown)} images in one prompt: {told}"
                ) from error
            raise UnsupportedModel(f"the processor of {id} cannot process any picture: {_words(fault)}") from error
        for number, picture in enumerate(shown):
            if (fault := _refused(call, [*plain[:number], picture, *plain[number + 1 :]])) is not None:
                raise InvalidSample(
                    f"{called(picture)} is refused by the processor of {id}: {_words(fault)}"
                ) from error
        sizes = ", ".join(map(called, shown))
        raise InvalidSample(f"{sizes}: refused together by the processor of {id}: {_words(error)}") from error


def _refused(call: Any, pictures: Sequence[Image.Image]) -> Exception | None:
    try:
        call(pictures)
    except Exception as error:
        return error
    return None


def called(picture: Image.Image) -> str:
    """A picture as errors name it: its file, where it has one, and its size."""
    name = name_of(picture)
    size = f"{picture.width} x {picture.height} px"
    return f"image {name} ({size})" if name else f"the image of {size}"


@contextmanager
def about(number: int | None) -> Generator[None]:
    """What is said of one of several prompts tells which: `images[number]`, counted from 0; None for the only one."""
    try:
        yield
    except (InvalidSample, ImageTokenMismatch) as error:
        if number is None:
            raise
        raise type(error)(f"images[{number}]: {error}") from error


def _require_scalable(processor: Any, picture: Image.Image, id: str) -> None:
    """Raise InvalidSample where a long picture would become huge, because its shorter side is scaled to a fixed length.

    Most processors then cut the middle out, but first they make all of it.
    """
    part: Any = getattr(processor, "image_processor", None)
    if not getattr(part, "do_resize", False):
        return
    size: Any = getattr(part, "size", None) or {}
    try:
        given: dict[str, Any] = dict(size)
    except (TypeError, ValueError):  # a number, in some
        return
    shortest = given.get("shortest_edge")
    others = [key for key, value in given.items() if key != "shortest_edge" and value is not None]
    if not isinstance(shortest, int) or others:
        return
    longest = round(shortest * max(picture.size) / min(picture.size))
    if shortest * longest > MAX_SCALED:
        raise InvalidSample(
            f"{called(picture)} would be scaled to {shortest} x {longest} px by the processor of {id}, more than "
            f"{MAX_SCALED:,} pixels: cut it into pieces"
        )


def _words(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def accepted(model: Any) -> frozenset[str]:
    """Names of the inputs that a model takes; processors may return more."""
    inner: Any = getattr(model, "model", model)
    calls = (model.forward, inner.forward, getattr(model, "prepare_inputs_for_generation", None))
    return frozenset(name for call in calls if call is not None for name in inspect.signature(call).parameters)


def mismatch(error: ValueError, counts: Sequence[int], id: str) -> ImageTokenMismatch | None:
    """What to raise for a model's own comparison of image tokens and features; None for another error of it."""
    if "features" not in str(error) or "tokens" not in str(error):
        return None
    held = ", ".join(map(str, sorted(set(counts))))
    return ImageTokenMismatch(f"the prompt holds {held} image tokens; {id} says: {error}")
