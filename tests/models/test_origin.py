"""Neurons of other weights are refused by everything that uses them, unless one insists."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.edit import Ablate
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.intervene import Mean, activations
from neuronscope.locate import layer_matched
from neuronscope.meaning import decode
from neuronscope.testing import tiny_vlm
from neuronscope.view import heatmap

SOME = ns.Neurons.of([(1, 3), (2, 5)])
SHORT = ns.Decoding(max_new_tokens=2)


@pytest.fixture(scope="module")
def own() -> ns.VLM:
    return tiny_vlm()


@pytest.fixture(scope="module")
def foreign() -> ns.Neurons:
    """Of the same shape and name, other weights."""
    return dataclasses.replace(SOME, model=tiny_vlm(seed=1).identity())


def run(vlm, change, **more):
    with vlm.intervene(change, **more):
        vlm.logits(vlm.prepare([PICTURE]))


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))

USES = {
    "decode": lambda v, n, **k: decode(v, n, **k),
    "heatmap": lambda v, n, **k: heatmap(v, PICTURE, n, **k),
    "activations": lambda v, n, **k: activations(v, PICTURE, n, **k),
    "intervene": lambda v, n, **k: run(v, ns.Zero(n), **k),
    "captions": lambda v, n, **k: v.captions([PICTURE], ns.Noise(n, level=1.0), decoding=SHORT, **k),
    "captions, means": lambda v, n, **k: v.captions([PICTURE], Mean(n, means=(0.0, 0.0)), decoding=SHORT, **k),
    "edit": lambda v, n, **k: Ablate().edit(v, n, **k),
}
PLAIN = {
    "captioner": lambda v, n: Captioner(v, [PICTURE], decoding=SHORT).captions(ns.Zero(n)),
    "generate_captions": lambda v, n: generate_captions(v, [PICTURE], ns.Scale(n, 2.0), decoding=SHORT),
    "random control": lambda v, n: layer_matched(v, n),
    "patch": lambda v, n: ns.Patch.take(v, n, PICTURE),
    "gradient map": lambda v, n: heatmap(v, PICTURE, n, trace="gradient"),
}


@pytest.mark.parametrize("name", [*USES, *PLAIN])
def test_other_weights(name: str, own: ns.VLM, foreign: ns.Neurons):
    use = {**USES, **PLAIN}[name]
    with pytest.raises(RunMismatch, match=r"found in .* with fingerprint .*--any-model"):
        use(own, foreign)
    use(own, foreign.anywhere())
    use(own, dataclasses.replace(SOME, model=own.identity()))
    if name in USES:
        use(own, foreign, force=True)


@pytest.mark.parametrize("name", ["decode", "heatmap", "edit", "random control", "gradient map"])
@pytest.mark.parametrize("part", ["vision", "projector"])
def test_another_part(name: str, part, own: ns.VLM):
    with pytest.raises(InvalidOption, match=r"part|neurons write into"):
        {**USES, **PLAIN}[name](own, dataclasses.replace(SOME, part=part))


def test_edits_in_force(own: ns.VLM):
    """Neurons of the unedited weights, and of those as they are now, but not of those that were."""
    plain = dataclasses.replace(SOME, model=own.identity())
    edit = Ablate().edit(own, ns.Neurons.of([(0, 1)]))
    with edit:
        edited = dataclasses.replace(SOME, model=own.identity())
        for name in USES:
            USES[name](own, plain)
            USES[name](own, edited)
        other = ns.load((own.model, own.processor), check=False)
        decode(other, plain)
    decode(own, plain)
    with pytest.raises(RunMismatch):
        decode(own, edited)


@torch.no_grad()
def test_weights_that_were_changed_after_the_neurons_were_found():
    vlm = tiny_vlm()
    found = dataclasses.replace(SOME, model=vlm.identity())
    decode(vlm, found)
    vlm.structure.ffns[3].output.weight[:, 1] = 0
    with pytest.raises(RunMismatch):
        decode(vlm, found)


def test_anywhere_keeps_the_origin_as_a_note(foreign: ns.Neurons):
    free = foreign.anywhere()
    assert (free.model, free.provenance["found_in"]) == ({}, dict(foreign.model))
    assert free.anywhere() is free
    assert ns.Neurons.from_dict(free.to_dict()) == free
