"""From a word in a decoded caption to the token ids that spell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidOption

#: What thoughts that models write before they answer begin and end with.
_THOUGHTS = (("<think>", "</think>"), ("◁think▷", "◁/think▷"))


def spoken(text: str) -> str:
    """What is said after a thought, where there is one: nothing as long as the thought has not come to its end."""
    for begin, end in _THOUGHTS:
        thought, found, rest = text.partition(end)
        if found:
            return rest.lstrip()
        if thought.lstrip().startswith(begin):
            return ""
    return text


def tokens_of_span(tokenizer: Any, ids: Sequence[int], start: int, end: int) -> list[int]:
    """Indices into `ids` of the tokens that spell characters [start, end) of what the decoded text says.

    Ids are used as generated, never re-tokenised (METHODS B4): decoding growing prefixes tells how many characters each
    token adds. Characters are counted from the end of a thought (:func:`spoken`).
    """
    indices: list[int] = []
    whole = tokenizer.decode(list(ids), skip_special_tokens=True)
    unsaid = len(whole) - len(spoken(whole))
    start, end = start + unsaid, end + unsaid
    before = 0
    for index in range(len(ids)):
        after = len(tokenizer.decode(ids[: index + 1], skip_special_tokens=True))
        if after > start and before < end and after > before:
            indices.append(index)
        before = after
        if before >= end:
            break
    return indices


def first_token(tokenizer: Any, context: str, word: str) -> int:
    """The first token of `word` as it is spelled after `context` (METHODS B3: a word's first sub-token)."""
    added = added_tokens(tokenizer, context, word)
    if not added:
        raise InvalidOption(f"the word {word!r} adds no token after {context!r}")
    return added[0]


def added_tokens(tokenizer: Any, context: str, word: str) -> list[int]:
    """The tokens of `word` as it is spelled after `context`: what follows the tokens that both spellings begin with."""
    alone, joined = (tokenizer(text, add_special_tokens=False).input_ids for text in (context, f"{context} {word}"))
    shared = 0
    while shared < min(len(alone), len(joined)) and alone[shared] == joined[shared]:
        shared += 1
    return [int(token) for token in joined[shared:]]
