"""Models that read the image by cross-attention, through methods, interventions, maps and the command line."""

import dataclasses
import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import neuronscope as ns
from neuronscope.caption import generate_captions
from neuronscope.check import conformance
from neuronscope.cli.main import app
from neuronscope.errors import HookNeverFired, InvalidOption, NoGrid, NoImagePositions
from neuronscope.hooks.attended import attending, reading_blocks
from neuronscope.intervene import activations
from neuronscope.locate import DifferenceTimesGradient
from neuronscope.locate.patching import Exchange
from neuronscope.locate.registry import METHODS
from neuronscope.locate.scores import activation_differences, grad_times_activation
from neuronscope.locate.target import Word
from neuronscope.locate.validity import check_validity
from neuronscope.models.decoding import Decoding
from neuronscope.report import Evidence
from neuronscope.samples.inpaint import Counterfactual
from neuronscope.studies.locate.study import locate_into
from neuronscope.testing import CROSS_ATTENTION, tiny_cross_attention
from neuronscope.view import trace_agreement
from neuronscope.view.agreement import looked, sloped
from neuronscope.view.heatmap import heatmaps
from neuronscope.view.trace import occlusion

WORDS = ["the", "image", "shows", "a", "bear", "dog", "cat", "bus", "horse", "pizza", "clock"]
#: Kind -> seed of the weights and of a picture of which the model says a concept, which goes with its middle.
SPEAKERS = {"idefics": (0, 2, "clock"), "mllama": (1, 3, "dog"), "blip": (8, 14, "cat")}
BOX = (24, 16, 48, 32)
SOME = ns.Neurons.of([(layer, unit) for layer in range(4) for unit in range(0, 48, 2)])
SHORT = Decoding(max_new_tokens=5)
kinds = pytest.mark.parametrize("kind", CROSS_ATTENTION)


