"""Controls: changes and words for which the concept cannot be the reason (METHODS G1 i)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from ..caption import clean_captions
from ..errors import InvalidSample
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.controls import controls_of
from ..samples.image import read_image
from ..samples.inpaint import Counterfactual, inpaint
from ..samples.inpainters import is_inpainter
from ..samples.lexicon import Lexicon
from ..tokens.words import added_tokens, first_token
from ..types import Json, Site
from .pooling import spread
from .scores import Flat, Pool, Pooled, Sign, activation_differences
from .validity import Validity

#: Whether controls are brought to the pair's amount of change: by the robust spread of V over neurons, or not at all.
ControlScale: TypeAlias = Literal["spread", "none"]
CONTROL_SCALES: tuple[ControlScale, ...] = get_args(ControlScale)


@dataclass(frozen=True)
class ControlDifference:
    """V of one control: what changes at the image tokens where the concept cannot be the reason.

    Attributes:
        values: of all neurons, multiplied by `factor`.
        kind: what was inpainted, or "photograph" for a picture of another scene.
        area: its pixels, as a share of those of the edit.
        factor: the robust spread of the pair's V over that of the control, where controls are brought to one amount of
            change; 1 otherwise.
        shift: how far the middle of the scaled values lies above that of the pair's, in robust spreads of the pair's.
    """

    values: Flat
    kind: str
    area: float
    factor: float
    shift: float

    def to_dict(self) -> dict[str, Json]:
        """For neurons.json, without the values."""
        return {name: value for name, value in vars(self).items() if name != "values"}


@dataclass(frozen=True)
class Differences:
    """How V is taken: the arguments of :func:`activation_differences`, and whether controls are scaled."""

    site: Site
    sign: Sign
    pool: Pool
    decoding: Decoding
    scale: ControlScale = "spread"

    def of(
        self, vlm: VLM, pair: Counterfactual, count: int, seed: int, photographs: Sequence[str] = ()
    ) -> tuple[Pooled, list[ControlDifference]]:
        """V of the pair, and of up to `count` controls.

        Args:
            vlm: the model.
            pair: the image and its counterfactual.
            count: how many parts of the pair's own picture are inpainted (:func:`neuronscope.samples.controls_of`).
            seed: of their places.
            photographs: files of other pictures without the concept. Where there are some, the controls are these, the
                region of the edit inpainted in each, and none of the pair's own picture.

        A control that changes no activation says nothing and is left out. Raises InvalidSample for a photograph that
        cannot be read, or whose caption names the concept.
        """
        own = [] if photographs else controls_of(pair, count, seed)
        target, *rest = self._read(vlm, pair.original, [pair.edited, *(control.edited for control in own)])
        found = [self._scaled(target, other, c.kind, c.area) for other, c in zip(rest, own, strict=True)]
        found += [
            self._scaled(target, self._read(vlm, other.original, [other.edited])[0], "photograph", 1.0)
            for other in _elsewhere(vlm, pair, photographs, self.decoding)
        ]
        return target, [one for one in found if one is not None]

    def _read(self, vlm: VLM, original: Image.Image, others: list[Image.Image]) -> list[Pooled]:
        return activation_differences(
            vlm, original, others, site=self.site, sign=self.sign, pool=self.pool, decoding=self.decoding
        )

    def _scaled(self, target: Pooled, other: Pooled, kind: str, area: float) -> ControlDifference | None:
        own, wanted = spread(other.values), spread(target.values)
        if not own or not wanted:
            return None
        factor = wanted / own if self.scale == "spread" else 1.0
        values = other.values * factor
        shift = float(np.median(values) - np.median(target.values)) / wanted
        return ControlDifference(values, kind, area, factor, shift)


def _elsewhere(
    vlm: VLM, pair: Counterfactual, photographs: Sequence[str], decoding: Decoding
) -> Iterator[Counterfactual]:
    """Each photograph with the region of the edit inpainted, at the same place of the picture."""
    method = pair.method if is_inpainter(pair.method) else "telea"
    for path in photographs:
        picture = read_image(path)
        mask = np.asarray(Image.fromarray(pair.mask).resize(picture.size, Image.Resampling.NEAREST))
        said = clean_captions(vlm, [picture], decoding=decoding)[0]
        if Lexicon.default().match(said.text, pair.sample.concept) is not None:
            raise InvalidSample(f'{path} is no control for {pair.sample.concept!r}: its caption is "{said.full}"')
        yield Counterfactual(pair.sample, picture, inpaint(picture, mask, method), mask, method)


def decoy_tokens(
    vlm: VLM, validity: Validity, concept: str, count: int, seed: int, *, decoding: Decoding = Decoding()
) -> list[int]:
    """First tokens of nouns that the caption does not name, each different from the concept's and from each other.

    Raises InvalidSample when there is none.
    """
    lexicon, prompt = Lexicon.default(), decoding.context
    named = {*lexicon.concepts_in(validity.original.text), concept}
    others = [noun for noun in lexicon.concepts if noun not in named and _has_word(vlm, prompt, noun)]
    taken = {validity.original.ids[t] for t in validity.tokens} | {vlm.tokenizer.unk_token_id}
    tokens: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(others)):
        token = first_token(vlm.tokenizer, prompt, others[index])
        if token not in taken:
            taken.add(token)
            tokens.append(token)
        if len(tokens) == count:
            return tokens
    if not tokens:
        raise InvalidSample(
            f"no noun is spelled unlike {concept!r} to serve as a decoy; use a fixed threshold or budget"
        )
    return tokens


def _has_word(vlm: VLM, prompt: str, noun: str) -> bool:
    """Whether the vocabulary holds a noun in few pieces; spelled by letters, its first token would be a letter."""
    pieces = added_tokens(vlm.tokenizer, prompt, noun)
    return len(pieces) <= 2 * len(noun.split()) and len(vlm.tokenizer.decode(pieces[:1]).strip()) > 1
