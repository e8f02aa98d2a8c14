"""Model types without a row: what general rules find out, and that the rest is refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.check import conformance
from neuronscope.errors import ImageTokenMismatch, InvalidOption, UnsupportedModel
from neuronscope.loading import VLM, unlisted
from neuronscope.models import families
from neuronscope.models.families import FAMILIES, Family
from zoo import ZOO


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def rowless(monkeypatch: pytest.MonkeyPatch):
    """Loads a tiny model with its row taken out of the table."""

    def load(name: str, *, check: bool = True) -> ns.VLM:
        kind = ZOO[name].model_type
        monkeypatch.setattr(families, "_TABLE", {k: row for k, row in FAMILIES.items() if k != kind})
        vlm = ns.load(ZOO[name].build(), check=check)
        assert not vlm.family.listed
        return vlm

    return load


@pytest.mark.parametrize(
    "name", ["blip-2", "instructblip", "qwen2_vl", "glm4v", "hunyuan_vl", "florence2", "fuyu", "paddleocr_vl"]
)
def test_the_placeholder_is_found(rowless: Any, name: str):
    row = FAMILIES[ZOO[name].model_type]
    vlm = rowless(name, check=False)
    assert vlm.family.placeholder == row.placeholder
    if row.template == vlm.family.template:
        ids = [model.prepare([picture((96, 64))]).tensors["input_ids"] for model in (vlm, _with_row(vlm, row))]
        assert torch.equal(*ids)


def _with_row(vlm: ns.VLM, row: Family) -> ns.VLM:
    return VLM(vlm.model, vlm.processor, id=vlm.id, family=row, structure=vlm.structure)


@pytest.mark.parametrize("name", ["llava", "internvl", "gemma3", "aya_vision", "mistral3"])
def test_where_the_processor_frames_the_image_nothing_is_added(rowless: Any, name: str):
    vlm = rowless(name, check=False)
    assert vlm.family.placeholder in (vlm.processor.image_token, FAMILIES[name].placeholder)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("idefics", {"no_image": "the image enters the decoder at other positions than its image tokens as well"}),
        (
            "mllama",
            {
                "no_image": "its image tokens are the same whatever the image shows",
                "unpadded": "pictures of several sizes or numbers change",
            },
        ),
        ("t5gemma2", {"no_image": "the image is in the encoder's input"}),
        ("kosmos-2", {"single": "padded together do not give what each gives alone"}),
        ("ernie4_5_vl_moe", {"cached": "without a KV cache it does not write what it writes with one"}),
        ("hunyuan_vl", {"alone": "share a batch do not give what each gives alone"}),
    ],
)
def test_what_does_not_apply_is_measured(rowless: Any, name: str, reasons: dict[str, str]):
    family = rowless(name).family
    for field, reason in reasons.items():
        assert reason in getattr(family, field)
    assert bool(family.no_image) == bool(FAMILIES[ZOO[name].model_type].no_image)


def test_pixels_side_by_side_are_found(rowless: Any):
    vlm = rowless("minicpmv4_6", check=False)
    assert vlm.family.strip
    assert not vlm.family.no_grid
    row, rowed = FAMILIES["minicpmv4_6"], picture((96, 64))
    (own,), (usual,) = vlm.prepare([rowed]).images, _with_row(vlm, row).prepare([rowed]).images
    assert [tile.frame for tile in own.tiles] == [tile.frame for tile in usual.tiles]


@pytest.mark.parametrize("name", ["blip-2"])
def test_a_model_that_was_never_tried_passes_every_check_that_applies(rowless: Any, name: str):
    report = conformance(rowless(name), skip=("memory released",))
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


@pytest.mark.parametrize("name", ["git", "blip"])
def test_a_model_without_image_tokens_is_refused_with_what_would_help(rowless: Any, name: str):
    with pytest.raises(ImageTokenMismatch, match=rf"no image token \(id None\); model type '{name}' has no row"):
        rowless(name)


def test_a_model_that_does_not_look_at_the_image_is_refused(rowless: Any, monkeypatch: pytest.MonkeyPatch):
    tensors = VLM._tensors  # pyright: ignore[reportPrivateUsage]

    def blind(self: VLM, *args: Any) -> dict[str, torch.Tensor]:
        made = tensors(self, *args)
        return made | {"pixel_values": torch.zeros_like(made["pixel_values"])}

    monkeypatch.setattr(VLM, "_tensors", blind)
    with pytest.raises(UnsupportedModel, match="does not read images: no logit depends on what one shows"):
        rowless("llava")


def test_a_processor_that_fails_in_its_own_way_is_refused_in_one_sentence(
    rowless: Any, monkeypatch: pytest.MonkeyPatch
):
    """Whatever comes out of transformers, the user reads why."""
    model, processor = ZOO["llava"].build()

    class Broken:
        image_token = "<image>"
        tokenizer = processor.tokenizer

        def __call__(self, **_: Any) -> Any:
            raise TypeError("I want a video")

    monkeypatch.setattr(families, "_TABLE", {k: row for k, row in FAMILIES.items() if k != "llava"})
    with pytest.raises(UnsupportedModel, match="cannot process any picture: TypeError: I want a video"):
        ns.load((model, Broken()))


def test_a_model_that_fails_on_two_images_says_so(rowless: Any, monkeypatch: pytest.MonkeyPatch):
    vlm = rowless("llava")
    logits = VLM.logits

    def fails(self: VLM, inputs: Any, **options: Any) -> torch.Tensor:
        if inputs.rows[0].image.images > 1:
            raise RuntimeError("shape mismatch")
        return logits(self, inputs, **options)

    monkeypatch.setattr(VLM, "logits", fails)
    with pytest.raises(InvalidOption, match="does not take 2 images in one prompt: shape mismatch"):
        vlm.caption([picture((64, 32)), picture((32, 32))])


def test_tokens_of_the_wrong_image_are_not_used(rowless: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unlisted, "astray", lambda *_: "moves the other's tokens")
    vlm = rowless("llava")
    with pytest.raises(InvalidOption, match="among several images the tokens of one change with another"):
        vlm.caption([picture((64, 64)), picture((64, 64))])


def test_a_row_of_the_table_is_left_alone(vlm: ns.VLM):
    row = vlm.family
    assert unlisted.settled(vlm) is row
    unlisted.proved(vlm)
    assert vlm.family is row


@pytest.mark.parametrize(("patches", "side_by_side"), [(6, True), (5, False)])
def test_patches_are_counted(patches: int, side_by_side: bool):
    made = {"target_sizes": torch.tensor([[1, 2], [2, 2]]), "pixel_values": torch.zeros(1, 3, 4, 4 * patches)}
    assert unlisted._side_by_side(made) is side_by_side  # pyright: ignore[reportPrivateUsage]
