"""Prompts of several images: the text, whose tokens are whose, captions, interventions, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Decoding, generate_captions
from neuronscope.errors import ImageTokenMismatch, InvalidOption
from neuronscope.loading import VLM
from neuronscope.loading.checks.common import NotApplicable
from neuronscope.loading.checks.image import check_several_images
from neuronscope.models import families, loaded
from neuronscope.models.families import FAMILIES, Family
from neuronscope.tokens import Frame, ImageTokens
from neuronscope.tokens.frame import Process
from zoo import ZOO

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
SHORT = Decoding(max_new_tokens=3)
ONE_IMAGE = [name for name, animal in ZOO.items() if FAMILIES[animal.model_type].one_image]


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


A, B, C = picture((96, 64), 0), picture((48, 64), 1), picture((64, 64), 2)


def fresh(name: str) -> VLM:
    return ns.load(ZOO[name].build(), check=False)


#: For tests that leave the model, and its row of the table, as they are.
zoo = cache(fresh)


def entering(vlm: VLM, inputs: Any) -> torch.Tensor:
    """What enters the first decoder layer, [rows, positions, hidden]."""
    taken: list[torch.Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taken.append(args[0] if args else kwargs["hidden_states"])

    handle = vlm.structure.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            vlm.logits(inputs)
    finally:
        handle.remove()
    return taken[0]


@pytest.mark.parametrize("name", ["llava", "llava_next", "idefics3", "qwen2_vl", "mistral3", "molmo2", "minigpt4-2"])
def test_each_image_enters_the_decoder_as_it_does_alone(name: str):
    """The oracle of positions: what stands at the tokens of image k is what stands there when k is alone."""
    vlm = zoo(name)
    row = vlm.prepare([[A, B, A]])
    tokens, seen = row.images[0], entering(vlm, row)[0]
    for image, shown in enumerate((A, B, A)):
        alone = vlm.prepare([shown])
        own, where = tokens.of(image), alone.images[0]
        assert own.count == where.count
        torch.testing.assert_close(
            seen[own.positions], entering(vlm, alone)[0, where.positions], rtol=1e-4, atol=1e-4 * float(seen.std())
        )
        assert [tile.tokens.tolist() for tile in own.tiles] == [tile.tokens.tolist() for tile in where.tiles]
        assert [tile.frame for tile in own.tiles] == [tile.frame for tile in where.tiles]


def test_images_that_are_not_tiled_among_others_have_a_map_of_their_own():
    """LLaVA-OneVision pads each of several images to a square and shows it by 4 x 4 tokens and one separator.

    96 x 64 px become 96 x 96: tokens of 24 px, 16 px above the picture. 48 x 64 become 64 x 64, 8 px left of it. A
    square of 16 px is measured to about 1 px of the picture.
    """
    vlm = zoo("llava_onevision")
    tokens, alone = vlm.prepare([[A, B]]).images[0], vlm.prepare([A]).images[0]
    assert tokens.counts == (17, 17)
    assert alone.count > 17
    (wide,), (high,) = tokens.of(0).tiles, tokens.of(1).tiles
    assert wide.tokens.tolist() == high.tokens.tolist() == np.arange(16).reshape(4, 4).tolist()
    assert wide.box(1, 2) == pytest.approx((48, 8, 24, 24), abs=1)
    assert high.box(1, 2) == pytest.approx((24, 16, 16, 16), abs=1)


def test_what_the_processor_makes_of_a_size_is_measured_once(
    make_vlm: Callable[..., VLM], monkeypatch: pytest.MonkeyPatch
):
    vlm, measured, real = make_vlm(), list[tuple[int, int]](), loaded.measure_frames

    def measure(process: Process, size: tuple[int, int], **options: Any) -> tuple[Frame, ...]:
        measured.append(size)
        return real(process, size, **options)

    monkeypatch.setattr(loaded, "measure_frames", measure)
    for shown in (A, C, A, C):
        vlm.prepare([shown])
        assert vlm.frames(shown) == tuple(one for one in vlm.frames(shown, padding=True) if not one.blank)
    assert measured == [A.size, C.size]
    for _ in range(2):
        vlm.prepare([[A, B]])
    assert measured[2:] == [B.size, A.size, B.size]  # B alone; then each beside the other


def test_rows_of_one_image_are_what_they_were(vlm: ns.VLM, pictures: list[Image.Image]):
    plain, listed = vlm.prepare(pictures), vlm.prepare([[p] for p in pictures])
    for name, value in plain.tensors.items():
        assert torch.equal(value, listed.tensors[name])
    for a, b in zip(plain.images, listed.images, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a.counts == b.counts == ()
    assert vlm.caption([pictures[0]]) == vlm.caption(pictures[0])


@pytest.mark.parametrize("row", FAMILIES.values(), ids=lambda row: row.model_type)
def test_the_text_of_one_image_is_the_template_filled_in(row: Family):
    image = "<image>" if row.placeholder is None else row.placeholder
    expected = row.template.format(image=image, prompt="a dog")
    assert Decoding("a dog").text(row, image) == (expected if image else expected.lstrip())


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("llava", "<image><image>\n"),
        ("qwen2_vl", 2 * "<|vision_start|><|image_pad|><|vision_end|>" + "\n"),
        ("got_ocr2", "<img><imgpad><imgpad></img>\n"),  # its pages stand in one frame
        ("minigpt4", "[INST] <Img><ImageHere></Img><Img><ImageHere></Img> "),
    ],
)
def test_images_are_joined_as_the_family_expects(name: str, start: str, monkeypatch: pytest.MonkeyPatch):
    vlm = zoo(name)
    seen: list[str] = []
    process = type(vlm.processor).__call__

    def listen(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend(kwargs["text"])
        return process(self, *args, **kwargs)

    monkeypatch.setattr(type(vlm.processor), "__call__", listen)
    vlm.prepare([[A, B]])
    assert seen[0].startswith(start)


def test_a_template_may_place_each_image(vlm: ns.VLM):
    row = vlm.prepare([[A, B]], Decoding(template="{image} dog {image} cat {prompt}"))
    ids = row.tensors["input_ids"][0].tolist()
    tokens = row.images[0]
    between = ids[tokens.of(0).positions[-1] + 1 : tokens.of(1).positions[0]]
    assert vlm.tokenizer.decode(between).strip() == "dog"
    with pytest.raises(InvalidOption, match="holds the image 2 times; 3 times are needed"):
        vlm.prepare([[A, B, C]], Decoding(template="{image} {image} {prompt}"))
    with pytest.raises(InvalidOption, match="holds the image 2 times; once is needed"):
        vlm.prepare([[A, B], C], Decoding(template="{image} {image} {prompt}"))


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "internvl", "idefics3", "llava_onevision", "mllama", "emu3"])
def test_captions_of_several_images_are_equal_together_and_alone(name: str):
    vlm = zoo(name)
    rows = [[A, B], C, [B, C]]
    span = "all" if vlm.family.no_image else "image"
    units = [(layer, unit) for layer in vlm.structure.studied[:2] for unit in range(0, 48, 2)]
    noise = ns.Noise(ns.Neurons.of(units), level=3.0, draws=2, span=span)
    for change in (None, noise):
        together = generate_captions(vlm, rows, change, decoding=SHORT)
        assert together == [generate_captions(vlm, [row], change, decoding=SHORT)[0] for row in rows]
    assert together == generate_captions(vlm, rows, noise, decoding=SHORT, batch_size=1)


def test_an_intervention_at_the_image_acts_at_the_tokens_of_all(vlm: ns.VLM):
    """Zero by hand, at the positions of one image after the other."""
    inputs = vlm.prepare([[A, B], C])
    first, units = 1, list(range(0, 48, 3))
    with vlm.intervene(ns.Zero(ns.Neurons.of([(first, unit) for unit in units]))), torch.no_grad():
        changed = vlm.logits(inputs)

    def by_hand(images: tuple[int, ...]) -> torch.Tensor:
        def zero(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            z = args[0].clone()
            for row, tokens in enumerate(inputs.images):
                for image in images[: tokens.images]:
                    for unit in units:
                        z[row, tokens.of(image).positions, unit] = 0
            return (z,)

        handle = vlm.structure.ffns[first].output.register_forward_pre_hook(zero)
        try:
            with torch.no_grad():
                return vlm.logits(inputs)
        finally:
            handle.remove()

    assert torch.equal(changed, by_hand((0, 1)))
    assert not torch.equal(changed[0], by_hand((0,))[0])
    assert torch.equal(changed[1], by_hand((0,))[1])


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_a_family_of_one_image_says_why(name: str):
    vlm = zoo(name)
    row = vlm.family
    vlm.prepare([[A]])
    with pytest.raises(InvalidOption) as refused:
        vlm.captions([A, [A, B]])
    assert str(refused.value) == f"{row.title} takes one image per prompt, not 2: {row.one_image}"
    assert check_several_images(vlm) == NotApplicable(row.one_image)


def test_the_documentation_names_the_families_of_one_image():
    section = DOCS.read_text(encoding="utf-8").split("## Several images")[1].split("\n## ")[0]
    assert [row.title for row in FAMILIES.values() if row.one_image and row.title not in section] == []


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table whose row of a family of one image says no more than a plain one."""
    row = FAMILIES["blip-2"]
    plain = Family("blip-2", "blip-2", template=row.template, placeholder="", no_grid=row.no_grid, listed=False)
    monkeypatch.setattr(families, "_TABLE", {**FAMILIES, "blip-2": plain})


