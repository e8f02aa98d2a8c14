from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate.decoys import Differences
from neuronscope.locate.scores import grad_times_activation, target_value
from neuronscope.locate.validity import check_validity
from neuronscope.samples import controls_of

HOW = Differences("neuron", "signed", "max", ns.Decoding())


def spread(values: np.ndarray) -> float:
    some = values[values != 0]
    return 1.4826 * float(np.median(np.abs(some - np.median(some))))


def naive_v(read, vlm: ns.VLM, original: Image.Image, edited: Image.Image) -> np.ndarray:
    rows = zip(read(vlm, original), read(vlm, edited), strict=True)
    return np.concatenate([(clean - other).amax(0).numpy() for clean, other in rows])


def test_controls_are_differences_of_the_picture_brought_to_the_spread_of_the_pair(vlm, pair, naive_activations):
    target, controls = HOW.of(vlm, pair, 3, 0)
    _, raw = replace(HOW, scale="none").of(vlm, pair, 3, 0)
    wanted = spread(naive_v(naive_activations, vlm, pair.original, pair.edited))
    assert len(controls) == len(raw) == 3
    for control, plain, made in zip(controls, raw, controls_of(pair, 3, 0), strict=True):
        naive = naive_v(naive_activations, vlm, pair.original, made.edited)
        np.testing.assert_allclose(plain.values, naive, rtol=1e-4, atol=1e-5)
        assert plain.factor == 1
        assert control.factor == pytest.approx(wanted / spread(naive), rel=1e-3)
        assert spread(control.values) == pytest.approx(spread(target.values), rel=1e-3)
        middle = np.median(control.factor * naive) - np.median(target.values)
        assert control.shift == pytest.approx(middle / wanted, rel=1e-2, abs=1e-3)
        assert control.to_dict() == {
            "kind": made.kind,
            "area": made.area,
            "factor": control.factor,
            "shift": control.shift,
        }


def test_other_pictures_as_controls(vlm, pair, speaks, naive_activations, tmp_path, monkeypatch):
    speaks(vlm, "bear", "horse")
    for name, size in (("a.png", pair.original.size), ("b.png", (64, 48))):
        noise = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    paths = tuple(str(tmp_path / name) for name in ("a.png", "b.png"))
    _, controls = replace(HOW, scale="none").of(
        vlm, replace(pair, sample=replace(pair.sample, concept="cat")), 9, 0, paths
    )
    assert [control.kind for control in controls] == ["photograph"] * 2
    picture = Image.open(paths[0]).convert("RGB")
    naive = naive_v(naive_activations, vlm, picture, ns.samples.inpaint(picture, pair.mask))
    np.testing.assert_allclose(controls[0].values, naive, rtol=1e-4, atol=1e-5)
    method = ns.TwoStage(activation=ns.TargetDecoy(0.9), gradient=ns.Budget(5), photographs=paths)
    assert method.locate(vlm, pair).neurons.provenance["thresholds"]["activation"]["decoys"] == 2
    named = check_validity(vlm, pair).original
    monkeypatch.setattr("neuronscope.locate.decoys.clean_captions", lambda *_, **__: [named])
    with pytest.raises(InvalidSample, match=r"a\.png is no control for 'bear': its caption is"):
        method.locate(vlm, pair)


def test_a_control_that_changes_nothing_is_left_out(vlm, pair):
    plain = Image.new("RGB", pair.original.size, (90, 90, 90))
    plain.paste(pair.original.crop((14, 11, 16, 13)), (14, 11))  # further in than a ring around a control reaches
    sample = ns.Sample(plain, "bear", boxes=[(10, 8, 10, 8)])
    assert HOW.of(vlm, ns.counterfactual(sample, "mean_fill", radius=1), 4, 0)[1] == []


def test_the_contrast_of_a_decoy_is_with_the_other_decoys(vlm, picture):
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(0))
    targets = [[(1, token)] for token in (7, 3, 20, 11)]
    found = [float(target_value(logits, entries, targets, "contrast")) for entries in targets]
    y = logits[0]
    expected = [
        y[7] - (y[3] + y[20] + y[11]) / 3,
        y[3] - (y[20] + y[11]) / 2,
        y[20] - (y[3] + y[11]) / 2,
        y[11] - (y[3] + y[20]) / 2,
    ]
    assert found == pytest.approx([float(one) for one in expected], rel=1e-5)
    inputs = vlm.prepare([picture])
    rivals = [each.values for each in grad_times_activation(vlm, inputs, targets, pool="sum")]
    contrasts = [each.values for each in grad_times_activation(vlm, inputs, targets, target="contrast", pool="sum")]
    np.testing.assert_allclose(contrasts[1], rivals[1] - (rivals[2] + rivals[3]) / 2, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.55, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("crowded", [False, True])
def test_default_controls_at_any_size_of_the_object(vlm, pair, speaks, share, crowded):
    speaks(vlm, "bear on grass", "grass")
    width, height = pair.original.size
    others = [ns.Region("dog", (0, 0, width, height))] if crowded else []
    sample = replace(pair.sample, boxes=[(0, 0, width * share, height)], others=others)
    method = ns.TwoStage(activation=ns.TargetDecoy(0.9), gradient=ns.TargetDecoy(0.9))
    found = method.locate(vlm, ns.counterfactual(sample)).neurons
    assert found.provenance["thresholds"]["activation"]["decoys"] == len(found.provenance["controls"]) == 6


def test_notes_name_the_stage_its_controls_and_the_remedy(vlm, pair, speaks):
    speaks(vlm, "bear on grass", "grass")
    decoy = ns.TargetDecoy(1e-6, fallback="none")
    first = ns.TwoStage(activation=decoy, gradient=ns.Budget(5)).locate(vlm, pair).notes
    assert first[0].startswith("stage 1 (activation difference) keeps no neuron against 6 controls (6 x empty box")
    assert "a larger q, Budget(n) or Fixed(number) (--q, --budget) keeps some" in first[-1]
    assert "--control" in first[-1]
    second = ns.TwoStage(activation=ns.Budget(30), gradient=decoy).locate(vlm, pair).notes
    assert second[0].startswith("of the 30 neurons that stage 1 keeps, stage 2 (grad x activation) keeps none against")
    assert "logits of 6 other nouns" in second[0]
    alone = ns.TwoStage(stages=(2,), gradient=ns.Fixed(1e9)).locate(vlm, pair).notes
    assert alone[0] == "stage 2 (grad x activation) keeps no neuron"


@pytest.mark.parametrize("options", [{"controls": -1}, {"decoys": 0}, {"control_scale": "area"}, {"photographs": (1,)}])
def test_options_of_controls_out_of_range_are_refused(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        ns.TwoStage(activation=ns.TargetDecoy(), **options)
