"""One context for every way to call a model: what is changed, where, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import HookNeverFired, InvalidOption
from neuronscope.hooks import HookSession, Tap
from neuronscope.intervene import activations
from neuronscope.models import Inputs
from neuronscope.types import SPANS

NEURONS = ns.Neurons.of([(0, 3), (0, 40), (1, 7), (2, 0), (2, 47)])
NOISE = ns.Noise(NEURONS, level=40.0, draws=3)
STEPS = 6


def generate(vlm: ns.VLM, inputs: Inputs, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(new ids [rows, steps], logits of each step [rows, steps, vocabulary])."""
    out = vlm.model.generate(  # pyright: ignore[reportCallIssue]
        **inputs.tensors, max_new_tokens=STEPS, min_new_tokens=STEPS, do_sample=False, output_logits=True,
        return_dict_in_generate=True, suppress_tokens=[vlm.image_token], **options,
    )  # fmt: skip
    return out.sequences[:, inputs.length :], torch.stack(out.logits, 1)


def rewritten(vlm: ns.VLM, inputs: Inputs, *changes: Any, draws: list[int] | None = None, layer: int = 0):
    """Layer activations after the interventions minus those before: [rows, positions, d_f]."""
    seen: list[torch.Tensor] = []
    for around in ((), changes):
        tap = Tap(layer, "neuron", lambda z: seen.append(z.clone()))  # installed after, so it sees what was written
        with torch.no_grad(), vlm.intervene(*around, draws=draws), HookSession(vlm.structure, [tap]):
            vlm.logits(inputs)
    return seen[1] - seen[0]


