"""Files are written whole or not at all, and a folder that cannot be written to is refused before the work starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.files import create_once, output_folder, replacing, write_bytes, write_text

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "new"),
    "bytes": lambda path: write_bytes(path, b"new"),
}
writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


@writers
def test_writing_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "a.json").write_text("a much longer old content")
    write(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_text_is_utf8_with_its_line_ends_untouched(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "bär 🐻\n")
    assert (tmp_path / "a.txt").read_bytes() == "bär 🐻\n".encode()


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_half_way_leaves_the_old_file_and_no_half_written_one(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(target) as temporary:
            temporary.write_bytes(b"half")
            assert temporary.parent == target.parent  # a rename across file systems would not be atomic
            assert temporary.suffix == target.suffix  # writers such as Pillow choose the format by it
            assert target.read_bytes() == b"old"
            raise error

    refused = isinstance(error, OSError)
    with pytest.raises(
        InvalidOption if refused else type(error), match="bin cannot be written: No space" if refused else None
    ):
        interrupted()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


# The tests may run as root, whom no permission stops: a file stands where a folder is needed.
@writers
@pytest.mark.parametrize("name", ["blocker/a.json", "absent/a.json", "folder", "x" * 300])
def test_a_path_that_cannot_be_written_is_refused_by_name(
    tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    (tmp_path / "blocker").write_text("a file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidOption, match=f"{name} cannot be written: "):
        write(tmp_path / name)
    assert names(tmp_path) == ["blocker", "folder"]


@pytest.mark.parametrize("path", ["", "/"])
def test_a_path_without_a_name_is_refused(path: str) -> None:
    with pytest.raises(InvalidOption, match="names no file"):
        write_text(path, "new")


def test_an_output_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert output_folder(str(folder)) == folder
    assert not names(folder)


@pytest.mark.parametrize("name", ["blocker", "blocker/below", "x" * 300])
def test_an_output_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "blocker").write_text("a file")
    with pytest.raises(InvalidOption, match=f"output folder .*{name} cannot be written to: "):
        output_folder(tmp_path / name)
    assert names(tmp_path) == ["blocker"]


def test_an_output_folder_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(InvalidOption, match="output folder /proc cannot be written to"):
        output_folder("/proc")


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_created_once_and_the_first_stays(tmp_path: Path, durable: bool) -> None:
    target, temporary = tmp_path / "a.bin", tmp_path / "making"
    assert create_once(target, b"first", temporary, durable=durable)
    assert not create_once(target, b"second", temporary, durable=durable)
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == ["a.bin"]
    with pytest.raises(InvalidOption, match=r"absent/a\.bin cannot be written: "):
        create_once(tmp_path / "absent" / "a.bin", b"x", temporary)
    assert names(tmp_path) == ["a.bin"]
