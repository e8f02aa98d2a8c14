"""Tables of made-up results whose numbers are worked out by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate import Trials, bootstrap_trials, published
from neuronscope.report.markdown import markdown
from neuronscope.studies.reproduce.numbers import compare_all
from neuronscope.studies.reproduce.numbers import document as make
from neuronscope.studies.reproduce.sections import sections
from neuronscope.studies.reproduce.tables import (
    CaptionScore,
    GroupTest,
    LayerCounts,
    PlantedAgreement,
    Results,
    Statistics,
    SweepPoint,
    render,
)

QUICK = Statistics(replicates=200, cell_replicates=50)
METHODS = ("two-stage", "pan:site=act", "random-layer-matched")
CONCEPTS = ("bed", "bear")
IMAGES = ("bed 1", "bed 2", "bear 1", "bear 2")
LEVELS = {"noise 40": 40.0, "noise 80": 80.0, "zero": 0.0}
GROUPS, OWN = 2, 2

#: Share of hits on own and on other images; what is not here has no effect: (1, 1).
SHARES = {
    ("two-stage", "noise 40", "bed"): (3 / 12, 9 / 12),
    ("two-stage", "noise 40", "bear"): (6 / 12, 1),
    ("two-stage", "noise 80", "bed"): (0, 6 / 12),
    ("two-stage", "noise 80", "bear"): (3 / 12, 9 / 12),
    ("two-stage", "zero", "bed"): (0, 1),
    ("random-layer-matched", "noise 40", "bed"): (9 / 12, 1),
}


def trials(method: str, condition: str, concept: str) -> Trials:
    own = np.array([name.startswith(f"{concept} ") for name in IMAGES])
    draws = 3 if LEVELS[condition] else 1
    hits = np.zeros((GROUPS, 1, draws, len(IMAGES)), dtype=bool)
    for share, which in zip(SHARES.get((method, condition, concept), (1, 1)), (own, ~own), strict=True):
        count = GROUPS * draws * 2
        hits[..., which] = (np.arange(count) < round(share * count)).reshape(GROUPS, 1, draws, 2)
    sources = tuple(name for name, is_own in zip(IMAGES, own, strict=True) if is_own)
    return Trials(concept, hits, own, (LEVELS[condition],), IMAGES, sources)


def caption_scores(values: dict[str, tuple[float, ...]], **more: Any) -> dict[str, list[CaptionScore]]:
    how = {"metric": "rouge-1", "version": "1.0", "settings": {"stemming": False}, **more}
    return {concept: [CaptionScore(value, 6, how) for value in groups] for concept, groups in values.items()}


HITS = {(m, c): [trials(m, c, k) for k in CONCEPTS] for m in METHODS for c in LEVELS}
CAPTIONS = {
    ("two-stage", "noise 40", "rouge-1"): caption_scores({"bed": (0.2, 0.4), "bear": (0.6, 0.8)}),
    ("two-stage", "noise 80", "rouge-1"): caption_scores({"bed": (0.4, 0.6), "bear": (0.5, 0.5)}),
}
FULL = Results(
    methods=METHODS,
    concepts=CONCEPTS,
    conditions=tuple(LEVELS),
    hits=HITS,
    captions=CAPTIONS,
    agreement={
        "random-layer-matched": PlantedAgreement([0.0, 0.0], [0.0, 0.0], [0.01, 0.03]),
        "two-stage": PlantedAgreement([1.0, 0.5], [0.5, 0.5], [0.9, 0.7]),
    },
    layers={"two-stage": LayerCounts((2, 0, 0, 1), (4, 0, 0, 2)), "pan:site=act": LayerCounts((0,) * 4, (0,) * 4)},
    widths=(10, 10, 20, 20),
    localisation={"two-stage": [{"iou_area": 0.2, "iou_dataset": None}, {"iou_area": 0.4}], "pan:site=act": []},
    sizes={"two-stage": [3, 4, 0, 5], "pan:site=act": [0, 0, 0, 0]},
    rejections={"ConceptNotNamed": 5, "ObjectTooSmall": 1},
    settings={"preset": "paper", "scale": "absolute", "model": {"id": "demo"}},
    environments=[{"versions": {"torch": "2.13.0"}}],
    random_p=[GroupTest("bed", "bed 1", 0.02, 0.04), GroupTest("bear", "bear 1", 0.5, 0.5)],
    sweeps={"activation": [SweepPoint(0.5, 40, 0.9, 0.5, 0.4), SweepPoint(1.5, 10, 0.5, 0.9, 0.4)]},
    matching={"lexicon": HITS, "strict": {("two-stage", "zero"): HITS["pan:site=act", "zero"]}},
)
EMPTY = Results(
    METHODS, CONCEPTS, tuple(LEVELS), {}, {}, None, {}, (10, 10, 20, 20), {}, {}, {}, {"scale": "difference"}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "run"
    render(FULL, path, QUICK)
    return path


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads((folder / "tables.json").read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "tables.md").read_text(encoding="utf-8")


def written(results: Results) -> tuple[dict[str, Any], str]:
    """Document and text, without the figures."""
    found = make(results, compare_all(results, QUICK), QUICK)
    return found, markdown("Evaluation", sections(found), {})


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


def section(text: str, title: str) -> str:
    """The text under a heading, up to the next."""
    _, _, rest = text.partition(f"# {title}\n")
    assert rest, f"no heading {title!r}"
    return rest.split("\n#")[0]


def values(row: dict[str, Any]) -> list[float]:
    return [row[name]["value"] for name in ("s_se", "s_re", "s_mean", "j")]


@pytest.mark.parametrize(
    ("scope", "method", "expected"),
    [
        ("noise 40", "two-stage", [0.625, 0.875, 0.75, 0.5]),
        ("noise 80", "two-stage", [0.875, 0.625, 0.75, 0.5]),
        ("mean of noise levels", "two-stage", [0.75, 0.75, 0.75, 0.5]),
        ("zero", "two-stage", [0.5, 1.0, 0.75, 0.5]),
        ("mean of noise levels", "pan:site=act", [0.0, 1.0, 0.5, 0.0]),
        ("mean of noise levels", "random-layer-matched", [0.0625, 1.0, 0.53125, 0.0625]),
    ],
)
def test_means(document: dict[str, Any], scope: str, method: str, expected: list[float]):
    row = one(document["table_2"]["means"], scope=scope, method=method)
    assert values(row) == pytest.approx(expected)
    for name in ("s_se", "s_re", "s_mean", "j"):
        assert row[name]["low"] - 1e-12 <= row[name]["value"] <= row[name]["high"] + 1e-12
    assert row["s_mean"]["low"] == pytest.approx((row["j"]["low"] + 1) / 2)


def test_intervals_are_those_of_the_joint_bootstrap(document: dict[str, Any]):
    sets = {method: HITS[method, "noise 40"] for method in METHODS}
    found = bootstrap_trials(sets, replicates=200).estimate("two-stage", "J")
    row = one(document["table_2"]["means"], scope="noise 40", method="two-stage")
    assert row["j"] == {"value": found.value, "low": found.low, "high": found.high}


def test_concepts_and_their_numbers_of_trials(document: dict[str, Any]):
    rows = document["table_2"]["concepts"]
    assert len(rows) == len(CONCEPTS) * (len(LEVELS) + 1) * len(METHODS)
    cell = one(rows, concept="bed", scope="noise 40", method="two-stage")
    assert values(cell) == pytest.approx([0.75, 0.75, 0.75, 0.5])
    assert (cell["own_trials"], cell["other_trials"]) == (12, 12)
    assert values(one(rows, concept="bear", scope="mean of noise levels", method="two-stage")) == pytest.approx(
        [0.625, 0.875, 0.75, 0.5]
    )
    pooled = one(document["table_2"]["means"], scope="mean of noise levels", method="two-stage")
    assert (pooled["own_trials"], pooled["other_trials"]) == (48, 48)
    assert one(document["table_2"]["means"], scope="zero", method="two-stage")["own_trials"] == 8


def test_held_out_against_a_plain_loop(document: dict[str, Any]):
    """bed: hits on draws 1, 1, 2 of images 1, 2, 1 of group 1, so held out 1/3 and 0; bear: all of group 1 alone."""
    row = one(document["table_2"]["means"], scope="noise 40", method="two-stage")
    assert row["held_out_s_se"]["value"] == pytest.approx(1 - ((1 / 3 + 0) / 2 + (1 + 0) / 2) / 2)
    shares: list[float] = []
    for found in HITS["two-stage", "noise 40"]:
        for group, source in enumerate(found.sources):
            tested = [i for i, name in enumerate(IMAGES) if found.own[i] and name != source]
            shares.append(float(np.mean([found.hits[group, 0, draw, i] for draw in range(3) for i in tested])))
    assert row["held_out_s_se"]["value"] == pytest.approx(1 - np.mean(shares))


def test_published_numbers_are_beside_but_never_among_ours(document: dict[str, Any], text: str):
    rows = document["table_2"]["concepts"]
    cell = one(rows, concept="bed", scope="noise 40", method="two-stage")["published"]
    assert cell == {"s_se": 0.7447, "s_re": 0.8320, "s_mean": 0.7883}
    assert one(rows, concept="bear", scope="noise 80", method="pan:site=act")["published"]["s_re"] == 0.7510
    assert one(rows, concept="bed", scope="zero", method="two-stage")["published"] is None
    assert one(rows, concept="bed", scope="noise 40", method="random-layer-matched")["published"] is None
    means = document["table_2"]["means"]
    assert one(means, scope="mean of noise levels", method="two-stage")["published"]["s_se"] == 0.7714
    assert one(means, scope="noise 40", method="two-stage")["published"] is None
    theirs = section(text, "Published (MiniGPT-4, COCO): means")
    assert "| two-stage   | 0.771 | 0.696 |  0.734 | +0.467 |" in theirs
    assert "0.771" not in section(text, "Means over concepts, this run")
    assert "0.745 / 0.832 / 0.788" in section(text, "Published (MiniGPT-4, COCO): the concepts that the paper prints")
    assert "0.745 / 0.832" not in section(text, "Concepts, this run")


def test_a_level_in_another_unit_is_not_the_published_one():
    found, text = written(replace(FULL, settings={"scale": "difference"}))
    assert all(row["published"] is None for row in found["table_2"]["concepts"])
    assert "Noise levels count in median activation differences" in text


def test_the_copy_of_the_published_tables_is_whole(document: dict[str, Any]):
    found = document["published"]
    assert len(found["table_2"]) == len(published.TABLE_II) * 3 == 27
    assert one(found["table_3"], method="pan")["bertscore"] == 0.8971
    assert one(found["table_2_mean"], method="schwettmann")["j"] == pytest.approx(0.1201)


def test_differences_and_their_tests(document: dict[str, Any], text: str):
    """J of two-stage minus pan is 0.5 in both concepts: 2 of 4 sign patterns are as extreme."""
    rows = document["differences"]["rows"]
    assert {row["first"] for row in rows} == {"two-stage"}
    row = one(rows, scope="mean of noise levels", second="pan:site=act")
    assert row["j"]["value"] == pytest.approx(0.5)
    assert row["j"]["p"] == 0.5
    assert row["j"]["exact"] is True
    assert row["s_se"]["value"] == pytest.approx(0.75)
    assert row["s_re"]["value"] == pytest.approx(-0.25)
    # Against random: bed 0.5 - 0.125, bear 0.5 - 0.
    random = one(rows, scope="mean of noise levels", second="random-layer-matched")
    assert random["j"]["value"] == pytest.approx(0.4375)
    assert "two-stage - pan:site=act" in section(text, "Differences between methods")
    assert "the smallest that 2 concepts can give is 0.500" in text


def test_captions_are_never_without_s_se(document: dict[str, Any], text: str):
    rows = document["table_3"]["rows"]
    row = one(rows, scope="noise 40", metric="rouge-1")
    assert row["value"] == pytest.approx(0.5)  # bed 0.3, bear 0.7
    assert (row["low"], row["high"]) == pytest.approx((0.3, 0.7))
    assert row["pairs"] == 24
    assert row["s_se"] == pytest.approx(0.625)
    pooled = one(rows, scope="mean of noise levels", metric="rouge-1")
    assert (pooled["value"], pooled["low"], pooled["high"]) == pytest.approx((0.5, 0.4, 0.6))
    assert pooled["published"] == 0.5032
    assert {row["method"] for row in rows} == {"two-stage"}
    lines = [line for line in section(text, TABLE_3).splitlines() if line.startswith("| noise 40")]
    assert [line.split("|")[2].strip() for line in lines] == ["S_se", "rouge-1[^rouge-1]"]
    assert lines[0].split("|")[3].strip().startswith("0.625 [")
    assert lines[1].split("|")[3].strip() == "0.500 [0.300, 0.700]"
    assert lines[1].split("|")[4].strip() == "-"
    assert '[^rouge-1]: metric "rouge-1"; version "1.0"; settings.stemming false.' in text


TABLE_3 = "Table III: captions against those of the edited images"


def test_captions_of_a_condition_without_hits_are_left_out():
    hits = {key: value for key, value in HITS.items() if key != ("two-stage", "noise 80")}
    found, text = written(replace(FULL, hits=hits))
    assert [row["scope"] for row in found["table_3"]["rows"]] == ["noise 40"]
    assert found["unfinished"] == [{"method": "two-stage", "condition": "noise 80"}]
    assert "**Not finished, and left out:** two-stage under noise 80." in text
    assert {row["method"] for row in found["table_2"]["means"] if row["scope"] == "noise 80"} == set(METHODS[1:])


def test_caption_scores_made_differently_are_refused():
    other = caption_scores({"bed": (0.4, 0.6), "bear": (0.5, 0.5)}, version="2.0")
    captions = {**CAPTIONS, ("two-stage", "noise 80", "rouge-1"): other}
    with pytest.raises(RunMismatch, match=r"version is '1.0' and '2.0'"):
        written(replace(FULL, captions=captions))


def test_layers(document: dict[str, Any]):
    """Expected 1, 1, 2, 2 of 6 neurons; layers 0 and 1 are the lower third of four."""
    found = document["layers"]["methods"]["two-stage"]
    assert found["weighted_over_expected"] == pytest.approx([4, 0, 0, 1])
    assert found["unique_over_expected"] == pytest.approx([4, 0, 0, 1])
    assert found["thirds"] == pytest.approx([2 / 3, 0, 1 / 3])
    assert (found["total"], found["different"], found["median_layer"]) == (6, 3, 0)
    assert found["last_layer"] == pytest.approx(1 / 3)
    assert found["peak"] == {"layer": 0, "over_expected": 4.0}
    assert document["layers"]["uniform"] == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_a_method_without_neurons(document: dict[str, Any], text: str):
    found = document["layers"]["methods"]["pan:site=act"]
    assert (found["total"], found["thirds"], found["peak"], found["last_layer"]) == (0, None, None, None)
    assert document["sizes"]["pan:site=act"]["empty"] == 4
    assert set(document["localisation"]["pan:site=act"].values()) == {None}
    rows = [line for line in section(text, "Layers").splitlines() if line.startswith("| pan")]
    assert [cell.strip() for cell in rows[0].split("|")[2:-1]] == ["0", "0", *["-"] * 6]


def test_sizes_samples_localisation_and_truth(document: dict[str, Any], text: str):
    sizes = {
        "samples": 4,
        "mean": 3.0,
        "median": 3.5,
        "smallest": 0,
        "largest": 5,
        "empty": 1,
        "refused": 0,
        "reasons": {},
    }
    assert document["sizes"]["two-stage"] == sizes
    assert document["rejections"]["accepted"] == pytest.approx(0.4)  # 4 of 10
    assert "the caption does not name the concept" in section(text, "Samples")
    area = document["localisation"]["two-stage"]["iou_area"]
    assert (area["value"], area["low"], area["high"], area["samples"]) == pytest.approx((0.3, 0.2, 0.4, 2))
    assert document["localisation"]["two-stage"]["iou_dataset"] is None
    assert document["agreement"]["two-stage"]["average_precision"]["value"] == pytest.approx(0.8)
    ranked = [line.split("|")[1].strip() for line in section(text, "Agreement with planted neurons").splitlines()[2:4]]
    assert "two-stage" in text
    assert ranked[-1] == "two-stage"  # above the control, which was given first
    assert document["random_sets"]["below_rate"] == 1
    assert "1 of 2 groups differ from layer-matched random sets" in text
    assert document["sweeps"]["activation"][0]["n_neurons"] == 40


def test_other_ways_to_match_names_stand_beside_each_other(document: dict[str, Any], text: str):
    rows = document["matching"]["rows"]
    chosen = {"scope": "zero", "method": "two-stage"}
    by_lexicon, strictly = one(rows, match="lexicon", **chosen), one(rows, match="strict", **chosen)
    assert (by_lexicon["s_se"], by_lexicon["s_re"], by_lexicon["j"]) == pytest.approx((0.5, 1, 0.5))
    assert (strictly["s_se"], strictly["s_re"], strictly["j"]) == pytest.approx((0, 1, 0))
    line = next(line for line in section(text, "Ways to match names").splitlines() if "zero" in line)
    assert "0.500 / 1.000 / 0.500" in line
    assert "0.000 / 1.000 / 0.000" in line
    other = next(line for line in section(text, "Ways to match names").splitlines() if "pan" in line and "zero" in line)
    assert other.split("|")[-2].strip() == "-"  # not known strictly


def test_rejections_are_shown_before_it_is_known_how_many_were_kept():
    found, text = written(replace(EMPTY, rejections={"NoInstance": 7}))
    assert found["rejections"] == {"reasons": {"NoInstance": 7}, "rejected": 7, "kept": None, "accepted": None}
    assert [cell.strip() for cell in section(text, "Samples").splitlines()[3].split("|")[3:5]] == ["7", "-"]


def test_a_run_begins_with_what_it_comes_to(document: dict[str, Any], text: str):
    told = (
        "two-stage found 3 neurons per sample on average. With noise on them 75 % of the captions no longer name their "
        "concept, with random ones 6 %; 75 % of those of other pictures still name theirs (with random ones 100 %)."
    )
    assert document["verdict"].startswith(told)
    assert next(iter(document)) == "verdict"
    assert text.startswith(f"# Evaluation\n\n{told}")


def test_a_run_without_captions_begins_with_that():
    document, text = written(EMPTY)
    told = "The run is not finished. No captions with its neurons changed are finished."
    assert document["verdict"] == told
    assert text.startswith(f"# Evaluation\n\n{told}\n")


def test_settings_and_versions(document: dict[str, Any], text: str):
    assert document["schema"] == "neuronscope.tables/1"
    assert document["settings"] == FULL.settings
    assert document["statistics"] == {"replicates": 200, "cell_replicates": 50, "seed": 0, "confidence": 0.95}
    assert document["conditions"][2] == {"name": "zero", "level": None}
    assert '- model.id: `"demo"`' in text
    assert '- versions.torch: `"2.13.0"`' in text


def test_files(folder: Path, document: dict[str, Any], text: str):
    names = ["agreement", "j", "layers", "layers-ratio", "levels", "sweeps"]
    expected = {f"figures/{name}.{kind}" for name in names for kind in ("png", "svg")}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"tables.md", "tables.json", *expected}
    assert {path for paths in document["figures"].values() for path in paths} == expected
    for name in names:
        assert f"(figures/{name}.png)" in text
        assert np.asarray(Image.open(folder / f"figures/{name}.png").convert("L")).std() > 1


def test_a_second_time_gives_the_same_files_and_returns_the_document(
    folder: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # tests/view draws every kind twice; here those of the scores, as the others take as long again
    for name in ("plot_layer_counts", "plot_layer_ratios", "plot_levels", "plot_sweeps"):
        monkeypatch.setattr(
            f"neuronscope.studies.reproduce.tables.{name}",
            lambda *given: tuple(given[-1].with_suffix(f".{kind}") for kind in ("png", "svg")),
        )
    assert render(FULL, folder, QUICK) == document
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tables_are_aligned(text: str):
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) > 10
    for lines in blocks:
        assert len({len(line) for line in lines}) == 1
        assert len({line.count(" | ") for line in lines}) == 1
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_what_is_missing_is_a_sentence(tmp_path: Path):
    (tmp_path / "figures").mkdir()
    stale = tmp_path / "figures" / "j.png"
    stale.write_bytes(b"of an earlier state")
    found = render(EMPTY, tmp_path, QUICK)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    sections = ("table_2", "differences", "table_3", "layers", "sizes", "rejections", "localisation", "agreement")
    assert set(found["absent"]) == {*sections, "random_sets", "sweeps", "matching"}
    for name, sentence in found["absent"].items():
        assert name not in found
        assert sentence.endswith(".")
        assert sentence in text
    assert len(found["unfinished"]) == len(METHODS) * len(LEVELS)
    assert not list((tmp_path / "figures").iterdir())
    assert "Versions were not recorded." in text


def test_without_two_stage_filtering_there_is_nothing_to_compare_with():
    others = METHODS[1:]
    hits = {key: value for key, value in HITS.items() if key[0] in others}
    found, _ = written(replace(EMPTY, methods=others, hits=hits))
    assert "No method of this run is two-stage filtering" in found["absent"]["differences"]


def test_one_image_per_concept_has_no_held_out_score():
    images = ("bed 1", "bear 1")

    def single(concept: str) -> Trials:
        own = np.array([name.startswith(concept) for name in images])
        return Trials(concept, np.ones((1, 1, 2, 2), dtype=bool), own, (8.0,), images, (f"{concept} 1",))

    few = replace(
        EMPTY,
        methods=("two-stage",),
        conditions=("noise 8",),
        hits={("two-stage", "noise 8"): [*map(single, CONCEPTS)]},
    )
    found, text = written(few)
    assert found["table_2"]["means"][0]["held_out_s_se"] is None
    assert [row["scope"] for row in found["table_2"]["means"]] == ["noise 8"]
    assert "There is no held-out S_se: held-out scores of 'bed': its only image is 'bed 1', the group's own." in text
    assert found["absent"]["differences"] == "No two methods are finished."


def test_a_number_that_is_none_stops_everything(tmp_path: Path):
    bad = replace(FULL, localisation={"two-stage": [{"energy": float("nan")}]})
    with pytest.raises(InvalidOption, match=r"tables\.json\.localisation\.two-stage\.energy\.value is nan"):
        render(bad, tmp_path, QUICK)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("pan", "pan")}, "methods=.*each once"),
        ({"conditions": ()}, "conditions=.*at least one"),
        ({"hits": {("pan", "zero"): []}}, "method='pan' is not known"),
        ({"sizes": {"two-stag": [1]}}, "method='two-stag' is not known.* Did you mean 'two-stage'"),
        ({"hits": {("two-stage", "zero"): HITS["two-stage", "zero"][:1]}}, r"are of the concepts \['bed'\]; expected"),
        (
            {"hits": {("two-stage", "zero"): [HITS["two-stage", "zero"][0], HITS["two-stage", "noise 40"][1]]}},
            r"have the levels \[\(0.0,\), \(40.0,\)\]; expected one level",
        ),
        ({"layers": {"two-stage": LayerCounts((1,), (1,))}}, "are counted in 1 layers; there are 4"),
        ({"captions": {("two-stage", "zero", "rouge-1"): caption_scores({"cat": (1.0,)})}}, "'cat' is not known"),
    ],
)
def test_results_that_do_not_fit_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(InvalidOption, match=message):
        replace(FULL, **change)
