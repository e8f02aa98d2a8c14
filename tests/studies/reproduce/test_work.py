"""A small reproduction on the bundled model: numbers against a plain recomputation, and what a restart does."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption, generate_captions
from neuronscope.errors import InvalidSample, NotFinite, RunMismatch
from neuronscope.evaluate import average_precision, named, planted
from neuronscope.intervene import mean_activations
from neuronscope.locate import registry
from neuronscope.locate.scores import Layout
from neuronscope.run.directory import Run
from neuronscope.samples.lexicon import MODES, Lexicon
from neuronscope.studies.reproduce import opening
from neuronscope.studies.reproduce.collect import collect
from neuronscope.studies.reproduce.conditions import Limits, TooFewSamples
from neuronscope.studies.reproduce.dataset import require_candidates
from neuronscope.studies.reproduce.engine import prepare
from neuronscope.studies.reproduce.opening import open_run
from neuronscope.studies.reproduce.page import run_page, write_run
from neuronscope.studies.reproduce.record import named_in
from neuronscope.studies.reproduce.settings import Experiment
from neuronscope.studies.reproduce.tables import render
from neuronscope.studies.reproduce.work import Reproduction

#: With thresholds at hand a set takes a ninth of the time of one whose cut is searched for.
FILTERS = "two-stage:activation=1,gradient=0.05"
PLAN = Experiment(
    ("bear", "bus"),
    images=1,
    methods=(FILTERS, "pan", "random-layer-matched"),
    levels=(2.0,),
    draws=2,
    metrics={"bleu-1": {}},
    random_sets=20,
    limits=Limits(min_side=16),
)


@pytest.fixture(scope="module")
def finished(demo: ns.VLM, few_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    work = begin(demo, few_scenes, tmp_path_factory.mktemp("run"))
    work.work()
    return work


@pytest.fixture(scope="module", autouse=True)
def captioned_once() -> Iterator[None]:
    """Most runs here begin with the same pictures: what a model says of one, for a data set, is written once."""
    known: dict[Any, list[Caption]] = {}

    def captions(vlm: ns.VLM, images: Any, *, decoding: ns.Decoding, **more: Any) -> list[list[Caption]]:
        keys = [(id(vlm.model), image.size, image.tobytes(), repr(decoding)) for image in images]
        lacking = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
        if lacking:
            rows = generate_captions(vlm, [*lacking.values()], decoding=decoding, **more)
            known.update(zip(lacking, rows, strict=True))
        return [known[key] for key in keys]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronscope.locate.validity.generate_captions", captions)
        yield


def begin(vlm: ns.VLM, data: Path, out: Path, plan: Experiment = PLAN, **more: Any) -> Reproduction:
    source = ns.CocoFolder.open(data)
    return Reproduction(vlm, source, plan, open_run(out, vlm, source.identity(), plan), **more)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables without figures, which take a second each time."""
    monkeypatch.setattr("neuronscope.studies.reproduce.tables._draw", lambda *_: {})


def test_every_unit_is_there(finished: Reproduction):
    rows = {kind: len(finished.run.table(kind)) for kind in finished.run.kinds()}
    groups, images = 2, 2
    assert rows["located"] == 3 * groups
    assert rows["captions"] == 3 * groups * images * (2 + 1 + 1 + 1)  # draws of the noise, and of each ablation one
    assert rows["random"] == groups * 21
    assert rows["similarity"] == 3 * groups * 4


@pytest.fixture(scope="module")
def neurons(demo: ns.VLM, finished: Reproduction) -> ns.Neurons:
    """What the method finds in the second sample without a run."""
    filters = ns.TwoStage(activation=ns.locate.Fixed(1.0), gradient=ns.locate.Fixed(0.05))
    return filters.locate(demo, finished.samples[1].pair).neurons


