"""A list of words: how it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.studies.edit.words import ListedWord, read_words


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_of_a_file(tmp_path: Path):
    found = read_words(file(tmp_path, "\ufeff# sensitive\nbear\n\n  traffic light -> lamp \npizza->food\nchó\n"))
    assert found == (
        ListedWord("bear"),
        ListedWord("traffic light", "lamp"),
        ListedWord("pizza", "food"),
        ListedWord("chó"),
    )
    assert [str(one) for one in found[:2]] == ["bear", "traffic light -> lamp"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no word"),
        ("# nothing\n\n", "holds no word"),
        ("bear ->", r"words\.txt:1 is no word"),
        ("-> dog", r"words\.txt:1 is no word"),
        ("a -> b -> c", r"words\.txt:1 is no word"),
        ("bear\nBear -> dog", r"words\.txt:2 names 'Bear' twice"),
        ("bear -> BEAR", r"words\.txt:1 names 'bear' twice"),
    ],
)
def test_files_that_hold_no_list(tmp_path: Path, text: str, reason: str):
    with pytest.raises(InvalidOption, match=reason):
        read_words(file(tmp_path, text))
