"""Source and target words: their tokens, spelled as they would follow the prompt (tokens/words.py).

What directions the tokens have in the unembedding is the logit lens (models/lens.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidOption
from ..loading import VLM
from ..models.decoding import Decoding
from ..tokens.words import added_tokens
from ..words import fold

#: Which tokens of the two words are paired: the first of each; the first, the second, ... of both; or the first of each
#: in every spelling (as given, capitalised, upper case, plural).
Pairing: TypeAlias = Literal["first", "each", "variants"]
PAIRINGS: tuple[Pairing, ...] = get_args(Pairing)

#: Two directions with 1 - |cosine| at most this are one direction: no change can exchange them.
_APART = 1e-6


@dataclass(frozen=True)
class WordPair:
    """A source and a target word with their tokens.

    Attributes:
        source, target: the words.
        source_ids, target_ids: all tokens of each, as spelled after the prompt.
        pairs: (token of the source, token of the target) that are exchanged.
    """

    source: str
    target: str
    source_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WordPair:
        """The inverse of dataclasses.asdict, from JSON."""
        source_ids, target_ids = tuple(data["source_ids"]), tuple(data["target_ids"])
        pairs = tuple((int(s), int(t)) for s, t in data["pairs"])
        return cls(data["source"], data["target"], source_ids, target_ids, pairs)


def spell(vlm: VLM, word: str, argument: str, decoding: Decoding = Decoding()) -> tuple[int, ...]:
    """The tokens of a word as it is spelled after the prompt.

    Raises InvalidOption for an empty word and for one that the vocabulary cannot spell.
    """
    if not word.strip():
        raise InvalidOption(f"{argument}={word!r} is empty; a word is needed")
    ids = _tokens(vlm, word, decoding)
    if ids is None:
        raise InvalidOption(f"{argument}={word!r} is not in the vocabulary of {vlm.id}: it has no tokens that spell it")
    return ids


def pair_words(
    vlm: VLM, source: str, target: str, pairing: Pairing = "first", decoding: Decoding = Decoding()
) -> WordPair:
    """The tokens of two words, paired.

    With "each", what one word has more tokens than the other is left as it is; with "variants", spellings that the
    vocabulary does not have are left out. Pairs of one and the same token change nothing and are dropped, and so
    is a pair with a token of an earlier one.

    Raises InvalidOption for words that are the same, that begin with the same token, or that cannot be spelled.
    """
    if fold(source.strip()) == fold(target.strip()):
        raise InvalidOption(f"source={source!r} and target={target!r} are the same word: there is nothing to edit")
    ids = spell(vlm, source, "source", decoding), spell(vlm, target, "target", decoding)
    found = {
        "first": lambda: [(ids[0][0], ids[1][0])],
        "each": lambda: list(zip(*ids, strict=False)),
        "variants": lambda: _variants(vlm, source.strip(), target.strip(), decoding),
    }[pairing]()
    pairs: list[tuple[int, int]] = []
    for s, t in found:
        if s != t and not {s, t} & {token for pair in pairs for token in pair}:
            pairs.append((s, t))
    if not pairs:
        token = vlm.tokenizer.decode([ids[0][0]])
        raise InvalidOption(
            f"source={source!r} and target={target!r} begin with the same token {token!r}: choose another target, or "
            "tokens='each'"
        )
    return WordPair(source.strip(), target.strip(), *ids, tuple(pairs))


def require_words(words: WordPair | None) -> WordPair:
    """The words of an editor that needs them. Raises InvalidOption where there are none."""
    if words is None:
        raise InvalidOption("words=None: this editor exchanges two words, which its words(vlm) returns")
    return words


def require_apart(u: Float[Tensor, "hidden tokens"], pair: WordPair) -> None:
    """Raise InvalidOption where the directions of a word pair's tokens depend on each other linearly."""
    unit = u.double() / u.double().norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    smallest = float(torch.linalg.svdvals(unit)[-1])
    # Of two unit vectors with cosine c the smallest singular value is sqrt(1 - |c|).
    if not smallest**2 > _APART:
        raise InvalidOption(
            f"the unembedding directions of source={pair.source!r} and target={pair.target!r} are parallel: no change "
            "of a value vector can exchange them. Choose another target"
        )


def _tokens(vlm: VLM, word: str, decoding: Decoding) -> tuple[int, ...] | None:
    """The tokens that a word adds to the prompt; None where one of them is the unknown token."""
    ids = tuple(added_tokens(vlm.tokenizer, decoding.context, word.strip()))
    return None if not ids or vlm.tokenizer.unk_token_id in ids else ids


def _variants(vlm: VLM, source: str, target: str, decoding: Decoding) -> list[tuple[int, int]]:
    """First tokens of both words in each spelling that the vocabulary has for both."""
    found: list[tuple[int, int]] = []
    for respell in (str, str.capitalize, str.upper, lambda word: f"{word}s"):
        ids = [_tokens(vlm, respell(word), decoding) for word in (source, target)]
        if ids[0] is not None and ids[1] is not None:
            found.append((ids[0][0], ids[1][0]))
    return found
