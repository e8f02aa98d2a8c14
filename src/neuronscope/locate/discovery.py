"""Neurons for every noun of a caption, without gradients: Pan et al.'s method in its own form (METHODS c, f).

    caption   greedy, after an optional query and an answer prefix; nouns n by part of speech
    t_n       the first token of noun n as it was generated, at place j_n of the generated ids
    s_n[l,i]  a[l,i] (w_i . u_{t_n}) / scale,  a and scale read at the position that predicts place j_n: the neuron's
              direct share of the token's logit (:mod:`neuronscope.models.lens`); as published without scale and gain
    N_n       the `top` neurons with the largest s_n; ties by (score descending, layer, unit)

One teacher-forced pass over prompt and caption gives s_n for all nouns. Each noun carries its own place and token: in
the published code a noun that is not found leaves the list of nouns but not that of tokens, so that every later noun is
scored with its neighbour's token.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from ..caption import Caption, clean_captions
from ..errors import InvalidOption
from ..fields import check_fields, shown
from ..frames import data_frame, neuron_columns
from ..given import checked, checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.lens import SHARE_NORMS, ShareNorm
from ..notebook import table_html
from ..samples.image import ImageSource
from ..samples.nouns import FINDERS, Noun, NounFinder, noun_finder
from ..tokens import tokens_of_span
from ..types import Json, Neurons, one_of, options_of, whole_number
from ..words import fold
from .located import Scores
from .pan import LENS_SITES, LensSite, predicted
from .scores import Layout, Pooled, best_first
from .target import CONCEPT_TOKENS, ConceptToken, chosen_tokens, entries_of

if TYPE_CHECKING:
    from pandas import DataFrame

#: What the published code asks, and how its answers begin.
PUBLISHED = Decoding("An image of", question="Describe the image in few words.", max_new_tokens=50)

#: Norm -> the unit of the score, for headings.
UNITS: Mapping[str, str] = {
    "scale": "logits",
    "gain": "logits times the final norm's scale",
    "none": "a (w . u) before the final norm, no logits",
}
#: The name of the score that discovered neurons are saved with.
SCORE = "contribution"


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Discovery:
    """How neurons are discovered.

    Attributes:
        top: how many neurons are kept for each noun.
        nouns: how nouns are found, see :mod:`neuronscope.samples.nouns`.
        exclude: nouns that are left out, such as "image" or "right".
        norm: what stands between value vectors and logits: "scale" gives each neuron's direct share of the logit,
            in logits; "gain" and "none" (the papers') are other units, see :data:`UNITS`.
        site: where activations are read.
        concept_token: which sub-tokens of a noun count; the sum or mean is over each at its own predicting position.
        decoding: what is asked and how captions are written; nouns in the beginning of the answer are not looked for.
        name: what results call it.
    """

    top: int = 100
    nouns: str = "auto"
    exclude: tuple[str, ...] = ()
    norm: ShareNorm = "scale"
    site: LensSite = "neuron"
    concept_token: ConceptToken = "first"
    decoding: Decoding = field(default_factory=Decoding)
    name: str = "pan-discovery"

    choices: ClassVar[Mapping[str, Sequence[str]]] = {
        "nouns": FINDERS,
        "norm": SHARE_NORMS,
        "site": LENS_SITES,
        "concept_token": CONCEPT_TOKENS,
    }

    def __post_init__(self) -> None:
        check_fields(self)
        whole_number("top", self.top, 1)
        for option, values in self.choices.items():
            one_of(option, getattr(self, option), values)

    @classmethod
    def as_published(cls, **changes: Any) -> Discovery:
        """The settings of the published code: query and answer prefix, longer captions, site `act`, no final norm."""
        published: dict[str, Any] = {
            "top": 1000,
            "site": "act",
            "norm": "none",
            "decoding": PUBLISHED,
        }
        options: Any = {**published, "name": "pan-published", **changes}
        return cls(**options)

    def require_few(self, vlm: VLM) -> None:
        """Raise InvalidOption where more neurons are to be kept than the model has."""
        if self.top > sum(vlm.widths):
            raise InvalidOption(f"top={self.top} is more than the {sum(vlm.widths)} neurons of {vlm.id}")

    def to_dict(self) -> dict[str, Json]:
        """All options, as a file can hold them."""
        return options_of(self)


@dataclass(frozen=True)
class NounNeurons:
    """The neurons of one noun of one caption.

    Attributes:
        noun: the noun and its place in the caption's text.
        tokens: places among the generated ids of the tokens that spell it.
        neurons: the best, with the score "contribution" in the unit of the option `norm`.
    """

    noun: Noun
    tokens: tuple[int, ...]
    neurons: Neurons


@checked_methods
@dataclass(frozen=True)
class Discovered:
    """What was discovered in one image.

    Attributes:
        caption: the caption that the nouns are from.
        nouns: in the caption's order, each once.
        scores: the contribution of every neuron to each noun, [nouns, neurons]; not saved.
        layout: how layers follow one another on the axis of neurons.
        finder: how nouns were found: its provenance.
    """

    caption: Caption
    nouns: tuple[NounNeurons, ...]
    scores: Float[np.ndarray, "nouns neurons"]
    layout: Layout
    finder: Mapping[str, Json]

    def __post_init__(self) -> None:
        check_fields(self)

    def __getitem__(self, noun: str) -> NounNeurons:
        """The neurons of a noun. Raises InvalidOption for one that the caption does not have."""
        one_of("noun", noun, [found.noun.text for found in self.nouns])
        return next(found for found in self.nouns if found.noun.text == noun)

    def __repr__(self) -> str:
        nouns = ", ".join(found.noun.text for found in self.nouns)
        return f"<Discovered {shown(self.caption.text)}: neurons of {nouns or 'no noun'}>"

    def _repr_html_(self) -> str:
        rows = [(found.noun.text, ", ".join(found.neurons.addresses[:5])) for found in self.nouns]
        return table_html(self.caption.full, ("noun", "best neurons"), rows)

    def to_dataframe(self) -> DataFrame:
        """The kept neurons of every noun with pandas, best first; `scores` holds those of all other neurons.

        Raises InvalidOption where pandas is not installed.
        """
        rows = [(found, k) for found in self.nouns for k in range(len(found.neurons))]
        kept: dict[str, list[Any]] = {
            "noun": [found.noun.text for found, _ in rows],
            "place": [k + 1 for _, k in rows],
            **neuron_columns(found.neurons[k] for found, k in rows),
        }
        names = dict.fromkeys(name for found in self.nouns for name in found.neurons.scores)
        scores = {name: [found.neurons.scores[name][k] for found, k in rows] for name in names}
        return data_frame({**kept, **scores}, caption=self.caption.full, finder=dict(self.finder))

    def matrix(self, rows: Sequence[Neurons]) -> Float[np.ndarray, "rows nouns"]:
        """M[a, b]: what the first neuron of set a contributes to noun b (METHODS f, metric 4).

        Raises InvalidOption for an empty set and one of another part of the model, RunMismatch for one of other
        weights, and NeuronOutOfRange for a neuron that the model does not have.
        """
        flat: list[int] = []
        for number, neurons in enumerate(rows):
            if not neurons:
                raise InvalidOption(f"rows[{number}] is an empty set: the first neuron of each is asked for")
            own = self.nouns[0].neurons if self.nouns else Neurons(())
            own.require_like(neurons)
            flat.append(self.layout.at(neurons[0]))
        return self.scores[:, flat].T


@checked
@in_turn
def discover(
    vlm: VLM, images: Sequence[ImageSource], options: Discovery | None = None, *, batch_size: int = 32
) -> Iterator[Discovered]:
    """Caption images in batches, and find the neurons for the nouns of each caption; one result for each image.

    A caption without nouns has no neurons. Raises InvalidOption when the model has fewer than `top` neurons, and
    InvalidSample for an image that cannot be read.
    """
    options = options or Discovery()
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        captions = clean_captions(vlm, batch, decoding=options.decoding, batch_size=batch_size)
        for image, caption in zip(batch, captions, strict=True):
            yield discover_in(vlm, image, caption, options)


@in_turn
def discover_in(
    vlm: VLM, image: ImageSource, caption: Caption, options: Discovery, *, finder: NounFinder | None = None
) -> Discovered:
    """Find the neurons for the nouns of a caption that the model gave an image, as :func:`discover` does."""
    layout = Layout(vlm.widths)
    options.require_few(vlm)
    finder = finder or noun_finder(options.nouns)
    left_out = {" ".join(fold(word).split()) for word in options.exclude}
    found = [noun for noun in finder.find(caption.text, options.decoding.beginning) if noun.text not in left_out]
    places = [tuple(tokens_of_span(vlm.tokenizer, caption.ids, noun.start, noun.end)) for noun in found]
    for noun, tokens in zip(found, places, strict=True):
        if not tokens:
            raise InvalidOption(f"no token of the caption {caption.text!r} spells its noun {noun.surface!r}")
    scores = noun_scores(vlm, image, caption, places, options)
    provenance = finder.provenance()
    shared = Neurons((), site=options.site, method=options.name, options=options.to_dict(), model=vlm.identity())
    nouns = tuple(
        NounNeurons(noun, tokens, _best(shared, noun, row, layout, options.top, caption, provenance))
        for noun, tokens, row in zip(found, places, scores, strict=True)
    )
    return Discovered(caption, nouns, scores, layout, provenance)


@in_turn
def noun_scores(
    vlm: VLM, image: ImageSource, caption: Caption, places: Sequence[Sequence[int]], options: Discovery
) -> Float[np.ndarray, "nouns neurons"]:
    """s_n of every neuron for nouns whose tokens stand at these places of the caption; one forward pass for all."""
    if not places:
        return np.zeros((0, sum(vlm.widths)), dtype=np.float32)
    chosen = [chosen_tokens(place, options.concept_token) for place in places]
    last = max(at for tokens in chosen for at in tokens)
    inputs = vlm.prepare([image], options.decoding).extend(caption.ids[:last])
    entries = [entry for tokens in chosen for entry in entries_of(caption.ids, tokens, last)]
    each = predicted(vlm, inputs, entries, norm=options.norm, site=options.site)
    ends = np.cumsum([len(tokens) for tokens in chosen])[:-1]
    reduce = np.mean if options.concept_token == "mean" else np.sum
    return np.stack([reduce(part, axis=0) for part in np.split(each, ends)])


def _best(
    shared: Neurons,
    noun: Noun,
    scores: Float[np.ndarray, "neurons"],
    layout: Layout,
    top: int,
    caption: Caption,
    finder: Mapping[str, Json],
) -> Neurons:
    members, kept = Scores(layout, {SCORE: Pooled(scores)}).members(best_first(scores)[:top])
    unit = UNITS[str(shared.options["norm"])]
    provenance: dict[str, Json] = {"caption": caption.full, "nouns": dict(finder), "unit": unit}
    return dataclasses.replace(shared, members=members, scores=kept, concept=noun.text, provenance=provenance)