@pytest.mark.parametrize("name", ["noise 2", "zero", "mean", "patch"])
def test_captions_are_those_of_a_plain_loop(demo: ns.VLM, finished: Reproduction, neurons: ns.Neurons, name: str):
    kept = finished.samples[1]
    condition = next(c for c in PLAN.conditions if c.name == name)
    assert finished.neurons(FILTERS, kept) == neurons
    images = [sample.pair.original for sample in finished.samples]
    if name == "zero":
        change: Any = ns.Zero(neurons)
    elif name == "mean":
        change = ns.Mean.over(demo, neurons, images)
    elif name == "patch":
        change = ns.Patch.take(demo, neurons, kept.pair.edited)
    else:
        change = ns.Noise(neurons, level=2 * float(np.median(neurons.scores["activation"])), draws=2)
    made = finished.change(neurons, kept, condition)
    for number in ("means", "level"):  # which a short caption may not tell apart
        assert getattr(made, number, None) == pytest.approx(getattr(change, number, None))
    expected = [[caption.text for caption in row] for row in generate_captions(demo, images, change)]
    rows = finished.captions(FILTERS, kept, condition)
    texts = [[row["caption"] for row in rows if row["of"] == sample.image_id] for sample in finished.samples]
    assert texts == expected
    assert all(row["hit"] == named(row["caption"], row["names"]) for row in rows)


def test_each_part_of_captions_is_read_once_however_many_ways_there_are_to_match_a_name(
    finished: Reproduction, monkeypatch: pytest.MonkeyPatch
):
    real, read = Run.read, Counter[str]()

    def counted(self: Run, kind: str, key: Any) -> Any:
        read.update([kind])
        return real(self, kind, key)

    monkeypatch.setattr(Run, "read", counted)
    found = collect(finished)
    assert set(found.matching) == set(MODES)
    assert read["captions"] == len(found.hits) * len(finished.samples)


def test_rankings_are_as_large_as_the_reference(finished: Reproduction):
    for kept in finished.samples:
        sizes = {len(finished.neurons(text, kept)) for text in PLAN.methods}
        assert sizes == {len(finished.neurons(FILTERS, kept))}


def test_truth_is_recorded(demo: ns.VLM, finished: Reproduction):
    found = finished.run.table("located").to_pylist()
    ours = [row for row in found if row["method"] == FILTERS]
    assert min(row["average_precision"] for row in ours) > 0.9
    assert {"precision", "recall"} <= ours[0].keys()
    layout, truth = Layout(demo.widths), planted(demo)["bear"]
    perfect = np.zeros(layout.total)
    perfect[[layout.starts[n.layer] + n.unit for n in truth]] = 1
    assert average_precision(perfect, layout, truth) == 1
    first = np.arange(layout.total, 0, -1.0)  # ranks 1, 2, ... along the axis
    ranks = sorted(layout.starts[n.layer] + n.unit + 1 for n in truth)
    expected = np.mean([(i + 1) / rank for i, rank in enumerate(ranks)])
    assert average_precision(first, layout, truth) == pytest.approx(expected)


def test_mean_activations_are_means_over_all_image_tokens(demo: ns.VLM, finished: Reproduction):
    images = [sample.pair.original for sample in finished.samples]
    neurons = ns.Neurons.of([(3, 7), (5, 1)])
    table = mean_activations(demo, images)
    expected = ns.Mean.over(demo, neurons, images).means
    assert (table[3][7], table[5][1]) == pytest.approx(expected)


def test_a_restart_computes_nothing_and_a_lost_part_only_itself(
    demo: ns.VLM, few_scenes: Path, finished: Reproduction, tmp_path: Path
):
    out = tmp_path / "run"
    shutil.copytree(finished.run.folder, out)
    steps: list[str] = []
    again = begin(demo, few_scenes, out, step=steps.append)
    again.work()
    assert steps == []
    assert again.cost().captions == 0
    kept = again.samples[1]
    key = {"method": "pan", "concept": kept.concept, "image": kept.image_id, "condition": "zero"}
    part = again.run.part("captions", key)
    before = again.run.read("captions", key)
    part.write_bytes(part.read_bytes()[:-100])
    begin(demo, few_scenes, out, step=steps.append).work()
    assert steps == [f"captions pan {kept.concept} {kept.image_id} zero"]
    assert again.run.read("captions", key).equals(before)


