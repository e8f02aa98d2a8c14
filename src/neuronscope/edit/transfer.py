"""Does a set of neurons carry the concept? Activation patching before an edit (METHODS G3, ii).

    n[l, p, i] <- n'[l, p, i]        for i in the set, p the image tokens; n': the same neurons, seeing a donor image

If the caption then names what the donor shows and no longer what the image shows, the set carries the difference, and
an edit of these neurons has something to work on; if not, an edit at the image positions cannot do it either. No weight
changes. Token p takes the donor's token p, so the two objects have to be at the same place: a rendered counterfactual
with another object, or two crops of the objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..caption import clean_captions, generate_captions
from ..errors import InvalidOption
from ..held import in_turn
from ..intervene.operations import Patch
from ..loading import VLM
from ..models.decoding import Decoding
from ..samples.image import ImageSource, read_image
from ..samples.lexicon import Lexicon
from ..types import Neurons
from .observe import observe
from .words import pair_words


@dataclass(frozen=True)
class Transfer:
    """What patching one donor into one image did.

    Attributes:
        before, after: the captions, with the prompt.
        target_named, source_named: whether the caption under the patch names them.
        donor_named: whether the donor's own caption names the target; where not, patching cannot be expected to.
        target_logprob, source_logprob: by how much the log-probability of the word's first token changed where the
            source was written (nats); None where the source was not named before.
    """

    before: str
    after: str
    target_named: bool
    source_named: bool
    donor_named: bool
    target_logprob: float | None
    source_logprob: float | None

    @property
    def carried(self) -> bool:
        """The target took the source's place."""
        return self.target_named and not self.source_named


@in_turn
def transfer(
    vlm: VLM,
    neurons: Neurons,
    images: Sequence[ImageSource],
    donors: Sequence[ImageSource],
    *,
    source: str,
    target: str,
    decoding: Decoding = Decoding(),
) -> list[Transfer]:
    """Patch the neurons' activations on each donor into the image of the same number.

    Args:
        vlm: the model.
        neurons: which neurons.
        images: of the source.
        donors: of the target, at the same place.
        source: what the images show.
        target: what the donors show.
        decoding: how captions are written.

    Raises InvalidOption for lists of different lengths and for words that are the same or cannot be spelled,
    ConceptNotNamed where no image's caption names the source, and NoImagePositions where the decoder has none.
    """
    if len(images) != len(donors) or not len(images):
        raise InvalidOption(f"{len(images)} images and {len(donors)} donors: each image needs one donor")
    words = pair_words(vlm, source, target, "each", decoding)
    shown = clean_captions(vlm, donors, decoding=decoding)
    lexicon, made = Lexicon.default(), list[Transfer]()
    seen_in = observe(vlm, images, words, decoding)
    for image, donor, seen, own in zip(images, donors, seen_in, shown, strict=True):
        patch = Patch.take(vlm, neurons, read_image(donor))
        caption = generate_captions(vlm, [image], patch, decoding=decoding)[0][0]
        changes: tuple[float | None, float | None] = (None, None)
        if seen.at and seen.target_logprob is not None and seen.source_logprob is not None:
            inputs = vlm.prepare([image], decoding).extend(seen.ids[: seen.at[0]])
            with torch.no_grad(), vlm.intervene(patch):
                after = vlm.logits(inputs)[0, -1].float().log_softmax(-1)
            changes = (
                float(after[words.target_ids[0]]) - seen.target_logprob,
                float(after[seen.ids[seen.at[0]]]) - seen.source_logprob,
            )
        made.append(
            Transfer(
                seen.full,
                caption.full,
                lexicon.match(caption.text, target) is not None,
                lexicon.match(caption.text, source) is not None,
                lexicon.match(own.text, target) is not None,
                *changes,
            )
        )
    return made
