"""From hits to the cells of a table (METHODS d, "Scores" and "Evaluation loop").

    hits[j, n, r, I]   does the caption of image I under draw r of level n on group j's neurons name I's own concept?
    S_k[j, n]    = mean over draws and the images of k                (step 2)
    S_kbar[j, n] = mean over draws and the images that do not show k  (step 3)
    S_se = 1 - mean_j S_k      S_re = mean_j S_kbar      S_mean = (S_se + S_re) / 2      J = S_se + S_re - 1
    averages: groups, then levels, then concepts              (steps 4 and 5)

Published per-concept numbers come out when each group's share is first rounded to three decimals (`round_groups=3`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InvalidOption, InvalidSample
from ..fields import check_fields
from ..frames import data_frame
from ..reprs import short_repr

if TYPE_CHECKING:
    from pandas import DataFrame

_Score = TypeVar("_Score", float, np.ndarray)


def se_of(s_k: _Score) -> _Score:
    """S_se, suppression effectiveness, of the share of hits on the images; S_re is the share on the others."""
    return 1.0 - s_k


def j_of(s_se: _Score, s_re: _Score) -> _Score:
    """J = S_se + S_re - 1; 0 for no effect and for total destruction, 1 where only the concept is gone."""
    return s_se + s_re - 1.0


def scores_of(s_k: _Score, s_kbar: _Score) -> dict[str, _Score]:
    """The scores by the names that tables print."""
    s_se = se_of(s_k)
    return {"S_se": s_se, "S_re": s_kbar, "J": j_of(s_se, s_kbar)}


@dataclass(frozen=True)
class Trials:
    """All hits of one concept's groups, a group being the neurons located in one image of the concept.

    Attributes:
        concept: the concept k that was to be removed.
        hits: [groups, levels, draws, images]; does the caption name the image's own concept?
        own: [images] which images stand for k.
        levels: noise levels, in the order of the axis.
        images: names of the images, in the order of the axis.
        sources: for each group the name of the image it was located in; empty where groups come from no image.
        shown: [images] which images show k at all; those that are not its own count nowhere. None: its own only.
    """

    concept: str
    hits: Bool[np.ndarray, "groups levels draws images"]
    own: Bool[np.ndarray, "images"]
    levels: tuple[float, ...]
    images: tuple[str, ...]
    sources: tuple[str, ...] = ()
    shown: Bool[np.ndarray, "images"] | None = None

    def __post_init__(self) -> None:
        """Raise InvalidOption for sizes that do not agree and InvalidSample without images to count."""
        check_fields(self)
        what = f"hits of {self.concept!r}"
        if self.hits.ndim != 4 or not self.hits.size:
            raise InvalidOption(f"{what} have shape {self.hits.shape}; expected [groups, levels, draws, images]")
        groups, levels, _, images = self.hits.shape
        marks = [self.own.shape, (images,) if self.shown is None else self.shown.shape, (len(self.images),)]
        if len(self.levels) != levels or any(shape != (images,) for shape in marks):
            raise InvalidOption(
                f"{what} have shape {self.hits.shape}, but there are {len(self.levels)} levels and "
                f"{len(self.images)} images, marked by arrays of {marks[0]} and {marks[1]}"
            )
        if self.sources and len(self.sources) != groups:
            raise InvalidOption(f"{what}: {len(self.sources)} sources were given for {groups} groups")
        if unknown := sorted(
            set(self.sources) - {name for name, own in zip(self.images, self.own, strict=True) if own}
        ):
            raise InvalidOption(f"{what}: source {unknown[0]!r} is not among the images of the concept")
        if not self.own.any() or not self.others.any():
            raise InvalidSample(
                f"scores for {self.concept!r} need images with and without it; got {self.own.sum()} with and "
                f"{self.others.sum()} without"
            )

    @property
    def others(self) -> Bool[np.ndarray, "images"]:
        """Which images do not show the concept."""
        return ~(self.own if self.shown is None else self.own | self.shown)

    def at(self, level: float) -> Trials:
        """The hits of one level. Raises InvalidOption for a level that was not run."""
        if level not in self.levels:
            raise InvalidOption(f"level={level} was not run; levels: {', '.join(f'{n:g}' for n in self.levels)}")
        index = self.levels.index(level)
        return replace(self, levels=(level,), hits=self.hits[:, index : index + 1])

    def tested(self, *, held_out: bool = False) -> Bool[np.ndarray, "groups own_images"]:
        """Which of the concept's own images count for which group: all, or all but the group's source (step 5).

        Raises InvalidSample when `held_out` leaves a group without images or the sources are not known.
        """
        names = np.array([name for name, own in zip(self.images, self.own, strict=True) if own])
        if not held_out:
            return np.ones((len(self.hits), len(names)), dtype=bool)
        if not self.sources:
            raise InvalidSample(f"held-out scores of {self.concept!r} need to know the image each group came from")
        mask = names[None, :] != np.array(self.sources)[:, None]
        if not mask.any(1).all():
            source = self.sources[int(np.argmin(mask.any(1)))]
            raise InvalidSample(f"held-out scores of {self.concept!r}: its only image is {source!r}, the group's own")
        return mask

    def shares(self, *, held_out: bool = False) -> tuple[Float[np.ndarray, "groups n"], Float[np.ndarray, "groups n"]]:
        """S_k and S_kbar of every group at every level (n levels). Errors as in :meth:`tested`."""
        by_image = self.hits.mean(2)  # [groups, levels, images]
        own = _masked_mean(by_image[..., self.own], self.tested(held_out=held_out)[:, None])
        return own, by_image[..., self.others].mean(-1)


@dataclass(frozen=True)
class ScoreCell:
    """One concept at one level, or a mean over some of them.

    Attributes:
        concept: None in a mean over concepts.
        level: None in a mean over levels.
        s_k, s_kbar: share of hits on the concept's images, and on the others.
        own_trials, other_trials: how many captions each share counts.
    """

    concept: str | None
    level: float | None
    s_k: float
    s_kbar: float
    own_trials: int
    other_trials: int

    @property
    def s_se(self) -> float:
        """Suppression effectiveness, 1 - S_k."""
        return se_of(self.s_k)

    @property
    def s_re(self) -> float:
        """Retention of the other concepts, S_kbar."""
        return self.s_kbar

    @property
    def s_mean(self) -> float:
        """The mean of S_se and S_re; 0.5 for no effect and for total destruction."""
        return (self.s_se + self.s_re) / 2

    @property
    def j(self) -> float:
        """See :func:`j_of`."""
        return j_of(self.s_se, self.s_re)


#: What a data frame tells of a cell.
_COLUMNS = ("concept", "level", "s_k", "s_kbar", "s_se", "s_re", "s_mean", "j", "own_trials", "other_trials")


@dataclass(frozen=True)
class ScoreTable:
    """The cells of all concepts and levels, and their means.

    Attributes:
        cells: concepts in the order given, the levels of each together.
    """

    cells: tuple[ScoreCell, ...]

    __repr__ = short_repr

    def cell(self, concept: str, level: float) -> ScoreCell:
        """One concept at one level. Raises InvalidOption for a cell that the table does not have."""
        return _mean(self._where(concept, level), concept, level)

    def concept(self, concept: str) -> ScoreCell:
        """Mean over the levels of a concept. Raises InvalidOption for a concept that the table does not have."""
        return _mean(self._where(concept, None), concept, None)

    def level(self, level: float) -> ScoreCell:
        """Mean over the concepts at a level. Raises InvalidOption for a level that the table does not have."""
        return _mean(self._where(None, level), None, level)

    def to_dataframe(self) -> DataFrame:
        """A row for each concept and level with pandas. Raises InvalidOption where pandas is not installed."""
        return data_frame({name: [getattr(cell, name) for cell in self.cells] for name in _COLUMNS})

    @property
    def concepts(self) -> tuple[ScoreCell, ...]:
        """The mean over levels of every concept."""
        names = dict.fromkeys(cell.concept for cell in self.cells)
        return tuple(self.concept(name) for name in names if name is not None)

    @property
    def overall(self) -> ScoreCell:
        """Mean over levels, then concepts: the last row of Table II."""
        return _mean(self.concepts, None, None)

    def _where(self, concept: str | None, level: float | None) -> Sequence[ScoreCell]:
        found = [c for c in self.cells if concept in (None, c.concept) and level in (None, c.level)]
        if not found:
            have = ", ".join(dict.fromkeys(f"{c.concept} at {c.level:g}" for c in self.cells))
            raise InvalidOption(f"the table has no cell for concept={concept!r}, level={level!r}; it has {have}")
        return found


def aggregate(trials: Sequence[Trials], *, round_groups: int | None = None, held_out: bool = False) -> ScoreTable:
    """The table of some concepts.

    Args:
        trials: one entry per concept, all with the same levels.
        round_groups: round each group's shares to this many decimals before averaging; 3 to compare with Table II.
        held_out: leave out, for each group, the image that it was located in; concerns S_se.

    Raises InvalidOption for no trials, a concept given twice, levels that differ and a negative `round_groups`;
    InvalidSample where `held_out` leaves no image.
    """
    check_alike(trials)
    if round_groups is not None and round_groups < 0:
        raise InvalidOption(f"round_groups={round_groups} must not be negative")
    return ScoreTable(tuple(cell for one in trials for cell in _cells(one, round_groups, held_out)))


def check_alike(trials: Sequence[Trials]) -> None:
    """Raise InvalidOption unless there are trials, of different concepts, with the same levels."""
    if not trials:
        raise InvalidOption("there are no trials to average")
    names = [one.concept for one in trials]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InvalidOption(f"trials of {twice[0]!r} were given {names.count(twice[0])} times")
    for one in trials:
        if one.levels != trials[0].levels:
            raise InvalidOption(
                f"trials of {one.concept!r} have levels {one.levels}, those of {names[0]!r} {trials[0].levels}"
            )


def check_clean(
    images: Sequence[str], concepts: Sequence[str], hits: Sequence[bool], captions: Sequence[str] | None = None
) -> None:
    """The gate before any intervention (step 6): every image's clean caption names the image's own concept.

    Args:
        images: names of the images.
        concepts: their own concepts.
        hits: does the caption without intervention name it?
        captions: the captions, for the message.

    Raises InvalidSample naming every sample that fails; InvalidOption for lists of different lengths or none.
    """
    lengths = {len(images), len(concepts), len(hits), len(images if captions is None else captions)}
    if len(lengths) > 1 or not images:
        raise InvalidOption(
            f"expected as many images, concepts, hits and captions, at least one; got {sorted(lengths)}"
        )
    said = [""] * len(images) if captions is None else [f' ("{caption}")' for caption in captions]
    failed = [f"{i} of {k!r}{s}" for i, k, h, s in zip(images, concepts, hits, said, strict=True) if not h]
    if failed:
        raise InvalidSample(
            f"without intervention {len(failed)} of {len(images)} images do not name their own concept, so sample or "
            f"matcher is wrong: {'; '.join(failed)}"
        )


def _cells(trials: Trials, round_groups: int | None, held_out: bool) -> list[ScoreCell]:
    shares = trials.shares(held_out=held_out)
    if round_groups is not None:
        shares = (shares[0].round(round_groups), shares[1].round(round_groups))
    own, others = (values.mean(0).tolist() for values in shares)
    groups, _, draws, _ = trials.hits.shape
    counts = int(trials.tested(held_out=held_out).sum()) * draws, groups * draws * int(trials.others.sum())
    return [ScoreCell(trials.concept, n, own[i], others[i], *counts) for i, n in enumerate(trials.levels)]


def _mean(cells: Sequence[ScoreCell], concept: str | None, level: float | None) -> ScoreCell:
    shares = (float(np.mean([c.s_k for c in cells])), float(np.mean([c.s_kbar for c in cells])))
    return ScoreCell(concept, level, *shares, sum(c.own_trials for c in cells), sum(c.other_trials for c in cells))


def _masked_mean(
    values: Float[np.ndarray, "*shape images"], mask: Bool[np.ndarray, "*_shape images"]
) -> Float[np.ndarray, "*shape"]:
    return (values * mask).sum(-1) / mask.sum(-1)
