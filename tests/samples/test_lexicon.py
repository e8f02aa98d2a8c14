import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronscope.errors import InvalidOption
from neuronscope.samples import Lexicon, published_thresholds
from neuronscope.samples.lexicon import MODES

LEXICON = Lexicon.default()

# concept, threshold_a, threshold_g as METHODS b copies them from the paper
TABLE_IV = """
banana 2.5 0.0003; bed 1.5 0.0005; bear 1.0 0.0005; giraffe 1.5 0.0002; pizza 1.5 0.0003;
bus 1.5 0.0001; airplane 2.0 0.0; horse 1.0 0.0007; refrigerator 1.25 0.0005; toilet 1.5 0.0001;
tennis racket 1.5 0.0001; fire hydrant 1.5 0.0005; stop sign 1.0 0.00075; microwave 1.0 0.0002;
bicycle 1.5 0.0004; cake 1.25 0.0003; toaster 1.0 0.001; surfboard 1.5 0.0003; snowboard 1.5 0.002;
traffic light 2.0 0.0002; keyboard 1.0 0.0005; cell phone 1.5 0.0005; scissors 1.0 0.002;
book 1.5 0.0001; clock 2.0 0.0005; suitcase 1.2 0.0007; backpack 1.0 0.001; umbrella 0.8 0.0015;
laptop 1.0 0.00075; vase 1.0 0.0007
"""


@pytest.mark.parametrize(
    ("concept", "caption", "mode", "surface"),
    [
        # METHODS m, oracle 9
        ("bed", "a quilt on the bed", "lexicon", "bed"),
        ("bed", "a bedroom with windows", "lexicon", None),
        ("bed", "a bedroom with windows", "substring", "bed"),
        ("bus", "trucks, and buses", "lexicon", "buses"),
        ("airplane", "a plane flying", "lexicon", "plane"),
        ("airplane", "a plane flying", "strict", None),
        ("fire hydrant", "a red fire-hydrant", "lexicon", "fire-hydrant"),
        ("bear", "a teddy bear", "lexicon", None),
        ("cell phone", "cellphones", "lexicon", "cellphones"),
        # spellings
        ("fire hydrant", "Fire  Hydrants", "strict", "Fire  Hydrants"),
        ("stop sign", "a stopsign", "strict", "stopsign"),
        ("Fire-Hydrant", "a hydrant", "lexicon", "hydrant"),
        ("tennis racket", "two tennis racquets", "lexicon", "tennis racquets"),
        ("airplane", "AIRPLANES", "strict", "AIRPLANES"),
        # exclusions hold for their own words only
        ("bear", "a teddy-bear and a bear", "lexicon", "bear"),
        ("bear", "teddy bears", "strict", None),
        ("teddy bear", "a teddybear", "lexicon", "teddybear"),
        ("dog", "a hot dog", "lexicon", None),
        ("book", "a bookshelf", "lexicon", None),
        ("cake", "a pancake", "lexicon", None),
        # plurals
        ("scissors", "a pair of scissors", "lexicon", "scissors"),
        ("knife", "two knives", "lexicon", "knives"),
        ("person", "three men", "lexicon", "men"),
        ("person", "three men", "strict", None),
        ("sheep", "many sheep", "strict", "sheep"),
        ("toothbrush", "toothbrushes", "strict", "toothbrushes"),
        # concepts that are not listed
        ("puffin", "two puffins", "lexicon", "puffins"),
        ("lighthouse keeper", "lighthouse-keepers", "lexicon", "lighthouse-keepers"),
        ("cherry", "red cherries", "lexicon", "cherries"),
        ("tomato", "ripe tomatoes", "lexicon", "tomatoes"),
        ("fox", "foxes", "lexicon", "foxes"),
        ("puffin", "a muffin", "lexicon", None),
        ("bear", "", "substring", None),
        ("", "anything", "lexicon", None),
        ("", "", "substring", None),
    ],
)
def test_a_caption_names_a_concept_or_not(concept, caption, mode, surface):
    match = LEXICON.match(caption, concept, mode)
    assert (match and match.surface) == surface
    if match:
        assert caption[match.start : match.end] == surface


@pytest.mark.parametrize(
    ("caption", "surface", "form"),
    [
        ("a jet beside a plane", "jet", "jet"),
        ("…………jet plane", "jet", "jet"),  # each of these dots is three characters when normalised
        ("a \uff50lane", "\uff50lane", "plane"),
        ("İ jet", "jet", "jet"),  # grows when lower-cased
    ],
)
def test_the_first_mention_counts_and_offsets_are_the_captions_own(caption, surface, form):
    match = LEXICON.match(caption, "airplane")
    assert match is not None
    assert (match.surface, match.start, match.form) == (surface, caption.index(surface), form)


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.sampled_from("ab -'…ﬁİＢ\u0301\n½"), max_size=12),
    st.sampled_from(["bear", "Bears", "\uff42ear", "plane", "fire-hydrant", "CELL PHONE", "teddy bear"]),
    st.text(max_size=8),
    st.sampled_from(["bear", "airplane", "fire hydrant", "cell phone", "bed"]),
    st.sampled_from(MODES),
)
def test_offsets_always_slice_back_to_the_surface(before, word, after, concept, mode):
    caption = f"{before} {word} {after}"
    match = LEXICON.match(caption, concept, mode)
    if match is not None:
        assert caption[match.start : match.end] == match.surface != ""
        if mode != "substring":  # what was found must be a mention by itself
            assert LEXICON.match(match.surface, concept, mode) is not None


@pytest.mark.parametrize("concept", LEXICON.concepts)
def test_every_concept_finds_its_own_name_and_forms(concept):
    assert LEXICON.match(f"a {concept}.", concept, "strict") is not None
    for form in LEXICON.forms[concept]:
        assert LEXICON.match(f"a {form}.", concept) is not None


def test_concepts_in_lists_what_is_named():
    assert LEXICON.concepts_in("a hot dog and a teddy bear on a bedspread") == ["hot dog", "teddy bear"]
    assert LEXICON.concepts_in("a fridge", "strict") == []


def test_unknown_modes_are_refused():
    with pytest.raises(InvalidOption, match=r"'exact' is not known.*lexicon, strict, substring"):
        LEXICON.match("a bear", "bear", "exact")


def test_the_lexicon_has_a_version_and_the_80_categories():
    assert LEXICON.version
    assert len(LEXICON.concepts) == len(set(LEXICON.concepts)) == 80


def test_published_thresholds_are_table_iv():
    rows = [row.rsplit(maxsplit=2) for row in TABLE_IV.replace("\n", " ").split(";")]
    expected = {concept.strip(): (float(a), float(g)) for concept, a, g in rows}
    assert len(expected) == 30
    assert published_thresholds() == expected
    assert set(expected) <= set(LEXICON.concepts)


def test_mentions_are_found_one_behind_the_other():
    caption = "A bear, two Bears and a teddy bear beside a bear"
    found = list(LEXICON.mentions(caption, "bear"))
    assert [(match.surface, match.start) for match in found] == [("bear", 2), ("Bears", 12), ("bear", 44)]
    assert all(caption[match.start : match.end] == match.surface for match in found)
    assert list(LEXICON.mentions(caption, "cat")) == []
