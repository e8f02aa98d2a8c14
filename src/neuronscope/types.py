"""The words everything else speaks in: sites, neurons and sets of neurons. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args, overload

from .errors import InvalidOption, RunMismatch, suggest
from .fields import check_fields, finite_number, is_finite, shown, whole
from .files import write_text
from .given import checked_methods
from .hints import is_unicode
from .notebook import ROWS, table_html
from .parsing import digits, read_json

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


@dataclass(frozen=True, order=True)
class Neuron:
    """Unit `unit` of the FFN of layer `layer`, both counted from 0. Which part's layer, the set says."""

    layer: int
    unit: int

    def __post_init__(self) -> None:
        plain = type(self.layer) is type(self.unit) is int and self.layer >= 0 and self.unit >= 0
        if not plain:  # many are made: the quick question first
            check_fields(self)

    def __str__(self) -> str:
        return f"L{self.layer}.U{self.unit}"


@checked_methods
@dataclass(frozen=True)
class Neurons(Sequence[Neuron]):
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
    def of(cls, pairs: Iterable[tuple[int, int]], site: Site = "neuron") -> Neurons:
        """A set from plain (layer, unit) pairs, duplicates dropped, order kept.

        Raises InvalidOption for numbers that are not whole.
        """
        members: list[Neuron] = []
        for pair in pairs:
            try:
                layer, unit = pair
            except (TypeError, ValueError) as error:
                raise InvalidOption(f"{pair!r} is no pair (layer, unit)") from error
            members.append(Neuron(layer, unit))
        return cls(tuple(dict.fromkeys(members)), site=site)

    @classmethod
    def at(cls, *addresses: str, site: Site = "neuron") -> Neurons:
        """A set from addresses `PART.LAYER.UNIT`, such as "vision.3.17" or "text.12.405".

        Raises InvalidOption for an address of another form, and for addresses of more than one part.
        """
        parts = [_address(address) for address in addresses]
        if len({part for part, _, _ in parts}) > 1:
            raise InvalidOption(
                f"addresses {', '.join(addresses)} name several parts of the model: make one set for each"
            )
        made = cls.of(((layer, unit) for _, layer, unit in parts), site=site)
        return replace(made, part=parts[0][0]) if parts else made

    @property
    def addresses(self) -> list[str]:
        """The inverse of :meth:`at`."""
        return [f"{self.part}.{neuron.layer}.{neuron.unit}" for neuron in self.members]

    def anywhere(self) -> Neurons:
        """The same set for any model that has such neurons: it is not asked any more where it was found.

        That moves from `model` to `provenance["found_in"]`.
        """
        if not self.model:
            return self
        return replace(self, model={}, provenance={**self.provenance, "found_in": dict(self.model)})

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

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Neuron]:
        return iter(self.members)

    def __contains__(self, item: object) -> bool:
        return item in self.members

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

    def __and__(self, other: Iterable[Neuron]) -> Neurons:
        self.require_like(other)
        keep = set(other)
        return self._pick([i for i, neuron in enumerate(self.members) if neuron in keep])

    def __sub__(self, other: Iterable[Neuron]) -> Neurons:
        self.require_like(other)
        drop = set(other)
        return self._pick([i for i, neuron in enumerate(self.members) if neuron not in drop])

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


def _address(address: str) -> tuple[Part, int, int]:
    part, _, rest = address.partition(".")
    layer, _, unit = rest.partition(".")
    at, number = digits(layer), digits(unit)
    if at is None or number is None:
        raise InvalidOption(f"address {address!r} is not of the form PART.LAYER.UNIT, such as vision.3.17")
    one_of(f"part of address {address!r}", part, PARTS)
    return cast("Part", part), at, number


def _typed(data: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(data[key], kind) or (kind is str and not is_unicode(data[key])):
        raise TypeError(f"{key} is {data[key]!r}, not of type {kind.__name__}")
    return data[key]


def _index(row: Mapping[str, Any], key: str) -> int:
    value = whole(key, row[key])
    if value < 0:
        raise ValueError(f"{key} is {value}, which is negative")
    return value
