"""Every code block of README.md, CONTRIBUTING.md and docs is executed on the bundled model, or says why not.

Blocks of a page share one folder and one set of variables, in the order of the page. See page_blocks for the marks,
page_folder for the files and variables that pages may take for granted.
"""

from __future__ import annotations

import json
import signal
import textwrap
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import page_code
import page_commands
import pytest
from page_blocks import PARSED_ONLY, ROOT, BadPage, Block, blocks, pages, shown
from page_folder import Names, few_maps, located_once, model_unchanged, prepare, require_as_read

import neuronscope as ns
from neuronscope.errors import InvalidOption

#: Of a block; most take less than one, on a busy machine several times as long.
_SECONDS = 120.0
PAGES = [pytest.param(page, id=shown(page)) for page in pages()]
#: Pages that take no variable for granted and show all that they print.
PRINTING = (ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "errors").glob("*-*.md"))


def execute(block: Block, variables: dict[str, Any]) -> str:
    """Run, parse or look at one block; returns what its code prints. Raises AssertionError with its place."""
    try:
        if block.language in _DOING and not block.includes:
            return _DOING[block.language](block, variables) or ""
        return ""
    except Exception as error:
        raise AssertionError(f"{block}: {type(error).__name__}: {error}") from error


def _python(block: Block, variables: dict[str, Any]) -> str:
    page_code.look_up(block)
    return "" if block.mark else page_code.run(block, variables)


def _bash(block: Block, _: object) -> None:
    if block.mark == PARSED_ONLY:
        page_commands.parse(block.code)
    elif not block.mark:
        page_commands.run(block.code)


def _json(block: Block, _: object) -> None:
    json.loads(block.code)


def _runs(block: Block) -> bool:
    """Whether its code is run, and may leave something changed."""
    return block.language in ("python", "bash") and not block.mark and not block.includes


_DOING: dict[str, Callable[[Block, dict[str, Any]], str | None]] = {"python": _python, "bash": _bash, "json": _json}


def execute_page(page: Path, folder: Path, *, exact: bool = False) -> None:
    """All blocks of a page, in a folder that is the current one; `exact`: without variables, showing all it prints."""
    listed = blocks(page)
    variables = {"__name__": "__main__"} if exact else Names(__name__="__main__")
    printed = ""
    guard = model_unchanged() if any(map(_runs, listed)) else nullcontext()
    with page_code.registries_kept(), guard, located_once(), few_maps():
        prepare(folder, "\n".join(block.code for block in listed if not block.mark))
        for block in listed:
            if exact and printed:
                assert printed == block.code, f"{block} shows something else than is printed: {printed}"
            with within(_SECONDS):
                printed = execute(block, variables)
    assert not (exact and printed), f"{shown(page)} does not show what its last block prints: {printed}"


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Stop a block that does not end, such as one that serves a page. Systems without such an alarm let it go on."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"takes more than {seconds:g} s: mark it")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def _as_read() -> Generator[None]:
    """The model that all pages share is in the end what it was at first."""
    yield
    require_as_read()


@pytest.mark.parametrize("page", PAGES)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    execute_page(page, tmp_path, exact=page in PRINTING)