def test_another_setting_or_model_is_refused_by_name(
    demo: ns.VLM, vlm: ns.VLM, few_scenes: Path, finished: Reproduction
):
    source = ns.CocoFolder.open(few_scenes).identity()
    with pytest.raises(RunMismatch, match=r"draws.*2.*3|draws.*3.*2"):
        open_run(finished.run.folder, demo, source, replace(PLAN, draws=3))
    with pytest.raises(RunMismatch, match=r"model\.fingerprint"):
        open_run(finished.run.folder, vlm, source, PLAN)
    with pytest.raises(RunMismatch, match=r"data\.sha256"):
        open_run(finished.run.folder, demo, {**source, "sha256": "0"}, PLAN)


@pytest.mark.parametrize(
    ("setting", "change"),
    [
        ("lexicon", lambda patch: patch.setattr(Lexicon, "default", lambda: replace(_LEXICON, version="another"))),
        ("truth", lambda patch: patch.setattr(opening, "planted", lambda _: {"bear": ns.Neurons.of([(0, 1)])})),
        ("scorers", lambda patch: patch.setattr(opening, "scorer", lambda *_, **__: {"files": "another"})),
        ("model.image_processor", lambda patch: patch.setattr(ns.VLM, "record", _other("image_processor"))),
        ("model.template", lambda patch: patch.setattr(ns.VLM, "record", _other("template"))),
    ],
)
def test_what_else_decides_results_is_compared(demo: ns.VLM, few_scenes: Path, finished, setting, change, monkeypatch):
    source = ns.CocoFolder.open(few_scenes).identity()
    change(monkeypatch)
    with pytest.raises(RunMismatch, match=setting.replace(".", r"\.")):
        open_run(finished.run.folder, demo, source, PLAN)


_LEXICON, _RECORD = Lexicon.default(), ns.VLM.record


def _other(name: str):
    return lambda vlm: {**_RECORD(vlm), name: "another"}


def test_a_picture_that_changed_is_refused(demo: ns.VLM, few_scenes: Path, finished: Reproduction):
    path = Path(str(finished.samples[0].pair.sample.image))
    content = path.read_bytes()
    try:
        Image.new("RGB", finished.samples[0].pair.original.size, "red").save(path)
        with pytest.raises(RunMismatch, match=r"is not as it was when the run began: .*image_sha256"):
            _ = begin(demo, few_scenes, finished.run.folder).samples
    finally:
        path.write_bytes(content)


