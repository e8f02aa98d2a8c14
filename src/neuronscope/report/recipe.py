"""The command and the Python that make a result of `neuronscope locate` again, as a page shows them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..samples.sample import Box


@dataclass(frozen=True)
class Asked:
    """What `neuronscope locate` was asked for; None and empty stand for what was not given.

    `draws` are those of the test beside a random control, None where there was none.
    """

    image: str
    concept: str
    model: str
    method: str
    edit: str
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None
    edited: Path | None = None
    count: int | None = None
    like: Path | None = None
    preset: str | None = None
    budget: int | None = None
    q: float | None = None
    device: str | None = None
    dtype: str | None = None
    draws: int | None = 3

    def command(self) -> str:
        """One line for a shell."""
        boxes = [",".join(f"{value:g}" for value in box) for box in self.boxes]
        options: Mapping[str, Sequence[object]] = {
            "--box": boxes,
            "--mask": _given(self.mask),
            "--edited": _given(self.edited),
            "--edit": _given(None if self.edited else self.edit),
            "--method": (self.method,),
            "--count": _given(self.count),
            "--like": _given(self.like),
            "--preset": _given(self.preset),
            "--budget": _given(self.budget),
            "--q": _given(self.q),
            "--model": (self.model,),
            "--device": _given(self.device),
            "--dtype": _given(self.dtype),
            "--draws": _given(self.draws),
        }
        words = [word for name, values in options.items() for value in values for word in (name, str(value))]
        words += [] if self.draws else ["--no-test"]
        return shlex.join(["neuronscope", "locate", self.image, self.concept, *words])

    def python(self) -> str:
        """The same with the library."""
        region = f", boxes={list(self.boxes)!r}" if self.boxes else ""
        region += f", mask=np.asarray(Image.open({str(self.mask)!r}).convert('L')) > 127" if self.mask else ""
        edit = f"'edited', edited={str(self.edited)!r}" if self.edited else repr(self.edit)
        imports = ["import numpy as np", "from PIL import Image"] if self.mask else []
        place = f", device={self.device!r}" if self.device else ""
        place += f", dtype={self.dtype!r}" if self.dtype else ""
        lines = [
            *imports,
            "import neuronscope as ns",
            "",
            f"vlm = ns.load({self.model!r}{place})",
            f"sample = ns.Sample(image={self.image!r}, concept={self.concept!r}{region})",
            f"pair = ns.counterfactual(sample, {edit})",
            f"found = {self._method()}.locate(vlm, pair)",
            'found.neurons.save("neurons.json")',
        ]
        return "\n".join(lines)

    def _method(self) -> str:
        stages = {"stage-1": ", stages=(1,)", "stage-2": ", stages=(2,)"}
        if self.preset == "paper":
            return f"ns.TwoStage.paper({self.concept!r}{stages.get(self.method, '')})"
        rule = f"ns.Budget({self.budget})" if self.budget is not None else None
        rule = rule or (f"ns.TargetDecoy({self.q:g})" if self.q is not None else None)
        options = {
            "count": self.count,
            "like": None if self.like is None else f"ns.Neurons.load({str(self.like)!r})",
            "activation": rule,
            "gradient": rule,
        }
        changed = "".join(f", {name}={value}" for name, value in options.items() if value is not None)
        return f"ns.method({self.method!r}{changed})"


def _given(value: object) -> tuple[object, ...]:
    return () if value is None else (value,)
