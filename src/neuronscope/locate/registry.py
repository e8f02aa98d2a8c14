"""All methods by name, one line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from ..errors import InvalidOption
from ..given import checked
from ..types import SITES, Neurons, Site, one_of
from .activation import Activation, ActivationDifference, GradTimesActivation
from .difference_x_gradient import DifferenceTimesGradient
from .integrated_gradients import IntegratedGradients
from .learned_mask import LearnedMask
from .located import Method
from .pan import Pan
from .random import Random, RandomLayerMatched
from .schwettmann import Schwettmann
from .two_stage import TwoStage

_TABLE: dict[str, Callable[[], Method]] = {
    "two-stage": TwoStage,
    "stage-1": partial(TwoStage, stages=(1,), name="stage-1"),
    "stage-2": partial(TwoStage, stages=(2,), name="stage-2"),
    "schwettmann": Schwettmann,
    "schwettmann-max": partial(Schwettmann, pool="max", name="schwettmann-max"),
    "schwettmann-published": Schwettmann.as_published,
    "pan": Pan,
    "pan-max": partial(Pan, pool="max", name="pan-max"),
    "pan-predict": Pan.as_published,
    "integrated-gradients": IntegratedGradients,
    "integrated-gradients-published": IntegratedGradients.as_published,
    "difference-x-gradient": DifferenceTimesGradient,
    "difference-x-gradient-averaged": partial(DifferenceTimesGradient, points=4, name="difference-x-gradient-averaged"),
    "difference-x-gradient-contrast": partial(
        DifferenceTimesGradient, target="contrast", name="difference-x-gradient-contrast"
    ),
    "difference-x-gradient-activations": partial(
        DifferenceTimesGradient, points=4, path="activations", name="difference-x-gradient-activations"
    ),
    "difference-x-gradient-refined": DifferenceTimesGradient.refined,
    "learned-mask": LearnedMask,
    "activation-difference": ActivationDifference,
    "grad-x-activation": GradTimesActivation,
    "activation": Activation,
    "random": Random,
    "random-layer-matched": RandomLayerMatched,
}

#: name -> what makes the method with its defaults, read-only; :func:`register_method` adds to it.
METHODS: Mapping[str, Callable[[], Method]] = MappingProxyType(_TABLE)


@checked
def method(name: str, **options: Any) -> Method:
    """A method by name, with some of its options changed: ``method("pan", count=30, pool="max")``.

    Raises InvalidOption for a name, an option or a value that is not among the choices.
    """
    one_of("method", name, list(METHODS))
    made = METHODS[name]()
    known = _options(made)
    for option in options:
        one_of(f"option of method {name!r}", option, known)
    return _changed(made, options)


@checked
def equal_size(chosen: Method, found: Neurons) -> Method:
    """A method set to keep as many neurons as `found` has, for a comparison on the same sample (METHODS c).

    Rankings keep `count = len(found)`, random-layer-matched matches its layers; methods with thresholds do not change.
    """
    if isinstance(chosen, TwoStage):
        return chosen
    given: dict[str, Any] = {"count": len(found), "like": found, "cut": None}
    return _changed(chosen, {option: given[option] for option in _options(chosen) if option in given})


def takes_size(chosen: Method) -> bool:
    """Whether :func:`equal_size` changes a method: those with thresholds of their own keep what passes them."""
    return not isinstance(chosen, TwoStage) and bool({"count", "like"} & {*_options(chosen)})


@checked
def site_option(chosen: Method, site: Site) -> dict[str, Site]:
    """The option by which a method reads at a site, or, where its formula says where it reads, its set acts there.

    Raises InvalidOption for a method that has neither.
    """
    options = _options(chosen)
    choices = () if getattr(chosen, "own_site", False) else getattr(chosen, "choices", {}).get("site", SITES)
    if "site" in options and site in choices:
        return {"site": site}
    if "address" in options:
        return {"address": site}
    raise InvalidOption(f"method {chosen.name!r} has no choice of a site, {site!r} or another")


@checked
def register_method(name: str, factory: Callable[[], Method]) -> None:
    """Add a method of your own: a frozen dataclass whose options all have defaults, or a function that makes one.

    Raises InvalidOption for a name that is taken or empty.
    """
    if not name or name in _TABLE:
        raise InvalidOption(f"name={name!r} is {'taken' if name else 'empty'}; methods: {', '.join(_TABLE)}")
    _TABLE[name] = factory


def _options(chosen: Any) -> list[str]:
    return [item.name for item in dataclasses.fields(chosen) if item.init] if dataclasses.is_dataclass(chosen) else []


def _changed(chosen: Any, options: Mapping[str, Any]) -> Any:
    return dataclasses.replace(chosen, **options) if options else chosen
