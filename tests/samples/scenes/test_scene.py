import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronscope.errors import InvalidOption
from neuronscope.samples import Lexicon
from neuronscope.samples.boxes import mask_box
from neuronscope.samples.scenes import CONCEPTS, PLACES, Item, Scene, render, sample_scene
from neuronscope.samples.scenes.pen import PALETTE
from neuronscope.samples.scenes.registry import concept, place
from neuronscope.samples.scenes.scene import FRAME, _draw_item, relation

seeds = st.integers(0, 10**6)


def item(name, box, *, colour=None, angle=0.0, mirror=False):
    return Item(name, colour or CONCEPTS[name].colours[0], box, angle, mirror, seed=5)


def pixels(scene):
    return np.asarray(render(scene).image, dtype=int)


def changed(scene, *gone):
    return np.any(pixels(scene) != pixels(scene.without(*gone)), axis=-1)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_same_seed_gives_the_same_scene_and_pixels(seed):
    first, again = sample_scene(seed), sample_scene(seed)
    assert first == again
    one, two = render(first), render(again)
    assert one.image.tobytes() == two.image.tobytes()
    assert all((two.masks[name] == mask).all() for name, mask in one.masks.items())


def test_different_seeds_give_different_pictures():
    assert len({render(sample_scene(seed)).image.tobytes() for seed in range(12)}) == 12


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_masks_are_disjoint_not_empty_and_lie_in_their_boxes(seed):
    scene = sample_scene(seed)
    drawn = render(scene)
    assert drawn.image.size == (FRAME, FRAME)
    assert drawn.image.mode == "RGB"
    assert set(drawn.masks) == set(scene.concepts)
    assert sum(mask.astype(int) for mask in drawn.masks.values()).max() == 1
    for each in scene.items:
        ys, xs = np.nonzero(drawn.masks[each.concept])
        reach = 0.75 * np.hypot(*each.box[2:])  # half the diagonal, and half of that for strokes
        assert len(ys) >= 40
        assert np.hypot(xs - each.centre[0], ys - each.centre[1]).max() <= reach


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_exact_counterfactual_differs_only_where_the_removed_object_was_visible(seed):
    scene = sample_scene(seed)
    masks = render(scene).masks
    cover = {each.concept: np.asarray(_draw_item(each))[..., 3] for each in scene.items}
    for each in scene.items:
        visible = cover[each.concept] > 0
        for other in scene.items:
            if other.box[1] + other.box[3] > each.box[1] + each.box[3]:  # nearer
                visible &= cover[other.concept] < 255
        differs = changed(scene, each.concept)
        assert not (differs & ~visible).any()
        assert (differs & masks[each.concept]).sum() >= 0.5 * masks[each.concept].sum()


def test_what_stands_in_front_hides_what_stands_behind():
    behind, front = item("bed", (20, 40, 60, 40)), item("refrigerator", (30, 40, 40, 60))
    scene = Scene(3, "beach", (behind, front))
    whole = render(scene.without("refrigerator")).masks["bed"]
    drawn = render(scene).masks
    assert whole.sum() > drawn["bed"].sum() > 0
    assert not (drawn["bed"] & drawn["refrigerator"]).any()
    assert (drawn["refrigerator"] == render(scene.without("bed")).masks["refrigerator"]).all()
    solid = changed(scene.without("bed"), "refrigerator")
    inside = np.zeros_like(solid)
    inside[50:90, 36:64] = True
    assert (solid & inside).sum() == inside.sum()
    assert not (changed(scene, "bed") & inside).any()


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_captions_name_every_object_and_no_other(seed):
    scene = sample_scene(seed)
    caption = scene.caption()
    assert set(Lexicon.default().concepts_in(caption)) == set(scene.concepts)
    for each in scene.items:
        assert f"a {each.colour} {CONCEPTS[each.concept].noun}" in caption
    assert caption.endswith(f" {PLACES[scene.place].phrase}.")
    gone = scene.concepts[0]
    assert Lexicon.default().match(scene.without(gone).caption(), gone) is None


