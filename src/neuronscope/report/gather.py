"""Asking the model what a page about a located concept has to show: captions, effects and maps.

p                softmax of the logits where the caption's word for the concept is predicted, teacher-forced
log-odds         log(p / (1 - p))
effect of i      log-odds with neuron i, and no other, set to zero at the image tokens, minus log-odds untouched
noise level      in activation units, added at the image tokens (METHODS d)

Every number is beside that of a random control: as many neurons of the same layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from ..caption import generate_captions
from ..errors import InvalidOption, InvalidSample, NoGrid
from ..fields import check_fields
from ..held import in_turn
from ..intervene import Noise, Patch, Zero, activations
from ..intervene.operations import Intervention
from ..loading import VLM
from ..loading.world import notice
from ..locate import Located, ceiling, layer_matched
from ..locate.target import concept_word
from ..meaning import MapPlace, decode, place
from ..models.decoding import Decoding
from ..models.lens import usual_norm
from ..samples.inpaint import Counterfactual
from ..samples.regions import marked_by
from ..tokens import ImageTokens
from ..types import Json, Neurons, Span
from ..view.heatmap import Heatmap, heatmap, heatmaps, paint, thinned
from .curves import Curve
from .evidence import Evidence, ShownNeuron, Spoken, WordScore

#: Neurons that a page shows one by one.
SHOWN = 100


@dataclass(frozen=True)
class Test:
    """How a located set is tested beside its control.

    Attributes:
        level: noise level in activation units; None to set neurons to zero only.
        draws: of the noise.
        seed: of the noise and of the control set.
    """

    __test__ = False  # not a test case of pytest

    level: float | None = None
    draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Origin:
    """Where a result comes from, for those who want to make it again."""

    image: str = ""
    command: str = ""
    python: str = ""
    environment: Mapping[str, Json] = field(default_factory=dict[str, Json])


@in_turn
def gather(
    vlm: VLM,
    pair: Counterfactual,
    found: Located,
    curves: Mapping[str, Curve],
    *,
    test: Test | None,
    heat: Heatmap | None = None,
    origin: Origin | None = None,
    decoding: Decoding = Decoding(),
    step: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Everything that a page shows of one located set.

    Args:
        vlm: the model.
        pair: the image and its counterfactual.
        found: what was located in it.
        curves: what the thresholds were chosen from, see :func:`locate_watched`.
        test: how the set is tested; None for no test, which saves most of the time.
        heat: the set's map, where it is at hand.
        origin: the image's name, and how the result was made.
        decoding: what was asked when it was located.
        step: told what is being done, for progress displays.
    """
    origin, neurons, validity = origin or Origin(), found.neurons, found.validity
    spoken = [Spoken("original", (validity.original.text,)), Spoken("edited", (validity.edited.text,))]
    word, alone, lacking, exchanged = None, None, (), {}
    shown = neurons[:SHOWN]
    if test is not None and len(neurons):
        step("captions under noise and without the neurons")
        control, lacking = _control(vlm, neurons, test.seed)
        changes = _changes(vlm, pair, neurons, control, test, decoding)
        exchanged, unknown = _exchanged(vlm, pair, found, control, decoding)
        lacking = (*lacking, *unknown)
        for name, change in changes.items():
            (captions,) = generate_captions(vlm, [pair.original], change, decoding=decoding)
            spoken.append(Spoken(name, tuple(caption.text for caption in captions)))
        step("each neuron alone")
        asked = _Asked(vlm, pair, found, decoding)
        before = asked.log_odds(None)
        alone = [asked.log_odds(Zero(shown[k : k + 1])) - before for k in range(len(shown))]
        random = None if control is None else _probability(asked.log_odds(Zero(control)))
        word = WordScore(
            validity.match.surface, _probability(before), _probability(asked.log_odds(Zero(neurons))), random
        )
    step("maps of the neurons")
    placed, unplaced = _place(vlm, pair, neurons, heat, 0 if test is None else test.seed, decoding)
    tokens = vlm.prepare([pair.original], decoding).images[0]
    maps, unmapped = _maps(vlm, pair, shown, tokens, decoding)
    return Evidence(
        image=origin.image,
        prompt=decoding.beginning,
        sent=vlm.sent(decoding),
        spoken=tuple(spoken),
        neurons=neurons,
        units=_units(shown, tokens, alone, vlm.picture_span),
        words=decode(vlm, neurons, norm=usual_norm(vlm)),
        maps=maps,
        curves=dict(curves),
        original=pair.original,
        edited=pair.edited,
        mask=np.asarray(pair.mask, dtype=bool),
        boxes=tuple(pair.sample.boxes),
        widths=tuple(vlm.widths),
        word=word,
        place=placed,
        exchanged=exchanged,
        removal=validity.removal,
        level=test.level if test is not None and len(neurons) else None,
        notes=(
            *((f"notice: {strange}",) if (strange := notice(vlm, pair.original)) else ()),
            *marked_by(pair.sample),
            *found.notes,
            *lacking,
            *unplaced,
            *unmapped,
            *(f"only the original caption names {word!r}" for word in validity.lost),
        ),
        environment=dict(origin.environment),
        command=origin.command,
        python=origin.python,
    )


