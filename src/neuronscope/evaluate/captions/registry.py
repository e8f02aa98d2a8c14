"""Caption metrics by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import Any

from ...errors import InvalidOption
from ...models.checkpoints import contents, find, require_there
from ...types import Json, one_of
from .bertscore import BertScore
from .clipscore import ClipScore
from .overlap import Bleu, Rouge
from .scored import CaptionMetric
from .sources import library

#: name -> what makes it; what a `partial` fixes is part of the name and no option.
METRICS: Mapping[str, Callable[..., CaptionMetric]] = {
    "bleu-1": partial(Bleu, order=1),
    "bleu-4": partial(Bleu, order=4),
    "rouge-1": partial(Rouge, kind="1"),
    "rouge-l": partial(Rouge, kind="l"),
    "bertscore": BertScore,
    "clipscore": ClipScore,
}

#: name -> the module that computes it, and the distribution that brings it.
_LIBRARIES = {
    "bleu-1": ("sacrebleu.metrics", "sacrebleu"),
    "bleu-4": ("sacrebleu.metrics", "sacrebleu"),
    "rouge-1": ("rouge_score.rouge_scorer", "rouge-score"),
    "rouge-l": ("rouge_score.rouge_scorer", "rouge-score"),
    "bertscore": ("bert_score.utils", "bert-score"),
}


def require(name: str, **options: Any) -> None:
    """Prove that a metric can be used, before long work whose end it is; no model is loaded.

    Raises InvalidOption as :func:`metric` does, and where its package, or the directory or package that holds its
    model, is not there.
    """
    made: Any = metric(name, **options)
    if name in _LIBRARIES:
        library(*_LIBRARIES[name])
    if hasattr(made, "model"):
        find(made.model)


def require_here(name: str, **options: Any) -> None:
    """As :func:`require`, where the metric is used on this machine: its model has to be found from here, too."""
    require(name, **options)
    made: Any = metric(name, **options)
    if hasattr(made, "model"):
        require_there(find(made.model))


def scorer(name: str, **options: Any) -> dict[str, Json]:
    """What a metric's numbers hang on beside versions, without loading its model: options, and the bytes of its files.

    `files` is None for a metric without a model, and where the model cannot be found, of which loading tells. Errors as
    of :func:`metric`.
    """
    made: Any = metric(name, **options)
    told: dict[str, Json] = {k: v for k, v in options.items() if k not in ("model", "device", "batch_size")}
    if not hasattr(made, "model"):
        return {"options": told, "model": None, "files": None}
    try:
        source = find(made.model)
    except InvalidOption:
        return {"options": told, "model": os.fspath(made.model), "files": None}
    return {"options": told, "model": source.name, "files": contents(source)}


def releases(name: str) -> dict[str, Json]:
    """The versions of the packages that compute a metric; None where one is not installed."""
    packages = {_LIBRARIES[name][1]} if name in _LIBRARIES else set[str]()
    packages |= {"transformers"} if not isinstance(METRICS[name], partial) else set[str]()
    return {package: _installed(package) for package in sorted(packages)}


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def metric(name: str, **options: Any) -> CaptionMetric:
    """A caption metric with the user's options; models are loaded when they are first needed.

    Raises InvalidOption for an unknown name, an option the metric does not have, or one it needs and was not given.
    """
    one_of("metric", name, list(METRICS))
    factory = METRICS[name]
    fixed = factory.keywords if isinstance(factory, partial) else {}
    parameters = {k: p for k, p in inspect.signature(factory).parameters.items() if k not in fixed}
    for option in options:
        if option not in parameters:
            raise InvalidOption(f"metric {name!r} has no option {option!r}; it has: {', '.join(parameters) or 'none'}")
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in options]
    if missing:
        raise InvalidOption(
            f"metric {name!r} needs {', '.join(f'{k}=' for k in missing)}, for which there is no default"
        )
    return factory(**options)