@pytest.mark.parametrize("name", sorted(PLACES))
def test_an_empty_scene_is_captioned_by_its_place(name):
    scene = sample_scene(1).without(*CONCEPTS)
    caption = Scene(scene.seed, name, scene.items).caption()
    assert caption == f"The image shows a {PLACES[name].bare}."
    assert not Lexicon.default().concepts_in(caption)
    assert PLACES[name].bare[0] not in "aeiou"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((0, 50, 20, 20), (80, 60, 20, 20), "to the left of"),
        ((80, 60, 20, 20), (0, 50, 20, 20), "to the right of"),
        ((50, 0, 20, 20), (60, 80, 20, 20), "above"),
        ((60, 80, 20, 20), (50, 0, 20, 20), "below"),
        ((0, 0, 20, 20), (30, 30, 20, 20), "to the left of"),  # a tie is told sideways
    ],
)
def test_the_relation_is_told_from_centre_to_centre(first, second, words):
    assert relation(item("bear", first), item("bed", second)) == words


def test_the_caption_tells_where_the_first_stands_as_seen_from_the_second():
    items = (item("bear", (2, 60, 30, 30)), item("bus", (80, 60, 40, 30)), item("cake", (50, 90, 20, 20)))
    first, second, third = (i.colour for i in items)
    assert Scene(0, "beach", items).caption() == (
        f"The image shows a {first} bear to the left of a {second} bus and a {third} cake on a beach."
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(sorted(CONCEPTS)), st.integers(1, 3))
def test_a_required_concept_is_there_and_the_count_is_a_limit(seed, name, count):
    scene = sample_scene(seed, concepts=[name], count=count)
    assert name in scene.concepts
    assert len(scene.items) <= count
    assert list(scene.concepts) == sorted(set(scene.concepts))
    for each in scene.items:
        x, y, w, h = each.box
        assert min(x, y) >= 0
        assert max(x + w, y + h) <= FRAME
        assert each.colour in CONCEPTS[each.concept].colours


@pytest.mark.parametrize(
    ("seed", "options", "reason"),
    [
        (-1, {}, "seed=-1"),
        (1, {"count": 0}, "count=0"),
        (1, {"concepts": ["dragonfruit"]}, "'dragonfruit' is not known.*Choices: airplane, backpack"),
        (1, {"concepts": "bear"}, "'b' is not known"),
        (1, {"concepts": ["bear", "bear"]}, "one twice: bear, bear"),
        (1, {"concepts": sorted(CONCEPTS)}, "scene 1 has no room for '.*' beside airplane"),
    ],
)
def test_impossible_scenes_are_refused(seed, options, reason):
    with pytest.raises(InvalidOption, match=reason):
        sample_scene(seed, **options)


@pytest.mark.parametrize("name", sorted(CONCEPTS))
def test_every_concept_fills_its_box_in_every_colour_it_can_have(name):
    kind = CONCEPTS[name]
    w, h = (70, 70 / kind.aspect) if kind.aspect >= 1 else (70 * kind.aspect, 70)
    looks = set()
    for colour in kind.colours:
        drawn = render(Scene(0, "field", (item(name, (20, 20, w, h), colour=colour),)))
        looks.add(drawn.image.tobytes())
        x, y, width, height = mask_box(drawn.masks[name])
        assert np.allclose([x, y, x + width, y + height], [20, 20, 20 + w, 20 + h], atol=7)
    assert len(looks) == len(kind.colours)
    assert name in Lexicon.default().concepts


def test_a_mirrored_object_is_the_mirror_image():
    box = (34, 40, 60, 48)  # centred in the frame
    plain, mirrored = (
        render(Scene(0, "field", (item("giraffe", box, mirror=m),))).masks["giraffe"] for m in (False, True)
    )
    assert (plain != mirrored).any()
    assert (plain[:, ::-1] != mirrored).mean() < 0.01


def test_nothing_is_registered_twice_or_in_unknown_colours():
    known = (set(CONCEPTS), set(PLACES))
    options = {"colours": ("red",), "aspect": 1.0}
    with pytest.raises(ValueError, match="'bear': registered twice"):
        concept("bear", **options)
    with pytest.raises(ValueError, match=r"unknown colours \['mauve'\]"):
        concept("wombat", **options | {"colours": ("red", "mauve")})
    with pytest.raises(ValueError, match="'beach' is registered twice"):
        place("beach", phrase="on a beach", bare="beach", horizon=0.5)
    assert (set(CONCEPTS), set(PLACES)) == known
    assert all(set(kind.colours) <= set(PALETTE) for kind in CONCEPTS.values())
