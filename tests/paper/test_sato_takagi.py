"""Sato & Takagi, arXiv 2503.22941, step by step: `neuronscope reproduce --preset paper` against plain PyTorch.

Two concepts on the bundled model and fewer draws of the noise, everything else as published. What stands in capitals is
copied from the paper, but for CONCEPTS, MADE and METRICS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
import plain_torch as plain
from neuronscope.models.families import FAMILIES
from neuronscope.run.directory import Run
from zoo import ZOO

CONCEPTS = ("bear", "bus")
PROMPT = "The image shows a"
NEW_TOKENS = 32
LEVELS, DRAWS = (40, 80, 120), 10
#: The draws of the noise that the command makes here.
MADE = 2
METRICS = "bleu-1,rouge-1,rouge-l"
TABLE_IV = {"bear": (1.0, 0.0005), "bus": (1.5, 0.0001)}
#: Last row of Table II: S_se, S_re and their mean; 30 concepts, three images each, every image captioned.
TABLE_II = {
    "schwettmann": (0.7459, 0.3742, 0.56),
    "pan": (0.3723, 0.735, 0.5537),
    "two-stage": (0.7714, 0.6957, 0.7335),
}
CAPTIONS = 729_000


@dataclass(frozen=True)
class Done:
    """A run of the command, and what it left behind."""

    document: dict[str, Any]
    run: Run
    data: Path

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        return json.loads(self.run.table("dataset").to_pylist()[0]["document"])["samples"]

    def sample(self, concept: str) -> dict[str, Any]:
        return next(one for one in self.samples if one["concept"] == concept)

    def picture(self, concept: str) -> Image.Image:
        return Image.open(self.sample(concept)["image"]).convert("RGB")

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return {kind: self.run.table(kind).to_pylist() for kind in ("located", "captions")}

    def located(self, method: str, concept: str) -> ns.Neurons:
        row = next(one for one in self.rows["located"] if (one["method"], one["concept"]) == (method, concept))
        assert row["refused"] is None
        return ns.Neurons.from_dict(json.loads(row["neurons"]))

    def captions(self, method: str, concept: str, level: int) -> list[dict[str, Any]]:
        wanted = (method, concept, f"noise {level}")
        return [one for one in self.rows["captions"] if (one["method"], one["concept"], one["condition"]) == wanted]


@pytest.fixture(scope="module")
def done(verb: Callable[..., Any], few_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("paper") / "run"
    data = ("--data", few_scenes, "--concepts", ",".join(CONCEPTS), "--images", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronscope.studies.reproduce.tables._draw", lambda *_: {})  # figures, which nothing here reads
        document = verb("reproduce", "--preset", "paper", *data, "--draws", MADE, "--metrics", METRICS, "--out", out)
    return Done(document, Run.existing(out), few_scenes)


@pytest.fixture(scope="module")
def clean(demo: ns.VLM, done: Done) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The picture of the bus before any noise: what the model is called with, and the activations of its layers."""
    tensors = plain.inputs_of(demo, done.picture("bus"), done.sample("bus")["sent"])
    return tensors, plain.read(demo, tensors, "act_fn")[0]


def patched(done: Done, concept: str) -> Image.Image:
    """The edited picture: fast marching from the union of the object's boxes, radius 3, at the picture's own size."""
    picture = np.array(done.picture(concept))
    mask = np.zeros(picture.shape[:2], np.uint8)
    for x, y, w, h in done.sample(concept)["boxes"]:
        mask[int(np.floor(y)) : int(np.ceil(y + h)), int(np.floor(x)) : int(np.ceil(x + w))] = 255
    made = cv2.inpaint(np.ascontiguousarray(picture[..., ::-1]), mask, 3, cv2.INPAINT_TELEA)
    return Image.fromarray(np.ascontiguousarray(made[..., ::-1]))


def forced(demo: ns.VLM, done: Done, concept: str) -> tuple[dict[str, Any], int]:
    """The original with the caption up to the concept's first token, which is the last position's to predict."""
    sample = done.sample(concept)
    at = sample["concept_tokens"][0]
    ids = sample["caption"]["ids"]
    return plain.inputs_of(demo, done.picture(concept), sample["sent"], ids[:at]), ids[at]


def test_the_plan_is_the_papers_size(verb: Callable[..., Any]):
    plan = verb("reproduce", "--preset", "paper", "--plan")
    assert plan["captions"]["under conditions"] == CAPTIONS == 3 * 90 * 30 * 90
    assert (plan["samples"]["wanted"], len(plan["samples"]["concepts"])) == (90, 30)
    assert plan["noise"] | {"operation": ""} == {
        "levels": list(LEVELS), "scale": "absolute", "draws": DRAWS, "sharing": "shared", "operation": "",
    }  # fmt: skip
    assert plan["decoding"]["prefix"] == PROMPT
    assert plan["generate"]["max_new_tokens"] == NEW_TOKENS
    assert (plan["generate"]["do_sample"], plan["generate"]["num_beams"]) == (False, 1)
    assert plan["samples"]["limits"] == {"min_area": 0.0, "max_area": 1.0, "min_side": 0.0}
    two_stage = plan["methods"]["two-stage"]
    assert two_stage["activation"]["umbrella"] == {"kind": "Fixed", "value": 0.8, "needs_decoys": False}
    assert two_stage["gradient"]["snowboard"]["value"] == 0.002
    assert (two_stage["site"], two_stage["grad_pool"], two_stage["diff_pool"]) == ("act", "any", "any")
    assert plan["methods"]["pan"]["site"] == "act"


