"""The measured frame against arithmetic done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronscope.errors import ImageTokenMismatch
from neuronscope.tokens import Frame, measure_frame


def clip(**options: Any):
    from transformers import CLIPImageProcessorPil

    side = options.pop("side", 224)
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, **options)


def resize_and_crop(size: tuple[int, int], side: int) -> Frame:
    """CLIP: the short side becomes `side`, the long one is rounded down, the middle is kept."""
    short = min(size)
    resized = [side if length == short else int(side * length / short) for length in size]
    scale = [length / small for length, small in zip(size, resized, strict=True)]
    offset = [(small - side) // 2 * s for small, s in zip(resized, scale, strict=True)]
    return Frame(size, (side, side), (scale[0], scale[1]), (offset[0], offset[1]))


def farthest_corner(one: Frame, other: Frame) -> float:
    """Largest disagreement about the processed image's four edges, in source pixels."""
    whole = (0.0, 0.0, float(one.processed[0]), float(one.processed[1]))
    a, b = np.array(one.to_source(whole)), np.array(other.to_source(whole))
    return float(max(np.abs(a[:2] - b[:2]).max(), np.abs((a[:2] + a[2:]) - (b[:2] + b[2:])).max()))


@pytest.mark.parametrize("side", [32, 224, 336])
@pytest.mark.parametrize(
    "size", [(60, 44), (44, 60), (224, 224), (256, 255), (448, 448), (300, 200), (333, 500), (640, 427), (1024, 768)]
)
def test_measured_frame_is_the_resize_and_centre_crop(size: tuple[int, int], side: int):
    measured, exact = measure_frame(clip(side=side), size), resize_and_crop(size, side)
    assert (measured.source, measured.processed) == (exact.source, exact.processed)
    # In source pixels; where many are squeezed into one, the processor's 8 bits resolve a tenth of that one.
    assert farthest_corner(measured, exact) < max(0.25, 0.1 * max(exact.scale))


def test_without_resize_and_crop_the_frame_is_the_identity():
    measured = measure_frame(clip(do_resize=False, do_center_crop=False), (61, 45))
    assert measured.processed == (61, 45)
    assert farthest_corner(measured, Frame((61, 45), (61, 45), (1, 1), (0, 0))) < 1e-6


def test_a_crop_larger_than_the_picture_pads_and_the_offset_is_negative():
    measured = measure_frame(clip(side=64, do_resize=False), (40, 50))
    assert farthest_corner(measured, Frame((40, 50), (64, 64), (1, 1), (-12, -7))) < 1e-6


@pytest.mark.parametrize("pixels", [np.zeros((2, 3, 8, 8)), np.zeros((1, 5, 3, 8, 8))], ids=["two tiles", "five axes"])
def test_a_processor_that_cuts_tiles_is_refused(pixels: np.ndarray):
    with pytest.raises(ImageTokenMismatch, match=str(pixels.shape).replace("(", r"\(").replace(")", r"\)")):
        measure_frame(lambda **_: {"pixel_values": pixels}, (40, 40))


def test_a_processor_that_shows_nothing_is_refused():
    with pytest.raises(ImageTokenMismatch, match=r"x axis cannot be measured for images of size \(40, 30\)"):
        measure_frame(lambda **_: {"pixel_values": np.zeros((1, 3, 8, 8))}, (40, 30))


@settings(max_examples=40, deadline=None)
@given(st.integers(16, 700), st.integers(16, 700), st.tuples(*[st.floats(-50, 800)] * 4))
def test_to_processed_undoes_to_source(width: int, height: int, box: tuple[float, float, float, float]):
    frame = measure_frame(clip(side=32), (width, height))
    assert frame.to_processed(frame.to_source(box)) == pytest.approx(box, abs=1e-6)
    # A box that fills the picture is seen whole where nothing is cropped: along the short side.
    short = int(height < width)
    seen = frame.to_processed((0, 0, width, height))
    assert seen[short] == pytest.approx(0, abs=0.6)
    assert seen[short + 2] == pytest.approx(32, abs=0.6)
