"""Files that verbs and the library read, damaged in every way: model directories, data sets, sets, results, runs.

Every file of each is cut, emptied, replaced by a folder, a link or a device; of every document each value in turn is
left out or of another kind. What is read must be refused in one line that names the file or its folder, or be used: a
document holds values that nothing depends on. By default a part of the documents is tried, spread over all of their
values, and damage is spread over files that one piece of code reads; NEURONSCOPE_REFUSALS=all tries all (ten minutes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import neuronscope as ns
from neuronscope.errors import NeuronscopeError
from neuronscope.samples.objects import AnnotatedFolder

from .damage import FILES, copied, documents
from .test_verbs import ALL
from .watched import limited, listing, run, wrong

#: Damage that leaves a document as it was for a reader: its last byte is a line end.
HARMLESS = ("without its last byte", "its last byte changed")


def spread(cases: Iterator[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """So many of them, from the first to the last."""
    every = list(cases)
    assert len(every) > count // 2
    return every if ALL or len(every) <= count else every[:: max(len(every) // count, 1)]


def damaged(alike: Iterable[Sequence[Path]]) -> Iterator[tuple[Path, str, Callable[[Path], object]]]:
    """A file, and what happens to it: everything to every kind of file, by default to one or another of that kind."""
    for kind in alike:
        for number, (name, damage) in enumerate(FILES.items()):
            for path in kind if ALL else [kind[number % len(kind)]]:
                yield path, name, damage


def told(words: Sequence[object], place: Path) -> str:
    """What is wrong with how a command ends that was given something damaged at a place."""
    ended = run(words)
    if ended.code == 0 and not ended.error:
        return ""
    return wrong(ended) or ("" if str(place) in ended.err else f"it does not name {place}: {ended.err[:300]}")


def refused(use: Callable[[], object], place: Path) -> str:
    """What is wrong with how the library takes something damaged at a place."""
    try:
        with limited():
            use()
    except NeuronscopeError as error:
        text = str(error)
        return "" if str(place) in text and "\n" not in text else f"it does not name {place}: {text[:300]}"
    except BaseException as error:  # whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    return ""


def report(found: list[tuple[str, str]]) -> None:
    wrong_ones = [f"{name}: {said}" for name, said in found if said]
    assert not wrong_ones, f"{len(wrong_ones)} of {len(found)}\n" + "\n".join(wrong_ones[:20])


@pytest.mark.usefixtures("loaded_once")
def test_sets_of_neurons(bench: Path, tmp_path: Path):
    whole = json.loads((bench / "good" / "neurons.json").read_text(encoding="utf-8"))
    whole["neurons"] = whole["neurons"][:2]
    path = tmp_path / "set.json"
    found: list[tuple[str, str]] = []
    for name, text in spread(documents(json.dumps(whole)), 40):
        path.write_text(text, encoding="utf-8")
        said = told(["decode", path], path)
        found.append((name, "" if "does not exist" in said else said))  # an address that the model has not
    image, mask = bench / "good" / "bear.png", bench / "good" / "mask.png"
    readers: dict[str, list[object]] = {
        "decode": [path],
        "heatmap": [image, path, "--out", tmp_path / "map.png"],
        "pictures": [path, bench / "good" / "pictures"],
        "locate": [image, "bear", "--mask", mask, "--method", "random-layer-matched", "--like", path, "--no-test"],
        "edit": ["--images", image, "--source", "bear", "--editor", "ablate", "--neurons", path],
    }
    for name, damage in FILES.items():
        for verb, words in readers.items():
            path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
            path.write_text(json.dumps(whole), encoding="utf-8")
            damage(path)
            out = ["--out", tmp_path / "out"] if verb in ("locate", "edit") else []
            ended = run([verb, *words, *out])
            found.append((f"{verb} {name}", wrong(ended) or ("" if str(path) in ended.err else ended.err)))
    report(found)


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("kind", ["result", "run"])
def test_results_and_runs(kind: str, bench: Path, tmp_path: Path):
    good = bench / "good" / kind
    found: list[tuple[str, str]] = []

    def tried(name: str, place: Path) -> None:
        before = listing(place)
        page = tmp_path / "page.html"
        data = ["--data", bench / "good" / "data"] if kind == "run" else []
        found.append((name, told(["report", place, "--out", page, *data], place)))
        assert listing(place) == before, f"{name}: a reader changed what it read"
        page.unlink(missing_ok=True)

    alike: dict[Path, list[Path]] = {}
    for path in sorted(path.relative_to(good) for path in good.rglob("*") if path.is_file()):
        parts_of_a_kind = path.suffix == ".parquet"
        alike.setdefault(path.parent if parts_of_a_kind else path, []).append(path)
    for path, name, damage in damaged(alike.values()):
        place = copied(good, tmp_path / "copy")
        damage(place / path)
        tried(f"{path} {name}", place)
    names = ("neurons.json", "evidence/evidence.json") if kind == "result" else ("run.json", "tables.json")
    for name in names:
        for what, text in spread(documents((good / name).read_text(encoding="utf-8")), 15):
            place = copied(good, tmp_path / "copy")
            (place / name).write_text(text, encoding="utf-8")
            tried(f"{name} {what}", place)
    report(found)


def test_data_sets(bench: Path, tmp_path: Path):
    place = copied(bench / "good" / "coco", tmp_path / "coco")
    tables = place / "annotations" / "instances_scenes.json"
    captions = tables.with_name("captions_scenes.json")
    body = json.loads(tables.read_text(encoding="utf-8"))
    body["images"] = body["images"][-2:]
    kept = {image["id"] for image in body["images"]}
    body["annotations"] = [one for one in body["annotations"] if one["image_id"] in kept]
    tables.write_text(json.dumps(body), encoding="utf-8")
    said = json.loads(captions.read_text(encoding="utf-8"))
    said["annotations"] = [one for one in said["annotations"] if one["image_id"] in kept]
    captions.write_text(json.dumps({name: rows for name, rows in said.items() if name != "images"}), encoding="utf-8")

    def samples(folder: Path) -> None:
        data = ns.CocoFolder.open(folder)
        for concept in data.concepts():
            for sample in data.samples(concept, min_area=0, max_area=1):
                assert sample.load().size == sample.mask.shape[::-1]

    samples(place)
    readers = {"samples": samples, "objects": AnnotatedFolder.read}
    found: list[tuple[str, str]] = []
    for table in (tables, captions):
        text = table.read_text(encoding="utf-8")
        for what, changed in spread(documents(text), 80):
            table.write_text(changed, encoding="utf-8")
            found += [
                (f"{name} {table.name} {what}", refused(lambda r=r: r(place), place)) for name, r in readers.items()
            ]
        table.write_text(text, encoding="utf-8")
    picture = place / "images" / body["images"][-1]["file_name"]
    for path in (tables, captions, picture):
        for what, damage in FILES.items():
            copy = copied(place, tmp_path / "copy")
            damage(copy / path.relative_to(place))
            found += [
                (f"{name} {path.name} {what}", refused(lambda r=r, copy=copy: r(copy), copy))
                for name, r in readers.items()
            ]
    report(found)


@pytest.mark.usefixtures("read_anew")
def test_model_directories(checkpoint: Path, tmp_path: Path):
    picture, short = Image.new("RGB", (40, 30), (90, 120, 60)), ns.Decoding(max_new_tokens=2)
    found: list[tuple[str, str]] = []

    def tried(name: str, place: Path) -> None:
        found.append((name, refused(lambda: ns.load(place).caption(picture, decoding=short), place)))

    for path in sorted(path.name for path in checkpoint.iterdir()):
        for name, damage in FILES.items():
            place = copied(checkpoint, tmp_path / "copy")
            damage(place / path)
            tried(f"{path} {name}", place)
        if path.endswith(".json"):
            few = {"config.json": 12, "tokenizer.json": 4}.get(path, 3)
            for what, text in spread(documents((checkpoint / path).read_text(encoding="utf-8")), few):
                place = copied(checkpoint, tmp_path / "copy")
                (place / path).write_text(text, encoding="utf-8")
                tried(f"{path} {what}", place)
    for name in ("pytorch_model.bin", "../model.safetensors", "/etc/passwd", "model.safetensors/..", "", "model.pt"):
        place = copied(checkpoint, tmp_path / "copy")
        index = {"metadata": {}, "weight_map": {"lm_head.weight": name}}
        (place / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        said = refused(lambda: ns.load(tmp_path / "copy"), place)
        with pytest.raises(NeuronscopeError):
            ns.load(place)
        found.append((f"an index that names {name!r}", said))
    report(found)


@pytest.mark.usefixtures("unchecked")
def test_edits(demo: ns.VLM, bench: Path, tmp_path: Path):
    path = tmp_path / "edit.safetensors"
    neurons = ns.Neurons.of([(3, 7), (4, 9)])
    ns.Swap(source="bear", target="horse").edit(demo, neurons, [bench / "good" / "bear.png"]).save(path)
    with safe_open(path, framework="pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    found: list[tuple[str, str]] = []
    for key, document in header.items():
        if not document.startswith(("{", "[")):
            continue
        for what, text in spread(documents(document), 60):
            save_file(tensors, path, {**header, key: text})
            found.append((f"{key}: {what}", refused(lambda: ns.Edit.load(path, demo).title, path)))
    for name in tensors:
        for what, other in {"left out": None, "cut": tensors[name][:1], "NaN": tensors[name] * float("nan")}.items():
            kept = {one: value for one, value in tensors.items() if one != name}
            save_file(kept if other is None else {**kept, name: other.contiguous()}, path, header)
            found.append((f"{name}: {what}", refused(lambda: ns.Edit.load(path, demo).title, path)))
    for name, damage in FILES.items():
        path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
        save_file(tensors, path, header)
        damage(path)
        found.append((name, refused(lambda: ns.Edit.load(path, demo), path)))
    report(found)
    assert len(found) > 50