def shown(seed: int) -> Image.Image:
    """A flat picture with another colour, or noise, in its middle."""
    rng = np.random.default_rng(seed)
    pixels = np.full((64, 96, 3), rng.integers(0, 256, 3), np.uint8)
    pixels[16:48, 24:72] = rng.integers(0, 256, (32, 48, 3)) if seed % 2 else rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def noisy(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    """Unlike in the rest of this folder: of the commands of a test, the first reads the model's files."""


@pytest.fixture(scope="module")
def models() -> dict[str, ns.VLM]:
    return {
        kind: ns.load(tiny_cross_attention(kind, SPEAKERS[kind][0], words=WORDS), check=False)
        for kind in CROSS_ATTENTION
    }


@pytest.fixture
def pair_of(models: dict[str, ns.VLM]):
    def make(kind: str) -> Counterfactual:
        _, seed, concept = SPEAKERS[kind]
        return ns.counterfactual(ns.Sample(image=shown(seed), concept=concept, boxes=[BOX]))

    return make


# -- which positions are media


def test_media_positions_are_those_of_the_models_own_masks(models):
    idefics, mllama, blip = (models[kind].prepare([noisy()]).rows[0] for kind in CROSS_ATTENTION)
    ids = idefics.tensors["input_ids"][0].tolist()
    image = models["idefics"].tokenizer.convert_tokens_to_ids("<image>")
    assert idefics.image.positions.tolist() == list(range(ids.index(image), len(ids)))
    ids = mllama.tensors["input_ids"][0].tolist()
    assert mllama.image.positions.tolist() == list(range(ids.index(models["mllama"].image_token), len(ids)))
    assert blip.image.positions.tolist() == list(range(blip.length - 1))  # the last is taken away before it is read
    for row in (idefics, mllama, blip):
        assert "cross-attention" in row.image.no_grid


def test_a_position_of_several_images_belongs_to_the_last_it_attends_to(models):
    for kind in ("idefics", "mllama"):
        decoding = Decoding(template="{image} dog {image} cat {prompt}")
        row = models[kind].prepare([[noisy(1), noisy(2)]], decoding).rows[0]
        one, other = row.image.of(0).positions, row.image.of(1).positions
        assert len(one)
        assert one[-1] < other[0]
        assert row.image.count == len(one) + len(other)
        words = np.array(models[kind].tokenizer.convert_ids_to_tokens(row.tensors["input_ids"][0].tolist()))
        assert "cat" in words[other]
        assert ("dog" in words[one]) == (kind == "mllama")  # images of IDEFICS go before all text


@kinds
@pytest.mark.parametrize("phase", ["prefill", "decode", "both"])
def test_interventions_change_media_positions_and_no_others(models, kind: str, phase: Any):
    vlm, inputs = models[kind], models[kind].prepare([noisy()]).extend([5, 6, 7])
    at, length = inputs.images[0].positions, inputs.length
    forced = range(length - 3, length)
    expected = {"prefill": {*at}, "decode": {*forced}, "both": {*at, *forced}}[phase]
    layer = vlm.layers - 1

    units = ns.Neurons.of([(layer, unit) for unit in range(48)])
    out: list[Tensor] = []
    handle = vlm.structure.ffns[layer].output.register_forward_hook(lambda _m, _g, output: out.append(output[0]))
    try:
        with vlm.intervene(ns.Zero(units, span="media", phase=phase)):
            vlm.logits(inputs)
        vlm.logits(inputs)
    finally:
        handle.remove()
    moved = (out[0] != out[1]).any(-1).nonzero()[:, 0].tolist()
    assert set(moved) == expected


@kinds
@pytest.mark.parametrize("make", [
    None,
    lambda vlm: ns.Noise(SOME, level=3.0),
    lambda vlm: ns.Noise(SOME, level=3.0, span="media", phase="both"),
    lambda vlm: ns.Zero(SOME, span="media"),
    lambda vlm: ns.Patch.take(vlm, SOME, noisy(3)),
    lambda vlm: ns.Mean.over(vlm, SOME, [noisy(4), noisy(5)]),
])  # fmt: skip
def test_what_is_forced_is_what_was_written(models, kind: str, make: Any):
    """Greedy tokens under a change are the arg max of the logits when they are forced behind the prompt."""
    vlm = models[kind]
    change = None if make is None else make(vlm)
    ((caption,),) = generate_captions(vlm, [noisy()], change, decoding=SHORT)
    inputs = vlm.prepare([noisy()], SHORT).extend(caption.ids)
    with torch.no_grad(), nullcontext() if change is None else vlm.intervene(change):
        logits = vlm.logits(inputs, last=len(caption.ids) + 1)[0]
    if vlm.image_token is not None:
        logits[:, vlm.image_token] = -torch.inf
    assert logits.argmax(-1)[: len(caption.ids)].tolist() == list(caption.ids)


@kinds
def test_captions_under_noise_do_not_depend_on_the_batch_and_hold_no_prompt(models, kind: str):
    vlm, noise = models[kind], ns.Noise(SOME, level=3.0, draws=2)
    pictures = [noisy(1), noisy(2, (64, 64)), noisy(3)]
    together = generate_captions(vlm, pictures, noise, decoding=SHORT)
    assert together == [generate_captions(vlm, [one], noise, decoding=SHORT)[0] for one in pictures]
    assert all(len(caption.ids) <= 5 for row in together for caption in row)


def test_blips_prompt_is_read_as_its_generate_reads_it(models):
    """Its first token becomes the text decoder's, its last ([SEP]) is taken away."""
    model, processor = tiny_cross_attention("blip", words=WORDS)
    model.config.text_config.bos_token_id = 6
    vlm = ns.load((model, processor), check=False)
    inputs = vlm.prepare([noisy(1), noisy(2)])
    assert inputs.tensors["input_ids"][:, 0].tolist() == [6, 6]
    assert inputs.tensors["input_ids"][:, -1].tolist() == [2, 2]
    assert inputs.read.length == inputs.length - 1 == inputs.extend([7]).length - 1
    ids = [caption.ids for (caption,) in generate_captions(vlm, [noisy(1), noisy(2)], decoding=SHORT)]
    for row, written in enumerate(ids):
        logits = vlm.logits(inputs.select([row]).extend(written), last=len(written) + 1)[0]
        assert logits.argmax(-1)[: len(written)].tolist() == list(written)


# -- refusals


@kinds
def test_image_tokens_are_refused_with_the_remedy(models, kind: str):
    with pytest.raises(NoImagePositions, match='cross-attention; span="media" is where'):
        models[kind].intervene(ns.Zero(SOME, span="image"))
    with pytest.raises(NoImagePositions, match='span="media"'):
        activations(models[kind], noisy(), SOME, span="image")
    with pytest.raises(InvalidOption, match="out of their reach"):
        models[kind].intervene(ns.Zero(ns.Neurons.at("vision.0.1"), span="media"))


def test_media_positions_are_refused_where_there_is_no_cross_attention(vlm: ns.VLM, picture):
    for call in (
        lambda: vlm.intervene(ns.Zero(ns.Neurons.of([(0, 1)]), span="media")),
        lambda: activations(vlm, picture, ns.Neurons.of([(0, 1)]), span="media"),
    ):
        with pytest.raises(NoImagePositions, match=r'LLaVA has no text positions that attend.*span="image"'):
            call()


def test_a_call_without_an_image_has_no_media_positions(models):
    vlm = models["mllama"]
    ids = vlm.prepare([noisy()]).tensors["input_ids"][:, 3:]
    with pytest.raises(HookNeverFired), vlm.intervene(ns.Zero(SOME)), torch.no_grad():
        vlm.model(input_ids=ids)


# -- scores, against plain PyTorch


@kinds
def test_stage_scores_are_those_of_plain_hooks_and_autograd(models, kind: str, pair_of):
    vlm, pair = models[kind], pair_of(kind)
    word = Word((5,), ((1, 6),))

    def read(inputs: Any, *, graph: bool = False) -> tuple[list[Tensor], Tensor]:
        kept: list[Tensor] = []

        def keep(_module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            z = given[0].detach().requires_grad_() if graph and not kept else given[0]
            if graph and kept:
                z.retain_grad()
            kept.append(z)
            return (z,)

        hooks = [ffn.output.register_forward_pre_hook(keep) for ffn in vlm.structure.ffns]
        try:
            logits = vlm.model(**inputs.tensors, use_cache=False).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()
        return kept, logits

    rows = [vlm.prepare([one]).read for one in (pair.original, pair.edited)]
    at = rows[0].images[0].positions
    with torch.no_grad():
        first, second = (read(row)[0] for row in rows)
    expected = np.concatenate([(a[0, at] - b[0, at]).max(0).values.numpy() for a, b in zip(first, second, strict=True)])
    (found,) = activation_differences(vlm, pair.original, [pair.edited], site="neuron")
    np.testing.assert_allclose(found.values, expected, atol=1e-5)

    inputs = word.inputs(vlm, pair.original, Decoding())
    with vlm.frozen(), torch.enable_grad():
        kept, logits = read(inputs, graph=True)
        logits[6].backward()
    slopes = np.concatenate([(z.detach()[0, at] * z.grad[0, at]).sum(0).numpy() for z in kept])
    (found,) = grad_times_activation(vlm, inputs, [[(1, 6)]], pool="sum")
    np.testing.assert_allclose(found.values, slopes, atol=1e-5)
    assert np.abs(slopes).max() > 0


@kinds
def test_what_is_between_two_pictures_is_what_the_decoder_attends_to(models, kind: str, pair_of):
    """At the far end of the path the original's row says what the edited picture's does, and half way it does not."""
    from neuronscope.locate.between import entering, moved

    vlm, pair, word = models[kind], pair_of(kind), Word((), ((1, 6),))
    own, other = (word.inputs(vlm, image, Decoding()) for image in (pair.original, pair.edited))
    at = torch.as_tensor(own.images[0].positions)
    found: list[Tensor] = []
    with torch.no_grad(), entering(vlm, at, found.append):
        said = vlm.logits(other)[0].float()
    states = found[-1]

    def logits(between: float) -> Tensor:
        with torch.no_grad(), moved(vlm, at, states, (between,)):
            return vlm.logits(own)[0].float()

    torch.testing.assert_close(logits(1.0), said, rtol=1e-4, atol=1e-4)
    assert (logits(0.0) - said).abs().max() > 1e-3
    assert (logits(0.5) - logits(1.0)).abs().max() > 1e-4


@kinds
def test_the_sum_of_attributions_is_the_change(models, kind: str, pair_of):
    vlm, pair = models[kind], pair_of(kind)
    known = check_validity(vlm, pair, decoding=SHORT)
    rank: Any = dataclasses.replace(DifferenceTimesGradient(points=4, count=5), decoding=SHORT)
    logit = dataclasses.replace(rank, target="logit", points=1, path="activations")
    assert len(logit.locate(vlm, pair, validity=known).neurons) == 5
    found = rank.locate(vlm, pair, validity=known)
    assert np.isfinite(found.neurons.provenance["completeness"]["change"])


@kinds
def test_exchanging_all_neurons_is_patching_by_hand(models, kind: str, pair_of):
    vlm, pair, word = models[kind], pair_of(kind), Word((5,), ((1, 6),))
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, Decoding())
    everyone = np.ones((1, 192), dtype=bool)
    (effect,) = exchange.effects([*everyone])
    every = ns.Neurons.of([(layer, unit) for layer in range(4) for unit in range(48)])
    with torch.no_grad(), vlm.intervene(ns.Patch(every, source=exchange.columns(every), span="media")):
        patched = vlm.logits(exchange.inputs)[0, -1].log_softmax(-1)[6]
    assert effect == pytest.approx(exchange.clean - float(patched), abs=1e-5)
    assert exchange.values[0].shape == (exchange.inputs.images[0].count, 48)


# -- locating


@kinds
def test_the_recommended_filter_finds_what_takes_the_word_away(models, kind: str, pair_of):
    vlm, pair = models[kind], pair_of(kind)
    found = ns.TwoStage(decoding=SHORT).locate(vlm, pair)
    recovery = found.neurons.provenance["recovery"]
    assert 0 < len(found.neurons) < 20
    assert recovery["share"] >= 0.5 * min(1, recovery["ceiling"])
    concept = SPEAKERS[kind][2]
    patch = ns.Patch.take(vlm, found.neurons, pair.edited)
    assert concept in vlm.caption(pair.original, decoding=SHORT).split()
    assert concept not in vlm.captions([pair.original], patch, decoding=SHORT)[0][0].split()


@kinds
def test_filters_with_thresholds_keep_what_passes_both(models, kind: str, pair_of):
    from neuronscope.locate.thresholds import Fixed

    vlm, pair = models[kind], pair_of(kind)
    known = check_validity(vlm, pair, decoding=SHORT)
    filters = ns.TwoStage(activation=Fixed(0.01), gradient=Fixed(0.0), decoding=SHORT)
    found = filters.locate(vlm, pair, validity=known)
    both = (found.scores.arrays["activation"].values > 0.01) & (found.scores.arrays["gradient"].values > 0)
    assert len(found.neurons) == both.sum() > 0
    anywhere = dataclasses.replace(filters, grad_pool="any")
    same = dataclasses.replace(anywhere, patch_rule="same_patch")
    assert {*same.locate(vlm, pair, validity=known).neurons} <= {*anywhere.locate(vlm, pair, validity=known).neurons}


@kinds
def test_every_method_ranks_neurons_at_media_positions(models, kind: str, pair_of):
    vlm, pair = models[kind], pair_of(kind)
    known = check_validity(vlm, pair, decoding=SHORT)
    every = ns.Neurons.of([(layer, 5) for layer in range(4)])
    for name in METHODS:
        if name in ("learned-mask", "two-stage"):  # the first takes seconds, the second stands above
            continue
        few = {"steps": 2, "points": 2, "rounds": 1}  # each of them is one gradient
        usual: Any = ns.method(name)
        short: Any = {
            option: min(most, getattr(usual, option)) for option, most in few.items() if hasattr(usual, option)
        }
        short |= {"decoding": SHORT} if hasattr(usual, "decoding") else {}
        method: Any = ns.method(name, **({"like": every} if name == "random-layer-matched" else short))
        found = method.locate(vlm, pair, validity=known)
        assert all(np.isfinite(pooled.values).all() for pooled in found.scores.arrays.values()), name
        assert len(found.neurons) or isinstance(method, ns.TwoStage), name  # a stage alone has thresholds


# -- neurons beside the decoder's


def test_gated_blocks_and_the_resampler_have_addresses(models):
    vlm = models["idefics"]
    assert [len(vlm.structure.stack(part).ffns) for part in ("gated", "projector", "vision")] == [2, 2, 2]
    gated = ns.Neurons.at("gated.1.3", "gated.0.7")
    assert gated.addresses == ["gated.L1.U3", "gated.L0.U7"]
    count = vlm.prepare([noisy()]).images[0].count
    assert activations(vlm, noisy(), gated).shape == (count, 2)
    assert activations(vlm, noisy(), ns.Neurons.at("projector.1.4")).shape == (6, 1)
    plain = vlm.logits(vlm.prepare([noisy()]))
    for part in ("gated", "projector"):
        every = ns.Neurons.at(*(f"{part}.{layer}.{unit}" for layer in range(2) for unit in range(48)))
        with vlm.intervene(ns.Zero(every)):
            assert not torch.equal(vlm.logits(vlm.prepare([noisy()])), plain)
    assert ns.heatmap(vlm, noisy(), gated).values.shape == (64, 96)
    for kind in ("mllama", "blip"):
        with pytest.raises(ns.errors.NeuronOutOfRange, match="no gated neurons"):
            activations(models[kind], noisy(), gated)


def test_words_of_a_gated_layer_are_those_behind_its_gate(models):
    from neuronscope.models.lens import lens, token_directions

    vlm = models["mllama"]
    gate = vlm.structure.layers[1].cross_attn_mlp_gate
    plain = lens(vlm, 1, token_directions(vlm, [5], "gain"), "gain")
    with torch.no_grad():
        gate.neg_()
        try:
            turned = lens(vlm, 1, token_directions(vlm, [5], "gain"), "gain")
        finally:
            gate.neg_()
    torch.testing.assert_close(turned, -plain)
    assert vlm.structure.ffns[1].opening == pytest.approx(np.tanh(1.0))
    assert vlm.structure.ffns[0].opening == 1


# -- heat maps


@kinds
def test_a_map_is_cross_attention_times_activation(models, kind: str):
    """Worked out from the attention that transformers itself gives, by plain matrix products."""
    vlm, picture, neurons = models[kind], noisy(), ns.Neurons.of([(3, 5)])
    values, where = looked(vlm, picture, neurons)
    active = activations(vlm, picture, neurons)
    assert values.sum() == pytest.approx(active.sum(), abs=1e-4)
    assert where.count == {"idefics": 16, "mllama": 64, "blip": 16}[kind]
    if kind != "blip":
        return
    inputs = vlm.prepare([picture]).read
    vlm.model.set_attn_implementation("eager")
    kept: list[Tensor] = []
    hooks = [
        block.crossattention.self.register_forward_hook(lambda _m, _g, out: kept.append(out[1]))
        for block in vlm.structure.layers
    ]
    try:
        with torch.no_grad():
            vlm.model(**inputs.tensors)
    finally:
        for hook in hooks:
            hook.remove()
    a = torch.stack([one[0].mean(0) for one in kept]).mean(0)[:, 1:]  # without CLS
    a = a / a.sum(1, keepdim=True)
    np.testing.assert_allclose(values, (torch.as_tensor(active[:, 0]) @ a).numpy(), rtol=1e-4, atol=1e-6)


@kinds
def test_every_trace_gives_a_map_and_occlusion_is_what_painting_does(models, kind: str):
    vlm, picture = models[kind], noisy()
    neurons = ns.Neurons.of([(3, 2), (2, 1)])
    maps = {
        trace: ns.heatmap(vlm, picture, neurons, trace=trace) for trace in ("auto", "rollout", "gradient", "occlusion")
    }
    np.testing.assert_array_equal(maps["auto"].values, maps["rollout"].values)
    assert all(heat.values.shape == (64, 96) for heat in maps.values())
    _, where = sloped(vlm, picture, neurons)
    drops = occlusion(vlm, picture, neurons, where)
    clean = activations(vlm, picture, neurons)
    x, y, w, h = (round(value) for value in where.footprint(5))
    pixels = np.array(picture)
    pixels[y : y + h, x : x + w] = 128
    painted = activations(vlm, Image.fromarray(pixels), neurons)
    assert drops[5] == pytest.approx(float((clean * (clean - painted)).sum()) / 2, abs=1e-5)
    assert {"gradient", "rollout"} == set(trace_agreement(vlm, picture, neurons))
    with pytest.raises(NoGrid, match="cross-attention"):
        ns.heatmap(vlm, picture, neurons, trace="tokens")


def test_layers_before_the_first_cross_attention_see_no_image(models):
    for trace in ("rollout", "gradient"):
        with pytest.raises(NoGrid, match="layers 0 lie before the first cross-attention"):
            ns.heatmap(models["mllama"], noisy(), ns.Neurons.of([(0, 1)]), trace=trace)


def test_blocks_that_read_are_given_what_they_shall_attend_to(models):
    for kind, name, count in (("idefics", "image_hidden_states", 2), ("blip", "encoder_hidden_states", 4)):
        vlm = models[kind]
        blocks = reading_blocks(vlm.model, name)
        assert len([block for block in blocks if block in set(vlm.model.modules())]) >= count
        seen: list[tuple[int, ...]] = []
        plain = vlm.logits(vlm.prepare([noisy()]))
        with attending(blocks, name, lambda states, seen=seen: seen.append(tuple(states.shape))):
            assert torch.equal(vlm.logits(vlm.prepare([noisy()])), plain)
        with attending(blocks, name, torch.zeros_like):
            assert not torch.equal(vlm.logits(vlm.prepare([noisy()])), plain)
        assert len(seen) == count


def test_maps_leave_the_model_as_it_was(models):
    for vlm in models.values():
        before = vlm.model.config._attn_implementation
        plain = vlm.logits(vlm.prepare([noisy()]))
        ns.heatmap(vlm, noisy(), ns.Neurons.of([(3, 1)]))
        assert vlm.model.config._attn_implementation == before
        assert torch.equal(vlm.logits(vlm.prepare([noisy()])), plain)


# -- the command line, from files


@kinds
def test_the_command_line_goes_from_files_to_files(kind: str, tmp_path: Path):
    seed, number, concept = SPEAKERS[kind]
    folder, image, out = tmp_path / "model", tmp_path / "picture.png", tmp_path / "found"
    for part in tiny_cross_attention(kind, seed, words=WORDS):
        part.save_pretrained(folder)
    shown(number).save(image)

    def run(*args: object) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*map(str, args), "--model", str(folder), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    few = ("--max-new-tokens", SHORT.max_new_tokens)
    assert concept in run("caption", image, *few)["captions"][0]["caption"].split()
    run("locate", image, concept, "--box", "24,16,48,32", "--out", out, "--draws", 1, *few)
    neurons = ns.Neurons.load(out / "neurons.json")
    assert len(neurons)
    assert (out / "heatmap.png").exists()
    units = json.loads((out / "evidence" / "evidence.json").read_text(encoding="utf-8"))["units"]
    assert [unit["token"] for unit in units] == [None] * len(neurons)  # no image token, so none to name
    if kind == "idefics":
        assert run("heatmap", image, "gated.1.3", "gated.0.5", "-o", tmp_path / "gated.png")["neurons"]
    for trace in ("auto", "occlusion"):
        heat = run("heatmap", image, out / "neurons.json", "-o", tmp_path / f"{trace}.png", "--trace", trace)
        assert np.shape(heat["grids"])[0] == (4 if kind == "mllama" else 1)
        assert Image.open(tmp_path / f"{trace}.png").size == (96, 64)


@kinds
def test_maps_of_several_sets_take_one_pass_and_are_those_of_each(models, kind: str, monkeypatch: pytest.MonkeyPatch):
    vlm, picture = models[kind], noisy()
    sets = [ns.Neurons.of([(vlm.layers - 1, 3), (0, 2)]), ns.Neurons.at("L2.U5", "L2.U1", site="act")]
    sets += [ns.Neurons.at("gated.1.3", "gated.0.5")] if kind == "idefics" else [sets[0]]
    alone = [ns.heatmap(vlm, picture, own).values for own in sets]
    real, passes = ns.VLM.logits, list[int]()

    def counted(self: ns.VLM, *given: Any, **options: Any) -> Tensor:
        passes.append(1)
        return real(self, *given, **options)

    monkeypatch.setattr(ns.VLM, "logits", counted)
    together = [one.values for one in heatmaps(vlm, picture, sets)]
    assert len(passes) == 1
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(together[0], together[1])
    assert heatmaps(vlm, picture, []) == []


@pytest.mark.parametrize("addresses", [("L0.U1", "L2.U3", "L0.U4"), ("L0.U1", "L0.U4")], ids=["some", "all"])
def test_located_neurons_that_the_image_does_not_reach_have_no_map(
    models, pair_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
):
    """Those before the first cross-attention: everything else is written, and the page says why."""
    vlm, pair = models["mllama"], pair_of("mllama")
    known = check_validity(vlm, pair, decoding=SHORT)
    method = ns.method("grad-x-activation", count=3, decoding=SHORT)
    found = method.locate(vlm, pair, validity=known)
    neurons = dataclasses.replace(ns.Neurons.at(*addresses), concept="dog", model=found.neurons.model)
    found = dataclasses.replace(found, neurons=neurons)
    monkeypatch.setattr("neuronscope.studies.locate.study.locate_watched", lambda *_: (found, {}))
    (tmp_path / "heatmap.png").write_bytes(b"of an earlier result")
    result = locate_into(tmp_path, vlm, method, pair, draws=None)
    reached = [address.startswith("L2") for address in addresses]
    assert np.isfinite(Evidence.load(tmp_path).maps).any((1, 2)).tolist() == reached
    assert (tmp_path / "heatmap.png").exists() is any(reached)
    assert (result.evidence.place is not None) is any(reached)
    text = (tmp_path / "summary.txt").read_text(encoding="utf-8")
    assert re.search("L0.U1, L0.U4 without a map: .*layers 0 lie before the first cross-attention", text)


@kinds
def test_the_conformance_suite_passes_and_tries_what_applies(models, kind: str):
    rows = {row.name: row for row in conformance(models[kind]).rows}
    assert [row for row in rows.values() if not row.ok] == []
    applying = {
        "two-stage scores",
        "heat map",
        "noise repeats",
        "cached = uncached",
        "batch = single",
        "vision neurons",
    }
    applying |= {"gated neurons", "projector neurons"} if kind == "idefics" else set()
    assert {name for name in applying if not rows[name].applies} == set()
