"""What processors raise about one picture names that picture, whatever they raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidSample, UnsupportedModel
from neuronscope.models.processing import MAX_SCALED, processed
from neuronscope.models.usable import unprocessable

RAISED = [
    ValueError("absolute aspect ratio must be smaller than 200"),
    RuntimeError("shape '[3, 14]' is invalid for input of size 3"),
    KeyError("height"),
    ZeroDivisionError("float division by zero"),
    MemoryError(),
    OverflowError("Maximum supported image dimension is 65500 pixels"),
    OSError("broken data stream"),
    AssertionError(),
    StopIteration(),
    IndexError("list index out of range\nand more lines"),
    NotImplementedError("portrait"),
    type("TheirOwn", (Exception,), {})("no such tile"),
]
ODD = (61, 44)


@pytest.fixture
def picky(vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Makes the processor raise about pictures of one size."""
    process = type(vlm.processor).__call__

    def make(error: Exception) -> None:
        def call(self: Any, *args: Any, images: Any, **kwargs: Any) -> Any:
            flat = images[0] if isinstance(images[0], list) else images
            if any(picture.size == ODD for picture in flat):
                raise error
            return process(self, *args, images=images, **kwargs)

        monkeypatch.setattr(type(vlm.processor), "__call__", call)

    return make


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("a", "odd", "b")]
    for path, (width, height) in zip(paths, [(60, 44), ODD, (44, 60)], strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_the_picture_is_named_and_its_place_in_the_list(
    vlm: ns.VLM, picky: Callable[[Exception], None], files: list[Path], error: Exception
):
    picky(error)
    words = str(error).split("\n")[0] or type(error).__name__
    with pytest.raises(InvalidSample) as caught:
        vlm.captions(files)
    told = str(caught.value)
    assert told.startswith(f"images[1]: image {files[1]} (61 x 44 px) is refused by the processor of ")
    assert told.endswith(words)
    assert len(told.splitlines()) == 1
    with pytest.raises(InvalidSample, match=r"^images\[1\]: the image of 61 x 44 px is refused"):
        vlm.captions([np.asarray(Image.open(path)) for path in files])
    with pytest.raises(InvalidSample, match=r"^image .*odd\.png"):
        vlm.caption(files[1])


def test_the_place_is_that_of_the_list_also_in_a_later_batch(
    vlm: ns.VLM, picky: Callable[[Exception], None], files: list[Path]
):
    picky(RAISED[0])
    images = [Image.open(path).copy() for path in [files[0]] * 5 + [files[1]]]
    short = ns.Decoding(max_new_tokens=1)
    for options in ({"batch_size": 2}, {"batch_size": 1}, {"batch_size": 32}):
        with pytest.raises(InvalidSample, match=r"^images\[5\]: "):
            vlm.captions(images, decoding=short, **options)
    with pytest.raises(InvalidSample, match=r"^images\[5\]: "):
        ns.Captioner(vlm, images)
    with pytest.raises(InvalidSample, match=r"^images\[0\]: "):
        ns.Captioner(vlm, images[::-1])


def test_a_picture_that_cannot_be_read_is_named_by_its_place_too(vlm: ns.VLM, picture: Image.Image):
    with pytest.raises(InvalidSample, match=r"^images\[2\]: image is 4 x 4 px; at least 8"):
        vlm.captions([picture, picture, Image.new("RGB", (4, 4))])
    with pytest.raises(InvalidSample, match=r"^images\[1\]: image is an array of shape"):
        vlm.prepare([picture, np.zeros((9, 9), np.uint8)])  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidSample, match=r"^image is 4 x 4 px"):
        vlm.prepare([Image.new("RGB", (4, 4))])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_of_several_pictures_of_a_prompt(vlm: ns.VLM, picky: Callable[[Exception], None], place: int, files: Any):
    picky(RAISED[1])
    shown = [files[0], files[2]]
    shown.insert(place, files[1])
    with pytest.raises(InvalidSample, match=r"odd\.png \(61 x 44 px\) is refused"):
        vlm.prepare([shown])


def test_a_processor_that_takes_no_picture_is_no_fault_of_a_picture(
    vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch, files: list[Path]
):
    def broken(*_: Any, **__: Any) -> Any:
        raise TypeError("Invalid image type")

    monkeypatch.setattr(type(vlm.processor), "__call__", broken)
    with pytest.raises(UnsupportedModel, match="cannot process any picture: TypeError: Invalid image type"):
        vlm.prepare([files[0]])


class _Scaling:
    """A processor that would scale a picture's shorter side."""

    def __init__(self, size: Any) -> None:
        self.image_processor = self
        self.do_resize = True
        self.size = size

    def __call__(self, **_: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("size", "shape", "refused"),
    [
        ({"shortest_edge": 336}, (8, 1600), False),
        ({"shortest_edge": 1024}, (8, 1600), True),
        ({"shortest_edge": 1024}, (1600, 8), True),
        ({"shortest_edge": 768}, (30, 3300), True),
        ({"shortest_edge": 768}, (30, 3200), False),
        ({"shortest_edge": 1024, "longest_edge": 4096}, (8, 1600), False),
        ({"height": 1024, "width": 1024}, (8, 1600), False),
        (1024, (8, 1600), False),
        (None, (8, 1600), False),
    ],
)
def test_a_long_picture_is_not_made_huge(size: Any, shape: tuple[int, int], refused: bool):
    picture = Image.new("RGB", shape)
    if not refused:
        assert processed(_Scaling(size), [picture], "", id="m", nested=False) == {}
        return
    with pytest.raises(InvalidSample, match=rf"{shape[0]} x {shape[1]} px would be scaled to .* than {MAX_SCALED:,}"):
        processed(_Scaling(size), [picture], "", id="m", nested=False)


def test_sizes_of_transformers_own_kind_are_understood(vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch):
    from transformers.image_utils import SizeDict

    monkeypatch.setattr(vlm.processor.image_processor, "size", SizeDict(shortest_edge=1024))
    monkeypatch.setattr(vlm.processor.image_processor, "do_resize", True)
    with pytest.raises(InvalidSample, match="would be scaled to 1024 x 204800 px"):
        vlm.prepare([Image.new("RGB", (8, 1600))])


def test_pictures_that_a_job_leaves_out(vlm: ns.VLM, picky: Callable[[Exception], None], files: list[Path]):
    picky(RAISED[2])
    files[2].write_bytes(b"gone")
    found = unprocessable(vlm, files)
    assert list(found) == files[1:]
    assert "is refused by the processor" in found[files[1]]
    assert "not in a format" in found[files[2]]
