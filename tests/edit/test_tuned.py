from dataclasses import dataclass, replace

import pytest

import neuronscope as ns
from neuronscope.edit import Embed, Graft, Swap, Tuned
from neuronscope.errors import InvalidOption
from neuronscope.evaluate.truth import planted
from neuronscope.samples.scenes.scene import render, sample_scene


@pytest.fixture(scope="module")
def scenes():
    """Two scenes with a backpack and no cake, one with neither."""
    found = [sample_scene(seed, count=2) for seed in range(25_000_000, 25_000_060)]
    with_one = [s for s in found if "backpack" in s.concepts and "cake" not in s.concepts]
    without = [s for s in found if not {"backpack", "cake"} & set(s.concepts)]
    return [render(s).image for s in with_one[:2]], [render(s).image for s in without[:1]]


@dataclass(frozen=True, kw_only=True)
class Said(Embed):
    """Changes nothing, but for what a test has the captions be."""


def test_the_gentlest_with_the_fewest_lost_is_chosen(demo, scenes, monkeypatch):
    """By hand: lost 2 + 0, 0 + 1, 1 + 0: the second is the first of the two with one lost."""
    texts = iter(
        [
            ["a bus"],  # the one to keep, before
            ["a backpack", "a backpack", "a bus"],
            ["a cake", "a cake", "a cake"],
            ["a cake", "a cake and a backpack", "a bus"],
        ]
    )
    monkeypatch.setattr(Tuned, "_captions", lambda *_: next(texts))
    tuned = Tuned.over(Said(source="backpack", target="cake"), lambda2=(1.0, 2.0, 3.0))
    edit = tuned.edit(demo, planted(demo)["backpack"], scenes[0], keep=scenes[1])
    assert [(one["missed"], one["changed"]) for one in edit.report["tried"]] == [(2, 0), (0, 1), (1, 0)]
    assert (edit.report["chosen"], edit.settings["lambda2"]) == (1, 2.0)


def test_the_edit_is_the_chosen_editors_own(demo, scenes):
    shown, kept = scenes
    sets, before = planted(demo), demo.captions([*shown, *kept])
    graft = Graft(source="backpack", target="cake", donors=sets["cake"])
    edit = Tuned.over(graft, lambda_u=(0.0, 3.0)).edit(demo, sets["backpack"], shown, keep=kept)
    assert edit.editor == "graft"
    for one, factor in zip(edit.report["tried"], (0.0, 3.0), strict=True):
        with replace(graft, lambda_u=factor).edit(demo, sets["backpack"]):
            now = demo.captions([*shown, *kept])
        assert one["missed"] == sum("cake" not in text or "backpack" in text for text in now[: len(shown)])
        assert one["changed"] == sum(a != b for a, b in zip(before[len(shown) :], now[len(shown) :], strict=True))
    assert demo.captions([*shown, *kept]) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e: Tuned(()), "editors is empty"),
        (lambda e: Tuned((e, replace(e, target="horse"))), "one source, one target"),
        (lambda e: Tuned.over(e), "one option is tuned at a time, got none"),
        (lambda e: Tuned.over(e, alpha=(1,), fold=("none",)), "one option is tuned at a time, got alpha, fold"),
        (lambda e: Tuned.over(e, lambda2=(1,)), "Swap has no option 'lambda2'"),
        (lambda e: Tuned.over(e, alpha=()), "editors is empty"),
    ],
)
def test_what_cannot_be_tuned(make, message):
    with pytest.raises(InvalidOption, match=message):
        make(Swap(source="bear", target="dog"))


def test_without_images_nothing_can_be_chosen(vlm):
    with pytest.raises(InvalidOption, match="images is empty"):
        Tuned.over(Swap(source="bear", target="dog"), alpha=(1.0, 2.0)).edit(vlm, ns.Neurons.of([(1, 1)]))
