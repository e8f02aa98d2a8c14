"""A discovery run: what its parts hold, that it goes on where it stopped, and its numbers computed again by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate.captions import METRICS
from neuronscope.evaluate.discovery import overlap
from neuronscope.intervene.permuted import permuted_image
from neuronscope.locate.discovery import UNITS, Discovery, discover
from neuronscope.run.directory import Run
from neuronscope.samples.picture_files import Picture, gather
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.studies.discover import work as discovery_module
from neuronscope.studies.discover.collect import DiscoveryFigures, collect_discoveries
from neuronscope.studies.discover.concepts import best_for, concepts_of, generic, nouns_of, together
from neuronscope.studies.discover.directory import SCHEMAS, open_discovery
from neuronscope.studies.discover.figures import plot_groups
from neuronscope.studies.discover.sections import nouns_table
from neuronscope.studies.discover.settings import DiscoveryPlan
from neuronscope.studies.discover.tables import _best, render_discoveries
from neuronscope.studies.discover.work import DiscoveryRun
from neuronscope.types import Neuron

PLAN = DiscoveryPlan(discovery=Discovery(top=20, nouns="tagger"), group=2, draws=3)
IMAGES = 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Picture, ...]:
    """Scenes that the bundled model never saw, each concept in several."""
    folder = tmp_path_factory.mktemp("pictures")
    for concept, count in (("bear", 3), ("bus", IMAGES - 3)):
        for number, sample in enumerate(scenes_of(concept, count)):
            sample.image.save(folder / f"{concept}-{number}.png")
    return gather([folder]).items


@pytest.fixture(scope="module")
def work(demo: ns.VLM, pictures, tmp_path_factory: pytest.TempPathFactory) -> DiscoveryRun:
    """A finished run."""
    run = open_discovery(tmp_path_factory.mktemp("run"), demo, PLAN)
    work = DiscoveryRun(demo, pictures, PLAN, run, batch_size=3)
    work.work()
    return work


@pytest.fixture(scope="module")
def found(work: DiscoveryRun) -> DiscoveryFigures:
    return collect_discoveries(work)


@pytest.fixture(scope="module")
def plain(demo: ns.VLM, pictures) -> list:
    """The same without a run."""
    return list(discover(demo, [picture.path for picture in pictures], PLAN.discovery))


def test_parts_hold_what_discover_finds(work: DiscoveryRun, pictures, plain):
    for picture, one in zip(pictures, plain, strict=True):
        (caption,) = work.run.read("captions", picture.key).to_pylist()
        assert (caption["caption"], tuple(caption["ids"])) == (one.caption.full, one.caption.ids)
        rows = work.run.read("nouns", picture.key).to_pylist()
        assert [row["noun"] for row in rows] == [noun.noun.text for noun in one.nouns]
        for row, noun in zip(rows, one.nouns, strict=True):
            assert list(zip(row["layers"], row["units"], strict=True)) == [(n.layer, n.unit) for n in noun.neurons]
            np.testing.assert_allclose(row["contributions"], noun.neurons.scores["contribution"], rtol=1e-4)


def test_nothing_is_computed_twice(work: DiscoveryRun, demo: ns.VLM, pictures, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args, **_more):
        raise AssertionError("computed again")

    for name in ("clean_captions", "discover_in", "noun_scores", "describe"):
        monkeypatch.setattr(discovery_module, name, refuse)
    again = DiscoveryRun(demo, pictures, PLAN, open_discovery(work.run.folder, demo, PLAN))
    assert again.left() == 0
    again.work()
    assert collect_discoveries(again).concepts == work.concepts  # reading needs no model either


def test_a_job_that_was_stopped_goes_on(demo: ns.VLM, pictures, work, found, tmp_path, monkeypatch):
    few = pictures[:3]
    run = open_discovery(tmp_path, demo, PLAN)
    stopped = DiscoveryRun(demo, few, PLAN, run)
    real, calls = discovery_module.discover_in, []

    def stops(*args, **more):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(discovery_module, "discover_in", stops)
    with pytest.raises(KeyboardInterrupt):
        stopped.work()
    assert stopped.left() == 2 + 3  # captions are there, two images' nouns and all permutations are not
    monkeypatch.setattr(discovery_module, "discover_in", real)
    told: list[str] = []
    going = DiscoveryRun(demo, few, PLAN, open_discovery(tmp_path, demo, PLAN), step=told.append)
    going.work()
    assert sum(text.startswith("nouns") for text in told) == 2
    for picture in few:
        for kind in ("nouns", "texts", "matrices"):
            assert run.read(kind, picture.key).equals(work.run.read(kind, picture.key))


def test_more_images_may_follow_and_other_settings_may_not(work: DiscoveryRun, demo: ns.VLM, pictures):
    folder = work.run.folder
    sizes = dataclasses.replace(PLAN, ks=(1, 2), group=3, shuffles=2)
    assert DiscoveryRun(demo, pictures, sizes, open_discovery(folder, demo, sizes)).left() == IMAGES
    other = dataclasses.replace(PLAN, discovery=dataclasses.replace(PLAN.discovery, norm="gain"))
    with pytest.raises(RunMismatch, match="norm"):
        open_discovery(folder, demo, other)
    with pytest.raises(RunMismatch, match="finder"):
        open_discovery(folder, demo, dataclasses.replace(PLAN, discovery=Discovery(top=20, nouns="lexicon")))


def test_layers_count_the_different_neurons_of_the_best_k(found: DiscoveryFigures, plain):
    assert list(found.layers) == [1, 5, 10]
    for k, counts in found.layers.items():
        best = [n for one in plain for noun in one.nouns for n in noun.neurons[:k]]
        assert list(counts.unique) == [sum(n.layer == layer for n in set(best)) for layer in range(8)]
        assert sum(counts.weighted) == len(best)


def test_region_invariance_by_hand(found: DiscoveryFigures, demo: ns.VLM, pictures, plain):
    with permuted_image(demo, 0):
        moved = list(discover(demo, [picture.path for picture in pictures], PLAN.discovery))
    images, both = [], 0
    for one, other in zip(plain, moved, strict=True):
        there = {noun.noun.text: noun.neurons for noun in other.nouns}
        values = [overlap(n.neurons, there[n.noun.text], 5) for n in one.nouns if n.noun.text in there]
        both += len(values)
        images += [np.mean(values)] if values else []
    assert found.region[5].found.value == pytest.approx(np.mean(images))
    assert found.kept == (both, sum(len(one.nouns) for one in plain))
    assert found.region[5].found.low > found.region[5].controls["layer-matched"].high


def test_concepts_are_tested_on_images_that_did_not_choose_their_neuron(work: DiscoveryRun, pictures, found):
    assert found.concepts
    for concept in found.concepts:
        rows = nouns_of(work.run, pictures)[concept.noun]
        assert [row["image"] for row in rows] == [*concept.selected, *concept.tested]
        assert len(concept.selected) - len(concept.tested) in (0, 1)
        sums: dict[Neuron, float] = {}
        for row in rows[: len(concept.selected)]:
            for layer, unit, value in zip(row["layers"], row["units"], row["contributions"], strict=True):
                sums[Neuron(layer, unit)] = sums.get(Neuron(layer, unit), 0) + value
        assert concept.best == max(sums, key=lambda n: (sums[n], -n.layer, -n.unit))
    assert concepts_of(work.run, pictures[:1]) == ()


def test_the_matrix_of_concepts_by_hand(found: DiscoveryFigures, pictures, plain):
    names = [picture.name for picture in pictures]
    for b, column in enumerate(found.concepts):
        images = [plain[names.index(name)] for name in column.tested]
        for a, row in enumerate(found.concepts):
            flat = row.best.layer * 768 + row.best.unit
            places = [[noun.noun.text for noun in one.nouns].index(column.noun) for one in images]
            expected = np.mean([one.scores[at, flat] for one, at in zip(images, places, strict=True)])
            assert found.matrix is not None
            assert found.matrix[a, b] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_specificity_beats_its_controls(found: DiscoveryFigures):
    assert found.among is not None
    assert found.in_image is not None
    for one in (found.among, found.in_image):
        assert one.share.found.value > 0.75
        assert one.share.found.low > max(control.high for control in one.share.controls.values())
    assert abs(found.among.share.controls["random"].value - found.among.chance) < 0.15


def test_a_replaced_picture_leaves_nothing_behind(work: DiscoveryRun, demo: ns.VLM, pictures):
    """The same name with other bytes is another picture: nothing of the old one is counted."""
    changed = (dataclasses.replace(pictures[0], digest="0" * 16), *pictures[1:])
    before = {noun for noun, rows in nouns_of(work.run, pictures).items()}
    after = nouns_of(work.run, changed)
    assert not any(row["image"] == pictures[0].name for rows in after.values() for row in rows)
    assert set(after) <= before
    assert DiscoveryRun(demo, changed, PLAN, work.run).left() == 3


def draws_only(monkeypatch: pytest.MonkeyPatch, *kept: str) -> None:
    """Leave out what draws other figures, which take most of the time of what is written."""
    for name in {"plot_layer_sizes", "plot_groups", "plot_sizes", "plot_matrix"} - {*kept}:
        monkeypatch.setattr(f"neuronscope.studies.discover.tables.{name}", lambda *_: ())


def test_what_is_written(work: DiscoveryRun, found: DiscoveryFigures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    document = render_discoveries(work, found, tmp_path)
    assert json.loads((tmp_path / "discovery.json").read_text(encoding="utf-8")) == document
    text = (tmp_path / "discovery.md").read_text(encoding="utf-8")
    assert all(f"## {title}" in text for title in ("Nouns", "Layers", "Region invariance", "Specificity"))
    assert f"{document['specificity']['concepts']['share']['found']['value']:.3f}" in text
    for written in document["figures"].values():
        assert all((tmp_path / path).stat().st_size > 1000 for path in written)
    for noun, path in document["neurons"].items():
        neurons = ns.Neurons.load(tmp_path / path)
        assert (neurons.concept, neurons.method) == (noun, "pan-discovery")
        assert len(neurons) == 20
    assert not any(str(tmp_path) in value or "/tmp" in value for value in (text, json.dumps(document)))
    draws_only(monkeypatch, "plot_sizes")  # of the region invariance
    nothing = dataclasses.replace(found, region={}, cross=None, absent={**found.absent, "region": "r", "cross": "c"})
    assert "region-invariance" not in render_discoveries(work, nothing, tmp_path)["figures"]
    assert not (tmp_path / "figures" / "region-invariance.png").exists()


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written without the figures, which take most of its time."""
    monkeypatch.setattr("neuronscope.studies.discover.tables._draw", lambda *_: {})


