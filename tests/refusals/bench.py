"""The things that commands are given: good ones, and everything that is wrong in their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import neuronscope as ns
from hallucinations import write_folder
from neuronscope.evaluate import planted
from neuronscope.samples.scenes import render, write_coco
from neuronscope.studies.demo.scenes import scene_stream, scenes_of
from report_samples import make_index, make_run, save_result


def supply(place: Path) -> None:
    """Pictures, and a COCO folder with three bears and two buses that can be located, in `good`."""
    pictures = place / "good" / "pictures"
    pictures.mkdir(parents=True)
    for number, one in enumerate(scenes_of("bear", 3)):
        one.load().save(pictures / f"bear{number}.png")
    for number, other in enumerate(("airplane", "backpack", "banana")):
        scene = next(one for one in scene_stream(other, 1) if "bear" not in one.concepts)
        render(scene).image.save(pictures / f"other{number}.png")
    write_coco(place / "good" / "coco", 16, 20_000_037)


def blank(_results: object, _compared: object, _found: object, folder: Path) -> dict[str, tuple[Path, Path]]:
    """The files of a figure, with nothing on it."""
    png, svg = folder / "layers.png", folder / "layers.svg"
    Image.new("RGB", (4, 4)).save(png)
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    return {"layers": (png, svg)}


def furnish(place: Path, demo: ns.VLM) -> None:
    """With what is supplied, good files of every kind that a verb takes, in `good`, and wrong ones in `bad`."""
    good, bad = place / "good", place / "bad"
    bad.mkdir()
    sample = scenes_of("bear", 1)[0]
    sample.load().save(good / "bear.png")
    Image.fromarray(sample.mask).save(good / "mask.png")
    assert sample.exact is not None
    sample.exact.save(good / "edited.png")
    planted(demo)["bear"].save(good / "neurons.json")
    (good / "texts.txt").write_text("The image shows a cake.\n", encoding="utf-8")
    make_index(demo, good / "pictures", good / "index")
    write_folder(good / "hallucinations")
    save_file({"weight": torch.zeros(2)}, good / "tensors.safetensors")
    (good / "llama").mkdir()
    (good / "llama" / "config.json").write_text("{}", encoding="utf-8")
    save_file({"weight": torch.zeros(2)}, good / "llama" / "model.safetensors")
    save_result(good / "result")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronscope.studies.reproduce.tables._draw", blank)  # what is in a figure nothing here reads
        make_run(good / "run", good / "data")

    (bad / "empty").write_bytes(b"")
    (bad / "empty.json").write_bytes(b"")
    (bad / "empty.png").write_bytes(b"")
    (bad / "noise").write_bytes(bytes(range(256)) * 8)
    (bad / "noise.json").write_bytes(bytes(range(256)) * 8)
    (bad / "noise.png").write_bytes(bytes(range(256)) * 8)
    (bad / "words.png").write_text("no picture\n", encoding="utf-8")
    (bad / "half.png").write_bytes((good / "bear.png").read_bytes()[:300])
    (bad / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    (bad / "list.json").write_text("[]", encoding="utf-8")
    (bad / "other.json").write_text(json.dumps({"schema": "something/1"}), encoding="utf-8")
    (bad / "folder").mkdir()
    (bad / "folder.json").mkdir()
    (bad / "folder.png").mkdir()
    (bad / "loop").symlink_to("loop")
