"""Everything that a page of a neuron shows, beside a random neuron of its layer; `document` is the same for a file.

A neuron's words, its top pictures and its sets say nothing by themselves. The random neuron is one for which nothing
spoke: drawn from the layer, outside of the neurons that were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidOption, RunMismatch
from ..given import checked
from ..loading import VLM
from ..meaning import Words, decode
from ..meaning.pictures import Moved
from ..models.lens import usual_norm
from ..models.origin import require_own
from ..types import Neuron, Neurons
from ..view.decode import Decoded
from .bins import SIDE
from .file import NeuronIndex
from .looks import Looks, look
from .profile import Profile, ProfileFigure, histogram_of, profiles

#: Schema of one line of an export.
SCHEMA = "neuronscope.neuron/1"
#: Words at each end of a neuron.
WORDS = 8
#: Share of image tokens from which on it is said that a neuron is mostly below zero.
MOSTLY = 0.8


@dataclass(frozen=True)
class NamedSet:
    """A set of neurons that was given, by the file's name where two sets are of one concept."""

    name: str
    neurons: Neurons


@dataclass(frozen=True)
class Membership:
    """A set that a neuron belongs to.

    Attributes:
        name: the set.
        concept, method: what it holds, and how it was found.
        place: of the neuron in it, from 1; `size` of the set.
        chance: share of the layer's neurons that are in the set: what a random neuron of the layer would have.
    """

    name: str
    concept: str
    method: str
    place: int
    size: int
    chance: float


@dataclass(frozen=True)
class Side:
    """What is said of one neuron: numbers, words at both ends, and where it is active in its pictures."""

    profile: Profile
    promoted: Decoded
    suppressed: Decoded


@dataclass(frozen=True, eq=False)
class DescribedNeuron:
    """A neuron with all that its page shows.

    Attributes:
        own: the neuron.
        random: a random neuron of its layer; None where the layer has no other.
        stronger, weaker: share of random neurons of its layer whose strongest promoted, and suppressed, word is
            weaker; None likewise.
        sets: the given sets that it belongs to, and `looked` how many were given.
        looks: where both are active in their pictures.
    """

    own: Side
    random: Side | None
    stronger: float | None
    weaker: float | None
    sets: tuple[Membership, ...]
    looked: int
    looks: Looks

    @property
    def neuron(self) -> Neuron:
        """Its address."""
        return self.own.profile.neuron


@checked
def describe(
    vlm: VLM,
    index: NeuronIndex,
    neurons: Sequence[Neuron],
    sets: Sequence[NamedSet] = (),
    *,
    seed: int = 0,
    folder: Path | None = None,
    force: bool = False,
    maps: bool = True,
    step: Callable[[str], None] = lambda _: None,
) -> list[DescribedNeuron]:
    """Some neurons of an index.

    Args:
        vlm: the model that the index was made with.
        index: the index.
        neurons: whom to describe.
        sets: neurons.json files that they may belong to.
        seed: of the random neurons.
        folder: where the pictures are; where the index says if not given.
        force: take an index and sets of other weights at their addresses.
        maps: whether maps over the pictures are made, which take most of the memory; an export needs none.
        step: told the name of every picture that is looked at.

    Raises RunMismatch for an index or a set of other weights, NeuronOutOfRange for neurons that are not in the index,
    and InvalidSample for pictures that are not there any more.
    """
    members = index.members(neurons)
    members = members.anywhere() if force else members
    index.require_own(vlm, force=force)
    require_like(vlm, sets, force=force)
    spoken = {neuron: _spoken(vlm, members, k, seed) for k, neuron in enumerate(members)}
    beside = {neuron: None if (one := more.beside[0]) is None else one.neuron for neuron, (more, _) in spoken.items()}
    every = list(dict.fromkeys([*members, *(one for one in beside.values() if one is not None)]))
    found = profiles(index, every)
    wanted: dict[int, list[Neuron]] = {}
    for neuron in every:
        for moved in (*found[neuron].top, *found[neuron].bottom):
            wanted.setdefault(moved.number, []).append(neuron)
    looks = look(vlm, index, wanted, folder=folder, force=force, maps=maps, step=step)
    made: list[DescribedNeuron] = []
    for neuron, (more, less) in spoken.items():
        own = Side(found[neuron], more[0], less[0])
        most, least = more.beside[0], less.beside[0]
        random = None if most is None or least is None else Side(found[most.neuron], most, least)
        shown = {key: value for key, value in looks.items() if key[0] in (neuron, beside[neuron])}
        belongs = tuple(_membership(one, neuron, index.widths) for one in sets if neuron in one.neurons)
        made.append(DescribedNeuron(own, random, more.quantiles[0], less.quantiles[0], belongs, len(sets), shown))
    return made