@pytest.mark.usefixtures("no_figures")
def test_nouns_that_are_gone_leave_no_file(work: DiscoveryRun, found: DiscoveryFigures, tmp_path: Path):
    odd = dict.fromkeys(("café", "a/b", "New York", "..", "ünïcode 50%"), found.nouns["bear"])
    document = render_discoveries(work, dataclasses.replace(found, nouns={**found.nouns, **odd}), tmp_path)
    folder = tmp_path / "neurons"
    assert len(list(folder.iterdir())) == len(found.nouns) + len(odd) == len(document["neurons"])
    (folder / "mine.json").write_text("{}", encoding="utf-8")
    ns.Neurons.load(tmp_path / document["neurons"]["café"]).save(folder / "kept by hand.json")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    fewer = dict(list(found.nouns.items())[:1])
    again = render_discoveries(work, dataclasses.replace(found, nouns=fewer), tmp_path)
    kept = {path.partition("/")[2] for path in again["neurons"].values()}
    assert {path.name for path in folder.iterdir()} == {*kept, "mine.json", "kept by hand.json", "notes.txt"}


def test_similarity_is_kept_with_what_made_it(work: DiscoveryRun, demo: ns.VLM, pictures, tmp_path: Path, monkeypatch):
    draws_only(monkeypatch, "plot_groups")  # and of those the sensitivity
    monkeypatch.setattr(
        "neuronscope.studies.discover.tables.plot_groups",
        lambda *given: plot_groups(*given) if given[-1].name == "sensitivity" else (),
    )
    plan = dataclasses.replace(PLAN, metrics={"bleu-1": {}})
    again = DiscoveryRun(demo, pictures, plan, open_discovery(work.run.folder, demo, plan))
    again.work()
    rows = again.run.table("similarity").to_pylist()
    texts = {(r["image"], r["noun"], r["of"]): r["text"] for r in again.run.table("texts").to_pylist()}
    captions = {row["image"]: row["text"] for row in again.run.table("captions").to_pylist()}
    metric = plan.metric("bleu-1")
    assert sum(row["value"] > 0 for row in rows[:6]) > 2
    for row in rows[:6]:
        text = texts[row["image"], row["noun"], row["of"]]
        assert row["value"] == pytest.approx(metric.score([text], [captions[row["image"]]])[0])
    found = collect_discoveries(again)
    similar = found.similar["bleu-1"]
    by_image = [np.mean([r["value"] for r in rows if r["image"] == p.name and r["of"] == "found"]) for p in pictures]
    assert similar.value.found.value == pytest.approx(np.mean(by_image))
    assert similar.provenance["metric"] == "bleu-1"
    document = render_discoveries(again, found, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(texts)
    assert {(one["image"], one["noun"], one["of"]): one["text"] for one in lines} == texts
    values = {(row["image"], row["noun"], row["of"]): row["value"] for row in rows}
    assert {(one["image"], one["noun"], one["of"]): one["bleu-1"] for one in lines} == values
    assert len(lines[0]["neurons"]) == 10
    assert "sensitivity" in document["figures"]


class Measuring:
    """A metric whose number is told by a file of its model's folder: that of another model is another number."""

    def __init__(self, model: str, layer: int | None = None, device: str | None = None) -> None:
        self.model, self.name, self.against = model, "bertscore", "caption"
        self._value = len((Path(model) / "model.safetensors").read_bytes()) + (layer or 0)

    def score(self, hypotheses, references):
        return np.full(len(hypotheses), float(self._value))

    def provenance(self):
        return {"metric": self.name, "model": self._value}


def folder_of(place: Path, **files: str) -> Path:
    place.mkdir(exist_ok=True)
    for name, text in {"config.json": "{}", "model.safetensors": "A", "vocab.txt": "a", **files}.items():
        (place / name).write_text(text)
    return place


MODELS = {
    "another folder": lambda at: {"model": str(folder_of(at.with_name("b"), **{"model.safetensors": "AB"}))},
    "other weights there": lambda at: {"model": str(folder_of(at, **{"model.safetensors": "ABC"}))},
    "another layer": lambda at: {"model": str(at), "layer": 4},
    "the first again": lambda at: {"model": str(folder_of(at))},
    "other words": lambda at: {"model": str(folder_of(at, **{"vocab.txt": "b", "model.safetensors": "ABCDEF"}))},
}


@pytest.mark.usefixtures("no_figures")
def test_another_model_of_a_metric_is_never_answered_with_the_first_ones_numbers(
    work: DiscoveryRun, demo: ns.VLM, pictures, tmp_path: Path, monkeypatch
):
    monkeypatch.setitem(METRICS, "bertscore", Measuring)
    at = folder_of(tmp_path / "a")
    seen: list[float] = []
    for make in (lambda at: {"model": str(at)}, *MODELS.values()):
        options = make(at)
        plan = dataclasses.replace(PLAN, metrics={"bertscore": options})
        again = DiscoveryRun(demo, pictures[:2], plan, open_discovery(work.run.folder, demo, plan))
        again.work()
        expected = Measuring(**options)._value
        numbers = collect_discoveries(again)
        assert numbers.similar["bertscore"].value.found.value == expected
        render_discoveries(again, numbers, tmp_path / "out")
        lines = (tmp_path / "out" / "texts.jsonl").read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["bertscore"] for line in lines} == {expected}
        seen.append(expected)
    assert len(set(seen)) == len(seen) - 1


