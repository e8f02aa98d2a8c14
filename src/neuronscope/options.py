"""Settings that are a command line: an option is declared once, in the field of a frozen dataclass.

    images: int = option(3, "--images", "-n", help="Samples of each concept.")

cli/takes.py makes the parser of a verb from such fields, :func:`given` the settings from what was parsed, and
:func:`words` from settings the command that makes them again. Only the standard library is needed, so that `--help`
loads nothing heavy: classes with options import what their checks need when they check.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING as MISSING
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from .errors import InvalidOption, suggest
from .fields import check_fields
from .parsing import parse_json

T = TypeVar("T")


class Form(NamedTuple):
    """How a value is written as one word.

    Attributes:
        read: the value of a word; raises ValueError for one that is not `what`.
        write: the inverse.
        what: for the error.
    """

    read: Callable[[str], Any]
    write: Callable[[Any], str]
    what: str = ""


@dataclass(frozen=True)
class Option:
    """What the command line knows of a field.

    Attributes:
        names: of the option, the long one first; "--on/--off" of a switch that is on by default. None for an argument.
        help: one sentence.
        form: how it is written, where that is not a text, a number, a path or a switch.
        repeated: it may be given more than once; the field holds a tuple.
        optional: the parser does not insist on it, although the field has no default.
        metavar: what the parser calls its value.
        blank: an empty word is a value, too.
    """

    names: tuple[str, ...]
    help: str
    form: Form | None = None
    repeated: bool = False
    optional: bool = False
    metavar: str | None = None
    blank: bool = False

    def texts(self, value: Any) -> list[str]:
        """A value as the words of the command line."""
        write = self.form.write if self.form else plain
        return [write(one) for one in value] if self.repeated else [write(value)]

    def value(self, parsed: Any) -> Any:
        """The inverse of :meth:`texts`. Raises InvalidOption for a word of another form."""
        return tuple(map(self._read, parsed)) if self.repeated else self._read(parsed)

    def _read(self, word: Any) -> Any:
        if self.form is None:
            return word
        try:
            return self.form.read(word)
        except ValueError as error:
            raise InvalidOption(f"{self.names[0]} {word!r} is not {self.form.what}") from error


def option(
    default: Any,
    *names: str,
    factory: Callable[[], Any] | None = None,
    least: float | None = None,
    most: float | None = None,
    **known: Any,
) -> Any:
    """A field that is an option: its default, MISSING for none, or what makes it, and the rest of :class:`Option`.

    `least` and `most` are the range of its numbers, which :func:`~neuronscope.fields.check_fields` looks at.
    """
    bounds = {name: bound for name, bound in (("least", least), ("most", most)) if bound is not None}
    metadata = {"option": Option(names, **known), **bounds}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_in(settings: Any) -> Iterator[tuple[dataclasses.Field[Any], Option]]:
    """The fields of a settings class that are options, in order."""
    return ((one, one.metadata["option"]) for one in dataclasses.fields(settings) if "option" in one.metadata)


def given(settings: Any, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was given on the command line, the fields of a class. Raises InvalidOption for a word of another form."""
    return {one.name: known.value(parsed[one.name]) for one, known in options_in(settings) if one.name in parsed}


def made(settings: Callable[..., T], parsed: Mapping[str, Any], **more: Any) -> T:
    """The settings that were asked for on the command line, and more of them by field."""
    return settings(**given(settings, parsed), **more)


