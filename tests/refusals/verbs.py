"""Bad words for every option of every verb, made from what the parser itself declares.

A verb needs one good command (GOOD). Whatever options it has or gets are then given, one at a time, everything that a
value of their kind cannot be. A kind is a number, a file that is read, a file or folder that is written, one of several
names, or free text; KINDS says which for the options of which the parser only knows that they are words.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from neuronscope.cli.main import app

#: Verb -> a command that does it: arguments in order, then options.
GOOD: Mapping[str, tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]] = {
    "demo": ({}, {"--images": ["1"], "--out": ["{out}"]}),
    "scenes": ({}, {"--out": ["{out}"], "--count": ["2"]}),
    "check": ({"model": ["demo"]}, {}),
    "models": ({}, {}),
    "locate": (
        {"image": ["{good}/bear.png"], "concept": ["bear"]},
        {"--mask": ["{good}/mask.png"], "--no-test": [], "--out": ["{out}"]},
    ),
    "concept": (
        {"data": ["{good}/coco"], "concept": ["bear"]},
        {"--photographs": ["1"], "--no-test": [], "--out": ["{out}"]},
    ),
    "truth": (
        {"image": ["{good}/bear.png"], "concept": ["bear"]},
        {"--mask": ["{good}/mask.png"], "--method": ["grad-x-activation"], "--budget": ["100"], "--out": ["{out}"]},
    ),
    "caption": ({"images": ["{good}/bear.png"]}, {}),
    "decode": ({"neurons": ["3.7"]}, {}),
    "heatmap": (
        {"image": ["{good}/bear.png"], "neurons": ["{good}/neurons.json"]},
        {"--box": ["10,10,60,60"], "--draws": ["2"], "--out": ["{out}.png"]},
    ),
    "pictures": (
        {"neurons": ["{good}/neurons.json"], "sources": ["{good}/pictures"]},
        {"--draws": ["2"], "--out": ["{out}.png"]},
    ),
    "index": (
        {"sources": ["{good}/pictures"]},
        {"--sets": ["{good}/neurons.json"], "--pages": ["1"], "--out": ["{out}"]},
    ),
    "neuron": (
        {"neurons": ["3.7"]},
        {"--index": ["{good}/index"], "--sets": ["{good}/neurons.json"], "--out": ["{out}"]},
    ),
    "discover": (
        {"sources": ["{good}/bear.png"]},
        {"--top": ["10"], "--ks": ["1,10"], "--group": ["2"], "--out": ["{out}"]},
    ),
    "edit": (
        {},
        {
            "--images": ["{good}/pictures"],
            "--source": ["bear"],
            "--target": ["horse"],
            "--editor": ["swap"],
            "--neurons": ["{good}/neurons.json"],
            "--controls": ["0"],
            "--out": ["{out}"],
        },
    ),
    "repair": ({}, {"--images": ["{good}/hallucinations"], "--count": ["1"], "--out": ["{out}"]}),
    "reproduce": (
        {},
        {
            "--data": ["{good}/coco"],
            "--concepts": ["bear,bus"],
            "--images": ["1"],
            "--min-side": ["16"],
            "--levels": ["2"],
            "--draws": ["1"],
            "--ablations": ["none"],
            "--methods": ["two-stage"],
            "--tables-only": [],
            "--out": ["{out}"],
        },
    ),
    "report": ({"results": ["{good}/result"]}, {"--out": ["{out}.html"]}),
    "explore": ({}, {"--images": ["{good}/pictures"]}),
    "convert minigpt4": (
        {},
        {
            "--vit": ["{good}/tensors.safetensors"],
            "--llama": ["{good}/llama"],
            "--checkpoint": ["{good}/tensors.safetensors"],
            "--out": ["{out}"],
        },
    ),
    "convert llava-v1": (
        {},
        {"--checkpoint": ["{good}/llama"], "--vit": ["{good}/tensors.safetensors"], "--out": ["{out}"]},
    ),
    "convert mplug-owl2": ({}, {"--checkpoint": ["{good}/llama"], "--out": ["{out}"]}),
}

#: Options that are words for the parser -> what the words are. Without a row an option is one of several names.
KINDS: Mapping[str, str] = {
    "concept": "text",
    "source": "text",
    "target": "text",
    "prompts": "text",
    "query": "text",
    "answer": "text",
    "exclude": "text",
    "template": "text",
    "question": "text",
    "system": "text",
    "prefix": "text",
    "against": "text",
    "address": "text",
    "settings": "list",
    "option": "list",
    "ks": "list",
    "counts": "int",
    "levels": "list",
    "ablations": "list",
    "metrics": "list",
    "methods": "list",
    "concepts": "list",
    "sweep": "list",
    "max_other_share": "share",
    "boxes": "list",
    "box": "list",
    "image": "file",
    "images": "file",
    "sources": "file",
    "neurons": "file",
    "result": "file",
    "data": "file",
}
#: Options of which every whole number is a value, as far as it fits 64 bits.
SEEDS = ("seed",)

#: Options of which an empty word is a value.
BLANK = ("prefix", "question", "system")

_NUMBERS = ("x", "1.5.2", "nan", "inf", "-inf", "1e999", "0x10", "1,5", "²", "--", "10 20", "None")
_NO_WHOLE = ("1.5", "1e3", "2.0", "99999999999999999999", "-99999999999999999999")
_NAMES = ("no-such-thing", "nan", "1", "ONE", "a b", "../..", "x" * 5000, "\x1b[31mred", "two\nlines")


@dataclass(frozen=True)
class Case:
    """A command that has to be refused, or, where it is at the edge of what can be meant, to end well.

    Attributes:
        verb, option: what is tried; options of one name are one option.
        words: of the command, with places such as {good} in them.
        about: of which the message has to name one: the option, and what was given.
        edge: whether the command may also be done.
    """

    verb: str
    option: str
    name: str
    words: tuple[str, ...]
    about: tuple[str, ...]
    edge: bool = False


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every verb by its words, with its parser."""
    for name, each in (typer.main.get_command(app) if group is None else group).commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*path, name))
        else:
            yield " ".join((*path, name)), each


