"""Everything that a located concept's page shows, as plain data in the result's folder: no model is needed to read it.

RESULT/neurons.json             the set
RESULT/edited.png               the counterfactual
RESULT/evidence/evidence.json   captions, effects, tokens, threshold curves, settings, versions
RESULT/evidence/original.png    the picture as the library read it
RESULT/evidence/mask.png        white where the edit was allowed to change it
RESULT/evidence/maps.npz        "maps" [neurons, rows, columns]: each shown neuron's activation over the image

A reader checks that the evidence belongs to the set beside it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from ..errors import InvalidSample, RunMismatch
from ..files import clear_result, output_folder, replacing, write_text
from ..locate.taken import Removal
from ..meaning import MapPlace, Words
from ..parsing import read_json
from ..samples.image import read_image
from ..samples.place import place as inside
from ..types import Json, Neurons
from .curves import Curve
from .verdict import verdict

SCHEMA = "neuronscope.evidence/2"
FOLDER = "evidence"
#: The file in it that stands for a whole result.
DOCUMENT = "evidence.json"

#: What damaged JSON, arrays and fields raise.
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Spoken:
    """The captions of the sample's image under one condition.

    Attributes:
        condition: "original", "edited"; "noise", "zero", "patch" of the located neurons, "random noise" ... of others.
        texts: what the model generated after the prompt, one text per draw.
    """

    condition: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class WordScore:
    """How likely the concept's word is where the caption says it, teacher-forced; probabilities from 0 to 1.

    Attributes:
        surface: the word as the caption spells it.
        before: untouched.
        zeroed: all located neurons set to zero.
        control: as many random neurons of the same layers set to zero; None where a layer has too few.
    """

    surface: str
    before: float
    zeroed: float
    control: float | None


@dataclass(frozen=True)
class ShownNeuron:
    """What is shown of one neuron beside its scores.

    Attributes:
        alone: change of the log-odds of the concept's word when this neuron alone is set to zero; None where not
            tested. Probabilities near 1 hardly move where log-odds tell neurons apart.
        token: the image token where its first score is largest; None where the score has no such place.
        cell: that token's (row, column) in its grid; None where it has no place on the image.
        box: its footprint x, y, width, height in pixels; None likewise.
    """

    alone: float | None = None
    token: int | None = None
    cell: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known of one located concept.

    Attributes:
        image: the picture's name as the user gave it.
        prompt: what every caption begins with.
        sent: what the processor was given with the picture; empty in results of earlier releases.
        spoken: the captions by condition, "original" and "edited" first.
        neurons: the located set.
        units: what is shown of its first members.
        words: the tokens that all members promote, beside random neurons.
        maps: activation of the same members over the image, coarse, NaN where the picture was cropped away.
        curves: name of the score -> what its threshold was chosen from.
        original, edited: the pictures; mask: the pixels that the edit was allowed to change.
        boxes: x, y, width, height in pixels.
        widths: neurons of every decoder layer.
        word: None where nothing was tested.
        place: how the set's map lies on the object, beside random neurons'; None where there is no object or no map.
        level: of the noise, in activation units; None where there was none.
        exchanged: set -> the share of the edit's effect on the word that it recovers, exchanged with the edited
            picture: "located", "random", and "all layers" (the ceiling) and thirds; empty where nothing was tested.
        removal: what the edit takes from the word and from the others of the caption; None where it was not asked.
        notes: what a reader should know.
        environment: versions and machine.
        command, python: how to make the result again.
    """

    image: str
    prompt: str
    spoken: tuple[Spoken, ...]
    neurons: Neurons
    units: tuple[ShownNeuron, ...]
    words: Words
    maps: Float[np.ndarray, "_shown _rows _columns"]
    curves: Mapping[str, Curve]
    original: Image.Image
    edited: Image.Image
    mask: Bool[np.ndarray, "_height _width"]
    boxes: tuple[tuple[float, float, float, float], ...]
    widths: tuple[int, ...]
    word: WordScore | None = None
    place: MapPlace | None = None
    level: float | None = None
    sent: str = ""
    exchanged: Mapping[str, float] = field(default_factory=dict[str, float])
    removal: Removal | None = None
    notes: tuple[str, ...] = ()
    environment: Mapping[str, Json] = field(default_factory=dict[str, Json])
    command: str = ""
    python: str = ""

    def texts(self, condition: str) -> tuple[str, ...]:
        """The captions under a condition; none where it was not run."""
        return next((spoken.texts for spoken in self.spoken if spoken.condition == condition), ())

    @property
    def verdict(self) -> str:
        """What the result comes to, in one sentence (verdict.py)."""
        return verdict(self.neurons.concept, len(self.neurons), self.texts, self.removal.doubt if self.removal else "")

    def save(self, folder: str | Path) -> None:
        """Write the files of a result. Its document, without which there is none, goes first and comes last."""
        root = Path(folder)
        target = output_folder(root / FOLDER)
        clear_result(target, DOCUMENT)
        self.neurons.save(root / "neurons.json")
        pictures = {
            root / "edited.png": self.edited,
            target / "original.png": self.original,
            target / "mask.png": Image.fromarray(self.mask),
        }
        for path, picture in pictures.items():
            with replacing(path) as temporary:
                picture.save(temporary)
        with replacing(target / "maps.npz") as temporary:
            np.savez_compressed(temporary, maps=self.maps.astype(np.float32))
        write_text(target / DOCUMENT, json.dumps(self._document(), indent=1, allow_nan=False) + "\n")

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "neurons": self.neurons.addresses,
            "model": dict(self.neurons.model),
            "image": self.image,
            "prompt": self.prompt,
            "sent": self.sent,
            "spoken": [asdict(spoken) for spoken in self.spoken],
            "units": [asdict(unit) for unit in self.units],
            "words": self.words.to_dict(),
            "curves": {name: curve.to_dict() for name, curve in self.curves.items()},
            "boxes": [list(box) for box in self.boxes],
            "widths": list(self.widths),
            "word": None if self.word is None else asdict(self.word),
            "place": None if self.place is None else self.place.to_dict(),
            "level": self.level,
            "exchanged": dict(self.exchanged),
            "removal": None if self.removal is None else self.removal.to_dict(),
            "notes": list(self.notes),
            "environment": dict(self.environment),
            "command": self.command,
            "python": self.python,
        }

    @classmethod
    def load(cls, folder: str | Path) -> Evidence:
        """Read what `neuronscope locate` left in its folder.

        Raises RunMismatch for a folder without it, with files of another schema, damaged, or of another result.
        """
        root = Path(folder)
        place = root / FOLDER
        neurons = Neurons.load(root / "neurons.json")
        try:
            data: dict[str, Any] = read_json(place / DOCUMENT)
            if data.get("schema") != SCHEMA:
                raise RunMismatch(f"{place / DOCUMENT}: schema {data.get('schema')!r} is not {SCHEMA!r}")
            if neurons != set(data["neurons"]) or data.get("model", neurons.model) != neurons.model:
                raise RunMismatch(f"{place / DOCUMENT} belongs to another result than {root / 'neurons.json'}")
            with np.load(place / "maps.npz", allow_pickle=False) as stored:
                maps = np.asarray(stored["maps"], dtype=np.float32)
            if maps.ndim != 3 or len(maps) != len(data["units"]):
                raise RunMismatch(f"{place / 'maps.npz'} has shape {maps.shape} for {len(data['units'])} neurons")
            return cls(
                image=str(data["image"]),
                prompt=str(data["prompt"]),
                spoken=tuple(Spoken(str(s["condition"]), _texts(s["texts"])) for s in data["spoken"]),
                neurons=neurons,
                units=tuple(_unit(entry) for entry in data["units"]),
                words=_words(data["words"], len(neurons)),
                maps=maps,
                curves={name: Curve.from_dict(curve) for name, curve in data["curves"].items()},
                original=read_image(inside(root, f"{FOLDER}/original.png")),
                edited=read_image(inside(root, "edited.png")),
                mask=np.asarray(read_image(inside(root, f"{FOLDER}/mask.png")).convert("L")) > 127,
                boxes=tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in data["boxes"]),
                widths=tuple(data["widths"]),
                word=None if data["word"] is None else WordScore(**data["word"]),
                place=None if data["place"] is None else MapPlace.from_dict(data["place"]),
                level=data["level"],
                sent=str(data.get("sent", "")),  # which earlier releases did not keep
                exchanged=data.get("exchanged", {}),  # which earlier releases did not measure
                removal=None if data.get("removal") is None else Removal.from_dict(data["removal"]),
                notes=_texts(data["notes"]),
                environment=data["environment"],
                command=str(data["command"]),
                python=str(data["python"]),
            )
        except FileNotFoundError as error:
            raise RunMismatch(
                f"{root} lacks {Path(str(error.filename)).name}, which a report needs: run `neuronscope locate` again"
            ) from error
        except (*_DAMAGED, InvalidSample) as error:
            raise RunMismatch(f"{place} cannot be read: {type(error).__name__}: {error}") from error


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    """Raises TypeError where one is no text."""
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise TypeError(f"{wrong[0]!r} is no text")
    return tuple(map(str, values))


def clear_evidence(folder: Path) -> None:
    """Take away the files of a result. Raises InvalidOption where they cannot be."""
    names = ("original.png", "mask.png", "maps.npz")
    clear_result(folder, f"{FOLDER}/{DOCUMENT}", "neurons.json", "edited.png", *(f"{FOLDER}/{name}" for name in names))


def _words(data: Mapping[str, Any], count: int) -> Words:
    words = Words.from_dict(data)
    if not len(words) == len(words.beside) == len(words.quantiles) == count:
        raise ValueError(f"there are words of {len(words)} neurons for {count}")
    return words


def _unit(data: Mapping[str, Any]) -> ShownNeuron:
    cell, box = data["cell"], data["box"]
    return ShownNeuron(
        data["alone"],
        data["token"],
        None if cell is None else (int(cell[0]), int(cell[1])),
        None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
    )
