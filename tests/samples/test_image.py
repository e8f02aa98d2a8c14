"""read_image: every kind of file becomes upright 8-bit RGB, or an error that names the file and the reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuronscope.errors import InvalidSample
from neuronscope.samples.image import read_image

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(InvalidSample, match=r"notes\.png (is not in a format|cannot be read)"):
        read_image(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused_or_decoded_but_never_a_bare_traceback(
    tmp_path: Path, picture: Image.Image, kind: str
) -> None:
    whole = encoded(picture, kind)
    path = tmp_path / "cut.img"
    refused = 0
    for length in {*range(0, min(len(whole), 200), 3), *range(0, len(whole), max(1, len(whole) // 60))}:
        path.write_bytes(whole[:length])
        try:
            assert read_image(path).size == picture.size
        except InvalidSample as error:
            assert "cut.img" in str(error)
            refused += 1
    assert refused >= 40


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_never_give_a_bare_traceback(tmp_path: Path, picture: Image.Image, kind: str) -> None:
    whole = np.frombuffer(encoded(picture, kind), np.uint8)
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.img"
    for _ in range(120):
        damaged = whole.copy()
        damaged[rng.integers(0, min(len(whole), 400), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).mode == "RGB"
        except InvalidSample as error:
            assert "damaged.img" in str(error)


@pytest.mark.parametrize(
    ("name", "reason"), [("absent.png", "does not exist"), ("", "is a directory"), ("x" * 300, "x{300}")]
)
def test_a_path_without_a_file_is_refused_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InvalidSample, match=reason):
        read_image(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_a_picture_too_small_for_a_patch_is_refused_with_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", size).save(path)
    with pytest.raises(InvalidSample, match=rf"dot\.png is {size[0]} x {size[1]} px; at least 8"):
        read_image(path)
    assert read_image(Image.new("RGB", (8, 8))).size == (8, 8)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("L", (100, 100)).save(path)
    for limit in (6000, 1000):  # Pillow only warns up to twice the limit, and raises beyond
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InvalidSample, match=r"bomb\.png is too large"):
            read_image(path)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=100)
    picture = read_image(path)
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture, dtype=int) - RED).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_brightness(tmp_path: Path, kind: str) -> None:
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    path = tmp_path / "deep.img"
    Image.fromarray(values).save(path, kind)
    pixels = np.asarray(read_image(path))
    assert np.array_equal(pixels[..., 0].ravel(), np.arange(256))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_float_tiff_is_scaled_by_its_own_range(tmp_path: Path) -> None:
    values = np.linspace(-3, 7, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "depth.tiff")
    assert np.array_equal(np.asarray(read_image(tmp_path / "depth.tiff"))[..., 1].ravel(), np.arange(256))
    assert np.asarray(read_image(Image.fromarray(np.full((16, 16), 0.7, np.float32)))).max() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_pixels_that_are_not_finite_are_refused(bad: float) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, 4] = bad
    with pytest.raises(InvalidSample, match="finite"):
        read_image(Image.fromarray(values))


def test_a_rotated_jpeg_is_turned_upright(tmp_path: Path) -> None:
    stored = Image.new("RGB", (32, 16), GREEN)
    stored.paste(RED, (0, 0, 16, 16))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right-hand side of the stored picture's left edge: turn clockwise
    path = tmp_path / "phone.jpg"
    stored.save(path, exif=exif, quality=100)
    pixels = np.asarray(read_image(path), dtype=int)
    assert pixels.shape == (32, 16, 3)
    assert np.abs(pixels[4, 8] - RED).max() < 12
    assert np.abs(pixels[28, 8] - GREEN).max() < 12


@pytest.mark.parametrize("opened", [False, True])
def test_an_animation_gives_its_first_frame(tmp_path: Path, opened: bool) -> None:
    path = tmp_path / "moving.gif"
    Image.new("RGB", (16, 16), RED).save(path, save_all=True, append_images=[Image.new("RGB", (16, 16), GREEN)])
    source = Image.open(path)
    source.seek(1)
    assert np.array_equal(np.asarray(read_image(source if opened else path))[5, 5], RED)
    assert source.tell() == 1, "the caller's picture was moved to another frame"


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "logo.png"
    alpha = Image.new("L", (16, 16), 0)
    alpha.paste(255, (0, 0, 8, 16))
    if mode == "P":
        picture = Image.new("P", (16, 16), 1)
        picture.putpalette([0, 0, 0, 9, 9, 9])
        picture.paste(0, (0, 0, 8, 16))
        picture.save(path, transparency=1)
    else:
        picture = Image.new("RGB" if mode == "RGBA" else "L", (16, 16))
        picture.putalpha(alpha)
        picture.save(path)
    pixels = np.asarray(read_image(path))
    assert np.array_equal(pixels[0, 0], (0, 0, 0))
    assert np.array_equal(pixels[0, 15], WHITE)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((20, 20), np.uint8), ((20, 20, 4), np.uint8), ((3, 20, 20), np.uint8), ((20, 20, 3), np.float32)],
)
def test_an_array_of_another_shape_or_type_is_refused_with_both(shape: tuple[int, ...], kind: type) -> None:
    with pytest.raises(InvalidSample) as caught:
        read_image(np.zeros(shape, kind))
    assert str(shape) in str(caught.value)
    assert np.dtype(kind).name in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 20, 3), (20, 0, 3), (4, 4, 3)])
def test_an_array_without_enough_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSample, match="at least 8"):
        read_image(np.zeros(shape, np.uint8))


def test_the_result_does_not_share_the_callers_pixels(picture: Image.Image) -> None:
    array = np.asarray(picture).copy()
    for source in (array, picture):
        result = read_image(source)
        assert np.array_equal(np.asarray(result), np.asarray(picture))
        result.paste(0, (0, 0, *result.size))
    assert array.any()
    assert np.asarray(picture).any()


def test_a_picture_opened_lazily_from_a_truncated_file_is_refused(tmp_path: Path, picture: Image.Image) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(encoded(picture, "PNG")[:2000])
    with pytest.raises(InvalidSample, match="image cannot be read"):
        read_image(Image.open(path))