def default(field: dataclasses.Field[Any]) -> Any:
    """A field's default, MISSING for none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def words(settings: Any, instead: Mapping[str, Any] | None = None) -> list[str]:
    """The words that make settings again: arguments, then every option that differs from its default.

    `instead` holds defaults of a preset, by field.
    """
    arguments: list[str] = []
    options: list[str] = []
    for one, known in options_in(settings):
        value = getattr(settings, one.name)
        if not known.names:
            arguments += known.texts(value)
        elif value == (instead or {}).get(one.name, default(one)):
            continue
        elif isinstance(value, bool):
            options.append(known.names[0].split("/")[0 if value else -1])
        else:
            options += [word for text in known.texts(value) for word in (known.names[0], text)]
    return [*arguments, *options]


def as_python(settings: Any, *, but: type | None = None) -> str:
    """Settings as Python writes them: what differs from its default, no field of `but`; those within are of `ns`."""
    hidden = {one.name for one in dataclasses.fields(but)} if but is not None else set[str]()
    said = [
        f"{one.name}={_as_python(value)}"
        for one in dataclasses.fields(settings)
        if one.init and one.name not in hidden and (value := getattr(settings, one.name)) != default(one)
    ]
    return f"{type(settings).__name__}({', '.join(said)})"


def _as_python(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return f"ns.{as_python(value)}"
    return repr(str(value) if isinstance(value, PurePath) else value)


def plain(value: object) -> str:
    """A value as a word, whole floats as integers."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def comma_separated(kind: Callable[[str], Any], what: str) -> Form:
    """Several values between commas, "none" for none."""

    def read(text: str) -> tuple[Any, ...]:
        return () if text == "none" else tuple(kind(word.strip()) for word in text.split(","))

    return Form(read, lambda values: ",".join(map(plain, values)) or "none", f"a list of {what} separated by commas")


def number(text: str) -> float:
    """A finite number. Raises ValueError for any other word."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


WORDS = comma_separated(str, "words")
NUMBERS = comma_separated(number, "finite numbers")
SIZES = comma_separated(int, "whole numbers")


#: Instead of a box: what a detector finds, its best region or each that is good enough.
Sought: TypeAlias = Literal["auto", "all"]
SOUGHT: tuple[Sought, ...] = get_args(Sought)


def _box(text: str) -> tuple[float, float, float, float] | Sought:
    for word in SOUGHT:
        if text == word:
            return word
    x, y, w, h = map(number, text.split(","))
    return x, y, w, h


#: A box, or a word of :data:`SOUGHT`.
BOX = Form(
    _box,
    lambda box: box if isinstance(box, str) else ",".join(map(plain, box)),
    "four finite numbers x,y,w,h in pixels, auto, or all",
)


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, _value(value)


def _value(text: str) -> Any:
    """A number or true, false, null as JSON has them; several between commas; text otherwise."""
    if "," in text:
        return tuple(map(_value, text.split(",")))
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value  # Python's JSON has NaN


def _setting_text(setting: tuple[str, Any]) -> str:
    values = setting[1] if isinstance(setting[1], tuple) else (setting[1],)
    return f"{setting[0]}={','.join(value if isinstance(value, str) else json.dumps(value) for value in values)}"


#: NAME=VALUE, as a pair.
SETTING = Form(_setting, _setting_text)


#: What a picture is, for help.
IMAGE = "Image file: JPEG, PNG, WebP, TIFF, BMP or GIF."
#: What `neuronscope.annotated` takes, for help.
ANNOTATED = "COCO, YOLO or Pascal VOC folder, table of boxes (.csv, .tsv, .jsonl, .parquet), or saved datasets folder."
#: What names pictures without more, for help.
PICTURES = "Files, folders, tables (.csv, .tsv, .jsonl, .json, .parquet), or annotated data."

#: Of an implementation of attention, of a branch, a tag or a commit.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:|-]*")


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which model, and how it is loaded, as :func:`neuronscope.load` takes it."""

    HEADING = "The model"

    model: str = option("demo", "--model", "-m", help='"demo", "natural", a checkpoint directory, or a hub id.')
    device: str | None = option(None, "--device", help="cpu, cuda, cuda:1 ...; a GPU if there is one.")
    dtype: str = option("auto", "--dtype", help="float32, bfloat16, float16, 8bit, 4bit, or auto.")
    attn: str | None = option(None, "--attn", help="How attention is computed: eager, sdpa, flash_attention_2 ...")
    revision: str | None = option(None, "--revision", help="Of a hub id: branch, tag or commit.")

    @property
    def further(self) -> dict[str, Any]:
        """What `neuronscope.load` is given beside model, device and dtype. Raises InvalidOption for what is no name."""
        said = {"attn_implementation": self.attn, "revision": self.revision}
        for name, value in {"--attn": self.attn, "--revision": self.revision}.items():
            if value is not None and (not _NAME.fullmatch(value) or ".." in value):
                raise InvalidOption(f"{name} {value!r} is no name: letters, digits and ._-/@: make one")
        return {name: value for name, value in said.items() if value is not None}

    @property
    def loading(self) -> dict[str, Any]:
        """What `neuronscope.load` is given beside the model. Raises as :attr:`further` does."""
        return {"device": self.device, "dtype": self.dtype, **self.further}

    def load_expression(self) -> str:
        """The model as Python loads it."""
        said = {name: value for name, value in self.loading.items() if value not in (None, "auto")}
        return f"ns.load({', '.join([repr(self.model), *(f'{name}={value!r}' for name, value in said.items())])})"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a model is asked, and how it answers: the fields of :class:`neuronscope.Decoding` that a verb takes."""

    HEADING = "What is asked"

    question: str = option("", "--question", help="What is asked; it goes through the model's chat template.")
    prefix: str | None = option(
        None,
        "--prefix",
        "--prompt",
        help='What the answer begins with; "The image shows a", or nothing after a question.',
        blank=True,
    )
    system: str = option("", "--system", help="What the model is told before.")
    template: str | None = option(
        None, "--template", help="With {image}, {prefix}, and {question} and {system} for these; no chat template."
    )
    chat: str = option("auto", "--chat", help="The checkpoint's chat template: auto, always, or never.")
    max_new_tokens: int = option(32, "--max-new-tokens", least=1, help="Length limit of captions.")

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, decoding: Any) -> Asking:
        """The options that ask for a decoding."""
        return cls(**{one.name: getattr(decoding, one.name) for one, _ in options_in(cls)})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which pictures of a data set are read, and where they may lie."""

    HEADING = "The data"

    split: str | None = option(None, "--split", help="Of annotated data: which split, where there are several.")
    allow_outside: bool = option(
        False, "--allow-outside", help="Also read pictures outside the data's folder, where names or links lead there."
    )

    def __post_init__(self) -> None:
        check_fields(self)