def test_forward_cached_and_uncached_generation_agree(vlm: ns.VLM, pictures):
    inputs = vlm.prepare(pictures)
    clean_ids, clean = generate(vlm, inputs)
    with torch.no_grad(), vlm.intervene(NOISE, draws=[0, 1, 2]):
        ids, cached = generate(vlm, inputs)
        again, uncached = generate(vlm, inputs, use_cache=False)
        first = vlm.logits(inputs)[:, 0]
        written = zip(inputs.rows, ids[:, :-1].tolist(), strict=True)
        forced = vlm.logits(Inputs(tuple(row.extended(more) for row, more in written)))[:, 0]
    assert not torch.allclose(clean[:, 0], cached[:, 0], atol=1e-2)
    torch.testing.assert_close(ids, again, rtol=0, atol=0)
    torch.testing.assert_close(cached, uncached, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(first, cached[:, 0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(forced, cached[:, -1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(generate(vlm, inputs)[0], clean_ids, rtol=0, atol=0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_beams_of_a_row_share_its_draw(vlm: ns.VLM, pictures, use_cache: bool):
    inputs = vlm.prepare(pictures)
    with torch.no_grad():
        with vlm.intervene(NOISE, draws=[2, 0, 1]):
            together, _ = generate(vlm, inputs, num_beams=3, use_cache=use_cache)
        for row, draw in enumerate([2, 0, 1]):
            with vlm.intervene(NOISE, draws=[draw]):
                alone, _ = generate(vlm, vlm.prepare([pictures[row]]), num_beams=3, use_cache=use_cache)
            torch.testing.assert_close(together[row], alone[0], rtol=0, atol=0)


def test_left_padding_does_not_move_the_noise(vlm: ns.VLM, pictures):
    prompts = ["the", "the image shows a brown bear", "a dog"]
    together = Inputs(
        tuple(vlm.prepare([p], ns.Decoding(text)).rows[0] for p, text in zip(pictures, prompts, strict=True))
    )
    assert not together.tensors["attention_mask"].all()
    for change in (replace(NOISE, span=span) for span in SPANS if span != "media"):
        difference = rewritten(vlm, together, change, draws=[0, 1, 2])
        for row, prompt in enumerate(prompts):
            single = vlm.prepare([pictures[row]], ns.Decoding(prompt))
            alone = rewritten(vlm, single, change, draws=[row])[0]
            torch.testing.assert_close(difference[row, -single.length :], alone, rtol=1e-4, atol=1e-4)
            assert not difference[row, : -single.length].any()


@pytest.mark.parametrize("template", ["{image}\n{prompt}", "{prompt} {image} red bus"])
def test_a_span_is_changed_and_nothing_else(vlm: ns.VLM, picture, template: str):
    inputs = vlm.prepare([picture], ns.Decoding(template=template))
    where = np.arange(inputs.length)
    first, last = inputs.images[0].positions[[0, -1]]
    spans = {"image": (where >= first) & (where <= last), "text": where > last, "all": where >= 0}
    for span, expected in spans.items():
        change = rewritten(vlm, inputs, ns.Noise(NEURONS, level=5.0, span=span))[0].numpy()
        np.testing.assert_array_equal((change != 0).any(1), expected)
        np.testing.assert_array_equal(np.nonzero((change != 0).any(0))[0], [3, 40])


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("phase", ["prefill", "decode", "both"])
def test_a_phase_changes_its_own_positions_at_every_step(vlm: ns.VLM, picture, phase: Any, use_cache: bool):
    inputs = vlm.prepare([picture])
    zeroed: list[torch.Tensor] = []
    mark = ns.Mean(ns.Neurons.of([(1, 7)]), means=(123.0,), span="text", phase=phase)
    tap = Tap(1, "neuron", lambda z: zeroed.append(z[0, :, 7] == 123))
    with torch.no_grad(), vlm.intervene(mark), HookSession(vlm.structure, [tap]):
        generate(vlm, inputs, use_cache=use_cache)
    start = int(inputs.images[0].positions[-1]) + 1
    seen = torch.cat(zeroed) if use_cache else zeroed[-1]
    where = torch.arange(inputs.length + STEPS - 1)
    prompt, written = (where >= start) & (where < inputs.length), where >= inputs.length
    torch.testing.assert_close(seen, {"prefill": prompt, "decode": written, "both": prompt | written}[phase])


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("phase", ["prefill", "decode", "both"])
def test_noise_on_text_is_the_same_cached_and_uncached(vlm: ns.VLM, pictures, phase: Any, beams: int):
    inputs = vlm.prepare(pictures)
    change = replace(NOISE, span="text", phase=phase)
    with torch.no_grad(), vlm.intervene(change, draws=[0, 1, 2]):
        cached, uncached = (generate(vlm, inputs, num_beams=beams, use_cache=use) for use in (True, False))
    torch.testing.assert_close(cached[0], uncached[0], rtol=0, atol=0)
    torch.testing.assert_close(cached[1], uncached[1], rtol=1e-3, atol=1e-3)


def test_one_context_serves_several_images_of_different_kinds(vlm: ns.VLM, pictures):
    """A second, longer prompt is not taken for the continuation of the first."""
    short, long = (
        vlm.prepare(pictures[:1], ns.Decoding("the")),
        vlm.prepare(pictures[1:2], ns.Decoding("the image shows a bus")),
    )
    mark = ns.Noise(NEURONS, level=20.0, span="text")
    with torch.no_grad(), vlm.intervene(mark):
        one, two = generate(vlm, short)[1], generate(vlm, long)[1]
    with torch.no_grad(), vlm.intervene(mark):
        torch.testing.assert_close(generate(vlm, long)[1], two, rtol=0, atol=0)
    with torch.no_grad(), vlm.intervene(mark):
        torch.testing.assert_close(generate(vlm, short)[1], one, rtol=0, atol=0)


@pytest.mark.parametrize("site", ["neuron", "act", "pre"])
def test_changes_that_change_nothing_are_equal_to_the_bit(vlm: ns.VLM, picture, site: Any):
    inputs = vlm.prepare([picture])
    neurons = ns.Neurons.of(NEURONS_AS_PAIRS, site=site)
    own = ns.Patch.take(vlm, neurons, picture)
    for change in (own, ns.Scale(neurons), ns.Noise(neurons, level=0.0)):
        with torch.no_grad():
            plain = vlm.logits(inputs)
            with vlm.intervene(change):
                assert torch.equal(vlm.logits(inputs), plain)


NEURONS_AS_PAIRS = [(n.layer, n.unit) for n in NEURONS]


def test_a_patch_writes_the_other_images_activations(vlm: ns.VLM, pictures):
    change = ns.Patch.take(vlm, NEURONS, pictures[1])
    inputs = vlm.prepare(pictures[:1])
    difference = rewritten(vlm, inputs, change)[0, inputs.images[0].positions][:, [3, 40]]
    here, there = (activations(vlm, image, NEURONS)[:, :2] for image in pictures[:2])
    torch.testing.assert_close(difference.numpy(), there - here, rtol=1e-4, atol=1e-5)


def test_mean_is_the_mean_over_image_tokens_of_all_images(vlm: ns.VLM, pictures):
    change = ns.Mean.over(vlm, NEURONS, pictures)
    stacked = np.concatenate([activations(vlm, image, NEURONS) for image in pictures])
    np.testing.assert_allclose(change.means, stacked.mean(0), rtol=1e-5)


def test_the_mean_of_no_images_is_refused(vlm: ns.VLM):
    with pytest.raises(InvalidOption, match=r"at least one image, got images=\[\]"):
        ns.Mean.over(vlm, NEURONS, [])


def test_interventions_are_applied_in_the_order_given(vlm: ns.VLM, picture):
    inputs, one = vlm.prepare([picture]), ns.Neurons.of([(0, 3)])
    zero, set_to = ns.Zero(one), ns.Mean(one, means=(2.0,))
    assert torch.equal(rewritten(vlm, inputs, zero, set_to), rewritten(vlm, inputs, set_to))
    assert torch.equal(rewritten(vlm, inputs, set_to, zero), rewritten(vlm, inputs, zero))


@pytest.mark.parametrize(
    ("draws", "reason"),
    [
        ([0, 3], r"draws=\[0, 3\] must .* at least 0 and less than the noise's draws=3"),
        ([-1], r"draws=\[-1\] must"),
        ([], r"draws=\[\] must list one number per row"),
    ],
)
def test_draws_that_the_noise_does_not_have_are_refused(vlm: ns.VLM, draws: list[int], reason: str):
    with pytest.raises(InvalidOption, match=reason):
        vlm.intervene(NOISE, draws=draws)


RUNS = {
    "nothing": lambda vlm, image: None,
    "text only": lambda vlm, image: vlm.model(input_ids=torch.tensor([[1, 5, 6, 7]])),
    "one forward": lambda vlm, image: vlm.logits(vlm.prepare([image])),
}


@pytest.mark.parametrize(
    ("run", "change"),
    [
        ("nothing", ns.Zero(NEURONS)),
        ("text only", ns.Zero(NEURONS)),
        ("one forward", ns.Zero(NEURONS, span="text", phase="decode")),
    ],
)
def test_an_intervention_that_reaches_nothing_is_an_error(vlm: ns.VLM, picture, run: str, change: Any):
    reason = r"reached no position in layer\(s\) \[0, 1, 2\]"
    with torch.no_grad(), pytest.raises(HookNeverFired, match=reason), vlm.intervene(change):
        RUNS[run](vlm, picture)


def test_the_callers_exception_comes_through_and_nothing_stays_installed(vlm: ns.VLM, picture):
    inputs = vlm.prepare([picture])
    with torch.no_grad():
        plain = vlm.logits(inputs)
        with pytest.raises(ZeroDivisionError), vlm.intervene(NOISE):
            _ = 1 / 0
        assert torch.equal(vlm.logits(inputs), plain)
    assert not vlm.model._forward_pre_hooks


CALLS = {
    "embeddings": lambda vlm, inputs, past: vlm.model(inputs_embeds=torch.zeros(1, 4, 32)),
    "foreign cache": lambda vlm, inputs, past: vlm.model(input_ids=torch.tensor([[5]]), past_key_values=past),
    "rows": lambda vlm, inputs, past: vlm.logits(inputs),
}


@pytest.mark.parametrize(
    ("call", "draws", "reason"),
    [
        ("embeddings", None, "needs input_ids to find the image"),
        ("foreign cache", None, "a KV cache that was filled outside the intervention"),
        ("rows", [0, 1], "called with 1 rows, the draws are given for 2"),
    ],
)
def test_calls_that_cannot_be_followed_are_refused(vlm: ns.VLM, picture, call: str, draws: Any, reason: str):
    inputs = vlm.prepare([picture])
    with torch.no_grad():
        past = vlm.model(**inputs.tensors, use_cache=True).past_key_values
        with pytest.raises(InvalidOption, match=reason), vlm.intervene(NOISE, draws=draws):
            CALLS[call](vlm, inputs, past)
