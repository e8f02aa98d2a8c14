"""What a model is asked, as text and as a record."""

from __future__ import annotations

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.models import Decoding, Family


@pytest.mark.parametrize(
    ("template", "image", "each", "images", "text"),
    [
        ("{image}\n{prompt}", "<i>", "{image}", 1, "<i>\na dog"),
        ("{image}\n{prompt}", "<i>", "{image}", 3, "<i><i><i>\na dog"),
        ("one {image}, two {image}: {prompt}", "<i>", "{image}", 2, "one <i>, two <i>: a dog"),
        ("[<Img>{image}</Img> {prompt}]", "<i>", "<Img>{image}</Img>", 2, "[<Img><i></Img><Img><i></Img> a dog]"),
        ("({image}) {prompt}", "<i>", "<Img>{image}</Img>", 2, "(<i><i>) a dog"),
        ("{image}\n{prompt}", "<b><pad></b>", "<pad>", 2, "<b><pad><pad></b>\na dog"),
        ("{image}\n{prompt}", "", "{image}", 2, "a dog"),
    ],
)
def test_a_template_has_one_place_for_all_images_or_one_for_each(
    template: str, image: str, each: str, images: int, text: str
):
    assert Decoding("a dog", template).text(Family("own", "Own", each=each), image, images) == text


@pytest.mark.parametrize(
    ("template", "images", "reason"),
    [
        ("{image}{image}{prompt}", 3, "holds the image 2 times; 3 times are needed"),
        ("{image}{image}{image}{prompt}", 2, "holds the image 3 times; 2 times are needed"),
        ("{image}{image}{prompt}", 1, "holds the image 2 times; once is needed"),
        ("{prompt}", 2, "holds the image 0 times; 2 times are needed"),
    ],
)
def test_another_number_of_places_is_refused_with_both_numbers(template: str, images: int, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        Decoding("a dog").text(Family("own", "Own", template=template), "<i>", images)


def test_a_family_of_one_image_says_so():
    family = Family("own", "Own", one_image="its pages are one")
    with pytest.raises(InvalidOption, match="Own takes one image per prompt, not 2: its pages are one"):
        Decoding().text(family, "<i>", 2)


def test_records_keep_what_decides_a_caption():
    kept = Decoding("a photo of", max_new_tokens=5, use_cache=False).to_dict()
    assert kept == {
        "question": "",
        "prefix": "a photo of",
        "system": "",
        "template": None,
        "chat": "auto",
        "max_new_tokens": 5,
        "generation": {},
    }
    assert Decoding.from_dict(kept) == Decoding("a photo of", max_new_tokens=5)


def test_a_caption_has_at_least_one_token():
    with pytest.raises(InvalidOption, match="max_new_tokens=0 must be at least 1"):
        Decoding(max_new_tokens=0)
