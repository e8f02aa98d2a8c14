"""Processors for still images, also where the part for videos cannot be loaded.

Many families' Processor classes demand a video processor, which transformers builds on torchvision only. Nothing here
ever shows a model a video, so without torchvision the same class is used with that part left out. The image processor
then is the one that works on PIL, the tokenizer and the chat template are the checkpoint's.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

from transformers import ProcessorMixin

from ..errors import InvalidOption, UnsupportedModel, first_line
from .weight_files import document

#: What the pixels are made with; see :func:`load_processor`.
Backend: TypeAlias = Literal["auto", "pil"]

#: What transformers raises where a part needs a package that is not there.
_MISSING = (ImportError, AttributeError, ValueError)
_VIDEO = "video_processor"


def load_processor(
    where: str, *, revision: str = "main", backend: Backend = "auto", pixels: Mapping[str, Any] | None = None
) -> Any:
    """Load a checkpoint's processor; without its video part where only that stands in the way.

    Args:
        where: a checkpoint directory or a hub id. Code that comes with it is never run.
        revision: hub revision.
        backend: "auto" takes the image processor on torchvision if that is installed, else the one on PIL; "pil" always
            takes the one on PIL, whose pixels do not depend on what is installed.
        pixels: settings of the image processor that take the place of the checkpoint's, such as max_pixels.

    Raises:
        InvalidOption: another backend, or a setting that this checkpoint's image processor does not have.
        UnsupportedModel: a package is missing that the family's processor cannot do without.
        OSError: files are missing.
        ValueError: the files describe no processor.
    """
    from transformers import AutoProcessor
    from transformers.models.auto.image_processing_auto import AutoImageProcessor  # the top's asked for torchvision

    if backend not in ("auto", "pil"):
        raise InvalidOption(f"backend={backend!r} is not a choice: auto, pil")
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        processor: Any = AutoProcessor.from_pretrained(where, **options)
    except (*_MISSING, OSError) as error:
        processor = _load_silent(where, options, error)
    if backend == "pil" and hasattr(processor, "image_processor"):
        # Not by AutoProcessor(backend=...): that would hand the word to the tokenizer as well.
        processor.image_processor = AutoImageProcessor.from_pretrained(where, backend="pil", **options)
    if pixels:
        maker: Any = type(processor.image_processor)
        _require_known(maker, pixels)
        processor.image_processor = maker.from_pretrained(where, **options, **pixels)
    return processor


def _require_known(maker: type, pixels: Mapping[str, Any]) -> None:
    """transformers takes any keyword here, and does nothing with those that the class does not have."""
    valid: Any = getattr(maker, "valid_kwargs", None)
    classes = (*maker.__mro__, *getattr(valid, "__orig_bases__", ()), *([valid] if valid else []))
    known = {name for one in classes for name in getattr(one, "__annotations__", {})}
    known |= {name for name in dir(maker) if not name.startswith("_")}
    known |= set(inspect.signature(maker.__init__).parameters)
    for name, value in pixels.items():
        if name not in known:
            raise InvalidOption(f"{name}={value}: {maker.__name__}, this checkpoint's image processor, has no {name}")


def without_video(processor_class: type, image_processor: Any, tokenizer: Any, **options: Any) -> Any:
    """Build a processor from its parts, with None for the video processor.

    Args:
        processor_class: a Processor class of transformers, also one that demands torchvision.
        image_processor: the image processor.
        tokenizer: the tokenizer.
        options: further arguments of the class: `chat_template`, `feature_extractor`, ...

    Returns:
        An instance of a subclass of `processor_class` with the same name. Handing it videos raises InvalidOption.

    Raises:
        UnsupportedModel: a package is missing that the class needs for images, too.
    """
    silent = _silent(_real_class(processor_class))
    parts: dict[str, Any] = {"image_processor": image_processor, "tokenizer": tokenizer, **options}
    if _VIDEO in inspect.signature(silent.__init__).parameters:
        parts[_VIDEO] = _NoVideo()
    try:
        return _strip(silent(**parts))
    except ImportError as error:
        raise UnsupportedModel(f"{processor_class.__name__} cannot be built: {first_line(error)}") from error


class _NoVideo:
    """Stands in for the video processor where its settings are looked at. All are "": false, and a path to nothing."""

    _auto_class = None

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return ""


class _WithoutVideo(ProcessorMixin):
    """Goes before a Processor class: accepts no video processor, and refuses videos."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == _VIDEO and isinstance(argument, _NoVideo):
            return _NoVideo
        return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
        """The parts from files: loads as the class itself does, without looking for the video processor."""
        names = cls.get_attributes()
        still = classmethod(lambda _: [name for name in names if name != _VIDEO])
        # A throw-away subclass, so that the names are shorter for this one call and for nobody else.
        loader: Any = type(cls.__name__, (cls,), {"get_attributes": still})
        load: Any = cast("Any", super(_WithoutVideo, loader))._get_arguments_from_pretrained
        loaded: list[Any] = load(*args, **kwargs)
        if _VIDEO in names:
            loaded.insert(names.index(_VIDEO), _NoVideo())
        return loaded

    @classmethod
    def from_args_and_dict(cls, *args: Any, **kwargs: Any) -> Any:
        made: Any = super().from_args_and_dict(*args, **kwargs)
        _strip(made[0] if isinstance(made, tuple) else made)
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call: Any = super().__call__
        given = inspect.signature(call).bind_partial(*args, **kwargs).arguments
        if given.get("videos") is not None or kwargs.get("videos") is not None:
            raise _no_videos(self)
        return call(*args, **kwargs)

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        if _shows_video(conversation):
            raise _no_videos(self)
        try:
            return super().apply_chat_template(conversation, *args, **kwargs)
        except AttributeError:  # a class of its own that asks the video part how many frames it takes
            from transformers import ProcessorMixin

            return ProcessorMixin.apply_chat_template(self, conversation, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in super().to_dict().items() if key != _VIDEO}

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        had = _VIDEO in vars(self)
        if had:
            self.video_processor = _NoVideo()
        try:
            return super().save_pretrained(*args, **kwargs)
        finally:
            if had:
                self.video_processor = None

    def __reduce__(self) -> tuple[Any, ...]:
        original = type(self).__mro__[2]
        return _restore, (original.__module__, original.__qualname__), vars(self)


