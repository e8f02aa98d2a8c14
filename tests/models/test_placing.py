"""Maps of image tokens are kept for the settings that they were measured with, and for no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.intervene import batching
from neuronscope.models.placing import placing

CHANGES: dict[str, Callable[[Any], object]] = {
    "no crop": lambda vlm: setattr(vlm.processor.image_processor, "do_center_crop", False),
    "another size": lambda vlm: setattr(vlm.processor.image_processor, "size", {"shortest_edge": 48}),
    "another crop": lambda vlm: setattr(vlm.processor.image_processor, "crop_size", {"height": 40, "width": 40}),
    "another patch": lambda vlm: setattr(vlm.processor, "patch_size", 16),
    "another selection": lambda vlm: setattr(vlm.processor, "vision_feature_select_strategy", "full"),
    "another placeholder": lambda vlm: setattr(vlm.model.config, "image_token_index", 7),
    "another tower": lambda vlm: setattr(vlm.model.config.vision_config, "patch_size", 16),
    "another family": lambda vlm: setattr(vlm, "family", replace(vlm.family, cell=(2, 1))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_places_is_part_of_the_key(change: str, make_vlm: Callable[..., ns.VLM]):
    vlm = make_vlm()
    before = placing(vlm)
    assert placing(vlm) == before
    CHANGES[change](vlm)
    assert placing(vlm) != before


def footprints(vlm: ns.VLM, picture: Image.Image) -> list[tuple[float, ...]]:
    return [tile.frame.to_source((0, 0, 1, 1)) for tile in vlm.prepare([picture]).images[0].tiles]


def test_another_crop_gives_another_map_as_in_a_new_process(make_vlm: Callable[..., ns.VLM]):
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 80, 3), dtype=np.uint8))
    old, fresh = make_vlm(), make_vlm()
    before = footprints(old, picture)
    for vlm in (old, fresh):
        side = vlm.processor.image_processor.crop_size["height"]
        vlm.processor.image_processor.size = {"shortest_edge": 2 * side}
    assert footprints(old, picture) == footprints(fresh, picture) != before


def test_the_placeholder_is_asked_for_anew(make_vlm: Callable[..., ns.VLM]):
    vlm = make_vlm()
    known = vlm.image_token
    vlm.model.config.image_token_index = vlm.model.config.image_token_id = known + 1
    assert vlm.image_token == known + 1


def test_rows_are_tried_again_when_settings_change(make_vlm: Callable[..., ns.VLM], monkeypatch: pytest.MonkeyPatch):
    vlm, tried = make_vlm(), []
    real = batching._calls
    monkeypatch.setattr(batching, "_calls", lambda *asked: tried.append(asked) or real(*asked))
    for _ in range(2):
        assert not batching.one_row_at_a_time(vlm, "vision")
    assert len(tried) == 2
    vlm.processor.image_processor.do_center_crop = not vlm.processor.image_processor.do_center_crop
    vlm.processor.image_processor.do_center_crop = not vlm.processor.image_processor.do_center_crop
    batching.one_row_at_a_time(vlm, "vision")
    assert len(tried) == 2
    vlm.family = replace(vlm.family, single="one row only")
    assert batching.one_row_at_a_time(vlm, "vision")