@pytest.mark.usefixtures("unlisted")
def test_a_processor_that_writes_the_tokens_of_one_image_is_found_out():
    vlm = fresh("blip-2")
    assert not vlm.family.listed
    with pytest.raises(ImageTokenMismatch, match=r"6 image tokens for 2 images, which alone have 6 \+ 6 = 12"):
        vlm.prepare([[A, B]])
    assert isinstance(check_several_images(vlm), NotApplicable)


def test_a_processor_that_fails_is_quoted(vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch):
    process = type(vlm.processor).__call__

    def one_only(self: Any, *args: Any, images: Any, **kwargs: Any) -> Any:
        if isinstance(images[0], list):
            raise ValueError("I take one image")
        return process(self, *args, images=images, **kwargs)

    monkeypatch.setattr(type(vlm.processor), "__call__", one_only)
    vlm.prepare([A])
    with pytest.raises(InvalidOption, match="does not take 2 images in one prompt: I take one image"):
        vlm.prepare([[A, B]])


def test_rows_whose_pixels_cannot_be_padded_are_not_mixed_silently():
    vlm = zoo("mllama")
    with pytest.raises(InvalidOption, match="cannot share a batch: tokens before the first image attend to"):
        vlm.logits(vlm.prepare([[A, B], C]))


def test_the_check_finds_tokens_of_the_wrong_image_and_a_wrong_map(monkeypatch: pytest.MonkeyPatch):
    assert zoo("llava").prepare([[A, B]]).images[0].counts == (16, 16)
    right: Any = VLM._several  # pyright: ignore[reportPrivateUsage]

    def swapped(self: VLM, *args: Any) -> ImageTokens:
        row = right(self, *args)
        return ImageTokens.together([row.of(1), row.of(0)], row.positions)

    def shifted(self: VLM, *args: Any) -> ImageTokens:
        row = right(self, *args)
        return ImageTokens(row.positions, no_grid="a test", counts=(20, 12))

    for wrong, problem in ((swapped, "picture 0 has a wrong map"), (shifted, "picture 1 moves the other's tokens")):
        vlm = fresh("llava")
        with monkeypatch.context() as patch:
            patch.setattr(VLM, "_several", wrong)
            if wrong is shifted:
                vlm.family = replace(vlm.family, no_grid="a test")
            outcome = check_several_images(vlm)
        assert not isinstance(outcome, NotApplicable)
        assert not outcome[1]
        assert problem in outcome[0]