@functools.cache
def _silent(processor_class: type) -> type:
    """The subclass without video; one per Processor class, so that types can be compared."""
    return type(processor_class.__name__, (_WithoutVideo, processor_class), {"__doc__": processor_class.__doc__})


def _restore(module: str, name: str) -> Any:
    """An empty instance, for copy and pickle. The class is found by its name, since a placeholder may stand there."""
    silent: Any = _silent(_real_class(getattr(importlib.import_module(module), name)))
    return silent.__new__(silent)


def _strip(processor: Any) -> Any:
    """Put None where the stand-in for the video processor was; also for a class without one, whose users may ask."""
    processor.video_processor = None
    return processor


def _no_videos(processor: Any) -> InvalidOption:
    return InvalidOption(
        f"videos=... was given to a {type(processor).__name__} that has no video part: only images are studied here"
    )


def _shows_video(conversation: Any) -> bool:
    """Whether a message of one or several conversations holds a video."""
    if isinstance(conversation, Mapping):
        message = cast("Mapping[str, Any]", conversation)
        return message.get("type") == "video" or _shows_video(message.get("content"))
    if isinstance(conversation, (list, tuple)):
        return any(_shows_video(part) for part in cast("list[Any]", conversation))
    return False


def _load_silent(where: str, options: dict[str, Any], cause: Exception) -> Any:
    """The processor without its video part, after the ordinary way failed with `cause`.

    `cause` is raised again where the video part is not to blame.
    """
    import transformers
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.utils.import_utils import is_torchvision_available

    name = _processor_name(where, options["revision"])
    processor_class = getattr(transformers, name, None) if name else None
    # With torchvision only one thing is left to blame: the checkpoint has no settings for a video processor.
    if processor_class is None or (is_torchvision_available() and not isinstance(cause, OSError)):
        raise cause
    try:
        AutoImageProcessor.from_pretrained(where, **options)
    except _MISSING as error:
        # Before 5.17 transformers does not always say so; the class that it did not find is a placeholder then.
        named = document(where, "preprocessor_config.json", options["revision"]).get("image_processor_type", "")
        if "torchvision" not in str(error) and not getattr(getattr(transformers, named, None), "is_dummy", False):
            raise
        family = document(where, "config.json", options["revision"]).get("model_type", name)
        raise UnsupportedModel(
            f"{where}: the image processor of the {family} family works on torchvision only, which is not installed: "
            "pip install torchvision (the extra [vision])"
        ) from error
    real = _real_class(processor_class)
    if real is processor_class and _VIDEO not in inspect.signature(real.__init__).parameters:
        if isinstance(cause, ImportError):
            raise UnsupportedModel(f"{where}: {name} cannot be built: {first_line(cause)}") from cause
        raise cause
    silent: Any = _silent(real)
    try:
        return silent.from_pretrained(where, **options)
    except ImportError as error:
        raise UnsupportedModel(f"{where}: {name} cannot be built: {first_line(error)}") from error


def _processor_name(where: str, revision: str) -> str | None:
    """The name of a checkpoint's Processor class, from the places where transformers writes it; None if nowhere."""
    from transformers.models.auto import processing_auto

    names: Any = vars(processing_auto)["PROCESSOR_MAPPING_NAMES"]
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        name = document(where, file, revision).get("processor_class")
        if name:
            return str(name)
    known: Any = names.get(document(where, "config.json", revision).get("model_type", ""))
    return str(known) if isinstance(known, str) else (str(known[0]) if known else None)


def _real_class(processor_class: type) -> type:
    """The class itself, where transformers shows a placeholder that only asks for torchvision."""
    import transformers

    if not getattr(processor_class, "is_dummy", False):
        return processor_class
    # Only the placeholder from the top of the package knows the full name of its module.
    name = processor_class.__name__
    return _class_apart(getattr(transformers, name).__module__, name)


@functools.cache
def _class_apart(path: str, name: str) -> type:
    """A class of a module that cannot be imported without torchvision.

    The module takes a helper from the image processor that is built on torchvision. Its code is run once more, in a
    module that nobody else sees, and finds that helper in the image processor's PIL module.
    """
    spec = importlib.util.find_spec(path)
    if spec is None or spec.loader is None:
        raise UnsupportedModel(f"{name} is not in {path}")
    module = importlib.util.module_from_spec(spec)
    # Classes look for their source by their module's name, so it has to be that of a module that is loaded.
    module.__name__ = path.rpartition(".")[0]
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import_pil}
    code: Any = cast("Any", spec.loader).get_code(path)
    try:
        exec(code, vars(module))
    except ImportError as error:
        raise UnsupportedModel(f"{name} cannot be built: {first_line(error)}") from error
    return cast("type", getattr(module, name))


def _import_pil(name: str, *args: Any, **kwargs: Any) -> Any:
    """`__import__`, except that an image processor's module is replaced by the one on PIL."""
    start = "image_processing_"
    if name.startswith(start) and not name.startswith(f"{start}pil_"):
        return builtins.__import__(f"{start}pil_{name.removeprefix(start)}", *args, **kwargs)
    return builtins.__import__(name, *args, **kwargs)
