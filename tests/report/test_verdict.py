"""One sentence for a result."""

import pytest

from neuronscope.report.verdict import counted, verdict

BEAR, NONE = "black bear on a street.", "street."


@pytest.mark.parametrize(
    ("neurons", "texts", "expected"),
    [
        (0, {}, "No neurons were found for “bear”."),
        (3, {}, "3 neurons for “bear”, not tested: nothing says yet whether captions need them."),
        (
            12,
            {"noise": [NONE] * 3, "random noise": [BEAR] * 3, "zero": [BEAR], "random zero": [NONE]},
            "12 neurons. With noise on them 0 of 3 captions name “bear”; "
            "with the same noise on as many random ones 3 of 3.",
        ),
        (
            1,
            {"zero": [NONE], "random zero": [BEAR]},
            "1 neuron. Without it the caption does not name “bear”; without as many random ones it does.",
        ),
        (
            2,
            {"zero": [BEAR], "random zero": [NONE]},
            "2 neurons. Without them the caption still names “bear”; without as many random ones it does not.",
        ),
        (
            2,
            {"patch": [NONE, BEAR], "zero": [BEAR]},
            "2 neurons. With them as without the object 1 of 2 captions name “bear”, with no random ones beside. "
            "Without them the caption still names “bear”, with no random ones beside.",
        ),
        (  # noise says nothing here: what the set was located by is told before it
            47,
            {"noise": [BEAR] * 3, "random noise": [BEAR] * 3, "patch": [NONE], "random patch": [BEAR]},
            "47 neurons. With them as without the object the caption does not name “bear”; with as many random ones "
            "like that it does. With noise on them 3 of 3 captions name “bear”; with the same noise on as many random "
            "ones 3 of 3.",
        ),
    ],
)
def test_sentences(neurons, texts, expected):
    assert verdict("bear", neurons, lambda condition: texts.get(condition, ())) == expected


def test_equal_captions_are_told_once_with_their_number():
    assert counted([BEAR, NONE, BEAR, BEAR]) == [(BEAR, 3), (NONE, 1)]
    assert counted([]) == []
