"""An edit: which value vectors are replaced by what, in force or not, and undone to the bit.

    W_out[:, i] <- new[:, i]      for the neurons i of a set, layer by layer; nothing else is touched

The columns that are replaced are kept, so reverting writes back the very bits. An edit is noted before its first column
is written. It goes into force as a whole or, when an error or an interrupt comes in between, not at all. Edits of
different neurons are undone in any order, edits of the same neurons last in, first out (ledger.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..errors import InvalidOption, NotFinite, RunMismatch
from ..fields import check_fields
from ..files import require_absent
from ..given import checked_methods
from ..held import Held, Undo, in_turn
from ..held.signals import HANDLERS, uninterrupted
from ..held.turns import take
from ..loading import VLM
from ..loading.load import checkpoint_directory
from ..reprs import short_repr
from ..types import Json, Neuron, Neurons
from .adapter import write_adapter
from .columns import read_columns, require_editable, write_all
from .ledger import Ledger, ledger_of
from .observe import Observation
from .store import read_edit, write_edit, write_model
from .words import WordPair


@checked_methods
@dataclass(frozen=True, eq=False)
class Edit(AbstractContextManager["Edit"]):
    """New value vectors for some neurons of one model. Made by an editor; not in force until applied.

    `with edit:` applies it for the time of the block, in which operations of other threads on the same model wait.

    Attributes:
        vlm: the model.
        neurons: whose value vectors are replaced.
        old, new: layer -> [hidden, units] in the weights' type, columns in the order of `neurons.by_layer()`.
        editor: the editor's name.
        settings: its options.
        words: the source and target word, where the editor has them.
        before: what the model said about the images that were given, taken before any weight changed.
        model: `{"id", "fingerprint"}` of the weights that the edit was made from.
        report: what the editor has to say about its work, such as the losses of learning.

    Raises NotFinite for vectors that are not finite.
    """

    vlm: VLM = field(repr=False)
    neurons: Neurons
    old: Mapping[int, Float[Tensor, "_hidden _units"]] = field(repr=False)
    new: Mapping[int, Float[Tensor, "_hidden _units"]] = field(repr=False)
    editor: str
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])
    words: WordPair | None = None
    before: tuple[Observation, ...] = ()
    model: Mapping[str, str] = field(default_factory=dict[str, str])
    report: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)
    _blocks: list[AbstractContextManager[Edit]] = field(
        default_factory=list[AbstractContextManager["Edit"]], init=False, repr=False
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)
        for layer, columns in self.new.items():
            if not bool(torch.isfinite(columns).all()):
                raise NotFinite(
                    f"the new value vectors of layer {layer} are not finite in {columns.dtype}: "
                    f"{self.editor} needs smaller settings ({dict(self.settings)})"
                )

    @property
    def title(self) -> str:
        """For messages."""
        words = "" if self.words is None else f" {self.words.source} -> {self.words.target}"
        return f"{self.editor}{words}, {len(self.neurons)} neurons"

    @cached_property
    def digest(self) -> str:
        """A hash of which columns are replaced, and by what."""
        digest = hashlib.sha256()
        for layer, units in self.neurons.by_layer().items():
            digest.update(f"{layer}:{units}:{self.new[layer].dtype}".encode())
            for columns in (self.old[layer], self.new[layer]):
                digest.update(_bits(columns).numpy().tobytes())
        return digest.hexdigest()

    @property
    def applied(self) -> bool:
        """Whether it is in force."""
        return ledger_of(self.vlm).holds(self.digest)

    @property
    def share(self) -> float:
        """Changed neurons / neurons of the decoder."""
        return len(self.neurons) / sum(self.vlm.widths)

    def delta(self, layer: int) -> Float[Tensor, "hidden units"]:
        """new - old of one layer, in float32 (float64 for float64 weights).

        Raises InvalidOption for a layer of which nothing is edited.
        """
        if layer not in self.new:
            held = ", ".join(map(str, sorted(self.new))) or "none"
            raise InvalidOption(f"layer={layer} is not one of those that are edited: {held}")
        wide = torch.promote_types(self.new[layer].dtype, torch.float32)
        return self.new[layer].to(wide) - self.old[layer].to(wide)

    @in_turn
    def apply(self) -> Edit:
        """Put it in force. Returns the edit.

        Raises InvalidOption where it is in force, and RunMismatch where the columns are not those it was made from;
        the weights are then as before.
        """
        ledger = self._require_applicable()
        try:
            self._put_in_force(ledger)
            ledger.complete(self.digest, self.vlm.fingerprint)
        except BaseException:
            self._put_back(ledger)
            raise
        return self

    @in_turn
    def revert(self) -> None:
        """Put back the columns that it replaced, bit by bit; also what an interrupt has left of an edit.

        Raises InvalidOption where it is not in force, or where a later edit changed some of its neurons again, and
        RunMismatch where somebody else did; the weights are then as before.
        """
        ledger = ledger_of(self.vlm)
        ledger.require_last(self.digest)
        if ledger.is_whole(self.digest):
            self._require_columns((self.new,), "were changed by something else since: load the model again")
        else:
            self._require_columns((self.new, self.old), "were changed by something else since: load the model again")
        try:
            self._put_back(ledger)
        except BaseException:
            self._put_back(ledger)  # what an exception between two lines has left
            raise

    def __enter__(self) -> Edit:
        block = _InForce(self)
        try:
            self._blocks.append(block)
            return block.__enter__()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._blocks:
                self._blocks.pop().__exit__(kind, value, trace)
        finally:
            HANDLERS.deliver()

    def _require_applicable(self) -> Ledger:
        ledger = ledger_of(self.vlm)
        if ledger.holds(self.digest):
            left = "" if ledger.is_whole(self.digest) else ", in part, since an interrupt: revert() puts that back"
            raise InvalidOption(f"the edit ({self.title}) is in force already{left}")
        require_editable(self.vlm, self._addressed())
        self._require_columns((self.old,), "are not those the edit was made from: another edit, or another model")
        return ledger

    @uninterrupted
    def _put_in_force(self, ledger: Ledger) -> None:
        ledger.begin(self.digest, self.title, self.neurons.members)
        write_all(self.vlm, self.neurons.by_layer(), self.new)
        HANDLERS.deliver()

    @uninterrupted
    def _put_back(self, ledger: Ledger) -> None:
        if ledger.holds(self.digest):
            ledger.reopen(self.digest)
            write_all(self.vlm, self.neurons.by_layer(), self.old)
            ledger.leave(self.digest, self.vlm.fingerprint if ledger.entries[-1].digest != self.digest else "")
        HANDLERS.deliver()

    def save(self, path: str | Path) -> None:
        """Write the edit as one file (store.py). Raises InvalidOption where that cannot be done."""
        document = {
            "model": dict(self.model),
            "editor": self.editor,
            "settings": dict(self.settings),
            "words": None if self.words is None else asdict(self.words),
            "neurons": self.neurons.to_dict(),
            "before": [one.to_dict() for one in self.before],
            "report": dict(self.report),
            "digest": self.digest,
        }
        both = {"old": self.old, "new": self.new}
        layers = self.neurons.by_layer()
        write_edit(
            path, document, {f"{layer}.{name}": columns[layer] for layer in layers for name, columns in both.items()}
        )

    @classmethod
    @in_turn
    def load(cls, path: str | Path, vlm: VLM) -> Edit:
        """Read an edit that was made from this model's weights.

        Raises RunMismatch for a file that is missing, damaged, no edit or of other weights, and what
        columns.require_editable raises.
        """
        document, tensors = read_edit(Path(path))
        ledger = ledger_of(vlm)
        made_from: Any = document.get("model")
        if not isinstance(made_from, dict) or made_from.get("fingerprint") not in ledger.fingerprints:
            of = made_from.get("fingerprint") if isinstance(made_from, dict) else None
            named = made_from.get("id") if isinstance(made_from, dict) else None
            raise RunMismatch(
                f"{path} is an edit of {named!r} with fingerprint {of}, and this is {vlm.id!r} with "
                f"{ledger.fingerprints[-1]}: load the weights that it was made from"
            )
        try:
            neurons = Neurons.from_dict(document["neurons"])
            layers = neurons.by_layer()
            edit = cls(
                vlm,
                neurons,
                {layer: tensors[f"{layer}.old"] for layer in layers},
                {layer: tensors[f"{layer}.new"] for layer in layers},
                document["editor"],
                document["settings"],
                None if document["words"] is None else WordPair.from_dict(document["words"]),
                tuple(Observation.from_dict(one) for one in document["before"]),
                made_from,
                document["report"],
            )
            intact = edit.digest == document["digest"]
        except RunMismatch as error:
            raise RunMismatch(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, InvalidOption, NotFinite) as error:
            raise RunMismatch(f"{path} is a damaged edit: {type(error).__name__}: {error}") from error
        if not intact:
            raise RunMismatch(f"{path} is a damaged edit: its columns are not those that were saved")
        require_editable(vlm, edit._addressed())
        return edit

    def save_adapter(self, folder: str | Path) -> None:
        """Write the edit as a LoRA adapter for `peft.PeftModel.from_pretrained` (adapter.py).

        Raises what :func:`neuronscope.edit.adapter.write_adapter` raises.
        """
        write_adapter(
            folder, self.vlm, {layer: self.delta(layer).cpu() for layer in self.neurons.by_layer()}, self.neurons
        )

    @in_turn
    def save_model(self, folder: str | Path) -> None:
        """Write the model with the edit in force, and every other edit that is, and its processor as a checkpoint.

        Raises InvalidOption for a folder that cannot be written, or that holds files already, such as the model's own.
        """
        own = checkpoint_directory(self.vlm.id)
        if own is not None and own.resolve() == Path(folder).resolve():
            raise InvalidOption(f"{folder} holds the unedited model: choose another folder")
        require_absent(folder)
        with nullcontext() if self.applied else self:
            write_model(self.vlm, Path(folder), [entry.digest for entry in ledger_of(self.vlm).entries])

    def _addressed(self) -> Neurons:
        """The set without its origin, which was checked when the edit was made or loaded."""
        return Neurons.of((neuron.layer, neuron.unit) for neuron in self.neurons)

    def _require_columns(self, expected: Sequence[Mapping[int, Tensor]], why: str) -> None:
        """Raise RunMismatch unless every column is that of one of the expected states, to the bit."""
        for layer, units in self.neurons.by_layer().items():
            now = read_columns(self.vlm, layer, units).cpu()
            same = torch.zeros(len(units), dtype=torch.bool)
            for state in expected:
                then = state[layer].cpu()
                if now.dtype != then.dtype or now.shape != then.shape:
                    raise RunMismatch(
                        f"layer {layer} has columns of {tuple(now.shape)} {now.dtype}, the edit of {tuple(then.shape)} "
                        f"{then.dtype}: they {why}"
                    )
                differing = _bits(now) != _bits(then)
                same |= ~differing.view(*now.shape, -1).any(-1).any(0)
            if not bool(same.all()):
                wrong = [Neuron(layer, units[n]) for n in range(len(units)) if not bool(same[n])]
                raise RunMismatch(f"the value vectors of {', '.join(map(str, wrong[:3]))} {why}")


def _end(edit: Edit) -> None:
    if edit.applied:  # the block may have reverted it
        edit.revert()


class _InForce(Held[Edit]):
    """The block in which an edit is in force."""

    def __init__(self, edit: Edit) -> None:
        super().__init__()
        self._edit = edit

    def _wait(self, undo: Undo) -> None:
        take(undo, self._edit.vlm.model, "`with edit:`")

    def _change(self, undo: Undo) -> Edit:
        if ledger_of(self._edit.vlm).holds(self._edit.digest):
            return self._edit.apply()  # which refuses it: this block has nothing to undo
        undo.note(partial(_end, self._edit))  # not a note of this object: when that is gone, its block is over
        return self._edit.apply()


def _bits(columns: Float[Tensor, "hidden units"]) -> UInt8[Tensor, "hidden bytes"]:
    """The bytes of some numbers: 0.0 and -0.0 differ, and so would what is not a number."""
    return columns.detach().cpu().contiguous().view(torch.uint8)
