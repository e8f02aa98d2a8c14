"""What one verb prints or reads, another takes: addresses in every spelling, and boxes that are no COCO folder."""

import json
import re

import pandas as pd
import pytest

import neuronscope as ns
from neuronscope.studies.demo.scenes import scenes_of


@pytest.mark.parametrize("spelling", ["L4.U157", "4.157", "text.4.157", "l4.u157", "text.L4.U157", "L4.U157,"])
def test_decode_takes_every_spelling(cli, spelling):
    code, text, _ = cli("decode", spelling, "--model", "demo")
    assert code == 0
    assert "L4.U157" in text


@pytest.mark.usefixtures("undrawn", "unplaced")
def test_what_locate_prints_is_pasted(cli, tmp_path):
    sample = scenes_of("bear", 1)[0]
    sample.load().save(tmp_path / "bear.png")
    box = ",".join(str(v) for v in sample.boxes[0])
    quick = ("--method", "activation-difference", "--count", 9, "--no-test")
    code, text, err = cli("locate", tmp_path / "bear.png", "bear", "--box", box, *quick, "--out", tmp_path / "out")
    assert code == 0, err
    printed = list(dict.fromkeys(re.findall(r"\b(?:\w+\.)?L\d+\.U\d+\b", text)))
    found = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    assert set(found.addresses) <= set(printed)
    own = found.addresses[:3]
    code, text, _ = cli("decode", *own, "--json")
    assert code == 0
    assert [(row["layer"], row["unit"]) for row in json.loads(text)["neurons"]] == [
        (n.layer, n.unit) for n in found[:3]
    ]
    code, text, _ = cli("heatmap", tmp_path / "bear.png", ", ".join(own), "--out", tmp_path / "h.png", "--json")
    assert code == 0
    assert json.loads(text)["neurons"] == own


@pytest.mark.usefixtures("undrawn")
def test_a_concept_in_a_table_of_boxes(cli, tmp_path):
    rows = []
    for k, sample in enumerate(scenes_of("bear", 3)):
        sample.load().save(tmp_path / f"{k}.png")
        boxes = [("bear", box) for box in sample.boxes] + [(one.concept, one.box) for one in sample.others]
        rows += [
            dict(zip(("file", "label", "x", "y", "w", "h"), (f"{k}.png", *one, *box), strict=True))
            for *one, box in boxes
        ]
    pd.DataFrame(rows).to_csv(tmp_path / "boxes.csv", index=False)
    wanted = ("-n", 2, "--method", "activation", "--count", 10, "--no-test", "--out", tmp_path / "out", "--json")
    code, text, err = cli("concept", tmp_path / "boxes.csv", "bear", *wanted)
    assert code == 0, err
    assert json.loads(text)["provenance"]["photographs"] == 2
    code, _, err = cli("concept", tmp_path / "boxes.csv", "baer", *wanted)
    assert code == 1
    assert "'bear'" in err
