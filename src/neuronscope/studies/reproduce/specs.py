"""A method with options as one word of a command line: NAME or NAME:OPTION=VALUE,OPTION=VALUE.

- two-stage:site=act,grad_pool=any: options of the method's own;
- two-stage:activation=1.5,gradient=knee: thresholds are a number, knee, budget-N or decoy-Q;
- two-stage:cut=0.7, pan:cut=0.5: the share of the edit's effect that the kept neurons recover;
- two-stage:preset=paper: the published thresholds of each concept; of a run with that preset the default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import InvalidOption
from ...locate import Budget, Fixed, Knee, Method, Recovery, TargetDecoy, TwoStage
from ...locate import method as by_name
from ...locate.registry import site_option
from ...locate.thresholds import Threshold
from ...models.decoding import Decoding
from ...types import Site, one_of

_PRESETS = ("recommended", "paper")


@dataclass(frozen=True)
class MethodSpec:
    """A parsed specification.

    Attributes:
        name: of the method in the registry.
        options: as written.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read a specification. Raises InvalidOption for a method, an option or a value that is not known."""
        name, _, rest = text.partition(":")
        options: dict[str, str] = {}
        for part in rest.split(",") if rest else ():
            option, equals, value = part.partition("=")
            if not equals or not value or option in options:
                raise InvalidOption(f"method {text!r}: {part!r} is not OPTION=VALUE, given once")
            options[option] = value
        spec = cls(name, options)
        spec.make("bear")  # any concept of the published table: options are checked at once
        return spec

    def make(
        self, concept: str, *, preset: str = "recommended", site: Site | None = None, decoding: Decoding | None = None
    ) -> Method:
        """The method for a concept; only the paper's thresholds differ between concepts.

        Args:
            concept: the concept.
            preset: of two-stage filtering, where the specification gives none.
            site: where activations are read, where the specification does not say, of methods that can read there.
            decoding: what is asked, and how captions are written.
        """
        options = dict(self.options)
        made: Any = by_name(self.name)
        filters = isinstance(made, TwoStage)
        if options.get("preset") == "paper" and not filters:
            raise InvalidOption(f"method {self.name!r} has no preset 'paper'; two-stage has")
        chosen = options.pop("preset", preset if filters else "recommended")
        one_of(f"preset of method {self.name!r}", chosen, _PRESETS)
        if chosen == "paper":
            made = TwoStage.paper(concept, stages=made.stages)
        made = _placed(made, site) if site is not None and not {"site", "preset"} & self.options.keys() else made
        if decoding is not None and "decoding" in (item.name for item in dataclasses.fields(made)):
            made = dataclasses.replace(made, decoding=decoding)
        known = [item.name for item in dataclasses.fields(made) if item.init]
        for option in options:
            one_of(f"option of method {self.name!r}", option, known)
        read = {option: _value(self.name, option, value, getattr(made, option)) for option, value in options.items()}
        return dataclasses.replace(made, **read)


def _placed(made: Any, site: Site) -> Any:
    """A method that reads at a site, where it has the choice; one whose formula says where stays as it is."""
    try:
        option = site_option(made, site)
    except InvalidOption:  # a method of the user's own
        return made
    return dataclasses.replace(made, **option) if "site" in option else made


#: What options that have no default are.
_KINDS = {"activation": "threshold", "gradient": "threshold", "cut": "share"}


def _value(method: str, option: str, text: str, default: object) -> object:
    """A value in the type of the option's default."""
    kind = _KINDS.get(option, type(default).__name__)
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int | float):
            return type(default)(text)
        if isinstance(default, str):
            return text
        if option in ("activation", "gradient"):
            return _threshold(text)
        if option == "cut":
            return Recovery(float(text))
    except (KeyError, ValueError) as error:
        raise InvalidOption(f"method {method!r}: {option}={text!r} is no {kind}") from error
    except InvalidOption as error:
        raise InvalidOption(f"method {method!r}: {option}={text!r}: {error}") from error
    raise InvalidOption(f"method {method!r}: {option} cannot be given as text")


_RULES: Mapping[str, Callable[[str], Threshold]] = {
    "knee": lambda _: Knee(),
    "budget": lambda number: Budget(int(number)),
    "decoy": lambda number: TargetDecoy(float(number)),
}


def _threshold(text: str) -> Threshold:
    rule, _, number = text.partition("-")
    return _RULES[rule](number) if rule in _RULES else Fixed(float(text))
