"""Captions from copied states are those of the plain path, and what is copied is not computed again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.caption.shortcuts import Engine
from neuronscope.errors import InvalidOption, NeuronOutOfRange
from neuronscope.intervene.operations import Intervention
from zoo import ZOO

#: Long enough for drafts to be taken in part, and for rows that end early.
SHORT = ns.Decoding(max_new_tokens=12)
EARLY = ns.Neurons.of([(layer, unit) for layer in (1, 3) for unit in range(0, 48, 2)])
LATE = ns.Neurons.of([(2, unit) for unit in range(48)])
FIRST = ns.Neurons.of([(0, unit) for unit in range(48)])

CHANGES: dict[str, Callable[[ns.VLM, Image.Image], Intervention]] = {
    "noise": lambda _v, _p: ns.Noise(EARLY, level=30, draws=3),
    "shared noise": lambda _v, _p: ns.Noise.paper(LATE, draws=2),
    "noise on the first layer": lambda _v, _p: ns.Noise(FIRST, level=30, draws=2),
    "zero": lambda _v, _p: ns.Zero(LATE),
    "mean": lambda vlm, picture: ns.Mean.over(vlm, EARLY, [picture]),
    "patch": lambda vlm, picture: ns.Patch.take(vlm, LATE, picture),
    "noise on the text": lambda _v, _p: ns.Noise(LATE, span="text", level=30, draws=2),
    "noise while writing": lambda _v, _p: ns.Noise(LATE, span="all", phase="both", level=30, draws=2),
    "noise in the tower": lambda _v, _p: ns.Noise(ns.Neurons.at("vision.0.3", "vision.1.5"), level=30, draws=2),
    "nothing": lambda _v, _p: ns.Zero(ns.Neurons(())),
}


@pytest.fixture(scope="module")
def captioner(vlm: ns.VLM, pictures: list[Image.Image]) -> Captioner:
    return Captioner(vlm, pictures, decoding=SHORT, batch_size=4)


@pytest.mark.parametrize("name", CHANGES)
def test_captions_are_those_of_the_plain_path(
    vlm: ns.VLM, captioner: Captioner, pictures: list[Image.Image], picture: Image.Image, name: str
):
    change = CHANGES[name](vlm, picture)
    assert captioner.captions(change) == generate_captions(vlm, pictures, change, decoding=SHORT)
    assert not any(captioner.plain.values())


def test_without_an_intervention(vlm: ns.VLM, captioner: Captioner, pictures: list[Image.Image]):
    assert captioner.captions() == generate_captions(vlm, pictures, decoding=SHORT)


def test_some_images_in_another_order(vlm: ns.VLM, captioner: Captioner, pictures: list[Image.Image]):
    noise = ns.Noise(LATE, level=30, draws=2)
    expected = generate_captions(vlm, [pictures[2], pictures[0]], noise, decoding=SHORT)
    assert captioner.captions(noise, rows=[2, 0]) == expected


def test_the_tower_and_the_layers_before_are_left_out(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures[:1], decoding=SHORT, engine=Engine(remember=0))
    captioner.captions(ns.Zero(LATE))  # proves the layer
    called: list[str] = []
    parts = {"tower": vlm.model.model.vision_tower, **{f"{i}": vlm.structure.ffns[i].output for i in (1, 2, 3)}}
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.append(name)) for name, module in parts.items()
    ]
    try:
        captioner.captions(ns.Zero(LATE))
    finally:
        for handle in handles:
            handle.remove()
    assert "tower" not in called
    # Layer 2 is changed, and not run for the prompt; layer 3 is run for what stands behind the image.
    assert called.count("2") == called.count("1") == called.count("3") - 1


def test_forwards_are_put_back_after_an_error(vlm: ns.VLM, captioner: Captioner):
    before = [dict(vars(layer)) for layer in vlm.structure.layers]

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    handle = vlm.structure.ffns[3].output.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        captioner.captions(ns.Scale(LATE, factor=0.5))
    handle.remove()
    assert [dict(vars(layer)) for layer in vlm.structure.layers] == before
    assert not any("forward" in vars(layer) for layer in vlm.structure.layers)


def test_a_model_whose_residual_stream_is_added_to_on_the_way_says_so():
    vlm = ns.load(ZOO["qwen3_vl"].build(), check=False)  # features of the tower are added after its first layers
    picture = Image.effect_noise((64, 48), 90).convert("RGB")
    captioner = Captioner(vlm, [picture], decoding=SHORT)
    noise = ns.Noise(ns.Neurons.of([(0, unit) for unit in range(20)]), level=10, draws=2)
    assert captioner.captions(noise) == generate_captions(vlm, [picture], noise, decoding=SHORT)
    assert "logits from copied states differ" in captioner.plain[0]


def test_a_model_with_a_generate_of_its_own_says_so():
    vlm = ns.load(ZOO["blip-2"].build(), check=False)
    picture = Image.effect_noise((64, 48), 90).convert("RGB")
    captioner = Captioner(vlm, [picture], decoding=SHORT)
    noise = ns.Noise(ns.Neurons.of([(1, unit) for unit in range(20)]), level=10, draws=2)
    assert captioner.captions(noise) == generate_captions(vlm, [picture], noise, decoding=SHORT)
    assert "does not read image and text in one decoder" in captioner.plain[1]


def test_bad_arguments(vlm: ns.VLM, captioner: Captioner, picture: Image.Image):
    with pytest.raises(InvalidOption, match="batch_size=0 must be at least 1"):
        Captioner(vlm, [picture], batch_size=0)
    with pytest.raises(NeuronOutOfRange, match="layer 4 does not exist"):
        captioner.captions(ns.Zero(ns.Neurons.of([(4, 0)])))
    with pytest.raises(NeuronOutOfRange, match="unit 48 does not exist"):
        captioner.captions(ns.Zero(ns.Neurons.of([(1, 48)])))


def setting(of: Callable[[ns.VLM], object], name: str, value: object) -> Callable[[ns.VLM], Callable[[], None]]:
    def change(vlm: ns.VLM) -> Callable[[], None]:
        owner = of(vlm)
        before = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, before)

    return change


UNDER: dict[str, Callable[[ns.VLM], Callable[[], None]]] = {
    "mean": setting(lambda vlm: vlm.processor.image_processor, "image_mean", [0.9, 0.0, 0.0]),
    "rescaling": setting(lambda vlm: vlm.processor.image_processor, "rescale_factor", 0.5),
    "template": setting(lambda vlm: vlm.processor, "chat_template", "{{ messages }}"),
    "end": setting(lambda vlm: vlm.model.generation_config, "eos_token_id", 3),
    "config": setting(lambda vlm: vlm.model.config.text_config, "rms_norm_eps", 0.5),
    "special token": setting(lambda vlm: vlm.tokenizer, "eos_token", "<unk>"),
}


@pytest.mark.parametrize("change", UNDER.values(), ids=UNDER)
def test_what_changes_captions_under_it_is_noticed(
    make_vlm: Callable[..., ns.VLM], pictures: list[Image.Image], change: Callable[[ns.VLM], Callable[[], None]]
):
    vlm = make_vlm()
    captioner = Captioner(vlm, pictures[:1], decoding=ns.Decoding(max_new_tokens=2))
    before = captioner.captions()
    undo = change(vlm)
    for asked in (None, ns.Zero(LATE)):
        with pytest.raises(InvalidOption, match="not as they were when this captioner was made"):
            captioner.captions(asked)
    undo()
    assert captioner.captions() == before


def test_what_is_said_under_an_intervention_in_force_is_not_what_was_said_before(
    vlm: ns.VLM, pictures: list[Image.Image]
):
    captioner = Captioner(vlm, pictures[:1], decoding=ns.Decoding(max_new_tokens=2))
    before = captioner.captions()
    with vlm.intervene(ns.Zero(LATE)):
        vlm.caption(pictures[0])  # an intervention that meets no call is an error of its own
        with pytest.raises(InvalidOption, match="interventions on the model are not as they were"):
            captioner.captions()
    assert captioner.captions() == before
