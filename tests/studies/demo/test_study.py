"""The main job on the bundled model."""

import html
import json
import re
from dataclasses import replace

import pytest

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.errors import InvalidOption, InvalidSample, RunMismatch
from neuronscope.intervene import Noise
from neuronscope.studies.demo.page import save, write_page
from neuronscope.studies.demo.scenes import HELD_OUT, bystanders, scene_stream, scenes_of
from neuronscope.studies.demo.study import steps_of, study


@pytest.fixture(scope="module")
def others():
    return bystanders("bear")


@pytest.fixture(scope="module")
def banana(others):
    """Of the bystanders, each of which is captioned eight times for a set, one whose caption is short."""
    return [item for item in others if item.concept == "banana"]


def test_showcase_scenes_are_held_out_and_show_what_they_should(others):
    scenes = [next(scene_stream("bear", seed)) for seed in range(5)]
    assert all(s.seed >= HELD_OUT and "bear" in s.concepts for s in scenes)
    assert len(others) == 29
    assert all("bear" not in item.shown and item.concept in item.shown for item in others)


def test_recommended_level_is_twice_the_median():
    neurons = ns.Neurons((ns.Neuron(0, 1), ns.Neuron(0, 2), ns.Neuron(0, 3)), {"activation": (3.0, 1.0, 8.0)})
    assert ns.recommended_level(neurons) == 6.0
    for without in (neurons[:0], ns.Neurons.of([(0, 1)])):
        with pytest.raises(InvalidOption, match=r"the \d neurons located by .* have no activation differences"):
            ns.recommended_level(without)


@pytest.fixture(scope="module")
def result(demo, banana):
    told = []
    # with thresholds at hand sets take less time; the verb below takes the default
    quick = ns.TwoStage(activation=ns.locate.Fixed(2.0), gradient=ns.locate.Fixed(0.2))
    found = study(demo, scenes_of("bear", 2), banana, method=quick, draws=2, step=told.append)
    assert len(told) == steps_of(2)
    return found


def test_the_study_measures_located_neurons_beside_a_control(result):
    for finding in result.findings:
        assert set(finding.effects) == {"noise", "zero", "random noise", "random zero"}
        assert finding.truth.precision > 0.5
        assert finding.located.validity.match.surface == "bear"
    assert result.mean("zero", "j") > result.mean("random zero", "j") + 0.5


def test_the_document_is_json_with_every_field(result):
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    wanted = (
        "concept caption_before caption_after caption_control n_neurons neurons S_se S_re J J_random precision recall"
    )
    assert set(wanted.split()) <= set(document)
    assert document["n_neurons"] == len(document["neurons"]) > 0
    assert {"layer", "unit", "scores", "tokens", "strengths"} == set(document["neurons"][0])
    assert document["words"]["neurons"][0]["random"]


def test_captions_under_noise_are_those_of_the_evidence(result, demo):
    """Told by the plain path once more: the same noise gives the same captions."""
    first = result.findings[0]
    noise = Noise(first.located.neurons, level=first.evidence.level, draws=2, seed=0)
    (captions,) = demo.captions([first.evidence.original], noise)
    assert [f"{first.evidence.prompt} {text}" for text in first.evidence.texts("noise")] == captions
    assert result.to_dict()["caption_after"] == captions[0]


def test_the_page_needs_nothing_else(result, tmp_path):
    save(result, tmp_path)
    page = write_page(tmp_path, tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<script") == 1
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())
    for finding in result.findings:
        assert finding.located.validity.original.full in text
        for condition in ("noise", "random noise"):
            captions = finding.evidence.texts(condition)
            assert len(captions) == 2
            assert all(f"{finding.evidence.prompt} {caption}" in text for caption in captions)
        for neuron in finding.located.neurons:
            assert f"show {neuron} large" in page


def test_a_study_of_fewer_pictures_leaves_none_of_the_earlier_ones(result, tmp_path):
    save(result, tmp_path)
    (tmp_path / "image-2" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "image-x").mkdir()
    save(replace(result, findings=result.findings[:1]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", "image-1", "image-2", "image-x"}
    assert [path.name for path in (tmp_path / "image-2").iterdir()] == ["notes.txt"]
    (tmp_path / "image-2" / "notes.txt").unlink()
    save(replace(result, findings=result.findings[:1]), tmp_path)
    assert not (tmp_path / "image-2").exists()


def test_refused_samples_are_recorded_and_all_refused_is_an_error(demo, banana):
    good = scenes_of("bear", 1)[0]
    wrong = ns.Sample(image=good.image, concept="bear", boxes=[(1, 1, 9, 9)], image_id="kept in the picture")
    none = ns.TwoStage(activation=ns.locate.Fixed(1000.0), gradient=ns.locate.Fixed(0.05))  # there is nothing to test
    found = study(demo, [wrong, good], banana, method=none, draws=1)
    assert len(found.findings) == 1
    assert [name for name, _ in found.refused] == ["kept in the picture"]
    assert "ConceptStillNamed" in found.refused[0][1]
    with pytest.raises(InvalidSample, match="ConceptStillNamed"):
        study(demo, [wrong], banana)


def test_demo_prints_one_document_and_writes_the_page(banana, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("neuronscope.studies.demo.scenes.bystanders", lambda _concept, _seed: banana)
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--images", "1", "--concept", "horse", "--out", str(tmp_path), "--json"])
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["concept"] == "horse"
    assert {"seconds", "page", "J_random"} <= set(document)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for folder, kind in ((tmp_path, "study"), (tmp_path / "image-1", "located")):
        with pytest.raises(SystemExit) as stop:
            main(["report", str(folder), "--out", str(tmp_path / f"{kind}.html"), "--json"])
        assert not stop.value.code
        assert json.loads(capsys.readouterr().out)["kind"] == kind
    assert (tmp_path / "study.html").read_text(encoding="utf-8") == page
    damaged = json.dumps({"schema": "neuronscope.study/1", "images": 1})
    for content, message in (("{", "cannot be read"), ("{}", "not of schema"), (damaged, "is damaged")):
        (tmp_path / "study.json").write_text(content)
        with pytest.raises(RunMismatch, match=message):
            write_page(tmp_path, tmp_path / "again.html")


def test_locate_writes_all_files(tmp_path, capsys, demo):
    sample = scenes_of("bear", 1)[0]
    picture = tmp_path / "scene.png"
    sample.load().save(picture)
    box = ",".join(str(v) for v in sample.boxes[0])
    quick = ("--budget", "20", "--no-test")
    with pytest.raises(SystemExit) as stop:
        main(["locate", str(picture), "bear", "--box", box, *quick, "--out", str(tmp_path / "out"), "--json"])
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        *("neurons.json", "edited.png", "heatmap.png", "overlay.png", "layers.png", "summary.txt", "evidence")
    }
    saved = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    assert len(saved) == len(document["neurons"]) > 0
    assert saved.model["fingerprint"] == demo.fingerprint
