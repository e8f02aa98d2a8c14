"""The words everything else speaks in: sites, neurons and sets of neurons. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args, overload

from .errors import InvalidOption, RunMismatch, suggest
from .fields import check_fields, finite_number, is_finite, shown, whole
from .files import write_text
from .frames import data_frame, neuron_columns
from .given import checked_methods
from .hints import is_unicode
from .members import Members
from .neuron import PLAIN_PART, Neuron, OneNeuron, read_address, read_neuron, write_address
from .notebook import ROWS, table_html
from .parsing import read_json

if TYPE_CHECKING:
    from pandas import DataFrame

#: Where a neuron is read (METHODS a): `neuron` is the input of the FFN's down projection, the coefficient of its value
#: vector; `act` is the output of the activation function; `pre` is that function's input. Without a gate, act = neuron.
Site: TypeAlias = Literal["neuron", "act", "pre"]
SITES: tuple[Site, ...] = get_args(Site)

#: Which positions: the image tokens; in a decoder that reads the image through cross-attention the text positions that
#: attend to it; everything after the image tokens; or all.
Span: TypeAlias = Literal["image", "media", "text", "all"]
SPANS: tuple[Span, ...] = get_args(Span)

#: When: while the prompt is read, while new tokens are written, or both.
Phase: TypeAlias = Literal["prefill", "decode", "both"]
PHASES: tuple[Phase, ...] = get_args(Phase)

#: Which part of the model: the decoder, the gated cross-attention blocks between its layers where these are blocks of
#: their own, the vision tower, or the projector (Q-Former, resampler) between tower and decoder.
Part: TypeAlias = Literal["text", "gated", "vision", "projector"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Parts whose neurons see the prompt's positions; the others see the image's patches.
ALONG_PROMPT: tuple[Part, ...] = ("text", "gated")

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

SCHEMA = "neuronscope.neurons/1"


def one_of(argument: str, value: str, choices: Sequence[str]) -> None:
    """Raise InvalidOption unless `value` is one of the choices."""
    if value not in choices:
        raise InvalidOption(f"{argument}={shown(value)} is not known.{suggest(value, list(choices))}")


def whole_number(option: str, value: object, least: int) -> None:
    """Raise InvalidOption unless an option is a whole number of at least `least`."""
    if whole(option, value) < least:
        raise InvalidOption(f"{option}={value!r} is not a whole number of at least {least}")


@checked_methods
@dataclass(frozen=True)
class Neurons(Members):
    """An ordered set of neurons, best first, with whatever scores the method gave them.

    Attributes:
        members: the neurons, each once.
        scores: score name -> one number per member, in the same order.
        site: where the method read them.
        concept, method, options, provenance: what was looked for, how, and where the thresholds came from.
        model: `{"id", "fingerprint"}` of the weights; empty for a set written by hand.
        part: the part of the model whose neurons these are; one set holds neurons of one part.
    """

    members: tuple[Neuron, ...]
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    site: Site = "neuron"
    concept: str = ""
    method: str = ""
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])
    provenance: Mapping[str, Json] = field(default_factory=dict[str, Json])
    model: Mapping[str, str] = field(default_factory=dict[str, str])
    part: Part = "text"

    def __post_init__(self) -> None:
        if not isinstance(self.members, (tuple, list)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"members={shown(self.members)} is not a tuple of Neuron; Neurons.of takes pairs")
        if wrong := next((one for one in self.members if not isinstance(one, Neuron)), None):  # pyright: ignore
            raise InvalidOption(f"members holds {wrong!r}, which is no Neuron; Neurons.of takes (layer, unit) pairs")
        check_fields(self, but=("scores",))
        if len(set(self.members)) != len(self.members):
            raise InvalidOption("a set of neurons lists the same (layer, unit) twice")
        if not isinstance(self.scores, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"scores={shown(self.scores)} is not a mapping of names to one number per neuron")
        for name, values in self.scores.items():
            if not isinstance(name, str) or not isinstance(values, Sequence):  # pyright: ignore
                raise InvalidOption(f"scores={shown(self.scores)} is not a mapping of names to one number per neuron")
            if len(values) != len(self.members):
                raise InvalidOption(f"score {name!r} has {len(values)} values for {len(self.members)} neurons")
            for neuron, value in zip(self.members, values, strict=True):
                if not is_finite(value):
                    raise InvalidOption(f"score {name!r} of {neuron} is {value!r}, not a finite number")

    @classmethod
    def of(cls, pairs: Iterable[OneNeuron], site: Site = "neuron") -> Neurons:
        """A set from (layer, unit) pairs, Neuron objects or addresses, duplicates dropped, order kept.

        Raises InvalidOption for what is none of them, numbers that are not whole, and addresses of more than one part.
        """
        given = [read_neuron("pairs", one) for one in pairs]
        parts = {part or PLAIN_PART for part, _ in given} or {PLAIN_PART}
        if len(parts) > 1:
            raise InvalidOption(f"pairs name several parts of the model, {', '.join(sorted(parts))}: one set for each")
        return cls(tuple(dict.fromkeys(one for _, one in given)), site=site, part=cast("Part", parts.pop()))

    @classmethod
    def at(cls, *addresses: str, site: Site = "neuron") -> Neurons:
        """A set from addresses, such as "L12.U405" or "vision.L3.U17".

        Also read are 12.405, text.12.405 and vision.3.17. Raises InvalidOption for an address of another form, and for
        addresses of more than one part.
        """
        parts = list(dict.fromkeys(read_address(one)[0] or PLAIN_PART for one in addresses))
        if len(parts) > 1:
            raise InvalidOption(
                f"addresses {', '.join(addresses)} name several parts of the model: make one set for each"
            )
        return cls.of(addresses, site=site)

    @property
    def addresses(self) -> list[str]:
        """The inverse of :meth:`at`."""
        return [write_address(neuron.layer, neuron.unit, self.part) for neuron in self.members]

    def anywhere(self) -> Neurons:
        """The same set for any model that has such neurons: it is not asked any more where it was found.

        That moves from `model` to `provenance["found_in"]`.
        """
        if not self.model:
            return self
        return replace(self, model={}, provenance={**self.provenance, "found_in": dict(self.model)})

    def __repr__(self) -> str:
        first = ", ".join(self.addresses[:5]) + (", ..." if len(self) > 5 else "")
        said = [f"of {shown(self.concept)}"] * bool(self.concept) + [f"by {self.method}"] * bool(self.method)
        scored = f"scores {', '.join(self.scores)}" if self.scores else ""
        return f"<{'; '.join(filter(None, (' '.join([f'{len(self)} neurons', *said]), first, scored)))}>"

    def to_dataframe(self) -> DataFrame:
        """The set with pandas: a row per member, in order, with its address and all scores; the rest in `attrs`.

        Raises InvalidOption where pandas is not installed, or a score has the name of another column.
        """
        columns = neuron_columns(self.members, self.part)
        if both := sorted(columns.keys() & self.scores):
            raise InvalidOption(f"score {both[0]!r} has the name of a column of every data frame: give it another")
        about: dict[str, Any] = {name: _plain(getattr(self, name)) for name in _SAID}
        return data_frame({**columns, **self.scores}, **about)

    def to_html(self) -> str:
        """The set as a table of its first members, with their scores."""
        names = [name for name in self.scores if not name.endswith("_patch")]
        rows = [
            (address, *(f"{self.scores[name][k]:.4g}" for name in names))
            for k, address in enumerate(self.addresses[:ROWS])
        ]
        of, by = self.concept and f" of “{self.concept}”", self.method and f" by {self.method}"
        return table_html(f"{len(self)} neurons{of}{by}", ("neuron", *names), rows, len(self) - ROWS)

    _repr_html_ = to_html

    def require_like(self, other: Iterable[Neuron]) -> None:
        """Refuse to compare with a set whose addresses mean other neurons; ones that were written by hand pass.

        Raises InvalidOption for a set of another part of the model, RunMismatch for one of other weights.
        """
        if not isinstance(other, Neurons):
            return
        if other.part != self.part:
            raise InvalidOption(f"a set of part {self.part!r} and one of part {other.part!r} have no neurons in common")
        here, there = (one.model.get("fingerprint", "") for one in (self, other))
        if here and there and here != there:
            raise RunMismatch(
                f"one set was found in weights with fingerprint {here} and the other in {there}: the same addresses "
                "are other neurons there. neurons.anywhere() is compared by its addresses all the same"
            )

    @overload
    def __getitem__(self, index: int) -> Neuron: ...
    @overload
    def __getitem__(self, index: slice) -> Neurons: ...
    def __getitem__(self, index: int | slice) -> Neuron | Neurons:
        if isinstance(index, int):
            return self.members[index]
        return self._pick(list(range(len(self.members)))[index])

    def by_layer(self) -> dict[int, list[int]]:
        """layer -> its units, layers ascending, units in the order of the set."""
        result: dict[int, list[int]] = {}
        for neuron in self.members:
            result.setdefault(neuron.layer, []).append(neuron.unit)
        return dict(sorted(result.items()))

    def top(self, count: int, by: str) -> Neurons:
        """The `count` members with the largest score `by`; ties keep (layer, unit) order."""
        whole_number("count", count, 0)
        one_of("by", by, sorted(self.scores))
        values = self.scores[by]
        order = sorted(range(len(self)), key=lambda i: (-values[i], self.members[i]))
        return self._pick(order[:count])

    def __eq__(self, other: object) -> bool:
        """With another Neurons everything, order and scores too; with Python's sets the members."""
        if isinstance(other, Neurons):
            return all(getattr(self, one.name) == getattr(other, one.name) for one in dataclasses.fields(self))
        return self.same_members(other) if isinstance(other, Set) else NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __and__(self, other: Iterable[OneNeuron]) -> Neurons:
        keep = self.read(other).distinct
        return self._pick([i for i, neuron in enumerate(self.members) if neuron in keep])

    def __sub__(self, other: Iterable[OneNeuron]) -> Neurons:
        drop = self.read(other).distinct
        return self._pick([i for i, neuron in enumerate(self.members) if neuron not in drop])

    def __or__(self, other: Iterable[OneNeuron]) -> Neurons:
        return self._joined(self.read(other))

    def __xor__(self, other: Iterable[OneNeuron]) -> Neurons:
        beside = self.read(other)
        return (self - beside)._joined(beside - self)

    def __rsub__(self, other: Iterable[OneNeuron]) -> Neurons:
        return self.read(other) - self

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def read(self, other: Iterable[OneNeuron]) -> Neurons:
        """The other side of an operation: a set whose addresses mean the same neurons.

        Plain neurons, pairs and addresses without a part are of this set's part. Raises InvalidOption for what is none
        of them, another part, or sets that methods read at two sites; RunMismatch for other weights.
        """
        if isinstance(other, Neurons):
            self.require_like(other)
            if other.site != self.site and all(one.method or one.model for one in (self, other)):
                raise InvalidOption(
                    f"a set read at site {self.site!r} and one at {other.site!r}: compare them by their members, "
                    "set(a) & set(b), or say that it does not matter, dataclasses.replace(neurons, site=...)"
                )
            return other
        if isinstance(other, (str, Neuron)) or not isinstance(other, Iterable):  # pyright: ignore
            raise InvalidOption(f"{shown(other)} is no set of neurons: neurons, (layer, unit) pairs or addresses")
        given = [read_neuron("the other set", one) for one in other]
        if strange := next((part for part, _ in given if part not in (None, self.part)), None):
            raise InvalidOption(f"a set of part {self.part!r} and one of part {strange!r} have no neurons in common")
        members = dict.fromkeys(one for _, one in given)
        ordered = sorted(members) if isinstance(other, (set, frozenset)) else members
        return Neurons(tuple(ordered), site=self.site, part=self.part)

    def _joined(self, other: Neurons) -> Neurons:
        """This set's members, then the other's new ones; scores that all of them have, of one method, are kept.

        Where the two sets were not found alike, the joined one says so in `provenance["joined"]`.
        """
        new = other - self
        if not new:
            return self
        if not self:
            return replace(new, site=self.site) if not new.method else new
        alike: dict[str, Any] = {name: value for name in _FOUND if (value := getattr(self, name)) == getattr(new, name)}
        scores = {name: of + new.scores[name] for name, of in self.scores.items() if name in new.scores}
        if len(alike) < len(_FOUND):
            pair: list[Json] = [
                {"neurons": len(one), **{name: _plain(getattr(one, name)) for name in _FOUND}} for one in (self, new)
            ]
            alike["provenance"] = {"joined": pair}
        return Neurons(
            self.members + new.members,
            scores if "method" in alike else {},
            site=self.site if self.method or self.model else new.site,
            part=self.part,
            model=self.model or new.model,
            **alike,
        )

    def _pick(self, indices: Sequence[int]) -> Neurons:
        scores = {name: tuple(values[i] for i in indices) for name, values in self.scores.items()}
        return replace(self, members=tuple(self.members[i] for i in indices), scores=scores)

    def to_dict(self) -> dict[str, Any]:
        """The content of neurons.json."""
        return {
            "schema": SCHEMA,
            "model": dict(self.model),
            "concept": self.concept,
            "part": self.part,
            "site": self.site,
            "method": self.method,
            "options": dict(self.options),
            "provenance": dict(self.provenance),
            "scores": list(self.scores),
            "neurons": [
                {"layer": n.layer, "unit": n.unit, "scores": {name: v[i] for name, v in self.scores.items()}}
                for i, n in enumerate(self.members)
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Neurons:
        """The inverse of :meth:`to_dict`. Raises RunMismatch for another schema or a damaged document."""
        if data.get("schema") != SCHEMA:
            raise RunMismatch(f"schema {data.get('schema')!r} is not {SCHEMA!r}")
        try:
            rows = _typed(data, "neurons", list)
            return cls(
                tuple(Neuron(_index(row, "layer"), _index(row, "unit")) for row in rows),
                {
                    name: tuple(float(finite_number(f"score {name!r}", row["scores"][name])) for row in rows)
                    for name in data["scores"]
                },
                _typed(data, "site", str),
                _typed(data, "concept", str),
                _typed(data, "method", str),
                _typed(data, "options", dict),
                _typed(data, "provenance", dict),
                _typed(data, "model", dict),
                _typed({"part": "text", **data}, "part", str),  # documents from before there were other parts
            )
        except (KeyError, TypeError, ValueError, InvalidOption) as error:
            raise RunMismatch(f"damaged neurons document: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write neurons.json (to a temporary name first, then renamed)."""
        write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Neurons:
        """Read a neurons.json. Raises RunMismatch when the file is missing, not JSON or of another schema."""
        try:
            data = read_json(path)
        except (OSError, ValueError) as error:
            raise RunMismatch(f"{path} cannot be read as a neurons document: {error}") from error
        if not isinstance(data, dict):
            raise RunMismatch(f"{path} holds no JSON object")
        try:
            return cls.from_dict(cast("dict[str, Any]", data))
        except RunMismatch as error:
            raise RunMismatch(f"{path}: {error}") from error


def options_of(method: Any) -> dict[str, Json]:
    """All options of a method, which is a dataclass, as a file can hold them."""
    return {item.name: _plain(getattr(method, item.name)) for item in dataclasses.fields(method)}


def _plain(value: Any) -> Json:
    if isinstance(value, Neurons):
        return [*value.addresses]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **options_of(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in cast("tuple[object, ...]", value)]
    if value is None or isinstance(value, (bool, int, float, str, list, dict)):
        return cast("Json", value)
    return {"kind": type(value).__name__}  # a threshold of somebody's own, of which nothing more is known


#: What is true of all members.
_SAID = ("site", "concept", "method", "options", "provenance", "model")
#: What says how a set was found.
_FOUND = ("concept", "method", "options", "provenance")


def _typed(data: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(data[key], kind) or (kind is str and not is_unicode(data[key])):
        raise TypeError(f"{key} is {data[key]!r}, not of type {kind.__name__}")
    return data[key]


def _index(row: Mapping[str, Any], key: str) -> int:
    value = whole(key, row[key])
    if value < 0:
        raise ValueError(f"{key} is {value}, which is negative")
    return value
