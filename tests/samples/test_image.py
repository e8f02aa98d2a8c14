import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import neuronscope
from neuronscope.errors import InvalidSample
from neuronscope.samples.image import MAX_RATIO, name_of, read_image, read_upright, size_of

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


def test_float_pictures_are_0_to_1_whatever_they_show():
    ramp = np.linspace(0, 0.5, 81, dtype=np.float32).reshape(9, 9)
    grey = np.asarray(read_image(Image.fromarray(ramp)))
    assert (grey[0, 0, 0], grey[8, 8, 0]) == (0, 128)


DEEP = {
    "floats of 8-bit range": (np.linspace(0, 255, 81, dtype=np.float32), "from 0 to 255, not from 0 to 1"),
    "negative floats": (np.linspace(-1, 1, 81, dtype=np.float32), "from -1 to 1, not from 0 to 1"),
    "a float that is no number": (np.full(81, np.nan, np.float32), "not finite"),
    "an infinite float": (np.full(81, np.inf, np.float32), "not finite"),
    "integers of 32 bits": (np.arange(81, dtype=np.int32) * 10**6, "not from 0 to 65535"),
    "negative integers": (np.arange(81, dtype=np.int32) - 5, "from -5 to 75"),
    "8 bits in 16": (np.arange(81, dtype=np.uint16) * 3, "up to 240 of 65535"),
    "8 bits in 32": (np.arange(81, dtype=np.int32) * 3, "up to 240 of 65535"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_tones_whose_range_cannot_be_told_are_refused_by_name(tmp_path, kind):
    values, reason = DEEP[kind]
    Image.fromarray(values.reshape(9, 9)).save(tmp_path / "deep.tif")
    with pytest.raises(InvalidSample, match=f"deep.tif cannot be read: .*{reason}"):
        read_image(tmp_path / "deep.tif")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colours_of_16_bits_come_as_their_upper_8(tmp_path, kind):
    cv2 = pytest.importorskip("cv2")
    values = (np.arange(12 * 12 * 3).reshape(12, 12, 3) * 151).astype(np.uint16)
    path = str(tmp_path / f"a.{kind.lower()}")
    assert cv2.imwrite(path, values[..., ::-1])
    assert np.abs(np.asarray(read_image(path)).astype(int) - values // 257).max() <= 1


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


@pytest.mark.parametrize("limit", [500, 100], ids=["Pillow warns", "Pillow refuses"])
@pytest.mark.filterwarnings("error")
def test_decompression_bombs_are_refused(saved, monkeypatch, limit):
    path = saved(NOISE, "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InvalidSample, match=r"bomb\.png is too large"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # the test's own opening
@pytest.mark.parametrize("size", [(8, 200_000), (1_000_000, 8), (9, 1810), (8, 8_000_000), (9500, 9500)])
def test_sizes_that_cannot_be_worked_with_are_refused_before_anything_is_decoded(tmp_path, monkeypatch, size):
    path = tmp_path / "strip.png"
    path.write_bytes(encoded(Image.new("1", size), "PNG"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    for look in (read_image, size_of):
        with pytest.raises(InvalidSample, match=rf"strip\.png is .*{size[0]} x {size[1]} px"):
            look(path)
    for given in (Image.open(path), np.broadcast_to(np.uint8(0), (size[1], size[0], 3))):
        with pytest.raises(InvalidSample, match=f"{size[0]} x {size[1]} px"):
            read_image(given)


def test_the_longest_picture_that_is_read(saved):
    assert read_image(saved(Image.new("RGB", (8 * MAX_RATIO, 8)), "a.png")).size == (8 * MAX_RATIO, 8)


def _eps():
    lines = (
        "%!PS-Adobe-3.0 EPSF-3.0",
        "%%BoundingBox: 0 0 100 100",
        "%%EndComments",
        "(%pipe%id) (r) file",
        "showpage",
    )
    return "\n".join(lines).encode()


OTHERS = {
    "EPS": _eps,
    "PPM": lambda: encoded(NOISE, "PPM"),
    "ICO": lambda: encoded(NOISE, "ICO"),
    "TGA": lambda: encoded(NOISE, "TGA"),
    "PCX": lambda: encoded(NOISE, "PCX"),
    "IM": lambda: encoded(NOISE, "IM"),
    "SGI": lambda: encoded(NOISE, "SGI"),
    "DDS": lambda: encoded(NOISE, "DDS"),
    "PSD": lambda: b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\10\0\0\0\10\0\10\0\3" + bytes(300),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", ["bear.png", "bear.jpg", "bear"])
def test_other_formats_are_not_opened_whatever_the_file_is_called(tmp_path, monkeypatch, kind, name):
    def started(*_, **__):
        pytest.fail("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    path = tmp_path / name
    path.write_bytes(OTHERS[kind]())
    for look in (read_image, size_of):
        with pytest.raises(InvalidSample, match=f"{name} is not in a format that can be read"):
            look(path)
    with pytest.raises(InvalidSample, match=f"is in the format {kind}; these are decoded"), Image.open(path) as opened:
        read_image(opened)


def test_a_telephone_s_several_views_are_one_picture(tmp_path):
    views = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime")]
    views[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=views[1:])
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.format == "MPO"
        for source in (tmp_path / "a.jpg", opened):
            assert read_image(source).getpixel((8, 8))[0] > 250


def test_a_picture_that_was_read_still_knows_its_file(saved):
    path = saved(NOISE, "a.png")
    again = read_image(read_image(path))
    assert name_of(again) == str(path)
    assert name_of(NOISE) == name_of(np.asarray(NOISE)) == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_stored_size_and_the_turn_are_told(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 10)).save(tmp_path / "a", kind, exif=exif)
    read = read_upright(tmp_path / "a")
    assert (read.stored, read.turn) == ((20, 10), orientation)
    assert read.picture.size == ((20, 10) if orientation < 5 else (10, 20))


def test_pictures_are_opened_in_one_place():
    source = Path(neuronscope.__file__).parent
    opening = re.compile(r"\bImage\.open\(|\bimread\(|\bread_file\(|\bdecode_image\(|\bimdecode\(")
    found = {path.name for path in source.rglob("*.py") if opening.search(path.read_text(encoding="utf-8"))}
    assert found - {"cures.py"} == {"image.py"}  # which has it in sentences


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
