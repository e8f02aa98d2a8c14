"""`neuronscope locate` with every kind of method."""

import json
import shlex
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.cli import main
from neuronscope.errors import RunMismatch
from neuronscope.locate import validity
from neuronscope.report import Evidence
from neuronscope.studies.locate.settings import Locate
from neuronscope.studies.locate.study import locate_into


def captions(vlm, images, *_, **__):
    """A bear in the first picture, and none in the second."""
    texts = ["brown bear on grass", "grass"][: len(images)]
    ids = [tuple(vlm.tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    return [[Caption(text, f"The image shows a {text}", row)] for text, row in zip(texts, ids, strict=True)]


def words(folder, checkpoint):
    """The verb on a noisy picture in a folder; what it writes is in `out` there."""
    image = folder / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(image)
    return ["locate", image, "bear", "--box", "4,4,20,20", "--model", checkpoint, "--out", folder / "out"]


@pytest.fixture
def locate(cli, monkeypatch, checkpoint, tmp_path):
    """Runs the verb on a noisy picture that the tiny model calls a bear; returns (code, stdout, stderr)."""
    monkeypatch.setattr(validity, "generate_captions", captions)
    fixed = words(tmp_path, checkpoint)
    return lambda *arguments: cli(*fixed, *arguments)


@pytest.fixture(scope="module")
def older(checkpoint, tmp_path_factory):
    """What the verb wrote of five neurons drawn by chance; copied by tests that write over it."""
    folder = tmp_path_factory.mktemp("older")
    asked = [*map(str, words(folder, checkpoint)), "--method", "random", "--count", "5", "--no-test"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validity, "generate_captions", captions)
        with pytest.raises(SystemExit) as stop:
            main(asked)
    assert not stop.value.code
    return folder / "out"


@pytest.mark.usefixtures("undrawn", "unplaced")
@pytest.mark.parametrize("name", ["schwettmann", "pan-predict", "grad-x-activation", "activation", "random"])
def test_rankings(locate, tmp_path, name):
    code, out, _ = locate("--method", name, "--count", 5, "--no-test", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["method"] == name
    assert len(document["neurons"]) == 5
    saved = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    assert saved.options["count"] == 5
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("neurons.json", "edited.png", "heatmap.png", "overlay.png", "layers.png", "summary.txt", "evidence")
    }


def test_the_table_for_people(locate, tmp_path):
    code, out, _ = locate("--method", "activation-difference", "--count", 3, "--draws", 1, "--max-new-tokens", 4)
    assert code == 0
    assert "method    activation-difference" in out
    assert "difference" in out.split("neurons of 'bear'")[1]
    code, out, _ = locate("--method", "pan", "--count", 200)
    assert code == 1


@pytest.mark.usefixtures("undrawn", "unplaced")
@pytest.mark.parametrize("name", ["two-stage", "stage-1", "stage-2"])
def test_filters_take_a_budget(locate, name):
    code, out, _ = locate("--method", name, "--budget", 9, "--no-test", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["method"] == name
    assert 0 < len(document["neurons"]) <= 9
    assert set(document["provenance"]["thresholds"]) <= {"activation", "gradient"}


def test_the_papers_thresholds(locate):
    code, out, _ = locate("--preset", "paper", "--json")
    assert code == 0
    assert json.loads(out)["provenance"]["thresholds"]["activation"]["rule"] == "fixed(1)"


@pytest.mark.usefixtures("undrawn", "unplaced")
def test_layer_matched_takes_a_set(locate, tmp_path):
    like = tmp_path / "like.json"
    ns.Neurons.of([(0, 1), (2, 3), (2, 4)]).save(like)
    code, out, _ = locate("--method", "random-layer-matched", "--like", like, "--no-test", "--json")
    assert code == 0
    assert sorted(n["layer"] for n in json.loads(out)["neurons"]) == [0, 2, 2]


BAD = {
    "unknown method": (["--method", "pann"], "Did you mean 'pan'"),
    "count of a filter": (["--count", "5"], "--budget sets a number for each stage"),
    "negative count": (["--method", "pan", "--count", "-1"], "count=-1"),
    "count larger than the model": (["--method", "pan", "--count", "500"], "more than the 192 neurons"),
    "q of a ranking": (["--method", "pan", "--q", "0.2"], "--q sets the thresholds of two-stage filtering; pan"),
    "budget of a ranking": (["--method", "random", "--budget", "3"], "--budget sets the thresholds"),
    "preset of a ranking": (["--method", "pan", "--preset", "recommended"], "--preset sets the thresholds"),
    "two kinds of thresholds": (["--preset", "paper", "--budget", "3"], "leave out --budget"),
    "a cut and a number": (["--method", "pan", "--recover", "0.5", "--count", "3"], "leave out --count"),
    "a cut of a filter": (
        ["--method", "stage-1", "--recover", "0.5"],
        "--recover cuts rankings and both stages together",
    ),
    "a share that is none": (["--recover", "0"], "share=0"),
    "no site": (["--site", "gate"], "site='gate' is not known"),
    "a site of a preset": (["--site", "pre", "--preset", "paper"], "leave out --site"),
    "layer-matched to nothing": (["--method", "random-layer-matched"], "needs like="),
    "like of another method": (["--method", "pan", "--like", "{like}"], "'like' is not known"),
    "like that is no file": (["--method", "random-layer-matched", "--like", "nope.json"], "nope.json"),
    "budget of nothing": (["--method", "two-stage", "--budget", "0"], "at least one neuron"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_write_nothing(locate, tmp_path, name):
    arguments, message = BAD[name]
    ns.Neurons.of([(0, 1)]).save(tmp_path / "like.json")
    code, text, err = locate(*(a.format(like=tmp_path / "like.json") for a in arguments), "--json")
    assert code == 1
    assert message in err
    assert message in json.loads(text)["error"]["message"]
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.usefixtures("undrawn", "unplaced")
@pytest.mark.parametrize(
    "options",
    [
        ("--budget", "9", "--draws", "1", "--max-new-tokens", "4"),
        ("--q", "0.3", "--no-test"),
        ("--site", "act", "--q", "0.3", "--no-test"),
        ("--site", "act", "--method", "schwettmann", "--no-test"),
        ("--recover", "0.3", "--no-test"),
        ("--method", "pan", "--recover", "0.2", "--no-test"),
        ("--method", "pan", "--count", "7", "--edit", "mean_fill", "--no-test"),
        ("--method", "stage-2", "--budget", "5", "--no-test"),
        ("--mask", "mask.png", "--budget", "9", "--no-test"),
        *(("--budget", "9", "--no-test", "--dtype", dtype) for dtype in ("float32", "bfloat16", "8bit", "4bit")),
    ],
    ids=" ".join,
)
def test_both_recipes_give_the_same_neurons(locate, cli, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:30, 10:40] = 255
    Image.fromarray(mask).save("mask.png")
    code, _, err = locate(*options)
    assert code == 0, err
    first = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    kept = Evidence.load(tmp_path / "out")
    program, *words = shlex.split(kept.command)
    assert program == "neuronscope"
    assert [option for option in ("--draws", "--no-test") if option in words] == [
        "--no-test" if "--no-test" in options else "--draws"
    ]
    assert cli(*words, "--out", tmp_path / "shell")[0] == 0
    names = dict[str, Any]()
    exec(compile(kept.python, "again.py", "exec"), names)
    if "--dtype" in options:
        vlm, asked = names["vlm"], options[-1]
        assert vlm.structure.ffns[0].quantised is asked.endswith("bit")
        assert asked.endswith("bit") or str(vlm.dtype) == f"torch.{asked}"
        assert first.model["fingerprint"] == vlm.fingerprint  # the command had the same
    for again in (ns.Neurons.load(tmp_path / "shell" / "neurons.json"), ns.Neurons.load("neurons.json")):
        assert (again.members, again.scores, again.options) == (first.members, first.scores, first.options)


def test_both_doors_write_the_same_folder(locate, tmp_path, checkpoint):
    code, _, err = locate("--budget", "9", "--draws", "1", "--max-new-tokens", "4")
    assert code == 0, err
    asked = Locate(
        image=str(tmp_path / "image.png"),
        concept="bear",
        boxes=((4.0, 4.0, 20.0, 20.0),),
        model=str(checkpoint),
        budget=9,
        draws=1,
        max_new_tokens=4,
    )
    other = tmp_path / "other"
    vlm = ns.load(checkpoint)
    pair, known = asked.pair(vlm)
    locate_into(other, vlm, asked.locator(), pair, validity=known, draws=1, origin=asked.origin())
    files = {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for name in files:
        assert (other / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


@pytest.mark.usefixtures("undrawn", "unplaced")
def test_the_strict_reading_and_the_reach_are_options(locate, tmp_path, monkeypatch):
    code, _, err = locate("--budget", "9", "--no-test", "--reach", "boxes", "--max-other-share", "0.1")
    assert code == 0, err
    kept = Evidence.load(tmp_path / "out")
    assert "--reach boxes --max-other-share 0.1" in kept.command
    assert "valid_pair(vlm, sample, 'telea', reach='boxes', max_other_share=0.1)" in kept.python
    for words, said in {
        ("--reach", "far"): "reach='far' is not known",
        ("--max-other-share", "2"): "max_other_share=2.0 must be between 0 and 1",
        ("--control", "p.png"): "--control: pictures for thresholds",
    }.items():
        code, _, err = locate(*words)
        assert code == 1
        assert said in err


@pytest.mark.usefixtures("undrawn", "unplaced")
def test_other_pictures_as_controls(locate, tmp_path, monkeypatch):
    monkeypatch.setattr("neuronscope.locate.decoys.clean_captions", lambda *_, **__: [Caption("grass", "grass", (1,))])
    for name in "ab":
        noise = np.random.default_rng(ord(name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    words = [word for name in "ab" for word in ("--control", tmp_path / f"{name}.png")]
    code, out, err = locate("--q", "0.9", "--no-test", *words, "--json")
    assert code == 0, err
    assert [one["kind"] for one in json.loads(out)["provenance"]["controls"]] == ["photograph"] * 2
    kept = Evidence.load(tmp_path / "out")
    assert f"photographs=('{tmp_path}/a.png', '{tmp_path}/b.png')" in kept.python
    assert locate("--q", "0.9", "--control", tmp_path / "none.png")[0] == 1


@pytest.mark.usefixtures("undrawn", "unplaced")
@pytest.mark.parametrize("stop", ["generate", "save", "layers", "summary"])
def test_a_result_over_an_older_one_is_whole_or_none(locate, older, tmp_path, monkeypatch, stop):
    shutil.copytree(older, tmp_path / "out")
    Evidence.load(tmp_path / "out")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    place = "neuronscope.studies.locate.study."
    if stop == "generate":
        monkeypatch.setattr(place + "heatmap", stopped)
    elif stop == "save":
        monkeypatch.setattr(ns.Neurons, "save", stopped)
    else:
        monkeypatch.setattr(place + {"layers": "plot_layers", "summary": "write_text"}[stop], stopped)
    locate("--method", "random", "--count", 7, "--no-test")
    if stop == "generate":
        Evidence.load(tmp_path / "out")
        return
    with pytest.raises(RunMismatch, match=r"lacks evidence\.json"):
        Evidence.load(tmp_path / "out")
