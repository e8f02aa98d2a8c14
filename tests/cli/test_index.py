"""`neuronscope index` and `neuronscope neuron`: down to the files, gone on with where they were cut off, refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.index import NeuronIndex, profiles
from neuronscope.index.file import NAME
from neuronscope.intervene import activations
from neuronscope.studies.index import looking, settings
from report_samples import evidence, make_run

from ..refusals.damage import FILES, documents

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of several sizes, and files that are none."""
    rng = np.random.default_rng(3)
    place = tmp_path_factory.mktemp("photographs")
    for number, size in enumerate(((40, 48), (48, 40), (33, 50), (60, 44), (40, 40))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(place / f"{number}.png")
    (place / "broken.png").write_bytes(b"no picture")
    (place / "half.png").write_bytes((place / "0.png").read_bytes()[:200])
    Image.new("RGB", (4, 4)).save(place / "tiny.png")
    (place / "notes.txt").write_text("no picture")
    return place


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, vlm: ns.VLM) -> Path:
    """A set of the tiny model's neurons."""
    path = tmp_path_factory.mktemp("sets") / "neurons.json"
    found = ns.Neurons.at("L1.U3", "L0.U2")
    ns.Neurons(found.members, concept="bear", method="by hand", model=vlm.identity()).save(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, folder: Path, checkpoint: Path, sets: Path) -> tuple[Path, str]:
    """An index with pages of three neurons and an export, and what was printed."""
    from contextlib import redirect_stdout

    from neuronscope.cli import main

    out, said = tmp_path_factory.mktemp("made") / "index", io.StringIO()
    words = ["index", folder, "--model", checkpoint, "--out", out, "--top", 2, "--quantile", 0.9, "--sets", sets]
    words += ["--pages", 1, "--batch-size", 2, "--export", out.parent / "neurons.jsonl", "--json", "--quiet"]
    with pytest.raises(SystemExit) as ended, redirect_stdout(said):
        main([str(word) for word in words])
    assert not ended.value.code
    return out, said.getvalue()


def test_an_index_holds_what_the_model_does(made, folder, vlm):
    out, said = made
    told, index = json.loads(said), NeuronIndex.load(out)
    assert (told["pictures"], told["neurons"]) == (5, sum(vlm.widths))
    assert sorted(Path(one["where"]).name for one in told["refused"]) == [
        "broken.png",
        "half.png",
        "notes.txt",
        "tiny.png",
    ]
    assert all(one["reason"] for one in told["refused"])
    layer = 1
    every = ns.Neurons.of([(layer, unit) for unit in range(vlm.widths[layer])])
    seen = [activations(vlm, folder / f"{k}.png", every) for k in range(5)]
    found = index.layer(layer)
    peaks = np.stack([one.max(0) for one in seen], 1)
    assert np.allclose(found.top_value, -np.sort(-peaks, 1)[:, :2], atol=1e-5)
    assert np.allclose(found.bottom_value, np.sort(np.stack([one.min(0) for one in seen], 1), 1)[:, :2], atol=1e-5)
    assert np.allclose(found.sum, sum(one.sum(0) for one in seen), atol=1e-4)
    one = profiles(index, [ns.Neuron(layer, 3)])[ns.Neuron(layer, 3)]
    values = np.concatenate([one[:, 3] for one in seen])
    assert one.tokens == pytest.approx((values >= one.threshold).mean(), abs=0.02)
    assert one.tokens <= 0.1
    assert one.mean == pytest.approx(values.mean(), abs=1e-5)
    assert one.sd == pytest.approx(values.std(), abs=1e-4)


def test_pages_and_export(made, sets):
    out, said = made
    told = json.loads(said)
    assert told["pages"][:2] == ["L1.U3", "L0.U2"]
    assert len(told["pages"]) == 3
    assert sorted(path.name for path in (out / "neurons").iterdir()) == sorted(f"{one}.html" for one in told["pages"])
    atlas = (out / "index.html").read_text("utf-8")
    page = (out / "neurons" / "L1.U3.html").read_text("utf-8")
    assert all(f'href="neurons/{one}.html"' in atlas for one in told["pages"])
    for text in (atlas, page):
        assert "default-src 'none'" in text
        assert "http" not in text.replace("http-equiv", "")
    assert "A random neuron of its layer" in page
    assert "It is in the set “bear”." in page
    assert "0.9%" not in page.partition("Sets it belongs to")[2].partition("chance")[0]
    lines = [json.loads(line) for line in (out.parent / "neurons.jsonl").read_text("utf-8").splitlines()]
    assert [line["address"] for line in lines] == told["pages"]
    for line in lines:
        assert line["schema"] == "neuronscope.neuron/1"
        assert len(line["top"]) == len(line["bottom"]) == 2
        assert line["random"]["layer"] == line["layer"]
        assert line["random"]["unit"] != line["unit"]
        for side in (line, line["random"]):
            for one in side["top"]:
                assert max(one["tokens"]) == pytest.approx(one["value"], abs=1e-4)
                assert len(one["tokens"]) == sum(rows * columns for rows, columns in one["grids"])
            assert side["promoted"][0]["strength"] > 0 > side["suppressed"][0]["strength"]
            assert sum(side["histogram"]["share"]) == pytest.approx(1)
    assert [one["place"] for one in lines[0]["sets"]] == [1]


