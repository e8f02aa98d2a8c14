"""`neuronscope repair`: one hallucination edited away, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import neuronscope as ns
from hallucinations import write_folder
from neuronscope.edit import Edit


def test_hallucinations_are_repaired(cli, demo: ns.VLM, tmp_path: Path):
    place, out = write_folder(tmp_path / "coco"), tmp_path / "out"
    given = ("--images", place, "--count", 5, "--set", "right=1")
    code, text, told = cli("repair", *given, "--out", out, "--json")
    assert (code, told) == (0, "")
    document = json.loads(text)
    assert document == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert document["settings"]["counts"] == [1, 2, 5]
    assert [one["source"] for one in document["hallucinations"]] == ["horse"]
    assert "horse" in document["hallucinations"][0]["before"]
    assert "| horse " in (out / "tables.md").read_text(encoding="utf-8")
    assert document["together"]["halves"]["searched"]["before"]["chair_s"]["value"] == pytest.approx(1 / 3)
    repaired = document["single"]["found"]["repaired"]["value"]
    assert (out / "edit.safetensors").is_file() == bool(repaired)
    if repaired:
        with Edit.load(out / "edit.safetensors", demo):
            assert "horse" not in demo.caption(place / "images" / "0.png")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--editor", "embed"), "--editor='embed'"),
        (("--set", "alpha=2"), "--set='alpha'"),
        (("--set", "right=many"), "--set right=many is not of type int"),
        ((), "holds no annotations/instances_"),
    ],
)
def test_what_repair_refuses(cli, options, reason: str, tmp_path: Path):
    code, text, _ = cli("repair", "--images", tmp_path, *options, "--out", tmp_path / "out", "--json")
    assert code == 1
    assert reason in json.loads(text)["error"]["message"]