def test_the_prompt_is_the_beginning_of_the_answer_right_behind_the_image(demo: ns.VLM, done: Done):
    for sample in done.samples:
        assert sample["sent"] == f"<image>\n{PROMPT}"
        assert (sample["prefix"], sample["question"], sample["chat"]) == (PROMPT, "", "never")
    plan = ns.Decoding(PROMPT, chat="never")
    assert plan.text(FAMILIES["minigpt4"], "<ImageHere>") == f"<Img><ImageHere></Img> {PROMPT}"
    row = demo.prepare([done.picture("bear")], plan).rows[0].tensors
    assert torch.equal(row["input_ids"], plain.inputs_of(demo, done.picture("bear"), f"<image>\n{PROMPT}")["input_ids"])


def test_minigpt4_reads_the_image_between_its_marks_then_the_prompt_after_one_beginning_of_text(picture: Image.Image):
    """<s> of the first piece only; pieces by themselves; no [INST], which is how the model is asked otherwise."""
    vlm = ns.load(ZOO["minigpt4"].build())
    ids = vlm.prepare([picture], ns.Decoding(PROMPT, chat="never")).rows[0].tensors["input_ids"][0].tolist()
    before, after = (vlm.tokenizer(text, add_special_tokens=False).input_ids for text in ("<Img>", f"</Img> {PROMPT}"))
    tokens = ids.count(vlm.image_token)
    assert ids == [vlm.tokenizer.bos_token_id, *before, *[vlm.image_token] * tokens, *after]
    assert vlm.sent().startswith("[INST] <Img>")


@pytest.mark.parametrize("concept", CONCEPTS)
def test_object_boxes_are_inpainted_and_captions_are_greedy(demo: ns.VLM, done: Done, concept: str):
    sample = done.sample(concept)
    assert sample["edit"] == {"method": "telea", "radius": 3, "dilate": 0, "region": "auto"}
    edited = patched(done, concept)
    for picture, name in ((done.picture(concept), "caption"), (edited, "caption_edited")):
        assert plain.write(demo, picture, sample["sent"], NEW_TOKENS) == sample[name]["ids"]
    assert concept in sample["caption"]["text"].split()
    assert concept not in sample["caption_edited"]["text"]


def test_exactly_32_new_tokens_where_nothing_ends_the_text(vlm: ns.VLM, picture: Image.Image):
    assert len(plain.write(vlm, picture, f"<image>\n{PROMPT}", NEW_TOKENS)) == NEW_TOKENS
    caption = ns.caption.generate_captions(vlm, [picture], decoding=ns.Decoding(PROMPT, chat="never"))[0][0]
    assert list(caption.ids) == plain.write(vlm, picture, f"<image>\n{PROMPT}", NEW_TOKENS)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_two_filters_with_the_thresholds_of_table_iv(demo: ns.VLM, done: Done, concept: str):
    """V = O_o - O_i > t_a at some patch; of these O_o dy/dO_o > t_g at some patch; O the output of the activation."""
    t_a, t_g = TABLE_IV[concept]
    text = done.sample(concept)["sent"]
    original, edited = (
        plain.image_rows(demo, tensors, plain.read(demo, tensors, "act_fn")[0])
        for tensors in (
            plain.inputs_of(demo, done.picture(concept), text),
            plain.inputs_of(demo, patched(done, concept), text),
        )
    )
    first = ((original - edited) > t_a).any(1)
    tensors, token = forced(demo, done, concept)
    values, slopes = plain.read(demo, tensors, "act_fn", token)
    product = plain.image_rows(demo, tensors, values) * plain.image_rows(demo, tensors, slopes)
    expected = first & (product > t_g).any(1)
    found = done.located("two-stage", concept)
    assert {tuple(one) for one in np.argwhere(expected)} == {(n.layer, n.unit) for n in found}
    assert len(found)
    assert found.provenance["thresholds"]["activation"]["threshold"] == t_a
    assert found.provenance["thresholds"]["gradient"]["threshold"] == t_g
    assert found.site == "act"


@pytest.mark.parametrize("concept", CONCEPTS)
def test_both_baselines_are_means_over_patches_as_many_as_two_stage_keeps(demo: ns.VLM, done: Done, concept: str):
    count = len(done.located("two-stage", concept))
    tensors, token = forced(demo, done, concept)
    gates, slopes = plain.read(demo, tensors, "gate_proj", token)
    product = plain.image_rows(demo, tensors, gates) * plain.image_rows(demo, tensors, slopes)
    found = done.located("schwettmann", concept)
    assert found.site == "act"
    assert [(n.layer, n.unit) for n in found] == plain.best(product.mean(1), count)

    active = plain.image_rows(demo, tensors, plain.read(demo, tensors, "act_fn")[0]).mean(1)
    static = plain.value_vectors(demo) @ plain.direction(demo, token)
    found = done.located("pan", concept)
    assert found.site == "act"
    assert [(n.layer, n.unit) for n in found] == plain.best(active * static, count)