def test_any_other_neuron(cli: Cli, made, sets, tmp_path):
    out, _ = made
    given = ("--index", out, "--out", tmp_path, "--quiet")
    code, text, _ = cli("neuron", "L1.U5", "1.6", *given, "--export", tmp_path / "more" / "some.jsonl")
    assert code == 0
    assert text.count("written to") == 2
    assert "stand out by" in text
    assert len((tmp_path / "more" / "some.jsonl").read_text().splitlines()) == 2
    code, text, _ = cli("neuron", sets, *given, "--sets", sets, "--json")
    assert code == 0
    assert [one["address"] for one in json.loads(text)["neurons"]] == ["L1.U3", "L0.U2"]
    assert sorted(path.stem for path in (tmp_path / "neurons").iterdir()) == ["L0.U2", "L1.U3", "L1.U5", "L1.U6"]


def test_all_neurons_of_a_layer(cli: Cli, made, vlm, tmp_path):
    given = ("neuron", "--index", made[0], "--layer", 0, "--quiet", "--json")
    code, text, _ = cli(*given, "--export", tmp_path / "layer.jsonl")
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "layer.jsonl").read_text("utf-8").splitlines()]
    assert [line["unit"] for line in lines] == list(range(vlm.widths[0]))
    assert json.loads(text)["neurons"] == vlm.widths[0]
    assert not (tmp_path / "neurons").exists()
    for options, words in (((), "--export"), (("1.3",), "either"), (("--layer", 99), "layer 99")):
        export = () if not options else ("--export", tmp_path / "other.jsonl")
        code, text, _ = cli(*given, *options, *export)
        assert code == 1
        assert words in json.loads(text)["error"]["message"]


def test_a_run_that_is_cut_off_is_gone_on_with(cli: Cli, folder, checkpoint, tmp_path, monkeypatch):
    plan = settings.IndexPlan.__init__
    monkeypatch.setattr(settings.IndexPlan, "__init__", lambda self, **given: plan(self, **{"part": 2, **given}))
    done, real = [], looking.Reducer.finish

    def finish(self, pictures):
        done.append(pictures)
        if len(done) == 3 and stop:
            raise KeyboardInterrupt
        return real(self, pictures)

    monkeypatch.setattr(looking.Reducer, "finish", finish)
    parts = {}
    for name, stop in (("whole", False), ("cut", True)):
        given = ("index", folder, "--model", checkpoint, "--out", tmp_path / name, "--pages", 0, "--quiet")
        done.clear()
        if stop:
            assert cli(*given)[0] == 130
            assert not (tmp_path / name / NAME).exists()
            assert len(list((tmp_path / name / "run" / "parts" / "layers").iterdir())) == 2
            stop = False
            assert cli(*given)[0] == 0
            assert done == [2, 2, 1, 1]  # the last part holds no picture that can be read
        else:
            assert cli(*given)[0] == 0
        files = [*(tmp_path / name / "run" / "parts").rglob("*.parquet"), tmp_path / name / NAME]
        parts[name] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        before = list(done)
        assert cli(*given)[0] == 0
        assert done == before  # nothing was left to do
    assert parts["whole"] == parts["cut"]
    one = next((tmp_path / "cut" / "run" / "parts" / "layers").iterdir())
    one.write_bytes(one.read_bytes()[:-9])
    assert cli(*given)[0] == 0
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == parts["whole"]
    code, _, err = cli("index", folder, "--model", checkpoint, "--out", tmp_path / "cut", "--site", "act", "--quiet")
    assert code == 1
    assert "site" in err


def test_where_memory_fails_fewer_pictures_are_read_together(cli: Cli, made, folder, checkpoint, tmp_path, monkeypatch):
    real, most, tried = looking.watch, [1], []

    def watch(vlm, inputs, see, **how):
        tried.append(len(inputs.rows))
        if len(inputs.rows) > most[0]:
            real(vlm, inputs, see, **how)  # some of the sums have been changed by then
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(vlm, inputs, see, **how)

    monkeypatch.setattr(looking, "watch", watch)
    given = ("index", folder, "--model", checkpoint, "--top", 2, "--pages", 0, "--quiet")
    assert cli(*given, "--out", tmp_path / "few", "--batch-size", 4)[0] == 0
    assert max(tried) > 1
    few, whole = (NeuronIndex.load(place) for place in (tmp_path / "few", made[0]))
    for layer in whole.layers:
        assert np.allclose(few.layer(layer).sum, whole.layer(layer).sum, atol=1e-4)
        assert few.layer(layer).tokens.sum() == whole.layer(layer).tokens.sum()
    most[0] = 0
    code, _, err = cli(*given, "--out", tmp_path / "none")
    assert code == 1
    assert "CUDA out of memory. A smaller picture" in err