def _share(text: str) -> float | None:
    return None if text == "none" else number(text)


#: What is inpainted: one region (`Sample.region`), or as much as takes the word away (locate/validity.py).
Reach: TypeAlias = Literal["grown", "auto", "boxes", "mask"]
REACHES: tuple[Reach, ...] = get_args(Reach)

#: A share, or none where there is no limit.
SHARE = Form(_share, lambda share: "none" if share is None else plain(share), "a number, or none")


@dataclass(frozen=True, kw_only=True)
class Taking:
    """How much of a picture goes with the object, and which samples that spoils (locate/validity.py)."""

    HEADING = "What is taken out of the picture"

    reach: Reach = option(
        "grown", "--reach", help="Inpainted: grown (mask, larger where the word stays), auto, boxes or mask."
    )
    max_other_share: float | None = option(
        None,
        "--max-other-share",
        help="Refuse samples of which more of another object goes, too; none for any.",
        form=SHARE,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.reach not in REACHES:
            raise InvalidOption(f"reach={self.reach!r} is not known.{suggest(self.reach, list(REACHES))}")
        check_other_share(self.max_other_share)


def check_other_share(share: float | None) -> None:
    """Raise InvalidOption for a `max_other_share` outside 0 to 1; None is any."""
    if share is not None and not 0 <= share <= 1:
        raise InvalidOption(f"max_other_share={share} must be between 0 and 1, or None for any")


@dataclass(frozen=True, kw_only=True)
class Scorers:
    """Models that score captions."""

    HEADING = "Models that score captions"

    bertscore: str | None = option(None, "--bertscore", help="BERTScore model: hub id, directory, or package:NAME.")
    clip: str | None = option(None, "--clip", help="CLIP model: hub id or directory.")

    @property
    def metrics(self) -> dict[str, dict[str, str]]:
        """Metrics by name, each with its options."""
        named = {"bertscore": self.bertscore, "clipscore": self.clip}
        return {name: {"model": model} for name, model in named.items() if model is not None}

    @classmethod
    def of(cls, metrics: Mapping[str, Mapping[str, Any]]) -> Scorers:
        """The inverse of :attr:`metrics`; metrics without a model are left out."""
        models = {name: options.get("model") for name, options in metrics.items()}
        return cls(bertscore=models.get("bertscore"), clip=models.get("clipscore"))
