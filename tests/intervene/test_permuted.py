"""Embeddings of the image in another order, in models that hand them on in different ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Decoding, generate_captions
from neuronscope.errors import HookNeverFired, InvalidOption, NoImagePositions
from neuronscope.hooks.skip import seeing_inputs
from neuronscope.intervene.permuted import permuted_image
from zoo import ZOO


def first_input(vlm: ns.VLM, inputs) -> torch.Tensor:
    """What enters the first layer; hooks of the model's own come before this one."""
    seen: dict[int, torch.Tensor] = {}
    with torch.no_grad(), seeing_inputs(vlm.structure.layers, seen):
        vlm.logits(inputs)
    return seen[0]


@pytest.fixture(scope="module", params=["llava", "qwen2_vl", "qwen3_vl", "gemma3", "minigpt4"])
def family(request: pytest.FixtureRequest) -> ns.VLM:
    """A tiny random model of a family."""
    return ns.load(ZOO[request.param].build(), check=False)


def test_image_positions_hold_what_others_held_and_text_stays(family: ns.VLM, picture):
    inputs = family.prepare([picture])
    at = inputs.images[0].positions
    order = np.random.default_rng(3).permutation(len(at)).tolist()
    clean = first_input(family, inputs)
    with permuted_image(family, order):
        moved = first_input(family, inputs)
    expected = clean.clone()
    for rank, source in enumerate(order):
        expected[0, at[rank]] = clean[0, at[source]]
    assert torch.equal(moved, expected)
    assert not torch.equal(moved, clean)
    assert torch.equal(first_input(family, inputs), clean)  # nothing is left behind


def test_the_identity_changes_no_bit(family: ns.VLM, picture):
    inputs = family.prepare([picture])
    clean = family.logits(inputs)
    with permuted_image(family, list(range(inputs.images[0].count))):
        assert torch.equal(family.logits(inputs), clean)
    with permuted_image(family, 1):
        assert not torch.equal(family.logits(inputs), clean)


def test_features_added_to_later_layers_move_with_their_tokens(picture):
    """Qwen3-VL adds vision features to its first layers: permuted twice, everything is as it was."""
    vlm = ns.load(ZOO["qwen3_vl"].build(), check=False)
    inputs = vlm.prepare([picture])
    seen: list[dict[int, torch.Tensor]] = [{}, {}]
    order = list(range(inputs.images[0].count))[::-1]
    deep: list[torch.Tensor] = []

    def keep(_module, _args, kwargs):
        deep.append(kwargs["deepstack_visual_embeds"][0].clone())

    handle = vlm.model.model.language_model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for number, arrange in enumerate((sorted(order), order)):
            with torch.no_grad(), permuted_image(vlm, arrange), seeing_inputs(vlm.structure.layers, seen[number]):
                # A second hook, so that it sees what the first one made of the arguments.
                again = vlm.model.model.language_model.register_forward_pre_hook(keep, with_kwargs=True)
                vlm.logits(inputs)
                again.remove()
    finally:
        handle.remove()
    given, _, _, moved = deep
    assert torch.equal(moved, given.flip(0))
    assert not torch.equal(moved, given)


@pytest.mark.parametrize("use_cache", [True, False])
def test_batches_and_caches_make_no_difference(vlm: ns.VLM, pictures, use_cache: bool):
    decoding = Decoding(max_new_tokens=6, use_cache=use_cache)
    with permuted_image(vlm, 4):
        together = generate_captions(vlm, pictures, decoding=decoding)
        single = [generate_captions(vlm, [picture], decoding=decoding)[0] for picture in pictures]
    assert together == single
    with permuted_image(vlm, 4):
        assert generate_captions(vlm, pictures, decoding=Decoding(max_new_tokens=6)) == together


def test_a_seed_gives_the_same_order_again_and_another_seed_another(vlm: ns.VLM, picture):
    inputs = vlm.prepare([picture])
    found = []
    for seed in (2, 2, 3):
        with permuted_image(vlm, seed):
            found.append(first_input(vlm, inputs))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_refusals(vlm: ns.VLM, picture):
    with pytest.raises(InvalidOption, match="is not a permutation of 0 to 2"), permuted_image(vlm, [0, 2, 2]):
        pass
    with pytest.raises(InvalidOption, match="order=-1: a seed"), permuted_image(vlm, -1):
        pass
    with pytest.raises(InvalidOption, match="order has 3 entries, the image has 16"), permuted_image(vlm, [0, 2, 1]):
        vlm.logits(vlm.prepare([picture]))
    with pytest.raises(HookNeverFired, match="the model was not run"), permuted_image(vlm):
        pass
    hooks = [module._forward_pre_hooks for module in vlm.model.modules()]
    assert not any(hooks)


def test_models_without_image_tokens_are_refused():
    mllama = ns.load(ZOO["mllama"].build(), check=False)
    with pytest.raises(NoImagePositions), permuted_image(mllama):
        pass
