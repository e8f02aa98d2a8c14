"""What a person can choose in the explorer, as plain data, and what the library makes of it.

    noise     a + level * eps                      ns.Noise, at the image tokens
    ablate    0                                    ns.Zero
    scale     factor * a                           ns.Scale
    swap      value vectors write another word     ns.Embed, an edit of weights that is taken back at once

Everything is done to the first `count` located neurons and, as the control, to as many random ones of the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from ..caption import generate_captions
from ..edit import editor
from ..edit.words import pair_words
from ..errors import InvalidOption
from ..fields import check_fields
from ..intervene import Intervention, Noise, Patch, Scale, Zero, activations, recommended_level
from ..loading import VLM
from ..locate import Budget, Method, TargetDecoy, TwoStage
from ..locate import method as by_name
from ..locate.registry import METHODS
from ..models.decoding import Decoding
from ..samples.inpaint import Counterfactual
from ..samples.inpainters import INPAINTERS, known_inpainters, recorded
from ..samples.scenes import CONCEPTS
from ..types import Neurons, one_of

#: How many are kept: as the method recommends (two-stage: what recovers the edit), by target-decoy control, as a number
#: of neurons a stage, or by the thresholds that the paper published.
Rule: TypeAlias = Literal["recommended", "target-decoy", "budget", "paper"]
RULES: tuple[Rule, ...] = get_args(Rule)

Operation: TypeAlias = Literal["patch", "noise", "ablate", "scale", "swap"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

#: Methods that can be chosen; the layer-matched random set needs another set to match, and is the control of all.
OFFERED: tuple[str, ...] = tuple(name for name in METHODS if name != "random-layer-matched")
EDITS: tuple[str, ...] = tuple(INPAINTERS)

#: The noise level slider ends at this multiple of the level that is set first.
REACH = 4.0


@dataclass(frozen=True)
class Question:
    """What is looked for, and how.

    Attributes:
        concept: the word.
        method: a name of :data:`OFFERED`.
        rule: for methods with thresholds.
        q: accepted share of false finds, for "target-decoy".
        budget: neurons a stage, for "budget".
        count: neurons, for methods that rank.
        edit: how the object is taken out of the picture: a name of :func:`offered_edits`.
    """

    concept: str = ""
    method: str = "two-stage"
    rule: Rule = "recommended"
    q: float = 0.1
    budget: int = 50
    count: int = 50
    edit: str = "telea"

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("method", self.method, OFFERED)
        one_of("rule", self.rule, RULES)

    @property
    def thresholds(self) -> bool:
        """Whether the method has thresholds."""
        return has_thresholds(self.method)

    @property
    def counts(self) -> bool:
        """Whether the method keeps a set number; those that choose it themselves do not."""
        return any(one.name == "count" and one.init for one in fields(by_name(self.method)))  # pyright: ignore[reportArgumentType]

    def locator(self, decoding: Decoding = Decoding()) -> Method:
        """The method, with what the model is asked.

        Raises InvalidOption for numbers out of range and concepts without published thresholds.
        """
        made = by_name(self.method)
        if not isinstance(made, TwoStage):
            counted = {"count": self.count} if self.counts else {}
            return by_name(self.method, **counted, decoding=decoding)
        if self.rule == "paper":
            return TwoStage.paper(self.concept, stages=made.stages, decoding=decoding)
        if self.rule == "recommended":
            return replace(made, decoding=decoding)
        rule = TargetDecoy(self.q) if self.rule == "target-decoy" else Budget(self.budget)
        return by_name(self.method, activation=rule, gradient=rule, decoding=decoding)

    def options(self) -> dict[str, Any]:
        """What `neuronscope locate` has to be told beside the method's name."""
        if not self.thresholds:
            return {"count": self.count} if self.counts else {}
        return {
            "recommended": {},
            "target-decoy": {"q": self.q},
            "budget": {"budget": self.budget},
            "paper": {"preset": "paper"},
        }[self.rule]


def offered_edits(own: str = Question.edit) -> dict[str, str]:
    """How an object can be taken out: what pages and addresses call it -> the inpainter's name.

    Those that come along, those that were registered in this process, and `own`, of which no path is told.
    """
    return {recorded(name): name for name in (*known_inpainters(), own)}


def has_thresholds(method: str) -> bool:
    """Whether a method of :data:`OFFERED` has thresholds; the others keep a set number."""
    return isinstance(METHODS[method](), TwoStage)


