"""The caption engine on tiny models of real families: captions equal, and what each family's build does not allow."""

from __future__ import annotations

import pytest
import transformers
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.caption.shortcuts import Engine
from zoo import ZOO

SHORT = ns.Decoding(max_new_tokens=3)
_NORM = ("low_rank",)  # a norm between the FFN and the residual stream, or routed experts
_THREE = ("prefix",)  # positions in three dimensions are worked out for whole prompts
_LATER = ("prefix", "compact", "draft")

#: Family -> switches that it does not allow; all others allow every one, or are in PLAIN.
GIVEN_UP = {
    "ernie4_5_vl_moe": _THREE,
    "exaone4_5": _NORM,
    "gemma3": ("prefix", *_NORM),
    "glm46v": ("prefix", *_NORM),
    "glm4v": ("prefix", *_NORM),
    "glm4v_moe": _THREE,
    "glm_ocr": ("prefix", *_NORM),
    "hunyuan_vl": ("compact", "prefix"),  # rows one by one
    "molmo2": _LATER,
    "paddleocr_vl": _THREE,
    "qwen2_5_omni_thinker": _LATER,
    "qwen2_5_vl": _THREE,
    "qwen2_vl": _THREE,
    "shieldgemma2": ("prefix", *_NORM),
}
#: Families whose captions are made the plain way, and why.
PLAIN = {
    "blip-2": "does not read image and text in one decoder",
    "gemma4": "a key and a value for each position",
    "granite4_vision": "a key and a value for each position",
    "granite_docling": "logits from copied states differ",
    "instructblip": "does not read image and text in one decoder",
    "kosmos-2": "does not read image and text in one decoder",
    "lfm2_vl": "a key and a value for each position",
    "minicpmv4_6": "a key and a value for each position",
    "paligemma": "logits from copied states differ",
    "qwen3_5": "a key and a value for each position",
    "qwen3_5_moe": "a key and a value for each position",
    "qwen3_vl": "logits from copied states differ",
    "qwen3_vl_moe": "logits from copied states differ",
}
#: Families that an earlier transformers does not let go on: from which release, and what is said before.
SINCE = {"ernie4_5_vl_moe": ((5, 23), "cannot go on from copied states")}
#: One of each build: the rest of the zoo is like these.
CHOSEN = (
    *("llava", "llava_next", "aria", "chameleon", "fuyu", "idefics2", "internvl", "llama4", "minigpt4"),
    *GIVEN_UP,
    *PLAIN,
)


@pytest.mark.parametrize("name", CHOSEN)
def test_captions_are_those_of_the_plain_path(name: str):
    vlm = ns.load(ZOO[name].build(), check=False)
    picture = Image.effect_noise((64, 48), 90).convert("RGB")
    first = min(vlm.structure.studied)
    noise = ns.Noise(ns.Neurons.of([(first, unit) for unit in range(20)]), level=10, draws=2)
    captioner = Captioner(vlm, [picture], decoding=SHORT)
    assert captioner.captions(noise) == generate_captions(vlm, [picture], noise, decoding=SHORT)
    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    since, before = SINCE.get(name, ((0, 0), ""))
    if name in PLAIN or release < since:
        assert PLAIN.get(name, before) in captioner.plain[first]
    else:
        assert captioner.plain[first] == ""
        used = captioner.used[first]
        assert {n for n in vars(Engine()) if not getattr(used, n)} == set(GIVEN_UP.get(name, ()))