# What the rules are worth: pages that break them.


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a page into the current folder."""
    monkeypatch.chdir(tmp_path)

    def page(text: str) -> Path:
        path = tmp_path / "page.md"
        path.write_text(textwrap.dedent(text))
        return path

    return page


BROKEN = {
    "unknown language": ("```pyhton\nx\n```", "page.md:2: unknown language 'pyhton'"),
    "no language": ("```\nx\n```", "unknown language ''"),
    "mark without reason": ("<!-- not run: -->\n```bash\nls\n```", "page.md:2: the mark 'not run' gives no reason"),
    "mark without colon": ("<!-- parsed only -->\n```bash\nls\n```", "gives no reason"),
    "two marks": ("<!-- not run: a -->\n<!-- parsed only: b -->\n```bash\nls\n```", "2 marks"),
    "mark away from its block": ("a\n\n<!-- not run: a -->\n\n```bash\nls\n```", "page.md:3: a mark belongs"),
    "mark above text": ("<!-- not run: a -->\n\nWords.", "page.md:1: a mark belongs"),
    "no JSON": ("```json\n{'a': 1}\n```", "page.md:2: JSONDecodeError"),
    "mark at the end": ("Words.\n\n<!-- parsed only: a -->", "a mark belongs"),
    "mark within a line": ("Words <!-- not run: a --> and more", "a mark belongs"),
    "mark of what is never run": ("<!-- not run: a -->\n```text\nls\n```", "says nothing"),
    "query without mark": ("```sql\nSELECT\n```", "needs the mark"),
    "indented by a tab of the site": ('=== "Python"\n\n    ```pyhton\n    x\n    ```', "page.md:4: unknown language"),
    "in a list": ("1. First\n\n   ```pyhton\n   x\n   ```", "page.md:4: unknown language"),
    "file that is not there": ('```python\n--8<-- "src/nothing.py:part"\n```', "src/nothing.py, which is not there"),
    "code that fails": ("```python\nx = 1\n\n1 / 0\n```", "ZeroDivisionError"),
    "code of the next block": ("```python\nx = 1\n```\n\n```python\nx + y\n```", "page.md:6: NameError"),
    "no Python": ("<!-- not run: a -->\n```python\nx =\n```", "SyntaxError"),
    "name of ns, not run": ("<!-- not run: a -->\n```python\nns.Nosie\n```", "no neuronscope.Nosie"),
    "import, not run": (
        "<!-- parsed only: a -->\n```python\nfrom neuronscope.view import heatmaps\n```",
        "no neuronscope.view.heatmaps",
    ),
    "other output": ("```python\nprint(1)\n```\n\n```text\n2\n```", "page says\n2"),
    "another program": ("```bash\nneuronscope models && rm -r x\n```", "rm -r x"),
    "pipe": ("```bash\nneuronscope models | head\n```", "only neuronscope is run"),
    "verb that is refused": ("```bash\nneuronscope decode 4\n```", "exit code 1"),
    "unknown option, parsed": ("<!-- parsed only: a -->\n```bash\nneuronscope demo --imagse 2\n```", "exit code 2"),
    "option that is no number, parsed": (
        "<!-- parsed only: a -->\n```bash\nneuronscope demo \\\\\n --images two\n```",
        "exit code 2",
    ),
    "missing option, parsed": ("<!-- parsed only: a -->\n```bash\nneuronscope edit\n```", "exit code 2"),
    "module's option, parsed": (
        "<!-- parsed only: a -->\n```bash\npython -m training --ouut x\n```",
        "python -m training --ouut x is refused",
    ),
    "extra, parsed": ("<!-- parsed only: a -->\n```bash\npip install '.[edit,metrix]'\n```", "no extra metrix"),
    "nothing to parse": ("<!-- parsed only: a -->\n```bash\nls\n```", "say 'not run'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_page_that_breaks_the_rules_fails(name: str, write: Callable[[str], Path], tmp_path: Path) -> None:
    text, message = BROKEN[name]
    with pytest.raises((BadPage, AssertionError)) as failure:
        execute_page(write(text), tmp_path)
    assert message in str(failure.value)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```",
        "```python\nprint(1)\n```\n\n```text\n 1\n```",
        "```python\nprint(1)\n```\n\n```python\nprint(2)\n```\n\n```text\n2\n```",
        "```python\nns.Zero\n```",
    ],
)
def test_a_page_that_shows_all_says_it_as_it_is(text: str, write: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"print|name 'ns' is not defined"):
        execute_page(write(text), tmp_path, exact=True)
    execute_page(write("```python\nprint(1)\n```\n\nsays\n\n```text\n1\n```"), tmp_path, exact=True)


def test_blocks_share_variables_and_edits_are_taken_back(write: Callable[[str], Path], tmp_path: Path) -> None:
    page = write(
        """
        ```python
        before = vlm.fingerprint
        edit = ns.Ablate().edit(vlm, ns.Neurons.of([(4, 157)]))
        edit.apply()
        print(vlm.fingerprint == before)
        ```

        ```text
        False
        ```

        <!-- of another tool -->
        ```python
        ns.register_method("mine", ns.Random)
        print(edit.applied, vlm.fingerprint == before)
        ```

        ```text
        False True
        ```

        <!-- another tool's --><!-- not run: removes everything -->
        ```bash
        rm -r .
        ```

        <!-- parsed only: takes minutes -->
        ```bash
        #!/bin/bash
        host=$(hostname)
        neuronscope demo --out "$SCRATCH/x" &  # in the background
        python -m training --seed 3
        ```
        """
    )
    assert [(block.line, block.mark) for block in blocks(page)] == [
        (3, ""), (10, ""), (15, ""), (20, ""), (25, "not run"), (30, "parsed only")
    ]  # fmt: skip
    execute_page(page, tmp_path)
    with pytest.raises(InvalidOption, match="mine"):
        ns.method("mine")


def test_files_and_variables_are_there_before_they_are_named(write: Callable[[str], Path], tmp_path: Path) -> None:
    page = write(
        """
        ```bash
        neuronscope caption bear.jpg --model path/to/llava-1.5-7b-hf   # the bundled model
        neuronscope scenes --out "a folder" --count 1 && neuronscope models
        ```

        ```python
        assert vlm.caption("bear.jpg") == "The image shows a brown bear in a forest."
        assert pair.sample.concept == "bear" and ns.CocoFolder.open("a folder")
        ```
        """
    )
    execute_page(page, tmp_path)
    assert not (tmp_path / "bus.jpg").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm on this system")
def test_a_block_that_does_not_end_is_stopped() -> None:
    with pytest.raises(TimeoutError, match="mark it"), within(0.01):
        time.sleep(10)