def drawn(demo: ns.VLM, done: Done, clean: Any, method: str, level: int, draw: int) -> plain.Added:
    """What a draw adds to the activations of the bus's set, by the difference of what plain hooks see."""
    neurons = done.located(method, "bus")
    noise = ns.Noise(neurons, level=float(level), draws=DRAWS, sharing="shared")
    tensors, before = clean
    with demo.intervene(noise, draws=[draw]):
        after, _ = plain.read(demo, tensors, "act_fn")
    layer = min(neurons.by_layer())  # later layers also hear what earlier ones do
    difference = after[layer] - before[layer]
    units = list(neurons.by_layer()[layer])
    where = plain.at_image(demo, tensors).numpy()
    touched = np.zeros(difference.shape, bool)
    touched[np.ix_(where, units)] = True
    assert not difference[~touched].any()  # nothing but the set, at nothing but the image tokens
    vector = difference[where][:, units]
    np.testing.assert_allclose(vector, np.repeat(vector[:, :1], len(units), 1), atol=1e-3)  # one for all neurons
    values = torch.tensor(vector[:, 0])
    return {own: (values[:, None].expand(-1, len(them)), list(them)) for own, them in neurons.by_layer().items()}


def test_noise_is_n_times_a_standard_normal_vector_over_the_patches(demo: ns.VLM, done: Done, clean: Any):
    vectors = {
        level: np.stack([next(iter(drawn(demo, done, clean, "pan", level, r).values()))[0][:, 0] for r in range(DRAWS)])
        for level in LEVELS
    }
    for level, found in vectors.items():
        assert found.shape == (DRAWS, 64)
        assert abs(found.mean() / level) < 0.15
        assert abs(found.std() / level - 1) < 0.1
        assert np.linalg.matrix_rank(found) == DRAWS  # every draw is another one


@pytest.mark.parametrize("method", TABLE_II)
def test_captions_under_noise_are_those_of_a_plain_loop(demo: ns.VLM, done: Done, clean: Any, method: str):
    level = 80
    written = done.captions(method, "bus", level)
    assert len(written) == MADE * len(CONCEPTS)
    for draw, other in zip((0, MADE - 1), CONCEPTS, strict=True):
        added = drawn(demo, done, clean, method, level, draw)
        ids = plain.write(demo, done.picture(other), done.sample(other)["sent"], NEW_TOKENS, added)
        row = next(one for one in written if (one["draw"], one["names"]) == (draw, other))
        assert row["caption"] == demo.tokenizer.decode(ids, skip_special_tokens=True)


def test_scores_are_shares_of_captions_averaged_over_levels_and_concepts(done: Done):
    """S_se = 1 - share on the concept's images, S_re = share of the others' own concepts on theirs."""
    for row in done.document["table_2"]["means"]:
        if row["scope"] != "mean of noise levels":
            continue
        se, re_ = [], []
        for concept in CONCEPTS:
            for level in LEVELS:
                rows = done.captions(row["method"], concept, level)
                own = [one["hit"] for one in rows if one["names"] == concept]
                rest = [one["hit"] for one in rows if one["names"] != concept]
                shown = {one["concept"]: one["shown"] for one in done.samples}
                assert not any(concept in names for name, names in shown.items() if name != concept)
                se.append(1 - sum(own) / len(own))
                re_.append(sum(rest) / len(rest))
        expected = np.mean(se), np.mean(re_)
        assert row["s_se"]["value"] == pytest.approx(expected[0])
        assert row["s_re"]["value"] == pytest.approx(expected[1])
        assert row["s_mean"]["value"] == pytest.approx(np.mean(expected))
        assert (row["published"]["s_se"], row["published"]["s_re"]) == TABLE_II[row["method"]][:2]


def test_what_the_paper_prints_stands_beside_it(done: Done):
    printed = {one["method"]: one for one in done.document["published"]["table_2_mean"]}
    for method, (s_se, s_re, mean) in TABLE_II.items():
        assert (printed[method]["s_se"], printed[method]["s_re"]) == (s_se, s_re)
        assert (s_se + s_re) / 2 == pytest.approx(mean, abs=1e-4)


def test_naming_the_method_does_not_lose_the_thresholds(verb: Callable[..., Any]):
    plan = verb(
        "reproduce", "--preset", "paper", "--methods", "two-stage,stage-1,pan", "--concepts", "bed,toaster", "--plan"
    )
    for name in ("two-stage", "stage-1"):
        made = plan["methods"][name]
        assert {k: made["activation"][k]["value"] for k in made["activation"]} == {"bed": 1.5, "toaster": 1.0}
        assert (made["site"], made["grad_pool"]) == ("act", "any")
    assert plan["methods"]["stage-1"]["stages"] == [1]
    assert plan["site"] == plan["methods"]["pan"]["site"] == "act"