def test_images_without_nouns_are_counted_and_say_what_is_absent(demo: ns.VLM, pictures, tmp_path: Path):
    plan = DiscoveryPlan(
        discovery=Discovery(top=20, nouns="lexicon", decoding=ns.Decoding(max_new_tokens=1)), shuffles=0
    )
    work = DiscoveryRun(demo, pictures[:2], plan, open_discovery(tmp_path, demo, plan))
    work.work()
    found = collect_discoveries(work)
    assert (found.images, dict(found.nouns), len(found.captioned)) == (2, {}, 2)
    assert set(found.absent) == {"region", "cross", "in_image", "among", "similar", "named"}
    text = render_discoveries(work, found, tmp_path) and (tmp_path / "discovery.md").read_text(encoding="utf-8")
    assert "no permutation was asked for" in str(text)


def test_means_over_images_count_the_absent_as_nothing():
    one = {"layers": [0, 1], "units": [5, 6], "contributions": [4.0, 1.0]}
    two = {"layers": [1, 2], "units": [6, 7], "contributions": [5.0, 1.0]}
    found = together([one, two], 2)
    assert found.members == (Neuron(1, 6), Neuron(0, 5))
    assert found.scores["contribution"] == (3.0, 2.0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ks": (1, 21)}, r"k=21 must be 1 to 20, the number of neurons that are kept \(top\)"),
        ({"group_k": 30}, "k=30 must be 1 to 20"),
        ({"group": 1}, "group=1 must be at least 2"),
        ({"shuffles": -1}, "shuffles=-1 must be at least 0"),
        ({"draws": 0}, "draws=0 must be at least 1"),
        ({"described": (-1, 10)}, r"described=\(-1, 10\)"),
        ({"described": (21, 10)}, "the first at most 20"),
        ({"metrics": {"meteor": {}}}, "metric='meteor' is not known"),
        ({"metrics": {"clipscore": {}}}, "needs model="),
    ],
)
def test_bad_plans(options, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        DiscoveryPlan(discovery=Discovery(top=20), **options)


def test_columns_of_parts_begin_with_the_picture(work: DiscoveryRun):
    run = Run.existing(work.run.folder, schemas=SCHEMAS)
    for kind in ("captions", "nouns", "texts", "matrices", "shuffled", "specificity"):
        assert {"image", "sha256"} <= set(run.table(kind).column_names)


def test_neurons_that_are_best_for_most_nouns_are_marked():
    """L0.U5 is the best for three of four nouns: it says "a noun"; L1.U6 is the best for one."""

    def row(*values: float) -> list[dict]:
        return [{"layers": [0, 1], "units": [5, 6], "contributions": list(values)}]

    nouns = {"dog": row(4.0, 1.0), "cat": row(3.0, 2.0), "bus": row(2.0, 1.0), "car": row(1.0, 2.0)}
    assert best_for(nouns) == {Neuron(0, 5): 3, Neuron(1, 6): 1}
    assert [generic(count, 4) for count in (1, 2, 3, 4)] == [False, False, True, True]
    assert not generic(2, 2)
    document = {
        "nouns": {noun: ["a.png"] for noun in nouns},
        "best": {noun: _best(rows) for noun, rows in nouns.items()},
        "best_for": {str(neuron): count for neuron, count in best_for(nouns).items()},
        "unit": UNITS["scale"],
    }
    table, unit, note = nouns_table(document)
    assert "nouns it is best for, of 4" in str(table)
    assert str(table).count("3 (any noun)") == 3
    assert "in logits" in str(unit)
    assert "L0.U5" in str(note)


@pytest.mark.usefixtures("no_figures")
def test_contributions_carry_their_unit(work: DiscoveryRun, found: DiscoveryFigures, tmp_path):
    document = render_discoveries(work, found, tmp_path)
    assert document["unit"] == UNITS["scale"] == "logits"
    assert sum(document["best_for"].values()) == len(document["nouns"])
    assert "mean contribution over images, in logits" in (tmp_path / "discovery.md").read_text()
    for noun, path in document["neurons"].items():
        kept = ns.Neurons.load(tmp_path / path)
        assert kept.provenance["unit"] == "logits"
        best = document["best_for"][str(kept[0])]
        assert kept.provenance["nouns the best is best for"] == f"{best} of {len(document['nouns'])}", noun
    assert "no logits" in UNITS[Discovery.as_published().norm]
