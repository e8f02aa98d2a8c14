"""What the caption engine may leave out, as plain data: each switch turns one exact optimisation off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from ..errors import InvalidOption
from ..fields import check_fields

#: Switches that depend on how a model is built, in the order in which they are given up when a proof fails.
_GIVEN_UP = ("prefix", "compact", "draft", "low_rank", "short_last", "share")


@dataclass(frozen=True)
class Engine:
    """Which work the caption engine saves (METHODS h). Captions are the same whatever is chosen.

    Attributes:
        draft: the clean caption is read together with the prompt, and only what differs from it is written.
        low_rank: in the first changed layer, sum_i dn_i[p] w_i is added to the clean residual instead of running it.
        prefix: positions before the image are not read again.
        short_last: at image positions the last layer stops after its keys and values.
        inert: neurons of the last layer at image positions, which nothing reads, are left out (METHODS a, identity 4).
        compact: rows that reached the end of their caption leave the batch.
        share: layers below the first changed one run once for rows that have written the same so far.
        remember: how many captions are kept for interventions that are asked for again; 0 keeps none.
    """

    draft: bool = True
    low_rank: bool = True
    prefix: bool = True
    short_last: bool = True
    inert: bool = True
    compact: bool = True
    share: bool = True
    remember: int = 2**16

    def __post_init__(self) -> None:
        check_fields(self)
        if self.remember < 0:
            raise InvalidOption(f"remember={self.remember} must be at least 0")

    @classmethod
    def off(cls) -> Engine:
        """Nothing but the reuse of clean states below the first changed layer."""
        return cls(**{field.name: False for field in fields(cls) if field.type == "bool"}, remember=0)

    def __and__(self, other: Engine) -> Engine:
        """What both leave out."""
        return replace(self, **{name: getattr(self, name) and getattr(other, name) for name in _GIVEN_UP})

    def weaker(self) -> Iterator[Engine]:
        """This engine, then with one switch off after the other, then with more and more of them off."""
        seen: set[Engine] = set()
        steps = [self, *(replace(self, **{name: False}) for name in _GIVEN_UP)]
        steps += [replace(self, **dict.fromkeys(_GIVEN_UP[:count], False)) for count in range(2, len(_GIVEN_UP) + 1)]
        for engine in steps:
            if engine not in seen:
                seen.add(engine)
                yield engine
