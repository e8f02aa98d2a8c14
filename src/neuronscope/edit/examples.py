"""What an edit is taught with: captions of the concept's images with the word exchanged, and what must stay as it is.

    image's caption     t_0 .. t_{c-1}  source  t_{c+k} ..        as the unedited model writes it
    lesson              t_0 .. t_{c-1}  target  t_{c+k} ..        teacher-forced

    position            what is asked of it
    predicts target     the target's token
    end of the target   not the target again
    any other           what the unedited model says there, reading its own caption

Positions are counted from the end of the row, so that rows padded on the left can share a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..caption import clean_captions
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.inputs import Row
from ..samples.image import ImageSource
from .observe import Observation
from .words import WordPair


@dataclass(frozen=True)
class Lesson:
    """One row to be read, and what is asked at its positions.

    Attributes:
        row: prompt, image and teacher-forced ids.
        targets: (position from the end, 1 being the last; token) of each token of the target, in order.
        path: (position that predicts it; token) of the whole caption that is to be written.
        after: the position of the target's last token, where it must not be repeated; 0 without a target.
        kept: positions where the unedited model's distribution is kept.
        kept_row, kept_from: the row and its positions that the distributions of `kept` come from.
    """

    row: Row
    targets: tuple[tuple[int, int], ...]
    path: tuple[tuple[int, int], ...]
    after: int
    kept: tuple[int, ...]
    kept_row: Row
    kept_from: tuple[int, ...]

    @property
    def reach(self) -> int:
        """How many positions at the end of the row are looked at."""
        return max([*self.kept, *(position for position, _ in self.path), self.after, 1])

    @property
    def kept_reach(self) -> int:
        """How many positions at the end of `kept_row` are looked at."""
        return max(self.kept_from, default=1)


def word_lessons(
    vlm: VLM, images: Sequence[ImageSource], seen: Sequence[Observation], words: WordPair, decoding: Decoding
) -> list[Lesson]:
    """One lesson for each image whose caption names the source."""
    made: list[Lesson] = []
    for image, one in zip(images, seen, strict=True):
        if not one.at:
            continue
        first, length = one.at[0], len(one.at)
        rest = one.ids[first + length :]
        prompt, text = _prompt(vlm, image, decoding)
        own = prompt.extended(one.ids)
        new, spelled = len(words.target_ids), len(rest)
        # The token at position p from the end is predicted at p + 1.
        targets = tuple((spelled + new - n + 1, token) for n, token in enumerate(words.target_ids))
        written = (*one.ids[:first], *words.target_ids, *rest)
        path = tuple((len(written) + 1 - n, token) for n, token in enumerate(written))
        later = tuple(range(1, spelled + 2))  # after the word: the same distance from the end in both rows
        earlier = range(spelled + length + 2, spelled + length + 1 + first + text)
        shifted = tuple(position + new - length for position in earlier)
        row = prompt.extended(written)
        made.append(Lesson(row, targets, path, spelled + 1, (*later, *shifted), own, (*later, *earlier)))
    return made


def other_lessons(vlm: VLM, images: Sequence[ImageSource], decoding: Decoding) -> list[Lesson]:
    """One lesson for each image whose whole caption is to stay as it is."""
    made: list[Lesson] = []
    for image, caption in zip(images, clean_captions(vlm, images, decoding=decoding), strict=True):
        prompt, text = _prompt(vlm, image, decoding)
        row = prompt.extended(caption.ids)
        kept = tuple(range(1, len(caption.ids) + text + 1))
        path = tuple((len(caption.ids) + 1 - n, token) for n, token in enumerate(caption.ids))
        made.append(Lesson(row, (), path, 0, kept, row, kept))
    return made


def batched(vlm: VLM, lessons: Sequence[Lesson], size: int) -> list[list[Lesson]]:
    """Lessons in batches that can be read together, with their own rows and with the rows that are kept."""
    return [[lessons[n] for n in group] for group in vlm.batches([lesson.row for lesson in lessons], size)]


def asked(
    logits: Float[Tensor, "rows positions vocabulary"], lessons: Sequence[Lesson]
) -> tuple[Float[Tensor, "rows"], Float[Tensor, "rows"]]:
    """Of each lesson max_t -log p(target t), and -log(1 - p(the target again)); nats."""
    nll: list[Tensor] = []
    again: list[Tensor] = []
    for row, lesson in zip(logits.float().log_softmax(-1), lessons, strict=True):
        nll.append(torch.stack([-row[-position, token] for position, token in lesson.targets]).max())
        repeated = row[-lesson.after, lesson.targets[0][1]].exp()
        again.append(-torch.log1p(-repeated.clamp_max(1 - 1e-6)))
    return torch.stack(nll), torch.stack(again)


def drift(
    logits: Float[Tensor, "rows positions vocabulary"],
    lessons: Sequence[Lesson],
    kept: Sequence[Float[Tensor, "_kept _vocabulary"]],
) -> Float[Tensor, "rows"]:
    """Of each lesson the mean over its kept positions of KL(new || old); nats."""
    found: list[Tensor] = []
    for row, lesson, old in zip(logits, lessons, kept, strict=True):
        new = row[[-position for position in lesson.kept]].float().log_softmax(-1)
        found.append((new.exp() * (new - old)).sum(-1).mean())
    return torch.stack(found)


@torch.no_grad()
def strayed(
    logits: Float[Tensor, "rows positions vocabulary"], lessons: Sequence[Lesson], *, up_to_target: bool = False
) -> list[bool]:
    """Of each lesson whether greedy decoding writes another token than the path's, anywhere or on the way to its end.

    The target's last token is the end of the way with `up_to_target`.
    """
    return [
        any(
            int(row[-position].argmax()) != token
            for position, token in lesson.path
            if not up_to_target or position > lesson.after
        )
        for row, lesson in zip(logits, lessons, strict=True)
    ]


def _prompt(vlm: VLM, image: ImageSource, decoding: Decoding) -> tuple[Row, int]:
    """The prompt's row, and how many of its last positions are text that follows the image."""
    row = vlm.prepare([image], decoding).rows[0]
    words = len(vlm.tokenizer(decoding.beginning, add_special_tokens=False).input_ids)
    shown = [int(position) for position in row.image.positions] if not row.encoded else []
    following = row.length - 1 - max(shown, default=-1)
    return row, max(1, min(words, following) if not row.encoded else 1)
