"""The measured frame against arithmetic done by hand."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neuronscope.errors import ImageTokenMismatch
from neuronscope.tokens import Frame, measure_frames


def clip(**options: Any):
    from transformers import CLIPImageProcessorPil

    side = options.pop("side", 224)
    made = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}, **options)
    return lambda image: made(images=image, return_tensors="np")


def measure_frame(process: Any, size: tuple[int, int]) -> Frame:
    (frame,) = measure_frames(process, size)
    return frame


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
    assert farthest_corner(measured, Frame((61, 45), (61, 45), (1, 1), (0, 0))) < 1e-5


def test_a_crop_larger_than_the_picture_pads_and_the_offset_is_negative():
    measured = measure_frame(clip(side=64, do_resize=False), (40, 50))
    assert farthest_corner(measured, Frame((40, 50), (64, 64), (1, 1), (-12, -7))) < 1e-5


def tiles(image: Image.Image) -> dict[str, np.ndarray]:
    """Left half, right half, and the whole at half size."""
    width, height = image.size
    parts = [image.crop((0, 0, width // 2, height)), image.crop((width // 2, 0, width, height)), image]
    return {"pixel_values": np.stack([np.asarray(p.resize((20, 20))).transpose(2, 0, 1) for p in parts])}


def test_each_tile_has_its_own_frame():
    left, right, whole = measure_frames(tiles, (160, 80))
    assert farthest_corner(left, Frame((160, 80), (20, 20), (4, 4), (0, 0))) < 0.3
    assert farthest_corner(right, Frame((160, 80), (20, 20), (4, 4), (80, 0))) < 0.3
    assert farthest_corner(whole, Frame((160, 80), (20, 20), (8, 4), (0, 0))) < 0.5


def padded_tiles(image: Image.Image) -> dict[str, np.ndarray]:
    """A canvas of 2 x 2 tiles of 20 px with the picture, as it is, in its upper left corner; then the whole picture."""
    canvas = np.zeros((3, 40, 40))
    canvas[:, : image.height, : image.width] = np.asarray(image, dtype=float).transpose(2, 0, 1)
    cut = canvas.reshape(3, 2, 20, 2, 20).transpose(1, 3, 0, 2, 4).reshape(4, 3, 20, 20)
    whole = np.asarray(image.resize((20, 20)), dtype=float).transpose(2, 0, 1)
    return {"pixel_values": np.concatenate([cut, whole[None]]) - 127}


def test_tiles_of_padding_are_left_out_or_lie_outside_the_picture():
    """40 x 20 px fill the upper two of four tiles."""
    upper = [Frame((40, 20), (20, 20), (1, 1), (x, 0)) for x in (0, 20)]
    for padding, count in ((False, 3), (True, 5)):
        found = measure_frames(padded_tiles, (40, 20), padding=padding)
        assert [frame.blank for frame in found] == [False, False, *[True] * (count - 3), False]
        for frame, exact in zip(found, upper, strict=False):
            assert farthest_corner(frame, exact) < 1e-5
        for frame in found[2:-1]:
            assert (frame.source, frame.processed) == ((40, 20), (20, 20))


@pytest.mark.parametrize("size", [(21, 20), (20, 21), (21, 33), (35, 21)])
def test_a_tile_with_one_row_or_column_of_the_picture_has_the_scale_of_its_other_axis(size: tuple[int, int]):
    found = measure_frames(padded_tiles, size, padding=True)
    for number, frame in enumerate(found[:4]):
        corner = (20.0 * (number % 2), 20.0 * (number // 2))
        assert frame.blank == (corner[0] >= size[0] or corner[1] >= size[1])
        if not frame.blank:
            assert farthest_corner(frame, Frame(size, (20, 20), (1, 1), corner)) < 1e-5


def test_a_tile_with_one_pixel_of_the_picture_is_refused():
    with pytest.raises(ImageTokenMismatch, match=r"x axis cannot be measured for images of size \(21, 21\)"):
        measure_frames(padded_tiles, (21, 21))


@pytest.mark.parametrize(
    ("offset", "blank"), [((-20, 0), True), ((-19, 0), False), ((0, 39), False), ((0, 40), True), ((60, 0), True)]
)
def test_a_frame_is_blank_where_it_does_not_meet_the_picture(offset: tuple[float, float], blank: bool):
    assert Frame((60, 40), (10, 10), (2.0, 2.0), offset).blank is blank


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("padding", [0, 5])
def test_flattened_patches_are_read_in_any_order(channels_last: bool, padding: int):
    """A 60 x 40 picture as 6 x 4 patches of 10 px, shuffled, some of them padding."""
    order = np.random.default_rng(0).permutation(24)

    def process(image: Image.Image) -> dict[str, np.ndarray]:
        pixels = np.asarray(image, dtype=float).reshape(4, 10, 6, 10, 3).transpose(0, 2, 1, 3, 4).reshape(24, 100, 3)
        flat = (pixels if channels_last else pixels.transpose(0, 2, 1)).reshape(24, 300)[order] - 127
        return {"pixel_values": np.concatenate([flat, np.zeros((padding, 300))])}

    (frame,) = measure_frames(process, (60, 40))
    assert farthest_corner(frame, Frame((60, 40), (6, 4), (10, 10), (0, 0))) < 1e-5


@pytest.mark.parametrize("pixels", [np.zeros(3), np.zeros((1, 2, 4, 8, 8))], ids=["one axis", "no channels"])
def test_what_is_no_picture_is_refused(pixels: np.ndarray):
    with pytest.raises(ImageTokenMismatch, match=str(pixels.shape).replace("(", r"\(").replace(")", r"\)")):
        measure_frame(lambda _: {"pixel_values": pixels}, (40, 40))


def test_a_processor_that_looks_at_the_content_is_refused():
    with pytest.raises(ImageTokenMismatch, match="depending on their content"):
        measure_frames(lambda im: {"pixel_values": np.zeros((1 + (np.asarray(im).max() > 0), 3, 8, 8))}, (40, 40))


def test_the_output_that_holds_the_pixels_is_named():
    with pytest.raises(ImageTokenMismatch, match="returns no 'pixel_values', only patches"):
        measure_frames(lambda _: {"patches": np.zeros((4, 8))}, (40, 40))


def test_a_processor_that_shows_nothing_is_refused():
    with pytest.raises(ImageTokenMismatch, match=r"x axis cannot be measured for images of size \(40, 30\)"):
        measure_frame(lambda _: {"pixel_values": np.zeros((1, 3, 8, 8))}, (40, 30))


@pytest.mark.parametrize("padding", [False, True])
def test_a_processor_whose_tiles_all_show_nothing_is_refused(padding: bool):
    with pytest.raises(ImageTokenMismatch, match=r"shows nothing of images of size \(40, 30\)"):
        measure_frames(lambda _: {"pixel_values": np.zeros((2, 3, 8, 8))}, (40, 30), padding=padding)


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


def test_a_photograph_is_measured_without_copies_in_floats():
    """Three bytes a pixel for each of a few pictures is what there is anyway; floats would be twenty-four."""
    size = (1600, 1200)
    measure_frame(clip(), (64, 48))  # what is imported and kept on the first call
    tracemalloc.start()
    measure_frame(lambda image: {"pixel_values": np.asarray(image.resize((24, 18))).transpose(2, 0, 1)[None]}, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 * size[0] * size[1]
