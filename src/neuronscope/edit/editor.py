"""What every editor does: check the set, look at the images, work out new value vectors, and hand back an edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.lens import LENS_NORMS, LensNorm, in_layer, token_directions
from ..samples.image import ImageSource
from ..types import Neurons, one_of, options_of
from .columns import read_columns, require_editable
from .edit import Edit
from .observe import observe
from .words import PAIRINGS, Pairing, WordPair, pair_words, require_apart, require_words


@runtime_checkable
class Editor(Protocol):
    """How value vectors are rewritten. An editor is a frozen dataclass of its options.

    Attributes:
        name: what results call the editor.
    """

    name: ClassVar[str]

    def edit(self, vlm: VLM, neurons: Neurons, images: Sequence[ImageSource] = (), *, force: bool = False) -> Edit:
        """An edit of these neurons, not yet in force; with `force` also of neurons that were found in other weights."""
        ...


@checked_methods
@dataclass(frozen=True, kw_only=True)
class ColumnEditor(ABC):
    """An editor that computes each new value vector from the old one.

    Attributes:
        decoding: how the images' captions are written, and after which prompt words are spelled.
    """

    decoding: Decoding = field(default_factory=Decoding)

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self)

    @in_turn
    def edit(self, vlm: VLM, neurons: Neurons, images: Sequence[ImageSource] = (), *, force: bool = False) -> Edit:
        """An edit of these neurons, not yet in force.

        Args:
            vlm: the model.
            neurons: whose value vectors are rewritten.
            images: what is captioned first, for `Edit.before`; nothing else depends on them.
            force: take neurons of other weights at their addresses.

        Raises InvalidOption for words that cannot be edited, ConceptNotNamed where images are given and no caption
        names the source, and what columns.require_editable raises; no weight is changed.
        """
        neurons = neurons.anywhere() if force else neurons
        require_editable(vlm, neurons)
        words = self.words(vlm)
        before = observe(vlm, images, words, self.decoding)
        old = {layer: read_columns(vlm, layer, units) for layer, units in neurons.by_layer().items()}
        new = {
            layer: self.rewrite(vlm, layer, units, old[layer].float(), words).to(old[layer].dtype)
            for layer, units in neurons.by_layer().items()
        }
        settings = options_of(self)
        return Edit(vlm, neurons, old, new, self.name, settings, words, before, vlm.identity())

    def words(self, vlm: VLM) -> WordPair | None:
        """The source and target word; None for editors that have none."""
        return None

    @abstractmethod
    def rewrite(
        self, vlm: VLM, layer: int, units: Sequence[int], w: Float[Tensor, "hidden units"], words: WordPair | None
    ) -> Float[Tensor, "hidden units"]:
        """The new value vectors of some neurons of one layer, from the old ones, both float32."""


@checked_methods
@dataclass(frozen=True, kw_only=True)
class WordEditor(ColumnEditor):
    """An editor that replaces a source word by a target word.

    Attributes:
        source, target: the words.
        tokens: which of their tokens are paired; see :data:`Pairing`.
        fold: what stands between a value vector and the logits; see :data:`~neuronscope.models.lens.LensNorm`.
    """

    source: str
    target: str
    tokens: Pairing = "first"
    fold: LensNorm = "gain"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("tokens", self.tokens, PAIRINGS)
        one_of("fold", self.fold, LENS_NORMS)

    def words(self, vlm: VLM) -> WordPair:
        """The words' tokens. Raises InvalidOption where they are the same or cannot be spelled."""
        return pair_words(vlm, self.source, self.target, self.tokens, self.decoding)

    def directions(
        self, vlm: VLM, layer: int, words: WordPair | None
    ) -> tuple[Float[Tensor, "hidden pairs"], Float[Tensor, "hidden pairs"]]:
        """Directions of the sources' and of the targets' tokens. Raises InvalidOption where they are parallel."""
        words = require_words(words)
        tokens = [token for side in zip(*words.pairs, strict=True) for token in side]
        rows = token_directions(vlm, tokens, self.fold, option="fold")
        u = in_layer(vlm, layer, rows, self.fold).T
        for n in range(len(words.pairs)):
            require_apart(u[:, [n, n + len(words.pairs)]], words)
        return u[:, : len(words.pairs)], u[:, len(words.pairs) :]