def document(found: DescribedNeuron, index: NeuronIndex) -> dict[str, Any]:
    """A neuron as a file can hold it: one line of an export (docs/howto/neuron-pages.md)."""
    return {
        "schema": SCHEMA,
        "model": dict(index.model),
        "site": index.site,
        "sent": index.sent,
        "pictures": len(index.pictures),
        **_side(found.own, found.looks, index),
        "stronger_than_random": found.stronger,
        "suppresses_more_than_random": found.weaker,
        "sets": [vars(one) for one in found.sets],
        "sets_looked_at": found.looked,
        "random": None if found.random is None else _side(found.random, found.looks, index),
    }


def _side(side: Side, looks: Looks, index: NeuronIndex) -> dict[str, Any]:
    one = side.profile
    return {
        "address": str(one.neuron),
        "layer": one.neuron.layer,
        "unit": one.neuron.unit,
        "mean": one.mean,
        "sd": one.sd,
        "threshold": one.threshold,
        "density": {"tokens": one.tokens, "pictures": one.pictures, "scattered": one.scattered},
        "spread": vars(one.spread),
        "loud": {"threshold": one.loudness, **vars(one.loud)},
        "standing_out": vars(one.standing),
        "histogram": histogram_of(one),
        "top": [_picture(moved, one.neuron, looks, index) for moved in one.top],
        "bottom": [_picture(moved, one.neuron, looks, index) for moved in one.bottom],
        "promoted": _words(side.promoted, 1),
        "suppressed": _words(side.suppressed, -1),
    }


def _picture(moved: Moved, neuron: Neuron, looks: Looks, index: NeuronIndex) -> dict[str, Any]:
    shown = index.pictures[moved.number]
    seen = looks[neuron, moved.number]
    return {
        "picture": shown.name,
        "sha256": shown.sha256,
        "value": moved.score,
        "tokens": [float(f"{value:.5g}") for value in seen.values.tolist()],
        "grids": [list(grid) for grid in seen.grids],
    }


def _words(decoded: Decoded, sign: int) -> list[dict[str, Any]]:
    rows = zip(decoded.tokens, decoded.logits, decoded.strengths, strict=True)
    return [{"token": token, "logit": logit, "strength": sign * strength} for token, logit, strength in rows]


def _spoken(vlm: VLM, members: Neurons, place: int, seed: int) -> tuple[Words, Words]:
    """What one neuron promotes and suppresses, beside random neurons that its address and the seed decide alone."""
    one = members[place : place + 1]
    drawn = int(np.random.SeedSequence([seed, one[0].layer, one[0].unit]).generate_state(1)[0])
    more, less = (decode(vlm, one, sign=sign, top=WORDS, norm=usual_norm(vlm), seed=drawn) for sign in (1, -1))
    return more, less


def require_like(vlm: VLM, sets: Sequence[NamedSet], *, force: bool) -> None:
    """Raise RunMismatch for a set of other weights, and InvalidOption for one of another part of the model."""
    for one in sets:
        try:
            require_own(vlm, one.neurons.anywhere() if force else one.neurons, "text")
        except (RunMismatch, InvalidOption) as error:
            raise type(error)(f"{one.name}: {error}") from error


def _membership(one: NamedSet, neuron: Neuron, widths: Sequence[int]) -> Membership:
    here = len(one.neurons.by_layer()[neuron.layer])
    place = list(one.neurons).index(neuron) + 1
    chance = here / widths[neuron.layer]
    return Membership(one.name, one.neurons.concept, one.neurons.method, place, len(one.neurons), chance)


def verdict(found: DescribedNeuron) -> str:
    """What a neuron's numbers come to, in sentences without terms of the field."""
    one = found.own.profile
    said = [_stands(one.standing), _often(one)]
    if found.stronger is not None:
        token, strength = found.own.promoted.tokens[0], found.own.promoted.strengths[0]
        said.append(
            f"Its strongest word, {spelt(token)}, stands {strength:.1f} sd out of the vocabulary, more than that of "
            f"{found.stronger:.0%} of random neurons of its layer."
        )
    if found.looked:
        names = ", ".join(f"“{one.concept}”" if one.concept else one.name for one in found.sets)
        if found.looked == 1:
            said.append(f"It is in the set {names}." if names else "It is not in the set that was given.")
        else:
            said.append(f"Of {found.looked} sets it is in {f'{len(found.sets)}: {names}' if names else 'none'}.")
    return " ".join(said)


def spelt(token: str) -> str:
    """A token for people; of one that is nothing but space what it is."""
    return f"“{token.strip()}”" if token.strip() else json.dumps(token[:6])


def _often(one: Profile) -> str:
    below = sum(one.histogram[:SIDE])
    low = f" At {below:.0%} of image tokens it is below zero." if below > MOSTLY else ""
    if not one.tokens:
        return f"It is hardly ever active above zero.{low}"
    return (
        f"It is active at {one.tokens:.1%} of image tokens, which lie in {one.pictures:.0%} of pictures; "
        f"scattered they would be in {one.scattered:.0%}.{low}"
    )


def _stands(one: ProfileFigure) -> str:
    return (
        f"Its top pictures stand out by {one.value:.1f} sd, more than those of {one.among:.0%} of its layer's neurons."
    )