def _control(vlm: VLM, neurons: Neurons, seed: int) -> tuple[Neurons | None, tuple[str, ...]]:
    """As many random neurons of the same layers; or none, and the reason for the page, where a layer has too few."""
    try:
        return layer_matched(vlm, neurons, seed), ()
    except InvalidOption as error:
        return None, (f"there is no random control: {error}",)


def _place(
    vlm: VLM, pair: Counterfactual, neurons: Neurons, heat: Heatmap | None, seed: int, decoding: Decoding
) -> tuple[MapPlace | None, tuple[str, ...]]:
    """How the set's map lies on the object; or none, and the reason for the page."""
    sample = pair.sample
    if not len(neurons) or (sample.mask is None and not sample.boxes):
        return None, ()
    source = "boxes" if sample.mask is None else "mask"
    try:
        heat = heatmap(vlm, pair.original, neurons, decoding=decoding) if heat is None else heat
        mask = sample.region(pair.original.size, source=source)
        return place(vlm, pair.original, neurons, heat, mask, seed=seed, decoding=decoding), ()
    except (InvalidOption, InvalidSample, NoGrid) as error:
        return None, (f"the map is not compared with the object: {error}",)


def _exchanged(
    vlm: VLM, pair: Counterfactual, found: Located, control: Neurons | None, decoding: Decoding
) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """What the set, its control and all neurons recover of the edit; or nothing, and the reason for the page."""
    sets = {"located": found.neurons} | ({} if control is None else {"random": control})
    token: Any = found.neurons.options.get("concept_token", "first")
    try:
        top = ceiling(
            vlm,
            pair,
            validity=found.validity,
            changes=(),
            layers=False,
            sets=sets,
            site=found.neurons.site,
            concept_token=token,
            decoding=decoding,
        )
    except InvalidSample as error:
        return {}, (f"shares of the edit's effect are unknown: {error}",)
    return top.shares["patch"], ()


def _changes(
    vlm: VLM, pair: Counterfactual, neurons: Neurons, control: Neurons | None, test: Test, decoding: Decoding
) -> dict[str, Intervention]:
    """Condition -> what is done to the neurons."""
    found: dict[str, Intervention] = {}
    sets = {"": neurons} if control is None else {"": neurons, "random ": control}
    if test.level is not None:
        for name, members in sets.items():
            found[f"{name}noise"] = Noise(members, level=test.level, draws=test.draws, seed=test.seed)
    for name, members in sets.items():
        found[f"{name}patch"] = Patch.take(vlm, members, pair.edited, decoding=decoding)
    return {**found, **{f"{name}zero": Zero(members) for name, members in sets.items()}}


