"""Neurons for an edit from images alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.edit.ranked import rank_for_edit
from neuronscope.errors import ConceptNotNamed, InvalidOption
from neuronscope.evaluate import planted
from neuronscope.locate.pan import contributions
from neuronscope.samples.scenes import render
from neuronscope.studies.demo.scenes import scene_stream


@pytest.fixture(scope="module")
def bears() -> list[Image.Image]:
    return [render(scene).image for scene in islice(scene_stream("bear", 6), 2)]


def test_the_mean_over_images_is_ranked(demo: ns.VLM, bears: list[Image.Image]):
    found = rank_for_edit(demo, bears, "bear", 12, position="image")
    token = demo.tokenizer("bear", add_special_tokens=False).input_ids[0]
    each = []
    for image in bears:
        words = demo.caption(image).removeprefix("The image shows a ").split()
        ids = demo.tokenizer(" ".join(words[: words.index("bear")]), add_special_tokens=False).input_ids
        inputs = demo.prepare([image]).extend(ids)
        each.append(contributions(demo, inputs, [(1, token)], position="image", norm="gain").values)
    best = np.argsort(-np.mean(each, axis=0), kind="stable")[:12]
    assert [neuron.layer * demo.widths[0] + neuron.unit for neuron in found] == best.tolist()
    assert len(set(found) & set(planted(demo)["bear"])) >= 9
    assert found.concept == "bear"
    assert dict(found.options) == {"count": 12, "position": "image", "norm": "gain", "images": 2}


def test_the_predicting_position_ranks_others(demo: ns.VLM, bears: list[Image.Image]):
    at_image, predicting = (set(rank_for_edit(demo, bears, "bear", 12, position=p)) for p in ("image", "predict"))
    assert at_image != predicting


def test_what_other_images_contribute_is_subtracted(demo: ns.VLM, bears: list[Image.Image]):
    every = sum(demo.widths)

    def scores(images: list[Image.Image], **given: list[Image.Image]) -> dict[ns.Neuron, float]:
        found = rank_for_edit(demo, images, "bear", every, **given)
        return dict(zip(found, found.scores["contribution"], strict=True))

    one, other, both = scores(bears[:1]), scores(bears[1:]), scores(bears[:1], against=bears[1:])
    assert all(both[neuron] == pytest.approx(one[neuron] - other[neuron], abs=1e-5) for neuron in one)
    found = rank_for_edit(demo, bears[:1], "bear", 5, against=bears[1:])
    assert found.options["against"] == 1
    assert list(found) == sorted(both, key=lambda neuron: (-both[neuron], neuron))[:5]


def test_refusals(demo: ns.VLM, bears: list[Image.Image]):
    with pytest.raises(ConceptNotNamed, match="none of 2 captions names 'zebra'"):
        rank_for_edit(demo, bears, "zebra", 5)
    with pytest.raises(InvalidOption, match="count=0 must be 1 to 6144"):
        rank_for_edit(demo, bears, "bear", 0)
    with pytest.raises(InvalidOption, match="position"):
        rank_for_edit(demo, bears, "bear", 5, position="last")  # pyright: ignore[reportArgumentType]
