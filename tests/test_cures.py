"""What is nearly a picture is refused with the line that makes one of it, and that line is right."""

import base64
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import neuronscope as ns
from neuronscope.cures import address_cure, picture_cure
from neuronscope.errors import NeuronscopeError
from neuronscope.samples.image import read_image

SHOWN = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY = SHOWN[..., :1].repeat(3, -1)


def forms() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> the array in some order of axes, and the picture that it is."""
    clear = np.dstack([SHOWN, np.full(SHOWN.shape[:2], 255, np.uint8)])
    return {
        "as it is": (SHOWN, SHOWN),
        "colours first": (SHOWN.transpose(2, 0, 1), SHOWN),
        "transparent": (clear, SHOWN),
        "transparent, colours first": (clear.transpose(2, 0, 1), SHOWN),
        "grey": (GREY[..., 0], GREY),
        "grey with an axis": (GREY[..., :1], GREY),
        "grey with an axis first": (GREY[..., 0][None], GREY),
        "batch of one": (SHOWN[None], SHOWN),
        "batch of one, colours first": (SHOWN.transpose(2, 0, 1)[None], SHOWN),
    }


def types() -> dict[str, Any]:
    """Name -> what makes the same numbers of another type."""
    numpy = {kind: (lambda a, kind=kind: a.astype(kind)) for kind in ("uint8", "int32", "int64", "uint16", "float64")}
    shares = {f"{kind} up to 1": (lambda a, kind=kind: (a / 255).astype(kind)) for kind in ("float32", "float64")}
    torches = {
        f"tensor of {kind}": (lambda a, kind=kind: torch.tensor(a.copy()).to(kind))
        for kind in (torch.uint8, torch.int64, torch.float32)
    }
    share = {"tensor up to 1": lambda a: torch.tensor(a.copy()) / 255}
    return {**numpy, **shares, **torches, **share}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("form", "kind"), itertools.product(forms(), types()))
def test_arrays_and_tensors(form, kind, demo: ns.VLM):
    array, picture = forms()[form]
    image = types()[kind](array)
    if form == "as it is" and kind == "uint8":
        assert (np.asarray(read_image(image)) == picture).all()
        return
    for ask in (demo.caption, read_image, lambda it: ns.Sample(it, "bear", boxes=[(0, 0, 9, 9)]).load()):
        with pytest.raises(NeuronscopeError) as refused:
            ask(image)
        text = str(refused.value)
        assert "give " in text
        assert len(text) < 400
    made = eval(text.rpartition("give ")[2], {"np": np, "image": image})
    assert made.dtype == np.uint8
    assert (np.asarray(read_image(made)) == picture).all()


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (torch.randn(3, 24, 40), "normalised"),
        (np.random.default_rng(0).normal(size=(24, 40, 3)), "normalised"),
        (SHOWN.astype(np.int32) * 300, "scale them"),
        (torch.zeros(2, 3, 24, 40), "one picture is"),
        (np.zeros((24, 40, 7), np.uint8), "one picture is"),
        (np.zeros(5, np.uint8), "one picture is"),
        (torch.zeros(3, 24, 40, dtype=torch.bfloat16), "image.float()"),
        (np.zeros((24, 40, 3), bool), "* 255"),
        (np.zeros((0, 40, 3), np.float32), "give"),
        (torch.full((3, 24, 40), torch.nan), "normalised"),
        ({"bytes": b"x", "path": None}, 'row["bytes"]'),
        ({"path": "x.png"}, 'row["path"]'),
    ],
)
def test_others(image, word, demo: ns.VLM):
    for ask in (demo.caption, read_image):
        with pytest.raises(NeuronscopeError) as refused:
            ask(image)
        assert word in str(refused.value)


def test_files_that_are_open_or_read(tmp_path: Path, demo: ns.VLM):
    PIL.Image.fromarray(SHOWN).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    with (tmp_path / "a.png").open("rb") as file:
        for value in (data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            with pytest.raises(NeuronscopeError) as refused:
                demo.caption(value)
            cure = "PIL.Image.open(file)" if hasattr(value, "read") else "PIL.Image.open(io.BytesIO(data))"
            assert str(refused.value).endswith(cure)
            made = eval(cure, {"PIL": PIL, "io": io, "data": value, "file": value})
            assert (np.asarray(read_image(made)) == SHOWN).all()
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert (np.asarray(read_image(path)) == SHOWN).all()


def test_other_addresses():
    assert "without file://" in address_cure("file:///home/me/a.png")
    text = "data:image/png;base64," + base64.b64encode(b"x").decode()
    assert "written as text" in address_cure(text)
    for path in ("C:\\pictures\\a.png", "C:/a.png", "a.png", "a:b.png", "pictures/a.png", "", "12:30.png", "://x"):
        assert not address_cure(path)


@pytest.mark.parametrize("value", [None, 3, 2.5, object(), "a.png", [1, 2], {"a": 1}, SHOWN])
def test_nothing_is_said_of_what_nothing_is_known_of(value):
    assert picture_cure(value) == ""
