"""Files are written whole or not at all, and a folder that cannot be written to is refused before the work starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.files import (
    clear_result,
    create_once,
    output_folder,
    replacing,
    replacing_folder,
    require_absent,
    require_picture,
    temporary_folder,
    write_bytes,
    write_text,
)
from neuronscope.processes import Owner

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


# ---- folders, and what killed writers leave

MAKERS: dict[str, Callable[[Path], None]] = {
    "absent": lambda _: None,
    "empty": lambda path: path.mkdir(),
    "full": lambda path: old_folder(path),
    "nested": lambda path: None,
}


def old_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "a.txt").write_text("old")
    (path / "mine.txt").write_text("mine")
    (path / "last.json").write_text("old")


def fill(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "a.txt").write_text("new")
    (folder / "last.json").write_text("new")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_folder_gets_its_files(tmp_path: Path, make: Callable[[Path], None]) -> None:
    target = tmp_path / "a" / "out" if make is MAKERS["nested"] else tmp_path / "out"
    make(target)
    with replacing_folder(target, "last.json") as temporary:
        fill(temporary)
    kept = ["mine.txt"] if make is MAKERS["full"] else []
    assert names(target) == ["a.txt", "inner", "last.json", *kept]
    assert {path.read_text() for path in target.rglob("*") if path.is_file() and path.name != "mine.txt"} == {"new"}
    assert len(names(tmp_path)) == len(names(target)) + (2 if make is MAKERS["nested"] else 1)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_half_way_leaves_the_folder_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], error: BaseException
) -> None:
    target = tmp_path / "out"
    make(target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def interrupted() -> None:
        with replacing_folder(target, "last.json") as temporary:
            fill(temporary)
            raise error

    with pytest.raises(InvalidOption if isinstance(error, OSError) else type(error)):
        interrupted()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("with replacing(target) as t: t.write_text('half'); kill()", 1),
        ("with replacing(target.with_suffix('.png')) as t: t.write_text('half'); kill()", 1),
        ("with replacing_folder(target, 'last') as t: (t / 'a').write_text('half'); kill()", 1),
        ("write_text(target, 'whole'); kill()", 0),
        ("with replacing(target.with_name('x' * 250)) as t: t.write_text('half'); kill()", 1),
    ],
)
def test_what_a_killed_writer_leaves_is_cleared_by_the_next_one(tmp_path: Path, code: str, left: int) -> None:
    target = tmp_path / "result.json"
    start = (
        "import os, sys, signal; from pathlib import Path; from neuronscope.files import *\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\ntarget = Path(sys.argv[1])\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", start + code, str(target)], check=False)
        assert len([name for name in os.listdir(tmp_path) if ".part" in name]) == left
    mine = tmp_path / ".result.json.mine.part.json"
    mine.write_text("of the user")
    elsewhere = tmp_path / f".result.json.{replace(Owner.here(), place='0' * 16)}.0.part.json"
    elsewhere.write_text("another machine writes it")
    if target.is_dir():
        target.rmdir()
    write_text(target, "new")
    write_bytes(target.with_suffix(".png"), b"new")
    write_bytes(target.with_name("x" * 250), b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([mine.name, elsewhere.name, "result.json", "result.png", "x" * 250])


@pytest.mark.parametrize(
    "write",
    [
        "with replacing(target / 'run.json') as t: t.write_text('half'); kill()",
        "with replacing(target / 'horse.png') as t: t.write_text('half'); kill()",
        "with replacing(target / ('x' * 250)) as t: t.write_text('half'); kill()",
        "with replacing(target / 'no suffix.') as t: t.write_text('half'); kill()",
        "with replacing(target / '.hidden.part.json') as t: t.write_text('half'); kill()",
        "with replacing_folder(target, 'last') as t: (t / 'a').write_text('half'); kill()",
        "with replacing_folder(target / 'new', 'last') as t: (t / 'a').write_text('half'); kill()",
        "Path.unlink = kill; output_folder(target)",
    ],
)
def test_what_a_killed_process_left_in_an_output_folder_goes_though_nobody_writes_it_again(
    tmp_path: Path, write: str
) -> None:
    start = (
        "import os, sys, signal; from pathlib import Path; from neuronscope.files import *\n"
        "kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\ntarget = Path(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", start + write, str(tmp_path)], check=False)
    (left,) = names(tmp_path)[:1]
    for name in (f".a.{Owner.here()}.01234567.part.json", ".a.part.json", left.lstrip("."), "mine.part"):
        (tmp_path / name).write_text("somebody's")
    output_folder(tmp_path)
    assert left not in names(tmp_path)
    assert len(names(tmp_path)) == 4


def test_temporary_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = (
        "import os, signal; from pathlib import Path; from neuronscope.files import temporary_folder\n"
        "folder = temporary_folder('neuronscope-test'); (Path(folder.name) / 'a').write_text('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / "neuronscope-test-of-the-user").mkdir()
    with temporary_folder("neuronscope-test") as mine, temporary_folder("neuronscope-test") as second:
        assert sorted(os.listdir(tmp_path)) == sorted(
            [Path(mine).name, Path(second).name, "neuronscope-test-of-the-user"]
        )


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.txt", "a.json", ".png", "a.png.exe", "a.svgz", "full"])
def test_a_picture_that_nobody_writes_is_refused_by_its_ending(name: str) -> None:
    with pytest.raises(InvalidOption, match=r"a picture that is written ends in \.png"):
        require_picture(name)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "b/c.webp", "x.y.tiff"])
def test_pictures_that_are_written(name: str) -> None:
    require_picture(name)


# ---- results of several files

STOPS = {
    "absent": ("mkdir", "write_text", "rename"),
    "empty": ("mkdir", "write_text", "unlink", "replace", "rmtree"),
}


def killed_once(folder: Path, name: str, number: int) -> bool:
    """A program fills a folder as `convert` does, and is killed before its n-th call of a function."""
    code = (
        "import os, shutil, signal, sys; from pathlib import Path; from neuronscope.files import *\n"
        "target, name, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])\n"
        "owner = shutil if name == 'rmtree' else Path\n"
        "real = getattr(owner, name)\n"
        "def stopped(*given, **options):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*given, **options)\n"
        "require_absent(target)\n"
        "setattr(owner, name, stopped)\n"
        "with replacing_folder(target, 'last.json') as t:\n"
        "    (t / 'inner').mkdir()\n"
        "    for name in ('inner/a.txt', 'b.txt', 'last.json'): (t / name).write_text('new')\n"
    )
    return subprocess.run([sys.executable, "-c", code, str(folder), name, str(number)], check=False).returncode == -9


@pytest.mark.parametrize(("state", "call"), [(state, call) for state, calls in STOPS.items() for call in calls])
def test_whoever_fills_an_empty_folder_may_be_killed_anywhere_and_begin_again(
    tmp_path: Path, state: str, call: str
) -> None:
    kills = 0
    for number in (1, 2, 3, 5):
        target = tmp_path / f"{number}" / "out"
        target.parent.mkdir()
        if state == "empty":
            target.mkdir()
        if not killed_once(target, call, number):
            break  # there are no more calls
        kills += 1
        whole = (target / "last.json").exists()
        if whole:
            with pytest.raises(InvalidOption, match="is not empty"):
                require_absent(target)
        else:
            require_absent(target)
            with replacing_folder(target, "last.json") as temporary:
                fill(temporary)
        assert names(target.parent) == ["a.txt", *(["b.txt"] if whole else []), "inner", "last.json", "out"]
    assert kills


@pytest.mark.parametrize("theirs", ["mine.txt", "inner/mine.txt"])
def test_what_a_user_has_put_beside_the_files_of_a_killed_writer_stays_and_is_said(tmp_path: Path, theirs: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    assert killed_once(target, "replace", 3)
    (target / theirs).parent.mkdir(exist_ok=True)
    (target / theirs).write_text("mine")
    before = {path for path in target.rglob("*") if path.is_file() and ".files" not in str(path)}
    with pytest.raises(InvalidOption, match="exists and is not empty"):
        require_absent(target)
    assert {path for path in target.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "listed", ["", "7", "{}", "[]", "[1]", '["../../keep.txt"]', '["inner/../../keep.txt", "last"]']
)
def test_a_list_of_files_that_is_not_ours_takes_nothing_away(tmp_path: Path, listed: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (tmp_path / "keep.txt").write_text("mine")
    assert killed_once(target, "replace", 1)
    (left,) = target.glob(".files.*")
    (left / ".moving.json").write_text(listed)
    (left / "last").write_text("x")
    require_absent(target)
    assert names(tmp_path) == ["keep.txt", "out"]


def test_an_older_result_is_taken_for_none_before_a_new_one_is_written(tmp_path: Path) -> None:
    for name in ("tables.json", "a.png", "adapter/x", "adapter/y", "kept/x", "kept/of-the-user"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    clear_result(tmp_path, "tables.json", "absent", "a.png", "adapter/x", "adapter/y", "kept/x", "no/where")
    assert names(tmp_path) == ["kept", "of-the-user"]
    (tmp_path / "tables.json").mkdir()
    with pytest.raises(InvalidOption, match=r"tables\.json cannot be written"):
        clear_result(tmp_path, "tables.json")
