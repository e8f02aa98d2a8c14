"""One editor with several settings: the one that is kept is chosen by what the model then says.

    lost(e) = #{images: the caption under e does not name the target, or still names the source}
            + #{keep: the caption under e is not the one before}                  images: those whose caption named it
    chosen  = the first e with the fewest lost

Every picture counts once, so that a stronger edit is taken only where it wins more images than it disturbs others. No
gradient is needed: an editor in closed form costs the captions of both lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..caption import clean_captions
from ..errors import InvalidOption
from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..loading import VLM
from ..samples.image import ImageSource
from ..samples.lexicon import Lexicon
from ..types import Json, Neurons
from .edit import Edit
from .editor import WordEditor
from .focused import Focused


@checked_methods
@dataclass(frozen=True)
class Tuned:
    """Of some word editors the one under which the fewest captions are lost; see the formula above.

    Attributes:
        editors: in the order of preference, gentlest first; with the same words and decoding.
    """

    editors: tuple[WordEditor | Focused, ...]
    name: ClassVar[str] = "tuned"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.editors:
            raise InvalidOption("editors is empty: Tuned needs at least one")
        if len({(one.source, one.target, one.decoding) for one in self.editors}) > 1:
            raise InvalidOption("Tuned compares editors of one source, one target and one decoding")

    @classmethod
    def over(cls, editor: WordEditor, *, focused: bool = False, **values: Sequence[Any]) -> Tuned:
        """The editor, or that :class:`Focused`, with each value of one option.

        Raises InvalidOption for none, several, or an unknown option.
        """
        if len(values) != 1:
            raise InvalidOption(f"one option is tuned at a time, got {', '.join(values) or 'none'}")
        ((option, tried),) = values.items()
        if option not in vars(editor):
            raise InvalidOption(f"{type(editor).__name__} has no option {option!r}")
        settings: list[dict[str, Any]] = [{option: value} for value in tried]
        made = [replace(editor, **one) for one in settings]
        return cls(tuple(map(Focused, made)) if focused else tuple(made))

    @in_turn
    def edit(
        self,
        vlm: VLM,
        neurons: Neurons,
        images: Sequence[ImageSource] = (),
        *,
        keep: Sequence[ImageSource] = (),
        force: bool = False,
    ) -> Edit:
        """The chosen editor's edit, not in force; its report says how many captions each lost.

        Args:
            vlm: the model.
            neurons: whose value vectors are rewritten.
            images: of the concept.
            keep: images whose captions are to stay as they are; should not show the concept.
            force: take neurons of other weights at their addresses.

        Raises InvalidOption without images, and what the editors raise; the weights are as before in any case.
        """
        if not len(images):
            raise InvalidOption("images is empty: Tuned needs images whose captions name the source")
        neurons = neurons.anywhere() if force else neurons
        made = [
            one.edit(vlm, neurons, images, keep=keep) if isinstance(one, Focused) else one.edit(vlm, neurons, images)
            for one in self.editors
        ]
        own = [image for image, one in zip(images, made[0].before, strict=True) if one.at]
        stay = self._captions(vlm, keep)
        tried: list[dict[str, Json]] = []
        lost: list[int] = []
        for edit in made:
            with edit:
                texts = self._captions(vlm, [*own, *keep])
            said, kept = texts[: len(own)], texts[len(own) :]
            missed = sum(not self._replaced(text) for text in said)
            changed = sum(a != b for a, b in zip(stay, kept, strict=True))
            lost.append(missed + changed)
            tried.append({"missed": missed, "changed": changed, "settings": {**edit.settings}})
        best = lost.index(min(lost))
        report: dict[str, Json] = {"images": len(own), "others": len(stay), "chosen": best, "tried": [*tried]}
        return replace(made[best], report=report)

    def _captions(self, vlm: VLM, images: Sequence[ImageSource]) -> list[str]:
        return [caption.text for caption in clean_captions(vlm, images, decoding=self.editors[0].decoding)]

    def _replaced(self, caption: str) -> bool:
        lexicon, editor = Lexicon.default(), self.editors[0]
        return lexicon.match(caption, editor.target) is not None and lexicon.match(caption, editor.source) is None
