"""One way to make a page: a template, one style sheet and one script, all inside one file that needs no network.

Everything is escaped by the template engine. A content security policy in the page lets only this script run, told by
its SHA-256, so that even a text that escaped escaping could do nothing; and it forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunMismatch, first_line
from ..files import write_text
from .terms import TERMS

if TYPE_CHECKING:
    from jinja2 import Environment


@contextmanager
def telling_damage(place: str | Path) -> Generator[None]:
    """Make pages of documents that anybody may have written: what does not fit a page is RunMismatch with the place.

    Readers look at the form of a document; a number that is a text, or a list of another length, is only found by what
    shows it.
    """
    from jinja2 import TemplateError

    try:
        yield
    except RunMismatch as error:
        if str(place) in str(error):
            raise
        raise RunMismatch(f"{place}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError) as error:
        raise RunMismatch(f"{place} is damaged: {type(error).__name__}: {first_line(error)}") from error


def write_page(template: str, path: str | Path, context: Mapping[str, Any]) -> Path:
    """Render one of the templates to a file and return its path. Raises InvalidOption where it cannot be written."""
    target = Path(path)
    write_text(target, render(template, context))
    return target


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page as text. With "linked" in the context, addresses of neurons in texts and tables are shown by it."""
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    assets = {"style": _asset("report.css"), "script": script, "script_hash": f"sha256-{digest}"}
    return _environment().get_template(template).render(**assets, terms=TERMS, **{"linked": str, **context})


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("neuronscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (files("neuronscope.report") / "templates" / name).read_text(encoding="utf-8")
