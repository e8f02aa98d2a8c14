"""Files of an earlier edit in the same folder go when the next one is written; what people put there stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronscope.files import clear_result, named_like
from neuronscope.studies.edit.earlier import earlier

OURS = (
    *("edit.safetensors", "neurons.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    *("edit-1.safetensors", "edit-12.safetensors", "neurons-1.json", "neurons-12.json"),
)
THEIRS = ("edit-mine.safetensors", "neurons-old.json", "neurons-1.json.bak", "edit-.safetensors", "notes.txt")


def test_ours_go_and_theirs_stay(tmp_path: Path):
    for name in (*OURS, *THEIRS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    clear_result(tmp_path, "tables.json", *earlier(tmp_path))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == set(THEIRS)


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_where_there_is_no_folder_nothing_is_named(folder: str, tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert named_like(tmp_path / folder, ".*") == []
