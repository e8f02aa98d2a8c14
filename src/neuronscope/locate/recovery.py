"""Where to cut a ranking: at the fewest neurons that carry the edit (METHODS n5).

    n = min { n : r(top n) >= rho min(1, r(all)), and the caption with the top n exchanged does not name the concept }

r(all) is the ceiling: what all FFN neurons at the image tokens recover. More cannot be asked of any of them. Where the
score saturates, a few neurons may be all there is, r(all but the top n) <= epsilon min(1, r(all)), and recover little
by themselves: a set that would get large is cut there instead where that is a small one.
Each question is asked of the model itself, so no control and no null is needed; beside the answer stand the same for
random sets of the same layers, for all other neurons, and for all of them: the ceiling.

Where neurons stand in for each other the fewest are not all: of a dozen with like scores five may do. `gap` goes on
from there to the next place where the score falls by that factor between neighbours, the end of such a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from ..caption import Caption, clean_captions
from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..intervene import Patch
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.lexicon import Lexicon, Mode
from ..types import Json, Neurons, Site, whole_number
from ..words import wordless
from .matched import matched_members
from .patching import Exchange
from .picture_row import PictureRow, picture_rows
from .saying import Saying
from .scores import Flat, Layout, best_first
from .target import ConceptToken, concept_word
from .validity import Validity

#: The size that is tried first: it is doubled until it holds, then halved down to the last that fails.
FIRST = 40


@dataclass(frozen=True)
class Recovered:
    """A cut, and what the neurons before it do.

    Attributes:
        count: how many of the best are kept; 0 where none of the sizes up to `most` does it.
        fewest: the fewest that do it, before the end of their group is sought.
        effect: E, what the edit does to the log-probability of the concept's word, in natural logarithms.
        share: r of those that are kept.
        ceiling: r of all neurons.
        others: r of all neurons but those that are kept.
        random: r of random sets with as many of each layer.
        restored: the other direction: what they give back, their original activations put into the edited picture.
        named: whether the edited picture's caption then names the concept again.
        tried: size -> r.
    """

    count: int
    fewest: int
    effect: float
    share: float
    ceiling: float
    others: float
    random: tuple[float, ...]
    restored: float
    named: bool
    tried: dict[int, float]

    def notes(self) -> tuple[str, ...]:
        """What a reader should know, in sentences."""
        if not self.count:
            best = max(self.tried.values(), default=0.0)
            return (
                "no set of the best neurons recovers enough of what the edit does and takes the word away: they "
                f"recover at most {best:z.0%} of it, all FFN neurons at the image's positions "
                f"{self.ceiling:z.0%}. A lower share, word=False, or a fixed count keeps some; where the ceiling is "
                "low no method on them can",
            )
        beside = "" if not self.random else f", as many random ones of the same layers {np.mean(self.random):z.0%}"
        return (
            f"exchanging the {self.count} neurons recovers {self.share:z.0%} of what the edit does to the word's "
            f"log-probability{beside}, all FFN neurons {self.ceiling:z.0%}, all but the {self.count} "
            f"{self.others:z.0%}",
            f"put back into the edited picture they restore {self.restored:z.0%}; its caption then "
            f"{'names' if self.named else 'does not name'} the concept",
        )

    def to_dict(self) -> dict[str, Json]:
        """For neurons.json."""
        tried: dict[str, Json] = {str(size): share for size, share in sorted(self.tried.items())}
        return {**vars(self), "random": list(self.random), "tried": tried}


@checked_methods
@dataclass(frozen=True)
class Recovery:
    """The fewest of the best neurons that recover a share of the edit's effect, with the word gone from the caption.

    Exact up to 40, to a twentieth above: each further halving costs a caption. That more of the best neurons do as much
    as fewer is taken for granted; where it is not so, a smaller set may do it, too.

    Attributes:
        share: rho, of the effect on the log-probability of the concept's word, or of the ceiling where that is less; of
            the sub-tokens that the ranking's own `concept_token` says.
        rest: epsilon: in place of a set larger than `reach`, or of none, the fewest without which no more than this
            share of the ceiling is recovered, where these are at most `reach`; None asks for the share alone.
        word: whether the whole caption has to lose the concept as well; half of the effect alone rarely takes it.
        gap: a group ends where the score falls by more than this factor between neighbours; None keeps the fewest.
        reach: how many neurons a small set has at most, and are looked through for the end of the group.
        most: the largest set that is tried.
        draws: random sets beside the one that is kept.
        seed: of the random sets.
    """

    share: float = 0.5
    rest: float | None = 0.1
    word: bool = True
    gap: float | None = 1.6
    reach: int = 40
    most: int = 2000
    draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value, low in (("share", self.share, 0.0), ("gap", self.gap, 1.0)):
            if value is not None and not low < value < float("inf"):
                raise InvalidOption(f"Recovery: {name}={value} must be a number above {low:g}")
        for name, value, least in (("reach", self.reach, 0), ("most", self.most, 1), ("draws", self.draws, 0)):
            whole_number(name, value, least)
        whole_number("seed", self.seed, 0)
        if self.rest is not None and not 0 <= self.rest < 1:
            raise InvalidOption(f"Recovery: rest={self.rest} must be at least 0 and less than 1, or None")

    def choose(
        self,
        vlm: VLM,
        pair: Counterfactual,
        validity: Validity,
        values: Flat,
        *,
        site: Site = "neuron",
        concept_token: ConceptToken = "first",
        mode: Mode = "lexicon",
        decoding: Decoding = Decoding(),
        rows: Sequence[PictureRow] = (),
    ) -> Recovered:
        """Where to cut `values`, the scores of all neurons; only scores above 0 are candidates.

        Args:
            vlm: the model.
            pair: the image and its counterfactual.
            validity: the captions of the pair.
            values: one score per neuron, on the flat axis of :class:`Layout`.
            site: where activations are exchanged.
            concept_token: whose log-probability is recovered, of a word of several tokens: their sum, for example.
            mode: when a caption counts as naming the concept.
            decoding: caption settings.
            rows: of the original and the edited picture, where they have been read.

        Raises InvalidSample where the edit does not make the word less likely, so that there is nothing to recover.
        """
        word = concept_word(validity, concept_token)
        rows = picture_rows(vlm, pair, word, decoding, site, rows)
        ahead = Saying.of(vlm, validity, pair.sample.concept, mode, decoding) if self.word else None
        exchange = Exchange.between(vlm, *rows, ahead=ahead)
        effect = exchange.require_edit(pair.sample.concept)
        asked = _Asked(vlm, pair, exchange, values, mode, decoding)
        ceiling = float(asked.shares_of([np.ones(len(values), dtype=bool)])[0])
        asked.most = min(1.0, ceiling)
        asked.least = self.share * asked.most
        fewest = self._whole(asked, self._fewest(asked)) if ceiling > 0 else 0
        count = self._group(asked.order, values, fewest) if fewest else 0
        controls = asked.random(count, self.draws, self.seed) if count else []
        random = tuple(float(each) for each in asked.shares_of(controls)) if controls else ()
        share = asked.shares([count])[0] if count else 0.0
        restored, named = asked.back(Exchange.between(vlm, *reversed(rows)), count) if count else (0.0, False)
        return Recovered(
            count, fewest, effect, share, ceiling, asked.others(count), random, restored, named, asked.tried
        )

    def _fewest(self, asked: _Asked) -> int:
        """0 for none."""
        most = min(self.most, int(np.count_nonzero(asked.values > 0)))
        fails, size = 0, min(FIRST, most)
        while size > fails:
            if self._holds(asked, size):
                return self._halved(fails, size, lambda middle: self._holds(asked, middle))
            fails, size = size, min(2 * size, most)
        return 0

    def _whole(self, asked: _Asked, enough: int) -> int:
        """In place of a set larger than `reach`, or of none (0), the fewest without which little is recovered."""
        most = min(self.reach, self.most, int(np.count_nonzero(asked.values > 0)))
        if 0 < enough <= self.reach or not most or not self._complete(asked, most):
            return enough
        return self._halved(0, most, lambda size: self._complete(asked, size))

    @staticmethod
    def _halved(fails: int, holds: int, does: Callable[[int], bool]) -> int:
        while holds - fails > max(1, holds // 20):
            middle = (fails + holds) // 2
            if does(middle):
                holds = middle
            else:
                fails = middle
        return holds

    def _holds(self, asked: _Asked, size: int) -> bool:
        return asked.shares([size])[0] >= asked.least and self._takes_word(asked, size)

    def _complete(self, asked: _Asked, size: int) -> bool:
        if self.rest is None or asked.others(size) > self.rest * asked.most:
            return False
        return self._takes_word(asked, size)

    def _takes_word(self, asked: _Asked, size: int) -> bool:
        return not self.word or asked.gone(size)

    def _group(self, order: Int[np.ndarray, "n"], values: Flat, fewest: int) -> int:
        """The end of the group that the fewest belong to; the fewest where no end is within reach."""
        if self.gap is None:
            return fewest
        best = values[order[: max(self.reach, fewest) + 1]]
        for count in range(fewest, len(best)):
            if best[count] * self.gap < best[count - 1]:
                return count
        return fewest


class _Asked:
    """What exchanging the best of one ranking does in one pair; each size is asked once.

    Attributes:
        most: what can be recovered: the ceiling, 1 where it is higher.
        least: what has to be recovered for a caption to be of interest.
    """

    def __init__(
        self,
        vlm: VLM,
        pair: Counterfactual,
        exchange: Exchange,
        values: Flat,
        mode: Mode,
        decoding: Decoding,
    ) -> None:
        self.values, self.order, self.tried = values, best_first(values), dict[int, float]()
        self._vlm, self._pair, self._exchange, self._decoding = vlm, pair, exchange, decoding
        self._layout = Layout(vlm.widths)
        self._mode: Mode = mode
        self.most, self.least = 1.0, float("inf")
        self._told: dict[int, Caption] = {}
        self._gone: dict[int, bool] = {}
        self._others: dict[int, float] = {}

    def mask(self, size: int) -> Bool[np.ndarray, "neurons"]:
        chosen = np.zeros(len(self.values), dtype=bool)
        chosen[self.order[:size]] = True
        return chosen

    def shares_of(self, masks: Sequence[Bool[np.ndarray, "neurons"]]) -> Float[np.ndarray, "sets"]:
        return self._exchange.effects(masks) / self._exchange.edit

    def shares(self, sizes: Sequence[int], least: float | None = None) -> list[float]:
        """r of the best; what captions say is heard of those that recover `least`, :attr:`least` unless given."""
        new = [size for size in sizes if size not in self.tried]
        if new:
            edit = self._exchange.edit
            enough = (self.least if least is None else least) * edit
            effects, said = self._exchange.read([self.mask(size) for size in new], enough)
            self.tried.update(zip(new, (float(effect / edit) for effect in effects), strict=True))
            self._told.update({size: told for size, told in zip(new, said, strict=True) if told is not None})
        return [self.tried[size] for size in sizes]

    def others(self, size: int) -> float:
        """r of all neurons but the best."""
        if size not in self._others:
            self._others[size] = float(self.shares_of([~self.mask(size)])[0])
        return self._others[size]

    def gone(self, size: int) -> bool:
        if size not in self._gone:
            text = self._written(size).text
            self._gone[size] = not self._named(text) and not wordless(text)  # to say nothing is not to leave it out
        return self._gone[size]

    def back(self, other: Exchange, size: int) -> tuple[float, bool]:
        """What the best restore in the edited picture, by its exchange, and whether it names the concept."""
        # One set is asked of this picture: kept states would not be used again.
        restored = -float(other.plain_effects([self.mask(size)])[0]) / self._exchange.edit
        return restored, self._named(self._said(self._pair.edited, other, size).text)

    def _named(self, caption: str) -> bool:
        return Lexicon.default().match(caption, self._pair.sample.concept, self._mode) is not None

    def _written(self, size: int) -> Caption:
        """The caption, as far as it has to be known; written on from the pass that gave the share, where that does."""
        ahead = self._exchange.ahead
        if ahead is not None and size not in self.tried:
            self.shares([size], -float("inf"))
        told = self._told.get(size)

        def plain() -> Caption:
            return self._said(self._pair.original, self._exchange, size)

        return plain() if told is None or ahead is None else ahead.checked(told, plain)

    def _said(self, image: Image.Image, exchange: Exchange, size: int) -> Caption:
        neurons = self._neurons(size)
        with self._vlm.intervene(Patch(neurons, source=exchange.columns(neurons))):
            return clean_captions(self._vlm, [image], decoding=self._decoding)[0]

    def random(self, size: int, draws: int, seed: int) -> list[Bool[np.ndarray, "neurons"]]:
        kept = self._neurons(size)
        if any(2 * len(units) > self._layout.widths[layer] for layer, units in kept.by_layer().items()):
            return []  # more than half of a layer: not as many others are left
        matched = (matched_members(self._layout.widths, kept, seed + draw) for draw in range(draws))
        return [self._layout.mask(Neurons(members)) for members in matched]

    def _neurons(self, size: int) -> Neurons:
        return Neurons.of((self._layout.split(int(flat)) for flat in self.order[:size]), site=self._exchange.site)
