"""What a word is: members of every kind of thing that can stand in, between or around words."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from neuronscope.errors import InvalidOption, InvalidSample, UnsegmentedScript
from neuronscope.evaluate.editing.chair import named_objects
from neuronscope.evaluate.editing.measures import Wording, repetition, rouge_l
from neuronscope.report.marked import marked
from neuronscope.samples import Lexicon
from neuronscope.samples.objects import mentions
from neuronscope.words import folded, scripts, spaced, words_of

match = Lexicon.default().match


def surface(caption: str, concept: str, mode: str = "lexicon") -> str | None:
    found = match(caption, concept, mode)
    if found is not None:
        assert caption[found.start : found.end] == found.surface
    return None if found is None else found.surface


#: What can follow a word, or stand before it, without being part of it.
AROUND = [
    *"_/|\\.,;:!?()[]{}<>\"'`*~#@&+=%$",
    *"\u2018\u2019\u201c\u201d\u00ab\u00bb\u201e\u2039\u203a\u00b4\u2032",  # quotation marks and primes
    *"\u2013\u2014\u2015\u2212",  # dashes
    *"\u00a0\u2007\u2009\u202f\u3000\u2028\u200b\t\n",  # white space, and the zero-width space
    *"\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff",  # what is not seen
    *"\u2122\u00ae\u00b2\u00bd\u2192\u2026\u3002\u060c\u061f\u0964",
    *["\U0001f43b", "\u2764\ufe0f", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "**", "__", "--", "...", "\r\n"],
]


@pytest.mark.parametrize("mark", AROUND)
def test_what_stands_around_a_word_is_no_part_of_it(mark: str):
    for caption in (f"a {mark}dog{mark} here", f"dog{mark}", f"{mark}dog", f"a cat{mark} dog", f"dog {mark}the cat"):
        assert surface(caption, "dog") == "dog"
        assert surface(caption, "og") is None


@pytest.mark.parametrize(
    "mark", [m for m in AROUND if m not in "'\u2018\u2019\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff"]
)
def test_what_stands_between_words_parts_them(mark: str):
    assert (surface(f"the dog{mark}cat", "dog"), surface(f"the dog{mark}cat", "cat")) == ("dog", "cat")


@pytest.mark.parametrize("unseen", "\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff\u034f\ufe0f")
def test_what_is_not_seen_parts_nothing(unseen: str):
    assert surface(f"an ele{unseen}phant", "elephant") == f"ele{unseen}phant"
    assert surface(f"a bed{unseen}room", "bed") is None
    assert surface(f"a dog{unseen}'s bowl", "dog") is not None


@pytest.mark.parametrize("apostrophe", "'\u2019\u2018\u201b\u02bc\uff07")
@pytest.mark.parametrize("clitic", ["s", "ll", "d", "ve", "re", "S"])
def test_a_clitic_behind_an_apostrophe_is_taken_off(apostrophe: str, clitic: str):
    behind = apostrophe + clitic
    for concept, word in {
        "dog": "dog",
        "bus": "Bus",
        "tv": "TV",
        "fire hydrant": "fire-hydrant",
        "sheep": "sheep",
    }.items():
        assert surface(f"the {word}{behind} bowl", concept) == word
    assert surface(f"a hot dog{behind} bun", "dog") is None
    assert surface(f"a teddy bear{behind} ear", "bear") is None
    assert surface(f"the bedroom{behind} light", "bed") is None


@pytest.mark.parametrize(
    ("caption", "concept", "found"),
    [
        ("the dogs' bowls", "dog", "dogs"),
        ("the buses\u2019 doors", "bus", "buses"),
        ("five o'clock", "clock", None),
        ("he can't see", "can", None),
        ("a jack-o'-lantern", "lantern", "lantern"),
        ("l'ours et l\u2019éléphant", "éléphant", "éléphant"),
        ("una copa dell\u2019acqua", "acqua", "acqua"),
        ("d'un chien", "un", "un"),
        ("une pel·lícula", "pel", None),
        ("une pel·lícula", "PEL·LÍCULA", "pel·lícula"),
        ("a captain\u2019s hat", "captain's hat", "captain\u2019s hat"),
        ("the stove is hot. Dogs bark", "hot dog", None),
        ("the stove is hot. Dogs bark", "dog", "Dogs"),
        ("a bus stop, sign and lamp", "stop sign", None),
        ("a bus stop\n\nSigns", "stop sign", None),
        ("a fire\nhydrant", "fire hydrant", "fire\nhydrant"),
        ("a **fire** hydrant", "fire hydrant", "fire** hydrant"),
        ("a fire\u2010hydrant", "fire hydrant", "fire\u2010hydrant"),
        ("a fire\u2011hydrant", "fire_hydrant", "fire\u2011hydrant"),
        ("a St. Bernard", "St. Bernard", "St. Bernard"),
        ("a dog-friendly cafe", "dog", None),
        ("dog2 and 3dogs", "dog", None),
        ("a dog.The cat", "cat", "cat"),
    ],
)
def test_words_that_marks_join_or_part(caption: str, concept: str, found: str | None):
    assert surface(caption, concept) == found


#: language -> (caption, what it names, what is only part of a word of it or differs by a mark)
LANGUAGES = {
    "Swedish": ("en älg för en båt", "båt", ["bat", "får", "lg", "bå"]),
    "German": ("ein Bär in der STRASSE", "Straße", ["bar", "är", "Stra"]),
    "Turkish": ("KIRMIZI bir kuş", "kırmızı", ["kus", "kız"]),
    "Turkish teeth": ("dış kapı", "kapı", ["diş", "kapi"]),
    "Vietnamese": ("một con chó", "chó", ["cho", "ch", "con cho"]),
    "Polish": ("żółta łódź", "ŁÓDŹ", ["lodz", "łódz"]),
    "Czech": ("Medvěd na louce", "medvěd", ["medved"]),
    "Russian": ("бурый медве́дь в лесу", "медведь", ["мед", "вед"]),
    "Ukrainian": ("м\u2019яч на траві", "м'яч", ["яч", "м"]),
    "Greek": ("ΈΝΑΣ ΣΚΎΛΟΣ", "σκύλος", ["σκυλί", "κύλος"]),
    "Greek capitals": ("ΕΝΑΣ ΣΚΥΛΟΣ ΕΔΩ", "σκύλος", ["κύλος"]),
    "Greek accents": ("ο νόμος της χώρας", "νόμος", ["νομός", "χωρας"]),
    "Armenian": ("շուն խոտի վրա", "ՇՈՒՆ", ["շու"]),
    "Georgian": ("დათვი ტყეში", "დათვი", ["დათ"]),
    "Arabic": ("الكَلْب على العشب", "كلب", ["لب", "عش"]),
    "Persian": ("یک گربه\u200cها", "گربه\u200cها", ["ربه"]),
    "Hebrew": ("כֶּלֶב על הדשא", "כלב", ["לב"]),
    "Hindi": ("घास पर एक कुत्ता", "कुत्ता", ["कुत", "त्ता"]),
    "Tamil": ("புல்லில் நாய்", "நாய்", ["நாய"]),
    "Bengali": ("একটি কুকুর ঘাসে", "কুকুর", ["কুকু"]),
    "Korean": ("곰이 풀밭에 있다", "곰", ["풀"]),
    "Amharic": ("ውሻ፡በሣር", "ውሻ", ["ሣር"]),
    "Catalan": ("un ós de peluix", "ós", ["os"]),
}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_letters_of_every_alphabet_are_letters(language: str, form: str):
    caption, concept, others = LANGUAGES[language]
    for normal in ("NFC", "NFD"):
        given = unicodedata.normalize(form, caption)
        assert surface(given, unicodedata.normalize(normal, concept)) is not None
        for other in others:
            assert surface(given, unicodedata.normalize(normal, other)) is None, other


@pytest.mark.parametrize("word", ["İNEK", "inek", "I\u0307NEK", "Inek"])
def test_the_turkic_i(word: str):
    assert surface(f"bir {word} var", "inek") == word


def test_marked_captions_joined_are_the_caption():
    for caption in ("a dog\u2019s bowl, two dogs", "e\u0301le\u0301phant \u2026 dog", "ﬁre dog"):
        pieces = marked(caption, "dog")
        assert "".join(piece.text for piece in pieces) == caption
        assert all(piece.concept == (piece.text.lower() in ("dog", "dogs")) for piece in pieces)


#: caption without spaces, its words that are asked for, and characters in it that are no word there
UNSPACED = {
    "Chinese": ("热狗和一只小狗在草地上", "草地", "狗"),
    "Japanese": ("公園で犬が走っている", "犬", "園"),
    "Thai": ("หมาอยู่บนสนามหญ้า", "หมา", "สนา"),
    "Lao": ("ໝາຢູ່ໃນສວນ", "ໝາ", "ຢູ່ໃ"),
    "Khmer": ("ឆ្កែនៅក្នុងសួន", "ឆ្កែ", "ក្នុ"),
    "Burmese": ("ခွေးတစ်ကောင်သည်", "ခွေး", "ကော"),
}


@pytest.mark.parametrize("language", UNSPACED)
def test_scripts_without_spaces_are_cut(language: str):
    pytest.importorskip("icu4py")
    caption, word, part = UNSPACED[language]
    assert surface(f"{caption}。", word) == word
    assert surface(caption, part) is None
    assert word in words_of(caption)
    assert f" {word} " in f" {spaced(caption)} "
    assert rouge_l(caption, caption) == 1
    assert len(words_of(caption)) > 2


@pytest.mark.parametrize("caption", ["\U00020bb7野家の熊", "\U00020bb7\U00020bb7和熊", "熊\U00020bb7野家"])
def test_characters_beyond_the_first_plane_keep_the_places(caption: str):
    pytest.importorskip("icu4py")
    assert surface(caption, "熊") == "熊"
    assert "".join(words_of(caption)) == caption


@pytest.mark.parametrize("language", UNSPACED)
def test_or_refused(language: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scripts, "find_spec", lambda name: None)
    caption, word, part = UNSPACED[language]
    for ask in (
        lambda: match(caption, word),
        lambda: match(caption, part, "strict"),
        lambda: mentions(caption, [word]),
        lambda: named_objects([caption], [[word]], [word]),
        lambda: Wording(word).replaced(caption),
        lambda: marked(caption, word),
        lambda: words_of(caption),
        lambda: rouge_l(caption, "a dog"),
        lambda: repetition(caption),
        lambda: spaced(caption),
    ):
        with pytest.raises(UnsegmentedScript, match=r"no space between words.*neuronscope\[words\]"):
            ask()
    # What is certain is answered all the same.
    assert surface(f"{caption}, {word}!", "dog") is None
    assert surface(caption, "象") is None
    assert surface(f"a dog, {word}", word) == word
    assert surface(caption, word, "substring") == word


@pytest.mark.parametrize("run", ["ཁྱི་ཆེན་པོ", "ᦶᦙᧃᦉᦸᧂ", "ꦏꦼꦥꦺꦴꦪ", "ꀀꀁꀂ"])
def test_scripts_that_nothing_cuts_are_refused_by_name(run: str):
    with pytest.raises(UnsegmentedScript, match="no dictionary is known"):
        match(run, run[:-1])


def test_it_is_a_refused_sample():
    assert issubclass(UnsegmentedScript, InvalidSample)


@pytest.mark.parametrize("concept", ["🐻", "!!!", "—", "²", "\u00ad"])
def test_a_concept_without_a_letter_is_refused(concept: str):
    with pytest.raises(InvalidOption, match="holds no letter and no digit"):
        match("a bear", concept)


def test_places_are_those_of_the_text():
    text = "…ﬁn e\u0301, Ｂär\u00adin ½ straße"
    found = folded(text)
    assert len(found.text) == len(found.starts) == len(found.ends)
    for n in range(len(found.text)):
        start, end = found.span(n, n + 1)
        assert found.text[n] in folded(text[start:end]).text


def test_words_of_ascii_are_runs_of_letters_and_digits():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice("abZ09 .-'_/,\n\"*") for _ in range(30))
        assert words_of(text) == re.findall(r"[a-z0-9]+", text.lower())
        assert spaced(text) == text


def test_metrics_have_the_same_words():
    metric = pytest.importorskip("neuronscope.evaluate.captions").metric
    pytest.importorskip("rouge_score")
    pytest.importorskip("sacrebleu")
    a, b = "медведь на траве", "медведь и траве"
    assert metric("rouge-l").score([a], [b])[0] == pytest.approx(rouge_l(a, b)) == pytest.approx(2 / 3)
    assert metric("bleu-1").score(["«медведь»\u00a0…"], ['"медведь" …'])[0] == pytest.approx(1)
    assert repetition("кот и кот и кот и") > 0
