"""Image positions belong to the call that is running, whichever part of the model is called."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidOption

NEURONS = ns.Neurons.of([(layer, unit) for layer in (0, 1, 2) for unit in range(0, 48, 3)])


@pytest.fixture
def tensors(vlm: ns.VLM, picture) -> dict[str, Any]:
    return vlm.prepare([picture]).tensors


@pytest.fixture
def words(tensors: dict[str, Any]) -> torch.Tensor:
    return torch.full_like(tensors["input_ids"], 6)  # as long, and no image in it


@torch.no_grad()
def test_words_alone_stay_as_they_are_after_a_call_with_an_image(vlm: ns.VLM, tensors, words):
    model: Any = vlm.model
    calls = (model.get_decoder(), model.model.language_model)
    clean = [call(input_ids=words).last_hidden_state for call in calls]
    with vlm.intervene(ns.Zero(NEURONS)):
        model(**tensors)
        for call, expected in zip(calls, clean, strict=True):
            assert torch.equal(call(input_ids=words).last_hidden_state, expected)


@torch.no_grad()
def test_the_inner_model_called_first_is_changed_as_inside_the_whole_one(vlm: ns.VLM, tensors):
    model: Any = vlm.model
    with vlm.intervene(ns.Zero(NEURONS)):
        whole = model(**tensors, output_hidden_states=True).hidden_states[-1]
    with vlm.intervene(ns.Zero(NEURONS)):
        assert torch.equal(model.model(**tensors).last_hidden_state, whole)


@torch.no_grad()
@pytest.mark.parametrize("first", [False, True])
def test_what_has_no_ids_is_refused_also_after_a_call_that_had(vlm: ns.VLM, tensors, first: bool):
    model: Any = vlm.model
    hidden = torch.zeros(1, 3, vlm.structure.hidden)
    with vlm.intervene(ns.Zero(NEURONS)):
        if first:
            model(**tensors)
        with pytest.raises(InvalidOption, match="needs input_ids"):
            model.get_decoder()(inputs_embeds=hidden)
        model(**tensors)


@torch.no_grad()
def test_a_call_that_was_cut_short_is_over(vlm: ns.VLM, tensors, words):
    model: Any = vlm.model
    clean = model.get_decoder()(input_ids=words).last_hidden_state

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    handle = vlm.structure.layers[3].register_forward_hook(stop)
    with vlm.intervene(ns.Zero(NEURONS)):
        with pytest.raises(KeyboardInterrupt):
            model(**tensors)
        handle.remove()
        assert torch.equal(model.get_decoder()(input_ids=words).last_hidden_state, clean)


@torch.no_grad()
def test_a_vision_tower_by_itself_has_no_rows(vlm: ns.VLM, tensors):
    model: Any = vlm.model
    with vlm.intervene(ns.Zero(ns.Neurons.at("vision.0.3"))):
        model(**tensors)
        with pytest.raises(InvalidOption, match="call the model"):
            model.get_image_features(pixel_values=tensors["pixel_values"])