def test_data_that_was_moved_is_the_same_data(demo: ns.VLM, few_scenes: Path, finished: Reproduction, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(few_scenes, moved)
    samples = begin(demo, moved, finished.run.folder).samples
    assert [kept.image_id for kept in samples] == [kept.image_id for kept in finished.samples]
    assert all(str(moved) in str(kept.pair.sample.image) for kept in samples)


def test_a_caption_that_does_not_name_its_concept_stops_the_run(
    demo: ns.VLM, few_scenes: Path, finished: Reproduction, monkeypatch: pytest.MonkeyPatch
):
    work = begin(demo, few_scenes, finished.run.folder)
    name = work.samples[1].image_id
    monkeypatch.setattr("neuronscope.studies.reproduce.work.named", lambda text, concept, _mode: concept != "bus")
    with pytest.raises(InvalidSample, match=rf"without intervention 1 of 2 images do not name .*{name}"):
        _ = work.captioner


def test_too_few_samples_stop_the_run_with_the_reasons(demo: ns.VLM, few_scenes: Path, tmp_path: Path):
    plan = replace(PLAN, images=2, limits=Limits(min_side=500))
    with pytest.raises(InvalidSample, match=r"2 of 2 concepts have too few samples: bear lacks 2 .*ObjectTooSmall"):
        _ = begin(demo, few_scenes, tmp_path, plan).samples


def short_of_bus(few_scenes: Path, folder: Path) -> Path:
    """The scenes with one bus only."""
    shutil.copytree(few_scenes, folder)
    path = next((folder / "annotations").glob("instances_*.json"))
    document = json.loads(path.read_text(encoding="utf-8"))
    bus = next(c["id"] for c in document["categories"] if c["name"] == "bus")
    seen = [a["image_id"] for a in document["annotations"] if a["category_id"] == bus]
    document["annotations"] = [
        a for a in document["annotations"] if a["category_id"] != bus or a["image_id"] == seen[0]
    ]
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def one_bus(few_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_of_bus(few_scenes, tmp_path_factory.mktemp("few") / "scenes")


SHORT = replace(
    PLAN,
    images=2,
    methods=(FILTERS,),
    draws=1,
    metrics={},
    random_sets=0,
    ablations=(),
)


@pytest.mark.usefixtures("no_figures")
def test_a_concept_short_of_samples_leaves_a_run_that_can_be_read_and_gone_on_with(
    demo: ns.VLM, one_bus: Path, tmp_path: Path
):
    plan = SHORT
    refused = begin(demo, one_bus, tmp_path, plan)
    with pytest.raises(TooFewSamples, match=r"1 of 2 concepts .*: bus lacks [12] .*--allow-missing goes on with what"):
        prepare(refused)
    page = run_page(tmp_path, one_bus)
    assert "bus lacks" in str(page.sections[:2])  # right after the verdict
    assert (tmp_path / "tables.md").read_text(encoding="utf-8").count("With fewer samples than asked for:") == 1

    work = begin(demo, one_bus, tmp_path, replace(plan, allow_missing=True))  # of the same run: nothing is made anew
    prepare(work)
    assert {kept.concept for kept in work.samples} == set(work.concepts) >= {"bear"}
    assert len(work.dataset.of("bear")) == 2
    work.work()
    found = collect(work)
    document = render(found, tmp_path)
    assert document["concepts"] == ["bear", "bus"]  # the bus with the one that it has
    assert list(document["missing"]) == ["bus"]
    assert {row["concept"] for row in document["table_2"]["concepts"]} == {"bear", "bus"}
    written = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "bus lacks 1" in written
    assert written.count("Fewer samples than asked for (--allow-missing): bus; see the top.") >= 5  # at every table
    assert write_run(run_page(tmp_path, one_bus), tmp_path / "page.html").is_file()
    row = work.run.read("dataset", {"part": "all"}).to_pylist()[0]
    assert named_in(row, plan.concepts) == [(kept.concept, kept.image_id) for kept in work.samples]


def test_without_two_concepts_there_is_nothing_to_go_on_with(demo: ns.VLM, one_bus: Path, tmp_path: Path):
    plan = replace(SHORT, allow_missing=True, limits=Limits(min_side=10_000))
    with pytest.raises(TooFewSamples, match="2 of 2 concepts have too few samples: bear lacks 2"):
        _ = begin(demo, one_bus, tmp_path, plan).samples


def test_a_concept_in_too_few_images_is_told_without_a_model(one_bus: Path):
    source = ns.CocoFolder.open(one_bus)
    require_candidates(source, ("bear", "airplane"), 2)
    with pytest.raises(
        TooFewSamples, match=r"1 of 2 concepts are in fewer than 2 images: bus is in 1\. --allow-missing"
    ):
        require_candidates(source, ("bear", "bus"), 2)


@pytest.mark.usefixtures("no_figures")
def test_a_page_shows_the_edited_picture_of_a_mask(demo: ns.VLM, few_scenes: Path, finished: Reproduction):
    render(collect(finished), finished.run.folder)
    assert {kept.pair.options["region"] for kept in finished.samples} == {"mask"}
    assert all(shot.edited for shot in run_page(finished.run.folder, few_scenes).gallery.shots)


def test_a_data_set_that_was_stopped_is_gone_on_with_from_its_last_image(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every candidate that was captioned is on record; a new start captions the others only."""
    asked: list[int] = []

    def counted(vlm: ns.VLM, images: Any, *rest: Any, **more: Any) -> Any:
        asked.append(len(images))
        return generate_captions(vlm, images, *rest, **more)

    monkeypatch.setattr("neuronscope.locate.validity.generate_captions", counted)
    whole = begin(demo, few_scenes, tmp_path / "whole", SHORT).found
    asked_at_once = sum(asked)
    asked.clear()
    stopped = begin(demo, few_scenes, tmp_path / "run", SHORT)
    keep, seen = stopped._keep, 0

    def stop(found: Any) -> None:
        nonlocal seen
        seen += 1
        keep(found)
        if seen == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(stopped, "_keep", stop)
    with pytest.raises(KeyboardInterrupt):
        _ = stopped.found
    assert len(stopped.run.table("candidate")) == 3
    before = sum(asked)
    assert max(asked) > 2  # several candidates at a time
    asked.clear()
    again = begin(demo, few_scenes, tmp_path / "run", SHORT)
    assert again.found.to_dict() == whole.to_dict()
    asked_again = sum(asked)
    assert asked_again <= asked_at_once - 2 * 3 < asked_at_once <= before + asked_again


def refusal(work: Reproduction, method: str) -> str:
    row = next(r for r in work.run.table("located").to_pylist() if r["method"] == method)
    assert (row["neurons"], row["count"], row["notes"]) == (None, None, [f"refused: {row['refused']}"])
    return row["refused"]


def test_a_method_that_refuses_a_sample_has_no_set_there(demo: ns.VLM, few_scenes: Path, tmp_path: Path):
    plan = replace(PLAN, methods=("two-stage:activation=-100,gradient=-100", "random-layer-matched"), metrics={})
    work = begin(demo, few_scenes, tmp_path, plan)
    assert work.neurons("random-layer-matched", work.samples[0]) is None
    assert refusal(work, "random-layer-matched").startswith("InvalidOption: layer 0 has only 0 neurons outside the set")


@pytest.mark.usefixtures("no_figures")
def test_those_that_take_the_size_of_a_refused_set_refuse_too(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An object that leaves no room for a control: no method has anything to be compared with."""
    monkeypatch.setattr("neuronscope.locate.decoys.controls_of", lambda *_: [])
    filters = "two-stage:activation=decoy-0.1"
    plan = replace(PLAN, methods=(filters, "pan", "pan:count=3"), draws=1, ablations=("zero",), metrics={})
    work = begin(demo, few_scenes, tmp_path, plan)
    kept = work.samples[0]
    assert work.neurons("pan", kept) is None
    assert "target-decoy thresholds need at least one control, and none could" in refusal(work, filters)
    assert refusal(work, "pan").startswith(f"{filters}, whose size it takes, refused: InvalidSample: target-decoy")
    own = work.neurons("pan:count=3", kept)
    assert own is not None
    assert len(own) == 3
    work.work()  # noise levels count by the refused sets, and have no unit
    document = render(collect(work), tmp_path)
    assert document["sizes"][filters]["refused"] == len(work.samples)
    assert document["sizes"]["pan:count=3"]["refused"] == 0
    assert document["unpaired"] == 0  # what refuses everywhere leaves the others as they are
    assert {row["method"] for row in document["table_2"]["means"]} == {"pan:count=3"}


@dataclass(frozen=True, kw_only=True)
class Picky(ns.Pan):
    """Pan's score, but not of every picture."""

    name: str = "picky"

    def score(self, vlm: ns.VLM, pair: ns.Counterfactual, validity: Any) -> Any:
        if pair.sample.image_id == PICKED[0]:
            raise InvalidSample("not this one")
        return super().score(vlm, pair, validity)


PICKED = [""]


@pytest.mark.usefixtures("no_figures")
def test_a_sample_that_one_method_refuses_is_in_no_comparison(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(registry._TABLE, "picky", Picky)
    plan = replace(
        PLAN, images=2, methods=(FILTERS, "picky"), levels=(), ablations=("zero",), random_sets=0, metrics={}
    )
    work = begin(demo, few_scenes, tmp_path, plan)
    PICKED[0] = work.samples[1].image_id
    work.work()
    found = collect(work)
    assert {name: len(reasons) for name, reasons in found.refusals.items()} == {FILTERS: 0, "picky": 1}
    assert found.unpaired == 1
    first = work.samples[1].concept
    for trials in found.hits.values():
        groups = {one.concept: one.sources for one in trials}
        assert PICKED[0] not in groups[first]
        assert all(len(one.images) == len(work.samples) for one in trials)  # they are captioned as before
    assert {name: len(sizes) for name, sizes in found.sizes.items()} == {
        FILTERS: len(work.samples),
        "picky": len(work.samples) - 1,
    }
    text = (render(found, tmp_path) and tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "1 samples are in no comparison" in text
    assert "InvalidSample: not this one" in text


@pytest.mark.usefixtures("no_figures")
def test_a_picture_that_stands_for_two_concepts_is_two_samples(demo: ns.VLM, few_scenes: Path, tmp_path: Path):
    """Each with its own word, object and captions; for neither concept does it count among the others."""
    whole = ns.CocoFolder.open(few_scenes)
    both = next(
        one
        for one in whole.samples("bear")
        if "stop sign" in {other.concept for other in one.others}
        and {"bear", "stop"} <= set(demo.caption(one.load()).replace(",", " ").split())
    )

    class Few:
        """One picture of a bear and a stop sign, and those of busses."""

        def concepts(self) -> tuple[str, ...]:
            return ("bear", "stop sign", "bus")

        def samples(self, concept: str, *, seed: int = 0) -> Any:
            own = (s for s in whole.samples(concept, seed=seed) if concept == "bus" or s.image_id == both.image_id)
            return (s for s in own if concept != "bus" or not {"bear", "stop sign"} & {o.concept for o in s.others})

    plan = replace(
        PLAN,
        concepts=("bear", "stop sign", "bus"),
        methods=(FILTERS,),
        levels=(),
        ablations=("zero",),
        random_sets=0,
        metrics={},
        distinct=False,
    )
    source = Few()
    work = Reproduction(demo, source, plan, open_run(tmp_path, demo, whole.identity(), plan))
    assert [kept.image_id == both.image_id for kept in work.samples] == [True, True, False]
    work.work()
    document = render(collect(work), tmp_path)
    rows = {(one["method"], one["concept"]): one for one in document["table_2"]["concepts"] if one["scope"] == "zero"}
    bear = rows[FILTERS, "bear"]
    assert (bear["own_trials"], bear["other_trials"]) == (1, 1)  # the bus alone
    sets = {kept.concept: work.neurons(FILTERS, kept) for kept in work.samples}
    assert sets["bear"] is not None
    assert sets["bear"] != sets["stop sign"]
    gallery = run_page(tmp_path).gallery
    assert [shot.concept for shot in gallery.shots] == ["bear", "stop sign", "bus"]
    again = Reproduction(demo, source, plan, open_run(tmp_path, demo, whole.identity(), plan))
    assert again.left() == 0
    assert [kept.concept for kept in again.samples] == ["bear", "stop sign", "bus"]
    apart = replace(plan, distinct=True)
    work = Reproduction(demo, source, apart, open_run(tmp_path / "apart", demo, whole.identity(), apart))
    with pytest.raises(TooFewSamples, match=r"stop sign lacks 1 \(1 AlreadyUsed\)"):
        _ = work.samples


@pytest.mark.usefixtures("no_figures")
def test_numbers_that_are_not_finite_stop_what_needs_them_only(
    demo: ns.VLM, few_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = replace(SHORT, images=1, metrics={"bleu-1": {}})
    work = begin(demo, few_scenes, tmp_path, plan)
    real, broken = work.rows, next(unit for unit in work.units() if unit.kind == "captions")

    def rows(unit: Any) -> list[dict[str, Any]]:
        if unit.name == broken.name:
            raise NotFinite("the logits hold NaN")
        return real(unit)

    monkeypatch.setattr(work, "rows", rows)
    (failure,) = work.work()
    assert failure.unit.name == broken.name
    assert failure.reason == "the logits hold NaN"
    needing = [unit for unit in work.units() if broken.name in unit.needs]
    assert failure.left_out == len(needing) > 0
    undone = {unit.name for unit in work.units() if not work.run.done(unit.kind, unit.key)}
    assert undone == {broken.name, *(unit.name for unit in needing)}
    assert render(collect(work), tmp_path)["unfinished"]
    monkeypatch.setattr(work, "rows", real)
    assert work.work() == ()
    assert work.left() == 0
