"""One sentence for an edit."""

import pytest

from neuronscope.studies.edit.verdict import verdict


def cell(value: float, items: int) -> dict[str, float]:
    return {"value": value, "low": value, "high": value, "items": items}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            {
                "target": "horse",
                "neurons": 20,
                "edited": {"success": cell(1.0, 2), "generality": cell(0.75, 4), "locality": cell(1.0, 12)},
                "random": {"generality": cell(0.0, 4)},
            },
            "20 neurons were edited. 75 % of the captions of 4 held-out pictures that said “bear” now say “horse” "
            "(0 % with random neurons); 100 % of 12 captions of other pictures are as before.",
        ),
        (
            {
                "target": None,
                "neurons": 1,
                "edited": {"success": None, "gone": cell(1.0, 1), "locality": None},
                "random": {"gone": None},
            },
            "1 neuron was edited. 100 % of the captions of one picture that said “bear” no longer say “bear”.",
        ),
        (
            {"target": "horse", "neurons": 3, "edited": {"success": None, "generality": None}, "random": {}},
            "3 neurons were edited. No picture was left to measure it on.",
        ),
    ],
)
def test_sentences(found, expected):
    assert verdict({"source": "bear", **found}) == expected