class _Asked:
    """The prompt, and the caption as far as the concept's word, with the question how likely that word is next."""

    def __init__(self, vlm: VLM, pair: Counterfactual, found: Located, decoding: Decoding) -> None:
        word = concept_word(found.validity)
        self._vlm = vlm
        self._inputs = word.inputs(vlm, pair.original, decoding)
        self._position, self._token = word.entries[0]

    def log_odds(self, change: Intervention | None) -> float:
        """Of the word's first token, under an intervention or without."""
        with torch.no_grad():
            if change is None:
                logits = self._vlm.logits(self._inputs, last=self._position)
            else:
                with self._vlm.intervene(change):
                    logits = self._vlm.logits(self._inputs, last=self._position)
        row = logits[0, -self._position].double()
        others = torch.cat([row[: self._token], row[self._token + 1 :]])
        return float(row[self._token] - others.logsumexp(0))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else math.exp(log_odds) / (1 + math.exp(log_odds))


def _units(shown: Neurons, tokens: ImageTokens, alone: Sequence[float] | None, span: Span) -> tuple[ShownNeuron, ...]:
    # Methods that look where the word is predicted count other positions than image tokens.
    at_image = span == "image" and shown.options.get("position", "image") == "image"
    patches = [values for name, values in shown.scores.items() if name.endswith("_patch")]
    places = patches[0] if patches and at_image else None
    units: list[ShownNeuron] = []
    for k in range(len(shown)):
        token = None if places is None else int(places[k])
        mapped = token is not None and bool(tokens.tiles)
        units.append(
            ShownNeuron(
                None if alone is None else alone[k],
                token,
                _cell(tokens, token) if mapped and token is not None else None,
                tokens.footprint(token) if mapped and token is not None else None,
            )
        )
    return tuple(units)


def _cell(tokens: ImageTokens, token: int) -> tuple[int, int] | None:
    for tile in tokens.tiles:
        found = np.argwhere(tile.tokens == token)
        if len(found):
            return int(found[0, 0]), int(found[0, 1])
    return None


def _maps(
    vlm: VLM, pair: Counterfactual, shown: Neurons, tokens: ImageTokens, decoding: Decoding
) -> tuple[Float[np.ndarray, "_shown _rows _columns"], tuple[str, ...]]:
    """Every neuron's own map over the image, and of those that have none the reason for the page.

    A map is a neuron's activation at the tokens, or traced back where they have no place.
    """
    if tokens.tiles and len(shown):
        values = activations(vlm, pair.original, shown, decoding=decoding).astype(np.float64)
        maps = [paint(values[:, k], tokens, pair.original, shown[k : k + 1]).values for k in range(len(shown))]
        reasons = ()
    else:
        maps, reasons = _traced(vlm, pair.original, shown, decoding)
    found = [thinned(values) for values in maps]
    return np.stack(found).astype(np.float32) if found else np.zeros((0, 1, 1), np.float32), reasons


def _traced(
    vlm: VLM, picture: Image.Image, shown: Neurons, decoding: Decoding
) -> tuple[list[Float[np.ndarray, "_height _width"]], tuple[str, ...]]:
    """Maps that are traced back to the image; empty ones, and why, of neurons that it does not reach."""
    each = [shown[k : k + 1] for k in range(len(shown))]
    with suppress(NoGrid):  # one pass for all; where one has no map each is asked by itself
        return [heat.values for heat in heatmaps(vlm, picture, each, decoding=decoding)], ()
    maps: list[Float[np.ndarray, "_height _width"]] = []
    without: dict[str, list[str]] = {}
    for one in each:
        try:
            maps += [heat.values for heat in heatmaps(vlm, picture, [one], decoding=decoding)]
        except NoGrid as error:
            maps.append(np.full((picture.height, picture.width), np.nan))
            without.setdefault(str(error), []).extend(one.addresses)
    return maps, tuple(f"{', '.join(those)} without a map: {reason}" for reason, those in without.items())