@dataclass(frozen=True)
class Change:
    """What is done to the located neurons.

    Attributes:
        operation: one of :data:`OPERATIONS`.
        count: to how many of them, best first; None for all.
        level: of the noise, in activation units.
        factor: of "scale".
        word: of "swap".
        draws: of the noise.
        seed: of the noise and of the control set.
    """

    operation: Operation = "patch"
    count: int | None = None
    level: float = 0.0
    factor: float = 2.0
    word: str = ""
    draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("operation", self.operation, OPERATIONS)
        if self.count is not None and self.count < 1:
            raise InvalidOption(f"count={self.count} must be at least 1")

    def says(self, concept: str) -> str:
        """The change in words, for headings."""
        return {
            "patch": f"as without the {concept}",
            "noise": f"noise of level {self.level:.3g}",
            "ablate": "set to zero",
            "scale": f"times {self.factor:g}",
            "swap": f"“{concept}” written over by “{self.word}”",
        }[self.operation]

    def python(self, concept: str, neurons: str, asked: str = "") -> str:
        """The same as an expression, `neurons` being one; `asked` is one more argument of an editor."""
        return {
            "patch": f"ns.Patch.take(vlm, {neurons}, pair.edited{asked})",
            "noise": f"ns.Noise({neurons}, level={self.level!r}, draws={self.draws}, seed={self.seed})",
            "ablate": f"ns.Zero({neurons})",
            "scale": f"ns.Scale({neurons}, factor={self.factor!r})",
            "swap": f"ns.Embed(source={concept!r}, target={self.word!r}{asked}).edit(vlm, {neurons})",
        }[self.operation]


#: What needs no picture but the one that is looked at.
_INTERVENTIONS: Mapping[str, Callable[[Neurons, Change], Intervention]] = {
    "noise": lambda neurons, change: Noise(neurons, level=change.level, draws=change.draws, seed=change.seed),
    "ablate": lambda neurons, change: Zero(neurons),
    "scale": lambda neurons, change: Scale(neurons, factor=change.factor),
}


def captions_under(
    vlm: VLM,
    pair: Counterfactual,
    neurons: Neurons,
    change: Change,
    decoding: Decoding = Decoding(),
) -> tuple[str, ...]:
    """What the model says of the original after the prompt, once per draw, with the change done to these neurons.

    Raises InvalidOption for numbers out of range, and for words that cannot be exchanged.
    """
    image = pair.original
    if change.operation != "swap":
        if change.operation == "patch":
            made: Intervention = Patch.take(vlm, neurons, pair.edited, decoding=decoding)
        else:
            made = _INTERVENTIONS[change.operation](neurons, change)
        return tuple(caption.text for caption in generate_captions(vlm, [image], made, decoding=decoding)[0])
    with editor("embed", source=neurons.concept, target=change.word, decoding=decoding).edit(vlm, neurons):
        return tuple(caption.text for caption in generate_captions(vlm, [image], decoding=decoding)[0])


def usual_level(vlm: VLM, image: Image.Image, neurons: Neurons) -> float:
    """The noise level that the slider starts at: the recommended one, of differences by size, in activation units.

    For methods that measure no difference that of the neurons' largest activations.
    """
    if not len(neurons):
        return 0.0
    sizes = neurons.scores.get("activation")
    if sizes is None:
        sizes = np.abs(activations(vlm, image, neurons)).max(axis=0)
    return recommended_level(replace(neurons, scores={"activation": tuple(map(abs, sizes))}))


def other_word(vlm: VLM, image: Image.Image, concept: str, decoding: Decoding = Decoding()) -> str:
    """A word to exchange a concept for, until the user types one: the next likeliest thing that the model would name.

    Of everyday things that its vocabulary spells from another first token than the concept, that whose first token is
    likeliest after the prompt, in one forward pass. Empty where there is none.
    """
    tokens: dict[str, int] = {}
    for word in sorted(CONCEPTS):
        try:
            tokens[word] = pair_words(vlm, concept, word, decoding=decoding).target_ids[0]
        except InvalidOption:  # the concept itself, or a word that cannot be exchanged for it
            continue
    logits = vlm.logits(vlm.prepare([image], decoding=decoding))[0, -1]
    return max(tokens, key=lambda word: float(logits[tokens[word]]), default="")
