"""What detectors and segmenters share: which checkpoints they are, how they are loaded, and what they may not raise."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import MODEL_ERRORS, InvalidOption, InvalidSample, NeuronscopeError, first_line, suggest
from ..fields import shown
from ..models.checkpoints import Source, content_digest, device_or_best, find, load_weights, loading, put_on
from ..models.processor import load_processor
from ..models.weight_files import document
from ..types import Json


class Helper:
    """A model beside the one that is studied, with its processor, in float32.

    Attributes:
        source: its checkpoint.
        kind: its `model_type`.
        model, processor: of transformers.
        device: where it is.
    """

    def __init__(
        self, model: str | os.PathLike[str], role: str, maker: str, kinds: Sequence[str], device: str | None = None
    ) -> None:
        """Load a checkpoint.

        Args:
            model: hub id, directory, or "package:NAME".
            role: what errors call it: "detector" or "segmenter".
            maker: the Auto class of transformers.
            kinds: the values of `model_type` that are known.
            device: None for the GPU, if there is one.

        Raises InvalidOption for a name of nothing or a checkpoint of another kind, UnsupportedModel for one that cannot
        be loaded.
        """
        import transformers

        self.source: Source = find(model, role)
        self.device = device_or_best(device)
        with loading(self.source, f"the {role}"):
            self.kind = str(document(self.source.where, "config.json").get("model_type", ""))
            known = self.kind in kinds
            if known:
                # On PIL, so that pixels do not depend on what is installed; SAM 2 has no image processor there.
                backend = "auto" if self.kind.startswith("sam2") else "pil"
                self.processor: Any = load_processor(self.source.where, backend=backend)
                self.model: Any = load_weights(getattr(transformers, maker), self.source)
        if not known:
            raise InvalidOption(
                f"{role}={shown(self.source.name)} is a model of type {self.kind!r}, which is no {role}."
                f"{suggest(self.kind, list(kinds))}"
            )
        put_on(self.model.requires_grad_(False), self.device, self.source.name)

    def told(self) -> dict[str, Json]:
        """Its name, its kind, and a hash of weights and processor."""
        parts = (getattr(self.processor, name, None) for name in ("tokenizer", "image_processor"))
        digest = content_digest(self.model, *(part for part in parts if part is not None))
        return {"model": self.source.name, "kind": self.kind, "fingerprint": digest}

    def inputs(self, **given: Any) -> Any:
        """What the processor makes of a picture and what is asked, on the model's device."""
        made = self.processor(**given, return_tensors="pt")
        for name, value in made.items():
            kept = value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            made[name] = kept.to(self.device) if torch.is_tensor(kept) else kept
        return made

    @contextmanager
    def asked(self, what: str) -> Generator[None]:
        """Turn what transformers raises about a picture or a word into one sentence (InvalidSample)."""
        try:
            with torch.no_grad():
                yield
        except NeuronscopeError:
            raise
        except ImportError as error:
            raise InvalidOption(f"{self.source.name} needs a package that is not installed: {first_line(error)}") from (
                error
            )
        except MODEL_ERRORS as error:
            raise InvalidSample(f"{self.source.name} cannot {what}: {first_line(error)}") from error
