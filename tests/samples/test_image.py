import io

import numpy as np
import pytest
from PIL import Image

from neuronscope.errors import InvalidSample
from neuronscope.samples import read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def saved(tmp_path):
    def save(image, name, **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def test_rgb_files_arrays_and_pictures_come_back_pixel_for_pixel(saved):
    path = saved(NOISE, "a.png")
    for source in (path, str(path), NOISE, np.asarray(NOISE)):
        read = read_image(source)
        assert read.mode == "RGB"
        assert read.tobytes() == NOISE.tobytes()
    assert read_image(NOISE) is not NOISE


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 70, (70, 70, 70)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I", 257 * 7, (7, 7, 7)),
    ],
)
def test_every_mode_becomes_the_rgb_it_shows(mode, colour, expected):
    assert read_image(Image.new(mode, (9, 9), colour)).getpixel((4, 4)) == expected


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("I;16", "a.png"), ("1", "a.png")])
def test_unusual_modes_survive_the_way_through_a_file(saved, mode, name):
    image = Image.new(mode, (16, 16), {"CMYK": (0, 255, 255, 0), "I;16": 257 * 90, "1": 1}[mode])
    expected = {"CMYK": (255, 0, 0), "I;16": (90, 90, 90), "1": (255, 255, 255)}[mode]
    assert np.abs(np.subtract(read_image(saved(image, name)).getpixel((5, 5)), expected)).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_a_transparent_colour_shows_as_white(saved, mode):
    image = Image.new(mode, (9, 9), (1, 2, 3) if mode == "RGB" else 3)
    if mode == "P":
        image.putpalette(bytes(range(12)))
    path = saved(image, "t.png", transparency=(1, 2, 3) if mode == "RGB" else 3)
    assert read_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_float_pictures_use_their_own_range_and_must_be_finite():
    ramp = np.linspace(-3, 5, 81, dtype=np.float32).reshape(9, 9)
    grey = np.asarray(read_image(Image.fromarray(ramp)))
    assert (grey[0, 0, 0], grey[8, 8, 0]) == (0, 255)
    ramp[2, 2] = np.nan
    with pytest.raises(InvalidSample, match="not finite"):
        read_image(Image.fromarray(ramp))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(saved, orientation):
    stored = Image.new("RGB", (20, 10), "black")
    stored.paste("red", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = read_image(saved(stored, "o.png", exif=exif))
    assert upright.size == ((20, 10) if orientation < 5 else (10, 20))
    right, bottom = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[
        orientation
    ]
    corner = (right * (upright.width - 1), bottom * (upright.height - 1))
    assert upright.getpixel(corner) == (255, 0, 0)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animations_give_their_first_frame_and_stay_where_they_were(saved, name):
    frames = [Image.new("RGB", (12, 12), colour) for colour in ("red", "lime", "blue")]
    path = saved(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    assert read_image(path).getpixel((3, 3)) == (255, 0, 0)
    with Image.open(path) as picture:
        picture.seek(2)
        assert read_image(picture).getpixel((3, 3)) == (255, 0, 0)
        assert picture.tell() == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not an image at all", "not in a format"),
        (encoded(NOISE, "PNG")[:400], "cannot be read"),
        (encoded(NOISE, "JPEG")[:700], "cannot be read"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 px; at least 8"),
        (encoded(Image.new("RGB", (7, 90)), "PNG"), "7 x 90 px; at least 8"),
    ],
)
def test_unusable_files_are_refused_by_name_and_reason(tmp_path, content, reason):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InvalidSample, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [("none.png", "does not exist"), ("", "is a directory")])
def test_missing_files_and_directories_are_refused(tmp_path, name, reason):
    with pytest.raises(InvalidSample, match=reason) as caught:
        read_image(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


def test_a_picture_opened_from_a_truncated_file_is_refused_too():
    data = encoded(NOISE, "PNG")
    with pytest.raises(InvalidSample, match="truncated"):
        read_image(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize("limit", [500, 100], ids=["warning", "error"])
def test_decompression_bombs_are_refused(saved, monkeypatch, limit):
    path = saved(NOISE, "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InvalidSample, match=r"bomb\.png is too large"):
        read_image(path)


@pytest.mark.parametrize(
    "array", [np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8), np.zeros((3, 9, 9), np.uint8)]
)
def test_other_arrays_are_refused_with_shape_and_type(array):
    with pytest.raises(InvalidSample) as caught:
        read_image(array)
    assert str(array.shape) in str(caught.value)
    assert str(array.dtype) in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged TIFF tags
def test_damaged_files_never_raise_anything_else(tmp_path, kind):
    rng = np.random.default_rng(1)
    whole, path, refused = encoded(NOISE, kind), tmp_path / "damaged", 0
    for _ in range(60):
        data = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
        for at in rng.integers(0, min(len(data), 200), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            read_image(path)
        except InvalidSample:
            refused += 1
    assert refused > 0
