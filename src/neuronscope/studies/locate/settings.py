"""What `neuronscope locate` is asked for: its command line, the objects it means, and both recipes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...options import option, words
from ...types import SITES, Site, one_of
from .picture import OnePicture

if TYPE_CHECKING:
    from ...locate import Method
    from ...models.decoding import Decoding
    from ...report import Origin
    from ...samples import Sample


@dataclass(frozen=True, kw_only=True)
class Locate(OnePicture):
    """One image, one concept, one method; None stands for what was not given.

    Attributes:
        draws: of the test beside a random control, which `test` turns off.
    """

    method: str = option("two-stage", "--method", help="two-stage, or another; a wrong name lists all.")
    count: int | None = option(None, "--count", help="Rankings: how many neurons; 100.")
    like: Path | None = option(None, "--like", help="random-layer-matched: the neurons.json it matches.")
    any_model: bool = option(False, "--any-model", help="Of --like: take neurons of other weights at their addresses.")
    preset: str | None = option(None, "--preset", help="two-stage: recommended or paper.")
    budget: int | None = option(None, "--budget", help="two-stage: keep this many per stage instead.")
    q: float | None = option(None, "--q", help="two-stage: thresholds by this share of false finds instead.")
    site: Site | None = option(
        None, "--site", help="Where neurons are read, by methods that have the choice, and changed: neuron, act or pre."
    )
    control: tuple[str, ...] = option(
        (),
        "--control",
        help="With thresholds by --q: another picture without the object, as a control; may be repeated.",
        repeated=True,
    )
    recover: float | None = option(
        None, "--recover", help="Keep what recovers this share of the edit's effect; two-stage: 0.5."
    )
    test: bool = option(True, "--test/--no-test", help="Also caption without the neurons, and beside a random control.")
    draws: int = option(3, "--draws", help="Noise draws of the test.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise InvalidOption(f"--draws {self.draws} must be at least 1")
        if self.site is not None:
            one_of("--site", self.site, SITES)
            if self.preset == "paper":
                raise InvalidOption("--preset paper reads at the site 'act': leave out --site")

    def locator(self) -> Method:
        """The method. Raises InvalidOption for an option that it does not have."""
        from ...locate import TwoStage, method
        from ...types import Neurons

        chosen = method(self.method)
        self._check(isinstance(chosen, TwoStage))
        if self.preset == "paper" and isinstance(chosen, TwoStage):
            return TwoStage.paper(self.concept, stages=chosen.stages, decoding=self.decoding)
        like = {} if self.like is None else {"like": Neurons.load(self.like)}
        like = {name: neurons.anywhere() for name, neurons in like.items()} if self.any_model else like
        return method(self.method, **self._options(), **like, **as_option(self.decoding))

    def _check(self, filters: bool) -> None:
        one_of("--preset", self.preset or "recommended", ("recommended", "paper"))
        for name, value in {"--preset": self.preset, "--budget": self.budget, "--q": self.q}.items():
            if value is not None and not filters:
                raise InvalidOption(f"{name} sets the thresholds of two-stage filtering; {self.method} has none")
        if self.control and not (filters and (self.q is not None or self.method == "stage-1")):
            raise InvalidOption(
                "--control: pictures for thresholds by the share of false finds; give --q, with two-stage or stage-1"
            )
        if self.count is not None and filters:
            raise InvalidOption(
                f"--count: {self.method} keeps what passes its thresholds; --budget sets a number for each stage"
            )
        given = [name for name in ("budget", "q", "recover", "count") if getattr(self, name) is not None]
        if self.preset == "paper" and given:
            raise InvalidOption(f"--preset paper has its own thresholds: leave out --{given[0]}")
        if self.recover is not None and len(given) > 1:
            others = [name for name in given if name != "recover"]
            raise InvalidOption(f"--recover chooses how many are kept: leave out --{others[0]}")
        if self.recover is not None and self.method in ("stage-1", "stage-2"):
            raise InvalidOption(f"--recover cuts rankings and both stages together; {self.method} has a threshold")

    def _options(self) -> dict[str, Any]:
        """Of the method, those that were given."""
        from ...locate import Budget, Recovery, TargetDecoy, method
        from ...locate.registry import site_option

        found: dict[str, Any] = {} if self.count is None else {"count": self.count}
        if self.site is not None:
            found |= site_option(method(self.method), self.site)
        if self.budget is not None:
            found |= dict.fromkeys(("activation", "gradient"), Budget(self.budget))
        elif self.q is not None:
            found |= dict.fromkeys(("activation", "gradient"), TargetDecoy(self.q))
        if self.recover is not None:
            found["cut"] = Recovery(self.recover)
        if self.control:
            found["photographs"] = self.control
        return found

    def sample(self) -> Sample:
        """The image and where the object is; the controls are looked at as well."""
        from ...samples.image import read_image

        for picture in self.control:
            read_image(picture)
        return super().sample()

    def origin(self) -> Origin:
        """Where the result comes from, for its page."""
        from ...report import Origin
        from ...run.settings import environment

        return Origin(Path(self.image).name, self.command(), self.python(), environment())

    def command(self) -> str:
        """One line for a shell that makes the result again."""
        return shlex.join(["neuronscope", "locate", *words(self)])

    def python(self) -> str:
        """The same neurons with the library."""
        from ...models.decoding import spelled

        found = self.expression(self.image, self.concept)
        region = f", boxes={list(self.boxes)!r}" if self.boxes else ""
        region += f", mask=np.asarray(read_image({str(self.mask)!r}).convert('L')) > 127" if self.mask else ""
        edit = f"'edited', edited={str(self.edited)!r}" if self.edited else repr(self.edit)
        edit += f", reach={self.reach!r}" if self.reach != "grown" else ""
        edit += spelled(self.decoding)
        edit += f", max_other_share={self.max_other_share!r}" if self.max_other_share is not None else ""
        imports = ["import numpy as np", "from neuronscope.samples import read_image"] if self.mask else []
        lines = [
            *imports,
            "import neuronscope as ns",
            "from neuronscope.locate.validity import valid_pair",
            "",
            f"vlm = {self.load_expression()}",
            f"sample = ns.Sample(image={self.image!r}, concept={self.concept!r}{region})"
            if found is None
            else f"sample = {found}.sample()",
            f"pair, validity = valid_pair(vlm, sample, {edit})",
            f"found = {self._method()}.locate(vlm, pair, validity=validity)",
            'found.neurons.save("neurons.json")',
        ]
        return "\n".join(lines)

    def _method(self) -> str:
        from ...models.decoding import spelled

        asked = spelled(self.decoding)
        if self.preset == "paper":
            stages = {"stage-1": ", stages=(1,)", "stage-2": ", stages=(2,)"}
            return f"ns.TwoStage.paper({self.concept!r}{stages.get(self.method, '')}{asked})"
        rule = next((given for given in (self.budget, self.q, self.recover) if given is not None), 0)
        given = {
            name: repr(value)
            if name in ("count", "photographs", "site", "address")
            else f"ns.{type(value).__name__}({rule:g})"
            for name, value in self._options().items()
        }
        given |= (
            {}
            if self.like is None
            else {"like": f"ns.Neurons.load({str(self.like)!r}){'.anywhere()' * self.any_model}"}
        )
        return f"ns.method({self.method!r}{''.join(f', {name}={value}' for name, value in given.items())}{asked})"


def as_option(decoding: Decoding) -> dict[str, Decoding]:
    """The option of a method, where something else than usual is asked; a method of the user's may have none."""
    return {} if decoding == type(decoding)() else {"decoding": decoding}
