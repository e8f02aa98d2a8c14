"""CHAIR's original lists: against the reference's arithmetic, written out here, on lists and captions made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronscope.errors import InvalidOption, InvalidSample, RunMismatch
from neuronscope.evaluate.editing.chair import named_objects, objects_by_lists
from neuronscope.samples.objects import PictureCategories
from neuronscope.samples.synonyms import Synonyms

LISTS = """person, man, woman, child, people, rider, baby, passenger, adult, policeman
bicycle, bike
motorcycle, motor bike, motor cycle, scooter
airplane, plane, jet, air plane
bus, minibus
train, locomotive
traffic light, street light, traffic signal, stop light
fire hydrant, hydrant
bird, duck, goose
dog, puppy, pup
cow, calf
bear, panda
teddy bear, teddybear
tie, bow tie
skis, ski
wine glass
knife, pocketknife
chair, seat, stool
toilet, urinal
hot dog
scissors
mouse
"""
#: Singular forms as the reference's library gives them, for the words of the captions.
SINGULAR = {
    "men": "man",
    "people": "person",
    "children": "child",
    "dogs": "dog",
    "puppies": "puppy",
    "buses": "bus",
    "glasses": "glass",
    "knives": "knife",
    "geese": "goose",
    "bears": "bear",
    "lights": "light",
    "mice": "mouse",
    "hydrants": "hydrant",
    "skis": "ski",
    "policemen": "policeman",
    "chairs": "chair",
    "babies": "baby",
    "benches": "bench",
    "calves": "calf",
    "ties": "tie",
    "trains": "train",
    "signs": "sign",
    "bikes": "bike",
    "planes": "plane",
    "its": "it",
    "ducks": "duck",
    "wolves": "wolf",
    "seats": "seat",
    "passengers": "passenger",
}
DOUBLE = {
    **{one: one for one in ("motor bike", "air plane", "traffic light", "street light", "stop light", "hot dog")},
    **{one: one for one in ("fire hydrant", "teddy bear", "wine glass", "stop sign", "home plate", "cell phone")},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in ("bird", "cow", "dog", "bear", "horse")},
    "passenger jet": "jet",
    "passenger train": "train",
    "bow tie": "tie",
    "toilet seat": "toilet",
}
CAPTIONS = [
    "Two men and a dog near the buses.",
    "A puppy, a pup and three puppies; dogs everywhere!",
    "A baby bird and an adult bear watch two babies",
    "A passenger jet over a passenger train full of passengers",
    "a man in a bow tie holding a hot dog",
    "A teddy bear beside bears",
    "Traffic lights and a stop light at the stop sign",
    "red fire hydrants, a fire-hydrant and a hydrant",
    "a toilet with its toilet seat up beside a seat",
    "a chair and two seats",
    "wine glasses and a glass of wine",
    "a calf between calves and knives",
    "children ride bikes, a motor bike and a scooter",
    "people on skis beside policemen",
    "a dog's bed and the man's scissors, it isn't a cow",
    "a bedroom",
    "",
    "geese, ducks and mice by the air plane",
    "the man slid into home plate",
    "traffic, light and a hot, dog",
]


def reference(caption: str) -> list[tuple[str, str]]:
    """The order of the reference: singular words, doubles, the toilet's seat, lists."""
    lists = [line.split(", ") for line in LISTS.split("\n") if line]
    inverse = {word: line[0] for line in lists for word in line}
    spaced = caption.lower().replace("'s", " 's").replace("n't", " n't")
    for mark in ".,;!":
        spaced = spaced.replace(mark, f" {mark} ")
    words = [SINGULAR.get(word, word) for word in spaced.split()]
    joined: list[str] = []
    while words:
        pair = " ".join(words[:2])
        joined.append(DOUBLE.get(pair, words[0]))
        words = words[2 if pair in DOUBLE else 1 :]
    if "toilet" in joined and "seat" in joined:
        joined = [word for word in joined if word != "seat"]
    return [(word, inverse[word]) for word in joined if word in inverse]


