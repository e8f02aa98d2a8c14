"""Hallucination repair on six scenes, one of which the bundled model sees a horse in that is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import neuronscope as ns
from hallucinations import scenes, write_folder
from neuronscope.caption import Caption, generate_captions
from neuronscope.edit import Ablate, Swap
from neuronscope.edit.ranked import rank_for_edit
from neuronscope.edit.words import spell
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.samples.objects import AnnotatedFolder, mentions
from neuronscope.studies.repair.settings import Repair, Repairs
from neuronscope.studies.repair.work import _Job, repair

#: Of the searched pictures, 0 has the hallucination, 2 a horse, 4 a cake; 1, 3 and 5 are held out.
HOW = Repair(counts=(1, 5, 20), right=1, against=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedFolder:
    return AnnotatedFolder.read(write_folder(tmp_path_factory.mktemp("repair") / "coco"))


@pytest.fixture(scope="module")
def clean(demo: ns.VLM, folder: AnnotatedFolder) -> list[Caption]:
    return [row[0] for row in generate_captions(demo, [one.path for one in folder.pictures])]


@pytest.fixture(scope="module")
def found(demo: ns.VLM, folder: AnnotatedFolder, clean: list[Caption]) -> Repairs:
    return repair(demo, folder, HOW, captions=clean, compared=1)


def test_the_hallucination_is_found_and_repaired(demo: ns.VLM, folder: AnnotatedFolder, clean, found: Repairs):
    (one,) = found.single
    assert (one.picture, one.source, one.target) == ("0.png", "horse", None)
    assert "horse" not in scenes()[0].concepts
    assert one.before == clean[0].text
    assert one.found.neurons is not None
    with Ablate().edit(demo, one.found.neurons):
        after = demo.caption(folder.pictures[0].path).removeprefix("The image shows a ")
    assert after == one.found.after
    named = mentions(after, folder.categories)
    assert set(mentions(clean[0].text, folder.categories)) - {"horse"} <= set(named)
    assert set(named) <= folder.pictures[0].objects


def test_the_smallest_set_that_will_do_is_taken(demo: ns.VLM, folder: AnnotatedFolder, clean, found: Repairs):
    ranked = rank_for_edit(demo, [folder.pictures[0].path], "horse", max(HOW.counts), against=[folder.pictures[2].path])
    taken = found.single[0].found.neurons
    assert taken is not None
    assert taken.members == ranked.members[: len(taken)]
    for smaller in [count for count in HOW.counts if count < len(taken)]:
        with Ablate().edit(demo, ranked[:smaller]):
            first, second = demo.captions([folder.pictures[n].path for n in (0, 2)])
        assert set(mentions(first, folder.categories)) != {"bus"} or "horse" not in second


def test_what_happens_beside_it_is_measured_on_the_held_out_half(demo: ns.VLM, folder, clean, found: Repairs):
    one = found.single[0]
    assert one.found.neurons is not None
    assert one.beside is not None
    assert one.random is not None
    random = ns.layer_matched(demo, one.found.neurons, seed=0)
    for members, beside in ((one.found.neurons, one.beside), (random, one.random)):
        with Ablate().edit(demo, members):
            texts = [row[0].text for row in generate_captions(demo, [p.path for p in folder.pictures])]
        assert beside.kept == ("horse" in texts[1], "horse" in texts[3])
        assert beside.same == (texts[5] == clean[5].text,)


def test_all_edits_together_are_one_edit(demo: ns.VLM, folder: AnnotatedFolder, clean, found: Repairs):
    edit = found.together.edit
    assert edit is not None
    assert found.single[0].found.neurons is not None
    assert set(edit.neurons) == set(found.single[0].found.neurons)
    with edit:
        texts = [row[0].text for row in generate_captions(demo, [one.path for one in folder.pictures])]
    assert found.together.captions == {"searched": tuple(texts[::2]), "held_out": tuple(texts[1::2])}
    assert found.before == {
        "searched": tuple(c.text for c in clean[::2]),
        "held_out": tuple(c.text for c in clean[1::2]),
    }
    assert found.named["searched"].chair_s.value == pytest.approx(1 / 3)
    assert found.together.named["searched"].chair_s.value == 0


def test_several_hallucinations_are_repaired_one_after_the_other(demo: ns.VLM, folder: AnnotatedFolder, clean):
    """Neurons of the second are found with the first edit in force, and drawn again without it."""
    missing = {2: "horse"}  # the first picture has one of its own
    pictures = tuple(replace(one, objects=one.objects - {missing.get(n, "")}) for n, one in enumerate(folder.pictures))
    how = Repair(position="image", counts=(10,), right=0)
    found = repair(demo, replace(folder, pictures=pictures[:3]), how, captions=clean[:3])
    accepted = [one.found.neurons for one in found.single if one.found.neurons is not None]
    assert len(accepted) >= 2
    assert found.together.edit is not None
    assert found.random.edit is not None
    wrong = found.together.named["searched"].wrong
    assert sum(map(len, wrong)) < sum(map(len, found.named["searched"].wrong))


def test_no_weight_is_left_changed(
    demo: ns.VLM, folder: AnnotatedFolder, clean, found: Repairs, monkeypatch: pytest.MonkeyPatch
):
    before = {name: value.detach().clone() for name, value in demo.model.named_parameters()}
    fingerprint = demo.fingerprint

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Job, "_read", broken)
    with pytest.raises(KeyboardInterrupt):
        _Job(demo, folder, HOW, 32, clean).in_sequence([(0, found.single[0])])
    assert demo.fingerprint == fingerprint
    assert all(torch.equal(value, before[name]) for name, value in demo.model.named_parameters())


def test_edits_of_the_same_neurons_stack(demo: ns.VLM, folder: AnnotatedFolder, clean: list[Caption]):
    job, neurons = _Job(demo, folder, Repair(by="swap"), 32, clean), ns.Neurons.of([(7, 1), (7, 2), (6, 3)])
    steps = [(neurons, "horse", "bus"), (neurons[:2], "cake", "bus")]
    together = job.at_random(steps)
    assert together.edit is not None
    first, second = (
        ns.layer_matched(demo, members, seed=n) for n, members in enumerate(members for members, _, _ in steps)
    )
    edits = []
    for members, (_, source, target) in zip((first, second), steps, strict=True):
        edits.append(Swap(source=source, target=target).edit(demo, members).apply())
    weights = {name: value.detach().clone() for name, value in demo.model.named_parameters()}
    for edit in reversed(edits):
        edit.revert()
    with together.edit:
        assert all(torch.equal(value, weights[name]) for name, value in demo.model.named_parameters())


def test_what_takes_the_place_of_the_word(demo: ns.VLM, folder: AnnotatedFolder, clean: list[Caption]):
    picture, caption, names = folder.pictures[0], clean[0], folder.categories
    words = caption.text.split()
    ids = demo.tokenizer(" ".join(words[: words.index("horse")]), add_special_tokens=False).input_ids
    with torch.no_grad():
        logits = demo.logits(demo.prepare([picture.path]).extend(ids))[0, -1]
    order = sorted((n for n in names if n != "horse"), key=lambda n: -float(logits[spell(demo, n, "target")[0]]))
    assert Repair(by="swap").target(demo, picture, caption, "horse", names) == order[0]
    assert Repair(by="swap", toward="shown").target(demo, picture, caption, "horse", names) == "bus"
    assert Repair().target(demo, picture, caption, "horse", names) is None
    with pytest.raises(InvalidOption, match=r"0\.png: there is no other object"):
        Repair(by="swap").target(demo, picture, caption, "horse", ["horse"])


def test_refusals(demo: ns.VLM, folder: AnnotatedFolder, clean: list[Caption]):
    with pytest.raises(InvalidOption, match="only='zebra'"):
        repair(demo, folder, only="zebra", captions=clean)
    with pytest.raises(InvalidOption, match="captions of 3 searched pictures names cake that is not there"):
        repair(demo, folder, only="cake", captions=clean)
    with pytest.raises(RunMismatch, match="2 captions belong to 6 pictures"):
        repair(demo, folder, captions=clean[:2])
    with pytest.raises(InvalidOption, match="1 picture:"):
        repair(demo, AnnotatedFolder(folder.pictures[:1], folder.categories), captions=clean[:1])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"by": "embed"}, "by='embed'"),
        ({"toward": "dog"}, "toward='dog'"),
        ({"position": "text"}, "position='text'"),
        ({"counts": ()}, r"counts=\(\)"),
        ({"counts": (0, 3)}, r"counts=\(0, 3\)"),
        ({"right": -1}, "right=-1"),
    ],
)
def test_settings_out_of_range(options, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        Repair(**options)
