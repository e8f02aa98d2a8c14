"""What can be asked of any set of neurons: who is in it, and how it lies to others, given in whatever form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cached_property
from typing import Any, Self, cast

from .neuron import Neuron, OneNeuron, read_address


class Members(Sequence[Neuron]):
    """The questions of a set; the sets that come out of `&`, `|`, `-` and `^`, Neurons makes (types.py)."""

    members: tuple[Neuron, ...]
    part: Any

    @abstractmethod
    def read(self, other: Iterable[OneNeuron]) -> Self:
        """Another set in whatever form. Raises InvalidOption or RunMismatch where its addresses mean other neurons."""

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Neuron]:
        return iter(self.members)

    def __contains__(self, item: object) -> bool:
        """Whether a neuron, a pair (layer, unit) or an address is a member. Raises InvalidOption for other texts."""
        if isinstance(item, str):
            part, layer, unit = read_address(item)
            return part in (None, self.part) and (layer, unit) in self._pairs
        pair = (item.layer, item.unit) if isinstance(item, Neuron) else item
        return isinstance(pair, tuple) and cast("tuple[int, int]", pair) in self._pairs

    def __le__(self, other: Iterable[OneNeuron]) -> bool:
        return self.distinct <= self.read(other).distinct

    def __lt__(self, other: Iterable[OneNeuron]) -> bool:
        return self.distinct < self.read(other).distinct

    def __ge__(self, other: Iterable[OneNeuron]) -> bool:
        return self.distinct >= self.read(other).distinct

    def __gt__(self, other: Iterable[OneNeuron]) -> bool:
        return self.distinct > self.read(other).distinct

    def isdisjoint(self, other: Iterable[OneNeuron]) -> bool:
        """Whether no neuron is in both sets. Raises as `&` does."""
        return self.distinct.isdisjoint(self.read(other).distinct)

    def same_members(self, other: object) -> bool:
        """Whether a set of Python, of neurons, pairs or addresses, holds the same neurons."""
        return isinstance(other, Set) and self.distinct == self.read(cast("Iterable[OneNeuron]", other)).distinct

    @cached_property
    def distinct(self) -> frozenset[Neuron]:
        """The members as a set of Python, made once."""
        return frozenset(self.members)

    @cached_property
    def _pairs(self) -> frozenset[tuple[int, int]]:
        return frozenset((one.layer, one.unit) for one in self.members)
