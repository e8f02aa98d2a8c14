"""Reading a model before and under an edit, with random neurons beside it."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Ablate, Edit, Embed, Swap
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate import planted
from neuronscope.evaluate.editing import Probes, Wording, evaluate_edit, read
from neuronscope.evaluate.editing.reading import Answers
from neuronscope.samples.scenes import render
from neuronscope.studies.demo.scenes import scene_stream


@pytest.fixture(scope="module")
def bears() -> Probes:
    """Scenes of bears, and others."""
    shown = [render(s).image for s in islice((s for s in scene_stream("bear", 5) if "horse" not in s.concepts), 3)]
    rest = [render(s).image for s in islice((s for s in scene_stream("pizza", 5) if "bear" not in s.concepts), 2)]
    return Probes(shown[:1], shown[1:], rest, prompts=("There is a",))


@pytest.fixture(scope="module")
def clean(demo: ns.VLM, bears: Probes) -> Answers:
    """The model as it is."""
    return read(demo, bears)


def test_reading_equals_a_loop_over_images(demo: ns.VLM, bears: Probes):
    found = read(demo, bears, batch_size=3)
    for image, text, nll in zip(bears.held_out, found.held_out, found.nll, strict=True):
        assert demo.caption(image) == f"The image shows a {text}"
        ids = demo.tokenizer(text, add_special_tokens=False).input_ids
        total = 0.0
        for n, token in enumerate(ids):
            inputs = demo.prepare([image])
            inputs = inputs.extend(ids[:n]) if n else inputs
            with torch.no_grad():
                total -= float(demo.logits(inputs)[0, -1].log_softmax(-1)[token])
        assert nll == pytest.approx(total / len(ids), abs=1e-5)
    assert found.asked == tuple(dict.fromkeys(demo.captions(bears.others)))
    ids = demo.tokenizer(found.asked[0], return_tensors="pt").input_ids
    with torch.no_grad():
        logits = demo.model(input_ids=ids).logits[0]
    assert found.texts[0].best == tuple(logits[:-1].argmax(-1).tolist())
    expected = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
    assert found.texts[0].nll == pytest.approx(expected.tolist(), abs=1e-5)
    assert set(found.prompted) == {"There is a"}


def test_an_edit_beside_random_neurons(demo: ns.VLM, bears: Probes, clean: Answers):
    neurons, editor = planted(demo)["bear"], Embed(source="bear", target="horse")
    steps: list[str] = []
    found = evaluate_edit(
        demo,
        lambda members: editor.edit(demo, members, bears.edited),
        neurons,
        Wording("bear", "horse"),
        bears,
        controls=2,
        done=steps.append,
    )
    assert found.before == clean == read(demo, bears, texts=clean.asked)
    assert not found.edit.applied
    with found.edit:
        assert read(demo, bears, texts=clean.asked) == found.after
    assert found.measured["success"].mean == 1
    assert len(found.random) == 2
    assert found.control["success"].mean == 0
    assert len(found.control["locality"].values) == 2 * len(bears.others)
    assert found.edit.share < 0.01
    assert steps == ["read the unedited model", "measured the edit", "measured random set 1", "measured random set 2"]


def test_the_model_is_left_alone_when_measuring_fails(
    demo: ns.VLM, bears: Probes, clean: Answers, monkeypatch: pytest.MonkeyPatch
):
    neurons, made = planted(demo)["bear"], list[Edit]()
    before = demo.value_vectors(*next(iter(neurons.by_layer().items())))

    def make(members: ns.Neurons) -> Edit:
        made.append(Ablate().edit(demo, members))
        return made[-1]

    def broken(*_: object, **__: object) -> None:
        assert made[-1].applied
        raise KeyboardInterrupt

    monkeypatch.setattr("neuronscope.evaluate.editing.evaluation.read", broken)
    with pytest.raises(KeyboardInterrupt):
        evaluate_edit(demo, make, neurons, Wording("bear"), bears, before=clean)
    assert not made[0].applied
    assert (demo.value_vectors(*next(iter(neurons.by_layer().items()))) == before).all()


def test_refusals(demo: ns.VLM, bears: Probes):
    with pytest.raises(InvalidOption, match="held_out is empty"):
        Probes(bears.edited, [], bears.others)
    with pytest.raises(InvalidOption, match="controls=-1"):
        evaluate_edit(
            demo,
            lambda _: pytest.fail("an edit was made"),
            ns.Neurons.of([(2, 3)]),
            Wording("bear"),
            bears,
            controls=-1,
        )
    with pytest.raises(InvalidOption, match="texts holds ''"):
        read(demo, Probes(bears.edited[:1], bears.held_out[:1], bears.others[:1], texts=("",)))
    few = read(demo, Probes(bears.edited[:1], bears.held_out[:1], bears.others[:1], texts=()))
    assert few.texts == ()
    swap = Swap(source="bear", target="horse")
    with pytest.raises(RunMismatch, match="different probes"):
        evaluate_edit(
            demo,
            lambda members: swap.edit(demo, members),
            planted(demo)["bear"],
            Wording("bear", "horse"),
            bears,
            controls=0,
            before=few,
        )