def declared(command: Any) -> Iterator[tuple[Any, str]]:
    """Every option and argument of a verb that takes a value, with its kind."""
    for one in command.params:
        if not _takes_value(one):
            continue
        yield one, _kind(one)


def _takes_value(one: Any) -> bool:
    return not getattr(one, "is_flag", False) and _annotation(one) is not bool


def _annotation(one: Any) -> Any:
    descriptor = getattr(one, "type_descriptor", None)  # typer; click has a `type`
    return descriptor.annotation if descriptor is not None else one.type


def _kind(one: Any) -> str:
    kinds = [_annotation(one)]
    while args := [arg for kind in kinds for arg in typing.get_args(kind) if arg is not type(None)]:
        kinds = args
    text = " ".join(str(kind) for kind in kinds).lower()
    if "int" in text:
        return "int"
    if "float" in text:
        return "float"
    if one.name == "out":
        return "out"
    if KINDS.get(one.name) == "int":
        return "int"
    if "path" in text:
        return "file"
    return KINDS.get(one.name, "name")


def values(one: Any, kind: str, good: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """What cannot be meant, and what is at the edge of it (True)."""
    yield "", one.name in BLANK
    yield "\udcff", False
    if kind in ("int", "float"):
        for word in _NUMBERS:
            yield word, False
        yield "-1", False
        yield "0", True
    if kind == "int":
        for word in _NO_WHOLE:
            yield word, False
        yield "1000000000000", True
        yield "999999999999999999", True
    if kind == "float":
        yield "1e300", True
        yield "1e-300", True
        yield "9" * 400, False
    if kind == "name":
        for word in _NAMES:
            yield word, False
    if kind == "share":
        for word in ("x", "nan", "inf", "1e999", "-1", "2", "0,5"):
            yield word, False
    if kind == "list":
        for word in (
            "no-such-thing",
            "nan",
            "1,nan",
            "1e999,2",
            ",",
            "a b",
            "=",
            "x=",
            "=x",
            "x" * 5000,
            "\x1b[31mred",
        ):
            yield word, False
    if kind == "text":
        for word in (" ", "no-such-thing", "nan", "1", "x" * 5000, "\x1b[31mred", "two\nlines", "{x}", "ÿ"):
            yield word, True
    if kind == "file":
        json_ = any(".json" in word for word in good)
        end = ".json" if json_ else ".png" if any(".png" in word for word in good) else ""
        for name in ("missing", "empty", "noise", "folder"):
            yield f"{{bad}}/{name}{end}", False
        yield "{bad}/loop", False
        yield "{bad}/empty/below", False
        yield "{bad}/" + "x" * 300 + end, False
        yield "{bad}/two\nlines" + end, False
        yield "{bad}/\x1b[31mred" + end, False
        yield "{bad}/\udcff" + end, False
        yield "/dev/null", False
        yield "/proc/self/mem", False
        more = ("deep.json", "list.json", "other.json") if json_ else ("half.png", "words.png") if end else ()
        for name in more:
            yield f"{{bad}}/{name}", False
    if kind == "out":
        end = Path(good[0]).suffix if good else ""
        yield "{bad}/empty/below" + end, False
        yield "{bad}/empty" + (end and "/x" + end), False
        yield "/proc/nothing/x" + end, False
        yield "/dev/null" + ("/x" + end if end else ""), False
        yield "{bad}/loop/x" + end, False
        yield "{scratch}/" + "x" * 300 + end, False
        if end:
            yield "{bad}/folder" + end if end != ".html" else "{bad}/folder", False
            for wrong in ("", ".xyz", ".json", ".PNGG"):
                yield "{out}" + wrong, False


def command(name: str, changed: str = "", words: Sequence[str] | None = None) -> tuple[str, ...]:
    """The good command of a verb with one argument or option of other words, or without it."""
    arguments, options = GOOD[name]
    options = {option: given for option, given in options.items() if option != changed}
    if words is not None and changed.startswith("-"):
        options[changed] = words
    flags = [word for option, given in options.items() for word in (option, *given)]
    given = [word for one, ours in arguments.items() for word in ((words or ()) if one == changed else ours)]
    return (*name.split(), *flags, *(["--"] if given else []), *given)


def cases() -> Iterator[Case]:
    """One for every bad value of everything that is declared."""
    for name, parser in commands():
        arguments, options = GOOD[name]
        for one, kind in declared(parser):
            is_option = one.opts[0].startswith("-")
            flag = max(one.opts, key=len) if is_option else one.name
            good = options.get(flag, ()) if is_option else arguments[one.name]
            good = good or ([str(one.default)] if kind == "out" else [])
            for value, edge in values(one, kind, good):
                shown = value if len(value) < 40 else value[:40] + "..."
                given = (value, *re.split("[,= ]", value)) if kind == "list" else (value,)
                about = (flag, one.name, *([] if is_option else [str(one.metavar)]), *(each for each in given if each))
                if name == "convert llava-v1":  # it reads its files in turn, and the first of these is no LLaVA
                    about = (*about, "{good}/llama")
                yield Case(name, flag, f"{name} {flag} {shown!r}", command(name, flag, [value]), about, edge)
        yield from _lacking(name, parser)


def _lacking(name: str, parser: Any) -> Iterator[Case]:
    """Options that are not known, values that lack, arguments too many, and everything required left out."""
    words = command(name)
    unknown = (*name.split(), "--no-such-option", *words[len(name.split()) :])
    yield Case(name, "", f"{name} --no-such-option", unknown, ("--no-such-option",))
    needed = [one for one in parser.params if one.required]
    if not any(one.nargs == -1 for one in parser.params):
        yield Case(name, "", f"{name} with one more argument", (*words, "one-more"), ("one-more",))
    for one in needed:
        is_option = one.opts[0].startswith("-")
        flag = max(one.opts, key=len) if is_option else one.name
        yield Case(
            name,
            "",
            f"{name} without {flag}",
            command(name, flag),
            (
                flag,
                *(max(each.opts, key=len) if each.opts[0].startswith("-") else str(each.metavar) for each in needed),
            ),
        )
    for one, _ in declared(parser):
        flag = max(one.opts, key=len)
        if flag.startswith("-"):
            yield Case(name, "", f"{name} {flag} without a value", (*name.split(), flag), (flag,))


#: Options that do not go together: words added to the good command, and of what the message has to speak.
CONTRADICTORY: Mapping[str, Sequence[tuple[Sequence[str], str]]] = {
    "locate": [
        (["--preset", "paper", "--budget", "3"], "--budget"),
        (["--preset", "paper", "--q", "0.2"], "--q"),
        (["--recover", "0.5", "--budget", "3"], "--budget"),
        (["--method", "pan", "--q", "0.2"], "--q"),
        (["--method", "stage-1", "--recover", "0.5"], "--recover"),
        (["--count", "5"], "--count"),
        (["--like", "{good}/neurons.json"], "like"),
        (["--edited", "{good}/bear.png"], "edit"),
        (["--mask", "{good}/texts.txt"], "texts.txt"),
        (["--mask", "{good}/pictures/other0.png", "--box", "200,200,10,10"], "box"),
    ],
    "edit": [
        (["--editor", "nobody"], "--editor"),
        (["--editor", "graft"], "--donors"),
        (["--donors", "{good}/neurons.json"], "--donors"),
        (["--editor", "ablate", "--focused"], "--focused"),
        (["--set", "lambda2=1"], "--set"),
        (["--editor", "embed", "--set", "lambda2=1,2", "--set", "strength=1,2"], "--set"),
        (["--editor", "embed", "--set", "lambda2=nan"], "lambda2"),
        (["--made-with", "5000"], "bear"),
    ],
    "reproduce": [
        (["--device", "cpu", "--device-map", "auto"], "device_map"),
        (["--workers", "2"], "--workers"),
        (["--address", "local"], "--address"),
        (["--concepts", "bear"], "at least two"),
        (["--concepts", "bear,bear"], "concepts"),
        (["--levels", "none"], "levels"),
        (["--levels", "2,2"], "levels"),
        (["--levels", "1.0000001,1.0000002"], "alike"),
        (["--random-sets", "3"], "at least 20"),
        (["--methods", "preset=paper"], "--methods"),
        (["--methods", "two-stage:nothing=1"], "nothing"),
        (["--methods", "two-stage:activation=nan"], "activation"),
        (["--sweep", "nothing=1"], "nothing"),
        (["--engine", "ray", "--address", "nowhere.invalid:1"], "--address"),
        (["--engine", "ray", "--address", "http://localhost:1"], "address"),
    ],
    "discover": [
        (["--template", "{image}"], "template"),
        (["--ks", "1,1000"], "k=1000"),
        (["--images", "{good}/pictures"], "images"),
        (["--metrics", "x"], "--metrics"),
    ],
    "pictures": [(["--count", "3", "--", "{good}/neurons.json", "{good}/coco", "{good}/pictures"], "coco")],
    "report": [(["--data", "{good}/data"], "--data")],
    "heatmap": [
        (["--top", "-1"], "--top"),
        (["--trace", "rollout"], "trace"),
        (["--box", "500,500,10,10"], "box"),
        (["--box", "1,2,3"], "--box"),
    ],
    "index": [
        (["--quantile", "1"], "quantile"),
        (["--quantile", "0.2"], "quantile"),
        (["--top", "101"], "top"),
        (["--export", "neurons.json"], "neurons.json"),
        (["--sets", "{good}/neurons.json"], "twice"),
        (["--images", "{good}/pictures"], "images"),
        (["--workers", "2"], "--workers"),
        (["--engine", "ray", "--address", "nowhere.invalid:1"], "--address"),
    ],
    "neuron": [
        (["--index", "{good}/result"], "result"),
        (["--sets", "{good}/neurons.json", "--sets", "{good}/neurons.json"], "twice"),
        (["--layer", "1", "--export", "x.jsonl"], "either"),
        (["--", "99.1"], "99"),
        (["--", "vision.1.3"], "decoder"),
    ],
    "decode": [(["--norm", "all"], "norm"), (["--", "9.1"], "9"), (["--", "1.2.3"], "1.2.3"), (["--", "²"], "²")],
    "truth": [
        (["--budget", "99"], "budget"),
        (["--method", "grad-x-activation"], "twice"),
        (["--method", "pan", "--budget", "100"], "--budget"),
        (["--change", "swap"], "--change"),
        (["--measure", "loss"], "--measure"),
        (["--storage", "shared"], "--storage"),
        (["--engine", "spark"], "--engine"),
    ],
    "concept": [(["--held", "5"], "held"), (["--join", "votes", "--within", "0"], "within")],
    "repair": [
        (["--set", "right=nan"], "right"),
        (["--set", "nothing=1"], "nothing"),
        (["--set", "right"], "--set"),
        (["--source", "unicorn"], "unicorn"),
    ],
}


def contradictions() -> Iterator[Case]:
    """One for each row of CONTRADICTORY."""
    for name, rows in CONTRADICTORY.items():
        count = len(name.split())
        for words, about in rows:
            plain = command(name)
            at = plain.index("--") if "--" in plain else len(plain)
            given = (*plain[:at], *words, *([] if "--" in words else plain[at:]))
            assert given[:count] == tuple(name.split())
            yield Case(name, "", f"{name} {' '.join(words)}", given, (about,))