@pytest.fixture
def lists(tmp_path: Path) -> Synonyms:
    file = tmp_path / "synonyms.txt"
    file.write_text(LISTS, encoding="utf-8")
    return Synonyms.read(file)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_each_list_of_objects_is_the_references(lists: Synonyms, caption: str):
    """The lists hold "people" and "skis", of which the reference first makes "person" and "ski"."""
    assert lists.named(caption) == [one for _, one in reference(caption)]
    found = [word for word, _ in lists.mentions(caption)]
    assert [{"people": "person", "skis": "ski"}.get(word, word) for word in found] == [w for w, _ in reference(caption)]


def test_the_figures_are_the_references(lists: Synonyms):
    annotated = [{"person", "dog"}, {"dog"}, {"bird"}, set(), {"tie"}]
    references = [("a man",), ("puppies",), ("a panda", "a cow"), ("a plane",), ()]
    pictures = [
        PictureCategories(Path("x"), "x", frozenset(), frozenset(one), texts)
        for one, texts in zip(annotated, references, strict=True)
    ]
    captions = CAPTIONS[:5]
    found = objects_by_lists(captions, pictures, lists)
    wrong = count = captions_with = 0
    for caption, objects, texts in zip(captions, annotated, references, strict=True):
        there = objects | {one for text in texts for _, one in reference(text)}
        nodes = [one for _, one in reference(caption)]
        count += len(nodes)
        wrong += sum(one not in there for one in nodes)
        captions_with += any(one not in there for one in nodes)
    assert 0 < wrong < count
    assert found.chair_i.value == pytest.approx(wrong / count)
    assert found.chair_s.value == pytest.approx(captions_with / 5)
    assert found.by.startswith("the original lists, synonyms.txt (SHA-256 ")
    assert named_objects(["a dog"], [{"dog"}], ["dog"]).by == "the lexicon, version 1"


def test_the_two_ways_differ_where_their_words_do(lists: Synonyms):
    picture = PictureCategories(Path("x"), "x", frozenset({"chair"}), frozenset({"chair"}))
    caption = "a stool and a man at the home plate"
    assert objects_by_lists([caption], [picture], lists).wrong == (("person",),)
    assert named_objects([caption], [picture.objects], ["chair", "person"]).wrong == (("person",),)
    assert objects_by_lists([caption], [picture], lists).right == (frozenset({"chair"}),)
    assert named_objects([caption], [picture.objects], ["chair", "person"]).right == (frozenset(),)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no list of synonyms"),
        (b"\n\n", "holds no list of synonyms"),
        (b"dog, pup\n, ,\n", r"synonyms\.txt:2 names no object"),
        (b"\xff\xfe\x00d", "cannot be read as lists of synonyms"),
        (None, "cannot be read as lists of synonyms"),
    ],
)
def test_files_that_are_no_lists(tmp_path: Path, content: bytes | None, reason: str):
    file = tmp_path / "synonyms.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSample, match=reason):
        Synonyms.read(file)


def test_what_cannot_be_compared(lists: Synonyms):
    picture = PictureCategories(Path("x"), "x", frozenset(), frozenset({"dog", "zebra"}))
    with pytest.raises(InvalidSample, match=r"annotated category 'zebra' is in none of the lists of synonyms\.txt"):
        objects_by_lists(["a dog"], [picture], lists)
    with pytest.raises(InvalidOption, match="captions is empty"):
        objects_by_lists([], [], lists)
    with pytest.raises(RunMismatch, match="2 captions belong to 1 pictures"):
        objects_by_lists(["a", "b"], [picture], lists)


def test_spellings_of_files(tmp_path: Path):
    file = tmp_path / "my lists.txt"
    file.write_bytes("\ufeffDog,  Pup ,puppy\r\n\r\nfire  hydrant,hydrant\r\n".encode())
    found = Synonyms.read(file)
    assert found.objects == ("dog", "fire hydrant")
    assert found.named("Pups at fire hydrants and a PUPPY") == ["dog", "fire hydrant", "dog"]
    assert found.shown({"Dog"}, ()) == {"dog"}
