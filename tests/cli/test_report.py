"""`neuronscope report` of a result and of a run, and the commands that pages print."""

from __future__ import annotations

import json
from pathlib import Path

from report_samples import make_run, save_result


def test_a_located_result(cli, tmp_path):
    save_result(tmp_path / "result")
    code, out, _ = cli("report", tmp_path / "result", "--out", tmp_path / "deep" / "page.html", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["kind"] == "located"
    assert Path(document["page"]).stat().st_size == document["bytes"]
    assert "Neurons that hold" in Path(document["page"]).read_text(encoding="utf-8")


def test_a_run(cli, tmp_path):
    make_run(tmp_path / "run", tmp_path / "data")
    arguments = ("report", tmp_path / "run", "--out", tmp_path / "page.html")
    code, out, _ = cli(*arguments, "--data", tmp_path / "data")
    assert code == 0
    assert "MiB" in out
    with_pictures = (tmp_path / "page.html").read_text(encoding="utf-8")
    code, out, _ = cli(*arguments, "--json")
    assert json.loads(out)["kind"] == "run"
    assert with_pictures.count("data:image/jpeg") == 4
    assert "data:image/jpeg" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_no_result_is_refused(cli, tmp_path):
    code, out, err = cli("report", tmp_path, "--out", tmp_path / "page.html", "--json")
    assert code == 1
    assert "is none of these: a discovery (run.json and discovery.json); a run (run.json); a demo" in err
    assert json.loads(out)["error"]["type"] == "InvalidOption"
    save_result(tmp_path / "result")
    code, _, err = cli("report", tmp_path / "result", "--data", tmp_path, "--out", tmp_path / "page.html")
    assert code == 1
    assert "has its own pictures" in err
    (tmp_path / "result" / "evidence" / "evidence.json").unlink()
    code, _, err = cli("report", tmp_path / "result", "--out", tmp_path / "page.html")
    assert code == 1
    assert "run `neuronscope locate` again" in err
    assert not (tmp_path / "page.html").exists()


def test_an_index_where_nothing_is_linked(cli, tmp_path):
    (tmp_path / "tables.json").write_text("{}")
    code, _, err = cli("report", tmp_path, "--index", tmp_path, "--out", tmp_path / "page.html")
    assert code == 1
    assert "the page of an edit or a repair names no neurons" in err
    code, _, err = cli("report", tmp_path, "--out", tmp_path / "page.html")
    assert code == 1
    schemas = [f"'neuronscope.{one}/1'" for one in ("rewrite", "words", "repair")]
    assert f"tables.json is not of schema {' or '.join(schemas)}" in err
