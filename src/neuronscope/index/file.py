"""index.npz: what every neuron did over a folder of pictures. One file, which `numpy.load` opens.

    about.json             see :data:`FIELDS`
    L12/top_value.npy      and the other arrays of :data:`~neuronscope.index.summary.ARRAYS`, for every layer

It names the weights that it was made with, and whoever reads neurons' meaning from it asks for the same ones.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from ..errors import InvalidOption, NeuronOutOfRange, RunMismatch, first_line
from ..files import is_file, is_folder, replacing
from ..hints import is_unicode
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.origin import require_own
from ..options import Asking
from ..parsing import parse_json
from ..types import SITES, Json, Neuron, Neurons, Site
from .packed import DAMAGED, pack
from .summary import ARRAYS, Summary

SCHEMA = "neuronscope.index/1"
#: The file's name in the folder of an index.
NAME = "index.npz"
_ABOUT = "about.json"

#: Field of about.json -> its type in JSON.
FIELDS: Mapping[str, type] = {
    "model": dict,  # {"id", "fingerprint"}
    "loaded": str,  # what --model was, for those who open it again
    "site": str,
    "span": str,  # "image", or "media" where the decoder has no image tokens
    "asked": dict,  # the options of what the model was asked
    "sent": str,
    "widths": list,  # neurons of every layer, 0 for one that was not looked at
    "kept": int,  # pictures at both ends of every neuron
    "quantile": float,  # of a neuron's activations, from which on it is called active
    "folder": str,  # where the pictures are, from the file's own folder
    "pictures": list,  # [{"name", "sha256", "path", "tokens"}], in the order of their numbers
    "refused": list,  # [{"where", "reason"}]
}


@dataclass(frozen=True)
class IndexedPicture:
    """A picture of an index.

    Attributes:
        name: what pages call it.
        sha256: the first 16 digits of its file's hash.
        path: from the index's `folder`.
        tokens: image tokens.
    """

    name: str
    sha256: str
    path: str
    tokens: int


@dataclass(frozen=True, eq=False)
class NeuronIndex:
    """An index, its layers read when they are asked for. See :data:`FIELDS` for the attributes of about.json.

    Attributes:
        path: the file.
    """

    path: Path
    model: Mapping[str, str]
    loaded: str
    site: Site
    span: str
    asked: Mapping[str, Any]
    sent: str
    widths: tuple[int, ...]
    kept: int
    quantile: float
    folder: str
    pictures: tuple[IndexedPicture, ...]
    refused: tuple[Mapping[str, str], ...] = ()
    _cache: dict[int, Summary] = field(default_factory=dict[int, Summary], repr=False)

    @classmethod
    def load(cls, path: str | Path) -> NeuronIndex:
        """Read an index: its file, or the folder that it is in.

        Raises RunMismatch for a missing or damaged file, and one of another schema.
        """
        given = Path(path)
        file = given / NAME if is_folder(given) else given
        try:
            if not is_file(file):  # a device would be read for ever
                raise FileNotFoundError("there is no such file")
            with zipfile.ZipFile(file) as archive:
                about = parse_json(archive.read(_ABOUT))
        except DAMAGED as error:
            raise RunMismatch(
                f"{file} cannot be read as an index ({first_line(error)}): `neuronscope index` makes one"
            ) from error
        if not isinstance(about, dict) or cast("Any", about).get("schema") != SCHEMA:
            raise RunMismatch(f"{file} is not of schema {SCHEMA!r}: make it again with `neuronscope index`")
        try:
            return cls(file, **_read(cast("dict[str, Any]", about)))
        except (LookupError, TypeError, ValueError, AttributeError, InvalidOption) as error:
            raise RunMismatch(f"{file} is damaged: {type(error).__name__}: {first_line(error)}") from error

    @property
    def decoding(self) -> Decoding:
        """What the model was asked about every picture."""
        return Decoding.asked(Asking(**self.asked))

    @property
    def place(self) -> Path:
        """The folder of the pictures."""
        return self.path.parent / self.folder

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that were looked at."""
        return tuple(layer for layer, width in enumerate(self.widths) if width)

    def width(self, layer: int) -> int:
        """Neurons of a layer. Raises NeuronOutOfRange where it was not looked at."""
        if layer not in self.layers:
            raise NeuronOutOfRange(f"layer {layer} is not in {self.path}, which has layers {_ranges(self.layers)}")
        return self.widths[layer]

    def layer(self, layer: int) -> Summary:
        """The summary of one layer. Raises NeuronOutOfRange where it was not looked at, RunMismatch where damaged."""
        self.width(layer)
        if layer not in self._cache:
            self._cache.clear()  # one layer of a large model is tens of megabytes
            self._cache[layer] = self._read_layer(layer)
        return self._cache[layer]

    def require(self, neuron: Neuron) -> None:
        """Raise NeuronOutOfRange unless the index has this neuron."""
        if neuron.layer not in self.layers or not 0 <= neuron.unit < self.widths[neuron.layer]:
            units = self.widths[neuron.layer] if neuron.layer in self.layers else 0
            has = f"units 0 to {units - 1} there" if units else f"layers {_ranges(self.layers)}"
            raise NeuronOutOfRange(f"{neuron} is not in {self.path}, which has {has}")

    def require_part(self, neurons: Neurons) -> None:
        """Raise InvalidOption for neurons outside the decoder, and NeuronOutOfRange for those that are not here."""
        if neurons.part != "text":
            raise InvalidOption(f"{neurons.addresses[0]} is no neuron of the decoder, and {self.path} has no others")
        if neurons.model.get("fingerprint", self.model["fingerprint"]) != self.model["fingerprint"]:
            raise RunMismatch(
                f"the neurons were found in weights with fingerprint {neurons.model['fingerprint']}, and {self.path} "
                f"was made with {self.model['fingerprint']}"
            )
        for one in neurons:
            self.require(one)

    def require_own(self, vlm: VLM, *, force: bool = False) -> None:
        """Raise RunMismatch for a model of other weights; with `force` only NeuronOutOfRange for one without these."""
        layer = self.layers[-1]
        last = self.members([Neuron(layer, self.widths[layer] - 1)])
        try:
            require_own(vlm, last.anywhere() if force else last)
        except RunMismatch as error:
            raise RunMismatch(f"{self.path}: {error}") from error

    def members(self, neurons: Sequence[Neuron]) -> Neurons:
        """Some of its neurons as a set that knows which weights they are of. Raises NeuronOutOfRange."""
        for one in neurons:
            self.require(one)
        return Neurons(tuple(dict.fromkeys(neurons)), site=self.site, model=dict(self.model))

    def _read_layer(self, layer: int) -> Summary:
        width = self.widths[layer]
        found: dict[str, np.ndarray] = {}
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                for name, (kind, axes) in ARRAYS.items():
                    array: Any = archive[f"L{layer}/{name}"]
                    shape = (width, *(self.kept if size is None else size for size in axes))
                    if array.shape != shape or array.dtype != np.dtype(kind):
                        raise ValueError(f"{name} of layer {layer} is {array.dtype}{array.shape}, not {kind}{shape}")
                    found[name] = array
            for name in ("top_picture", "bottom_picture"):
                if found[name].min() < 0 or found[name].max() >= len(self.pictures):
                    raise ValueError(f"{name} of layer {layer} names pictures that are not listed")
            if not all(np.isfinite(array).all() for array in found.values()):
                raise ValueError(f"layer {layer} holds numbers that are not finite")
        except DAMAGED as error:
            raise RunMismatch(f"{self.path} is damaged: {type(error).__name__}: {first_line(error)}") from error
        return Summary(**found)