def test_what_is_refused(cli: Cli, made, folder, checkpoint, sets, tmp_path, make_vlm, capsys):
    out, _ = made
    other = tmp_path / "other"
    strange = make_vlm(seed=5)
    strange.model.save_pretrained(other)
    strange.processor.save_pretrained(other)
    given = ("neuron", "1.3", "--index", out, "--out", tmp_path / "pages", "--quiet")
    cases = {
        "fingerprint": ("--model", other),
        "another.json": ("--sets", tmp_path / "another.json"),
        "nowhere": ("--images", tmp_path / "nowhere"),
        "elsewhere": ("--index", tmp_path / "elsewhere"),
        "not the one that was indexed": ("--images", tmp_path / "changed"),
    }
    ns.Neurons.at("1.3").save(tmp_path / "another.json")
    text = (tmp_path / "another.json").read_text().replace('"model": {}', '"model": {"id": "x", "fingerprint": "0"}')
    (tmp_path / "another.json").write_text(text)
    shutil.copytree(folder, tmp_path / "changed")
    for number in range(5):
        Image.new("RGB", (50, 50)).save(tmp_path / "changed" / f"{number}.png")
    capsys.readouterr()
    for words, options in cases.items():
        code, _, err = cli(*given, *options)
        assert (code, len(err.splitlines())) == (1, 1), err
        assert words in err
    assert not (tmp_path / "pages").exists()
    assert cli(*given, "--model", other, "--any-model")[0] == 0
    assert cli("neuron", "7.3", "--index", out)[0] == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = cli("index", empty, "--model", checkpoint, "--out", tmp_path / "none", "--quiet")
    assert code == 1
    assert f"{empty} holds no picture" in err
    shutil.copy(folder / "broken.png", empty)
    code, _, err = cli("index", empty, "--model", checkpoint, "--out", tmp_path / "none", "--quiet")
    assert code == 1
    assert "none of 1 pictures can be used: image" in err
    assert not (tmp_path / "none" / NAME).exists()
    shutil.copy(folder / "1.png", tmp_path / "one.png")
    code, text, _ = cli("index", tmp_path / "one.png", "--model", checkpoint, "--out", tmp_path / "one", "--quiet")
    assert code == 0  # of one picture nothing stands out
    assert "over 1 pictures; 0 of them have a page" in text


def test_reports_link_to_the_pages_of_their_neurons(cli: Cli, made, vlm, tmp_path):
    index = NeuronIndex.load(made[0])
    found = evidence()
    neurons = found.neurons
    replace(found, neurons=replace(neurons, model=dict(index.model))).save(tmp_path / "result")
    page = tmp_path / "deep" / "page.html"
    given = ("report", tmp_path / "result", "--out", page, "--index", made[0])
    assert cli(*given)[0] == 0
    assert "neurons/L" not in page.read_text("utf-8")
    has = made[0] / "neurons" / f"{neurons[0]}.html"
    before = has.exists()
    has.touch()
    try:
        assert cli(*given)[0] == 0
        (link,) = re.findall(r'href="([^"]*neurons/L[^"]*)"', page.read_text("utf-8"))
    finally:
        before or has.unlink()
    assert (page.parent / link).resolve() == has.resolve()
    found.save(tmp_path / "result")
    code, _, err = cli(*given)
    assert code == 1
    assert "its pages are of other neurons" in err
    code, _, err = cli("report", make_run(tmp_path / "run", tmp_path / "data"), "--index", made[0])
    assert code == 1
    assert "--index" in err


def test_a_damaged_index_is_refused(cli: Cli, made, tmp_path):
    whole = made[0] / NAME
    path = tmp_path / NAME
    for name, damage in FILES.items():
        shutil.copy(whole, path)
        damage(path)
        told(cli, path, name)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    texts = list(documents(members["about.json"].decode()))
    for name, text in texts[:: max(1, len(texts) // 40)]:
        written(path, {**members, "about.json": text.encode("utf-8", "surrogatepass")})
        told(cli, path, name, may_do=True)
    array = np.load(io.BytesIO(members["L1/top_picture.npy"]))
    wrong = {
        "another shape": array[:, :1],
        "another type": array.astype(np.float32),
        "pictures that are not there": array + 5,
        "negative": -array - 1,
        "objects": np.array([None] * 3, dtype=object),
    }
    for name, bad in wrong.items():
        buffer = io.BytesIO()
        np.save(buffer, bad)
        written(path, {**members, "L1/top_picture.npy": buffer.getvalue()})
        told(cli, path, name)


def written(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def told(cli: Cli, path: Path, name: str, *, may_do: bool = False) -> None:
    """One line that names the file, and not before a model is loaded."""
    from neuronscope.errors import NeuronscopeError

    try:
        index = NeuronIndex.load(path)
        profiles(index, [ns.Neuron(1, 3)])
    except NeuronscopeError as error:
        assert str(path) in str(error), name
        assert "\n" not in str(error), name
        return
    assert may_do or name in ("its last byte changed", "a byte changed in the middle"), name
