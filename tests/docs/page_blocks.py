"""The code blocks of a Markdown page, and the marks that say why one of them is not run.

A mark is an HTML comment on the line directly above the block (above other comments, if there are several):

    <!-- not run: REASON -->       Python is compiled and its names of neuronscope are looked up; bash is left alone
    <!-- parsed only: REASON -->   the same for Python; the arguments of bash lines are parsed by the real parser

A text block with nothing but empty lines between it and the Python block above it is what that block prints.

The library markdown-it-py finds the blocks. Blocks that other tools indent (tabs, admonitions) are found in what it
takes for indented code.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]

#: Languages that are run; of JSON it is only asked that it is JSON.
RUN = ("python", "bash", "json")
#: Languages that are shown, and mean nothing to a machine.
SHOWN = ("text",)
#: Languages that would be run if what they need were here: they have to be marked.
FOREIGN = ("sql",)

NOT_RUN, PARSED_ONLY = "not run", "parsed only"
_MARK = re.compile(rf"<!--\s*({NOT_RUN}|{PARSED_ONLY})\b\s*:?(.*?)-->", re.DOTALL)
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)
#: A line that the documentation site replaces by a piece of a file.
_INCLUDE = re.compile(r'^\s*--8<--\s*"([^":]+)(?::[^"]*)?"\s*$')


class BadPage(Exception):
    """A block or mark that is against the rules; says where."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: its file.
        line: of its first line of code, counted from 1.
        language: the first word behind the fence.
        code: what is between the fences, without common indentation.
        mark: NOT_RUN, PARSED_ONLY or "".
        reason: why, for a marked block.
        prints: what the page says that it prints; None where it says nothing.
    """

    page: Path
    line: int
    language: str
    code: str
    mark: str = ""
    reason: str = ""
    prints: str | None = None

    def __str__(self) -> str:
        return f"{shown(self.page)}:{self.line}"

    @property
    def includes(self) -> tuple[str, ...]:
        """The files that the block consists of; empty for a block that has code of its own."""
        lines = [line for line in self.code.splitlines() if line.strip()]
        found = [match.group(1) for line in lines if (match := _INCLUDE.match(line))]
        return tuple(found) if len(found) == len(lines) else ()


def shown(page: Path) -> str:
    """A page as messages call it."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def pages() -> list[Path]:
    """Every page whose blocks are executed."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order. Raises BadPage for what is against the rules."""
    found = list(_blocks(page, page.read_text(encoding="utf-8"), 0))
    for block in found:
        _check(block)
    return found


def _blocks(page: Path, text: str, above: int) -> Iterator[Block]:
    """Blocks of a piece of a page that begins `above` lines below its first."""
    tokens = [token for token in MarkdownIt().parse(text) if token.map is not None]
    html = {_end(token): token for token in tokens if token.type == "html_block"}
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        first = _first(token)
        if token.type == "fence":
            language = _language(token)
            output = following.content if following is not None and _language(following) == "text" else None
            yield Block(
                page,
                above + first + 2,
                language,
                textwrap.dedent(token.content),
                *_mark(f"{shown(page)}:{above + first + 1}", list(_taken(html, first))),
                prints=output if language == "python" else None,
            )
        elif token.type == "code_block" and _FENCE.search(token.content):
            yield from _blocks(page, textwrap.dedent(token.content), above + first)
    inline = [
        (token, child.content) for token in tokens for child in token.children or [] if child.type == "html_inline"
    ]
    for token, content in [*((token, token.content) for token in html.values()), *inline]:
        if _MARK.search(content):
            raise BadPage(
                f"{shown(page)}:{above + _first(token) + 1}: a mark belongs on the line directly above a block: "
                f"{content.strip()}"
            )


def _language(token: Token) -> str:
    """Of a fenced block, the first word behind the fence; empty for none, and for everything else."""
    return (token.info.split() or [""])[0].strip("{}.") if token.type == "fence" else ""


def _first(token: Token) -> int:
    """Its first line, counted from 0; tokens within a line have none and are not asked."""
    return token.map[0] if token.map else 0


def _end(token: Token) -> int:
    """The line behind a token's last that is not empty."""
    return _first(token) + len(token.content.rstrip().splitlines())


def _taken(html: dict[int, Token], line: int) -> Iterator[str]:
    """Take what stands directly above a line, upwards."""
    while (token := html.pop(line, None)) is not None:
        yield token.content
        line = _first(token)


def _mark(where: str, comments: list[str]) -> tuple[str, str]:
    found = [match for comment in comments for match in _MARK.finditer(comment)]
    if len(found) > 1:
        raise BadPage(f"{where}: a block has {len(found)} marks")
    if not found:
        return "", ""
    reason = " ".join(found[0].group(2).split())
    if not reason:
        raise BadPage(f"{where}: the mark {found[0].group(1)!r} gives no reason")
    return found[0].group(1), reason


def _check(block: Block) -> None:
    known = (*RUN, *FOREIGN, *SHOWN)
    if block.language not in known:
        raise BadPage(f"{block}: unknown language {block.language!r}; one of {', '.join(known)} is needed")
    if block.language in FOREIGN and block.mark != NOT_RUN:
        raise BadPage(f"{block}: {block.language} cannot be run here and needs the mark '{NOT_RUN}: REASON'")
    if block.language in SHOWN and block.mark:
        raise BadPage(f"{block}: {block.language} is never run, so the mark '{block.mark}' says nothing")
    for file in block.includes:
        if not (ROOT / file).is_file():
            raise BadPage(f"{block}: includes {file}, which is not there")
