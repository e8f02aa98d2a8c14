"""Chat templates of published models, from the pieces that their own code puts together."""

from __future__ import annotations

import json
from dataclasses import dataclass

_SAID = (
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{- IMAGE -}}"
    "{%- else -%}{{- (BETWEEN if not loop.first else '') + part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
)
_TURNS = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- BEFORE_SYSTEM -}}SAID{{- AFTER_SYSTEM -}}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- FIRST if loop.first else (TOLD if loop.previtem['role'] == 'system' else AGAIN) -}}SAID{{- CLOSE -}}"
    "{%- else -%}{{- LEAD -}}SAID{{- DONE -}}{%- endif -%}"
    "{%- endfor -%}"
)


@dataclass(frozen=True)
class Conversation:
    """How a model was asked, and how it answered, in the pieces of its own code.

    Attributes:
        image: what stands for an image, with what the model has around it.
        first: before the user's first turn.
        close: behind a user's turn; the answer begins there.
        lead: before an answer that is already there, where its text was tokenised with a space of its own.
        done: behind an answer.
        between: between image and text.
        told: before the first turn where there is a system turn, if not `first`.
        again: before later turns, if not `first`.
        before_system, after_system: around a system turn.
    """

    image: str
    first: str
    close: str
    lead: str = ""
    done: str = ""
    between: str = " "
    told: str | None = None
    again: str | None = None
    before_system: str = ""
    after_system: str = ""

    @property
    def shown(self) -> str:
        """One question about one image, with {prompt} for the question."""
        return f"{self.first}{self.image}{self.between}{{prompt}}{self.close}"

    def jinja(self) -> str:
        """The template in the form of transformers."""
        pieces = {
            "BEFORE_SYSTEM": self.before_system,
            "AFTER_SYSTEM": self.after_system,
            "BETWEEN": self.between,
            "IMAGE": self.image,
            "FIRST": self.first,
            "TOLD": self.first if self.told is None else self.told,
            "AGAIN": self.first if self.again is None else self.again,
            "CLOSE": self.close,
            "LEAD": self.lead,
            "DONE": self.done,
        }
        text = _TURNS.replace("SAID", _SAID)
        for name, piece in pieces.items():
            text = text.replace(name, json.dumps(piece, ensure_ascii=False))
        return text
