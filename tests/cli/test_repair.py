"""`neuronscope repair`: one hallucination edited away, what is written, and what is refused."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

import neuronscope as ns
from hallucinations import write_folder
from neuronscope.edit import Edit
from neuronscope.samples.objects import AnnotatedFolder
from neuronscope.studies.repair.settings import Repair, RepairJob


def test_hallucinations_are_repaired(cli, demo: ns.VLM, tmp_path: Path):
    place, out = write_folder(tmp_path / "coco"), tmp_path / "out"
    given = ("--images", place, "--count", 2, "--set", "right=1", "--max-new-tokens", 12)
    code, text, told = cli("repair", *given, "--out", out, "--json", "--quiet")
    assert (code, told) == (0, "")
    document = json.loads(text)
    assert document == json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert document["settings"]["counts"] == [1, 2]
    assert [one["source"] for one in document["hallucinations"]] == ["horse"]
    assert "horse" in document["hallucinations"][0]["before"]
    assert "| horse " in (out / "tables.md").read_text(encoding="utf-8")
    assert document["together"]["halves"]["searched"]["before"]["chair_s"]["value"] == pytest.approx(1 / 3)
    repaired = document["single"]["found"]["repaired"]["value"]
    assert (out / "edit.safetensors").is_file() == bool(repaired)
    if repaired:
        with Edit.load(out / "edit.safetensors", demo):
            assert "horse" not in demo.caption(place / "images" / "0.png")
    made = (out / "page.html").read_bytes()
    assert html.escape(document["verdict"]).encode() in made
    assert b"0.png: there is no horse" in made
    assert made.count(b"data:image/jpeg") == 1
    code, text, _ = cli("report", out, "--out", tmp_path / "page.html", "--json")
    assert (code, json.loads(text)["kind"]) == (0, "repair")
    assert (tmp_path / "page.html").read_bytes() == made


def test_chair_by_the_original_lists_beside_ours(cli, demo: ns.VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Asked for by the Python that a page shows."""
    place, lists = write_folder(tmp_path / "coco"), tmp_path / "synonyms.txt"
    names = AnnotatedFolder.read(place).categories
    lists.write_text("".join(f"{name}, {name} thing\n" for name in names))
    given = ("--images", place, "--count", 1, "--set", "right=0", "--synonyms", lists)
    job = RepairJob(images=str(place), synonyms=lists, how=Repair(counts=(1,), right=0))
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as loaded:
        loaded.setattr(ns, "load", lambda *_, **__: demo)
        exec(job.python(), {})
    out = tmp_path / "neuronscope-repair"
    document = json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert document["recipe"] == job.recipe()
    together = document["together"]
    assert together["by"] == "the lexicon, version 1"
    assert together["original"]["by"].startswith("the original lists, synonyms.txt (SHA-256 ")
    assert together["original"]["halves"]["searched"]["before"]["chair_s"]["value"] == pytest.approx(1 / 3)
    pages = (out / "tables.md").read_text(encoding="utf-8")
    for by in ("objects by the lexicon, version 1", "objects by the original lists, synonyms.txt"):
        assert pages.count(by) == 2
    lists.write_text("dragon\n")
    code, text, _ = cli("repair", *given, "--out", tmp_path / "other", "--json")
    assert code == 1
    assert "is in none of the lists of synonyms.txt" in json.loads(text)["error"]["message"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--editor", "embed"), "--editor='embed'"),
        (("--set", "alpha=2"), "--set='alpha'"),
        (("--set", "right=many"), "--set right=many is not of type int"),
        ((), "is not a COCO folder, and none of the others"),
    ],
)
def test_what_repair_refuses(cli, options, reason: str, tmp_path: Path):
    code, text, _ = cli("repair", "--images", tmp_path, *options, "--out", tmp_path / "out", "--json")
    assert code == 1
    assert reason in json.loads(text)["error"]["message"]