def save(path: Path, about: Mapping[str, Json], layers: Mapping[int, Summary]) -> None:
    """Write an index; `about` holds the :data:`FIELDS`."""
    text = json.dumps({"schema": SCHEMA, **about}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        pack(
            temporary,
            (
                (_ABOUT, text.encode("utf-8", "backslashreplace")),
                *((f"L{layer}/{name}", array) for layer, one in layers.items() for name, array in one.arrays().items()),
            ),
        )


def _read(about: Mapping[str, Any]) -> dict[str, Any]:
    for name, kind in FIELDS.items():
        value = about[name]
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise TypeError(f"{name} is {value!r:.80}, not of type {kind.__name__}")
    found: dict[str, Any] = {name: _text(about[name]) if kind is str else about[name] for name, kind in FIELDS.items()}
    pictures = tuple(
        IndexedPicture(_text(one["name"]), _text(one["sha256"]), _text(one["path"]), _count(one["tokens"]))
        for one in about["pictures"]
    )
    refused = tuple({"where": _text(one["where"]), "reason": _text(one["reason"])} for one in about["refused"])
    widths = tuple(_count(width) for width in about["widths"])
    if about["site"] not in SITES or not 0 < about["quantile"] < 1 or not pictures or not any(widths):
        raise ValueError("site, quantile, widths or pictures are none")
    if not 1 <= _count(about["kept"]) <= len(pictures):
        raise ValueError(f"kept is {about['kept']} of {len(pictures)} pictures")
    if astray := next(
        (
            one.path
            for one in pictures
            if PurePosixPath(one.path).is_absolute() or ".." in PurePosixPath(one.path).parts
        ),
        "",
    ):
        raise ValueError(f"picture {astray!r} is not in the folder")
    model = {_text(name): _text(value) for name, value in about["model"].items()}
    _ = model["id"], model["fingerprint"], Decoding.asked(Asking(**about["asked"]))
    return {**found, "model": model, "pictures": pictures, "refused": refused, "widths": widths}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_unicode(value):
        raise TypeError(f"{value!r:.80} is no text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r:.80} is no count")
    return value


@lru_cache(maxsize=8)
def _ranges(layers: tuple[int, ...]) -> str:
    """Whole numbers as people write them: 0 to 3, 5."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)
