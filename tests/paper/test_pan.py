"""Pan et al., arXiv 2311.07470, by their code: `neuronscope discover --preset published` against plain PyTorch.

What stands in capitals is what their code has: query, beginning of the answer, number of new tokens, neurons kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
import plain_torch as plain
from neuronscope.locate import Discovery

QUERY, ANSWER, NEW_TOKENS, KEPT = "Describe the image in few words.", "An image of", 50, 1000
SENT = f"<image>\n{QUERY}\n{ANSWER}"
SWEPT = (1, 5, 10, 50, 100, 500, 1000)


@pytest.fixture(scope="module")
def pictures(few_scenes: Path) -> list[Path]:
    """One with two objects and one with another; every word of what is said of them is one token."""
    return sorted((few_scenes / "images").glob("*.png"))[3:6:2]


@pytest.fixture(scope="module")
def done(verb: Callable[..., Any], pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("pan") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronscope.studies.discover.tables._draw", lambda *_: {})  # figures, which nothing here reads
        document = verb("discover", *pictures, "--preset", "published", "--nouns", "tagger", "--out", out)
    return document, out


def sets(done: Any, picture: Path) -> dict[str, list[tuple[int, int]]]:
    """Noun -> the neurons that were found for it in a picture, best first."""
    document, out = done
    found: dict[str, list[tuple[int, int]]] = {}
    for noun, images in document["nouns"].items():
        if picture.name in images:
            rows = json.loads((out / "neurons" / f"{noun}.json").read_text(encoding="utf-8"))
            found[noun] = [(one["layer"], one["unit"]) for one in rows["neurons"]]
    return found


@pytest.fixture(scope="module")
def captioned(demo: ns.VLM, pictures: list[Path]) -> dict[Path, list[int]]:
    """What the model writes about each picture, in tokens."""
    return {one: plain.write(demo, Image.open(one).convert("RGB"), SENT, NEW_TOKENS) for one in pictures}


@pytest.fixture(scope="module")
def contributions(demo: ns.VLM, captioned: dict[Path, list[int]]) -> Callable[[Path, int], np.ndarray]:
    """Of a place in a picture's caption, worked out once.

    a (w . u): the activation function's output where the token is predicted, times the value vector's own logit.
    """
    vectors = plain.value_vectors(demo)

    @cache
    def of(picture: Path, at: int) -> np.ndarray:
        ids = captioned[picture]
        tensors = plain.inputs_of(demo, Image.open(picture).convert("RGB"), SENT, ids[:at])
        values, _ = plain.read(demo, tensors, "act_fn")
        return np.stack([layer[-1] for layer in values]) * (vectors @ plain.direction(demo, ids[at]))

    return of


def places(demo: ns.VLM, ids: Sequence[int]) -> dict[str, int]:
    """Word -> where it is first generated, of words of one token."""
    found: dict[str, int] = {}
    for place, token in enumerate(ids):
        found.setdefault(demo.tokenizer.decode([token]).strip(), place)
    return found


def test_query_answer_and_length(demo: ns.VLM, done: Any, captioned: Any, pictures: list[Path]):
    document, _ = done
    asked = document["settings"]["discovery"]["decoding"]
    assert (asked["question"], asked["prefix"], asked["max_new_tokens"]) == (QUERY, ANSWER, NEW_TOKENS)
    assert demo.sent(Discovery.as_published().decoding) == SENT
    for picture in pictures:
        text = demo.tokenizer.decode(captioned[picture], skip_special_tokens=True)
        assert document["captions"][picture.name] == f"{ANSWER} {text}"


def test_every_noun_gets_the_neurons_that_add_most_to_its_first_token(
    demo: ns.VLM, done: Any, pictures: list[Path], captioned: Any, contributions: Any
):
    document, _ = done
    counted = 0
    for picture in pictures:
        where = places(demo, captioned[picture])
        own = [noun for noun, images in document["nouns"].items() if images == [picture.name]]
        found = {noun: members for noun, members in sets(done, picture).items() if noun in own}
        assert found
        for noun, members in found.items():
            expected = plain.best(contributions(picture, where[noun]), KEPT)
            assert members[0] == expected[0]
            assert len(members) == KEPT
            assert len({*members} & {*expected}) >= KEPT - 2  # at the cut sums in another order may change places
            counted += 1
    assert counted > 2


def test_the_token_is_the_nouns_own_after_a_noun_that_is_not_found(
    demo: ns.VLM, done: Any, pictures: list[Path], captioned: Any, contributions: Any
):
    """In the published code each later noun is scored with its neighbour's token; here each carries its own place."""
    for picture in pictures:
        where = places(demo, captioned[picture])
        nouns = [noun for noun in sets(done, picture) if noun in where]
        tops = {noun: plain.best(contributions(picture, where[noun]), 1)[0] for noun in nouns}
        assert len(set(tops.values())) > 1 or len(nouns) < 2


def test_site_norm_and_sizes_are_those_of_the_code(done: Any):
    document, out = done
    options = document["settings"]["discovery"]
    assert (options["site"], options["norm"], options["top"]) == ("act", "none", KEPT)
    assert tuple(document["settings"]["ks"]) == SWEPT
    for path in (out / "neurons").glob("*.json"):
        assert ns.Neurons.load(path).site == "act"


def test_region_invariance_shuffles_the_image_tokens(done: Any):
    """|top_k of both| / k, of nouns that both captions have; 1 where everything is kept."""
    document, _ = done
    found = document["region_invariance"]
    assert found["nouns_in_both"] <= found["nouns"]
    for k in SWEPT:
        one = {name: found["k"][str(k)][name]["value"] for name in ("found", "random")}
        assert 0 <= one["random"] <= one["found"] <= 1


def test_specificity_is_a_matrix_of_each_nouns_first_neuron(
    demo: ns.VLM, done: Any, pictures: list[Path], captioned: Any, contributions: Any
):
    """M[a, b]: the first neuron of noun a, scored for noun b; right where the largest of a row is its own."""
    document, _ = done
    shares: list[float] = []
    for picture in pictures:
        where = places(demo, captioned[picture])
        nouns = list(sets(done, picture))
        assert set(nouns) <= set(where)  # all of one token in this vocabulary
        scores = {noun: contributions(picture, where[noun]) for noun in nouns}
        rows = {
            noun: {other: scores[other][plain.best(scores[noun], 1)[0]] for other in nouns}
            for noun in nouns
            if len(nouns) > 1
        }
        if rows:
            shares.append(float(np.mean([max(row, key=row.__getitem__) == noun for noun, row in rows.items()])))
    assert shares
    assert document["specificity"]["in_image"]["share"]["found"]["value"] == pytest.approx(np.mean(shares))


def test_the_baseline_of_a_comparison_reads_where_the_code_reads():
    assert ns.Pan.as_published().site == Discovery.as_published().site == "act"
    assert (ns.Pan.as_published().position, ns.Pan.as_published().norm) == ("predict", "none")
