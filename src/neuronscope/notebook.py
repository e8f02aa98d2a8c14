"""How results show themselves in a notebook: small HTML without scripts or styles of its own, every text escaped.

Needs neither torch nor numpy, since a set of neurons does not.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: Neurons that are listed; a notebook cell is for a look, neurons.json for all of them.
ROWS = 20


def table_html(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], hidden: int = 0) -> str:
    """Rows under column names, with a title and how many more there are."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    more = f"<p>and {hidden} more</p>" if hidden > 0 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<p><b>{escape(title)}</b></p>{table}{more}"


def lines_html(lines: Sequence[tuple[str, str]]) -> str:
    """Pairs of a name and a text, one a row."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in lines)
    return f"<table><tbody>{body}</tbody></table>"


def picture_html(picture: Image.Image, label: str) -> str:
    """A picture with its description."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    text = escape(label)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
