"""Which edits are in force on a model, and what its weights are called meanwhile.

Edits of different neurons are undone in any order. Where a later edit changed a neuron again, the earlier one cannot be
undone first: it would take the later one's work with it. The order is that of a stack for those neurons only.

The fingerprint is of the weights as they are, so that neurons found in an edited model do not claim the unedited one.
The ledger keeps what it was before and after each edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from torch import nn

from ..errors import InvalidOption
from ..loading import VLM
from ..models.origin import remember
from ..types import Neuron


@dataclass(frozen=True)
class LedgerEntry:
    """One edit in force.

    Attributes:
        digest: of what it replaced by what.
        title: for messages.
        members: the neurons whose columns it replaced.
        fingerprint: what the weights were called from then on.
        whole: all of its columns are written. It is noted before the first one is, and until the last one is put back;
            what is not whole, an error or an interrupt has left, and can be reverted.
    """

    digest: str
    title: str
    members: frozenset[Neuron]
    fingerprint: str
    whole: bool = True


@dataclass
class Ledger:
    """The edits in force on one model, oldest first. `base` is its fingerprint without any."""

    base: str
    entries: list[LedgerEntry] = field(default_factory=list[LedgerEntry])

    @property
    def former(self) -> tuple[str, ...]:
        """What the weights were called before the edits in force; nothing where there are none."""
        return self.fingerprints[:-1]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What the weights have been called, from the unedited ones to the present ones."""
        return (self.base, *(entry.fingerprint for entry in self.entries))

    def holds(self, digest: str) -> bool:
        """Whether an edit is in force."""
        return any(entry.digest == digest for entry in self.entries)

    def begin(self, digest: str, title: str, members: Sequence[Neuron]) -> None:
        """Note an edit of which no column is written yet."""
        self.entries.append(LedgerEntry(digest, title, frozenset(members), self.fingerprints[-1], whole=False))

    def complete(self, digest: str, fingerprint: str) -> None:
        """Note that all columns of an edit are written, and what the weights are called now."""
        self.entries[:] = [
            replace(entry, whole=True, fingerprint=fingerprint) if entry.digest == digest else entry
            for entry in self.entries
        ]

    def reopen(self, digest: str) -> None:
        """Note that an edit is about to be undone."""
        self.entries[:] = [replace(entry, whole=False) if entry.digest == digest else entry for entry in self.entries]

    def is_whole(self, digest: str) -> bool:
        """Whether an edit is in force with all its columns."""
        return any(entry.digest == digest and entry.whole for entry in self.entries)

    def leave(self, digest: str, fingerprint: str) -> None:
        """Note that an edit has just been undone, and what the weights are called now. May be said again."""
        at = next((n for n, entry in enumerate(self.entries) if entry.digest == digest), None)
        if at is not None:
            later = [replace(entry, fingerprint=fingerprint) for entry in self.entries[at + 1 :]]
            self.entries[at:] = later  # what they were called with this edit in force is past

    def require_last(self, digest: str) -> None:
        """Raise InvalidOption for an edit that is not in force, or of which a later one changed neurons again."""
        at = next((n for n, entry in enumerate(self.entries) if entry.digest == digest), None)
        if at is None:
            raise InvalidOption("the edit is not in force: there is nothing to revert")
        for later in self.entries[at + 1 :]:
            if shared := sorted(later.members & self.entries[at].members):
                named = ", ".join(map(str, shared[:3])) + (", ..." if len(shared) > 3 else "")
                raise InvalidOption(
                    f"a later edit ({later.title}) changed {len(shared)} of this one's neurons again ({named}): "
                    "revert that one first"
                )


#: By the model itself, not by its VLM: two of them may share one. Entries hold no reference to the model.
_LEDGERS: WeakKeyDictionary[nn.Module, Ledger] = WeakKeyDictionary()


def ledger_of(vlm: VLM) -> Ledger:
    """The ledger of a model; begun with its present fingerprint where no edit is in force."""
    ledger = _LEDGERS.get(vlm.model)
    if ledger is None or not ledger.entries:
        ledger = _LEDGERS[vlm.model] = Ledger(vlm.fingerprint)
        remember(vlm.model, ledger)
    return ledger
